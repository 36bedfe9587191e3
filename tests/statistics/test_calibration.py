"""Oracles: R's glm, lowess and prop.test, the definitions in R, and small tables counted by hand."""

import itertools

import numpy as np
import pytest

from nnunet_ms.errors import OptionError, StatisticsError
from nnunet_ms.statistics.calibration import calibration, calibration_groups, calibration_smooth, net_benefit
from tests.statistics.classified import P, R, Y

INFINITE = "2 of 4 probabilities are exactly 0 or 1, whose log odds are infinite"
SEPARATED = "the predictors separate the classes: coefficients would be infinite"
NUMBERS = ("intercept", "intercept_low", "intercept_high", "slope", "slope_low", "slope_high", "brier", "brier_scaled")


@pytest.mark.parametrize("name", NUMBERS)
def test_line_and_brier_equal_r(name):
    assert getattr(calibration(Y, P), name) == pytest.approx(R[name], rel=1e-7)


def test_groups_equal_r():
    groups = calibration_groups(Y, P, 8)
    assert [group.n for group in groups] == [20] * 8
    for k, group in enumerate(groups, 1):
        found = (group.mean_probability, group.observed, group.observed_low, group.observed_high)
        expected = [R[f"group_{name}_{k}"] for name in ("p", "y", "low", "high")]
        assert found == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_smooth_curve_equals_r():
    p, observed = calibration_smooth(Y, P, 0.5)
    for k in (1, 40, 80, 120, 160):
        assert (p[k - 1], observed[k - 1]) == pytest.approx((R[f"smooth_p_{k}"], R[f"smooth_y_{k}"]), rel=1e-9)


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.5])
def test_net_benefit_equals_its_definition_in_r(threshold):
    found = net_benefit(Y, P, [threshold])[0]
    assert (found.model, found.treat_all) == pytest.approx((R[f"net_{threshold}"], R[f"all_{threshold}"]), rel=1e-12)
    assert found.treat_none == 0


def test_a_perfect_model_has_the_prevalence_as_net_benefit_and_no_threshold_beats_it():
    for row in net_benefit([0, 0, 0, 1], [0.1, 0.1, 0.1, 0.9], np.linspace(0.2, 0.8, 4)):
        assert row.model == pytest.approx(0.25)
        assert row.model >= max(row.treat_all, 0)


def test_true_probabilities_are_calibrated():
    # 4,000 events drawn with the probabilities themselves: 0 and 1 lie within four standard errors.
    rng = np.random.default_rng(5)
    p = rng.uniform(0.05, 0.95, 4000)
    found = calibration(rng.random(4000) < p, p, level=0.9999)
    assert found.intercept_low < 0 < found.intercept_high
    assert found.slope_low < 1 < found.slope_high
    assert found.expected == pytest.approx(found.observed, abs=0.03)


def test_twice_the_log_odds_halve_the_slope():
    odds = np.log(P / (1 - P))
    one, two = calibration(Y, P), calibration(Y, 1 / (1 + np.exp(-2 * odds)))
    assert two.slope == pytest.approx(one.slope / 2, rel=1e-9)


@pytest.mark.parametrize(
    ("truth", "probability", "problem", "brier"),
    [
        ([0, 0, 0], [0.1, 0.2, 0.3], "0 of 3 rows have the event, needs both classes", 0.14 / 3),
        ([1, 1], [0.5, 0.5], "2 of 2 rows have the event, needs both classes", 0.25),
        ([0, 1, 0, 1], [0.0, 0.5, 0.5, 1.0], INFINITE, 0.125),
        ([0, 1, 0, 1], [0.4] * 4, "all probabilities are equal: no slope", (0.16 + 0.36) / 2),
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], SEPARATED, 0.025),
        ([], [], "no rows", np.nan),
        ([0, 1, 0], [0.2, 1.2, 0.1], "probability: expected values from 0 to 1, found 1.2", np.nan),
        ([0, 1, 0], [0.2, np.nan, 0.1], "1 of 3 values of probability are missing or infinite", np.nan),
        ([0, 1, 2], [0.2, 0.3, 0.1], "truth: expected 0 and 1, found 2", np.nan),
    ],
)  # fmt: skip
def test_what_is_not_defined_says_why_and_keeps_the_rest(truth, probability, problem, brier):
    found = calibration(truth, probability)
    assert found.problem == problem
    assert np.isnan(found.slope)
    assert found.brier == pytest.approx(brier, nan_ok=True)


def test_constant_predictions_keep_their_intercept():
    # Oracle: log odds of 1/2 less those of 0.4.
    assert calibration([0, 1, 0, 1], [0.4] * 4).intercept == pytest.approx(np.log(1) - np.log(0.4 / 0.6))


def test_equal_probabilities_stay_in_one_group():
    groups = calibration_groups([0, 1, 0, 1, 0, 0], [0.1, 0.5, 0.5, 0.5, 0.5, 0.9], 3)
    assert [(group.low, group.high, group.n) for group in groups] == [(0.1, 0.1, 1), (0.5, 0.5, 4), (0.9, 0.9, 1)]
    assert calibration_groups([], []) == ()
    assert len(calibration_groups([0, 1], [0.2, 0.2])) == 1


def test_every_row_is_in_one_group():
    groups = calibration_groups(Y, np.round(P, 1), 10)
    assert (sum(group.n for group in groups), sum(group.events for group in groups)) == (160, Y.sum())
    assert all(one.high < other.low for one, other in itertools.pairwise(groups))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: calibration_groups(Y, P, 0), OptionError, "groups: expected a whole number >= 1, found 0"),
        (lambda: calibration_smooth(Y, P, 1.5), OptionError, "fraction: expected a number above 0 and at most 1"),
        (lambda: calibration_smooth([0, 1], [0.2, 0.2]), StatisticsError, "three different probabilities"),
        (lambda: net_benefit(Y, P, [0.5, 1.0]), OptionError, "thresholds: expected probabilities .* found 1"),
        (lambda: net_benefit(Y, P, [0]), OptionError, "thresholds: expected probabilities .* found 0"),
        (lambda: net_benefit(Y, P * 3, [0.5]), StatisticsError, "probability: expected values from 0 to 1"),
        (lambda: calibration(Y, P[1:]), StatisticsError, "expected equal lengths, found 160 in truth, 159"),
        (lambda: calibration(Y, ["high"] * 160), StatisticsError, "probability: expected numbers"),
    ],
)
def test_what_the_caller_can_mend_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_no_rows_have_no_net_benefit():
    assert np.isnan(net_benefit([], [], [0.5])[0].model)
