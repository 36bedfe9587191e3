"""Dates as people write them in tables: every form of ISO 8601 that names one day; others only where they are declared.

A date without its day (2018-01) names no day, and none is guessed. A time of day and a time zone may follow and are
passed over: days are counted from dates as they are written, as CDISC counts study days.
"""

import datetime
import re
from typing import Literal, get_args

from nnunet_ms.options import chosen

DAY_EXPECTED = "one day in ISO 8601 such as 2021-12-31"
DAY_NEXT_STEP = "Write the whole date; no day is guessed."
DayOrder = Literal["iso", "day-first", "month-first"]  # of dates such as 03/04/2021, where they are declared

# ISO 8601-1:2019, 5.2.2 (calendar), 5.2.3 (ordinal) and 5.2.4 (week) dates, each in extended and basic format
_DATES = (
    r"(?P<year>\d{4})(?P<dash>-?)(?P<month>\d\d)(?P=dash)(?P<day>\d\d)",
    r"(?P<year>\d{4})-?(?P<ordinal>\d{3})",
    r"(?P<year>\d{4})(?P<dash>-?)W(?P<week>\d\d)(?P=dash)(?P<weekday>[1-7])",
)
# 5.3: the lowest part may have a fraction; 24:00 is the end of the day, 60 a leap second. A space for T is RFC 3339's
_TIME = (
    r"[T ](?:(?:[01]\d|2[0-3])(?::?[0-5]\d(?::?(?:[0-5]\d|60))?)?(?:[.,]\d+)?|24(?::?00(?::?00)?)?(?:[.,]0+)?)"
    r"(?: ?(?:Z|[+\-\u2212](?:[01]\d|2[0-3])(?::?[0-5]\d)?))?"
)
_ORDERED = rf"(?P<{{}}>\d{{{{1,2}}}})(?P<mark>[./-])(?P<{{}}>\d{{{{1,2}}}})(?P=mark)(?P<year>\d{{{{4}}}})(?:{_TIME})?"
_FORMS = tuple(re.compile(f"(?:{date})(?:{_TIME})?", re.ASCII) for date in _DATES)

_ORDERS = {
    order: (re.compile(_ORDERED.format(*names), re.ASCII),)
    for order, names in {"day-first": ("day", "month"), "month-first": ("month", "day")}.items()
}


def day_of(text: str, order: DayOrder = "iso") -> datetime.date | None:
    """Return the day that a text names, None where it names no single day.

    Parameters
    ----------
    text : str
        An ISO 8601 calendar date (2021-12-31, 20211231), ordinal date (2021-365, 2021365) or week date (2021-W52-5,
        2021W525), alone or before a time of day with or without a time zone. White space around it is no part of it.
    order : {"iso", "day-first", "month-first"}, optional
        What comes first in dates that are not ISO 8601 and have four digits of the year at the end: 31.12.2021,
        31/12/2021, 31-12-2021. Without it they are no dates.

    Returns
    -------
    datetime.date or None
        As written, whatever the time zone. None for a partial date, an interval, a day that the calendar does not
        have, and every other text.

    Raises
    ------
    OptionError
        If the order is none of these.

    References
    ----------
    ISO 8601-1:2019, Date and time, part 1: basic rules. Expanded years (+002021-12-31), which need an agreement of both
    sides, are not read.

    Examples
    --------
    >>> day_of("2021-12-31T23:30:00-05:00")
    datetime.date(2021, 12, 31)
    >>> day_of("2021-W52-5") == day_of("2021-365") == day_of("20211231")
    True
    >>> [day_of(text) for text in ("2021-12", "2021", "2021-W52", "31.12.2021", "2021-02-29")]
    [None, None, None, None, None]
    >>> day_of("3/4/2021", "day-first"), day_of("3/4/2021", "month-first")
    (datetime.date(2021, 4, 3), datetime.date(2021, 3, 4))
    """
    for form in (*_FORMS, *_ORDERS.get(chosen(order, get_args(DayOrder), "order"), ())):
        if found := form.fullmatch(text.strip()):
            try:
                return _day(found)
            except ValueError:  # such as 30 February, or week 53 of a year that has 52
                return None
    return None


def is_ordered(text: str) -> bool:
    """Say whether a text is a date with its year at the end, which only a declared order makes one day.

    Examples
    --------
    >>> [is_ordered(text) for text in ("31.12.2021", "3/4/2021", "2021-12-31")]
    [True, True, False]
    """
    return any(form.fullmatch(text.strip()) for forms in _ORDERS.values() for form in forms)


def _day(found: re.Match[str]) -> datetime.date:
    parts = {name: int(digits) for name, digits in found.groupdict().items() if name not in ("dash", "mark")}
    if "month" in parts:
        return datetime.date(parts["year"], parts["month"], parts["day"])
    if "week" in parts:
        return datetime.date.fromisocalendar(parts["year"], parts["week"], parts["weekday"])
    day = datetime.date(parts["year"], 1, 1) + datetime.timedelta(parts["ordinal"] - 1)
    if day.year != parts["year"]:
        raise ValueError(f"{parts['year']} has no day {parts['ordinal']}")
    return day


def iso_day(text: str, order: DayOrder = "iso") -> str | None:
    """Return the day that a text names as 2021-12-31, None where it names no single day; `order` as in `day_of`.

    Examples
    --------
    >>> iso_day("20211231T0930")
    '2021-12-31'
    """
    day = day_of(text, order)
    return None if day is None else day.isoformat()
