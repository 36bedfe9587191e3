"""Which day a time of ADTTE calls the first: 0, or 1 as a study day does (admiral's default, the CDISC pilot).

AVAL is ADT - STARTDT or ADT - STARTDT + 1; a visit at week 24 is day 168 or 169. It is read from the dates, else from
times that are all a day behind whole weeks, else taken for 0; and where dates do
not say 0 of every record, that is said.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from nnunet_ms.analysis.trial.adam_files import days
from nnunet_ms.analysis.trial.adam_settings import AdamSettings
from nnunet_ms.errors import TableError

DAYS_PER_WEEK = 7
NEAR = 0.25  # of a day: what rounding may have done to a time in months


@dataclass(frozen=True)
class Origin:
    """The number of the first day, 0 or 1, and how it is known; `plain`: 0, as the dates of every record say."""

    day: int
    note: str
    plain: bool = False


def origin_of(
    records: pd.DataFrame, aval_days: pd.Series, patients: pd.DataFrame, settings: AdamSettings, path: Path
) -> Origin:
    """Find the number of the first day.

    Parameters
    ----------
    records : pandas.DataFrame
        The records of one parameter of ADTTE.
    aval_days : pandas.Series
        AVAL in days.
    patients : pandas.DataFrame
        From `adam_patients`; their day of randomisation is the start where there is no STARTDT.
    settings : AdamSettings
        Its `origin_day` goes before what the dates say, and both are said.
    path : Path
        For messages.

    Raises
    ------
    TableError
        If some records count from 0 and others from 1, and the settings do not say; or a time of 0 lies before day 1.

    Examples
    --------
    >>> records = pd.DataFrame({"ADT": ["2021-01-08", "2021-06-18"], "STARTDT": ["2021-01-01"] * 2})
    >>> origin_of(records, pd.Series([8.0, 169.0]), pd.DataFrame(), AdamSettings(Path()), Path("adtte.csv")).day
    1
    """
    asked = settings.origin_day
    found = _from_dates(records, aval_days, patients, settings, path) or _from_weeks(aval_days)
    if asked is None and found.day is None:
        raise TableError(f"{path}: {found.note}. Name the day of the origin with origin_day = 0 or 1 in [adam].")
    day = found.day if asked is None else asked
    note = found.note if asked is None else f"first day {asked} by [adam] origin_day; {found.note}"
    if day == 1 and (aval_days < 1).any():
        row = aval_days.index[aval_days < 1][0]
        raise TableError(
            f"{path}: row {row + 1}, column AVAL: expected a time from day 1 ({note}), found {aval_days[row]:g} days "
            f"({int((aval_days < 1).sum())} such rows). Correct it, or set [adam] origin_day = 0."
        )
    return Origin(int(day or 0), note, plain=asked is None and found.plain)


@dataclass(frozen=True)
class _Found:
    day: int | None
    note: str
    plain: bool = False


def _from_dates(
    records: pd.DataFrame, aval: pd.Series, patients: pd.DataFrame, settings: AdamSettings, path: Path
) -> _Found | None:
    """Compare AVAL with the distance of the dates; None where no record has both."""
    name = "STARTDT" if "STARTDT" in records else settings.randomisation
    if "ADT" not in records or not (name == "STARTDT" or name in patients):
        return None
    if name == "STARTDT":
        first = days(records, name, path)
    else:
        day0 = pd.Series(days(patients, str(name), path).to_numpy(), patients["USUBJID"])
        first = records["USUBJID"].map(day0)
    gap = (aval - (days(records, "ADT", path) - first)).dropna()
    zero, one = int((gap.abs() < NEAR).sum()), int(((gap - 1).abs() < NEAR).sum())
    other = len(gap) - zero - one
    rest = f"; {other} records agree with neither" if other else ""
    if zero and one:
        return _Found(None, f"AVAL is ADT - {name} in {zero} records and ADT - {name} + 1 in {one}{rest}")
    if one:
        return _Found(1, f"AVAL is ADT - {name} + 1 in {one} records{rest}: a day taken off")
    return _Found(0, f"AVAL is ADT - {name} in {zero} records{rest}", plain=other == 0) if zero else None


def _from_weeks(aval: pd.Series) -> _Found:
    """Judge by the remainder of whole days after whole weeks: visits are planned in weeks."""
    whole = np.rint(aval)
    if len(aval) and (np.abs(aval - whole) < 1e-6).all() and (whole % DAYS_PER_WEEK == 1).all():
        return _Found(1, f"all {len(aval)} times are a day behind whole weeks: day 1 is the origin, a day taken off")
    return _Found(0, "no ADT beside STARTDT tells the origin: AVAL counts from day 0")
