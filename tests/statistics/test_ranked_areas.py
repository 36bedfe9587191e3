"""Oracles: R's pROC, the definitions with loops, and resampling done by hand, one patient after the other."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_ms.errors import OptionError, StatisticsError
from nnunet_ms.statistics.ranked_areas import (
    MEASURES,
    area_differences,
    areas,
    average_precision,
    mcclish_auc,
    partial_auc,
    pr_auc_trapezoid,
    precision_recall_curve,
)
from nnunet_ms.statistics.roc import Scores, auc

FUNCTIONS = {
    "roc_auc": auc,
    "proc_auc": partial_auc,
    "proc_auc_mcclish": mcclish_auc,
    "pr_auc_average_precision": average_precision,
    "pr_auc_trapezoid": pr_auc_trapezoid,
}


def lesions(seed, patients=9, n=60, digits=1):
    """Scores with ties of lesions of some patients; a third of them positive."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % 3 == 0
    value = np.round(rng.normal(size=n) + truth, digits)
    names = np.array([f"p{k}" for k in rng.integers(patients, size=n)])
    return Scores(value[truth], value[~truth], names[truth], names[~truth])


def with_other_scores(scores, seed):
    rng = np.random.default_rng(seed)
    noisy = [np.round(part + rng.normal(size=part.size), 1) for part in (scores.positive, scores.negative)]
    return Scores(*noisy, scores.positive_patients, scores.negative_patients)


EXPECTED = pd.read_csv(Path(__file__).with_name("ranked_areas.csv"), skipinitialspace=True)


@pytest.mark.parametrize("row", list(EXPECTED.itertuples()), ids=lambda row: f"case {row.case}")
def test_areas_equal_r(row):
    # Oracle: R 4.2.2, pROC 1.18.0; ranked_areas.R beside this file.
    i = np.arange(row.n)
    truth = (i + row.case) % (5 + 2 * row.case) == 0
    odd = row.case % 2
    value = (i * i * (row.case + 3) + 11 * i) % (997 if odd else 13) + (4 + 300 * odd) * truth
    for measure, function in FUNCTIONS.items():
        expected = getattr(row, measure)
        if np.isnan(expected):  # pROC has no number below the diagonal; the formula has, and it is below one half
            assert (row.case, measure) == (4, "proc_auc_mcclish")
            expected = 0.5 * (1 + (0.1 * row.proc_auc - 0.005) / 0.095)
        assert function(value[truth], value[~truth]) == pytest.approx(expected, rel=1e-12), measure


def test_the_list_of_measures_is_what_areas_gives():
    found = areas(lesions(0), replicates=20)
    assert tuple(area.measure for area in found) == MEASURES == tuple(FUNCTIONS)
    scores = lesions(0)
    for area in found:
        assert area.estimate == pytest.approx(FUNCTIONS[area.measure](scores.positive, scores.negative), abs=1e-12)
        assert (area.positive, area.negative, area.patients, area.replicates) == (20, 40, 9, 20)


@pytest.mark.parametrize("digits", [0, 1, 6])
def test_intervals_resample_whole_patients(digits):
    # Oracle: lesions repeated as often as their patient is drawn, by hand, with the same draws.
    scores = lesions(4, digits=digits)
    second = with_other_scores(scores, 5)
    patients = np.unique(np.r_[scores.positive_patients, scores.negative_patients])
    n = len(patients)
    found = {m: [] for m in MEASURES}
    differences = {m: [] for m in MEASURES}
    for row in np.random.default_rng(3).multinomial(n, np.full(n, 1 / n), size=60):
        times = dict(zip(patients, row, strict=True))
        repeats = [[times[p] for p in names] for names in (scores.positive_patients, scores.negative_patients)]
        pairs = [
            [np.repeat(part, r) for part, r in zip((s.positive, s.negative), repeats, strict=True)]
            for s in (scores, second)
        ]
        for measure, function in FUNCTIONS.items():
            found[measure].append(function(*pairs[0]))
            differences[measure].append(function(*pairs[0]) - function(*pairs[1]))
    for area in areas(scores, replicates=60, seed=3, level=0.9):
        assert (area.low, area.high) == pytest.approx(tuple(np.percentile(found[area.measure], [5, 95])), abs=1e-12)
    for area in area_differences(scores, second, replicates=60, seed=3):
        expected = np.percentile(differences[area.measure], [2.5, 97.5])
        assert (area.low, area.high) == pytest.approx(tuple(expected), abs=1e-12)


numbers = st.lists(st.integers(0, 6), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(positive=numbers, negative=numbers)
def test_what_holds_for_any_scores(positive, negative):
    whole = partial_auc(positive, negative, up_to=1)
    assert whole == pytest.approx(auc(positive, negative), abs=1e-12)
    assert mcclish_auc(positive, negative, up_to=1) == pytest.approx(whole, abs=1e-12)
    for measure, function in FUNCTIONS.items():
        value = function(positive, negative)
        assert -1e-9 <= value <= 1 + 1e-9, measure
        stretched = function(np.exp(np.array(positive, float)), np.exp(np.array(negative, float)))
        assert stretched == pytest.approx(value, abs=1e-12), measure  # the order alone counts
    twice = [positive * 2, negative * 2]
    assert average_precision(*twice) == pytest.approx(average_precision(positive, negative), abs=1e-12)


@pytest.mark.parametrize(
    ("positive", "negative", "expected"),
    [
        # constant predictions: the diagonal; precision is the prevalence at the one threshold, 1/4
        ([2], [2, 2, 2], {"roc_auc": 0.5, "proc_auc": 0.05, "proc_auc_mcclish": 0.5, "pr_auc_average_precision": 0.25}),
        ([2], [2, 2, 2], {"pr_auc_trapezoid": (1 + 0.25) / 2}),
        # a perfect order
        ([3, 4], [1, 2], dict.fromkeys(MEASURES, 1.0)),
        # the wrong way round: of four lesions the two are found last
        ([1, 2], [3, 4], {"roc_auc": 0.0, "proc_auc": 0.0, "pr_auc_average_precision": (1 / 3 + 1 / 2) / 2}),
    ],
)  # fmt: skip
def test_areas_by_hand(positive, negative, expected):
    for measure, value in expected.items():
        assert FUNCTIONS[measure](positive, negative) == pytest.approx(value, abs=1e-12), measure


@pytest.mark.parametrize(("positive", "negative"), [([], [1, 2]), ([1, 2], []), ([], [])])
def test_one_kind_alone_has_no_area_and_says_why(positive, negative):
    names = [np.array([f"p{k}" for k in range(len(part))], dtype=str) for part in (positive, negative)]
    scores = Scores(np.array(positive, float), np.array(negative, float), *names)
    assert all(np.isnan(function(positive, negative)) for function in FUNCTIONS.values())
    for area in (*areas(scores), *area_differences(scores, scores)):
        assert np.isnan([area.estimate, area.low, area.high]).all()
        assert area.problem == f"{len(positive)} positive and {len(negative)} negative lesions, needs both kinds"
        assert area.replicates == 0


@pytest.mark.parametrize("patients", [1, 2, 4])
def test_few_patients_have_an_estimate_and_no_interval(patients):
    found = areas(lesions(1, patients=patients))
    assert all(np.isfinite(area.estimate) and np.isnan(area.low) for area in found)
    assert {area.problem for area in found} == {f"{patients} patients, needs 5 for an interval over patients"}


def test_no_interval_where_more_than_a_tenth_of_draws_lack_a_kind():
    # The only patient with positives is missed by (4/5)^5 = 33 % of the draws.
    names = np.array([f"P{i}" for i in range(5)])
    alone = Scores(np.array([0.9, 0.8]), np.linspace(0, 1, 5), names[[0, 0]], names)
    area = areas(alone, replicates=400)[0]
    assert np.isnan(area.low)
    assert 90 < area.undefined < 180
    assert area.problem == f"{area.undefined} of 400 resamples lack lesions of one kind"


def test_interval_covers_the_truth():
    # Two normal scores one SD apart: AUC = Phi(1 / sqrt 2) = 0.7602. 100 cohorts; five binomial standard errors.
    covered = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        names = np.array([f"p{k}" for k in rng.integers(40, size=200)])
        truth = np.arange(200) % 4 == 0
        value = rng.normal(size=200) + truth
        area = areas(Scores(value[truth], value[~truth], names[truth], names[~truth]), replicates=200, seed=seed)[0]
        covered += area.low <= 0.7602 <= area.high
    assert covered >= 100 * (0.95 - 5 * np.sqrt(0.95 * 0.05 / 100))


def test_curve_by_hand():
    # Lesions .9 .5 against .6 .1: precision 1, 1/2, 2/3, 2/4 at the four scores
    recall, precision = precision_recall_curve(
        Scores(np.array([0.9, 0.5]), np.array([0.6, 0.1]), np.array(["a", "b"]), np.array(["a", "b"]))
    )
    assert recall.tolist() == [0, 0.5, 0.5, 1, 1]
    assert precision.tolist() == pytest.approx([1, 1, 1 / 2, 2 / 3, 1 / 2])


def test_other_lesions_are_refused():
    a, b = lesions(0), lesions(1)
    with pytest.raises(StatisticsError, match=r"expected both models to score the same positive lesions"):
        area_differences(a, b)


@pytest.mark.parametrize("up_to", [0, -0.1, 1.5, 10, float("nan"), "0.1"])
def test_a_rate_lies_between_0_and_1(up_to):
    with pytest.raises(OptionError, match=r"^up_to: expected a false-positive rate above 0 and at most 1, found"):
        partial_auc([1], [0], up_to)
