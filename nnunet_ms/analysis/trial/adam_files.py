"""Read one ADaM data set: a SAS transport file, a SAS data set, or CSV. Dates become days, blanks become None."""

import datetime
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import is_object_dtype, is_string_dtype

from nnunet_ms.dates import DAY_EXPECTED, DAY_NEXT_STEP, day_of
from nnunet_ms.errors import TableError, one_line
from nnunet_ms.table_files import read_csv_file

SAS_EPOCH = datetime.date(1960, 1, 1)
_LAST_SAS_DAY = 200_000  # in the year 2507


def read_adam(path: Path, needed: Sequence[str]) -> pd.DataFrame:
    """Return a data set with its upper-case names; text stripped, blank text None.

    Raises
    ------
    TableError
        If the file is damaged, needs the extra `sas`, or lacks a needed variable.
    """
    frame = read_csv_file(path) if path.suffix.lower() == ".csv" else _sas(path)
    frame.columns = pd.Index([str(name).upper() for name in frame.columns])
    missing = [name for name in needed if name not in frame]
    if missing:
        raise TableError(f"{path}: expected variables {missing}, found {list(frame.columns)}. Add them, or see [adam].")
    text = [name for name in frame if is_object_dtype(frame[name]) or is_string_dtype(frame[name])]
    return frame.assign(**{str(name): frame[name].map(_stripped).astype(object) for name in text})


def numbers(frame: pd.DataFrame, name: str, path: Path, blank: bool = True) -> pd.Series:
    """Return a numeric variable as float.

    Raises
    ------
    TableError
        Naming the first row with another value, or with none where `blank` is False.
    """
    values = pd.to_numeric(frame[name], errors="coerce").astype(float)
    bad = values.isna() & (frame[name].notna() | (not blank))
    if bad.any():
        found = frame.loc[bad, name].iloc[0]
        raise TableError(
            f"{path}: row {frame.index[bad][0] + 1}, column {name}: expected a number, found "
            f"{'a blank' if found is None or pd.isna(found) else repr(found)} ({int(bad.sum())} such rows). "
            "Correct the table."
        )
    return values


def days(frame: pd.DataFrame, name: str, path: Path) -> pd.Series:
    """Return a date variable as whole days since 1960: a date, a SAS number, or ISO 8601 text; NaN: blank.

    A time of day is passed over, as ADaM counts study days from dates.

    Raises
    ------
    TableError
        Naming the first row that holds none of these, such as a partial date.
    """
    values = frame[name].map(_day)
    bad = values.isna() & frame[name].notna()
    if bad.any():
        raise TableError(
            f"{path}: row {frame.index[bad][0] + 1}, column {name}: expected {DAY_EXPECTED}, found "
            f"{frame.loc[bad, name].iloc[0]!r} ({int(bad.sum())} such rows). {DAY_NEXT_STEP}"
        )
    return values.astype(float)


def _day(value: object) -> float:
    if value is None or value is pd.NaT:
        return float("nan")
    if isinstance(value, int | float) and not isinstance(
        value, bool
    ):  # a SAS date is days; a number beyond the calendar is no date, such as 20211231
        return float(np.floor(value)) if abs(value) < _LAST_SAS_DAY else float("nan")
    day = value.date() if isinstance(value, datetime.datetime) else value
    day = day_of(day) if isinstance(day, str) else day
    return float((day - SAS_EPOCH).days) if isinstance(day, datetime.date) else float("nan")


def _sas(path: Path) -> pd.DataFrame:
    if find_spec("pyreadstat") is None:
        raise TableError(
            f'{path}: a SAS file needs pyreadstat, which is not installed. Run: pip install "nnunet-ms[sas]", or '
            "save the data sets as CSV and remove the SAS files."
        )
    import pyreadstat

    read = pyreadstat.read_xport if path.suffix.lower() == ".xpt" else pyreadstat.read_sas7bdat
    try:
        return pd.DataFrame(read(str(path))[0])
    except (pyreadstat.ReadstatError, UnicodeDecodeError, ValueError) as error:
        raise TableError(
            f"{path}: expected a SAS file, cannot read it ({one_line(error)}). Export it again."
        ) from error


def _stripped(value: object) -> object:
    return (value.strip() or None) if isinstance(value, str) else None if value is None or value is pd.NaT else value
