"""Confirmed progression by arm and the risk of disability that was predicted from the scan at baseline.

As stratum: below `[analysis] disability_threshold` and from it on, with interaction; the hazard ratio of the arm within
each stratum is a subgroup of the forest plot (`disability_stratum`). As covariate: the arm's hazard ratio adjusted for
the risk itself, and the risk's own per tenth.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from nnunet_ms.analysis.endpoints.progression_by_arm import usable
from nnunet_ms.analysis.endpoints.progression_by_stratum import Stratified, stratum_statistics
from nnunet_ms.analysis.endpoints.statistic_rows import Statistic, hazard_values, not_estimable, spread
from nnunet_ms.analysis.trial.data import TrialData
from nnunet_ms.analysis.trial.keys import contrast_text
from nnunet_ms.analysis.trial.risk_strata import STRATUM, risk_strata
from nnunet_ms.statistics.cox import fit_cox
from nnunet_ms.statistics.design_matrix import arm_term, design
from nnunet_ms.tables import DISABILITY_RISK

ANALYSIS = "cox_by_disability_stratum"
ADJUSTED = "cox_with_disability_risk"
POPULATION = "patients with the outcome derived and a predicted risk of disability at baseline"
PER = 0.1  # of the risk: its hazard ratio is per tenth


def disability_statistics(trial: TrialData, outcome: str, audit: pd.DataFrame) -> Iterator[Statistic]:
    """Yield the Cox model by stratum, and that with the risk as covariate; nothing where nobody's risk is known."""
    strata = risk_strata(trial.settings.analysis.disability_threshold)
    words = ("stratum of the predicted risk of disability", "a predicted risk of disability")
    what = Stratified(DISABILITY_RISK, STRATUM, strata, ANALYSIS, POPULATION, *words)
    yield from stratum_statistics(trial, outcome, audit, what)
    yield from _adjusted(trial, outcome, audit)


def _adjusted(trial: TrialData, outcome: str, audit: pd.DataFrame) -> Iterator[Statistic]:
    """Yield the arms' hazard ratios adjusted for the risk, and the risk's per tenth."""
    if DISABILITY_RISK not in trial.patients or trial.patients[DISABILITY_RISK].isna().all():
        return
    table = usable(audit)
    risks = trial.patients.set_index("patient_id")[DISABILITY_RISK].astype(float)
    risk = table["patient_id"].map(risks).to_numpy(float)
    known = ~np.isnan(risk)
    rows = table[known].reset_index(drop=True)
    arms = design([arm_term(rows["arm"], trial.settings.arms)], len(rows), intercept=False)
    ties, name = trial.settings.conventions.ties, f"{DISABILITY_RISK} per {PER:g}"
    X = np.column_stack([arms.X, risk[known] / PER])
    model = fit_cox(rows["time_weeks"], rows["event"], X, [*arms.names, name], ties)
    left_out = f"; {int((~known).sum())} patients without a predicted risk left out" if not known.all() else ""
    method = f"Cox regression of arm and predicted risk of disability, {ties.capitalize()} ties; Wald "
    method += f"{trial.settings.analysis.level} interval{left_out}"
    base = Statistic(outcome, ADJUSTED, population=POPULATION, method=method)
    for term in model.names:
        fit = model.term(term, trial.settings.analysis.confidence)
        arm = term in trial.settings.arms
        contrast = contrast_text(term, trial.settings.reference_arm) if arm else ""
        row = replace(base, term="arm" if arm else name, contrast=contrast)
        yield from spread(row, hazard_values(fit), not_estimable(fit.problem))
