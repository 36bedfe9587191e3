from dataclasses import astuple
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nnunet_ms.statistics.concordance import (
    bland_altman,
    bland_altman_ratio,
    concordance_correlation,
    intraclass_correlation,
    pearson_correlation,
)

# Peak flow (l/min), first measurements, of 17 people: Bland and Altman, Lancet 1986;i:307-310, table.
LARGE = np.array([494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427])
MINI = np.array([512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451])
# Four judges, six targets: Shrout and Fleiss, Psychol Bull 1979;86:420-428, table 2.
JUDGES = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]])


def sample(seed, n=60):
    generator = np.random.default_rng(seed)
    x = generator.gamma(1.2, 8, size=n)
    return x, x * np.exp(generator.normal(0.1, 0.3, size=n)) + generator.uniform(0, 0.5, size=n)


def test_peak_flow_as_printed():
    # Oracle: Bland and Altman 1986: r .94; mean difference large - mini -2.1 (95 % interval -22.0 to 17.8), SD 38.8.
    limits = bland_altman(MINI, LARGE)
    printed = (-2.1, -22.0, 17.8, 38.8)
    assert (limits.bias, limits.bias_low, limits.bias_high, limits.sd) == pytest.approx(printed, abs=0.06)
    assert pearson_correlation(MINI, LARGE).estimate == pytest.approx(0.94, abs=0.005)
    # they print -79.7 and 75.5 with the factor 2 instead of 1.96, and an interval of 34.6 to each side of a limit with
    # 3 / n instead of 1 / n + 1.96^2 / (2 (n - 1))
    assert (limits.lower, limits.upper) == pytest.approx((-79.7 + 0.04 * 38.8, 75.5 - 0.04 * 38.8), abs=0.1)
    assert limits.lower - limits.lower_low == pytest.approx(34.6, rel=0.02)


def test_icc_as_printed():
    # Oracle: Shrout and Fleiss 1979, table 4: ICC(2,1) = .29; its interval (.02, .76) as psych::ICC of R prints it.
    icc = intraclass_correlation(JUDGES)
    assert (icc.estimate, icc.low, icc.high) == pytest.approx((0.29, 0.019, 0.761), abs=0.005)
    assert icc.n == 6


@pytest.mark.parametrize("seed", range(5))
def test_correlation_and_interval_against_scipy(seed):
    x, y = sample(seed)
    result, oracle = pearson_correlation(x, y), stats.pearsonr(x, y)
    assert result.estimate == pytest.approx(oracle.statistic, abs=1e-12)
    assert (result.low, result.high) == pytest.approx(tuple(oracle.confidence_interval(0.95)), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_ccc_is_one_minus_the_scaled_squared_distance(seed):
    # Oracle: Lin's definition, 1 - E(x - y)^2 / E(x - y)^2 under independence (all pairs of cases).
    x, y = sample(seed)
    independent = ((x[:, None] - y[None, :]) ** 2).mean()
    expected = 1 - ((x - y) ** 2).mean() / independent
    assert concordance_correlation(x, y).estimate == pytest.approx(expected, abs=1e-12)


def test_ccc_interval_covers_the_truth():
    # Oracle: coverage on normal pairs with a shift, for which Lin's variance holds.
    generator = np.random.default_rng(1)
    covariance = np.array([[1, 0.8], [0.8, 1.3]])
    truth = 2 * 0.8 / (1 + 1.3 + 0.3**2)
    covered = 0
    for _ in range(600):
        x, y = generator.multivariate_normal([0, 0.3], covariance, size=50).T
        result = concordance_correlation(x, y)
        covered += result.low <= truth <= result.high
    assert 0.925 <= covered / 600 <= 0.975


@pytest.mark.parametrize("seed", range(5))
def test_icc_of_two_raters_against_variance_components(seed):
    # Oracle: ICC(2,1) = between / (between + raters + error) with components from sums over all cells.
    x, y = sample(seed)
    table = np.column_stack([x, y])
    n, grand = x.size, table.mean()
    rows = 2 * sum((case.mean() - grand) ** 2 for case in table) / (n - 1)
    columns = n * sum((rater.mean() - grand) ** 2 for rater in table.T)
    total = ((table - grand) ** 2).sum()
    error = (total - rows * (n - 1) - columns) / (n - 1)
    components = ((rows - error) / 2, (columns - error) / n, error)
    assert intraclass_correlation(table).estimate == pytest.approx(components[0] / sum(components), abs=1e-12)


def test_icc_interval_covers_the_truth():
    # Oracle: coverage in simulated two-way random layouts of three raters.
    generator = np.random.default_rng(3)
    covered = 0
    for _ in range(400):
        raters = generator.normal(0, 0.3, size=3)
        table = generator.normal(0, 2, size=(30, 1)) + raters + generator.normal(0, 1, size=(30, 3))
        result = intraclass_correlation(table)
        covered += result.low <= 4 / (4 + 0.09 + 1) <= result.high
    assert 0.92 <= covered / 400 <= 0.98


def test_ratio_is_the_difference_of_logs():
    # Oracle: the definition, on logarithms by hand; a pair with a zero has no ratio.
    x, y = sample(7)
    ratios = bland_altman_ratio([*x, 0.0, 3.0, 0.0], [*y, 2.0, 0.0, 0.0])
    logs = np.log(y) - np.log(x)
    assert (ratios.n, ratios.n_left_out, ratios.is_ratio) == (60, 3, True)
    assert ratios.bias == pytest.approx(np.exp(logs.mean()))
    assert ratios.upper == pytest.approx(np.exp(logs.mean() + stats.norm.ppf(0.975) * logs.std(ddof=1)))
    assert ratios.bias_low == pytest.approx(np.exp(stats.t.interval(0.95, 59, logs.mean(), stats.sem(logs))[0]))


def test_units_and_roles():
    # By definition: r, CCC and ICC do not change with a common unit or when roles are swapped; the bias changes sign.
    x, y = sample(2)
    for function in (pearson_correlation, concordance_correlation):
        assert astuple(function(1000 * x, 1000 * y)) == pytest.approx(astuple(function(x, y)))
        assert function(y, x).estimate == pytest.approx(function(x, y).estimate)
    assert bland_altman(y, x).bias == pytest.approx(-bland_altman(x, y).bias)
    assert bland_altman_ratio(y, x).lower == pytest.approx(1 / bland_altman_ratio(x, y).upper)


def test_perfect_agreement():
    x, _ = sample(3)
    assert pearson_correlation(x, x).estimate == pytest.approx(1)
    assert concordance_correlation(x, x).estimate == pytest.approx(1)
    assert intraclass_correlation(np.column_stack([x, x])).estimate == pytest.approx(1)
    assert (bland_altman(x, x).bias, bland_altman_ratio(x, x).upper) == (0, 1)


@pytest.mark.parametrize(("x", "y"), [([], []), ([1, 2], [2, 1]), ([2, 2, 2], [2, 2, 2])])
def test_undefined(x, y):
    ratings = np.column_stack([x, y])
    for value in (pearson_correlation(x, y), concordance_correlation(x, y), intraclass_correlation(ratings)):
        assert np.isnan([value.estimate, value.low, value.high]).all()
        assert value.n == len(x)


def test_agreement_up_to_rounding_has_no_interval():
    # Found by evaluating a model against itself: mean squares of 1e-32 instead of 0.
    x = np.array([0.1, 0.2, 0.3, 0.7, 0.25, 0.15])
    result = intraclass_correlation(np.column_stack([x, x * (1 + 1e-16)]))
    assert (result.estimate, np.isnan(result.low)) == (pytest.approx(1), True)


def test_one_rater_constant():
    # By definition: no correlation exists, and no covariance makes Lin's coefficient 0.
    x, y = [1.0, 2.0, 3.0], [2.0, 2.0, 2.0]
    assert np.isnan(pearson_correlation(x, y).estimate)
    assert concordance_correlation(x, y).estimate == 0
    assert np.isnan(concordance_correlation(x, y).low)


def test_too_few_pairs_for_limits():
    limits = bland_altman_ratio([1, 2, 0, 0], [2, 3, 1, 0])
    assert (limits.n, limits.n_left_out) == (2, 2)
    assert np.isnan([limits.bias, limits.lower, limits.sd]).all()


def test_unequal_lengths_and_bad_values():
    with pytest.raises(ValueError, match="two equally long rows"):
        pearson_correlation([1, 2, 3], [1, 2])
    with pytest.raises(ValueError, match="finite values"):
        bland_altman([1, 2, np.nan], [1, 2, 3])
    with pytest.raises(ValueError, match="found negative"):
        bland_altman_ratio([1, 2, -1], [1, 2, 3])
    with pytest.raises(ValueError, match="expected finite ratings"):
        intraclass_correlation(np.arange(3.0))


def test_intraclass_correlation_and_its_interval_equal_psychs():
    # Oracle: R 4.2.2, psych 2.2.9, ICC(2,1); script and versions in intraclass.R and intraclass.csv beside this file.
    expected = pd.read_csv(Path(__file__).with_name("intraclass.csv"))
    assert len(expected) == 16
    for row in expected.itertuples():
        i, j = np.arange(row.n)[:, None], np.arange(row.raters)
        ratings = 5 * i + (i * i * (row.case + 2) + 3 * i * j + 7 * j * j) % 11 + row.case * j
        found = intraclass_correlation(ratings, row.level)
        assert (found.estimate, found.low, found.high) == pytest.approx((row.icc, row.low, row.high), rel=1e-9)


def test_an_interval_of_a_coefficient_of_exactly_0_does_not_exist():
    # By definition: Lin's variance divides by Pearson's r.
    found = concordance_correlation([1, 2, 3], [1, 2, 1])
    assert found.estimate == 0
    assert np.isnan([found.low, found.high]).all()


def test_lins_coefficient_and_its_interval_equal_epirs():
    # Oracle: R 4.2.2, epiR 2.0.57, epi.ccc(ci = "z-transform"); script and versions in lin.R and .csv beside.
    expected = pd.read_csv(Path(__file__).with_name("lin.csv"))
    assert len(expected) == 12
    for row in expected.itertuples():
        i = np.arange(row.n)
        x = (i * i * 3 + 5 * i) % 23 + 1
        y = x * (10 + row.case) / 10 + (i * i + 2 * i) % 7 + 3 * row.case
        found = concordance_correlation(x, y, row.level)
        assert (found.estimate, found.low, found.high) == pytest.approx((row.ccc, row.low, row.high), rel=1e-9)
