"""Target grids: axes along the body's, other voxel sizes; outer edges stay where they are."""

from dataclasses import replace
from typing import Literal

import nibabel as nib
import numpy as np
import numpy.typing as npt

from nnunet_ms.errors import OptionError
from nnunet_ms.images.volumes import Grid, Volume, check_same_grid, same_grid
from nnunet_ms.options import chosen

Spacing = tuple[float, float, float] | Literal["isotropic"] | None


def reoriented(grid: Grid) -> Grid:
    """Return the same voxels with the axes nearest to right, anterior, superior (as `nibabel.as_closest_canonical`).

    Examples
    --------
    >>> flipped = Grid((10, 20, 5), np.diag([-1.0, 1.0, 3.0, 1.0]))
    >>> orientation_of(flipped), orientation_of(reoriented(flipped))
    ('LAS', 'RAS')
    """
    orientation = nib.io_orientation(grid.affine)
    shape = [0, 0, 0]
    for axis, (target, _) in enumerate(orientation):
        shape[int(target)] = grid.shape[axis]
    return Grid(tuple(shape), grid.affine @ nib.orientations.inv_ornt_aff(orientation, grid.shape))


def onto_grid(volume: Volume, reference: Volume | Grid, reference_name: str = "") -> Volume:
    """Turn a volume whose axes are stored in another order or direction onto the reference's grid; never resample.

    Parameters
    ----------
    volume : Volume
        Image or mask.
    reference : Volume or Grid
        Where it has to lie.
    reference_name : str, optional
        Of a grid, for messages; a volume names itself.

    Raises
    ------
    ImageError
        If the grids differ by more than the order and direction of axes.

    Examples
    --------
    >>> from nnunet_ms.images.volumes import read_mask
    >>> mask = read_mask("reference.nii.gz")
    >>> mirrored = mask.grid.affine @ np.diag([-1.0, 1.0, 1.0, 1.0])  # the same voxels, counted from the other side
    >>> mirrored[:3, 3] = mask.grid.to_world(np.array([[23, 0, 0]]))
    >>> turned = onto_grid(mask, Grid(mask.grid.shape, mirrored), "flair")
    >>> bool((turned.data == mask.data[::-1]).all())
    True
    """
    grid = reference.grid if isinstance(reference, Volume) else reference
    if same_grid(grid, volume.grid):
        return volume
    name = str(reference.path) if isinstance(reference, Volume) else reference_name
    change = _turn(volume.grid, grid)
    if change is None or not same_grid(grid, _turned(volume.grid, change)):
        check_same_grid(grid, volume, name, str(volume.path))
        return volume
    data = nib.orientations.apply_orientation(volume.data, change)
    return replace(volume, data=data, grid=_turned(volume.grid, change))


def is_turned(grid: Grid, reference: Grid) -> bool:
    """Whether a grid is the reference's but for the order and direction of its axes.

    Examples
    --------
    >>> flipped = Grid((10, 20, 5), np.diag([-1.0, 1.0, 3.0, 1.0]))
    >>> is_turned(reoriented(flipped), flipped), is_turned(flipped, flipped)
    (True, False)
    """
    change = None if same_grid(grid, reference) else _turn(grid, reference)
    return change is not None and same_grid(reference, _turned(grid, change))


def _turn(grid: Grid, reference: Grid) -> npt.NDArray[np.float64] | None:
    start, end = (nib.orientations.io_orientation(one.affine) for one in (grid, reference))
    if np.isnan(start).any() or np.isnan(end).any():
        return None
    return np.asarray(nib.orientations.ornt_transform(start, end))


def _turned(grid: Grid, change: npt.NDArray[np.float64]) -> Grid:
    shape = [0, 0, 0]
    for axis, (target, _) in enumerate(change):
        shape[int(target)] = grid.shape[axis]
    affine = grid.affine @ nib.orientations.inv_ornt_aff(change, grid.shape)
    return replace(grid, shape=tuple(shape), affine=affine)


def orientation_of(grid: Grid) -> str:
    """Anatomical directions of the axes, such as `RAS`.

    Examples
    --------
    >>> orientation_of(Grid((10, 20, 5), np.diag([-1.0, 1.0, 3.0, 1.0])))
    'LAS'
    """
    return "".join(nib.aff2axcodes(grid.affine))


def respaced(grid: Grid, spacing: Spacing) -> Grid:
    """Grid of other voxel edges (mm) over the same field of view, or a little more where it does not divide.

    `isotropic` takes the finest edge of the grid for all three.

    Raises
    ------
    OptionError
        If `spacing` is another word, or not three edges > 0.

    Examples
    --------
    >>> grid = Grid((10, 20, 5), np.diag([1.0, 1.0, 3.0, 1.0]))
    >>> respaced(grid, "isotropic").shape
    (10, 20, 15)
    >>> respaced(grid, (2.0, 2.0, 3.0)).shape
    (5, 10, 5)
    """
    if spacing is None:
        return grid
    if isinstance(spacing, str):
        chosen(spacing, ("isotropic",), "spacing")
    old = np.array(grid.spacing)
    new = np.full(3, old.min()) if isinstance(spacing, str) else _edges(spacing)
    shape = np.maximum(np.ceil(np.array(grid.shape) * old / new - 1e-3), 1).astype(int)
    affine = grid.affine.copy()
    affine[:3, :3] = grid.affine[:3, :3] * (new / old)
    # the outer corner of the first voxel keeps its place
    affine[:3, 3] = (grid.affine @ [-0.5, -0.5, -0.5, 1.0])[:3] + affine[:3, :3] @ [0.5, 0.5, 0.5]
    return Grid(tuple(int(n) for n in shape), affine)


def _edges(spacing: tuple[float, float, float]) -> npt.NDArray[np.float64]:
    edges = np.array(spacing, dtype=float)
    if edges.shape != (3,) or not (np.isfinite(edges) & (edges > 0)).all():
        raise OptionError(f"spacing: expected three voxel edges in mm, each > 0, found {spacing}. Correct it.")
    return edges
