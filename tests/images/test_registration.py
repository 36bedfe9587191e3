import numpy as np
import pytest
import SimpleITK

from nnunet_ms.errors import ImageError, OptionError
from nnunet_ms.images.itk import to_itk
from nnunet_ms.images.registration import register
from nnunet_ms.images.volumes import Grid
from tests.images.moving_head import AFFINE, SHAPE, apart, image_of, motion


@pytest.mark.parametrize("kind", ["rigid", "affine"])
def test_registration_finds_a_known_motion_between_contrasts(kind):
    # Oracle: the motion that was made. Error below half of a voxel of 3.5 x 3.5 x 5 mm anywhere.
    grid, matrix = Grid(SHAPE, AFFINE), motion()
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    fixed, moving = to_itk(image_of(grid), grid), to_itk(image_of(grid, matrix, other=True), grid)
    found = register(fixed, moving, kind)
    expected = np.linalg.inv(matrix)  # the moving image shows at p the head's matrix @ p
    assert apart(found.matrix, expected) < 1.75
    assert found.after > found.before
    np.testing.assert_array_equal(register(fixed, moving, kind).matrix, found.matrix)  # each time the same


def test_images_that_lie_well_stay_where_they_are():
    grid = Grid(SHAPE, AFFINE)
    found = register(to_itk(image_of(grid), grid), to_itk(image_of(grid), grid), "rigid")
    assert apart(found.matrix, np.eye(4)) < 0.1


def test_images_without_content_are_refused():
    grid = Grid(SHAPE, AFFINE)
    with pytest.raises(ImageError, match="expected two images that overlap"):
        register(to_itk(image_of(grid), grid), to_itk(np.zeros(SHAPE, np.float32), grid), "rigid")


def test_a_kind_that_there_is_not():
    image = to_itk(np.zeros((8, 8, 8), np.float32), Grid((8, 8, 8), np.eye(4)))
    with pytest.raises(OptionError, match="kind: expected one of 'rigid', 'affine', found 'elastic'"):
        register(image, image, "elastic")


def shifted(millimetres):
    """The head, and the same voxels whose header has them elsewhere."""
    affine = AFFINE.copy()
    affine[:3, 3] += np.array([2, -1, 2]) / 3 * millimetres  # along no axis; the length is 1
    data = image_of(Grid(SHAPE, AFFINE))
    return to_itk(data, Grid(SHAPE, AFFINE)), to_itk(data, Grid(SHAPE, affine))


def test_a_head_that_lies_less_than_100_mm_away_is_found():
    # Oracle: the shift that was made. Two scanners may put their origins this far apart, and the same head is in both.
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    found = register(*shifted(95.0), "rigid").matrix
    np.testing.assert_allclose(found[:3, 3], np.array([2, -1, 2]) / 3 * 95, atol=0.5)
    np.testing.assert_allclose(found[:3, :3], np.eye(3), atol=0.005)


def test_a_head_that_lies_further_away_is_refused():
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    with pytest.raises(ImageError, match=r"expected the head to move less than 100 mm, found 105 mm\. Check"):
        register(*shifted(105.0), "rigid")
