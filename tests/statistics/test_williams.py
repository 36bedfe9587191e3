"""Williams' index. Oracles: numbers by hand from the definition, a second plain implementation of the jackknife."""

from itertools import combinations

import numpy as np
import pytest

from nnunet_ms.errors import OptionError, StatisticsError
from nnunet_ms.statistics.williams import williams_index

NAN = float("nan")


@pytest.mark.parametrize(
    ("with_group", "within_group", "expected"),
    [
        # two members: (0.6 + 0.8) / 2 over 0.7
        ([[0.6, 0.8]], [[0.7]], 1.0),
        # three members: mean (0.9, 0.6, 0.6) = 0.7 over mean (0.8, 0.7, 0.6) = 0.7
        ([[0.9, 0.6, 0.6]], [[0.8, 0.7, 0.6]], 1.0),
        # every pair's mean over its own cases first: (0.5, 0.6) and (0.7) -> means 0.55 and 0.7; 0.625 over 0.5
        ([[0.5, 0.7], [0.6, NAN]], [[0.5], [0.5]], 0.625 / 0.5),
        # a pair that the whole cohort lacks
        ([[0.5, NAN], [0.6, NAN]], [[0.5], [0.5]], NAN),
        # members who never agree: 0 / 0
        ([[0.0, 0.0]], [[0.0]], NAN),
        # one member has nobody to agree with
        ([[0.7], [0.8]], np.zeros((2, 0)), NAN),
    ],
)
def test_the_index_by_hand(with_group, within_group, expected):
    patients = [f"P{i}" for i in range(len(with_group))]
    found = williams_index(np.array(with_group), np.array(within_group), patients)
    assert found.estimate == pytest.approx(expected, nan_ok=True)
    assert np.isnan([found.se, found.low, found.high]).all()  # fewer than five patients
    assert found.n_patients == len(patients)


def test_a_rater_like_the_others_has_an_index_of_one():
    # Oracle: Williams' formula with all n raters, (n - 2) * sum of own / (2 * sum of the others' pairs), written out.
    generator = np.random.default_rng(3)
    agreement = generator.uniform(0.5, 0.9, (12, 5, 5))
    agreement = (agreement + agreement.transpose(0, 2, 1)) / 2
    mean, raters = agreement.mean(axis=0), 5
    for j in range(raters):
        others = [k for k in range(raters) if k != j]
        own = sum(mean[j, k] for k in others)
        between = sum(mean[a, b] for a, b in combinations(others, 2))
        expected = (raters - 2) * own / (2 * between)
        pairs = np.stack([agreement[:, a, b] for a, b in combinations(others, 2)], axis=1)
        found = williams_index(agreement[:, j, others], pairs, [f"P{i}" for i in range(12)])
        assert found.estimate == pytest.approx(expected, abs=1e-12)
        assert found.low < 1 < found.high


def test_the_interval_is_the_jackknife_over_patients():
    # Oracle: leaving the rows of each patient out and calling the index again; two visits of a patient go together.
    generator = np.random.default_rng(4)
    own, pairs = generator.uniform(0.6, 0.9, (14, 3)), generator.uniform(0.6, 0.9, (14, 3))
    own[3, 1] = pairs[5, 2] = NAN
    patients = np.array([f"P{i // 2}" for i in range(14)])
    found = williams_index(own, pairs, patients.tolist())
    left = []
    for patient in np.unique(patients):
        kept = patients != patient
        left.append(np.nanmean(own[kept], axis=0).mean() / np.nanmean(pairs[kept], axis=0).mean())
    se = np.sqrt(6 / 7 * np.sum((np.array(left) - np.mean(left)) ** 2))
    assert found.se == pytest.approx(se, rel=1e-10)
    assert (found.low, found.high) == pytest.approx((found.estimate - 1.959964 * se, found.estimate + 1.959964 * se))
    assert (found.n_raters, found.n_patients, found.level) == (3, 7, 0.95)


def test_a_case_that_nobody_shares_counts_for_nobody():
    own, pairs = np.full((6, 2), 0.8), np.full((6, 1), 0.8)
    own[5], pairs[5] = NAN, NAN
    found = williams_index(own, pairs, list("abcdef"))
    assert (found.estimate, found.n_patients) == (1.0, 5)
    assert found.se == pytest.approx(0)


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(StatisticsError, match=r"within_group: expected 3 pairs of 3 raters, found 2\. Give one column"):
        williams_index(np.ones((2, 3)), np.ones((2, 2)), ["a", "b"])
    with pytest.raises(StatisticsError, match="expected"):
        williams_index(np.ones((2, 2)), np.ones((2, 1)), ["a"])
    with pytest.raises(OptionError, match="confidence: expected a number between 0 and 1, found 95"):
        williams_index(np.ones((2, 2)), np.ones((2, 1)), ["a", "b"], confidence=95)
