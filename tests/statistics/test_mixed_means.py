"""Oracle: nlme::lme of R (`repeated_measures.R`); complete data: the two-way layout's closed form."""

import numpy as np
import pytest

from nnunet_ms.errors import StatisticsError
from nnunet_ms.statistics.mixed_means import mixed_means
from tests.statistics.test_repeated_measures import METRICS, SCORES, R


@pytest.mark.parametrize("metric", METRICS)
def test_contrasts_are_those_of_nlme(metric):
    here = SCORES[SCORES["metric"] == metric]
    methods = [
        f"{arm} {size:.0f}" if size == size else arm for arm, size in zip(here["arm"], here["size"], strict=True)
    ]
    found = mixed_means(here["study"].tolist(), methods, here["value"])
    assert found.problem == ""
    for row in R[(R["metric"] == metric) & (R["family"] != "anova")].itertuples():
        contrast = found.contrast(row.first, row.second)
        expected = (row.difference_mixed, row.se_mixed)
        assert (contrast.difference, contrast.se) == pytest.approx(expected, rel=1e-6, abs=1e-8)
        assert contrast.p == pytest.approx(row.p_mixed, rel=1e-5)


def test_complete_data_have_a_closed_form():
    values = np.array([[0.5, 0.4, 0.6], [0.7, 0.5, 0.55], [0.9, 0.6, 0.8], [0.3, 0.35, 0.2]])
    found = mixed_means(np.repeat(range(4), 3).tolist(), ["a", "b", "c"] * 4, values.ravel())
    residual = values - values.mean(1, keepdims=True) - values.mean(0) + values.mean()
    error = (residual**2).sum() / 6
    contrast = found.contrast("a", "b")
    assert contrast.difference == pytest.approx(values[:, 0].mean() - values[:, 1].mean(), abs=1e-8)
    assert contrast.se == pytest.approx((2 * error / 4) ** 0.5, rel=1e-7)
    assert contrast.df == 6


def test_studies_that_do_not_differ_give_the_fit_of_least_squares():
    # The variance between studies is 0, the edge of what it can be: no error, and the residual variance is that of OLS.
    values = np.array([[0.5, 0.1], [0.1, 0.5], [0.4, 0.2], [0.2, 0.4]])
    found = mixed_means(np.repeat(range(4), 2).tolist(), ["a", "b"] * 4, values.ravel())
    assert found.study_variance == 0.0
    assert found.residual_variance == pytest.approx(((values - values.mean(0)) ** 2).sum() / 6)
    assert found.contrast("a", "b").p == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    ("studies", "methods", "values", "why"),
    [
        ([1, 2], ["a", "b"], [0.1, 0.2], "2 values of 2 studies for 2 methods"),
        ([1, 1], ["a", "b"], [0.1, 0.2], "2 values of 1 studies"),
        ([1, 2, 3], ["a"] * 3, [0.1, 0.2, 0.3], "for 1 methods"),
        ([1, 1, 2, 2, 3, 3], ["a", "b"] * 3, [0.1, 0.2] * 3, "no value differs"),
        ([1, 1], ["a", "b"], [float("nan")] * 2, "0 values of 0 studies"),
    ],
)
def test_what_cannot_be_fitted_says_why(studies, methods, values, why):
    found = mixed_means(studies, methods, values)
    assert why in found.problem
    assert found.contrast("a", "b").problem
    assert np.isnan(found.contrast("a", "b").p)


def test_a_method_without_values_and_wrong_input():
    found = mixed_means([1, 1, 2, 2, 3, 3], ["a", "b"] * 3, [0.5, 0.4, 0.7, 0.5, 0.9, 0.6])
    assert found.contrast("a", "c").problem == "no value of c"
    with pytest.raises(StatisticsError, match="1 of 2 values are infinite"):
        mixed_means([1, 2], ["a", "b"], [0.1, float("inf")])
    with pytest.raises(StatisticsError, match="expected equal lengths"):
        mixed_means([1, 2, 3], ["a", "b"], [0.1, 0.2])
