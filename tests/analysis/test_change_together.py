"""Counts of lesions that are new or have grown, not told apart: as of models of `--target new_or_enlarging`."""

import pandas as pd
import pytest

from nnunet_ms.analysis.endpoints.lesion_counts import lesion_count_statistics, patient_counts
from nnunet_ms.analysis.endpoints.statistic_rows import to_frame
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.settings import read_settings
from nnunet_ms.errors import TableError
from nnunet_ms.tables import TOGETHER
from tests.analysis.endpoints.test_t2_lesion_counts import ORACLE, T2, read, trial_of
from tests.analysis.synthetic_trial import patients, timed_assessments, write_trial
from tests.analysis.test_change_alone import TEXT, change_alone, whole_table

BOTH = "new_or_enlarging_t2_lesions"


def together(frame):
    """The same table from someone who does not tell the two kinds apart."""
    sums = frame["new_lesion_count"].astype("Int64") + frame["enlarging_lesion_count"].astype("Int64")
    return frame.assign(new_lesion_count=pd.NA, enlarging_lesion_count=pd.NA, **{TOGETHER: sums})


def stacked(*frames):
    return pd.concat([frame.astype(object) for frame in frames])


def rows_of(folder, frame, endpoint):
    """Rows of an endpoint, of a trial with this lesion table."""
    folder.mkdir()
    trial = read_trial(
        read_settings(write_trial(folder, TEXT, visits=frame, assessments=timed_assessments(patients())))
    )
    return to_frame(lesion_count_statistics(trial, T2[endpoint]))


FORMS = {"together": together, "alone": lambda frame: change_alone(together(frame))}


@pytest.mark.parametrize("form", FORMS)
def test_both_kinds_together_are_those_of_the_table_that_tells_them_apart(tmp_path, form):
    # Oracle: the endpoint of the table with both counts
    expected = rows_of(tmp_path / "whole", whole_table(), BOTH)
    assert len(expected) > 30
    pd.testing.assert_frame_equal(rows_of(tmp_path / form, FORMS[form](whole_table()), BOTH), expected)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("endpoint", "column"), [("new", "new_lesion_count"), ("enlarging", "enlarging_lesion_count")])
def test_one_kind_alone_is_said_not_to_be_known(tmp_path, form, endpoint, column):
    found = rows_of(tmp_path / form, FORMS[form](whole_table()), f"{endpoint}_t2_lesions")
    assert len(found) > 0
    assert found["stat"].isna().all()
    assert found["method"].str.contains(f"no .*{column} of model").all()


def test_raters_of_either_sort_stand_in_one_analysis(tmp_path):
    visits = pd.read_csv(ORACLE / "visits.csv")
    rater = visits["rater"].iloc[0]
    other = together(visits).assign(rater="pairs")
    trial = read(tmp_path / "two", stacked(visits, other))
    alone = read(tmp_path / "one")
    expected = _counts(alone, rater)
    for name in (rater, "pairs"):
        pd.testing.assert_series_equal(_counts(trial, name), expected)


def test_a_scan_that_one_of_them_did_not_read_counts_for_neither(tmp_path):
    visits = pd.read_csv(ORACLE / "visits.csv")
    rater = visits["rater"].iloc[0]
    other = together(visits).assign(rater="pairs")
    row = other.index[(other["week"] > 0) & other[TOGETHER].notna()][0]
    patient = other.loc[row, "patient_id"]
    blank = other.assign(**{TOGETHER: other[TOGETHER].where(other.index != row)})
    trial = read(tmp_path / "two", stacked(visits, blank))
    whole = read(tmp_path / "one", stacked(visits, other))
    for name in (rater, "pairs"):
        fewer, all_scans = (_scans(one, name) for one in (trial, whole))
        assert (all_scans - fewer)[lambda difference: difference != 0].to_dict() == {patient: 1}


def _counts(trial, rater):
    return patient_counts(trial, T2[BOTH], rater).set_index("patient_id")["lesions"]


def _scans(trial, rater):
    return patient_counts(trial, T2[BOTH], rater).set_index("patient_id")["scans"]


def test_a_sum_that_is_none_is_an_error(tmp_path):
    visits = pd.read_csv(ORACLE / "visits.csv")
    sums = visits["new_lesion_count"] + visits["enlarging_lesion_count"]
    row = sums[sums.notna()].index[3]
    sums[row] += 1
    path = trial_of(tmp_path, visits.assign(**{TOGETHER: sums}))
    words = rf"row {row + 1}, column {TOGETHER}: expected new_lesion_count plus enlarging_lesion_count of its row"
    with pytest.raises(TableError, match=words):
        read_trial(read_settings(path))


def test_counts_over_the_same_weeks_are_refused(tmp_path):
    frame = change_alone(together(whole_table()))
    path = write_trial(tmp_path, TEXT, visits=frame.assign(previous_week=0.0))
    with pytest.raises(TableError, match=rf"column {TOGETHER}: patient .* would count twice"):
        read_trial(read_settings(path))
