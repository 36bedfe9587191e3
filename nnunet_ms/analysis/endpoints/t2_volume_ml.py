"""T2 lesion volume in ml, and its absolute change, by arm and visit: beside the percent change, same patients."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from nnunet_ms.analysis.endpoints.statistic_rows import Statistic, not_estimable, spread
from nnunet_ms.analysis.endpoints.t2_volume import ENDPOINT, POPULATION
from nnunet_ms.analysis.trial.data import TrialData
from nnunet_ms.analysis.trial.keys import contrast_text, week_text
from nnunet_ms.statistics.change_from_baseline import mean_change, separation

VOLUME, CHANGE = "by_visit_ml", "change_ml"
OBSERVED = "observed cases"


def volume_ml_statistics(trial: TrialData, table: pd.DataFrame) -> Iterator[Statistic]:
    """Yield volumes (n, mean, sd, median) and changes from baseline in ml (mean, sd, se, difference of arms).

    Parameters
    ----------
    trial : TrialData
        Arms, weeks and the level of intervals.
    table : pandas.DataFrame
        From `t2_volume.changes`: `arm, rater, week, baseline_ml, volume_ml`.
    """
    baseline_week = trial.settings.baseline_week
    for rater in trial.raters:
        of_rater = table[table["rater"] == rater]
        base = Statistic(ENDPOINT, VOLUME, population=POPULATION, rater=rater, method=OBSERVED)
        first = of_rater.drop_duplicates("patient_id")  # with a follow-up, whichever
        at_baseline = replace(base, visit=week_text(baseline_week), method=f"{OBSERVED} with a follow-up visit")
        yield from _volumes(trial, first["arm"], first["baseline_ml"], at_baseline)
        for week in trial.settings.weeks:
            there = of_rater[of_rater["week"] == week]
            keys = replace(base, visit=week_text(week))
            yield from _volumes(trial, there["arm"], there["volume_ml"], keys)
            yield from _changes(trial, there, replace(keys, analysis=CHANGE))


def _volumes(trial: TrialData, arms: pd.Series, volumes: pd.Series, base: Statistic) -> Iterator[Statistic]:
    for arm in trial.settings.arms:
        sample = volumes[arms == arm].to_numpy(float)
        found = mean_change(sample)
        median = float(np.median(sample)) if sample.size else float("nan")
        stats = {
            "n": (found.n, "patients"), "mean": (found.mean, "ml"), "sd": (found.sd, "ml"), "median": (median, "ml"),
        }  # fmt: skip
        yield from spread(replace(base, arm=arm), stats, _few(found.n))


def _changes(trial: TrialData, table: pd.DataFrame, base: Statistic) -> Iterator[Statistic]:
    change = table["volume_ml"] - table["baseline_ml"]
    values = {arm: change[table["arm"] == arm].to_numpy(float) for arm in trial.settings.arms}
    for arm, sample in values.items():
        found = mean_change(sample)
        stats = {"n": (found.n, "patients"), "mean": (found.mean, "ml"), "sd": (found.sd, "ml"), "se": (found.se, "ml")}
        yield from spread(replace(base, arm=arm), stats, _few(found.n))
    reference = trial.settings.reference_arm
    for arm in trial.settings.compared_arms:
        gap = separation(values[arm], values[reference], trial.settings.analysis.confidence)
        gaps = {"separation": gap.estimate, "se": gap.se, "low": gap.low, "high": gap.high}
        method = f"difference of means, Welch {trial.settings.analysis.level} interval"
        keys = replace(base, contrast=contrast_text(arm, reference), method=method)
        yield from spread(keys, {name: (value, "ml") for name, value in gaps.items()}, not_estimable(gap.problem))


def _few(n: int) -> str:
    return not_estimable(f"{n} patient{'s' * (n != 1)}")
