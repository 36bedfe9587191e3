"""Dates as people write them in tables: every form of ISO 8601 that names one day, and nothing else.

A date without its day (2018-01) names no day, and none is guessed. A time of day and a time zone may follow and are
passed over: days are counted from dates as they are written, as CDISC counts study days.
"""

import datetime
import re

DAY_EXPECTED = "one day in ISO 8601 such as 2021-12-31"
DAY_NEXT_STEP = "Write the whole date; no day is guessed."

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
_FORMS = tuple(re.compile(f"(?:{date})(?:{_TIME})?", re.ASCII) for date in _DATES)


def day_of(text: str) -> datetime.date | None:
    """Return the day that a text names, None where it names no single day.

    Parameters
    ----------
    text : str
        An ISO 8601 calendar date (2021-12-31, 20211231), ordinal date (2021-365, 2021365) or week date (2021-W52-5,
        2021W525), alone or before a time of day with or without a time zone. White space around it is no part of it.

    Returns
    -------
    datetime.date or None
        As written, whatever the time zone. None for a partial date, an interval, a day that the calendar does not
        have, and every other text.

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
    """
    for form in _FORMS:
        if found := form.fullmatch(text.strip()):
            try:
                return _day(found)
            except ValueError:  # such as 30 February, or week 53 of a year that has 52
                return None
    return None


def _day(found: re.Match[str]) -> datetime.date:
    parts = {name: int(digits) for name, digits in found.groupdict().items() if name != "dash"}
    if "month" in parts:
        return datetime.date(parts["year"], parts["month"], parts["day"])
    if "week" in parts:
        return datetime.date.fromisocalendar(parts["year"], parts["week"], parts["weekday"])
    day = datetime.date(parts["year"], 1, 1) + datetime.timedelta(parts["ordinal"] - 1)
    if day.year != parts["year"]:
        raise ValueError(f"{parts['year']} has no day {parts['ordinal']}")
    return day


def iso_day(text: str) -> str | None:
    """Return the day that a text names as 2021-12-31, None where it names no single day.

    Examples
    --------
    >>> iso_day("20211231T0930")
    '2021-12-31'
    """
    day = day_of(text)
    return None if day is None else day.isoformat()
