"""Who is left out of which analysis, and why."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from nnunet_ms.analysis.trial.keys import week_text
from nnunet_ms.errors import TableError

EXCLUSION_COLUMNS = ["patient_id", "arm", "analysis", "week", "reason"]


def exclusion_table(rows: Iterable[dict[str, object]]) -> pd.DataFrame:
    """Return exclusions as a table; missing cells are blank text."""
    # cell by cell, because pandas 3 does not fill a column of numbers with text
    full = [[row.get(name) for name in EXCLUSION_COLUMNS] for row in rows]
    return pd.DataFrame([["" if pd.isna(v) else v for v in row] for row in full], columns=EXCLUSION_COLUMNS)


def population_exclusions(outside: pd.DataFrame) -> pd.DataFrame:
    """Return patients outside a population as exclusions."""
    return exclusion_table(
        {**{k: row[k] for k in ("patient_id", "arm", "reason")}, "analysis": f"population {row['population']}"}
        for row in outside.to_dict("records")
    )


def window_exclusions(listing: pd.DataFrame, patients: pd.DataFrame) -> pd.DataFrame:
    """Return the visits that no window takes as exclusions."""
    arm_of = patients.set_index("patient_id")["arm"].to_dict()
    rows = listing[~listing["used"].astype(bool)].to_dict("records")
    return exclusion_table(exclusion(r["patient_id"], arm_of, "visit windows", r["week"], r["reason"]) for r in rows)


def check_rows(frame: pd.DataFrame, bad: pd.Series, path: Path, column: str, expected: str, next_step: str) -> None:
    """Raise TableError at the first bad row, saying what was expected, what was found and what to do."""
    if bad.any():
        first = frame[bad].iloc[0]
        found = "a blank" if pd.isna(first[column]) else f"{first[column]:g}"
        raise TableError(
            f"{path}: row {frame.index[bad][0] + 1}, column {column}: expected {expected}, found {found} "
            f"(patient {first['patient_id']}; {int(bad.sum())} such rows). {next_step}"
        )


def exclusion(patient: object, arm_of: dict[str, str], analysis: str, week: object, reason: str) -> dict[str, object]:
    """Return one row of `exclusion_table`."""
    text = week_text(float(week)) if isinstance(week, float | int) else ""
    arm = arm_of.get(str(patient), "")
    return {"patient_id": patient, "arm": arm, "analysis": analysis, "week": text, "reason": reason}
