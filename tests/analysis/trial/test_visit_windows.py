import pandas as pd
import pytest

from nnunet_ms.analysis.trial.visit_windows import AGAIN, OUTSIDE, Window, to_planned_weeks

WINDOWS = (Window(0, -4, 1), Window(48, 40, 56))


def scans(*rows):
    return pd.DataFrame(rows, columns=["patient_id", "week", "rater"])


def planned(frame):
    found, listing = to_planned_weeks(frame, WINDOWS, (0, 24, 48))
    return found[["patient_id", "week", "rater"]].to_numpy().tolist(), listing.to_numpy().tolist()


def test_a_scan_in_a_window_counts_as_its_week_and_is_listed():
    found, listing = planned(scans(("P", -2.0, "r"), ("P", 47.0, "r")))
    assert found == [["P", 0.0, "r"], ["P", 48.0, "r"]]
    assert listing == [["P", -2.0, 0.0, True, ""], ["P", 47.0, 48.0, True, ""]]


def test_both_ends_belong_to_the_window_and_a_week_without_window_must_be_exact():
    frame = scans(("A", 40.0, "r"), ("B", 56.0, "r"), ("C", 56.1, "r"), ("D", 24.0, "r"), ("E", 25.0, "r"))
    found, listing = planned(frame)
    assert found == [["A", 48.0, "r"], ["B", 48.0, "r"], ["D", 24.0, "r"]]
    assert [(row[0], row[4]) for row in listing] == [("A", ""), ("B", ""), ("C", OUTSIDE), ("E", OUTSIDE)]


def test_of_two_scans_the_closer_then_the_earlier_is_taken():
    found, listing = planned(scans(("A", 45.0, "r"), ("A", 50.0, "r"), ("B", 46.0, "r"), ("B", 50.0, "r")))
    assert found == [["A", 48.0, "r"], ["B", 48.0, "r"]]
    assert [(row[0], row[1], row[3], row[4]) for row in listing] == [
        ("A", 45.0, False, AGAIN),
        ("A", 50.0, True, ""),
        ("B", 46.0, True, ""),
        ("B", 50.0, False, AGAIN),
    ]


def test_all_raters_have_the_same_scan():
    found, _ = planned(scans(("A", 48.0, "r"), ("A", 44.0, "r"), ("A", 44.0, "m")))
    assert found == [["A", 48.0, "r"], ["A", 48.0, "m"]]


def test_without_windows_nothing_changes():
    frame = scans(("A", 47.0, "r"))
    found, listing = to_planned_weeks(frame, (), (0, 48))
    pd.testing.assert_frame_equal(found, frame)
    assert listing.empty


@pytest.mark.parametrize("rows", [[], [("A", 99.0, "r")]])
def test_nothing_in_a_window(rows):
    found, listing = planned(scans(*rows))
    assert found == []
    assert len(listing) == len(rows)
