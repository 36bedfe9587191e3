"""Confirmed progression and every baseline metric of the joint T1 paper, alone and in the multivariable model.

Krishnan et al., Radiology 2022, measure four things in a baseline T1 scan: volume and number of unenhancing lesions,
number of enhancing lesions, and whether there is one. The volume as the only covariate is `progression_by_t1_volume`.
The multivariable model is that of the sister paper on T2 lesions (`progression_multivariable`) with the metric in the
place of log TLV; that is ours, because neither paper prints one for these metrics where they could be read.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from nnunet_ms.analysis.endpoints.progression_by_t1_volume import (
    ANALYSIS,
    POPULATION,
    TERM,
    baseline_volumes,
    positive_volumes,
)
from nnunet_ms.analysis.endpoints.progression_by_t2_volume import PER_LOG_ML, ProgressionData
from nnunet_ms.analysis.endpoints.progression_multivariable import adjusted_model, model_statistics
from nnunet_ms.analysis.endpoints.statistic_rows import Statistic, hazard_values, not_estimable, spread
from nnunet_ms.analysis.trial.data import TrialData
from nnunet_ms.statistics.cox import Cox, cox_univariable
from nnunet_ms.statistics.design_matrix import number

UNENHANCING, ENHANCING = "t1_unenhancing", "t1_enhancing"
PER_LESION, PRESENT = "per lesion", "with any enhancing lesion against none"


@dataclass(frozen=True)
class T1Metric:
    """One baseline metric: its lesion type, its names in `endpoints.csv`, and what one unit of it is."""

    lesion_type: str
    analysis: str
    term: str
    unit: str
    presence: bool = False

    @property
    def multivariable(self) -> str:
        """Name of the analysis in which it stands beside arm, sex, region, EDSS and age."""
        return f"{self.analysis}_multivariable"


VOLUME = T1Metric(UNENHANCING, ANALYSIS, TERM, PER_LOG_ML)
COUNTED = (
    T1Metric(UNENHANCING, "cox_unenhancing_count", "unenhancing_lesion_count", PER_LESION),
    T1Metric(ENHANCING, "cox_enhancing_count", "enhancing_lesion_count", PER_LESION),
    T1Metric(ENHANCING, "cox_enhancing_presence", "enhancing_present", PRESENT, presence=True),
)
METRICS = (VOLUME, *COUNTED)


def t1_lesion_statistics(trial: TrialData, data: ProgressionData) -> Iterator[Statistic]:
    """Yield the Cox models of one outcome on every T1 metric that the trial has at baseline, for every rater.

    The trial's main lesion type is left out: its volume and count have models of their own already.
    """
    timed = data.audit[data.audit["time_weeks"].notna()]
    for metric in METRICS:
        if metric.lesion_type == trial.settings.lesion_type:
            continue
        values, note, problem = _values(trial, metric)
        if values.empty:
            continue
        table = timed[timed["patient_id"].isin(values.index)].reset_index(drop=True)
        of_patients = values.loc[table["patient_id"]]
        for rater in trial.raters:
            base = Statistic(data.outcome, metric.analysis, population=POPULATION, rater=rater)
            x = of_patients[rater].to_numpy(float)
            if metric is not VOLUME:  # its own module has the rows
                yield from _alone(trial, table, x, metric, base)
            keys = replace(base, analysis=metric.multivariable)
            yield from _with_others(trial, table, x, metric, keys, note, problem)


def _values(trial: TrialData, metric: T1Metric) -> tuple[pd.DataFrame, str, str]:
    """Return (patient, rater) values at baseline, what was done with zeros, and why there can be no estimate."""
    if metric is VOLUME:
        volumes = baseline_volumes(trial)
        ready, note, problem = positive_volumes(trial, volumes) if len(volumes) else (volumes, "", "")
        return (ready if problem else np.log(ready)), note, problem
    counts = trial.counts
    chosen = (counts["lesion_type"] == metric.lesion_type) & (counts["week"] == trial.settings.baseline_week)
    wide = counts[chosen].pivot_table(index="patient_id", columns="rater", values="lesion_count")
    wide = wide.reindex(columns=list(trial.raters)).dropna()
    return ((wide > 0).astype(float) if metric.presence else wide), "", ""


def _alone(trial: TrialData, table: pd.DataFrame, x: np.ndarray, metric: T1Metric, base: Statistic) -> list[Statistic]:
    ties, level = trial.settings.conventions.ties, trial.settings.analysis
    fit = cox_univariable(table["time_weeks"], table["event"], x, ties, level.confidence)
    method = f"Cox regression, {ties.capitalize()} ties, Wald {level.level} interval, {metric.unit}"
    keys = replace(base, term=metric.term, method=method)
    return spread(keys, hazard_values(fit, metric.unit), not_estimable(fit.problem))


def _with_others(
    trial: TrialData, table: pd.DataFrame, x: np.ndarray, metric: T1Metric, base: Statistic, note: str, problem: str
) -> Iterator[Statistic]:
    if problem:
        keys = replace(base, term=metric.term, method="multivariable Cox regression")
        nothing = Cox(len(table), int(table["event"].sum()), problem=problem)
        yield from spread(keys, hazard_values(nothing), not_estimable(problem))
        return
    joint = adjusted_model(trial, table, number(metric.term, x))
    yield from model_statistics(trial, table, joint, base, "; ".join(filter(None, (metric.unit, note))))
