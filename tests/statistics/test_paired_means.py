"""Oracles: R's t.test on pairs (paired_means.csv), and for percentages their definition: ratios not rejected."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.optimize
import scipy.stats

from nnunet_ms.errors import OptionError, StatisticsError
from nnunet_ms.statistics.paired_means import paired_means

EXPECTED = pd.read_csv(Path(__file__).with_name("paired_means.csv"))


def pairs(name):
    """Whole-number arithmetic, so that R makes the same data."""
    i = np.arange({"dice": 40, "few": 5, "rates": 23}[name])
    before = 0.5 + ((i * 37) % 41) / 100
    return before, before - 0.02 + ((i * 53) % 29 - 14) / {"dice": 400, "few": 300, "rates": 60}[name]


@pytest.mark.parametrize("row", EXPECTED.to_dict("records"), ids=lambda row: f"{row['set']}-{row['level']}")
def test_the_interval_and_the_test_equal_r(row):
    found = paired_means(*pairs(row["set"]), row["level"])
    assert found.n == row["n"]
    assert [found.difference, found.low, found.high, found.p] == pytest.approx(
        [row[name] for name in ("difference", "low", "high", "p")], rel=1e-9
    )
    assert [found.percent_low, found.percent_high] == pytest.approx([row["percent_low"], row["percent_high"]], rel=1e-6)


@pytest.mark.parametrize("name", ["dice", "few", "rates"])
def test_the_limits_in_percent_are_the_ratios_at_which_the_paired_test_gives_5_percent(name):
    before, after = pairs(name)
    found = paired_means(before, after)
    assert found.percent == pytest.approx(100 * (after.mean() / before.mean() - 1))

    def p(ratio):
        return scipy.stats.ttest_rel(after, ratio * before).pvalue - 0.05

    best = after.mean() / before.mean()
    limits = [scipy.optimize.brentq(p, best, best + sign * 2, xtol=1e-13) for sign in (-1, 1)]
    assert [found.percent_low, found.percent_high] == pytest.approx([100 * (x - 1) for x in limits], abs=1e-8)


def test_pairs_of_which_one_is_missing_are_left_out():
    before, after = pairs("few")
    with_gaps = paired_means([*before, np.nan, 0.9], [*after, 0.3, np.nan])
    assert with_gaps == paired_means(before, after)


@pytest.mark.parametrize(
    ("before", "after", "n", "difference", "problem"),
    [
        ([], [], 0, np.nan, "no patient has both values"),
        ([0.5], [np.nan], 0, np.nan, "no patient has both values"),
        ([0.5], [0.4], 1, -0.1, "one patient: no interval"),
        ([0.5, 0.6], [0.4, 0.5], 2, -0.1, "every patient changes by the same: no interval"),
        ([0.5, 0.6, 0.1], [0.5, 0.6, 0.1], 3, 0.0, "every patient changes by the same: no interval"),
    ],
)
def test_without_spread_there_is_no_interval_and_it_says_why(before, after, n, difference, problem):
    found = paired_means(before, after)
    assert (found.n, found.problem) == (n, problem)
    assert found.difference == pytest.approx(difference, nan_ok=True)
    assert np.isnan([found.low, found.high, found.p, found.percent_low, found.percent_high]).all()


@pytest.mark.parametrize("before", [[0.0, 0.0, 0.0], [0.0, 0.0, 0.3], [-1.0, 0.5, 0.6]])
def test_a_first_mean_that_may_be_zero_has_no_interval_in_percent(before):
    found = paired_means(before, [0.1, 0.3, 0.2])
    assert np.isfinite([found.low, found.high, found.p]).all()
    assert np.isnan([found.percent_low, found.percent_high]).all()
    assert found.problem == "the first mean is not clear of 0: no interval in percent"


def test_wrong_arguments_are_refused():
    with pytest.raises(OptionError, match="confidence"):
        paired_means([1.0], [1.0], 95)
    with pytest.raises(StatisticsError, match="before"):
        paired_means([1.0, 2.0], [1.0])
