"""What one column of a table may hold, and the check of its cells: types, ranges, dates, spellings."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from nnunet_ms.arrays import Bools, Floats
from nnunet_ms.dates import DAY_EXPECTED, DAY_NEXT_STEP, DayOrder, is_ordered, iso_day
from nnunet_ms.errors import TableError
from nnunet_ms.table_files import as_number, as_text, by_value

Kind = Literal["text", "category", "date", "integer", "number", "flag"]


@dataclass(frozen=True)
class Column:
    """One column: `required` says it must be there, `blank` that single values may be missing.

    A category is text whose values may not differ in case and blanks only; a date is one day. `minimum` and `maximum`
    are what the thing measured can be; `next_step` says what to do with a value outside. `na_is_name`: whether NA is a
    category, such as North America, and no blank.
    """

    name: str
    kind: Kind = "text"
    required: bool = True
    blank: bool = False
    minimum: float | None = None
    maximum: float | None = None
    next_step: str = "Correct the table."
    na_is_name: bool = False


_FLAGS = {"true": True, "1": True, "yes": True, "y": True, "false": False, "0": False, "no": False, "n": False}


# how programs write "nothing": spreadsheets, R, SAS, databases
NOTHING = frozenset({"na", "n/a", "#n/a", "nan", ".", "null", "none", "-"})
_NAMES_TOO = frozenset({"none", "-"})  # what may be the name of a category, such as an untreated arm


def typed(values: pd.Series, column: Column, path: Path, dates: DayOrder = "iso") -> pd.Series:
    """Return the cells of a column in its kind's type, checked.

    Parameters
    ----------
    values : (n,) pandas.Series
        Text, None where blank; of Parquet also numbers.
    column : Column
        What the cells must be.
    path : Path
        For messages.
    dates : {"iso", "day-first", "month-first"}, optional
        What comes first in dates that are not ISO 8601.

    Returns
    -------
    (n,) pandas.Series
        A number, date, flag or category that says "nothing" (`NOTHING`, such as NA or a dot) is a blank. Text and
        categories as `str` or None, dates as 2021-12-31, integers as `Int64`, numbers as float64, flags as `boolean`.

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
        numbers = _numbers(values)
        _check_values(values, numbers, column, path)
        return numbers.astype("Int64") if column.kind == "integer" else numbers
    text = as_text(values, path) if values.dtype != object else values
    cells = text.mask(_is_nothing(text, column), None) if column.kind == "category" else text
    if column.kind == "date":
        cells = by_value(text, partial(iso_day, order=dates))
    elif column.kind == "flag":
        cells = text.map(_flag).astype("boolean")
    _check_values(text, cells, column, path, dates)
    if column.kind == "category":
        check_spellings(cells, path)
    return cells


def _numbers(values: pd.Series) -> pd.Series:
    """Numbers as they are written, to the last digit; NaN for all else."""
    if values.dtype != object:
        return pd.to_numeric(values, errors="coerce").astype(float)
    # by_value, but for floats; numbers of a Parquet file may stand among objects
    codes, distinct = pd.factorize(values.to_numpy(object))
    found = [as_number(value) if isinstance(value, str) else float(value) for value in distinct]
    return pd.Series(np.array([*found, np.nan])[codes], values.index, float, values.name)


def _is_nothing(values: pd.Series, column: Column) -> Bools:
    """Which cells are blank: empty, or a word for nothing that the column cannot hold as a value."""
    words = NOTHING - (_NAMES_TOO if column.kind == "category" else frozenset())
    words -= {"na"} if column.na_is_name else frozenset()
    blank = values.isna()
    if column.kind != "text" and values.dtype == object:
        blank |= values.map(lambda value: isinstance(value, str) and value.lower() in words)
    return np.asarray(blank, dtype=bool)


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


def _check_values(raw: pd.Series, typed: pd.Series, column: Column, path: Path, dates: DayOrder = "iso") -> None:
    blank = _is_nothing(raw, column)
    bad = typed.isna().to_numpy() & ~blank
    expected, step = {"flag": "true or false", "date": DAY_EXPECTED}.get(column.kind, "text"), column.next_step
    if column.kind == "date":
        step = DAY_NEXT_STEP
        expected = expected if dates == "iso" else f"{expected}, or with the {dates.removesuffix('-first')} first"
    elif column.kind in ("integer", "number"):
        expected = f"{'a whole' if column.kind == 'integer' else 'a'} number{_range(column)}"
        bad |= ~blank & ~_possible(typed.to_numpy(), column)
    if not column.blank:
        bad |= blank
    if column.kind == "text" and column.name.endswith("_id"):
        # 1E+05 was an id such as 1E5 or 100000, before a spreadsheet took it for a number
        bad |= np.asarray(raw.map(lambda value: isinstance(value, str) and bool(_SCIENTIFIC.fullmatch(value))), bool)
        expected = "an id as it was given" if bad.any() and not blank[bad].any() else expected
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        found = "a blank" if pd.isna(raw.iloc[row]) else _shown(raw.iloc[row])
        step = _step(raw.iloc[row], column, dates) or step
        raise TableError(
            f"{path}: row {row + 1}, column {column.name}: expected {expected}, found {found} "
            f"({int(bad.sum())} such rows). {step}"
        )


_SCIENTIFIC = re.compile(r"\d(?:[.,]\d+)?E\+\d+")


def _step(value: object, column: Column, dates: DayOrder) -> str:
    """Return what to do about a cell whose mistake is known; blank where it is not."""
    if column.kind == "date" and dates == "iso" and is_ordered(str(value)):
        return (
            'Write the date so, or say dates = "day-first" (or "month-first") in [tables]: no day is guessed, and one '
            "order must hold for all."
        )
    if column.kind in ("integer", "number") and re.fullmatch(r"[+-]?\d+,\d+", str(value)):
        return "Write decimals with a point, or save the table with semicolons between its cells."
    return ""


def with_points(frame: pd.DataFrame, numbers: Sequence[str], path: Path) -> pd.DataFrame:
    """Return a table whose decimal commas are points, in the columns that hold numbers.

    Parameters
    ----------
    frame : pandas.DataFrame
        Text, of a file whose cells no comma separates.
    numbers : sequence of str
        Columns that hold numbers.
    path : Path
        For messages.

    Raises
    ------
    TableError
        If some numbers have a comma and others a point: one of them may be of thousands.

    Examples
    --------
    >>> table = pd.DataFrame({"volume_ml": ["1,5", "12"], "note": ["a,b", None]})
    >>> with_points(table, ["volume_ml"], Path("volumes.csv"))["volume_ml"].tolist()
    ['1.5', '12']
    """
    cells = [(row, name, text) for name in numbers for row, text in enumerate(frame[name]) if isinstance(text, str)]
    commas = [cell for cell in cells if re.fullmatch(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?", cell[2])]
    points = [cell for cell in cells if re.fullmatch(r"[+-]?[\d.]*\.\d*(?:[eE][+-]?\d+)?", cell[2]) and cell[2] != "."]
    if commas and points:
        (row, name, text), (other_row, other, comma) = points[0], commas[0]
        raise TableError(
            f"{path}: row {row + 1}, column {name}: expected one sign for decimals, found {text!r}, and {comma!r} in "
            f"row {other_row + 1}, column {other}. Write numbers alike, without a sign for thousands."
        )
    valid = {text for _, _, text in commas}
    changed = {name: by_value(frame[name], lambda t: t.replace(",", ".") if t in valid else t) for name in numbers}
    return frame.assign(**changed)


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
