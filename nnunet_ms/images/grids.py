"""Target grids: axes along the body's, other voxel sizes; outer edges stay where they are."""

from typing import Literal

import nibabel as nib
import numpy as np
import numpy.typing as npt

from nnunet_ms.errors import OptionError
from nnunet_ms.images.volumes import Grid
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
