"""Time from a patient's first scan to confirmed disability progression, from repeated EDSS.

As the group's own survival model (Coll et al., Brain Commun 2025;7:fcaf243) one scan per patient counts, the first, and
progression is confirmed after half a year. Theirs counts progression without relapses only; relapses are not looked at
here. The derivation is that of the trial's endpoints (`disability.confirmed_progression`), from the scan on.
"""

import datetime
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from nnunet_ms.classification.stratification.cohort import LONGEST_DAYS, SCALE
from nnunet_ms.disability.confirmed_progression import OUTCOMES, PRESETS, ProgressionRule, derive_progression
from nnunet_ms.errors import TableError
from nnunet_ms.options import chosen
from nnunet_ms.parallel import Failure
from nnunet_ms.tables import ASSESSMENTS, Column, Table, read_table

DAYS_PER_WEEK = 7
NEAR_WEEKS = LONGEST_DAYS / DAYS_PER_WEEK  # how far from the scan an EDSS may be to be its baseline
CONFIRMED = ("cdp24", "cdp12")
RULE: ProgressionRule = PRESETS["opera"]  # EDSS +1.0, or +0.5 from a baseline above 5.5; what stays open is censored
TARGETS = Table(
    "time to progression",
    (
        *(Column(name) for name in ("case_id", "patient_id", "visit")),
        Column("age_years", "number", blank=True, minimum=0, maximum=130),
        Column("lesion_volume_ml", "number", blank=True, minimum=0),
        Column("edss_baseline", "number", minimum=0, maximum=10),
        Column("edss_baseline_week", "number"),
        Column("time_weeks", "number", minimum=0),
        Column("event", "integer", minimum=0, maximum=1),
        Column("reason", blank=True),
    ),
    key=("case_id",),
)
_NO_CONFIRMATION = "no assessment after the scan that could confirm or exclude progression"


@dataclass(frozen=True)
class SurvivalTargets:
    """Time to progression of the scans that have one, and what was left out.

    Attributes
    ----------
    rows : pandas.DataFrame
        `TARGETS`, in the order of the scans: one row per patient.
    left_out : list of Failure
        Scans and patients without, each with its reason.
    """

    rows: pd.DataFrame
    left_out: list[Failure]


def survival_targets(scans: pd.DataFrame, assessments: str | Path, outcome: str = "cdp24") -> SurvivalTargets:
    r"""Follow each patient from the first scan to confirmed progression, or to the last assessment that could confirm.

    Parameters
    ----------
    scans : pandas.DataFrame
        `prepared_folder.PREPARED_SCANS`, with `scan_date` or `scan_day`.
    assessments : str or Path
        CSV of `tables.ASSESSMENTS`: patient_id, week or date, edss; all of a patient, those before the scan too. A
        `week` counts from the same day as `scan_day`, a `date` is beside `scan_date`.
    outcome : {"cdp24", "cdp12"}, optional
        EDSS confirmed after 24 or 12 weeks.

    Returns
    -------
    SurvivalTargets
        The baseline is the last EDSS of the 183 days up to the scan, or else the first of the 183 days after it.
        Left out, and listed, are later scans of a patient, patients without such a baseline, with confirmed progression
        before the scan, without an assessment that could confirm, and patients that only one of the tables knows.

    Raises
    ------
    TableError
        If a column or a time is missing, the tables share no patient, or an EDSS is not on the scale.
    OptionError
        If the outcome is another one.

    References
    ----------
    Coll L et al. Brain Commun 7:fcaf243, 2025. doi:10.1093/braincomms/fcaf243

    Examples
    --------
    >>> weeks = (0, 12, 24, 36, 48)
    >>> rows = [f"P1,{week},{edss}" for week, edss in zip(weeks, (2, 2, 3, 3, 3.5))]
    >>> rows += [f"P2,{week},2" for week in weeks] + ["P3,0,4"]
    >>> _ = Path("assessments.csv").write_text("patient_id,week,edss\n" + "\n".join(rows))
    >>> patients = ["P1", "P2", "P3"]
    >>> scans = pd.DataFrame({"case_id": patients, "patient_id": patients, "visit": "base", "scan_day": 0.0})
    >>> found = survival_targets(scans, "assessments.csv", outcome="cdp12")
    >>> found.rows[["case_id", "time_weeks", "event"]].values.tolist()
    [['P1', 24.0, 1], ['P2', 48.0, 0]]
    >>> found.left_out[0].reason
    'no assessment after the scan that could confirm or exclude progression'
    """
    chosen(outcome, CONFIRMED, "outcome")
    path = Path(assessments)
    table, by_date = _assessments(path, scans)
    _check(table, path)
    first, left_out = _first_scans(scans, by_date)
    visits = {str(name): part for name, part in table.groupby("patient_id", sort=False)}
    if not set(visits) & set(first["patient_id"].astype(str)):
        raise TableError(
            f"{path}: expected patients of the prepared scans, found none: {next(iter(visits), 'nobody')} here, "
            f"{next(iter(first['patient_id']), 'nobody')} there, for instance. Write the ids in one way."
        )
    rows = []
    for scan in first.to_dict("records"):
        found = _follow(scan, visits.get(str(scan["patient_id"])), outcome)
        if isinstance(found, str):
            left_out.append(Failure(str(scan["case_id"]), found))
        else:
            rows.append(found)
    strangers = sorted(set(visits) - set(scans["patient_id"].astype(str)))
    left_out += [Failure(name, "has assessments, but no prepared scan") for name in strangers]
    return SurvivalTargets(pd.DataFrame(rows, columns=TARGETS.names), left_out)


def _assessments(path: Path, scans: pd.DataFrame) -> tuple[pd.DataFrame, bool]:
    """Assessments that have an EDSS, with `place`: weeks, or days as ordinals; and whether they are dates."""
    table = read_table(path, ASSESSMENTS)
    told = {name: name in scans and bool(scans[name].notna().any()) for name in ("scan_day", "scan_date")}
    ways = [("week", "scan_day"), ("date", "scan_date")]
    both = [(here, there) for here, there in ways if here in table and told[there]]
    if not both:
        found = [name for name, is_told in told.items() if is_told] or "neither"
        raise TableError(
            f"{path}: expected week, where the manifest of nnunet-ms-stratify prepare has scan_day, or date, where it "
            f"has scan_date, found {[name for name in ('week', 'date') if name in table] or 'neither'} here and "
            f"{found} in the prepared scans. Add the column; scans that an earlier version prepared are prepared again."
        )
    here, there = both[0]
    table = table[table["edss"].notna()].reset_index(names="row")
    place = table[here].map(_ordinal) if here == "date" else table[here].astype(float)
    if place.isna().any():
        number = int(table.loc[place.isna(), "row"].iloc[0]) + 1
        raise TableError(f"{path}: row {number}: expected a value in column {here}, found a blank. Fill it in.")
    return table.assign(place=place), there == "scan_date"


def _ordinal(date: object) -> float:
    """Weeks since a day that all dates share; NaN for a blank."""
    if date is None or bool(pd.isna(date)):
        return math.nan
    return datetime.date.fromisoformat(str(date)[:10]).toordinal() / DAYS_PER_WEEK


def _check(table: pd.DataFrame, path: Path) -> None:
    strange = table[~table["edss"].isin(SCALE)]
    if len(strange):
        row = strange.iloc[0]
        raise TableError(
            f"{path}: row {int(row['row']) + 1} (patient {row['patient_id']}), column edss: expected 0, 1, 1.5, ... 10 "
            f"(0.5 does not exist), found {row['edss']:g}. Correct it, or leave it blank."
        )
    again = table[table.duplicated(["patient_id", "place"])]
    if len(again):
        row = again.iloc[0]
        raise TableError(
            f"{path}: row {int(row['row']) + 1}: expected one EDSS of patient {row['patient_id']} a day, found two. "
            "Remove one of them."
        )


def _first_scans(scans: pd.DataFrame, by_date: bool) -> tuple[pd.DataFrame, list[Failure]]:
    """The first scan of each patient, with `place` in weeks; the others are left out."""
    place = scans["scan_date"].map(_ordinal) if by_date else scans["scan_day"].astype(float) / DAYS_PER_WEEK
    timed = scans.assign(place=place)
    left_out = [
        Failure(str(case), f"no {'scan_date' if by_date else 'scan_day'}")
        for case in timed.loc[timed["place"].isna(), "case_id"]
    ]
    timed = timed[timed["place"].notna()]
    order = timed.sort_values(["patient_id", "place"], kind="stable")
    later = order.duplicated("patient_id")
    left_out += [
        Failure(str(case), "a later scan of the patient: the first one counts") for case in order.loc[later, "case_id"]
    ]
    return timed.loc[timed.index.isin(order.index[~later])], left_out


def _follow(scan: Mapping[Any, Any], visits: pd.DataFrame | None, outcome: str) -> dict[str, object] | str:
    """The row of one scan, or why it has none."""
    if visits is None:
        return "the patient has no assessments"
    visits = visits.assign(week=visits["place"] - float(scan["place"])).sort_values("week", kind="stable")
    before, after = visits[visits["week"] <= 0], visits[visits["week"] > 0]
    near_before = before[before["week"] >= -NEAR_WEEKS - 1e-6]
    near = near_before.iloc[-1:] if len(near_before) else after[after["week"] <= NEAR_WEEKS + 1e-6].iloc[:1]
    if near.empty:
        return f"no EDSS within {LONGEST_DAYS} days of the scan"
    earlier = _derived(visits, before.iloc[:1], outcome) if len(before) else None
    if earlier is not None and earlier["event"] and float(earlier["onset_week"]) <= 0:
        return f"confirmed progression before the scan, {-float(earlier['onset_week']):.4g} weeks"
    row = _derived(visits[visits["week"] > 0], near, outcome)
    if not float(row["time_weeks"]) > 0:
        return _NO_CONFIRMATION
    return {
        **{name: scan.get(name) for name in TARGETS.names if name in scan},
        "edss_baseline": float(near["edss"].iloc[0]),
        "edss_baseline_week": float(near["week"].iloc[0]),
        "time_weeks": float(row["time_weeks"]),
        "event": int(row["event"]),
        "reason": str(row["reason"]),
    }


def _derived(visits: pd.DataFrame, baseline: pd.DataFrame, outcome: str) -> Mapping[Any, Any]:
    """Progression over one baseline assessment; weeks count from the scan."""
    start = float(baseline["week"].iloc[0])
    zero = min(start, 0.0)  # of a baseline before the scan, all that follows it counts
    patient = pd.DataFrame({"patient_id": ["one"], "arm": "", "edss_baseline": float(baseline["edss"].iloc[0])})
    later = visits[visits["week"] > start].assign(patient_id="one")
    later = later.assign(week=later["week"] - zero)
    row: dict[Any, Any] = derive_progression(patient, later, OUTCOMES[outcome], RULE).iloc[0].to_dict()
    return {**row, "onset_week": row["onset_week"] + zero, "time_weeks": row["time_weeks"] + zero}
