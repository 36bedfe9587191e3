"""Cubes around lesions, on whatever voxels: cut along the image's axes, resampled by one small matrix per axis."""

from dataclasses import dataclass

import nibabel as nib
import numpy as np
import numpy.typing as npt

from nnunet_ms.arrays import Floats, SingleFloats
from nnunet_ms.images.volumes import Grid

GEOMETRIES = ((8, 32, 32), (32, 32, 32))


@dataclass(frozen=True)
class Cutter:
    """Weights of one cube around a lesion.

    Attributes
    ----------
    axes : three (cells, voxels) arrays
        One per axis of the image.
    order, flips
        What lays the cube superior, anterior, right.
    padded_share : float
        Share of the cube outside the image.
    """

    axes: tuple[SingleFloats, SingleFloats, SingleFloats]
    order: tuple[int, int, int]
    flips: tuple[int, ...]
    padded_share: float

    def cut(self, data: npt.NDArray[np.floating], limit: float | None = None) -> SingleFloats:
        """Mean of an image (X, Y, Z), clipped to +-limit first, over each cell of the cube, (D, H, W); 0 outside it."""
        boxes = []
        for weights in self.axes:
            used = np.flatnonzero(weights.any(axis=0))
            boxes.append(slice(int(used[0]), int(used[-1]) + 1) if used.size else slice(0, 1))
        first, second, third = (weights[:, box] for weights, box in zip(self.axes, boxes, strict=True))
        part = np.asarray(data[tuple(boxes)], dtype=np.float32)
        part = part if limit is None else np.clip(part, -limit, limit)
        cube = np.einsum("ax,by,cz,xyz->abc", first, second, third, part, optimize=True).transpose(self.order)
        return np.ascontiguousarray(np.flip(cube, self.flips), dtype=np.float32)


def cutter(grid: Grid, centre: Floats, extent_mm: float, shape: tuple[int, int, int]) -> Cutter:
    """Weights for a cube of `extent_mm` around the voxel position `centre` (3,), as `shape` (D, H, W) cells.

    D runs along the image's axis that is nearest to superior, H along that nearest to anterior, W along that nearest
    to right, each towards that side, so that an image stored in another order gives the same cube. The cube follows
    the image's axes, not the world's: an oblique image is not interpolated across its thick slices. A cell is a mean
    with triangular weights of its own width, or of a voxel's where that is wider (linear interpolation).

    Examples
    --------
    >>> grid = Grid((40, 40, 20), np.diag([1.0, 1.0, 3.0, 1.0]))
    >>> z = np.broadcast_to(np.arange(20.0), grid.shape)
    >>> cube = cutter(grid, np.array([20.0, 20.0, 10.0]), 24.0, (8, 32, 32))
    >>> cube.cut(z)[:, 16, 16].tolist(), cube.padded_share
    ([6.5, 7.5, 8.5, 9.5, 10.5, 11.5, 12.5, 13.5], 0.0)
    """
    orientation = nib.io_orientation(
        grid.affine
    )  # of each axis of the image: right 0, anterior 1, superior 2; direction
    cells = (shape[2], shape[1], shape[0])
    weights, inside, flipped, place = [], 1.0, [False] * 3, [0, 0, 0]
    for axis in range(3):
        target = int(orientation[axis, 0])
        place[target], flipped[target] = axis, orientation[axis, 1] < 0
        matrix, share = _weights(grid.shape[axis], float(centre[axis]), extent_mm / grid.spacing[axis], cells[target])
        weights.append(matrix)
        inside *= share
    order = (place[2], place[1], place[0])
    flips = tuple(i for i, target in enumerate((2, 1, 0)) if flipped[target])
    padded = 0.0 if inside > 1 - 1e-9 else 1.0 - inside  # rounding is no padding
    return Cutter((weights[0], weights[1], weights[2]), order, flips, padded)


def _weights(voxels: int, centre: float, extent: float, cells: int) -> tuple[SingleFloats, float]:
    """(cells, voxels) weights along one axis, all in voxels, and the share of the extent inside the image."""
    width = extent / cells
    middles = centre + width * (np.arange(cells) - (cells - 1) / 2)
    reach = max(width, 1.0)
    # the lattice goes on beyond the image, with voxels of 0 there: their weights count in the sum
    lattice = np.arange(int(np.floor(middles[0] - reach)), int(np.ceil(middles[-1] + reach)) + 1)
    triangle = np.maximum(0.0, 1.0 - np.abs(middles[:, None] - lattice) / reach)
    triangle /= triangle.sum(axis=1, keepdims=True)
    weights = np.zeros((cells, voxels), dtype=np.float32)
    there = (lattice >= 0) & (lattice < voxels)
    weights[:, lattice[there]] = triangle[:, there]
    low, high = centre - extent / 2, centre + extent / 2
    return weights, max(0.0, min(high, voxels - 0.5) - max(low, -0.5)) / extent
