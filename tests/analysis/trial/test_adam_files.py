import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyreadstat
import pytest

from nnunet_ms.analysis.trial.adam_files import days, numbers, read_adam
from nnunet_ms.errors import TableError

PATH = Path("adsl.csv")


def test_text_is_stripped_blanks_are_none_and_names_are_upper_case(tmp_path):
    path = tmp_path / "adsl.csv"
    path.write_text("usubjid,Sex,age\n S-1 , F,40\nS-2,,\n", encoding="utf-8-sig")
    found = read_adam(path, ["USUBJID", "AGE"])
    assert list(found.columns) == ["USUBJID", "SEX", "AGE"]
    assert found.to_numpy().tolist() == [["S-1", "F", "40"], ["S-2", None, None]]
    with pytest.raises(TableError, match=r"adsl\.csv: expected variables \['ARM'\], found \['USUBJID', 'SEX', 'AGE'\]"):
        read_adam(path, ["ARM", "SEX"])


def test_a_transport_file_says_what_a_csv_says(tmp_path):
    # Oracle: pyreadstat's own writer, dates as SAS stores them.
    frame = pd.DataFrame({"USUBJID": ["S-1", "S-2"], "AGE": [40.0, np.nan], "RANDDT": [datetime.date(2020, 1, 6)] * 2})
    pyreadstat.write_xport(frame, str(tmp_path / "adsl.xpt"))
    found = read_adam(tmp_path / "adsl.xpt", ["USUBJID"])
    assert found["USUBJID"].tolist() == ["S-1", "S-2"]
    assert numbers(found, "AGE", PATH)[0] == 40
    assert days(found, "RANDDT", PATH).tolist() == [(datetime.date(2020, 1, 6) - datetime.date(1960, 1, 1)).days] * 2


def test_files_that_are_none_are_refused(tmp_path):
    (tmp_path / "adsl.xpt").write_bytes(b"not a transport file")
    (tmp_path / "adsl.sas7bdat").write_bytes(b"not a data set")
    (tmp_path / "adsl.csv").write_bytes(b"name\xff")
    (tmp_path / "empty.csv").write_bytes(b"")
    csv, sas = "a CSV table in UTF-8", "a SAS file"
    for name, message in (("adsl.xpt", sas), ("adsl.sas7bdat", sas), ("adsl.csv", csv), ("empty.csv", csv)):
        with pytest.raises(TableError, match=rf"{name}: expected {message}, cannot read it"):
            read_adam(tmp_path / name, [])


def test_sas_files_without_the_extra_say_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("nnunet_ms.analysis.trial.adam_files.find_spec", lambda _: None)
    with pytest.raises(TableError, match=r"pip install .nnunet-ms\[sas\]."):
        read_adam(tmp_path / "adsl.xpt", [])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1960-01-01", 0), ("1960-01-02T13:30", 1), ("2020-02-29", 21974), (datetime.date(1959, 12, 31), -1),
        (datetime.datetime(1960, 1, 3, 23, 59), 2), (pd.Timestamp("1960-01-04"), 3), (21974, 21974), (21974.0, 21974),
    ],
)  # fmt: skip
def test_days_since_1960_of_every_kind_of_date(value, expected):
    # Oracle: SAS's epoch, 1 January 1960; 21974 is SAS's 29FEB2020 (60 years of which 15 are leap years, and 59 days).
    assert days(pd.DataFrame({"D": pd.Series([value, None], dtype=object)}), "D", PATH).tolist() == [
        expected, pytest.approx(np.nan, nan_ok=True),
    ]  # fmt: skip


def test_values_of_another_kind_are_named():
    frame = pd.DataFrame({"A": ["1.5", "x", None], "D": ["2020-01-01", "January", None]})
    with pytest.raises(TableError, match=r"row 2, column A: expected a number, found 'x' \(1 such rows\)"):
        numbers(frame, "A", PATH)
    with pytest.raises(TableError, match=r"row 3, column A: expected a number, found a blank"):
        numbers(frame.drop(index=1), "A", PATH, blank=False)
    assert numbers(frame.drop(index=1), "A", PATH).tolist() == [1.5, pytest.approx(np.nan, nan_ok=True)]
    with pytest.raises(TableError, match=r"row 2, column D: expected one day .*found 'January' \(1 such"):
        days(frame, "D", PATH)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["2020-01-06T08:00", "20200107T23:59-0500", "2020-008", None], [21920, 21921, 21922, np.nan]),
        ([21920.0, 21921.75, np.nan], [21920, 21921, np.nan]),
        ([pd.Timestamp("2020-01-06 23:30"), datetime.date(2020, 1, 7), pd.NaT], [21920, 21921, np.nan]),
    ],
)
def test_days_are_counted_from_dates(values, expected):
    # Oracle: SAS counts from 1 January 1960; 6 January 2020 is its day 21920.
    found = days(pd.DataFrame({"ADT": pd.Series(values, dtype=object)}), "ADT", Path("adqs.xpt"))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("value", [20200106.0, 1893888000.0, float("inf"), "21920", "06JAN2020", True])
def test_numbers_that_are_no_sas_dates_are_refused(value):
    with pytest.raises(TableError, match=r"adqs\.xpt: row 1, column ADT: expected one day"):
        days(pd.DataFrame({"ADT": pd.Series([value], dtype=object)}), "ADT", Path("adqs.xpt"))


@pytest.mark.parametrize("content", ["a,b\n1,2,3\n", "a,a\n1,2\n", "a,b\n1\x00,2\n", "a,b\n1\r2,3\n"])
def test_a_csv_data_set_is_read_as_strictly_as_our_own_tables(tmp_path, content):
    (tmp_path / "adsl.csv").write_text(content, newline="")
    with pytest.raises(TableError, match=r"adsl\.csv: .*line [12]"):
        read_adam(tmp_path / "adsl.csv", ["A"])
