"""What one column of a table may hold, and the check of its cells: types, ranges, dates, spellings."""

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from nnunet_ms.arrays import Bools, Floats
from nnunet_ms.dates import DAY_EXPECTED, DAY_NEXT_STEP, iso_day
from nnunet_ms.errors import TableError
from nnunet_ms.table_files import as_text, by_value

Kind = Literal["text", "category", "date", "integer", "number", "flag"]


@dataclass(frozen=True)
class Column:
    """One column: `required` says it must be there, `blank` that single values may be missing.

    A category is text whose values may not differ in case and blanks only; a date is one day. `minimum` and `maximum`
    are what the thing measured can be; `next_step` says what to do with a value outside.
    """

    name: str
    kind: Kind = "text"
    required: bool = True
    blank: bool = False
    minimum: float | None = None
    maximum: float | None = None
    next_step: str = "Correct the table."


_FLAGS = {"true": True, "1": True, "yes": True, "y": True, "false": False, "0": False, "no": False, "n": False}


def typed(values: pd.Series, column: Column, path: Path) -> pd.Series:
    """Return the cells of a column in its kind's type, checked.

    Parameters
    ----------
    values : (n,) pandas.Series
        Text, None where blank; of Parquet also numbers.
    column : Column
        What the cells must be.
    path : Path
        For messages.

    Returns
    -------
    (n,) pandas.Series
        Text and categories as `str` or None, dates as 2021-12-31, integers as `Int64`, numbers as float64, flags as
        `boolean`.

    Raises
    ------
    TableError
        Naming the first row (1 = first below the header) whose cell the column cannot hold.

    Examples
    --------
    >>> edss = Column("edss", "number", blank=True, minimum=0, maximum=10)
    >>> typed(pd.Series(["3.5", None]), edss, Path("assessments.csv")).tolist()
    [3.5, nan]
    >>> typed(pd.Series(["3.5", "99"]), edss, Path("assessments.csv"))
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.TableError: assessments.csv: row 2, column edss: expected a number from 0 to 10, found '99' ...
    """
    if column.kind in ("integer", "number"):
        numbers = pd.to_numeric(values, errors="coerce").astype(float)
        _check_values(values, numbers, column, path)
        return numbers.astype("Int64") if column.kind == "integer" else numbers
    text = as_text(values, path) if values.dtype != object else values
    cells = text
    if column.kind == "date":
        cells = by_value(text, iso_day)
    elif column.kind == "flag":
        cells = text.map(_flag).astype("boolean")
    _check_values(text, cells, column, path)
    if column.kind == "category":
        check_spellings(text, path)
    return cells


def _flag(value: object) -> bool | None:
    return _FLAGS.get(str(value).lower())


def check_spellings(values: pd.Series, path: Path) -> None:
    """Raise TableError if two categories of a column differ in case and blanks only: they would be two groups.

    Parameters
    ----------
    values : pandas.Series
        Text, with the column's name and the rows (from 0) as index; None is blank.
    path : Path
        For the message.

    Examples
    --------
    >>> check_spellings(pd.Series(["F", "M", "f"], name="sex"), Path("patients.csv"))
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.TableError: patients.csv: row 3, column sex: expected one spelling, found 'f' and 'F', which ...
    """
    text = values.dropna().astype(str)
    first: dict[str, str] = {}
    for value in text.unique():
        other = first.setdefault(spelling(value), value)
        if other != value:
            # the rarer one is the slip
            value, other = sorted((value, other), key=lambda one: int((text == one).sum()))
            rows = text.index[text == value]
            raise TableError(
                f"{path}: row {rows[0] + 1}, column {values.name}: expected one spelling, found {value!r} and "
                f"{other!r}, which differ in case, blanks or dashes only ({len(rows)} such rows). Write them alike."
            )


def spelling(text: str) -> str:
    """Return a text without what typists and spreadsheets change: capitals, blanks, dashes in words, forms of letters.

    Examples
    --------
    >>> spelling("Interferon beta-1a") == spelling("INTERFERON  beta 1a")
    True
    >>> spelling("4-5") == spelling("45")
    False
    """
    joined = "".join(unicodedata.normalize("NFKC", text).split()).casefold()
    return re.sub(rf"(?<=[^\W\d_])[{_DASHES}]+(?=\w)|(?<=\w)[{_DASHES}]+(?=[^\W\d_])", "", joined)


_DASHES = r"_\-\u2010-\u2015\u2212"


def _check_values(raw: pd.Series, typed: pd.Series, column: Column, path: Path) -> None:
    blank = raw.isna().to_numpy()
    bad = typed.isna().to_numpy() & ~blank
    expected, step = {"flag": "true or false", "date": DAY_EXPECTED}.get(column.kind, "text"), column.next_step
    if column.kind == "date":
        step = DAY_NEXT_STEP
    elif column.kind in ("integer", "number"):
        expected = f"{'a whole' if column.kind == 'integer' else 'a'} number{_range(column)}"
        bad |= ~blank & ~_possible(typed.to_numpy(), column)
    if not column.blank:
        bad |= blank
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        found = "a blank" if blank[row] else _shown(raw.iloc[row])
        raise TableError(
            f"{path}: row {row + 1}, column {column.name}: expected {expected}, found {found} "
            f"({int(bad.sum())} such rows). {step}"
        )


def _range(column: Column) -> str:
    if column.minimum is not None and column.maximum is not None:
        return f" from {column.minimum:g} to {column.maximum:g}"
    if column.minimum is not None:
        return f" >= {column.minimum:g}"
    return "" if column.maximum is None else f" <= {column.maximum:g}"


def _possible(values: Floats, column: Column) -> Bools:
    """Which values the column can hold; False where there is none."""
    possible = np.isfinite(values)
    if column.kind == "integer":  # beyond 2**53 not every whole number is a float
        possible &= (values == np.rint(values)) & (np.abs(values) <= 2**53)
    if column.minimum is not None:
        possible &= values >= column.minimum
    if column.maximum is not None:
        possible &= values <= column.maximum
    return possible


def _shown(value: object) -> str:
    """A cell for a message, short enough for one line."""
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else f"{text[:60]}... ({len(text)} characters)"
