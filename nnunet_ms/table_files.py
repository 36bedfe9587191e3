"""CSV and Parquet files as tables of text, read as they are meant or refused: never shifted, cut or guessed."""

import csv
import datetime
import re
import string
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import TextIO

import numpy as np
import pandas as pd

from nnunet_ms.errors import TableError, one_line

Clean = Callable[[str], str]
UTF_8, SAVE_AS = "utf-8-sig", "Save it as CSV UTF-8."


def tidy(text: str) -> str:
    """Return a text without white space around it, seen or unseen (zero-width characters, byte order marks).

    Examples
    --------
    >>> tidy(" \u200bplacebo\u00a0")
    'placebo'
    """
    return text.strip(_UNSEEN)


_UNSEEN = (
    string.whitespace + "\u00a0\u2000\u2001\u2002\u2003\u2007\u2009\u202f\u3000\u200b\u2060\ufeff\x1c\x1d\x1e\x1f\x85"
)


def read_csv_file(
    path: Path,
    delimiter: str | None = ",",
    clean: Clean = tidy,
    encoding: str = UTF_8,
    advice: str = SAVE_AS,
    kind: str = "a CSV table",
) -> pd.DataFrame:
    r"""Read a CSV file whose every row has as many cells as its header.

    Parameters
    ----------
    path : Path
        Text in UTF-8, with or without a byte order mark.
    delimiter : str or None, optional
        Between cells; None: what the header shows (`delimiter_of`).
    clean : callable, optional
        What is done with each cell and each name.
    encoding : str, optional
        Of a file that is not in UTF-8.
    advice : str, optional
        The next step in messages about a file that cannot be read.
    kind : str, optional
        What was expected, in those messages.

    Returns
    -------
    pandas.DataFrame
        `str` cells, None where they are blank. Blank lines are passed over; so are rows and columns at the end that a
        spreadsheet leaves: nothing but delimiters.

    Raises
    ------
    TableError
        Naming the line, if a row has more or fewer cells than the header, a name stands twice, or a line holds a NUL
        or a carriage return inside text: what other readers shift, drop or cut without a word.

    Examples
    --------
    >>> _ = Path("ids.csv").write_text("patient_id,arm\n001, active \n002,\n")
    >>> read_csv_file(Path("ids.csv")).to_dict("list")
    {'patient_id': ['001', '002'], 'arm': ['active', None]}
    >>> _ = Path("ids.csv").write_text("patient_id,arm\n001,active,\n")
    >>> read_csv_file(Path("ids.csv"))
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.TableError: ids.csv: line 2: expected 2 cells as in the header, found 3. Remove or quote the ...
    """
    try:
        delimiter, told = (delimiter, False) if delimiter is not None else delimiter_of(path, encoding)
        rows = _check_csv(path, delimiter, clean, encoding, told)
        frame = pd.read_csv(path, sep=delimiter, dtype=str, keep_default_na=False, encoding=encoding, index_col=False,
                            skiprows=int(told))  # fmt: skip
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise _unreadable(path, one_line(error), encoding, advice, kind) from error
    except _UnreadableError as error:
        raise _unreadable(path, str(error), encoding, advice, kind) from error
    # the two readers disagree about quotation marks inside cells (a lone blank cell may be a blank line)
    if len(frame) != rows and frame.shape[1] > 1:
        why = f"{rows} or {len(frame)} rows, as quotation marks are read"
        raise _unreadable(path, why, encoding, advice, kind)
    names = [clean(str(name)) for name in frame]
    cells = {name: by_value(frame.iloc[:, i], lambda text: clean(text) or None) for i, name in enumerate(names)}
    return _without_edges(pd.DataFrame(cells, frame.index), path)


def _without_edges(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Leave out columns without a name and rows at the end, which hold nothing; refuse what stands below no name."""
    nameless = [name for name in frame if name == "" or _NAMELESS.fullmatch(name)]
    for name in nameless:
        if frame[name].notna().any():
            row = int(np.flatnonzero(frame[name].notna())[0])
            raise TableError(
                f"{path}: row {row + 1}, column {list(frame).index(name) + 1}: expected nothing, as the column has no "
                f"name, found {frame[name].iloc[row]!r}. "
                f"{TITLE if 2 * len(nameless) > frame.shape[1] else 'Name the column, or remove it.'}"
            )
    frame = frame.drop(columns=nameless)
    filled = np.flatnonzero(frame.notna().any(axis=1)) if frame.shape[1] > 1 else np.arange(len(frame))
    return frame.iloc[: int(filled[-1]) + 1 if filled.size else 0]


_NAMELESS = re.compile(r"Unnamed: \d+")  # what pandas calls a column without a name


def delimiter_of(path: Path, encoding: str = UTF_8) -> tuple[str, bool]:
    r"""Return what stands between the cells of a text table, and whether its first line says it ("sep=;" of Excel).

    Of comma, semicolon and tab, the one that the header has; the comma where it has none of them. With two of them
    the one that the header has most of, and the comma of equals.

    Examples
    --------
    >>> _ = Path("ids.csv").write_text("patient_id;arm;edss_baseline\n001;active;3,5\n")
    >>> delimiter_of(Path("ids.csv"))
    (';', False)
    """
    with path.open(encoding=encoding, errors="replace", newline="") as file:
        header = next((line for line in (file.readline() for _ in range(100)) if line.strip()), "")
    told = re.fullmatch(r'\s*"?sep=(.)"?\s*', header, re.IGNORECASE)
    if told:
        return told[1], True
    outside = re.sub(r'"[^"]*"', "", header)
    return max(DELIMITERS, key=lambda mark: (outside.count(mark), -DELIMITERS.index(mark))), False


DELIMITERS = (",", ";", "\t")


def as_number(text: str) -> float:
    """Return the number that a text writes, to the last digit; NaN where it writes none.

    pandas reads "0.1234567890123456" as the float beside it in one of three cases; Python reads what was written.

    Examples
    --------
    >>> as_number("3.5e2"), as_number("1_000"), as_number("3,5")
    (350.0, nan, nan)
    """
    return float(text) if _NUMBER.fullmatch(text) else float("nan")


_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?(?:inf|infinity)", re.ASCII | re.IGNORECASE)


class _UnreadableError(Exception):
    """Why a file is no CSV table; the reader adds its name and the next step."""


def _check_csv(path: Path, delimiter: str, clean: Clean, encoding: str, told: bool) -> int:
    """Raise TableError at the first line that cannot be meant so; return the number of rows below the header."""
    with path.open(encoding=encoding, newline="\n") as file:
        reader = csv.reader(_lines(file), delimiter=delimiter)
        try:
            rows = (row for row in reader if len(row) > 1 or (row and row[0].strip()))
            if told:
                next(reader)
            header = next(rows, None)
            if header is None:
                raise _UnreadableError("it is empty")
            _check_names([clean(name) for name in header], path)
            width, count = len(header), 0
            for row in rows:
                if len(row) != width:
                    raise TableError(
                        f"{path}: line {reader.line_num}: expected {width} cells as in the header, found {len(row)}. "
                        f"{_ragged(width, len(row))}"
                    )
                count += 1
        except UnicodeDecodeError as error:
            raise _UnreadableError(f"line {_line_of_bad_byte(path, encoding)}: {error.reason}") from error
        except csv.Error as error:
            raise _UnreadableError(f"line {reader.line_num}: {error}") from error
    return count


def _ragged(width: int, cells: int) -> str:
    """Return what to do about a row that is longer or shorter than the header."""
    if width == 1 and cells > 1:
        return TITLE
    return "Remove or quote the further ones." if cells > width else "Is the line cut off?"


TITLE = "Is line 1 a title? Remove the lines above the names of the columns."


def _lines(file: TextIO) -> Iterator[str]:
    for number, line in enumerate(file, start=1):
        if "\0" in line:
            raise _UnreadableError(f"line {number} holds a NUL; is it UTF-16, or damaged?")
        if "\r" in line and "\r" in line.rstrip("\r\n"):
            raise _UnreadableError(f"line {number} holds a carriage return inside text, where some see a new row")
        yield line


def _line_of_bad_byte(path: Path, encoding: str) -> int:
    content = path.read_bytes()
    try:
        content.decode(encoding)
    except UnicodeDecodeError as error:
        return content.count(b"\n", 0, error.start) + 1
    return 1


def _check_names(names: list[str], path: Path) -> None:
    again = sorted({name for name in names if name and names.count(name) > 1})
    if again:
        raise TableError(f"{path}: line 1: column {again[0]} stands twice; expected one of each name. Remove one.")


def _unreadable(path: Path, why: str, encoding: str, advice: str, kind: str) -> TableError:
    name = "UTF-8" if encoding == UTF_8 else encoding
    with path.open("rb") as file:
        why = _WORKBOOKS.get(file.read(4), why)
    return TableError(f"{path}: expected {kind} in {name}, cannot read it ({why}). {advice}")


# first bytes; a sheet is not read from a workbook: which of them it is, and what its cells show, only Excel knows
_WORKBOOKS = {
    b"PK\x03\x04": "it is a zip archive, as a workbook of Excel (.xlsx) or LibreOffice (.ods) is",
    b"\xd0\xcf\x11\xe0": "it is a workbook of Excel (.xls)",
}


def read_parquet_file(path: Path) -> pd.DataFrame:
    """Read a Parquet file; numbers stay numbers, all else becomes text as a CSV file would hold it.

    Columns that pandas calls an index are columns as others are.

    Raises
    ------
    TableError
        If it is no Parquet file, a name stands twice, or a column holds lists or other things that are no cell.

    Examples
    --------
    >>> ids = pd.DataFrame({"patient_id": pd.Categorical([" 001 ", "002"]), "week": [0.0, 12.0]})
    >>> ids.to_parquet("ids.parquet")
    >>> read_parquet_file(Path("ids.parquet")).to_dict("list")
    {'patient_id': ['001', '002'], 'week': [0.0, 12.0]}
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path).read()
        _check_names([name.strip() for name in table.column_names], path)
        # whole numbers beside blanks stay whole: as floats they would lose digits beyond 2**53
        frame = table.to_pandas(ignore_metadata=True, integer_object_nulls=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise TableError(
            f"{path}: expected a Parquet table, cannot read it ({one_line(error)}). Write it again, or save it as CSV."
        ) from error
    frame = frame.rename(columns=str.strip)
    names = [name for name in frame if not name.startswith("__index_level_")]
    return pd.DataFrame({n: frame[n] if _is_numeric(frame[n]) else as_text(frame[n], path) for n in names}, frame.index)


def as_text(values: pd.Series, path: Path) -> pd.Series:
    """Return a column of any type as the text that a CSV file would hold: 1.0 is "1", white space around is gone.

    Raises
    ------
    TableError
        If it holds something that is no cell, such as a list.

    Examples
    --------
    >>> as_text(pd.Series([1.0, None, 2.5]), Path("ids.parquet")).tolist()
    ['1', None, '2.5']
    """
    try:
        # pandas makes Python floats of single precision, which are written with digits that nobody wrote
        cells = pd.Series([*values.to_numpy()], values.index, object) if values.dtype == np.float32 else values
        return by_value(cells.astype(object), _text).rename(values.name)
    except (TypeError, UnicodeDecodeError) as error:  # a list cannot be hashed
        raise TableError(
            f"{path}: column {values.name}: expected text, numbers or dates, found other things ({one_line(error)}). "
            "Write the column as text."
        ) from error


def by_value(values: pd.Series, function: Callable[..., str | None]) -> pd.Series:
    """Apply a function once to each distinct value of a column of one type; blanks stay None.

    Examples
    --------
    >>> by_value(pd.Series(["a", "b", "a", None]), str.upper).tolist()
    ['A', 'B', 'A', None]
    """
    codes, distinct = pd.factorize(values.to_numpy(object))  # -1: blank
    results = np.array([*map(function, distinct), None], dtype=object)
    return pd.Series(results[codes], index=values.index, name=values.name, dtype=object)


def _is_numeric(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def _text(value: object) -> str | None:
    if isinstance(value, bytes):
        value = value.decode("utf-8")
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, datetime.datetime):
        return value.isoformat().removesuffix("T00:00:00")
    if isinstance(value, float | np.floating | Decimal) and np.isfinite(float(value)) and value == int(value):
        return str(int(value))
    if isinstance(value, bool | int | float | np.generic | Decimal | datetime.date | datetime.time):
        return value.isoformat() if isinstance(value, datetime.date | datetime.time) else str(value)
    raise TypeError(f"{type(value).__name__}")
