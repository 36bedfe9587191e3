import numpy as np
import pytest
import SimpleITK
from scipy import ndimage

from nnunet_ms.errors import ImageError
from nnunet_ms.images.itk import to_itk, to_transform
from nnunet_ms.images.resample import resample_onto, shrink_factors
from nnunet_ms.images.volumes import Grid, read_volume, write_volume
from tests.images.moving_head import AFFINE, SHAPE, image_of, motion

TARGET = Grid((30, 36, 24), np.array([[4.0, 0, 0, -60], [0, 4.5, 0, -80], [0, 0, 5.0, -40], [0, 0, 0, 1]]))


@pytest.fixture
def files(tmp_path):
    """A head, a coarser grid, and two motions."""
    write_volume(tmp_path / "head.nii.gz", image_of(Grid(SHAPE, AFFINE)), AFFINE)
    write_volume(tmp_path / "coarse.nii.gz", np.zeros(TARGET.shape, np.float32), TARGET.affine)
    motions = motion(), motion((0, 8, 0), (-6, 2, 1))
    for name, matrix in zip(("first.tfm", "second.tfm"), motions, strict=True):
        SimpleITK.WriteTransform(to_transform(matrix), str(tmp_path / name))
    return tmp_path, motions


def by_scipy(matrix):
    """The head at `matrix @ p` of each point p of the coarse grid, and where it lies well inside."""
    whole = np.linalg.inv(AFFINE) @ matrix @ TARGET.affine
    data = image_of(Grid(SHAPE, AFFINE))
    moved = ndimage.affine_transform(data, whole[:3, :3], whole[:3, 3], TARGET.shape, order=1, cval=0.0)
    return moved, ndimage.binary_erosion(moved > 0, iterations=2)


@pytest.mark.parametrize("kind", [str, lambda path: path], ids=["str", "Path"])
@pytest.mark.parametrize("count", [0, 1, 2])
def test_an_image_and_its_transforms_come_onto_another_grid(files, kind, count):
    # Oracle: SciPy. A transform maps points of the space that comes later to points of the one before.
    folder, motions = files
    matrix = np.linalg.multi_dot([np.eye(4), np.eye(4), *motions[:count]])
    transforms = [kind(folder / name) for name in ("first.tfm", "second.tfm")][:count]
    resample_onto(*(kind(folder / f"{name}.nii.gz") for name in ("coarse", "head", "out")), transforms)
    found, (expected, inside) = read_volume(folder / "out.nii.gz"), by_scipy(matrix)
    np.testing.assert_allclose(found.grid.affine, TARGET.affine, atol=1e-6)
    assert inside.sum() > 1000
    np.testing.assert_allclose(found.data[inside], expected[inside], atol=0.05)


def test_a_file_that_is_no_transform(files):
    folder, _ = files
    (folder / "first.tfm").write_text("a letter")
    with pytest.raises(ImageError, match=r"first\.tfm: expected an ITK transform file, cannot read it"):
        resample_onto(folder / "coarse.nii.gz", folder / "head.nii.gz", folder / "out.nii.gz", [folder / "first.tfm"])


@pytest.mark.parametrize(
    ("shape", "edges", "expected"),
    [
        ((160, 160, 40), (1.0, 1.0, 3.0), [4, 4, 1]),
        ((160, 160, 160), (1.5, 0.5, 4.0), [3, 8, 1]),
        ((20, 12, 4), (1.0, 1.0, 1.0), [2, 1, 1]),  # eight voxels are left along each axis, where there are as many
    ],
)
def test_shrink_factors_by_hand(shape, edges, expected):
    assert shrink_factors(to_itk(np.zeros(shape, np.uint8), Grid(shape, np.diag([*edges, 1.0]))), 4.0) == expected
