"""A head that moves by known amounts: the MNI152 brain on any grid, in two contrasts."""

from functools import cache

import numpy as np
from nilearn.datasets import load_mni152_template
from scipy import ndimage

from nnunet_ms.images.volumes import Grid

SHAPE, AFFINE = (48, 58, 32), np.diag([3.5, 3.5, 5.0, 1.0])
AFFINE[:3, 3] = -82, -117, -68


@cache
def template():
    """MNI152 brain of nilearn's wheel: voxels, and their affine."""
    image = load_mni152_template(resolution=2)
    return ndimage.gaussian_filter(image.get_fdata(), 0.5), image.affine


def image_of(grid, matrix=None, other=False):
    """The brain on a grid, 0 to 800; `matrix` moves it: the image shows at p what the brain has at matrix @ p.

    `other` is another contrast: white matter dark, fluid bright.
    """
    data, affine = template()
    whole = np.linalg.inv(affine) @ (np.eye(4) if matrix is None else matrix) @ grid.affine
    image = 800 * ndimage.affine_transform(data, whole[:3, :3], whole[:3, 3], grid.shape, order=1)
    return np.where(image > 80, 900 - image, image).astype(np.float32) if other else image.astype(np.float32)


def motion(degrees=(4.0, -3.0, 6.0), shift=(5.0, -4.0, 3.0)):
    matrix = np.eye(4)
    for axis, angle in enumerate(np.deg2rad(degrees)):
        turn, (a, b) = np.eye(4), [k for k in range(3) if k != axis]
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    matrix[:3, 3] = shift
    return matrix


def apart(first, second):
    """Largest distance between two transforms in the brain, mm."""
    index = np.argwhere(image_of(Grid(SHAPE, AFFINE)) > 80)[::50]
    points = np.c_[index, np.ones(len(index))] @ AFFINE.T
    return float(np.linalg.norm(((first - second) @ points.T)[:3], axis=0).max())
