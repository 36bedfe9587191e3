"""Confirmed progression by arm and number of rim lesions at baseline: strata 0, 1 to 3, 4 and more, with interaction.

The strata are those of trials that report paramagnetic rim lesions (tolebrutinib's, post hoc); `[analysis] prl_strata`
changes them. The hazard ratio of the arm within each stratum is a subgroup of the forest plot (`prl_stratum`).
"""

from collections.abc import Iterator
from dataclasses import replace

import pandas as pd

from nnunet_ms.analysis.endpoints.progression_by_arm import usable
from nnunet_ms.analysis.endpoints.statistic_rows import Statistic, hazard_values, not_estimable, spread
from nnunet_ms.analysis.trial.data import TrialData
from nnunet_ms.analysis.trial.keys import contrast_text
from nnunet_ms.analysis.trial.rim_counts import MISSING, STRATUM, counted_by
from nnunet_ms.lesions.rims import prl_strata
from nnunet_ms.statistics.cox import CoxModel, fit_cox
from nnunet_ms.statistics.design_matrix import arm_term, design, factor, product
from nnunet_ms.tables import PRL_COUNT

ANALYSIS = "cox_by_prl_stratum"
POPULATION = "patients with the outcome derived and rim lesions counted at baseline"


def rim_statistics(trial: TrialData, outcome: str, audit: pd.DataFrame) -> Iterator[Statistic]:
    """Yield every term of the Cox model of arm, stratum and both; nothing where nobody's rim lesions are known.

    `term` is "arm" (in the first stratum), "prl_stratum: 1-3" (against the first, in the reference arm) and
    "arm:prl_stratum: 1-3" (ratio of the arm's hazard ratio there to that in the first stratum).
    """
    if PRL_COUNT not in trial.patients:
        return
    table = usable(audit)
    stratum = table["patient_id"].map(trial.groups(STRATUM))
    known = (stratum != MISSING).to_numpy()
    rows, stratum = table[known].reset_index(drop=True), stratum[known].reset_index(drop=True)
    levels = [name for name in prl_strata(trial.settings.analysis.prl_strata) if (stratum == name).any()]
    model = _model(trial, rows, stratum, levels)
    method = _method(trial, rows, stratum, levels, int((~known).sum()))
    base = Statistic(outcome, ANALYSIS, population=POPULATION, method=method)
    if len(levels) < 2:
        problem = f"{len(levels)} strata with patients, needs 2"
        yield from spread(replace(base, term="arm"), {"hazard_ratio": (float("nan"), "")}, not_estimable(problem))
        return
    for name in model.names:
        fit = model.term(name, trial.settings.analysis.confidence)
        arm, _, rest = name.partition(":") if name.split(":")[0] in trial.settings.arms else ("", "", name)
        contrast = contrast_text(arm, trial.settings.reference_arm) if arm else ""
        term = f"arm:{rest}" if arm and rest else "arm" if arm else rest
        yield from spread(replace(base, term=term, contrast=contrast), hazard_values(fit), not_estimable(fit.problem))


def _model(trial: TrialData, rows: pd.DataFrame, stratum: pd.Series, levels: list[str]) -> CoxModel:
    ties, arms = trial.settings.conventions.ties, arm_term(rows["arm"], trial.settings.arms)
    of_stratum = factor(STRATUM, stratum, reference=levels[0] if levels else None)
    columns = design([arms, of_stratum, product(arms, of_stratum)], len(rows), intercept=False)
    return fit_cox(rows["time_weeks"], rows["event"], columns.X, columns.names, ties)


def _method(trial: TrialData, rows: pd.DataFrame, stratum: pd.Series, levels: list[str], missing: int) -> str:
    """What was fitted, on how many in each stratum and arm, and who was left out."""
    counts = []
    for level in levels:
        here = rows[(stratum == level).to_numpy()]
        events = [f"{int(here.loc[here['arm'] == arm, 'event'].sum())}/{int((here['arm'] == arm).sum())}"
                  for arm in trial.settings.arms]  # fmt: skip
        counts.append(f"{level}: {', '.join(events)}")
    texts = [
        f"Cox regression of arm, stratum of rim lesions and both, {trial.settings.conventions.ties.capitalize()} ties",
        f"Wald {trial.settings.analysis.level} interval",
        f"events / patients of {', '.join(trial.settings.arms)} by stratum: {'; '.join(counts)}",
        counted_by(trial.listings["prl_counts"]),
    ]
    return "; ".join([*texts, *([f"{missing} patients without a count of rim lesions left out"] if missing else [])])
