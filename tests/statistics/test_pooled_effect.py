"""Pooling over trials: the formulas of the textbook by hand, and another program where it is defined."""

import math

import numpy as np
import pytest
from statsmodels.stats.meta_analysis import combine_effects

from nnunet_ms.errors import OptionError, StatisticsError
from nnunet_ms.statistics.pooled_effect import pooled_effect


def test_two_trials_by_hand():
    # Oracle: paper and pencil. Effects 0 and 1, variances 1/4 and 1/4: weights 4 and 4, mean 1/2, SE sqrt(1/8),
    # Q = 4 * 1/4 + 4 * 1/4 = 2 on 1 df; tau2 = (2 - 1) / (8 - 32 / 8) = 1/4; weights 2 and 2, SE 1/2; I2 = 1/2.
    common, random = pooled_effect(np.array([0.0, 1.0]), np.array([0.5, 0.5]))
    assert (common.estimate, common.se, common.q, common.i_squared) == pytest.approx((0.5, 8**-0.5, 2.0, 0.5))
    assert (random.estimate, random.se) == pytest.approx((0.5, 0.5))
    assert (random.low, random.high) == pytest.approx((0.5 - 1.959964 / 2, 0.5 + 1.959964 / 2), abs=1e-6)
    assert common.q_p == pytest.approx(math.erfc(1))  # chi-squared on 1 df above 2


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_against_statsmodels_where_trials_differ(seed):
    # Oracle: statsmodels.stats.meta_analysis.combine_effects, method_re="dl".
    rng = np.random.default_rng(seed)
    effects, errors = rng.normal(0, 1, 6), rng.uniform(0.1, 0.4, 6)
    other = combine_effects(effects, errors**2, method_re="dl")
    assert other.tau2 > 0
    common, random = pooled_effect(effects, errors)
    assert (common.estimate, common.se) == pytest.approx((other.mean_effect_fe, other.sd_eff_w_fe))
    assert (random.estimate, random.se) == pytest.approx((other.mean_effect_re, other.sd_eff_w_re))
    assert (common.q, common.i_squared) == pytest.approx((other.q, other.i2))


@pytest.mark.parametrize("effects", [[0.3, 0.3], [0.3, 0.31, 0.29], [-1.0, -1.01, -1.0, -0.99]])
def test_trials_that_agree_have_one_answer(effects):
    # Definition: a variance between trials below 0 is 0, and both models are the same.
    common, random = pooled_effect(np.array(effects), np.full(len(effects), 0.2))
    assert (random.estimate, random.low, random.high) == (common.estimate, common.low, common.high)
    assert random.i_squared == 0


@pytest.mark.parametrize(
    ("effects", "errors"), [([0.1], [0.2]), ([0.1, 0.2], [0.1, 0.0]), ([0.1, np.nan], [0.1, 0.1]), ([0.1, 0.2], [0.1])]
)
def test_what_cannot_be_pooled(effects, errors):
    with pytest.raises(StatisticsError, match="at least two trials and standard errors > 0"):
        pooled_effect(np.array(effects), np.array(errors))


def test_levels_are_shares():
    with pytest.raises(OptionError, match=r"confidence: .*Did you mean 0\.95"):
        pooled_effect(np.array([0.1, 0.2]), np.array([0.1, 0.1]), 95)
