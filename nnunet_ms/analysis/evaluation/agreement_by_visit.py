"""Does agreement hold at follow-up? Every metric by visit, and its paired change from the baseline visit.

One value per patient and visit, so that the patient is the unit: of two scans at one visit the mean. `all follow-up` is
the mean of a patient's follow-up visits. Krishnan et al. 2023 (doi:10.1038/s41598-023-31207-5) print the change in
percent and no interval; here it has Student's paired interval, and in percent Fieller's (`statistics.paired_means`).
Correlations over the cohort have a bootstrap interval over patients; a score of the whole cohort has none.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from nnunet_ms.analysis.evaluation.cohort_metrics import COHORT_METRICS, ISBI_SCORE, correlate_cases, isbi_score
from nnunet_ms.analysis.evaluation.matching import Rule
from nnunet_ms.cases_table import NO_VISIT
from nnunet_ms.errors import SettingsError
from nnunet_ms.statistics.bootstrap_interval import LEVEL, pearson_change_interval
from nnunet_ms.statistics.paired_means import NAN, PairedMeans, paired_means
from nnunet_ms.tables import REFERENCE, Column, Table

ALL_FOLLOW_UP = "all follow-up"
BY_VISIT = Table(
    "agreement by visit",
    (
        *(Column(name) for name in ("rater", "lesion_type", "rule", "metric", "visit")),
        Column("week", "number", blank=True),
        Column("baseline_visit", blank=True),
        *(Column(name, "integer", minimum=0) for name in ("n_cases", "n_patients")),
        *(Column(name, "number", blank=True) for name in ("mean", "sd")),
        Column("n_paired", "integer", minimum=0),
        *(Column(name, "number", blank=True) for name in ("baseline_mean", "paired_mean")),
        *(Column(name, "number", blank=True) for name in ("difference", "low", "high")),
        Column("p", "number", blank=True, minimum=0),
        *(Column(name, "number", blank=True) for name in ("percent", "percent_low", "percent_high")),
        Column("level", "number", minimum=0),
        *(Column(name, blank=True) for name in ("method", "note", "data_note")),
    ),
    key=("rater", "lesion_type", "rule", "metric", "visit"),
)
METHODS = {
    "mean": "means over patients; paired t, percent by Fieller",
    "correlation": "Pearson r over patients; difference: bootstrap over patients",
    "score": "score of the cohort's values at the visit",
}


@dataclass(frozen=True)
class Visits:
    """Visits in order with their median weeks (NaN: unknown), the baseline among them, and why there is none."""

    weeks: Mapping[str, float] = field(default_factory=dict)
    baseline: str = ""
    problem: str = ""

    @property
    def follow_up(self) -> list[str]:
        """The visits after baseline."""
        return [visit for visit in self.weeks if visit != self.baseline] if self.baseline else []


def order_visits(cases: pd.DataFrame, baseline: str | None = None) -> Visits:
    """Order the visits by their median week; the earliest is the baseline unless one is named.

    Parameters
    ----------
    cases : pandas.DataFrame
        `visit` and `week` of every case.
    baseline : str, optional
        The visit that all others are compared with.

    Raises
    ------
    SettingsError
        If there is no visit of that name, or a visit is called as the row of all of them.

    Examples
    --------
    >>> cases = pd.DataFrame({"visit": ["w24", "base", "w24"], "week": [24.1, 0.0, 23.7]})
    >>> visits = order_visits(cases)
    >>> visits.baseline, visits.follow_up, visits.weeks["w24"]
    ('base', ['w24'], 23.9)
    """
    known = cases[cases["visit"] != NO_VISIT]
    weeks = known.assign(week=known["week"].astype(float)).groupby("visit")["week"].median()
    in_order = {str(name): float(weeks[name]) for name in sorted(weeks.index, key=lambda v: (weeks[v], v))}
    in_order = dict(sorted(in_order.items(), key=lambda item: item[1] != item[1]))  # visits without a week last
    if ALL_FOLLOW_UP in in_order:
        raise SettingsError(f"visit {ALL_FOLLOW_UP!r}: this is the name of the row of all visits. Rename the visit.")
    if baseline is not None:
        if baseline not in in_order:
            raise SettingsError(
                f"baseline_visit: expected one of {list(in_order)}, found {baseline!r}. Correct it, or leave it out."
            )
        return Visits({baseline: in_order.pop(baseline), **in_order}, baseline)
    if not in_order:
        return Visits(problem="no visit of a case is known; a table of cases with visit and week names them")
    first, *others = in_order
    if np.isnan(in_order[first]):
        return Visits(in_order, problem="no week is known, so no visit is the first; name it as the baseline visit")
    if others and in_order[others[0]] == in_order[first]:
        return Visits(in_order, problem=f"{first} and {others[0]} are at the same week; name the baseline visit")
    return Visits(in_order, first)


def agreement_by_visit(metrics: pd.DataFrame, totals: pd.DataFrame, rule: Rule, visits: Visits) -> pd.DataFrame:
    """Summarise every metric of a rule at every visit, and compare it with the baseline in the same patients.

    Parameters
    ----------
    metrics : pandas.DataFrame
        `patient_id, visit, metric, value` of one rater, lesion type and rule.
    totals : pandas.DataFrame
        `patient_id, visit, rater, lesion_count, volume_ml` of the reference and that rater.
    rule : Rule
        Whose metrics are summarised, in its order.
    visits : Visits
        From `order_visits`.

    Returns
    -------
    pandas.DataFrame
        `BY_VISIT` without `rater`, `lesion_type`, `rule` and `data_note`; no rows without visits.
    """
    if not visits.weeks:
        return pd.DataFrame()
    n_cases = totals[totals["rater"] == REFERENCE].groupby("visit").size()
    rows: list[dict[str, Any]] = []
    for name in rule.metrics:
        if name in COHORT_METRICS:
            found = _correlations(totals, COHORT_METRICS[name], visits)
        elif name == ISBI_SCORE:
            found = _scores(rows, visits)
        else:
            found = _means(metrics[metrics["metric"] == name], visits)
        rows += [{"metric": name, **row} for row in found]
    frame = pd.DataFrame(rows)
    follow_up = int(n_cases.reindex(visits.follow_up).sum())
    frame["n_cases"] = [follow_up if v == ALL_FOLLOW_UP else int(n_cases.get(v, 0)) for v in frame["visit"]]
    frame["week"] = frame["visit"].map(visits.weeks)
    return frame.assign(baseline_visit=visits.baseline, level=LEVEL)


def has_change(table: pd.DataFrame) -> bool:
    """Whether rows of `BY_VISIT` have a baseline and a later visit to compare with it."""
    return bool(((table["baseline_visit"] != "") & (table["visit"] != table["baseline_visit"])).any())


def _columns(visits: Visits) -> list[str]:
    """The rows of the table: every visit, and all follow-up visits together where there are several."""
    return [*visits.weeks, *([ALL_FOLLOW_UP] if len(visits.follow_up) > 1 else [])]


def _by_patient(frame: pd.DataFrame, value: str, visits: Visits) -> pd.DataFrame:
    """One row per patient, one column per visit; NaN where the patient has no value there."""
    wide = frame.pivot_table(index="patient_id", columns="visit", values=value, aggfunc="mean")
    wide = wide.reindex(columns=list(visits.weeks))
    if len(visits.follow_up) > 1:
        wide[ALL_FOLLOW_UP] = wide[visits.follow_up].mean(axis=1)
    return wide


def _means(values: pd.DataFrame, visits: Visits) -> Iterator[dict[str, Any]]:
    wide = _by_patient(values, "value", visits)
    for visit in _columns(visits):
        here = wide[visit].dropna()
        row = {
            "visit": visit,
            "n_patients": len(here),
            "mean": float(here.mean()) if len(here) else NAN,
            "sd": float(here.std(ddof=1)) if len(here) > 1 else NAN,
            "method": METHODS["mean"],
        }
        if visit == visits.baseline or not visits.baseline:
            yield row | _change(PairedMeans(0, problem=visits.problem))
        else:
            yield row | _change(paired_means(wide[visits.baseline], wide[visit], LEVEL))


def _change(found: PairedMeans) -> dict[str, Any]:
    values = dict(vars(found))
    names = {"n": "n_paired", "before": "baseline_mean", "after": "paired_mean", "problem": "note"}
    return {names.get(name, name): value for name, value in values.items()}


def _correlations(totals: pd.DataFrame, quantity: str, visits: Visits) -> Iterator[dict[str, Any]]:
    is_reference = totals["rater"] == REFERENCE
    x, y = (_by_patient(totals[side], quantity, visits) for side in (is_reference, ~is_reference))
    y = y.reindex(x.index)
    for visit in _columns(visits):
        here = x[visit].notna() & y[visit].notna()
        value = correlate_cases(x.loc[here, visit].to_list(), y.loc[here, visit].to_list()).mean
        row = {"visit": visit, "n_patients": int(here.sum()), "mean": value, "sd": NAN}
        row |= {"method": METHODS["correlation"]}
        if visit == visits.baseline or not visits.baseline:
            yield row | _change(PairedMeans(0, problem=visits.problem))
        else:
            yield row | _change(_correlation_change(x, y, visits.baseline, visit))


def _correlation_change(x: pd.DataFrame, y: pd.DataFrame, first: str, visit: str) -> PairedMeans:
    both = x[[first, visit]].notna().all(axis=1) & y[[first, visit]].notna().all(axis=1)
    sides = [(x.loc[both, name].to_numpy(float), y.loc[both, name].to_numpy(float)) for name in (first, visit)]
    before, after = (correlate_cases(list(a), list(b)).mean for a, b in sides)
    n = int(both.sum())
    if np.isnan(before) or np.isnan(after):
        return PairedMeans(n, before, after, problem="a correlation is undefined: too few patients, or no spread")
    low, high = pearson_change_interval(sides[0], sides[1], [str(patient) for patient in x.index[both]])
    gap = after - before
    why = "" if np.isfinite(low) else "too few patients: no interval"
    percent = 100 * gap / before if before else NAN
    return PairedMeans(n, before, after, gap, low, high, percent=percent, problem=why)


def _scores(rows: list[dict[str, Any]], visits: Visits) -> Iterator[dict[str, Any]]:
    """The score of the rule's other metrics, which stand before it, at every visit and in the paired patients."""
    for visit in _columns(visits):
        parts = {row["metric"]: row for row in rows if row["visit"] == visit}
        value, before, after = (
            isbi_score({name: row[column] for name, row in parts.items()})
            for column in ("mean", "baseline_mean", "paired_mean")
        )
        n, paired = (parts["r_vol"][name] for name in ("n_patients", "n_paired"))
        note = visits.problem or ("a score of the whole cohort: no interval" if paired else "")
        percent = 100 * (after - before) / before if before else NAN
        change = PairedMeans(paired, before, after, after - before, percent=percent, problem=note)
        yield {"visit": visit, "n_patients": n, "mean": value, "sd": NAN, "method": METHODS["score"], **_change(change)}
