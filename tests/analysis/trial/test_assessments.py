from pathlib import Path

import pandas as pd
import pytest

from nnunet_ms.analysis.trial.assessments import check_edss, read_assessments, read_weekly
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.settings import read_settings
from nnunet_ms.errors import TableError
from nnunet_ms.tables import ASSESSMENTS, RELAPSES
from tests.analysis.synthetic_trial import SETTINGS, assessments, patients, write_trial

TWO = pd.DataFrame({"patient_id": ["A", "B"], "arm": ["x", "y"], "randomisation_date": ["2020-01-31", "2020-02-28"]})


def weekly(tmp_path, frame, table=ASSESSMENTS, people=TWO, name="assessments"):
    path = tmp_path / f"{name}.csv"
    frame.to_csv(path, index=False)
    return read_weekly(path, table, people, Path("patients.csv"))


def test_a_trial_by_date_is_the_trial_in_weeks(tmp_path):
    # Oracle: the same trial in weeks.
    table = patients().assign(randomisation_date="2020-01-01")
    dated = assessments(table)
    dated["date"] = (pd.Timestamp("2020-01-01") + pd.to_timedelta(7 * dated["week"], unit="D")).dt.strftime("%Y-%m-%d")
    changed = {"patients": table, "assessments": dated.drop(columns="week")}
    by_date = read_trial(read_settings(write_trial(tmp_path / "a", **changed))).assessments
    by_week = read_trial(read_settings(write_trial(tmp_path / "b"))).assessments
    columns = ["patient_id", "week", "edss", "scheduled"]
    pd.testing.assert_frame_equal(by_date[columns], by_week[columns])


def test_weeks_are_days_since_each_patients_own_randomisation(tmp_path):
    # By hand, over the leap day of 2020: 31 January to 1 March are 30 days, 28 February to 1 March 2.
    dates = ["2020-03-01", "2020-01-31", "2020-03-01"]
    frame = pd.DataFrame({"patient_id": ["A", "A", "B"], "date": dates, "edss": 2.0})
    found, left_out = weekly(tmp_path, frame)
    assert found["week"].tolist() == [30 / 7, 0, 2 / 7]
    assert left_out.empty


def test_without_a_table_there_is_nothing():
    found, left_out = read_weekly(None, RELAPSES, TWO, Path("patients.csv"))
    assert found is None
    assert left_out.empty


def test_rows_of_strangers_are_listed_once_each_and_left_out(tmp_path):
    frame = pd.DataFrame({"patient_id": ["B", "X", "A", "X", "C"], "week": [4.0, 5, 6, 7, 8]})
    found, left_out = weekly(tmp_path, frame, RELAPSES, name="relapses")
    assert found[["patient_id", "week"]].to_numpy().tolist() == [["B", 4.0], ["A", 6.0]]
    reason = "has relapses, but is not in the patient table"
    assert left_out.to_numpy().tolist() == [["C", "", "relapses", "", reason], ["X", "", "relapses", "", reason]]


def test_outcome_whose_column_is_missing(tmp_path):
    settings = read_settings(write_trial(tmp_path, SETTINGS.replace('["cdp24"]', '["9hpt24"]')))
    with pytest.raises(TableError, match="outcome 9hpt24 needs column nhpt_s"):
        read_assessments(settings, patients())


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"week": [0.0, None]}, r"row 2, column week.*found a blank"),
        ({"week": [0.0, -1]}, r"row 2, column week: expected a week >= 0 .*found -1 \(patient B; 1 such rows\)"),
        ({"date": ["2020-02-01", "soon"]}, r"row 2, column date: expected one day .*found 'soon' \(1 such rows\)"),
        (
            {"date": ["2020-02", "31.01.2020"]},
            r"row 1, column date: expected one day .*found '2020-02' \(2 such rows\).*no day is guessed",
        ),
        ({"day": [1, 2]}, "unknown columns"),
        ({}, r"expected a column week, or date beside randomisation_date.*found \['patient_id', 'edss'\]"),
    ],
)
def test_an_assessment_without_a_week_is_named(tmp_path, columns, message):
    with pytest.raises(TableError, match=message):
        weekly(tmp_path, pd.DataFrame({"patient_id": ["A", "B"], "edss": 2.0, **columns}))


def test_a_patient_without_a_date_of_randomisation_is_named(tmp_path):
    frame = pd.DataFrame({"patient_id": ["A", "B"], "date": "2020-03-01", "edss": 2.0})
    nobody = TWO.assign(randomisation_date=["2020-01-31", None])
    with pytest.raises(TableError, match=r"row 2: patient B has no randomisation_date in the patient table"):
        weekly(tmp_path, frame, people=nobody)
    with pytest.raises(TableError, match="or date beside randomisation_date in the patient table"):
        weekly(tmp_path, frame, people=TWO.drop(columns="randomisation_date"))


def test_two_assessments_of_one_week_are_refused_and_two_relapses_are_not(tmp_path):
    frame = pd.DataFrame({"patient_id": ["A", "B", "A"], "week": [12.0, 12, 12]})
    with pytest.raises(TableError, match=r"row 3: patient A, week 12 stands twice"):
        weekly(tmp_path, frame.assign(edss=3.0))
    assert len(weekly(tmp_path, frame, RELAPSES, name="relapses")[0]) == 3


@pytest.mark.parametrize(("edss", "is_right"), [(0, True), (0.5, True), (10, True), (10.5, False), (3.25, False)])
def test_the_scale_has_half_steps_from_0_to_10(edss, is_right):
    # Oracle: Kurtzke 1983, the scale itself. A blank is no mistake.
    values = pd.Series([1.5, None, edss])
    if is_right:
        check_edss(values, Path("table.csv"), "edss")
        return
    with pytest.raises(TableError, match=rf"table\.csv: row 3, column edss: expected EDSS 0 to 10.*found {edss:g} \(1"):
        check_edss(values, Path("table.csv"), "edss")
