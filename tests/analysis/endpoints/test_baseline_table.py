import numpy as np
import pytest

from nnunet_ms.analysis.endpoints.baseline_table import (
    baseline_statistics,
    standardised_difference,
    standardised_distance,
)
from nnunet_ms.analysis.endpoints.statistic_rows import select, to_frame, value_of
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.settings import read_settings
from tests.analysis.synthetic_trial import SETTINGS, all_lesion_types, patients, write_trial


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    table = patients()
    path = write_trial(tmp_path_factory.mktemp("baseline"), SETTINGS, visits=all_lesion_types(table))
    return to_frame(baseline_statistics(read_trial(read_settings(path))))


def test_numbers_and_factors_against_pandas(rows):
    # Oracle: pandas' describe and crosstab of the patient table.
    table = patients()
    described = table.groupby("arm")["age_years"].describe()
    for arm in ("placebo", "active"):
        keys = {"term": "age_years", "arm": arm, "contrast": ""}
        names = {"n": "count", "mean": "mean", "sd": "std", "min": "min", "q1": "25%", "median": "50%", "max": "max"}
        for ours, theirs in names.items():
            assert value_of(rows, stat_name=ours, **keys) == pytest.approx(described.loc[arm, theirs])
        women = (table.loc[table["arm"] == arm, "sex"] == "F").mean()
        assert value_of(rows, stat_name="percent", term="sex: F", arm=arm) == pytest.approx(100 * women)
    assert value_of(rows, stat_name="n", term="age_years", arm="", contrast="") == len(table)


def test_lesions_stand_once_per_rater(rows):
    raw = all_lesion_types(patients())
    baseline = raw[(raw["week"] == 0) & (raw["lesion_type"] == "t2_lesions")]
    for rater in ("reference", "model"):
        mean = baseline.loc[baseline["rater"] == rater, "volume_ml"].mean()
        found = value_of(rows, term="t2_volume", rater=rater, arm="", contrast="", stat_name="mean")
        assert found == pytest.approx(mean)
    enhancing = raw[(raw["week"] == 0) & (raw["lesion_type"] == "t1_enhancing") & (raw["rater"] == "model")]
    share = 100 * (enhancing["lesion_count"] > 0).mean()
    keys = {"term": "enhancing_lesions: present", "rater": "model", "arm": "", "stat_name": "percent"}
    assert value_of(rows, **keys) == pytest.approx(share)


def test_there_is_no_p_value_and_no_row_twice(rows):
    assert "p" not in set(rows["stat_name"])
    keys = ["endpoint", "analysis", "population", "rater", "arm", "contrast", "visit", "term", "stat_name"]
    assert not rows.duplicated(keys).any()
    assert len(select(rows, stat_name="standardised_difference", contrast="active - placebo")) >= 8


def test_standardised_difference_by_hand():
    # (2 - 3) / sqrt((1 + 1) / 2)
    assert standardised_difference(np.array([1.0, 2, 3]), np.array([2.0, 3, 4])) == (-1.0, "")
    assert standardised_difference(np.ones(3), np.ones(3)) == (0.0, "")
    assert standardised_difference(np.ones(3), np.zeros(3))[1] == "no spread in either arm"
    assert standardised_difference(np.ones(1), np.zeros(3))[1] == "fewer than two patients in an arm"


def test_two_levels_are_the_difference_of_proportions():
    # Oracle: Austin 2009, equation 2: (p1 - p2) / sqrt((p1 (1 - p1) + p2 (1 - p2)) / 2).
    a, b = ["x"] * 3 + ["y"] * 7, ["x"] * 6 + ["y"] * 4
    expected = (0.6 - 0.3) / np.sqrt((0.3 * 0.7 + 0.6 * 0.4) / 2)
    assert standardised_distance(a, b)[0] == pytest.approx(expected)


def test_several_levels_against_the_full_covariance():
    # Oracle: the same distance from all levels at once, with a generalised inverse; no level is special.
    rng = np.random.default_rng(4)
    a, b = rng.choice(list("wxyz"), 80, p=[0.4, 0.3, 0.2, 0.1]), rng.choice(list("wxyz"), 90)
    p, q = (np.array([(s == level).mean() for level in "wxyz"]) for s in (a, b))
    covariance = (np.diag(p) - np.outer(p, p) + np.diag(q) - np.outer(q, q)) / 2
    expected = np.sqrt((p - q) @ np.linalg.pinv(covariance) @ (p - q))
    assert standardised_distance(list(a), list(b))[0] == pytest.approx(expected)


def test_factors_that_have_no_distance():
    assert standardised_distance(["x"] * 3, ["x"] * 4) == (0.0, "")
    assert standardised_distance(["x"] * 3, ["y"] * 4)[1] == "the arms share no level"
    assert standardised_distance([], ["y"])[1] == "an arm has no patient"
