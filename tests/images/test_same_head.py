"""Edges of one head and of two. Oracle: the template's brain, in another contrast, moved as is known, or warped."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from nnunet_ms.images.itk import resample, to_itk, voxels
from nnunet_ms.images.same_head import edge_agreement
from nnunet_ms.images.template import mni152, mni152_brain
from nnunet_ms.images.volumes import Grid, Volume
from tests.images.moving_head import motion

GRIDS = {
    "thin": Grid((64, 76, 62), np.array([[3.0, 0, 0, -94], [0, 3, 0, -128], [0, 0, 3, -84], [0, 0, 0, 1]])),
    "thick": Grid((96, 114, 26), np.array([[2.0, 0, 0, -94], [0, 2, 0, -128], [0, 0, 7, -84], [0, 0, 0, 1]])),
}


@pytest.fixture(scope="module", params=GRIDS)
def head(request):
    """The template and its brain on a grid."""
    grid = GRIDS[request.param]
    data, mask = (to_itk(one, mni152().grid) for one in (mni152().data, mni152_brain().astype(np.uint8)))
    t1 = np.asarray(voxels(resample(data, grid, np.eye(4), is_label=False)), dtype=np.float64)
    return grid, t1, voxels(resample(mask, grid, np.eye(4), is_label=True)) > 0


def flair_of(t1, seed=0):
    """Another contrast: turned round, bent, in a bias field, with noise."""
    random = np.random.default_rng(seed)
    bias = 1 + 0.3 * np.linspace(-1, 1, t1.shape[1])[None, :, None]
    return bias * np.sqrt(np.abs(1.2 * t1.max() - t1)) + 0.02 * np.sqrt(t1.max()) * random.normal(size=t1.shape)


def warped(data, grid, seed):
    """Another person's: 8 mm of smooth displacement, which is what a rigid registration leaves between two heads."""
    random = np.random.default_rng(seed)
    scale = np.array(grid.spacing)
    fields = [ndimage.gaussian_filter(random.normal(size=data.shape), 20 / scale) for _ in range(3)]
    shifts = [8 / mm * field / field.std() for field, mm in zip(fields, scale, strict=True)]
    return ndimage.map_coordinates(data, np.indices(data.shape) + shifts, order=1)


def test_one_head_agrees_in_another_contrast_and_others_do_not(head):
    grid, t1, brain = head
    first = Volume(t1, grid, Path("t1.nii.gz"))
    own = edge_agreement(first, Volume(flair_of(t1), grid, Path("flair.nii.gz")), brain, np.eye(4))
    assert own > 0.8
    for seed in range(3):
        other = Volume(flair_of(warped(t1, grid, seed), seed), grid, Path("flair.nii.gz"))
        assert edge_agreement(first, other, brain, np.eye(4)) < 0.7


def test_the_matrix_says_where_the_second_lies(head):
    grid, t1, brain = head
    matrix = motion((4, 3, -2), (5, -4, 6))
    moved = resample(to_itk(flair_of(t1).astype(np.float32), grid), grid, np.linalg.inv(matrix), is_label=False)
    first, second = Volume(t1, grid, Path("t1.nii.gz")), Volume(voxels(moved), grid, Path("flair.nii.gz"))
    assert edge_agreement(first, second, brain, matrix) > 0.8
    assert edge_agreement(first, second, brain, np.eye(4)) < 0.7


def test_noise_agrees_as_chance_does_and_too_few_voxels_tell_nothing(head):
    grid, t1, brain = head
    first = Volume(t1, grid, Path("t1.nii.gz"))
    noise = Volume(np.random.default_rng(1).normal(size=grid.shape), grid, Path("flair.nii.gz"))
    assert 0.25 < edge_agreement(first, noise, brain, np.eye(4)) < 0.55
    small = np.zeros(grid.shape, bool)
    small[30:33, 40:43, 12:14] = True
    assert np.isnan(edge_agreement(first, noise, small, np.eye(4)))
