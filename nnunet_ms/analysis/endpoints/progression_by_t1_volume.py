"""Endpoint of the joint T1 paper: confirmed progression and the T1 unenhancing lesion volume at baseline.

Krishnan et al., Radiology 2022, print a hazard ratio of the baseline unenhancing lesion volume for both readings; the
logarithm, as in the sister paper on T2 lesions, is ours. Its table of enhancing lesions by visit and its new
unenhancing lesions are `lesion_counts`; its other baseline metrics are `progression_by_t1_lesions`.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from nnunet_ms.analysis.endpoints.progression_by_t2_volume import PER_LOG_ML, ProgressionData
from nnunet_ms.analysis.endpoints.statistic_rows import Statistic, hazard_values, not_estimable, spread
from nnunet_ms.analysis.trial.data import TrialData
from nnunet_ms.analysis.trial.zero_volumes import EXCLUDE, WORDS, positive_baselines
from nnunet_ms.statistics.cox import Cox, cox_univariable

ANALYSIS, TERM = "cox_unenhancing", "log_unenhancing_tlv"
LESION_TYPE = "t1_unenhancing"
POPULATION = "baseline T1 mask of every rater"


def unenhancing_statistics(trial: TrialData, data: ProgressionData) -> list[Statistic]:
    """Return Cox rows of one outcome for every rater; none where the trial has no unenhancing volume at baseline.

    Volumes of 0 ml are treated as `[lesions] zero_volume` says; without that setting nothing is estimated.
    """
    volumes = baseline_volumes(trial)
    if volumes.empty or trial.settings.lesion_type == LESION_TYPE:  # then `progression` has it already
        return []
    volumes, note, problem = positive_volumes(trial, volumes)
    timed = data.audit[data.audit["time_weeks"].notna()].set_index("patient_id")
    together = timed.join(volumes, how="inner")
    rows: list[Statistic] = []
    for rater in trial.raters:
        ties, confidence = trial.settings.conventions.ties, trial.settings.analysis.confidence
        fit = Cox(len(together), int(together["event"].sum()), problem=problem)
        if not problem:
            log_tlv = np.log(together[rater].to_numpy(float))
            fit = cox_univariable(together["time_weeks"], together["event"], log_tlv, ties, confidence)
        method = f"Cox regression, {ties.capitalize()} ties, Wald {trial.settings.analysis.level} interval"
        base = Statistic(data.outcome, ANALYSIS, population=POPULATION, rater=rater, term=TERM)
        keys = replace(base, method="; ".join(filter(None, (method, note))))
        rows += spread(keys, hazard_values(fit, PER_LOG_ML), not_estimable(fit.problem))
    return rows


def baseline_volumes(trial: TrialData) -> pd.DataFrame:
    """Return the unenhancing volume at baseline, ml: one row per patient, a column per rater; empty without any."""
    counts = trial.counts
    chosen = (counts["lesion_type"] == LESION_TYPE) & (counts["week"] == trial.settings.baseline_week)
    wide = counts[chosen].pivot_table(index="patient_id", columns="rater", values="volume_ml")
    return wide.reindex(columns=list(trial.raters)).dropna()


def positive_volumes(trial: TrialData, volumes: pd.DataFrame) -> tuple[pd.DataFrame, str, str]:
    """Return volumes without zeros, what was done (for `method`), and why nothing can be estimated."""
    patients = int((volumes <= 0).any(axis=1).sum())
    how = trial.settings.zero_volume
    if not patients:
        return volumes, "", ""
    if how is None:
        return volumes, "", f"{patients} patients have 0 ml, which has no logarithm: set [lesions] zero_volume"
    if how != EXCLUDE and not (volumes > 0).any().all():
        return volumes, "", "a rater has no volume above 0 ml"
    return positive_baselines(trial, volumes).dropna(), f"{patients} patients with 0 ml: {WORDS[how]}", ""
