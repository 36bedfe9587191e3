import numpy as np
import SimpleITK
from scipy import ndimage

from nnunet_ms.images.itk import resample, to_itk, to_matrix, to_transform, voxels
from nnunet_ms.images.volumes import Grid
from tests.images.moving_head import AFFINE, SHAPE, image_of, motion


def test_transforms_of_simpleitk_and_matrices_are_one():
    matrix = motion()
    euler = SimpleITK.Euler3DTransform((1.0, 2.0, 3.0), 0.1, -0.2, 0.3, (4.0, 5.0, 6.0))
    np.testing.assert_allclose(to_matrix(to_transform(matrix)), matrix, atol=1e-12)
    point = np.array([10.0, -20.0, 30.0])
    lps = np.array(euler.TransformPoint((point * [-1, -1, 1]).tolist()))
    np.testing.assert_allclose((to_matrix(euler) @ [*point, 1])[:3], lps * [-1, -1, 1], atol=1e-12)


def test_resampling_is_scipys():
    grid, target = (
        Grid(SHAPE, AFFINE),
        Grid((40, 40, 30), np.diag([1.5, 2.0, 2.5, 1.0]) + np.array([[0, 0, 0, -30.0]] * 3 + [[0] * 4])),
    )
    matrix, data = motion(), image_of(Grid(SHAPE, AFFINE))
    whole = np.linalg.inv(AFFINE) @ matrix @ target.affine
    expected = ndimage.affine_transform(data, whole[:3, :3], whole[:3, 3], target.shape, order=1, cval=0.0)
    moved = voxels(resample(to_itk(data, grid), target, matrix, is_label=False))
    inside = ndimage.binary_erosion(expected > 0, iterations=2)
    np.testing.assert_allclose(moved[inside], expected[inside], atol=0.05)
