"""Between our volumes, (X, Y, Z) with an affine in RAS mm, and SimpleITK's images in LPS mm."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import SimpleITK

from nnunet_ms.arrays import Matrix
from nnunet_ms.images.volumes import Grid

FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])  # RAS <-> LPS


def to_itk(data: npt.NDArray[np.generic], grid: Grid) -> SimpleITK.Image:
    """Image of (X, Y, Z) voxels on a grid."""
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(data.T))
    geometry = geometry_of(grid)
    image.SetSpacing(geometry["spacing"])
    image.SetDirection(geometry["direction"])
    image.SetOrigin(geometry["origin"])
    return image


def geometry_of(grid: Grid) -> dict[str, list[float]]:
    """`spacing` (3), `origin` (3) and `direction` (9, by rows) of a grid, as SimpleITK's images have them."""
    affine = FLIP @ grid.affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    direction = (affine[:3, :3] / spacing).ravel()
    return {"spacing": spacing.tolist(), "origin": affine[:3, 3].tolist(), "direction": direction.tolist()}


def voxels(image: SimpleITK.Image) -> npt.NDArray[np.generic]:
    """Voxels of an image as (X, Y, Z)."""
    return np.ascontiguousarray(SimpleITK.GetArrayViewFromImage(image).T)


def affine_of(image: SimpleITK.Image | SimpleITK.ImageFileReader) -> Matrix:
    """Voxel -> world in RAS mm of a 3-D image, or of the header that a reader has read."""
    lps = np.eye(4)
    lps[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    lps[:3, 3] = image.GetOrigin()
    return FLIP @ lps


def to_transform(matrix: Matrix) -> SimpleITK.AffineTransform:
    """SimpleITK's transform of a (4, 4) matrix between points in RAS mm."""
    lps = FLIP @ matrix @ FLIP
    transform = SimpleITK.AffineTransform(3)
    transform.SetMatrix(lps[:3, :3].ravel().tolist())
    transform.SetTranslation(lps[:3, 3].tolist())
    return transform


def to_matrix(transform: SimpleITK.Transform) -> Matrix:
    """(4, 4) matrix in RAS mm of a linear transform of any kind."""
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    columns = [np.array(transform.TransformPoint(tuple(unit))) - origin for unit in np.eye(3).tolist()]
    lps = np.eye(4)
    lps[:3, :3], lps[:3, 3] = np.column_stack(columns), origin
    return FLIP @ lps @ FLIP


def inverse(matrix: Matrix) -> Matrix:
    """The way back."""
    return np.asarray(np.linalg.inv(matrix), dtype=np.float64)


def resample(image: SimpleITK.Image, grid: Grid, matrix: Matrix, *, is_label: bool) -> SimpleITK.Image:
    """Image on another grid, once; voxels outside are 0.

    Parameters
    ----------
    image : SimpleITK.Image
        Source.
    grid : Grid
        Wanted.
    matrix : (4, 4) float array
        From points of the wanted grid's space to points of the source's, RAS mm.
    is_label : bool
        Nearest neighbour, which keeps small lesions and makes no new labels; else linear.
    """
    reference = to_itk(np.zeros(grid.shape, np.uint8), grid)
    interpolator = SimpleITK.sitkNearestNeighbor if is_label else SimpleITK.sitkLinear
    return SimpleITK.Resample(image, reference, to_transform(matrix), interpolator, 0.0, image.GetPixelID())


@contextmanager
def simpleitk_threads(number: int) -> Iterator[None]:
    """Let SimpleITK use so many threads, and afterwards what it used before: the number is the whole process's.

    Examples
    --------
    >>> with simpleitk_threads(1):
    ...     SimpleITK.ProcessObject.GetGlobalDefaultNumberOfThreads()
    1
    """
    before = SimpleITK.ProcessObject.GetGlobalDefaultNumberOfThreads()
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(number)
    try:
        yield
    finally:
        SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
