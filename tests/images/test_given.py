"""Oracle: nibabel's reading of the file that is written from the same array."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from nnunet_ms.errors import ImageError, SettingsError
from nnunet_ms.images.given import volume_of
from nnunet_ms.images.volumes import read_volume, same_grid

AFFINE = np.array([[-1.0, 0, 0, 30], [0, 1.5, 0, -20], [0, 0, 3, 5], [0, 0, 0, 1]])


@pytest.fixture
def data():
    return np.random.default_rng(0).normal(100, 20, (4, 5, 6)).astype(np.float32)


def test_a_path_a_text_an_image_and_an_array_are_the_same_volume(data, write_nifti):
    path = write_nifti("a.nii.gz", data, affine=AFFINE)
    expected = read_volume(path)
    given = {"path": path, "text": str(path), "image": nib.load(path), "memory": nib.Nifti1Image(data, AFFINE)}
    for name, image in given.items():
        found = volume_of(image, "flair")
        assert np.array_equal(found.data, expected.data), name
        assert same_grid(found.grid, expected.grid), name
    found = volume_of(data, "flair", affine=AFFINE)
    assert found.data is data  # not copied
    assert same_grid(found.grid, expected.grid)


@pytest.mark.parametrize("affine", [AFFINE, np.diag([1.0, 1, 3, 1]), AFFINE[[1, 2, 0, 3]]])
def test_an_image_of_simpleitk_is_the_volume_of_its_file(data, write_nifti, affine):
    # Oracle: nibabel reads the file that SimpleITK reads too.
    path = write_nifti("a.nii.gz", data, affine=affine)
    found, expected = volume_of(SimpleITK.ReadImage(path), "flair"), read_volume(path)
    assert np.array_equal(found.data, expected.data)
    np.testing.assert_allclose(found.grid.affine, expected.grid.affine, atol=1e-5)


def test_scaled_voxels_are_scaled(write_nifti):
    path = write_nifti("s.nii.gz", np.arange(24, dtype=np.int16).reshape(2, 3, 4))
    image = nib.load(path)
    image.header.set_slope_inter(0.5, 10)
    scaled = nib.Nifti1Image(np.asarray(image.dataobj) * 0.5 + 10, image.affine)
    assert volume_of(scaled, "t1").data.dtype == np.float32
    assert volume_of(scaled, "t1").data.max() == 21.5


def test_spacing_stands_for_an_affine_and_bool_for_a_mask():
    volume = volume_of(np.ones((2, 3, 4), bool), "mask", spacing=(1, 2, 3))
    assert volume.grid.spacing == (1, 2, 3)
    assert volume.data.dtype == np.uint8
    assert volume.data.sum() == 24


@pytest.mark.parametrize(
    ("image", "geometry", "error", "message"),
    [
        (np.zeros((4, 5)), {"spacing": (1, 1, 1)}, ImageError, r"flair: expected a 3-D image, found shape \(4, 5\)"),
        (
            np.zeros((4, 5, 6, 2)),
            {"spacing": (1, 1, 1)},
            ImageError,
            r"expected a 3-D image, found shape \(4, 5, 6, 2\)",
        ),
        (np.zeros((0, 5, 6)), {"spacing": (1, 1, 1)}, ImageError, "expected voxels, found an image of shape"),
        (np.zeros((4, 5, 6)), {}, SettingsError, "flair: an array needs spacing or affine, found neither"),
        (np.zeros((4, 5, 6)), {"spacing": (1, 1, 1), "affine": AFFINE}, SettingsError, "or affine, found both"),
        (np.zeros((4, 5, 6)), {"spacing": (1, 1)}, SettingsError, r"spacing: expected three .*found \(1, 1\)"),
        (np.zeros((4, 5, 6)), {"spacing": (1, 1, 0)}, SettingsError, "spacing: expected three voxel edges"),
        (np.zeros((4, 5, 6)), {"affine": np.eye(3)}, SettingsError, r"affine: expected 4 x 4 .*shape \(3, 3\)"),
        (np.zeros((4, 5, 6)), {"affine": np.zeros((4, 4))}, ImageError, "flair: expected an invertible affine"),
        (np.full((4, 5, 6), np.nan), {"spacing": (1, 1, 1)}, ImageError, "found 120 NaN or infinite of 120"),
        (np.full((4, 5, 6), "x"), {"spacing": (1, 1, 1)}, ImageError, "expected real numbers, found voxels of type"),
        (
            SimpleITK.Image(4, 5, SimpleITK.sitkUInt8),
            {},
            ImageError,
            r"flair: expected a 3-D image, found shape \(4, 5\)",
        ),
        (
            SimpleITK.Image([4, 5, 6], SimpleITK.sitkVectorUInt8, 2),
            {},
            ImageError,
            "flair: expected a 3-D image, found",
        ),
        ("nowhere.nii.gz", {}, ImageError, r"nowhere\.nii\.gz: no such file"),
    ],
)
def test_what_is_no_image_is_refused(image, geometry, error, message):
    with pytest.raises(error, match=message):
        volume_of(image, "flair", **geometry)
