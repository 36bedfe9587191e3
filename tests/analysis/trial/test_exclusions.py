from pathlib import Path

import pandas as pd
import pytest

from nnunet_ms.analysis.trial.exclusions import (
    check_rows,
    exclusion,
    exclusion_table,
    population_exclusions,
    window_exclusions,
)
from nnunet_ms.errors import TableError

COLUMNS = ["patient_id", "arm", "analysis", "week", "reason"]


def test_a_row_has_the_patients_arm_and_the_week_as_tables_write_it():
    arm_of = {"A": "placebo"}
    assert exclusion("A", arm_of, "T2 volume", 96.0, "why") == dict(
        zip(COLUMNS, ("A", "placebo", "T2 volume", "96", "why"), strict=True)
    )
    assert exclusion("X", arm_of, "T2 volume", 24.5, "why")["week"] == "24.5"
    stranger = exclusion("X", arm_of, "T2 volume", None, "why")
    assert (stranger["arm"], stranger["week"]) == ("", "")


def test_what_is_not_said_is_blank_and_nobody_is_an_empty_table():
    assert exclusion_table([{"patient_id": "A", "reason": "why"}]).to_numpy().tolist() == [["A", "", "", "", "why"]]
    assert list(exclusion_table([]).columns) == COLUMNS


def test_patients_outside_a_population_are_listed_under_its_name():
    outside = pd.DataFrame({"population": ["itt"], "patient_id": ["A"], "arm": ["x"], "reason": ["ITTFL is N, not Y"]})
    assert population_exclusions(outside).to_numpy().tolist() == [["A", "x", "population itt", "", "ITTFL is N, not Y"]]


def test_only_scans_that_no_window_takes_are_listed():
    listing = pd.DataFrame(
        {"patient_id": ["A", "A", "B"], "week": [20.0, 24.0, 99.5], "used": [False, True, False],
         "reason": ["again", "", "outside"]}
    )  # fmt: skip
    found = window_exclusions(listing, pd.DataFrame({"patient_id": ["A"], "arm": ["x"]}))
    assert found.to_numpy().tolist() == [
        ["A", "x", "visit windows", "20", "again"],
        ["B", "", "visit windows", "99.5", "outside"],
    ]


def test_the_first_bad_row_is_named_with_its_number_in_the_file():
    # rows keep the numbers of the file when others were taken out before: index 3 is the file's row 4
    frame = pd.DataFrame({"patient_id": ["A", "B", "C"], "week": [1.0, -2.0, float("nan")]}, index=[0, 3, 5])
    bad = (frame["week"] < 0) | frame["week"].isna()
    with pytest.raises(TableError) as caught:
        check_rows(frame, bad, Path("visits.csv"), "week", "a week", "Correct it.")
    assert str(caught.value) == (
        "visits.csv: row 4, column week: expected a week, found -2 (patient B; 2 such rows). Correct it."
    )
    with pytest.raises(TableError, match=r"row 6, column week: expected a week, found a blank \(patient C"):
        check_rows(frame, frame["week"].isna(), Path("visits.csv"), "week", "a week", "Correct it.")
    check_rows(frame, frame["week"] > 9, Path("visits.csv"), "week", "a week", "Correct it.")
