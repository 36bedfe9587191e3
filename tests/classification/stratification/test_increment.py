"""Oracles: R's anova (tests/statistics/classification.R), null cohorts, and the bound's own arithmetic."""

import numpy as np
import pytest
import scipy.special
import scipy.stats

from nnunet_ms.classification.stratification.increment import increment, log_odds, widened
from nnunet_ms.errors import StatisticsError
from tests.statistics.classified import AGE, NETWORK, VOLUME, Y

BASE = np.column_stack([AGE, VOLUME])


def test_the_statistic_is_that_of_r():
    # R 4.2.2: anova(glm(y ~ age + volume), glm(y ~ age + volume + network)) of the table of classification.R, by
    # statsmodels' Logit here, which shares no code with the fit under test
    import statsmodels.api as sm

    fits = [
        sm.Logit(Y, sm.add_constant(X)).fit(disp=0, tol=1e-12)
        for X in (BASE, np.column_stack([BASE, scipy.special.logit(scipy.special.expit(NETWORK))]))
    ]
    found = increment(Y, BASE, scipy.special.expit(NETWORK), out_of_fold=False)
    statistic = 2 * (fits[1].llf - fits[0].llf)
    assert found.statistic == pytest.approx(statistic, rel=1e-8)
    assert found.coefficient == pytest.approx(fits[1].params[-1], rel=1e-5)
    assert found.p_as_given == pytest.approx(scipy.stats.chi2.sf(statistic, 1), rel=1e-7)


@pytest.mark.parametrize(("sign", "out_of_fold"), [(1, False), (-1, False), (1, True), (-1, True)])
def test_one_side_and_half_the_statistic_out_of_fold(sign, out_of_fold):
    found = increment(Y, BASE, scipy.special.expit(sign * NETWORK), out_of_fold=out_of_fold)
    side = np.sign(found.coefficient)
    root = side * np.sqrt(found.statistic / (2 if out_of_fold else 1))
    assert found.p == pytest.approx(scipy.stats.norm.sf(root), rel=1e-10)
    assert (found.p < 0.5) == (side > 0)


def test_a_probability_of_one_is_said():
    p = np.where(np.arange(160) == 3, 1.0, scipy.special.expit(NETWORK))
    assert (
        increment(Y, BASE, p, out_of_fold=True).problem == "1 probabilities of exactly 0 or 1 taken as 1e-06 from them"
    )
    assert log_odds(np.array([0.0]))[0][0] == pytest.approx(-np.log(1e6 - 1), rel=1e-6)


@pytest.mark.parametrize(
    ("truth", "predictors", "p", "problem"),
    [
        (Y * 0, BASE, NETWORK, "needs both classes"),
        (Y, BASE, np.full(160, 0.5), "depend on each other"),
        (Y, BASE, scipy.special.expit(VOLUME), "depend on each other"),
        (Y, BASE, np.where(Y == 1, 0.9, 0.1), "separate the classes"),
    ],
)
def test_no_test_where_there_can_be_none(truth, predictors, p, problem):
    found = increment(truth, predictors, p, out_of_fold=True)
    assert np.isnan(found.p)
    assert problem in found.problem


def test_lengths_must_agree():
    with pytest.raises(StatisticsError, match="160"):
        increment(Y, BASE, NETWORK[:-1], out_of_fold=True)


@pytest.mark.parametrize("n", [60, pytest.param(120, marks=pytest.mark.slow)])
def test_the_level_of_a_given_score_over_null_cohorts(n):
    rng = np.random.default_rng(7)
    p = []
    for _ in range(200):
        X = rng.standard_normal((n, 2))
        y = rng.random(n) < scipy.special.expit(X[:, 0])
        p.append(increment(y, X, scipy.special.expit(rng.standard_normal(n)), out_of_fold=False).p)
    assert scipy.stats.kstest(p, "uniform").pvalue > 0.01


@pytest.mark.parametrize(
    ("numbers", "least", "expected"),
    [
        ((0.7, 0.6, 0.75), 0.0, (0.7 - 0.1 * 2**0.5, 0.7 + 0.05 * 2**0.5)),
        ((0.9, 0.8, 0.98), 0.0, (0.9 - 0.1 * 2**0.5, 1.0)),
        ((0.05, 0.01, 0.1), 0.0, (0.0, 0.05 + 0.05 * 2**0.5)),
        ((-0.1, -0.2, 0.1), -1.0, (-0.1 - 0.1 * 2**0.5, -0.1 + 0.2 * 2**0.5)),
    ],
)
def test_intervals_are_widened_by_the_square_root_of_two(numbers, least, expected):
    assert widened(*numbers, out_of_fold=True, least=least) == pytest.approx(expected)
    assert widened(*numbers, out_of_fold=False, least=least) == numbers[1:]


def test_no_interval_stays_none():
    assert np.isnan(widened(0.5, np.nan, np.nan, out_of_fold=True)).all()
