import numpy as np

from nnunet_ms.images import bias_field
from nnunet_ms.images.bias_field import correct_bias
from nnunet_ms.images.itk import to_itk, voxels
from nnunet_ms.images.volumes import Grid
from tests.images.moving_head import AFFINE, image_of


def test_n4_takes_out_most_of_a_known_bias(monkeypatch):
    monkeypatch.setattr(bias_field, "N4_ITERATIONS", (50, 20))  # enough for a bias this simple
    affine = np.diag([5.0, 5.0, 5.0, 1.0])
    affine[:3, 3] = AFFINE[:3, 3]
    grid = Grid((34, 41, 30), affine)
    clean = image_of(grid)
    bias = np.exp(0.5 * np.linspace(-1, 1, 34))[:, None, None].astype(np.float32)
    brain = clean > 80
    corrected = voxels(correct_bias(to_itk(clean * bias, grid), to_itk(brain.astype(np.uint8), grid)))
    left = [np.std(np.log(data[brain] / clean[brain])) for data in (clean * bias, corrected)]
    assert left[1] < 0.6 * left[0]
