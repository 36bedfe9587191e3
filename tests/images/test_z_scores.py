"""Scores inside the brain: their mean and spread, and what has none."""

import numpy as np
import pytest

from nnunet_ms.errors import ImageError
from nnunet_ms.images.z_scores import z_scored


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int16, np.uint8])
def test_inside_the_mean_is_0_and_the_spread_1_whatever_lies_outside(kind):
    rng = np.random.default_rng(3)
    image = rng.integers(20, 200, (12, 10, 8)).astype(kind)
    brain = np.zeros(image.shape, bool)
    brain[3:9, 2:8, 2:6] = True
    outside = np.where(brain, image, 0).astype(kind)
    scores, others = z_scored(image, brain, "t1"), z_scored(outside, brain, "t1")
    assert scores.dtype == np.float32
    assert scores[brain].mean() == pytest.approx(0, abs=1e-6)
    assert scores[brain].std() == pytest.approx(1, abs=1e-6)
    np.testing.assert_array_equal(scores[brain], others[brain])


@pytest.mark.parametrize("brain", [np.zeros((4, 4, 4), bool), np.ones((4, 4, 4), bool)])
def test_one_value_or_no_brain_is_refused(brain):
    with pytest.raises(ImageError, match="flair: expected an image, found one value in all of the brain"):
        z_scored(np.full((4, 4, 4), 7.0), brain, "flair")
