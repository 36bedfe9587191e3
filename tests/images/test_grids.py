import nibabel as nib
import numpy as np
import pytest

from nnunet_ms.errors import OptionError
from nnunet_ms.images.grids import orientation_of, reoriented, respaced
from nnunet_ms.images.itk import resample, to_itk, voxels
from nnunet_ms.images.volumes import Grid


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, -1)])
def test_reorientation_is_nibabels(axes, flips):
    data = np.random.default_rng(0).random((3, 4, 5))
    affine = np.zeros((4, 4))
    for axis, target in enumerate(axes):
        affine[target, axis] = flips[axis] * (1.0 + axis)
    affine[:, 3] = 3, -7, 11, 1
    expected = nib.as_closest_canonical(nib.Nifti1Image(data, affine))
    grid, target = Grid(data.shape, affine), reoriented(Grid(data.shape, affine))
    assert target.shape == expected.shape
    np.testing.assert_allclose(target.affine, expected.affine)
    moved = voxels(resample(to_itk(data, grid), target, np.eye(4), is_label=False))
    np.testing.assert_allclose(moved, expected.get_fdata(), rtol=1e-6)


def test_new_voxels_fill_the_old_field_of_view():
    grid = Grid((10, 12, 6), np.diag([2.0, 2.0, 4.0, 1.0]))
    for wanted, shape in (((1.0, 1.0, 3.0), (20, 24, 8)), ("isotropic", (10, 12, 12)), ((4.0, 4.0, 4.0), (5, 6, 6))):
        new = respaced(grid, wanted)
        assert new.shape == shape
        for corner in ((0, 0, 0), (1, 1, 1)):
            edges = [(g.affine @ [*(np.array(corner) * g.shape - 0.5), 1])[:3] for g in (grid, new)]
            np.testing.assert_allclose(*edges, atol=1e-9)
    assert respaced(grid, None) is grid


def test_directions_are_named():
    assert orientation_of(Grid((2, 3, 4), np.diag([-1.0, -1.0, 3.0, 1.0]))) == "LPS"


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("Isotropic", "spacing: expected one of 'isotropic', found 'Isotropic'. Did you mean 'isotropic'"),
        ((1.0, 1.0), r"expected three voxel edges in mm, each > 0, found \(1.0, 1.0\)"),
        ((1.0, 1.0, 0.0), "each > 0, found"),
        ((1.0, 1.0, float("nan")), "each > 0, found"),
    ],
)
def test_other_voxels_than_there_can_be(wanted, message):
    with pytest.raises(OptionError, match=message):
        respaced(Grid((10, 12, 6), np.eye(4)), wanted)
