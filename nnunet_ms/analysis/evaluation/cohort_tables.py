"""Tables of a cohort, from the rows of its patients: what `evaluate` returns and writes, but for the long tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from nnunet_ms import tables
from nnunet_ms.analysis.concordance_table import CONCORDANCE, QUANTITIES, concordance_rows
from nnunet_ms.analysis.evaluation.agreement_by_location import BY_LOCATION, CLASSES, agreement_by_location
from nnunet_ms.analysis.evaluation.agreement_by_site import BY_SITE, agreement_by_site
from nnunet_ms.analysis.evaluation.agreement_by_visit import BY_VISIT, agreement_by_visit, order_visits
from nnunet_ms.analysis.evaluation.cohort_metrics import SIZE_BINS, summarise_cohort, summarise_sizes
from nnunet_ms.analysis.evaluation.model_comparison import COMPARISON, RANKING, compare_models, rank_models
from nnunet_ms.analysis.evaluation.patient_rows import Block, PatientSummary, Settings, stack
from nnunet_ms.analysis.evaluation.rules import rules_by_name
from nnunet_ms.analysis.evaluation.size_groups import SIZE_GROUPS, summarise_groups
from nnunet_ms.lesions.change import CHANGE_COUNTS
from nnunet_ms.lesions.visits import VISIT_COLUMNS
from nnunet_ms.tables import REFERENCE, Table

_RULES_BY_SUBSET = ("msseg2016", "msseg2_2021")


@dataclass(frozen=True)
class Grouping:
    """By what the cohort is divided: sites of cases, and the visit that the others are compared with (the earliest)."""

    sites: Mapping[str, str] = field(default_factory=dict)
    baseline_visit: str | None = None


def cohort_tables(
    patients: Sequence[PatientSummary], settings: Settings, grouping: Grouping
) -> dict[str, pd.DataFrame]:
    """Tables by name: visits, agreement_cases, agreement, concordance, size_bins, comparison, ranking.

    And by_visit, by_site, by_location, size_groups. Comparison and ranking are empty with one model, by_visit and
    by_site where neither is known, by_location without regions.
    """
    totals = _by_case([block for rows in patients for block in rows.totals], VISIT_COLUMNS)
    # the columns of change are blank where no visit has them
    totals = totals.reindex(columns=VISIT_COLUMNS).astype(dict.fromkeys(CHANGE_COUNTS, "Int64"))
    metrics = _by_case([block for rows in patients for block in rows.metrics], tables.AGREEMENT_CASES.names)
    several = len(settings.raters) > 1
    sizes = [block for rows in patients for block in rows.sizes]
    return {
        "visits": totals[totals["rule"] == settings.rules[0]].reset_index(drop=True),
        "agreement_cases": metrics,
        "agreement": _agreement(metrics, totals, settings),
        "concordance": _concordance(totals, settings),
        "size_bins": _size_bins(sizes, totals, settings),
        "size_groups": _size_groups(sizes, settings),
        "agreement_by_visit": _by_visit(metrics, totals, settings, grouping),
        "agreement_by_site": _by_site(metrics, totals, settings, grouping),
        "agreement_by_location": _by_location([block for rows in patients for block in rows.places], totals, settings),
        "comparison": compare_models(metrics) if several else pd.DataFrame(columns=COMPARISON.names),
        "ranking": rank_models(metrics) if several else pd.DataFrame(columns=RANKING.names),
    }


def _by_case(blocks: list[Block], columns: list[str]) -> pd.DataFrame:
    return stack(blocks, columns).sort_values("case_id", kind="stable", ignore_index=True)


def groups(settings: Settings) -> list[tuple[str, dict[str, str]]]:
    """Every rule, model and lesion type, in the order of the printed tables: the model, and the labels of its rows."""
    return [
        (rater, {"rater": rater, "lesion_type": lesion_type, "rule": rule})
        for rule in settings.rules
        for lesion_type in settings.labels
        for rater in settings.raters
    ]


def _agreement(metrics: pd.DataFrame, totals: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    frames = []
    for rater, labels in groups(settings):
        rule = rules_by_name((labels["rule"],))[0]
        here = select(metrics, labels)
        both = select(totals, {**labels, "rater": [REFERENCE, rater]})
        frames.append(summarise_cohort(here, both, rule).assign(**labels, subset=""))
    table = pd.concat(frames, ignore_index=True)
    by_subset = table["rule"].isin(_RULES_BY_SUBSET)
    without = table["metric"].str.startswith("tested_")
    table["subset"] = "all cases"
    table.loc[by_subset & ~without, "subset"] = "cases with reference lesions"
    table.loc[by_subset & without, "subset"] = "cases without reference lesions"
    return table[[*tables.AGREEMENT.names, "se", "low", "high", "subset"]]


def _concordance(totals: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    frames = [
        concordance_rows(paired(totals, rater, labels, quantity), quantity).assign(**labels, data_note=settings.note)
        for rater, labels in groups(settings)
        for quantity in QUANTITIES
    ]
    return pd.concat(frames, ignore_index=True)[CONCORDANCE.names]


def paired(totals: pd.DataFrame, rater: str, labels: Mapping[str, str], quantity: str) -> pd.DataFrame:
    """One row per case: `patient_id`, `reference`, `prediction`."""
    keys = ["case_id", "patient_id", quantity]
    reference, prediction = (select(totals, {**labels, "rater": name})[keys] for name in (REFERENCE, rater))
    both = reference.merge(prediction, on=["case_id", "patient_id"], suffixes=("_reference", "_prediction"))
    return both.rename(columns={f"{quantity}_reference": "reference", f"{quantity}_prediction": "prediction"})


def _size_bins(sizes: list[Block], totals: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    frames = []
    for rater, labels in groups(settings):
        here = _counted(sizes, rater, labels)
        cases = select(totals, {**labels, "rater": REFERENCE})
        counts = {f"n_{name}s": cases[f"{name}_id"].nunique() for name in ("case", "patient")}
        rows = summarise_sizes(here, rules_by_name((labels["rule"],))[0])
        frames.append(rows.assign(**labels, **counts, data_note=settings.note)[SIZE_BINS.names])
    return pd.concat(frames, ignore_index=True)


def _size_groups(sizes: list[Block], settings: Settings) -> pd.DataFrame:
    frames = []
    for rater, labels in groups(settings):
        here = _counted(sizes, rater, labels)
        rows = summarise_groups(here, rules_by_name((labels["rule"],))[0])
        frames.append(rows.assign(**labels, data_note=settings.note)[SIZE_GROUPS.names])
    return pd.concat(frames, ignore_index=True)


def _counted(blocks: list[Block], rater: str, labels: Mapping[str, str]) -> pd.DataFrame:
    """Counts of one model's lesions and of the reference's, for one lesion type and rule."""
    wanted = {"model": rater, "lesion_type": labels["lesion_type"], "rule": labels["rule"]}
    return stack([block for block in blocks if all(block[name] == value for name, value in wanted.items())], [])


def _by_visit(metrics: pd.DataFrame, totals: pd.DataFrame, settings: Settings, grouping: Grouping) -> pd.DataFrame:
    visits = order_visits(totals, grouping.baseline_visit)
    frames = [
        agreement_by_visit(select(metrics, labels), _both(totals, rater, labels), rule, visits).assign(**labels)
        for rater, labels in groups(settings)
        for rule in rules_by_name((labels["rule"],))
    ]
    return _joined(frames, BY_VISIT, settings).astype({"week": float})


def _by_site(metrics: pd.DataFrame, totals: pd.DataFrame, settings: Settings, grouping: Grouping) -> pd.DataFrame:
    frames = [
        agreement_by_site(select(metrics, labels), _both(totals, rater, labels), rule, grouping.sites).assign(**labels)
        for rater, labels in groups(settings)
        for rule in rules_by_name((labels["rule"],))
    ]
    return _joined(frames, BY_SITE, settings)


def _by_location(places: list[Block], totals: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Of the first rule, as `lesions.csv`: only there every lesion has a place."""
    order = {name: number for number, name in enumerate((*CLASSES, *dict.fromkeys(settings.extras.names.values())))}
    frames = []
    for rater, labels in groups(settings) if places else []:
        here = _counted(places, rater, labels)
        cases = select(totals, {**labels, "rater": REFERENCE})
        counts = {f"n_{name}s": cases[f"{name}_id"].nunique() for name in ("case", "patient")}
        for scheme, rows in here.groupby("scheme", sort=False) if len(here) else ():
            frames.append(agreement_by_location(rows, order).assign(**labels, **counts, scheme=scheme))
    return _joined(frames, BY_LOCATION, settings)


def _both(totals: pd.DataFrame, rater: str, labels: Mapping[str, str]) -> pd.DataFrame:
    return select(totals, {**labels, "rater": [REFERENCE, rater]})


def _joined(frames: list[pd.DataFrame], table: Table, settings: Settings) -> pd.DataFrame:
    filled = [frame for frame in frames if len(frame)]
    if not filled:
        return pd.DataFrame(columns=table.names)
    return pd.concat(filled, ignore_index=True).assign(data_note=settings.note)[table.names]


def select(frame: pd.DataFrame, labels: Mapping[str, str | list[str]]) -> pd.DataFrame:
    """Rows in which each named column has its value, or one of its values."""
    kept = pd.Series(data=True, index=frame.index)
    for name, value in labels.items():
        kept &= frame[name].isin([value] if isinstance(value, str) else value)
    return frame[kept]
