"""Lesions of one mask: connected components with their size and place.

Only foreground voxels are kept, so that everything after the labelling costs time and memory by lesion volume and
not by image volume.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

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
    first_voxel, last_voxel : (L, 3) int64 array
        Bounding box of each lesion: its smallest and its largest voxel index along each axis, both inside.
    grid : Grid
        Of the mask.
    mask_voxels : int
        Voxels of the whole mask, dropped components included.
    """

    voxel_index: IntArray
    lesion_of_voxel: IntArray
    voxels: IntArray
    centroid_mm: FloatArray
    first_voxel: IntArray
    last_voxel: IntArray
    grid: Grid
    mask_voxels: int

    @property
    def count(self) -> int:
        """Number of lesions, L."""
        return int(self.voxels.size)

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in ml."""
        return self.grid.voxel_volume_ml

    @property
    def volume_ml(self) -> float:
        """Volume of all lesions together in ml; 0 without lesions."""
        return float(self.voxels.sum()) * self.voxel_volume_ml

    @property
    def position_mm(self) -> FloatArray:
        """World coordinates of each lesion voxel's centre, (V, 3), mm."""
        index = np.stack(np.unravel_index(self.voxel_index, self.grid.shape), axis=1)
        return np.asarray(index @ self.grid.affine[:3, :3].T + self.grid.affine[:3, 3])


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
    return without_small(find_all_lesions(mask, [connectivity])[connectivity], minimum_voxels)


def find_all_lesions(mask: Volume, connectivities: Iterable[Connectivity]) -> dict[Connectivity, Lesions]:
    """Label a mask by several connectivities as `find_lesions` does, in one pass over the image; no size filter."""
    box, origin = bounding_box(mask.data)
    inside = np.ascontiguousarray(mask.data[box] != 0)
    position = np.flatnonzero(inside)
    local = np.unravel_index(position, inside.shape)
    coordinates = tuple(axis + start for axis, start in zip(local, origin, strict=True))
    lesions: dict[Connectivity, Lesions] = {}
    for connectivity in connectivities:
        labels = label_components(inside, connectivity)
        rows = _rows_in_scan_order(labels.ravel()[position])
        lesions[connectivity] = _describe(coordinates, rows, mask.grid)
    return lesions


def label_components(mask: npt.NDArray[np.bool_], connectivity: Connectivity) -> npt.NDArray[np.unsignedinteger]:
    """Number the connected components of a C-ordered mask (X, Y, Z) from 1; 0 is background."""
    if min(mask.shape) > 1:
        return np.asarray(cc3d.connected_components(mask, connectivity=connectivity))
    # cc3d 4.1.1 fails on two voxels in a box of 1x1x3 at connectivity 26: it reserves too few labels for thin boxes
    thick = np.pad(mask, [(0, 1)] * 3)
    labels = cc3d.connected_components(thick, connectivity=connectivity)
    return np.ascontiguousarray(labels[:-1, :-1, :-1])


def without_small(lesions: Lesions, minimum_voxels: int) -> Lesions:
    """The same lesions without those below a size, renumbered; `mask_voxels` stays."""
    large = lesions.voxels >= minimum_voxels
    if large.all():
        return lesions
    kept = large[lesions.lesion_of_voxel]
    return Lesions(
        voxel_index=lesions.voxel_index[kept],
        lesion_of_voxel=new_numbers(large)[lesions.lesion_of_voxel[kept]],
        voxels=lesions.voxels[large],
        centroid_mm=lesions.centroid_mm[large],
        first_voxel=lesions.first_voxel[large],
        last_voxel=lesions.last_voxel[large],
        grid=lesions.grid,
        mask_voxels=lesions.mask_voxels,
    )


def new_numbers(kept: npt.NDArray[np.bool_]) -> IntArray:
    """Row of each kept lesion after the others are removed, (L,); meaningless for those removed."""
    return np.asarray(np.cumsum(kept) - 1, dtype=np.int64)


def lesion_table(lesions: Lesions) -> pd.DataFrame:
    """One row per lesion: `lesion_id` (from 1), `voxels`, `volume_ml`, `x_mm`, `y_mm`, `z_mm` of its centroid."""
    return pd.DataFrame(lesion_columns(lesions)).iloc[:, :6]


def lesion_columns(lesions: Lesions) -> dict[str, npt.NDArray[np.generic]]:
    """Columns of a lesion table, each (L,): those of `lesion_table`, then the bounding box in voxel indices."""
    names = ("x", "y", "z")
    return {
        "lesion_id": np.arange(1, lesions.count + 1),
        "voxels": lesions.voxels,
        "volume_ml": lesions.voxels * lesions.voxel_volume_ml,
        **{f"{name}_mm": lesions.centroid_mm[:, axis] for axis, name in enumerate(names)},
        **{f"{name}_first": lesions.first_voxel[:, axis] for axis, name in enumerate(names)},
        **{f"{name}_last": lesions.last_voxel[:, axis] for axis, name in enumerate(names)},
    }


def bounding_box(data: npt.NDArray[np.generic]) -> tuple[tuple[slice, ...], IntArray]:
    """Slices around the non-zero voxels, and their first corner (3,); one voxel for an empty mask."""
    # the largest value of a plane is found several times faster than whether any value is true
    largest: Any = data.max if data.dtype == np.bool_ or np.issubdtype(data.dtype, np.unsignedinteger) else data.any
    slab = largest(axis=2)
    planes = [slab.any(axis=1), slab.any(axis=0), largest(axis=1).any(axis=0)]
    ends = [np.flatnonzero(plane)[[0, -1]] if plane.any() else np.zeros(2, dtype=np.int64) for plane in planes]
    return tuple(slice(int(first), int(last) + 1) for first, last in ends), np.array([end[0] for end in ends])


def _rows_in_scan_order(label_of_voxel: npt.NDArray[np.unsignedinteger]) -> IntArray:
    """Replace each voxel's label (1 .. L) by its lesion's row, lesions ordered by first voxel."""
    count = int(label_of_voxel.max()) if label_of_voxel.size else 0
    first = np.zeros(count + 1, dtype=np.int64)
    first[label_of_voxel[::-1]] = np.arange(label_of_voxel.size)[::-1]  # the last assignment stays: the first voxel
    rows = np.zeros(count + 1, dtype=np.int64)
    rows[1 + np.argsort(first[1:])] = np.arange(count)
    return rows[label_of_voxel]


def _describe(coordinates: tuple[IntArray, ...], lesion_of_voxel: IntArray, grid: Grid) -> Lesions:
    voxels = np.bincount(lesion_of_voxel).astype(np.int64)
    sums = [np.bincount(lesion_of_voxel, weights=axis, minlength=voxels.size) for axis in coordinates]
    centroid = np.stack(sums, axis=1) / voxels[:, None]
    first, last = _extents(coordinates, lesion_of_voxel, voxels)
    return Lesions(
        voxel_index=np.ravel_multi_index(coordinates, grid.shape).astype(np.int64),
        lesion_of_voxel=lesion_of_voxel,
        voxels=voxels,
        centroid_mm=centroid @ grid.affine[:3, :3].T + grid.affine[:3, 3],
        first_voxel=first,
        last_voxel=last,
        grid=grid,
        mask_voxels=lesion_of_voxel.size,
    )


def _extents(
    coordinates: tuple[IntArray, ...], lesion_of_voxel: IntArray, voxels: IntArray
) -> tuple[IntArray, IntArray]:
    """Smallest and largest index of each lesion along each axis, (L, 3) each."""
    if not voxels.size:
        return np.zeros((0, 3), dtype=np.int64), np.zeros((0, 3), dtype=np.int64)
    order = np.argsort(lesion_of_voxel, kind="stable")
    starts = np.concatenate([[0], np.cumsum(voxels)[:-1]])
    sorted_axes = [axis[order] for axis in coordinates]
    first = np.stack([np.minimum.reduceat(axis, starts) for axis in sorted_axes], axis=1)
    last = np.stack([np.maximum.reduceat(axis, starts) for axis in sorted_axes], axis=1)
    return first, last
