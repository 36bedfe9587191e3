"""What a column may hold: dates, instruments' limits, spellings of categories; each mistake by row and column."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nnunet_ms.errors import TableError
from nnunet_ms.table_columns import Column, check_spellings, typed
from nnunet_ms.tables import ASSESSMENTS, PATIENTS, VISITS, read_table

FILE = Path("t.csv")
COLUMNS = {(table.name, column.name): column for table in (ASSESSMENTS, PATIENTS, VISITS) for column in table.columns}


@pytest.mark.parametrize(
    ("table", "column", "limit", "beyond"),
    [
        # Oracle: the tests' manuals (the walk is stopped after 3 minutes, the peg test after 5), and the human body
        ("assessments", "t25fw_s", 180, "999"),
        ("assessments", "t25fw_s", 180, "180.1"),
        ("assessments", "nhpt_s", 300, "777"),
        ("assessments", "nhpt_s", 300, "301"),
        ("patients", "age_years", 130, "1975"),
        ("visits", "volume_ml", 3000, "12000"),
        ("visits", "week", 5218, "20210101"),
    ],
)
def test_a_value_that_cannot_be_is_refused_and_the_limit_is_not(table, column, limit, beyond):
    kind = COLUMNS[table, column]
    assert typed(pd.Series([str(limit), "0"]), kind, FILE).tolist() == [limit, 0]
    with pytest.raises(TableError, match=rf"row 2, column {column}: expected a number .*{limit}, found '{beyond}' \(1"):
        typed(pd.Series(["1", beyond]), kind, FILE)


def test_the_message_says_where_those_go_who_could_not():
    with pytest.raises(TableError, match=r"ends at 180 s: leave the cell blank .*; t25fw_unable says who could not"):
        typed(pd.Series(["999"]), COLUMNS["assessments", "t25fw_s"], FILE)


@pytest.mark.parametrize("value", ["2018-01", "2018", "2018-W05", "201801", "02.01.2018", "43102", "2018-02-30", "--"])
def test_a_date_that_names_no_day_is_refused_by_row_and_column(value):
    column = Column("date", "date")
    with pytest.raises(TableError, match=rf"row 2, column date: expected one day.*'{value}' .*no day is guessed"):
        typed(pd.Series(["2018-01-02", value]), column, FILE)


def test_dates_of_any_form_and_type_are_days():
    column = Column("date", "date", blank=True)
    found = typed(pd.Series(["2018-002", "20180102T2359-0500", "2018-W01-2", None]), column, FILE)
    assert found.tolist() == ["2018-01-02"] * 3 + [None]
    stamps = pd.Series(pd.to_datetime(["2018-01-02 00:30", None]).tz_localize("Asia/Tokyo"))  # 1 January in UTC
    assert typed(stamps, column, FILE).tolist() == ["2018-01-02", None]


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1.5, 2.0**54, 1e300])
def test_whole_numbers_are_whole_and_exact(value):
    column = Column("n", "integer")
    assert typed(pd.Series([2.0**53, -3.0]), column, FILE).tolist() == [2**53, -3]
    with pytest.raises(TableError, match="row 1, column n: expected a whole number, found"):
        typed(pd.Series([value]), column, FILE)


def test_a_long_cell_is_shortened_in_the_message():
    with pytest.raises(TableError, match=r"found 'xxx.*\.\.\. \(100002 characters\)") as told:
        typed(pd.Series(["x" * 100_000]), Column("n", "number"), FILE)
    assert len(str(told.value)) < 300


@pytest.mark.parametrize(
    ("column", "one", "other"),
    [
        ("arm", "Placebo", "placebo"),
        ("sex", "f", "F"),
        ("region", "North  America", "North America"),
        ("region", "USA", "U SA"),
        ("rater", "Model A", "modelA"),
        ("lesion_type", "t2_lesions", "T2_lesions"),
        ("region", "STRASSE", "stra\u00dfe"),
    ],
)
def test_categories_that_differ_in_case_or_blanks_only_are_refused(column, one, other):
    values = pd.Series([one, None, "else", other, one], name=column)
    with pytest.raises(
        TableError, match=rf"row 4, column {column}: expected one spelling, found .* \(1 such rows\)"
    ) as told:
        check_spellings(values, FILE)
    assert repr(one) in str(told.value)
    assert repr(other) in str(told.value)


def test_categories_that_are_different_are_left_alone():
    check_spellings(pd.Series(["F", "M", "f2", None, "F"], name="sex"), FILE)
    check_spellings(pd.Series([1.0, 2.0, np.nan], name="site"), FILE)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_table_with_two_spellings_is_refused_on_reading(suffix, tmp_path):
    names = {
        "patient_id": ["1", "2"],
        "arm": ["a", "A "],
        "age_years": 40,
        "sex": "F",
        "region": "US",
        "edss_baseline": 2,
    }
    frame, path = pd.DataFrame(names), tmp_path / f"patients.{suffix}"
    frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
    with pytest.raises(TableError, match=rf"patients\.{suffix}: row 2, column arm: expected one spelling, found 'A'"):
        read_table(path, PATIENTS)
