"""Oracle: the array that the mask was made from; what is no image at all is in `test_given.py`."""

import nibabel as nib
import numpy as np
import pytest

from nnunet_ms.errors import ImageError, OptionError, SettingsError
from nnunet_ms.images.given import has_geometry
from nnunet_ms.images.given_mask import mask_of, masks_of

AFFINE = np.array([[-1.0, 0, 0, 30], [0, 1.5, 0, -20], [0, 0, 3, 5], [0, 0, 0, 1]])
LABELS = np.random.default_rng(0).integers(0, 4, (4, 5, 6)).astype(np.int16)
MASK = LABELS == 2


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.int64, np.uint16, np.float32, np.float64])
def test_zeros_and_ones_of_any_type(dtype):
    volume = mask_of(MASK.astype(dtype), "mask", affine=AFFINE)
    assert volume.data.dtype == np.uint8
    np.testing.assert_array_equal(volume.data, MASK)
    np.testing.assert_array_equal(volume.grid.affine, AFFINE)


def test_a_label_of_a_file_an_image_and_an_array(write_nifti):
    path = write_nifti("labels.nii.gz", LABELS, affine=AFFINE)
    for given in (path, str(path), nib.load(path), LABELS, LABELS.astype(float)):
        geometry = {} if has_geometry(given) else {"affine": AFFINE}
        np.testing.assert_array_equal(mask_of(given, "labels", label=2, **geometry).data, MASK)
        with pytest.raises(ImageError, match=r"labels.*: expected a mask with values \[0, 1\], found 2, 3"):
            mask_of(given, "labels", **geometry)


def test_the_largest_label_and_those_beyond_it(write_nifti):
    path = write_nifti("255.nii.gz", MASK * np.uint8(255))
    np.testing.assert_array_equal(mask_of(path, "mask", label=255).data, MASK)
    with pytest.raises(ImageError, match=r"mask: expected a mask with values .*, found 256"):
        mask_of(MASK * 256, "mask", spacing=(1, 1, 1), label=1)
    for label in (0, 256, -1, 1.5, "1"):
        with pytest.raises(OptionError, match="label: expected a whole number 1 to 255, or none, found"):
            mask_of(path, "mask", label=label)


def test_two_masks_come_back_in_their_order():
    image = nib.Nifti1Image(MASK.astype(np.uint8), AFFINE)
    none = np.zeros(MASK.shape)
    for names in (("a", "b"), ("b", "a")):
        first, second = masks_of((names[0], image), (names[1], none))
        assert (first.data.any(), second.data.any()) == (True, False)
        np.testing.assert_array_equal(second.grid.affine, AFFINE)  # an array lies on the image's grid
        first, second = masks_of((names[0], none), (names[1], image))
        assert (first.data.any(), second.data.any()) == (False, True)
        np.testing.assert_array_equal(first.grid.affine, AFFINE)
    first, second = masks_of(("a", none), ("b", MASK), spacing=(1, 2, 3))
    assert first.grid.spacing == second.grid.spacing == (1, 2, 3)
    assert (str(first.path), str(second.path)) == ("a", "b")


@pytest.mark.parametrize("geometry", [{"spacing": (1, 1, 1)}, {"affine": AFFINE}])
def test_geometry_beside_an_image_is_refused(geometry):
    image = nib.Nifti1Image(MASK.astype(np.uint8), AFFINE)
    for other in (image, MASK):
        with pytest.raises(SettingsError, match="spacing, affine: expected neither"):
            masks_of(("a", image), ("b", other), **geometry)


def test_arrays_alone_need_geometry():
    with pytest.raises(SettingsError, match="a: an array needs spacing or affine, found neither"):
        masks_of(("a", MASK), ("b", MASK))
