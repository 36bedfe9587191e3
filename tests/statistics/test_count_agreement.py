"""Oracles: the paper's printed interval, the definitions, R's values of the parts (test_concordance.py)."""

import numpy as np
import pytest

from nnunet_ms.errors import OptionError, StatisticsError
from nnunet_ms.statistics.concordance import pearson_correlation
from nnunet_ms.statistics.count_agreement import count_agreement, fisher_interval


def test_interval_of_the_paper():
    # Oracle: Zhang et al. 2022 print r = 0.89 (0.86, 0.92) of 172 patients; so rounded that is an r of 0.894.
    assert fisher_interval(0.89, 172) == pytest.approx((0.854, 0.917), abs=5e-4)
    assert [round(limit, 2) for limit in fisher_interval(0.894, 172)] == [0.86, 0.92]


@pytest.mark.parametrize("n", [4, 9, 40])
def test_interval_is_that_of_scipy_from_the_data(n):
    rng = np.random.default_rng(n)
    x = rng.normal(size=n)
    whole = pearson_correlation(x, x + rng.normal(size=n), 0.9)
    assert fisher_interval(whole.estimate, n, 0.9) == pytest.approx((whole.low, whole.high), rel=1e-9)


@pytest.mark.parametrize(("r", "n"), [(0.5, 3), (1.0, 50), (-1.0, 50), (0.2, 0)])
def test_no_interval_of_three_pairs_or_a_line(r, n):
    assert np.isnan(fisher_interval(r, n)).all()


@pytest.mark.parametrize("r", [1.2, -2, float("nan")])
def test_no_such_correlation(r):
    with pytest.raises(OptionError, match=r"^r: expected a correlation from -1 to 1, found"):
        fisher_interval(r, 10)


def test_counts_by_hand():
    # differences 0, 1, -1, 1, 0: squares sum to 3
    found = count_agreement([0, 1, 3, 0, 5], [0, 2, 2, 1, 5], list("abcde"))
    assert (found.mse, found.mean_difference, found.n, found.patients) == (0.6, pytest.approx(0.2), 5, 5)
    assert 0 <= found.mse_low <= 0.6 <= found.mse_high <= 1


def test_visits_of_a_patient_are_resampled_together():
    counted, predicted, names = np.arange(12.0), np.arange(12.0)[::-1], [f"p{k // 2}" for k in range(12)]
    found = count_agreement(counted, predicted, names, replicates=70, seed=2)
    squares = (predicted - counted) ** 2
    draws = np.random.default_rng(2).multinomial(6, np.full(6, 1 / 6), size=70)
    means = [np.repeat(squares, np.repeat(row, 2)).mean() for row in draws]
    assert (found.mse_low, found.mse_high) == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])))
    assert (found.n, found.patients) == (12, 6)


@pytest.mark.parametrize(
    ("counted", "predicted", "problem"),
    [
        ([0, 0, 0, 0], [1, 0, 2, 0], "all counted numbers are equal: no correlation"),
        ([0, 1, 2, 0], [1, 1, 1, 1], "all predicted numbers are equal: no correlation"),
        ([0, 1], [1, 1], "2 rows, needs 3 for a correlation"),
        ([], [], "0 rows, needs 3 for a correlation"),
    ],
)
def test_what_is_not_defined_says_why(counted, predicted, problem):
    found = count_agreement(counted, predicted, [f"p{k}" for k in range(len(counted))])
    assert found.problem == problem
    assert np.isnan([found.r.estimate, found.mse_low]).all()
    assert np.isnan(found.mse) == (not counted)


def test_missing_counts_are_refused():
    with pytest.raises(StatisticsError, match="1 of 2 values of predicted are missing"):
        count_agreement([0, 1], [1, np.nan], ["a", "b"])
