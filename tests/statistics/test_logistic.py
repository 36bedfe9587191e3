"""Oracles: R's glm and anova, the level of the test over null data, and separation drawn on paper."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import expit

from nnunet_ms.errors import StatisticsError
from nnunet_ms.statistics.logistic import fit_logistic, likelihood_ratio_test
from tests.statistics.classified import AGE, NETWORK, VOLUME, R, Y

BASE = np.column_stack([AGE, VOLUME])
ADDED = np.column_stack([NETWORK, NETWORK**2])


def test_coefficients_and_standard_errors_equal_r():
    fit = fit_logistic(Y, np.column_stack([np.ones(160), BASE]))
    assert fit.estimates == pytest.approx([R[f"coefficient_{k}"] for k in (1, 2, 3)], rel=1e-8)
    assert fit.se == pytest.approx([R[f"se_{k}"] for k in (1, 2, 3)], rel=1e-6)
    assert fit.log_likelihood == pytest.approx(R["log_likelihood_base"], rel=1e-12)


def test_likelihood_ratio_equals_r():
    test = likelihood_ratio_test(Y, BASE, ADDED)
    assert (test.statistic, test.df, test.p) == pytest.approx((R["lrt"], R["lrt_df"], R["lrt_p"]), rel=1e-9)
    assert test.log_likelihood_full == pytest.approx(R["log_likelihood_full"], rel=1e-12)
    assert (test.n, test.events, test.problem) == (160, int(Y.sum()), "")


@pytest.mark.parametrize("factor", [1e-9, 1e-3, 1e3, 1e9])
def test_units_of_a_predictor_do_not_count(factor):
    test = likelihood_ratio_test(Y, BASE * [1, factor], ADDED * factor)
    assert test.statistic == pytest.approx(R["lrt"], rel=1e-6)


def test_an_empty_base_is_the_intercept_alone():
    # Oracle: the deviance of one binary predictor is G of the 2 x 2 table.
    x = (NETWORK > 0.5).astype(float)
    table = np.array([[np.sum((x == a) & (b == Y)) for b in (0, 1)] for a in (0, 1)])
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    g = 2 * (table * np.log(table / expected)).sum()
    assert likelihood_ratio_test(Y, np.zeros((160, 0)), x[:, None]).statistic == pytest.approx(g, rel=1e-9)


def test_level_under_the_null():
    # 200 data sets in which the added predictor is noise: about 5 % rejections; four binomial standard errors.
    rejected = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        age = rng.normal(size=120)
        y = rng.random(120) < 1 / (1 + np.exp(-age))
        rejected += likelihood_ratio_test(y, age[:, None], rng.normal(size=(120, 1))).p < 0.05
    assert rejected / 200 == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / 200))


ONES = np.ones((6, 1))
X = np.arange(6.0)[:, None]


@pytest.mark.parametrize(
    ("y", "x", "problem"),
    [
        ([0, 0, 0, 1, 1, 1], X, "the predictors separate the classes"),
        ([1, 1, 1, 0, 0, 0], X, "the predictors separate the classes"),
        ([0, 0, 0, 1, 1, 1], np.array([[0.0], [0], [1], [1], [1], [1]]), "the predictors separate"),  # quasi-separated
        ([0, 1, 0, 1, 0, 0], (X == 1) + (X == 3) * 1.0 - (X == 5) * 2, "the predictors separate"),
        ([0, 0, 0, 0, 0, 0], X, "0 of 6 rows have the event, needs both classes"),
        ([1, 1, 1, 1, 1, 1], X, "6 of 6 rows have the event, needs both classes"),
        ([0, 1, 0, 1, 0, 1], ONES, "2 predictors depend on each other"),
        ([0, 1, 0, 1, 0, 1], np.concatenate([X, 2 * X + 1], axis=1), "3 predictors depend on each other"),
        ([0, 1, 0, 1, 0, 1], X * np.nan, "6 of 12 values of predictors are missing or infinite"),
        ([0, 1, 0, 1, 0, 3], X, "truth: expected 0 and 1, found 3"),
        ([0, 1, np.nan, 1, 0, 1], X, "1 of 6 values of truth are missing or infinite"),
    ],
)
def test_what_cannot_be_estimated_says_why(y, x, problem):
    fit = fit_logistic(y, np.concatenate([ONES, x], axis=1))
    assert fit.problem.startswith(problem)
    assert np.isnan(fit.log_likelihood)
    test = likelihood_ratio_test(y, np.zeros((6, 0)), x)
    assert np.isnan([test.statistic, test.p]).all()
    assert problem in test.problem or "needs both classes" in test.problem


def test_nothing_added_is_no_test():
    assert likelihood_ratio_test(Y, BASE, np.zeros((160, 0))).problem == "no predictor is added"


def test_lengths_that_differ_are_refused():
    with pytest.raises(StatisticsError, match="expected equal lengths, found 6 in truth, 5 in base"):
        likelihood_ratio_test([0, 1, 0, 1, 0, 1], X[:5], X)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(-3, 3)), min_size=4, max_size=12))
def test_one_predictor_is_separated_where_the_classes_do_not_overlap(rows):
    y, x = np.array(rows).T
    if not 0 < y.sum() < y.size or np.ptp(x) == 0:
        return
    ones, zeros = x[y == 1], x[y == 0]
    apart = ones.min() >= zeros.max() or zeros.min() >= ones.max()  # touching: quasi-separated
    fit = fit_logistic(y, np.column_stack([np.ones(y.size), x]))
    assert ("separate" in fit.problem) == apart
    if not apart:  # at the maximum, expected events are the observed ones (the score is 0)
        p = 1 / (1 + np.exp(-(fit.estimates[0] + fit.estimates[1] * x)))
        assert [p.sum(), (p * x).sum()] == pytest.approx([y.sum(), (y * x).sum()], abs=1e-6)


@pytest.mark.parametrize("scale", [1.0, 8.0, 30.0, 200.0])
@pytest.mark.parametrize("shift", [-20.0, 0.0, 15.0])
def test_an_intercept_beside_large_known_log_odds_is_the_root_of_the_score(scale, shift):
    # Oracle: bisection of sum(y - expit(b + offset)) = 0; full Newton steps from 0 run away to 1e15 here
    y = np.array([1, 1, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 1, 1, 1])
    odds = np.array([1.9, 2.2, -2, -1.8, 1.9, 1, -17.6, 0.002, -48.5, -3.8, -0.4, -0.4, -0.5, -0.3, -32.1])
    offset = shift + scale * odds / 8
    root = brentq(lambda b: float((y - expit(b + offset)).sum()), -2000, 2000, xtol=1e-12)
    fit = fit_logistic(y, np.ones((y.size, 1)), offset)
    assert fit.problem == ""
    assert fit.estimates == pytest.approx([root], abs=1e-6)
