"""Oracles: the coverage of ranks, counted over every choice of the new patient; the definition, by sorting; tables."""

import itertools
import math

import numpy as np
import pytest

from nnunet_ms.errors import StatisticsError
from nnunet_ms.statistics.conformal import conformal_quantile, jackknife_plus, largest_level


@pytest.mark.parametrize("n", [1, 4, 8, 9, 19, 20, 99])
@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95])
def test_each_of_n_plus_1_cases_as_the_new_one_is_covered_as_often_as_the_theorem_says(n, level):
    # Oracle: with distinct exchangeable scores the coverage is exactly ceil(level (n + 1)) / (n + 1), or 1 when that
    # order statistic does not exist (Lei et al. 2018, Theorem 2.2, without its continuity slack).
    scores = np.random.default_rng(n).permutation(n + 1) * 1.0
    covered = [scores[i] <= conformal_quantile(np.delete(scores, i), level=level) for i in range(n + 1)]
    assert np.mean(covered) == pytest.approx(min(math.ceil(round(level * (n + 1), 9)), n + 1) / (n + 1))
    assert math.isinf(conformal_quantile(np.delete(scores, 0), level=level)) == (level > largest_level(n))


@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (3, 1, 2, 5, 1), (1, 7), (2,) * 9, (4, 1, 1, 1, 1, 1, 1, 1, 1, 30)])
@pytest.mark.parametrize("level", [0.5, 0.7, 0.9])
def test_patients_are_covered_whatever_the_numbers_of_their_visits(sizes, level):
    # Oracle: theorem 1 of Lee, Barber and Willett 2023: over all choices of the new patient and of one of its cases
    # the coverage is the level at least. Patients differ much, so that visits as patients would fail.
    patients = np.repeat(np.arange(len(sizes)), sizes)
    scores = np.random.default_rng(len(sizes)).normal(size=len(patients)) + 10.0 * np.sqrt(patients)
    of_patient = []
    for new in range(len(sizes)):
        rest = patients != new
        bound = conformal_quantile(scores[rest], patients[rest].tolist(), level=level)
        of_patient.append(np.mean(scores[~rest] <= bound))
    assert np.mean(of_patient) >= level - 1e-12


def by_definition(predictions, residuals, level):
    """Barber et al. 2021, equation 1.2: the order statistics k = ceil((1 - alpha)(n + 1)) and n + 1 - k, by sorting."""
    n, alpha = len(predictions), 1 - level
    high = [*sorted(m + r for m, r in zip(predictions, residuals, strict=True)), math.inf]
    low = [-math.inf, *sorted(m - r for m, r in zip(predictions, residuals, strict=True))]
    k = math.ceil(round((1 - alpha) * (n + 1), 9))
    return low[n + 1 - k], high[k - 1]


@pytest.mark.parametrize("n", [3, 8, 9, 10, 19, 50])
@pytest.mark.parametrize("level", [0.6, 0.8, 0.9])
def test_jackknife_plus_is_the_definition_by_sorting(n, level):
    rng = np.random.default_rng(n)
    predictions, residuals = rng.normal(size=n), rng.exponential(size=n)
    assert jackknife_plus(predictions, residuals, level=level) == pytest.approx(
        by_definition(predictions, residuals, level)
    )


def test_jackknife_plus_of_a_mean_covers_as_promised_over_all_choices_of_the_new_case():
    # Oracle: theorem 1 of Barber et al. 2021, at least 1 - 2 alpha over all n + 1 choices, for the worst of values too
    for values in (
        np.random.default_rng(1).normal(size=20),
        np.geomspace(1, 1e6, 20),
        np.r_[np.zeros(10), np.ones(10)],
    ):
        covered = []
        for new in range(20):
            rest = np.delete(values, new)
            without = (rest.sum() - rest) / 18  # the mean of the others predicts
            low, high = jackknife_plus(without, abs(rest - without), level=0.9)
            covered.append(low <= values[new] <= high)
        assert np.mean(covered) >= 0.8


def test_cases_of_one_patient_are_one_patient_and_order_does_not_matter():
    scores, patients = [5.0, 1.0, 3.0, 2.0], ["a", "b", "a", "c"]
    answers = {
        conformal_quantile([scores[i] for i in order], [patients[i] for i in order], level=0.7)
        for order in itertools.permutations(range(4))
    }
    # weights 1/8 each of a, 1/4 of b and c: 1/4 at 1, 1/2 at 2, 5/8 at 3, 3/4 at 5
    assert answers == {5.0}
    doubled = conformal_quantile([1, 1, 2, 2, 3, 3], list("aabbcc"), level=0.5)
    assert doubled == conformal_quantile([1, 2, 3], level=0.5)


def test_what_cannot_be_ranked_is_refused():
    with pytest.raises(StatisticsError, match="1 of 2 values of scores are missing or infinite"):
        conformal_quantile([1.0, float("nan")])
    with pytest.raises(StatisticsError, match="found 2 in predictions, 1 in residuals"):
        jackknife_plus([1.0, 2.0], [1.0])
    with pytest.raises(StatisticsError, match="found 2 in scores, 1 in patients"):
        conformal_quantile([1.0, 2.0], ["a"])
    with pytest.raises(StatisticsError, match=r"residuals: expected absolute errors, found -1"):
        jackknife_plus([1.0], [-1.0])
