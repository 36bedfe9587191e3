"""Tables of several raters: agreement of every pair, by lesion size, STAPLE's rates, Williams' index."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from nnunet_ms.analysis.evaluation.cohort_metrics import SIZE_BINS, summarise_cases, summarise_cohort, summarise_sizes
from nnunet_ms.analysis.evaluation.matching import Rule
from nnunet_ms.analysis.evaluation.patient_rows import stack
from nnunet_ms.analysis.evaluation.rater_cases import RaterRows, RaterSettings
from nnunet_ms.arrays import Floats
from nnunet_ms.parallel import Failure
from nnunet_ms.statistics.bootstrap_interval import LEVEL
from nnunet_ms.statistics.williams import williams_index
from nnunet_ms.tables import Column, Table

_PAIR = (*(Column(name) for name in ("rater", "versus", "lesion_type", "rule")),)
_NUMBERS = tuple(Column(name, "number", blank=True) for name in ("se", "low", "high"))

RATER_CASES = Table(
    "rater_cases",
    (
        *(Column(name) for name in ("case_id", "patient_id", "visit")),
        *_PAIR,
        Column("metric"),
        Column("value", "number", blank=True),
        Column("data_note", blank=True),
    ),
    key=("case_id", "rater", "versus", "lesion_type", "rule", "metric"),
)
RATER_MATRIX = Table(
    "rater_matrix",
    (
        *_PAIR,
        Column("metric"),
        *(Column(name, "number", blank=True) for name in ("mean", "sd")),
        *(Column(name, "integer", minimum=0) for name in ("n", "n_undefined")),
        *_NUMBERS,
        Column("level", "number", minimum=0),
        *(Column(name, "integer", minimum=0) for name in ("n_cases", "n_patients")),
        Column("data_note", blank=True),
    ),
    key=("rater", "versus", "lesion_type", "rule", "metric"),
)
RATER_SIZES = Table(
    "rater_sizes",
    (SIZE_BINS.columns[0], Column("versus"), *SIZE_BINS.columns[1:]),
    key=("rater", "versus", "lesion_type", "rule", "size_bin"),
)
STAPLE_CASES = Table(
    "staple_cases",
    (
        *(Column(name) for name in ("case_id", "patient_id", "visit", "rater", "lesion_type")),
        *(Column(name, "number", blank=True, minimum=0) for name in ("sensitivity", "specificity")),
        Column("n_raters", "integer", minimum=2),
        Column("data_note", blank=True),
    ),
    key=("case_id", "rater", "lesion_type"),
)
STAPLE_RATES = Table(
    "staple_rates",
    (
        *(Column(name) for name in ("rater", "lesion_type", "metric")),
        *(Column(name, "number", blank=True) for name in ("mean", "sd")),
        *(Column(name, "integer", minimum=0) for name in ("n", "n_undefined")),
        *_NUMBERS,
        Column("level", "number", minimum=0),
        Column("data_note", blank=True),
    ),
    key=("rater", "lesion_type", "metric"),
)
WILLIAMS = Table(
    "williams",
    (
        *(Column(name) for name in ("rater", "lesion_type", "rule", "metric")),
        *(Column(name, "number", blank=True) for name in ("williams_index", "se", "low", "high")),
        Column("level", "number", minimum=0),
        *(Column(name, "integer", minimum=0) for name in ("n_raters", "n_cases", "n_complete", "n_patients")),
        Column("data_note", blank=True),
    ),
    key=("rater", "lesion_type", "rule", "metric"),
)
MISSING_RATERS = Table(
    "missing_raters", (Column("case_id"), Column("rater"), Column("data_note", blank=True)), key=("case_id", "rater")
)

# Agreement for Williams' index: 1 is best. Of what is not symmetric the mean of both directions is taken.
WILLIAMS_METRICS = ("dice", "ltpr", "f1", "lesion_f1")


@dataclass(frozen=True)
class RaterTables:
    """All tables of a cohort but that of missing raters."""

    cases: pd.DataFrame
    matrix: pd.DataFrame
    sizes: pd.DataFrame
    staple_cases: pd.DataFrame
    staple: pd.DataFrame
    williams: pd.DataFrame


@dataclass(frozen=True)
class RaterMatrix:
    """The tables as written to `out`.

    `missing` says who has no mask of which case, `left_out` which cases of the folders were not asked for.
    """

    matrix: pd.DataFrame
    cases: pd.DataFrame
    sizes: pd.DataFrame
    williams: pd.DataFrame
    staple: pd.DataFrame
    staple_cases: pd.DataFrame
    missing: pd.DataFrame
    failures: list[Failure]
    left_out: list[str]
    n_cases: int
    out: Path


def rater_tables(rows: RaterRows, settings: RaterSettings) -> RaterTables:
    """Put the rows of all cases together; `versus` keeps the order in which readers and consensus were given."""
    cases = stack(rows.metrics, RATER_CASES.names)[RATER_CASES.names]
    staple_cases = stack(rows.staple, STAPLE_CASES.names).reindex(columns=STAPLE_CASES.names)
    totals, sizes = stack(rows.totals, ()), stack(rows.sizes, ())
    matrix, by_size = [], []
    for rule in settings.rules_with_bins:
        for keys, metrics in _pairs(cases, rule):
            labels = dict(zip(("rater", "versus", "lesion_type", "rule"), keys, strict=True))
            here = totals[_is(totals, labels)]
            n = {"n_cases": here["case_id"].nunique(), "n_patients": here["patient_id"].nunique()}
            more = {**labels, **n, "level": LEVEL, "data_note": settings.note}
            pair = here.drop(columns="rater").rename(columns={"side": "rater"})
            matrix.append(summarise_cohort(metrics, pair, rule).assign(**more))
            lesions = sizes[_is(sizes, labels)].drop(columns="rater").rename(columns={"side": "rater"})
            by_size.append(summarise_sizes(lesions, rule).assign(**more))
    return RaterTables(
        cases,
        pd.concat(matrix, ignore_index=True)[RATER_MATRIX.names],
        pd.concat(by_size, ignore_index=True)[RATER_SIZES.names],
        staple_cases,
        pd.DataFrame(_staple_rates(staple_cases, settings), columns=STAPLE_RATES.names),
        pd.DataFrame(_williams(cases, settings), columns=WILLIAMS.names),
    )


def _pairs(cases: pd.DataFrame, rule: Rule) -> Iterator[tuple[tuple[str, ...], pd.DataFrame]]:
    of_rule = cases[cases["rule"] == rule.name]
    for keys, metrics in of_rule.groupby(["rater", "versus", "lesion_type", "rule"], sort=False):
        yield tuple(str(key) for key in keys), metrics


def _is(frame: pd.DataFrame, labels: dict[str, str]) -> pd.Series:
    """Rows of one pair under one rule."""
    kept = pd.Series(data=True, index=frame.index)
    for name, value in labels.items():
        kept &= frame[name] == value
    return kept


def _staple_rates(cases: pd.DataFrame, settings: RaterSettings) -> Iterator[dict[str, object]]:
    for (rater, lesion_type), rows in cases.groupby(["rater", "lesion_type"], sort=False):
        for metric in ("sensitivity", "specificity"):
            summary = summarise_cases(rows[metric].to_list(), rows["patient_id"].to_list())
            labels = {"rater": rater, "lesion_type": lesion_type, "metric": metric}
            yield {**labels, **vars(summary), "level": LEVEL, "data_note": settings.note}


def _williams(cases: pd.DataFrame, settings: RaterSettings) -> Iterator[dict[str, object]]:
    """Index of every rater against the other raters, and of every model against all raters."""
    shown = cases[cases["metric"].isin(WILLIAMS_METRICS)]
    for (lesion_type, rule, metric), rows in shown.groupby(["lesion_type", "rule", "metric"], sort=False):
        names = rows[["case_id", "patient_id"]].drop_duplicates()
        values = rows.set_index(["rater", "versus", "case_id"])["value"].sort_index()
        order, patients = names["case_id"].to_list(), names["patient_id"].to_list()
        for reader in (*settings.raters, *settings.models):
            group = [rater for rater in settings.raters if rater != reader]
            own = _columns(values, [(reader, rater) for rater in group], order)
            within = _columns(values, list(combinations(group, 2)), order)
            found = williams_index(own, within, patients)
            pairs = ~np.isnan(np.concatenate([own, within], axis=1))
            yield {
                "rater": reader,
                "lesion_type": lesion_type,
                "rule": rule,
                "metric": metric,
                "williams_index": found.estimate,
                "se": found.se,
                "low": found.low,
                "high": found.high,
                "level": found.level,
                "n_raters": found.n_raters,
                "n_cases": int(pairs.any(axis=1).sum()),
                "n_complete": int(pairs.all(axis=1).sum()),
                "n_patients": found.n_patients,
                "data_note": settings.note,
            }


def _columns(values: "pd.Series[float]", pairs: Sequence[tuple[str, str]], cases: Sequence[str]) -> Floats:
    """(cases, pairs) agreement, mean of both directions; NaN where a pair has not read a case, or it is undefined."""
    columns = [(_one(values, a, b, cases) + _one(values, b, a, cases)) / 2 for a, b in pairs]
    return np.stack(columns, axis=1) if columns else np.zeros((len(cases), 0))


def _one(values: "pd.Series[float]", rater: str, versus: str, cases: Sequence[str]) -> Floats:
    if (rater, versus) not in values.index:
        # no pair of rows: a model as `versus` of a rater is there, but two who share no case are not
        return np.full(len(cases), np.nan)
    return values.loc[(rater, versus)].reindex(cases).to_numpy(np.float64)
