"""How weeks and contrasts are written in tables, and how the patients of two tables are the same."""

import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from nnunet_ms.errors import TableError


def check_patients(found: pd.Series, known: Iterable[str], path: Path, known_path: Path) -> None:
    """Raise TableError if ids of two tables look like the same patients written in two ways, or share none.

    Patients of one table only are listed elsewhere and go on; an id that lacks the other's leading zeros, capitals or
    blanks, or has a spreadsheet's ".0", would be listed as two strangers.

    Parameters
    ----------
    found : (n,) pandas.Series
        `patient_id` of a table about patients, one per row, with the row numbers (from 0) as index.
    known : iterable of str
        Ids of the patient table.
    path, known_path : Path
        Of the two tables, for the message.

    Examples
    --------
    >>> known, paths = ["001", "002"], (Path("assessments.csv"), Path("patients.csv"))
    >>> check_patients(pd.Series(["001", "009"], name="patient_id"), known, *paths)
    >>> check_patients(pd.Series(["001", "2"], name="patient_id"), known, *paths)
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.TableError: assessments.csv: row 2, column patient_id: expected one way to write an id, found ...
    """
    ids = list(known)
    strangers = found[~found.isin(ids)]
    meant = strangers.map(_core).map({_core(name): name for name in ids})
    none = len(strangers) == len(found) > 0
    if not none and meant.isna().all():
        return
    row, there = (
        (meant.first_valid_index(), meant.dropna().iloc[0]) if meant.notna().any() else (found.index[0], ids[0])
    )
    what = f"no patient of {known_path.name} is in {path.name}" if none else "expected one way to write an id"
    zeros = " A spreadsheet may have taken leading zeros." if meant.notna().any() else ""
    raise TableError(
        f"{path}: row {int(row) + 1}, column {found.name}: {what}, found such as {there} and {found[row]} "
        f"({len(strangers) if none else meant.notna().sum()} such rows). Write the ids alike in both tables.{zeros}"
    )


def _core(name: str) -> str:
    """Return an id without what spreadsheets and typists change: zeros in front, ".0" behind, capitals, blanks."""
    text = "".join(name.split()).casefold()
    return re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(r"^(\d+)\.0+$", r"\1", text))


def week_text(week: float) -> str:
    """Return a week as the `visit` column writes it: 96.0 -> "96", 24.5 -> "24.5"."""
    return f"{week:g}"


def week_list(weeks: Iterable[float]) -> str:
    """Return weeks for a message: [0, 24.5].

    >>> week_list([0.0, 24.5])
    '[0, 24.5]'
    """
    return f"[{', '.join(map(week_text, weeks))}]"


def contrast_text(arm: str, reference: str) -> str:
    """Return the name of a difference between arms."""
    return f"{arm} - {reference}"
