"""Two visits on one grid, against scikit-learn's scaler, numpy and matrices whose square is known."""

import nibabel as nib
import numpy as np
import pytest
from sklearn.preprocessing import RobustScaler

from nnunet_ms.errors import ImageError
from nnunet_ms.images.two_visits import half_of, half_way_grid, head_in, header_words, likeness, robust_z
from nnunet_ms.images.volumes import Grid
from tests.images.moving_head import motion

RNG = np.random.default_rng(5)
IMAGE = RNG.gamma(2, 50, (12, 14, 10))
INSIDE = RNG.random(IMAGE.shape) < 0.6


def test_robust_z_is_the_robust_scaler_in_units_of_a_normal_distribution():
    expected = RobustScaler(unit_variance=True).fit_transform(IMAGE[INSIDE][:, None]).ravel()
    found = robust_z(IMAGE, INSIDE)
    np.testing.assert_allclose(found[INSIDE], expected, rtol=1e-3, atol=1e-3)
    assert not found[~INSIDE].any()


@pytest.mark.parametrize(
    ("image", "inside", "words"),
    [
        (IMAGE, np.zeros(IMAGE.shape, bool), "found 0 common voxels"),
        (IMAGE, np.arange(IMAGE.size).reshape(IMAGE.shape) < 1, "found 1 common voxels"),
        (np.ones(IMAGE.shape), INSIDE, "found 1 for half of it"),
        (np.where(RNG.random(IMAGE.shape) < 0.1, IMAGE, 0), INSIDE, "found 0 for half of it"),
    ],
)
def test_without_a_brain_nothing_is_normalised(image, inside, words):
    with pytest.raises(ImageError, match=words):
        robust_z(image, inside)


def test_likeness_is_the_correlation_and_undefined_without_variation():
    other = IMAGE + RNG.normal(0, 60, IMAGE.shape)
    assert likeness(IMAGE, other, INSIDE) == pytest.approx(np.corrcoef(IMAGE[INSIDE], other[INSIDE])[0, 1])
    assert np.isnan(likeness(IMAGE, np.ones(IMAGE.shape), INSIDE))
    assert np.isnan(likeness(IMAGE, other, np.zeros(IMAGE.shape, bool)))


@pytest.mark.parametrize("degrees", [(0, 0, 0), (3, -2, 5), (40, 10, -70), (0, 0, 179)])
def test_half_a_motion_twice_is_the_motion(degrees):
    half = half_of(motion(degrees, (12, -7, 30)))
    np.testing.assert_allclose(half @ half, motion(degrees, (12, -7, 30)), atol=1e-8)
    np.testing.assert_allclose(half[:3, :3] @ half[:3, :3].T, np.eye(3), atol=1e-8)


def test_a_mirror_image_has_no_half():
    with pytest.raises(ImageError, match="found a mirror image or half a turn"):
        half_of(np.diag([-1.0, 1.0, 1.0, 1.0]))


def test_the_half_way_grid_follows_half_the_motion():
    grid = Grid((11, 21, 31), np.diag([2.0, 1.0, 3.0, 1.0]))
    found = half_way_grid(grid, motion((0, 0, 0), (5, -4, 3)))
    np.testing.assert_allclose(
        found.affine - grid.affine, np.eye(4, k=3) * 5 + [[0] * 4, [0, 0, 0, -4], [0, 0, 0, 3], [0] * 4]
    )


def test_the_head_is_found_with_its_dark_fluid():
    distance = np.linalg.norm(np.indices((50, 50, 50)) - 25, axis=0)
    image = np.where(distance < 20, 100.0, 0) + np.random.default_rng(1).normal(0, 2, (50, 50, 50))
    image[distance < 8] = 0  # ventricles
    head = head_in(image, Grid((50, 50, 50), np.eye(4)))
    assert head[distance < 19].all()
    assert not head[distance > 24].any()
    assert not head_in(np.zeros((9, 9, 9)), Grid((9, 9, 9), np.eye(4))).any()


def test_header_words_name_size_and_what_a_converter_wrote(tmp_path):
    image = nib.Nifti1Image(np.zeros((4, 5, 6), np.uint8), np.diag([1.0, 1.0, 3.0, 1.0]))
    image.header["descrip"] = b"TE=94"
    nib.save(image, tmp_path / "a.nii.gz")
    assert header_words(tmp_path / "a.nii.gz") == "4x5x6 voxels of 1x1x3 mm 'TE=94'"
