"""Patients of two tables: the same ids written in two ways are refused, strangers are not."""

from pathlib import Path

import pandas as pd
import pytest

from nnunet_ms.analysis.trial.keys import check_patients, contrast_text, week_list, week_text
from nnunet_ms.errors import TableError

PATHS = Path("in/assessments.csv"), Path("in/patients.csv")


def ids(*names):
    return pd.Series(names, name="patient_id")


@pytest.mark.parametrize(
    ("known", "found", "message"),
    [
        (
            ["001", "002"],
            ["1", "2"],
            r"row 1, .*: no patient of patients.csv is in assessments.csv, found such as 001 and 1",
        ),
        (
            ["001", "100"],
            ["100", "1"],
            r"row 2, .*: expected one way to write an id, found such as 001 and 1 \(1 such rows",
        ),
        (["P001"], ["p001"], "such as P001 and p001"),
        (["P-01", "P-02"], ["P-01", "P-2"], "such as P-02 and P-2"),
        (["1", "2"], ["1.0", "2.0"], "such as 1 and 1.0"),
        (["1", "2"], ["1", "1.0"], "such as 1 and 1.0"),
        (["A 1", "B"], ["A1", "B"], "such as A 1 and A1"),
        (["A", "B"], ["X", "Y"], "no patient of patients.csv is in assessments.csv, found such as A and X"),
    ],
)
def test_the_same_patients_written_in_two_ways_are_refused(known, found, message):
    with pytest.raises(TableError, match=f"column patient_id.*{message}|{message}"):
        check_patients(ids(*found), known, *PATHS)


@pytest.mark.parametrize(
    ("known", "found"),
    [
        (["A", "B"], ["A", "X", "X"]),
        (["10", "1"], ["1", "100"]),
        (["1", "01"], ["01", "1"]),
        (["1.5", "15"], ["15"]),
        (["A"], []),
    ],
)
def test_strangers_beside_known_patients_are_not(known, found):
    check_patients(ids(*found), known, *PATHS)


@pytest.mark.parametrize(("week", "text"), [(96.0, "96"), (24.5, "24.5"), (0, "0"), (-4.0, "-4"), (120, "120")])
def test_weeks_are_written_without_a_needless_point(week, text):
    assert week_text(week) == text


def test_lists_and_contrasts():
    assert (week_list([0.0, 24.5]), week_list([])) == ("[0, 24.5]", "[]")
    assert contrast_text("active", "placebo") == "active - placebo"
