"""participants.tsv and sessions.tsv of a BIDS data set become `patients.csv` and `assessments.csv`.

BIDS fixes few names: age (years), sex, group, acq_time. Other columns are taken over where their name says what they
are (`COLUMNS`), and kept under their own name where it does not.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from nnunet_ms.dates import DAY_EXPECTED, day_of
from nnunet_ms.errors import TableError
from nnunet_ms.table_files import as_number, read_csv_file
from nnunet_ms.tables import ASSESSMENTS, PATIENTS, check_unique, write_table

COLUMNS: dict[str, tuple[str, ...]] = {
    "arm": ("arm", "treatment_arm", "treatment", "group"),
    "age_years": ("age_years", "age"),
    "sex": ("sex", "gender"),
    "region": ("region", "country"),
    "edss_baseline": ("edss_baseline", "baseline_edss", "edss"),
    "edss": ("edss",),
    "t25fw_s": ("t25fw_s", "t25fw"),
    "nhpt_s": ("nhpt_s", "9hpt", "nhpt"),
    "site": ("site", "centre", "center"),
}
DAYS = {"week": 7.0, "weeks": 7.0, "day": 1.0, "days": 1.0, "days_from_baseline": 1.0, "month": 30.4375}
DAYS |= {"months": 30.4375, "year": 365.25, "years": 365.25}
SEXES = {"m": "M", "male": "M", "f": "F", "female": "F"}


@dataclass(frozen=True)
class Clinical:
    """What the tables hold: our two tables (None: no such file), the week of a session, the site of a patient."""

    patients: pd.DataFrame | None = None
    assessments: pd.DataFrame | None = None
    week_of: Mapping[tuple[str, str], float] = field(default_factory=dict)
    site_of: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_clinical(source: Path) -> Clinical:
    """Read participants.tsv and every sub-*/sub-*_sessions.tsv; without them all is empty.

    Weeks count from a column that says so (`DAYS`), else from the dates of acq_time, with 0 at the patient's first
    session. A session without a readable date has no week, and `notes` say so; where it may be the first one, no
    session of the patient has a week.

    Raises
    ------
    TableError
        If a file is no table, lacks its key column, or names a participant or session twice.

    Examples
    --------
    >>> Path("bids/sub-01").mkdir(parents=True)
    >>> times = ["2001-03-01T09:30", "2001-03-15T16:00"]
    >>> sessions = pd.DataFrame({"session_id": ["ses-1", "ses-2"], "acq_time": times})
    >>> sessions.to_csv("bids/sub-01/sub-01_sessions.tsv", sep=chr(9), index=False)
    >>> read_clinical(Path("bids")).week_of
    {('01', '1'): 0.0, ('01', '2'): 2.0}
    """
    participants = _read(source / "participants.tsv", "participant_id")
    sessions = [
        _with_untold(table.assign(patient_id=path.parent.name.removeprefix("sub-")), path.parent)
        for path in sorted(source.glob("sub-*/sub-*_sessions.tsv"))
        if (table := _read(path, "session_id")) is not None
    ]
    assessments, week_of, undated = _assessments(sessions)
    patients, site_of, notes = _patients(participants, assessments)
    notes = [*undated, *notes]
    if assessments is not None and "edss" not in assessments:
        assessments, notes = None, [*notes, "sessions.tsv has no EDSS: no assessments.csv"]
    return Clinical(patients, assessments, week_of, site_of, tuple(notes))


def write_clinical(clinical: Clinical, folder: Path) -> list[str]:
    """Write the tables that there are; return the names of their files."""
    tables = {"patients.csv": clinical.patients, "assessments.csv": clinical.assessments}
    for name, table in tables.items():
        if table is not None:
            write_table(table, folder / name)
    return [name for name, table in tables.items() if table is not None]


def _read(path: Path, key: str) -> pd.DataFrame | None:
    if not path.is_file():
        return None
    table = read_csv_file(path, delimiter="\t", advice="Save it as text with tabs, in UTF-8.", kind="a table with tabs")
    if key not in table:
        raise TableError(f"{path}: expected a column {key}, found {list(table.columns)[:5]}. Is it separated by tabs?")
    check_unique(table, (key,), path)
    return table.replace({"n/a": None, "N/A": None})


def _with_untold(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Add the sessions that have a folder but no row: they may be the first, and have no date."""
    there = {path.name for path in folder.glob("ses-*") if path.is_dir()}
    untold = sorted(there - set(table["session_id"]))
    rows = pd.DataFrame({"session_id": untold, "patient_id": folder.name.removeprefix("sub-"), UNTOLD: True})
    return pd.concat([table.assign(**{UNTOLD: False}), rows], ignore_index=True).astype(object)


UNTOLD = " no row"  # the space keeps it apart from every column of a file


def _column(table: pd.DataFrame, names: Iterable[str]) -> str | None:
    lower = {str(name).lower(): str(name) for name in table.columns}
    return next((lower[name] for name in names if name in lower), None)


def _assessments(
    sessions: list[pd.DataFrame],
) -> tuple[pd.DataFrame | None, dict[tuple[str, str], float], list[str]]:
    week_of: dict[tuple[str, str], float] = {}
    notes: list[str] = []
    parts = []
    for table in sessions:
        weeks, undated = _weeks(table)
        notes += undated
        table, weeks = table[table[UNTOLD].eq(other=False)], weeks[table[UNTOLD].eq(other=False)]
        patient, names = table["patient_id"], table["session_id"].str.removeprefix("ses-")
        week_of |= {
            (p, s): float(w) for p, s, w in zip(patient, names, weeks, strict=True) if pd.notna(w) and s is not None
        }
        columns = {"patient_id": patient, "week": weeks}
        for ours in ("edss", "t25fw_s", "nhpt_s"):
            if (theirs := _column(table, COLUMNS[ours])) is not None:
                columns[ours] = table[theirs]
        parts.append(pd.DataFrame(columns))
    if not parts:
        return None, week_of, notes
    whole = pd.concat(parts, ignore_index=True)
    known = [name for name in ASSESSMENTS.names if name in whole]
    return whole.loc[whole["week"].notna(), known].reset_index(drop=True), week_of, notes


def _weeks(table: pd.DataFrame) -> tuple[pd.Series, list[str]]:
    """Weeks since the first session, from the first column that tells; missing where none does. And what is missing."""
    named = _column(table, DAYS)
    if named is not None:
        weeks = table[named].map(as_number, na_action="ignore").astype(float) * (DAYS[named.lower()] / 7.0)
        unread = weeks.isna() & table[named].notna()
        return weeks, [_unread(table, named, unread, unread, "a number")] if unread.any() else []
    timed = _column(table, ("acq_time",))
    if timed is None:
        return pd.Series(float("nan"), index=table.index), []
    # whole days, from dates as they are written: visits have no hours
    days = table[timed].map(lambda text: None if (day := day_of(str(text))) is None else day.toordinal()).astype(float)
    missing = days.isna()
    if not missing.any():
        return (days - days.min()) / 7.0, []
    lost = missing if _first_is_known(table, days) else missing | True
    return ((days - days.min()) / 7.0).mask(lost), [_unread(table, timed, missing, lost, DAY_EXPECTED)]


def _first_is_known(table: pd.DataFrame, days: pd.Series) -> bool:
    """Say whether no session without a date can be the first: neither by its row nor by its name."""
    dated = days.notna()
    if not dated.any() or not dated.iloc[0] or days.iloc[0] != days.min():
        return False
    names = table["session_id"].map(lambda name: _natural(str(name).removeprefix("ses-")))
    return all(name > names.iloc[0] for name in names[~dated])


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """Numbers inside a name compare as numbers: M6 comes before M12."""
    parts = re.split(r"(\d+)", name.lower())
    return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts if part]


def _unread(table: pd.DataFrame, column: str, missing: pd.Series, lost: pd.Series, expected: str) -> str:
    first = table[missing].iloc[0]
    names = ", ".join(map(str, table.loc[lost, "session_id"]))
    end = f"({int(missing.sum())} such rows): no week for {names}, and no row in assessments.csv"
    if first[UNTOLD]:
        return f"sub-{first['patient_id']}_sessions.tsv: expected a row of {first['session_id']}, found none {end}"
    found = "n/a" if pd.isna(first[column]) else repr(first[column])
    return (
        f"sub-{first['patient_id']}_sessions.tsv: row {first.name + 1}, column {column}: expected {expected}, "
        f"found {found} {end}"
    )


def _patients(
    participants: pd.DataFrame | None, assessments: pd.DataFrame | None
) -> tuple[pd.DataFrame | None, dict[str, str], list[str]]:
    if participants is None:
        return None, {}, []
    ids = participants["participant_id"].str.removeprefix("sub-")
    table = pd.DataFrame({"patient_id": ids})
    taken = {"participant_id"}
    for ours in ("arm", "age_years", "sex", "region", "edss_baseline", "site"):
        theirs = _column(participants, COLUMNS[ours])
        if theirs is not None:
            table[ours] = participants[theirs]
            taken.add(theirs)
    if "sex" in table:
        table["sex"] = table["sex"].map(lambda value: SEXES.get(str(value).lower(), value))
    if "edss_baseline" not in table and assessments is not None and "edss" in assessments:
        first = assessments.sort_values("week").drop_duplicates("patient_id").set_index("patient_id")["edss"]
        table["edss_baseline"] = ids.map(first)
    rest = [name for name in participants if name not in taken and name not in table]
    table = table.join(participants[rest])
    missing = [c.name for c in PATIENTS.columns if c.required and c.name not in table]
    notes = [f"participants.tsv has no {', '.join(missing)}: nnunet-ms-endpoints needs it in patients.csv"]
    sites = dict(zip(ids, table["site"], strict=True)) if "site" in table else {}
    return table, {patient: str(site) for patient, site in sites.items() if site is not None}, notes if missing else []
