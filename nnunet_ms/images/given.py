"""A 3-D image that is given from Python: a path, an image of nibabel or SimpleITK, or an array with its geometry."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.spatialimages import SpatialImage

from nnunet_ms.errors import ImageError, SettingsError
from nnunet_ms.images.volumes import Volume, checked_grid, grid_of, read_volume

ImageLike = str | Path | SpatialImage | npt.NDArray[Any]


def volume_of(
    image: ImageLike, name: str, *, affine: npt.ArrayLike | None = None, spacing: Sequence[float] | None = None
) -> Volume:
    """The volume of an image in one of the forms in which people have it; data are not copied where they need not be.

    Parameters
    ----------
    image : path, nibabel image, SimpleITK image or (X, Y, Z) array
        A file is read; a nibabel image's voxels are those that its header scales.
    name : str
        What it is, for messages; a file names itself.
    affine : (4, 4) array, optional
        Voxel -> world in mm, of an array.
    spacing : (3,) sequence of float, optional
        Voxel edges in mm, of an array, instead of `affine`; places in the world are then counted from the first voxel.

    Returns
    -------
    Volume
        Every voxel is finite; floats are float32.

    Raises
    ------
    ImageError
        If a file cannot be read, or the image is not 3-D, of numbers, finite, and with an invertible affine.
    SettingsError
        If an array has no geometry, or two.

    Examples
    --------
    >>> volume_of(np.zeros((4, 5, 6)), "flair", spacing=(1, 1, 3)).grid.spacing
    (1.0, 1.0, 3.0)
    >>> volume_of(np.zeros((4, 5, 6)), "flair")
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.SettingsError: flair: an array needs spacing or affine, found neither. Give spacing in mm.
    """
    if isinstance(image, str | Path):
        return read_volume(Path(image))
    place = Path(name)
    if isinstance(image, SpatialImage):
        grid = checked_grid(image.shape, image.affine, place)
        if isinstance(image, nib.Nifti1Pair):  # all kinds of NIfTI are pairs
            grid = grid_of(image, place)
        data = np.asanyarray(image.dataobj)
    elif _is_of_simpleitk(image):
        data, its_affine = _of_simpleitk(image)
        grid = checked_grid(data.shape, its_affine, place)
    else:
        data = np.asarray(image)
        if data.ndim != 3:
            raise ImageError(f"{name}: expected a 3-D image, found shape {data.shape}. Give its 3-D part.")
        grid = checked_grid(data.shape, _affine(name, affine, spacing), place)
    whole = data if data.ndim == 3 else data.reshape(grid.shape)  # an image with one volume is 3-D
    return Volume(_checked(whole, name), grid, place)


def has_geometry(image: ImageLike) -> bool:
    """Whether an image knows its place in the world; an array does not."""
    return isinstance(image, str | Path | SpatialImage) or _is_of_simpleitk(image)


def _is_of_simpleitk(image: object) -> bool:
    return type(image).__module__.partition(".")[0] == "SimpleITK"


def _of_simpleitk(image: Any) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
    """Voxels and affine; an identity where the image is not 3-D, which is refused for that."""
    from nnunet_ms.images.itk import affine_of, voxels  # who has such an image has loaded SimpleITK

    data = voxels(image)
    return data, affine_of(image) if data.ndim == 3 else np.eye(4)


def _affine(name: str, affine: npt.ArrayLike | None, spacing: Sequence[float] | None) -> npt.NDArray[np.float64]:
    if (affine is None) == (spacing is None):
        found = "neither" if affine is None else "both"
        raise SettingsError(f"{name}: an array needs spacing or affine, found {found}. Give spacing in mm.")
    if affine is not None:
        given = np.asarray(affine, dtype=np.float64)
        if given.shape != (4, 4):
            raise SettingsError(f"affine: expected 4 x 4 numbers, voxel to world in mm, found shape {given.shape}.")
        return given
    edges = np.asarray(spacing, dtype=np.float64)
    if edges.shape != (3,) or not (edges > 0).all():
        raise SettingsError(f"spacing: expected three voxel edges in mm, each > 0, found {spacing}. Correct it.")
    return np.diag([*edges, 1.0])


def _checked(data: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """Real and finite numbers, floats as float32."""
    if data.dtype == np.bool_:
        return data.view(np.uint8)
    if not np.issubdtype(data.dtype, np.number) or np.iscomplexobj(data):
        raise ImageError(f"{name}: expected real numbers, found voxels of type {data.dtype}. Convert them.")
    if not np.issubdtype(data.dtype, np.floating):
        return data
    bad = int(data.size - np.count_nonzero(np.isfinite(data)))
    if bad:
        raise ImageError(f"{name}: expected finite voxels, found {bad} NaN or infinite of {data.size}. Repair them.")
    return data.astype(np.float32, copy=False)
