"""Dates against the standard's own examples, Python's calendar, and a second reader."""

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunet_ms.dates import day_of, iso_day

APRIL_12 = datetime.date(1985, 4, 12)


@pytest.mark.parametrize(
    "text",
    # Oracle: ISO 8601 prints 12 April 1985 in each of these forms
    ["1985-04-12", "19850412", "1985-102", "1985102", "1985-W15-5", "1985W155"],
)
@pytest.mark.parametrize(
    "time",
    ["", "T23", "T23:20", "T2320", "T23:20:50", "T232050", "T23:20:50.5", "T23:20:50,5", "T23:20,5", "T23:20:60",
     "T24:00", " 09:30", "T23:20Z", "T23:20:50+01:00", "T232050+0100", "T23:20:50-05", "T00:10:00+14:00"],
)  # fmt: skip
def test_every_form_of_one_day_is_that_day_as_written(text, time):
    assert day_of(text + time) == APRIL_12
    assert iso_day(f" {text}{time}\t") == "1985-04-12"


@pytest.mark.parametrize(
    "text",
    [
        "", "1985", "1985-04", "198504", "85-04-12", "850412", "--04-12", "1985-W15", "1985W15", "1985-", "1985-04-",
        "1985-04-UN", "1985-4-12", "1985-04-12T", "1985-04-12T25:00", "1985-04-12T23:60", "1985-04-12T24:01",
        "1985-04-12 morning", "1985-0412", "198504-12", "1985-W155", "1985W15-5", "1985-W15-0", "1985-W15-8",
        "1985-W54-1", "1985-W53-1", "1985-366", "1985-000", "1985-02-29", "1985-04-31", "1985-13-01", "1985-00-10",
        "0000-01-01", "12.04.1985", "12/04/1985", "04/12/1985", "12APR1985", "1985/04/12", "1985-04-12/1985-04-13",
        "1985-04-12/P1D", "+001985-04-12", "-1985-04-12", "19850412T2320+2500", "31149", "20211231.0", "nan", "NaT",
        "now", "\u0661\u0669\u0668\u0665-04-12", "1985-04-12\n1985-04-13", "1985-04-12T23:20:50Z[Europe/Paris]",
    ],
)  # fmt: skip
def test_what_names_no_single_day_is_none(text):
    assert day_of(text) is None


@given(st.dates())
def test_every_day_of_the_calendar_in_all_forms(day):
    # Oracle: Python writes the forms.
    year, week, weekday = day.isocalendar()
    ordinal = day.timetuple().tm_yday
    forms = [day.isoformat(), day.isoformat().replace("-", ""), f"{day.year:04d}-{ordinal:03d}"]
    if 1 <= year <= 9999:
        forms.append(f"{year:04d}-W{week:02d}-{weekday}")
    assert [day_of(form) for form in forms] == [day] * len(forms)


@given(st.datetimes(timezones=st.timezones() | st.none()))
def test_the_date_is_the_one_that_is_written_whatever_time_and_zone(moment):
    text = moment.isoformat()
    if len(text) > len("2021-12-31T23:59:59.999999+00:00"):
        return  # offsets with seconds, of the time before zones, are no ISO 8601
    assert day_of(text) == moment.date()


@given(st.text(alphabet="0123456789-WTZ:+., ", max_size=20))
def test_texts_that_python_reads_as_one_day_are_the_same_day(text):
    # Oracle: datetime.fromisoformat, where both read; it is looser, and completes a week without its day.
    day = day_of(text)
    try:
        theirs = datetime.datetime.fromisoformat(text.strip()).date()
    except ValueError:
        return
    assert day in (theirs, None)
