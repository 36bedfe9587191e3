"""Read one ADaM data set: a SAS transport file, a SAS data set, or CSV. Dates become days, blanks become None."""

import codecs
import datetime
import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import is_object_dtype, is_string_dtype

from nnunet_ms.dates import DAY_EXPECTED, DAY_NEXT_STEP, day_of
from nnunet_ms.errors import TableError, one_line
from nnunet_ms.table_files import UTF_8, as_number, read_csv_file

SAS_EPOCH = datetime.date(1960, 1, 1)
_LAST_SAS_DAY = 200_000  # in the year 2507
# SAS dates as CSV exports write them: without a format (four digits may as well be a year, and are no day), and DATE9.
_SAS_DAY_TEXT = re.compile(r"[1-9]\d{4}(?:\.0*)?", re.ASCII)
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DATE9 = re.compile(rf"(\d\d)-?({'|'.join(_MONTHS)})-?(\d{{4}})", re.ASCII | re.IGNORECASE)
_ENCODING = 'Save it as CSV UTF-8, or say how it is written: encoding = "cp1252" in [adam].'


def read_adam(
    path: Path, needed: Sequence[str], renamed: Mapping[str, str] | None = None, encoding: str | None = None
) -> pd.DataFrame:
    """Return a data set with its upper-case names; text stripped, blank text None.

    Parameters
    ----------
    path : Path
        A .xpt, .sas7bdat or .csv file.
    needed : sequence of str
        Variables that must be there, in the standard's names.
    renamed : mapping, optional
        What the data set calls variables, by the standard's names; a variable that has a standard's name and is not
        meant is left out.
    encoding : str, optional
        Of the text, where the file does not say it.

    Raises
    ------
    TableError
        If the file is damaged, needs the extra `sas`, or lacks a needed variable.
    """
    if path.suffix.lower() == ".csv":
        frame = read_csv_file(path, None, encoding=encoding or UTF_8, advice=_ENCODING)
    else:
        frame = _sas(path, encoding)
    frame.columns = pd.Index([str(name).upper() for name in frame.columns])
    again = sorted(frame.columns[frame.columns.duplicated()])
    if again:
        raise TableError(f"{path}: variable {again[0]} stands twice, in capitals and small letters. Remove one.")
    names = {name: own.upper() for name, own in (renamed or {}).items()}
    missing = [names.get(name, name) for name in dict.fromkeys((*needed, *names)) if names.get(name, name) not in frame]
    if missing:
        raise TableError(
            f"{path}: expected variables {missing}, found {list(frame.columns)}. Name what they are called here in "
            f"[adam] or [adam.{path.stem.lower()}] of the settings."
        )
    others = [name for name, own in names.items() if own != name and name in frame]
    frame = frame.drop(columns=others).rename(columns={own: name for name, own in names.items()})
    text = [name for name in frame if is_object_dtype(frame[name]) or is_string_dtype(frame[name])]
    if path.suffix.lower() == ".csv":  # SAS writes a missing number as a dot
        frame = frame.replace({".": None})
    return frame.assign(**{str(name): frame[name].map(_stripped).astype(object) for name in text})


def numbers(frame: pd.DataFrame, name: str, path: Path, blank: bool = True) -> pd.Series:
    """Return a numeric variable as float.

    Raises
    ------
    TableError
        Naming the first row with another value, or with none where `blank` is False.
    """
    # text of a CSV file to the last digit, which pandas' own reading loses in one of three cases
    given = frame[name].map(lambda value: as_number(value) if isinstance(value, str) else value)
    values = pd.to_numeric(given, errors="coerce").astype(float)
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

    In a CSV file a SAS number is text of five digits (1987 to 2233), and 06JAN2020 is a day too.
    A time of day is passed over, as ADaM counts study days from dates.

    Raises
    ------
    TableError
        Naming the first row that holds none of these, such as a partial date.
    """
    cells = frame[name].map(_day_of_csv) if path.suffix.lower() == ".csv" else frame[name]
    values = cells.map(_day)
    bad = values.isna() & frame[name].notna()
    if bad.any():
        raise TableError(
            f"{path}: row {frame.index[bad][0] + 1}, column {name}: expected {DAY_EXPECTED}, found "
            f"{frame.loc[bad, name].iloc[0]!r} ({int(bad.sum())} such rows). {DAY_NEXT_STEP}"
        )
    return values.astype(float)


def _day_of_csv(value: object) -> object:
    """Return a SAS number or DATE9. text of a CSV file as what it stands for; everything else as it is."""
    if not isinstance(value, str):
        return value
    if _SAS_DAY_TEXT.fullmatch(value):
        return float(value)
    found = _DATE9.fullmatch(value)
    return f"{found[3]}-{_MONTHS.index(found[2].upper()) + 1:02}-{found[1]}" if found else value


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


def _sas(path: Path, encoding: str | None) -> pd.DataFrame:
    if find_spec("pyreadstat") is None:
        raise TableError(
            f'{path}: a SAS file needs pyreadstat, which is not installed. Run: pip install "nnunet-ms[sas]", or '
            "save the data sets as CSV and remove the SAS files."
        )
    import pyreadstat

    read = pyreadstat.read_xport if path.suffix.lower() == ".xpt" else pyreadstat.read_sas7bdat
    try:
        return pd.DataFrame(read(str(path), encoding=encoding and codecs.lookup(encoding).name)[0])
    except (pyreadstat.ReadstatError, UnicodeDecodeError, ValueError) as error:
        step = "Export it again."
        if "encoding" in str(error) or isinstance(error, UnicodeDecodeError):
            step = (
                f"It {'is not in that encoding' if encoding else 'does not say how its text is written'}: {_ENCODING}"
            )
            step = step.replace("Save it as CSV UTF-8, or say", "say")
        raise TableError(f"{path}: expected a SAS file, cannot read it ({one_line(error)}). {step}") from error


def _stripped(value: object) -> object:
    return (value.strip() or None) if isinstance(value, str) else None if value is None or value is pd.NaT else value
