"""Hazard ratio of arm within subgroups, with the interaction test; degenerate subgroups are named and skipped."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
import scipy.stats

from nnunet_ms.analysis.endpoints.progression_by_arm import POPULATION, usable
from nnunet_ms.analysis.endpoints.statistic_rows import Statistic, hazard_values, not_estimable, spread
from nnunet_ms.analysis.trial import risk_strata
from nnunet_ms.analysis.trial.data import TrialData
from nnunet_ms.analysis.trial.keys import contrast_text
from nnunet_ms.analysis.trial.rim_counts import MISSING, STRATUM
from nnunet_ms.statistics.cox import fit_cox
from nnunet_ms.statistics.cox_firth import penalised_test
from nnunet_ms.statistics.design_matrix import arm_term, design, factor, product

ANALYSIS = "subgroup"
ALL = "all patients"
FEWEST_EVENTS = 5
_WITHOUT = {STRATUM: "a count of rim lesions", risk_strata.STRATUM: "a predicted risk of disability"}


def subgroup_statistics(trial: TrialData, outcome: str, audit: pd.DataFrame) -> Iterator[Statistic]:
    """Yield hazard ratios of every compared arm: all patients, then each level of each subgroup; interaction p."""
    table, reference = usable(audit), trial.settings.reference_arm
    for arm in trial.settings.compared_arms:
        two = table[table["arm"].isin([arm, reference])].reset_index(drop=True)
        base = Statistic(outcome, ANALYSIS, population=POPULATION, contrast=contrast_text(arm, reference))
        yield from _level(trial, two, arm, replace(base, term=ALL))
        for name in trial.settings.analysis.subgroups:
            group = two["patient_id"].map(trial.groups(name))
            for level in sorted(group.unique()):
                yield from _level(trial, two[(group == level).to_numpy()], arm, replace(base, term=f"{name}: {level}"))
            # an unknown number of rim lesions, or an unknown risk, is no stratum
            known = ((group != MISSING) | (name not in _WITHOUT)).to_numpy()
            keys = replace(base, term=f"{name}: interaction", method=_left_out(name, int((~known).sum())))
            yield from _interaction(trial, two[known], group[known], arm, keys)


def _left_out(name: str, patients: int) -> str:
    return f"; {patients} patients without {_WITHOUT[name]} left out" if patients else ""


def _level(trial: TrialData, table: pd.DataFrame, arm: str, base: Statistic) -> list[Statistic]:
    ties = trial.settings.conventions.ties
    problem = _degenerate(table, arm)
    x = (table["arm"] == arm).to_numpy(float)[:, None]
    fit = fit_cox(table["time_weeks"], table["event"], x, ["arm"], ties)
    term = fit.term("arm", trial.settings.analysis.confidence)
    found = term if not problem else replace(term, hazard_ratio=np.nan, coefficient=np.nan,
                                                        se=np.nan, low=np.nan, high=np.nan, p=np.nan)  # fmt: skip
    base = replace(base, method=f"Cox regression of arm, {ties.capitalize()} ties")
    return spread(base, hazard_values(found), not_estimable(problem or fit.problem))


def _degenerate(table: pd.DataFrame, arm: str) -> str:
    events = int(table["event"].sum())
    if table["arm"].nunique() < 2:
        return "patients of one arm only"
    if events < FEWEST_EVENTS:
        return f"{events} events, needs {FEWEST_EVENTS}"
    of_arm = (table["arm"] == arm) & table["event"]
    return "an arm without an event" if of_arm.sum() in (0, events) else ""


def _interaction(trial: TrialData, table: pd.DataFrame, group: pd.Series, arm: str, base: Statistic) -> list[Statistic]:
    """Likelihood-ratio test of arm x subgroup."""
    ties, levels = trial.settings.conventions.ties, sorted(group.unique())
    left_out = base.method
    base = replace(base, method=f"likelihood-ratio test of arm x subgroup{left_out}")
    if len(levels) < 2:
        return spread(base, {"p": (np.nan, "")}, not_estimable("one level only"))
    arms, subgroup = arm_term(table["arm"], [trial.settings.reference_arm, arm]), factor("subgroup", group)
    models = ([arms, subgroup], [arms, subgroup, product(arms, subgroup)])
    designs = [design(terms, len(table), intercept=False) for terms in models]
    fits = [fit_cox(table["time_weeks"], table["event"], d.X, d.names, ties) for d in designs]
    likelihoods = [f.supremum for f in fits]
    happened = set(table.loc[table["event"], "arm"])
    problem = "" if np.isfinite(likelihoods).all() else "no maximum or too few events"
    problem = problem if len(happened) == 2 else "an arm without an event"
    df = len(levels) - 1
    stats = _ratio_test(likelihoods, df) if not problem else {"chisq": (np.nan, ""), "df": (df, ""), "p": (np.nan, "")}
    rows = spread(base, stats, not_estimable(problem))
    if problem or not any(f.problem for f in fits):
        return rows
    note = "a hazard ratio of the model is 0 or infinite, its likelihood converges; p_penalised is calibrated there"
    rows = spread(replace(base, method=f"{base.method}; {note}"), stats)
    tested = range(designs[0].X.shape[1], designs[1].X.shape[1])
    p = penalised_test(table["time_weeks"], table["event"], designs[1].X, tested, ties)
    method = f"Firth's penalised likelihood-ratio test of arm x subgroup, {ties.capitalize()} ties{left_out}"
    return [*rows, *spread(replace(base, method=method), {"p_penalised": (p, "")})]


def _ratio_test(likelihoods: list[float], df: int) -> dict[str, tuple[float, str]]:
    chisq = max(2 * (likelihoods[1] - likelihoods[0]), 0.0)
    return {"chisq": (chisq, ""), "df": (float(df), ""), "p": (float(scipy.stats.chi2.sf(chisq, df)), "")}
