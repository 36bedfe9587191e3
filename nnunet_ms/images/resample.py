"""Bring one channel onto the grid of another, by SimpleITK."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK

from nnunet_ms.errors import ImageError, one_line
from nnunet_ms.images.volumes import Grid

FWHM_PER_SIGMA = 2.355


def resample_onto(
    reference: str | Path, moving: str | Path, target: str | Path, transforms: Sequence[str | Path] = ()
) -> None:
    """Resample `moving` linearly onto the grid of `reference`, once; nothing is registered.

    Parameters
    ----------
    reference, moving : str or Path
        3-D images; voxels of the result outside `moving` are 0.
    target : str or Path
        File to write, float32.
    transforms : sequence of str or Path
        ITK transform files on the way from `moving` to `reference`, in this order (none: world coordinates agree).
        Each maps points of the space that comes later to points of the one before, as ITK's resampling asks for.

    Examples
    --------
    >>> from nnunet_ms.images.volumes import Grid, read_grid, write_volume
    >>> grid = Grid((12, 12, 12), np.diag([2.0, 2.0, 3.0, 1.0]))
    >>> write_volume(Path("coarse.nii.gz"), np.zeros(grid.shape, np.float32), grid.affine)
    >>> resample_onto(Path("coarse.nii.gz"), Path("flair.nii.gz"), Path("coarse_flair.nii.gz"))
    >>> read_grid(Path("coarse_flair.nii.gz")).spacing
    (2.0, 2.0, 3.0)
    """
    fixed = SimpleITK.ReadImage(str(reference), SimpleITK.sitkFloat32)
    image = SimpleITK.ReadImage(str(moving), SimpleITK.sitkFloat32)
    # a composite applies its last transform first: the point starts in the space of the reference
    whole = SimpleITK.CompositeTransform([_read_transform(path) for path in transforms] or [SimpleITK.Transform()])
    resampled = SimpleITK.Resample(image, fixed, whole, SimpleITK.sitkLinear, 0.0, SimpleITK.sitkFloat32)
    SimpleITK.WriteImage(resampled, str(target), useCompression=True)


def _read_transform(path: str | Path) -> SimpleITK.Transform:
    try:
        return SimpleITK.ReadTransform(str(path))
    except RuntimeError as error:
        raise ImageError(
            f"{path}: expected an ITK transform file, cannot read it ({one_line(error)[-120:]}). Copy it again."
        ) from error


def shrink_factors(image: SimpleITK.Image, edge_mm: float) -> list[int]:
    """Shrink factors to voxels of about `edge_mm`, with at least 8 voxels left along each axis."""
    sizes = zip(image.GetSpacing(), image.GetSize(), strict=True)
    return [max(1, min(round(edge_mm / spacing), size // 8)) for spacing, size in sizes]


def smoothed(image: SimpleITK.Image, grid: Grid, target: Grid) -> SimpleITK.Image:
    """Blur to the coarser voxel's width along axes that become coarser, or thin lines would come and go with its place.

    Parameters
    ----------
    image : SimpleITK.Image
        3-D.
    grid : Grid
        Where it lies.
    target : Grid
        What it is to be resampled onto, as it lies in the image's own space.

    Examples
    --------
    >>> from nnunet_ms.images.itk import to_itk, voxels
    >>> fine, coarse = Grid((8, 8, 8), np.eye(4)), Grid((4, 8, 8), np.diag([2.0, 1.0, 1.0, 1.0]))
    >>> line = np.zeros(fine.shape, np.float32)
    >>> line[4] = 1
    >>> voxels(smoothed(to_itk(line, fine), fine, coarse))[2:7, 4, 4].astype(float).round(1).tolist()
    [0.0, 0.2, 0.5, 0.2, 0.0]
    """
    directions = grid.affine[:3, :3] / np.array(grid.spacing)
    steps_mm = np.abs(directions.T @ (target.affine[:3, :3] / np.array(target.spacing))) @ np.array(target.spacing)
    for axis, (old, new, size) in enumerate(zip(grid.spacing, steps_mm, grid.shape, strict=True)):
        if new > 1.2 * old and size >= 4:
            sigma = float(np.sqrt(new**2 - old**2)) / FWHM_PER_SIGMA
            image = SimpleITK.RecursiveGaussian(image, sigma, direction=axis)
    return image
