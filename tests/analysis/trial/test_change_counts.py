"""Which time a count of change covers, and at which visits every rater has it; by hand on small tables."""

import numpy as np
import pandas as pd
import pytest

from nnunet_ms.analysis.trial.change_counts import NO_EARLIER, common_changes, with_intervals

NAN = float("nan")


def rows(*cells, **more):
    frame = pd.DataFrame(cells, columns=["patient_id", "rater", "lesion_type", "week"])
    return frame.astype({"week": float}).assign(**more)


# scans of one patient, and the weeks that the count of each covers
INTERVALS = {
    "all scans": ([0, 24, 48], [NAN, 24, 24]),
    "one missed": ([0, 48, 96], [NAN, 48, 48]),
    "any order": ([96, 0, 24], [72, NAN, 24]),
    "before randomisation": ([-4, 20], [NAN, 24]),
    "one scan": ([24], [NAN]),
}


@pytest.mark.parametrize("case", INTERVALS)
def test_a_count_covers_the_time_since_the_scan_before(case):
    weeks, expected = INTERVALS[case]
    found = with_intervals(rows(*(("P", "r", "t2_lesions", week) for week in weeks)))
    np.testing.assert_array_equal(found["interval_weeks"], expected)


def test_another_lesion_type_of_the_rater_shows_that_there_was_a_scan_and_another_rater_does_not():
    frame = rows(
        ("P", "a", "t2_lesions", 0), ("P", "a", "t1_unenhancing", 24), ("P", "b", "t1_unenhancing", 24),
        ("Q", "b", "t1_unenhancing", 0), ("P", "b", "t1_unenhancing", 48),
    )  # fmt: skip
    np.testing.assert_array_equal(with_intervals(frame)["interval_weeks"], [NAN, 24, NAN, NAN, 24])


def test_the_week_that_the_table_tells_comes_first():
    frame = rows(*(("P", "r", "t2_lesions", week) for week in (0, 24, 96)), previous_week=[NAN, NAN, 0.0])
    assert with_intervals(frame)["interval_weeks"].tolist()[1:] == [24, 96]


def counts(*cells):
    names = ["patient_id", "rater", "lesion_type", "week", "interval_weeks"]
    frame = pd.DataFrame(cells, columns=[*names, "new_lesion_count", "enlarging_lesion_count"])
    return frame.assign(new_or_enlarging_lesion_count=NAN)  # of raters who do not tell the kinds apart


def changes(frame, raters=("a", "b")):
    found, excluded = common_changes(frame, 0.0, raters, {"P": "x", "Q": "y"})
    listed = [(row["patient_id"], row["arm"], row["analysis"], row["week"], row["reason"]) for row in excluded]
    return found[["new_lesion_count", "enlarging_lesion_count"]].to_numpy(), listed


def test_a_visit_counts_where_every_rater_who_counts_at_all_has_it():
    frame = counts(
        ("P", "a", "t2_lesions", 0.0, NAN, NAN, NAN), ("P", "b", "t2_lesions", 0.0, NAN, NAN, NAN),
        ("P", "a", "t2_lesions", 24.0, 24.0, 1.0, 2.0), ("P", "b", "t2_lesions", 24.0, 24.0, NAN, NAN),
        ("Q", "a", "t2_lesions", 24.0, 24.0, 3.0, 4.0), ("Q", "b", "t2_lesions", 24.0, 24.0, 5.0, NAN),
    )  # fmt: skip
    found, listed = changes(frame)
    # b never counts enlarging lesions, and takes none from a
    np.testing.assert_array_equal(found, [[NAN, NAN], [NAN, NAN], [NAN, 2], [NAN, NAN], [3, 4], [5, NAN]])
    assert listed == [("P", "x", "change of t2_lesions", "24", "new_lesion_count is blank for b")]


def test_a_count_without_an_earlier_scan_is_none_and_enhancing_lesions_need_none():
    frame = counts(
        ("P", "a", "t2_lesions", 24.0, NAN, 0.0, 0.0), ("P", "a", "t1_enhancing", 24.0, NAN, 1.0, NAN),
        ("P", "a", "t2_lesions", 48.0, 24.0, 2.0, 0.0),
    )  # fmt: skip
    found, listed = changes(frame, ("a",))
    np.testing.assert_array_equal(found, [[NAN, NAN], [1, NAN], [2, 0]])
    assert listed == [("P", "x", "change of t2_lesions", "24", NO_EARLIER)]


def test_tables_without_any_count_of_change_list_nothing():
    found, listed = changes(counts(*(("P", r, "t2_lesions", 24.0, 24.0, NAN, NAN) for r in "ab")))
    assert np.isnan(found).all()
    assert listed == []
