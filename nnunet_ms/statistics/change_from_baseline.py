"""Change of lesion volume from baseline: per patient, per arm and visit, and between arms."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.stats

from nnunet_ms.arrays import Floats


@dataclass(frozen=True)
class MeanChange:
    """Mean, standard deviation (n - 1) and standard error of a sample; NaN where `n` is too small for them."""

    n: int
    mean: float
    sd: float
    se: float


@dataclass(frozen=True)
class Separation:
    """A difference of two means with its confidence limits; `problem` says why it is NaN."""

    estimate: float
    se: float
    low: float
    high: float
    problem: str = ""


def percent_change(volumes: pd.DataFrame, baseline_week: float, weeks: Sequence[float]) -> pd.DataFrame:
    """Return 100 * (volume / baseline - 1) for every patient, rater and follow-up week.

    Parameters
    ----------
    volumes : pandas.DataFrame
        `patient_id, arm, rater, week, volume_ml`, one row each; baselines > 0.
    baseline_week : float
        The week divided by.
    weeks : sequence of float
        The follow-up weeks wanted; what a patient lacks is left out.

    Returns
    -------
    pandas.DataFrame
        `patient_id, arm, rater, week, baseline_ml, volume_ml, percent_change`.
    """
    keys = ["patient_id", "rater"]
    baseline = volumes[volumes["week"] == baseline_week].set_index(keys)["volume_ml"].rename("baseline_ml")
    later = volumes[volumes["week"].isin(list(weeks))].join(baseline, on=keys, how="inner")
    later = later.assign(percent_change=100 * (later["volume_ml"] / later["baseline_ml"] - 1))
    columns = ["patient_id", "arm", "rater", "week", "baseline_ml", "volume_ml", "percent_change"]
    return later[columns].reset_index(drop=True)


def mean_change(values: Floats) -> MeanChange:
    """Summarise one arm at one visit; an empty sample gives NaN, one patient a mean without SD."""
    n = len(values)
    mean = float(values.mean()) if n else float("nan")
    sd = float(values.std(ddof=1)) if n > 1 else float("nan")
    return MeanChange(n, mean, sd, sd / float(np.sqrt(n)) if n else float("nan"))


def separation(values: Floats, reference: Floats, confidence: float = 0.95) -> Separation:
    """Return mean(values) - mean(reference) with Welch's interval (R: `t.test(values, reference)`).

    Parameters
    ----------
    values, reference : (n,) and (m,) float arrays
        In the same unit.
    confidence : float, optional
        Level of the two-sided interval, in (0, 1).

    Returns
    -------
    Separation
        Without two patients in each arm, or without any spread, the limits are NaN and `problem` says why.
    """
    a, b = mean_change(values), mean_change(reference)
    estimate = a.mean - b.mean
    nan = float("nan")
    if min(a.n, b.n) < 2:
        return Separation(estimate, nan, nan, nan, f"{min(a.n, b.n)} patients in an arm, needs 2")
    variances = (a.se**2, b.se**2)
    if sum(variances) == 0:
        return Separation(estimate, nan, nan, nan, "no spread in either arm")
    df = sum(variances) ** 2 / (variances[0] ** 2 / (a.n - 1) + variances[1] ** 2 / (b.n - 1))
    se = float(np.sqrt(sum(variances)))
    half = float(scipy.stats.t.ppf(0.5 + confidence / 2, df)) * se
    return Separation(estimate, se, estimate - half, estimate + half)
