"""Confirmed progression by arm and a stratum of the patients at baseline: a Cox model of both, with interaction."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pandas as pd

from nnunet_ms.analysis.endpoints.progression_by_arm import usable
from nnunet_ms.analysis.endpoints.statistic_rows import Statistic, hazard_values, not_estimable, spread
from nnunet_ms.analysis.trial.data import TrialData
from nnunet_ms.analysis.trial.keys import contrast_text
from nnunet_ms.statistics.cox import CoxModel, fit_cox
from nnunet_ms.statistics.design_matrix import arm_term, design, factor, product

MISSING = "missing"


@dataclass(frozen=True)
class Stratified:
    """A stratum whose part in the treatment's effect is asked for.

    Attributes
    ----------
    column : str
        Of the patient table, that the stratum is made from; where it is absent there is no analysis.
    stratum : str
        Name of the stratum, as `TrialData.groups` knows it.
    strata : tuple of str
        Its levels, in order, the reference first.
    analysis, population : str
        Of the rows.
    words, lacking : str
        What it is a stratum of, and what a patient lacks who is in none.
    source : str
        Whose values make the strata, in words; blank where there is one source only.
    """

    column: str
    stratum: str
    strata: tuple[str, ...]
    analysis: str
    population: str
    words: str
    lacking: str
    source: str = ""


def stratum_statistics(trial: TrialData, outcome: str, audit: pd.DataFrame, what: Stratified) -> Iterator[Statistic]:
    """Yield every term of the Cox model of arm, stratum and both; nothing where nobody has the column.

    `term` is "arm" (in the first stratum), "prl_stratum: 1-3" (against the first, in the reference arm) and
    "arm:prl_stratum: 1-3" (ratio of the arm's hazard ratio there to that in the first stratum), for example.
    """
    if what.column not in trial.patients or trial.patients[what.column].isna().all():
        return
    table = usable(audit)
    stratum = table["patient_id"].map(trial.groups(what.stratum))
    known = (stratum != MISSING).to_numpy()
    rows, stratum = table[known].reset_index(drop=True), stratum[known].reset_index(drop=True)
    levels = [name for name in what.strata if (stratum == name).any()]
    model = _model(trial, rows, stratum, levels, what)
    method = _method(trial, rows, stratum, levels, what, int((~known).sum()))
    base = Statistic(outcome, what.analysis, population=what.population, method=method)
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


def _model(trial: TrialData, rows: pd.DataFrame, stratum: pd.Series, levels: list[str], what: Stratified) -> CoxModel:
    ties, arms = trial.settings.conventions.ties, arm_term(rows["arm"], trial.settings.arms)
    of_stratum = factor(what.stratum, stratum, reference=levels[0] if levels else None)
    columns = design([arms, of_stratum, product(arms, of_stratum)], len(rows), intercept=False)
    return fit_cox(rows["time_weeks"], rows["event"], columns.X, columns.names, ties)


def _method(
    trial: TrialData, rows: pd.DataFrame, stratum: pd.Series, levels: list[str], what: Stratified, missing: int
) -> str:
    """What was fitted, on how many in each stratum and arm, and who was left out."""
    counts = []
    for level in levels:
        here = rows[(stratum == level).to_numpy()]
        events = [f"{int(here.loc[here['arm'] == arm, 'event'].sum())}/{int((here['arm'] == arm).sum())}"
                  for arm in trial.settings.arms]  # fmt: skip
        counts.append(f"{level}: {', '.join(events)}")
    texts = [
        f"Cox regression of arm, {what.words} and both, {trial.settings.conventions.ties.capitalize()} ties",
        f"Wald {trial.settings.analysis.level} interval",
        f"events / patients of {', '.join(trial.settings.arms)} by stratum: {'; '.join(counts)}",
        *([what.source] if what.source else []),
    ]
    return "; ".join([*texts, *([f"{missing} patients without {what.lacking} left out"] if missing else [])])
