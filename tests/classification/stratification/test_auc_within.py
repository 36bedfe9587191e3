"""Oracles: loops over pairs, `roc.auc` in one stratum, and resampling done by hand."""

import numpy as np
import pytest

from nnunet_ms.classification.stratification.auc_within import auc_within
from nnunet_ms.errors import StatisticsError
from nnunet_ms.statistics.roc import auc


def cohort(seed, n=40):
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % 3 == 0).astype(int)
    return y, np.round(rng.normal(y, 1.0), 1), np.array([f"P{k // 2}" for k in range(n)]), rng.integers(0, 3, n)


def pairs(y, score, strata):
    won = [
        (a > b) + 0.5 * (a == b)
        for a, s in zip(score[y == 1], strata[y == 1], strict=True)
        for b, t in zip(score[y == 0], strata[y == 0], strict=True)
        if s == t
    ]
    return np.mean(won), len(won)


@pytest.mark.parametrize("seed", range(4))
def test_the_share_of_pairs_won(seed):
    y, score, patients, strata = cohort(seed)
    found = auc_within(y, score, patients, strata, replicates=20)
    assert (found.estimate, found.pairs) == pytest.approx(pairs(y, score, strata))


def test_one_stratum_is_the_usual_area():
    y, score, patients, _ = cohort(9)
    found = auc_within(y, score, patients, np.zeros(40), replicates=20)
    assert found.estimate == pytest.approx(auc(score[y == 1], score[y == 0]))


def test_the_interval_is_that_of_patients_drawn_by_hand():
    y, score, patients, strata = cohort(3)
    found = auc_within(y, score, patients, strata, replicates=60, seed=5)
    names = np.unique(patients)
    draws = []
    for counts in np.random.default_rng(5).multinomial(20, np.full(20, 1 / 20), size=60):
        rows = np.concatenate(
            [np.tile(np.flatnonzero(patients == name), k) for name, k in zip(names, counts, strict=True)]
        )
        draws.append(pairs(y[rows.astype(int)], score[rows.astype(int)], strata[rows.astype(int)])[0])
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(draws, [2.5, 97.5])))


def test_a_score_that_knows_the_stratum_alone_has_one_half():
    y, _, patients, strata = cohort(1)
    assert auc_within(y, strata.astype(float), patients, strata, replicates=20).estimate == 0.5


@pytest.mark.parametrize(
    ("y", "strata", "problem"),
    [([1, 0], [1, 2], "no pair"), ([1, 1], [1, 1], "no pair"), ([1, 0], [1, 1], "2 patients, needs 5")],
)
def test_what_there_is_no_area_or_interval_of(y, strata, problem):
    found = auc_within(y, [0.1, 0.2], ["a", "b"], strata)
    assert problem in found.problem
    assert np.isnan(found.low)


def test_missing_scores_are_refused():
    with pytest.raises(StatisticsError, match="score"):
        auc_within([1, 0], [0.1, np.nan], ["a", "b"], [1, 1])
