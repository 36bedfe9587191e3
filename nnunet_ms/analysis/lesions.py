"""Lesions of one mask: connected components with their size and place.

Only foreground voxels are kept, so that everything after the labelling costs time and memory by lesion volume and
not by image volume.
"""

from dataclasses import dataclass
from typing import Literal

import cc3d
import numpy as np
import numpy.typing as npt
import pandas as pd

from nnunet_ms.images import Grid, Volume

Connectivity = Literal[6, 18, 26]
IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Lesions:
    """The L lesions of one mask, made of V voxels together; dropped components are not among them.

    Attributes
    ----------
    voxel_index : (V,) int64 array
        Ascending flat index (C order) of each lesion voxel on the mask's grid.
    lesion_of_voxel : (V,) int64 array
        The lesion, 0 .. L - 1, that each of these voxels belongs to.
    voxels : (L,) int64 array
        Size of each lesion in voxels.
    centroid_mm : (L, 3) float64 array
        Mean voxel position of each lesion in world coordinates (the affine's, RAS+ in NIfTI), mm.
    voxel_volume_ml : float
        Volume of one voxel in ml.
    mask_voxels : int
        Voxels of the whole mask, dropped components included.
    """

    voxel_index: IntArray
    lesion_of_voxel: IntArray
    voxels: IntArray
    centroid_mm: FloatArray
    voxel_volume_ml: float
    mask_voxels: int

    @property
    def count(self) -> int:
        """Number of lesions, L."""
        return int(self.voxels.size)

    @property
    def volume_ml(self) -> float:
        """Volume of all lesions together in ml; 0 without lesions."""
        return float(self.voxels.sum()) * self.voxel_volume_ml


def find_lesions(mask: Volume, connectivity: Connectivity = 18, minimum_voxels: int = 1) -> Lesions:
    """Label the connected components of a mask.

    Parameters
    ----------
    mask : Volume
        `data` (X, Y, Z); every non-zero voxel is lesion.
    connectivity : {6, 18, 26}
        Neighbours of a voxel: by face; also by edge; also by corner.
    minimum_voxels : int, optional
        Smaller components are dropped and count as background.

    Returns
    -------
    Lesions
        In scan order (C order of each lesion's first voxel), so the numbering is the same on every machine.
        An empty mask, or one whose components are all too small, gives arrays of length 0.
    """
    box, origin = _bounding_box(mask.data)
    inside = np.ascontiguousarray(mask.data[box] != 0)
    position = np.flatnonzero(inside)
    label_of_voxel = cc3d.connected_components(inside, connectivity=connectivity).ravel()[position]
    lesion_of_voxel = _rows_in_scan_order(label_of_voxel, minimum_voxels)
    kept = lesion_of_voxel >= 0
    local = np.unravel_index(position[kept], inside.shape)
    coordinates = tuple(axis + start for axis, start in zip(local, origin, strict=True))
    return _describe(coordinates, lesion_of_voxel[kept], mask.grid, mask_voxels=position.size)


def lesion_table(lesions: Lesions) -> pd.DataFrame:
    """One row per lesion: `lesion_id` (from 1), `voxels`, `volume_ml`, `x_mm`, `y_mm`, `z_mm` of its centroid."""
    x, y, z = lesions.centroid_mm.T
    return pd.DataFrame(
        {
            "lesion_id": np.arange(1, lesions.count + 1),
            "voxels": lesions.voxels,
            "volume_ml": lesions.voxels * lesions.voxel_volume_ml,
            "x_mm": x,
            "y_mm": y,
            "z_mm": z,
        }
    )


def _bounding_box(data: npt.NDArray[np.generic]) -> tuple[tuple[slice, ...], IntArray]:
    """Slices around the non-zero voxels, and their first corner (3,); one voxel for an empty mask."""
    planes = [data.any(axis=tuple(other for other in range(3) if other != axis)) for axis in range(3)]
    ends = [np.flatnonzero(plane)[[0, -1]] if plane.any() else np.zeros(2, dtype=np.int64) for plane in planes]
    return tuple(slice(int(first), int(last) + 1) for first, last in ends), np.array([end[0] for end in ends])


def _rows_in_scan_order(label_of_voxel: npt.NDArray[np.unsignedinteger], minimum_voxels: int) -> IntArray:
    """Replace each voxel's label by its lesion's row, lesions ordered by first voxel; -1 where too small."""
    _, first, which, voxels = np.unique(label_of_voxel, return_index=True, return_inverse=True, return_counts=True)
    large = np.flatnonzero(voxels >= minimum_voxels)
    rows = np.full(voxels.size, -1, dtype=np.int64)
    rows[large[np.argsort(first[large])]] = np.arange(large.size)
    return rows[which]


def _describe(coordinates: tuple[IntArray, ...], lesion_of_voxel: IntArray, grid: Grid, mask_voxels: int) -> Lesions:
    voxels = np.bincount(lesion_of_voxel).astype(np.int64)
    sums = [np.bincount(lesion_of_voxel, weights=axis, minlength=voxels.size) for axis in coordinates]
    centroid = np.stack(sums, axis=1) / voxels[:, None]
    return Lesions(
        voxel_index=np.ravel_multi_index(coordinates, grid.shape).astype(np.int64),
        lesion_of_voxel=lesion_of_voxel,
        voxels=voxels,
        centroid_mm=centroid @ grid.affine[:3, :3].T + grid.affine[:3, 3],
        voxel_volume_ml=grid.voxel_volume_ml,
        mask_voxels=mask_voxels,
    )
