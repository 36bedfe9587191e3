"""Oracle: distances to every voxel outside, by brute force."""

import numpy as np
import pytest
from scipy import ndimage

from nnunet_ms.images.volumes import Grid
from nnunet_ms.trainers.prediction.lesion_edge import edge_share
from nnunet_ms.trainers.prediction.lesion_uncertainty import label_sample


def by_force(mask, content, spacing, within):
    """Share of each 18-connected lesion, from an exact distance map of the padded content with its holes filled."""
    filled = ndimage.binary_fill_holes(np.pad(content, 1))
    away = ndimage.distance_transform_edt(filled, sampling=spacing)[1:-1, 1:-1, 1:-1]
    labels, count = ndimage.label(mask, ndimage.generate_binary_structure(3, 2))
    return sorted(float(np.mean(away[labels == n] <= within)) for n in range(1, count + 1))


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 1.0, 3.0), (0.7, 2.0, 1.1)])
@pytest.mark.parametrize("within", [1.0, 4.0, 9.0])
def test_share_is_that_of_exact_distances(spacing, within):
    rng = np.random.default_rng(int(10 * within))
    content = ndimage.gaussian_filter(rng.normal(size=(24, 22, 14)), 3) > -0.02
    content[8:11, 8:11, 5:8], content[9, 9, 6] = True, False  # a hole
    mask = content & (rng.random(content.shape) < 0.08)
    grid = Grid(mask.shape, np.diag([*spacing, 1.0]))
    found = edge_share(label_sample(mask, grid), content, within)
    assert sorted(found) == pytest.approx(by_force(mask, content, spacing, within))
    assert len(found) > 10


@pytest.mark.parametrize("thickness", [2, 3, 4])
def test_a_shell_of_scalp_is_edge_and_a_lesion_below_the_cortex_is_not(thickness):
    ball = np.linalg.norm(np.indices((60, 60, 60)) - 29.5, axis=0)
    mask = (ball > 28 - thickness) & (ball <= 28) & (np.arange(60) > 45)
    mask |= (ball < 21) & (ball > 16) & (np.arange(60) < 20)
    below, shell = sorted(edge_share(label_sample(mask, Grid(mask.shape, np.eye(4))), ball <= 28))
    assert below == 0
    assert shell > 0.9


def test_no_lesions_and_images_without_an_edge():
    nothing, everything = np.zeros((6, 6, 6), bool), np.ones((20, 20, 20), bool)
    assert edge_share(label_sample(nothing, Grid(nothing.shape, np.eye(4))), nothing).size == 0
    mask = np.zeros_like(everything)
    mask[9:12, 9:12, 9:12] = True
    mask[0, 9:12, 9:12] = True
    found = edge_share(label_sample(mask, Grid(mask.shape, np.eye(4))), everything)
    assert sorted(found) == [0.0, 1.0]
