import numpy as np
import pytest
from sklearn.metrics import f1_score

from nnunet_ms.classification.rim.thresholds import best_threshold
from nnunet_ms.errors import SettingsError


@pytest.mark.parametrize("seed", range(4))
def test_no_threshold_has_a_larger_f1(seed):
    # Oracle: scikit-learn's F1 at every threshold.
    generator = np.random.default_rng(seed)
    truth = generator.random(60) < 0.2
    probability = np.round(np.clip(0.3 * truth + generator.normal(0.4, 0.2, 60), 0, 1), 2)  # with ties
    found = f1_score(truth, probability >= best_threshold(truth, probability))
    assert found == pytest.approx(max(f1_score(truth, probability >= t) for t in np.unique(probability)))


@pytest.mark.parametrize(
    ("truth", "probability", "threshold"),
    [
        ([1, 0], [0.8, 0.4], 0.6),
        ([0, 1], [0.9, 0.2], 0.1),  # all are called rim+
        ([1, 1], [0.5, 0.5], 0.25),
        ([1, 0, 0, 1], [0.9, 0.8, 0.7, 0.6], 0.85),  # F1 is 2/3 at .9 and at .6
    ],
)
def test_by_hand(truth, probability, threshold):
    assert best_threshold(truth, probability) == pytest.approx(threshold)


def test_without_a_rim_nothing_is_chosen():
    with pytest.raises(SettingsError, match=r"threshold: expected a rim\+ lesion"):
        best_threshold([0, 0], [0.1, 0.2])
