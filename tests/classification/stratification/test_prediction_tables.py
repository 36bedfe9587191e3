"""Oracle: every threshold tried."""

import numpy as np
import pytest

from nnunet_ms.classification.stratification.prediction_tables import validation_fold, youden_threshold
from nnunet_ms.errors import SettingsError


@pytest.mark.parametrize("seed", range(6))
def test_no_threshold_has_a_larger_sum(seed):
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(30) % 3 == 0)
    p = np.round(np.clip(rng.normal(0.4 + 0.2 * y, 0.2), 0, 1), 1)  # with ties

    def gain(cut):
        return (p >= cut)[y].mean() - (p >= cut)[~y].mean()

    cut = youden_threshold(y, p)
    grid = np.linspace(0.001, 1, 1000)
    best = max(gain(one) for one in grid)
    assert gain(cut) == pytest.approx(best)
    assert abs(cut - 0.5) <= min(abs(one - 0.5) for one in grid if gain(one) > best - 1e-9) + 0.051  # half a step of p


@pytest.mark.parametrize(("truth", "p"), [([1, 1], [0.1, 0.2]), ([0, 0], [0.1, 0.2]), ([], []), ([0, 1], [0.5])])
def test_both_classes_are_needed(truth, p):
    with pytest.raises(SettingsError, match="both classes"):
        youden_threshold(truth, p)


def test_each_fold_holds_back_another_one():
    for folds in (2, 3, 7):
        assert sorted(validation_fold(k, folds) for k in range(folds)) == list(range(folds))
        assert all(validation_fold(k, folds) != k for k in range(folds))
