import numpy as np
import pandas as pd
import pytest

from nnunet_ms.statistics.ancova import ancova
from nnunet_ms.statistics.cox import fit_cox
from nnunet_ms.statistics.paired_effect import (
    draw_weights,
    linear_effect,
    log_hazard_ratio,
    log_ratio_of_means,
    paired_effect,
)


def test_bootstrap_of_a_linear_effect_is_the_fit_of_the_drawn_patients():
    # Oracle: ANCOVA of the drawn rows, one draw after the other.
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"arm": np.tile(["a", "b"], 30), "y": rng.normal(size=60), "x": rng.normal(size=60)})
    X = np.column_stack([np.ones(60), frame["arm"] == "b", frame["x"]]).astype(float)
    weights = draw_weights(frame["arm"], 5, seed=3)
    assert (weights[:, ::2].sum(axis=1) == 30).all()
    found = linear_effect(frame["y"].to_numpy(), X, 1)(weights)
    for value, count in zip(found, weights, strict=True):
        drawn = frame.iloc[np.repeat(np.arange(60), count.astype(int))]
        assert value == pytest.approx(ancova(drawn, "y", ["a", "b"], ["x"]).contrasts[0].estimate)


def test_equal_raters_have_no_difference_and_a_shift_is_found():
    rng = np.random.default_rng(2)
    time, x = rng.integers(1, 20, 80).astype(float), rng.normal(size=(80, 1))
    event = rng.random(80) < 0.7
    weights = draw_weights(np.tile(["a", "b"], 40), 50, seed=1)
    one = log_hazard_ratio(time, event, x, 0, "efron")
    same = paired_effect(one, one, weights)
    assert (same.difference, same.low, same.high) == (0, 0, 0)
    half = paired_effect(one, log_hazard_ratio(time, event, 2 * x, 0, "efron"), weights)
    assert half.rater == pytest.approx(half.reference / 2)


def test_bootstrap_standard_error_against_theory():
    # Oracle: the standard error of a difference of means of independent noise, s * sqrt(1/n1 + 1/n2).
    rng = np.random.default_rng(4)
    n = 400
    X = np.column_stack([np.ones(n), np.arange(n) % 2]).astype(float)
    base, noise = rng.normal(size=n), rng.normal(size=n)
    effects = [linear_effect(y, X, 1) for y in (base, base + noise)]
    found = paired_effect(*effects, draw_weights(np.arange(n) % 2, 2000, seed=5))
    assert found.se == pytest.approx(noise.std() * np.sqrt(2 / 200), rel=0.1)


def known(values, whole):
    """An effect that is `whole` in the sample itself and `values` in the draws."""
    return lambda weights: np.full(1, whole) if len(weights) == 1 else np.asarray(values, float)


def test_the_interval_is_that_of_rater_minus_reference():
    # By hand: gaps 0, 2, ..., 200; the 80 % interval cuts a tenth off each end.
    draws = np.ones((101, 6))
    found = paired_effect(known(np.arange(101), 10.0), known(3 * np.arange(101), 14.0), draws, confidence=0.8)
    assert (found.reference, found.rater, found.difference) == (10, 14, 4)
    assert (found.low, found.high) == pytest.approx((20, 180))
    assert found.se == pytest.approx(np.arange(0, 202, 2).std(ddof=1))
    assert (found.draws, found.problem) == (101, "")


@pytest.mark.parametrize(("lost", "is_known"), [(10, True), (11, False), (99, False)])
def test_nine_tenths_of_the_draws_must_give_an_estimate(lost, is_known):
    values = np.r_[np.full(lost, np.nan), np.zeros(100 - lost)]
    found = paired_effect(known(np.zeros(100), 1.0), known(values, 2.0), np.ones((100, 6)))
    assert (found.difference, found.draws) == (1, 100 - lost)
    assert (found.low == 0, found.problem == "") == (is_known, is_known)
    assert is_known or found.problem == f"only {100 - lost} of 100 draws can be estimated"


def test_an_effect_that_does_not_exist_is_not_resampled():
    found = paired_effect(known(np.zeros(9), np.nan), known(np.zeros(9), 2.0), np.ones((9, 6)))
    assert found.problem == "the effect itself cannot be estimated"
    assert np.isnan([found.difference, found.low, found.high, found.se]).all()
    assert (found.rater, found.draws) == (2, 0)


def test_draws_keep_the_size_of_every_arm_and_follow_the_seed():
    arm = np.array(["b", "a", "b", "b", "c", "a"])
    weights = draw_weights(arm, 200, seed=7)
    for name, size in (("a", 2), ("b", 3), ("c", 1)):
        assert (weights[:, arm == name].sum(axis=1) == size).all()
    assert np.array_equal(weights, draw_weights(arm, 200, seed=7))
    assert not np.array_equal(weights, draw_weights(arm, 200, seed=8))
    # each patient is drawn once on average: 200 draws, variance 2/3 at the most
    assert weights.mean(axis=0) == pytest.approx(np.ones(6), abs=5 * np.sqrt(2 / 3 / 200))


def test_log_ratio_of_means_on_the_drawn_rows():
    # Oracle: the rows written out as often as they were drawn.
    rng = np.random.default_rng(3)
    count, exposure = rng.poisson(1.5, 20).astype(float), rng.integers(1, 4, 20).astype(float)
    active = np.arange(20) % 2 == 0
    weights = draw_weights(active, 30, seed=2)
    found = log_ratio_of_means(count, exposure, active, ~active)(weights)
    for value, times in zip(found, weights.astype(int), strict=True):
        rate = [count[g].repeat(times[g]).sum() / exposure[g].repeat(times[g]).sum() for g in (active, ~active)]
        assert value == pytest.approx(np.log(rate[0] / rate[1]))


def test_log_ratio_without_lesions_or_patients_in_an_arm_is_nan():
    active, ones = np.array([True, True, False, False]), np.ones((2, 4))
    for count in ([0.0, 0, 1, 2], [1.0, 2, 0, 0]):
        assert np.isnan(log_ratio_of_means(np.array(count), np.ones(4), active, ~active)(ones)).all()
    nobody = np.zeros(4, bool)
    assert np.isnan(log_ratio_of_means(np.ones(4), np.ones(4), active, nobody)(ones)).all()
    assert np.isnan(log_ratio_of_means(np.ones(4), np.ones(4), nobody, active)(ones)).all()


def test_hazard_ratio_of_the_drawn_patients():
    # Oracle: cox.fit_cox, which agrees with R, on the drawn patients; and NaN where the sample has no maximum.
    rng = np.random.default_rng(9)
    time, X = rng.integers(1, 20, 50).astype(float), rng.normal(size=(50, 2))
    event = rng.random(50) < 0.7
    weights = draw_weights(np.zeros(50), 3, seed=1)
    for ties in ("efron", "breslow"):
        found = log_hazard_ratio(time, event, X, 1, ties)(weights)
        for value, times in zip(found, weights.astype(int), strict=True):
            rows = np.arange(50).repeat(times)
            assert value == pytest.approx(fit_cox(time[rows], event[rows], X[rows], ["a", "b"], ties).beta[1])
    alone = log_hazard_ratio(np.arange(4.0), np.array([True, True, False, False]), np.eye(4)[:, :1], 0, "efron")
    assert np.isnan(alone(np.ones((2, 4)))).all()
