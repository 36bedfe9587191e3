"""What the lesions of two masks share: one sparse contingency table, and what follows from it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nnunet_ms.arrays import Floats, Ints
from nnunet_ms.lesions.labelling import Lesions, new_numbers

Common = tuple[Ints, Ints]  # positions of the same voxels in two masks
_DENSE_TABLE = 1 << 18  # cells up to which counting in a dense table is faster than sorting the pairs


@dataclass(frozen=True)
class Overlap:
    """Sparse contingency table of the lesions of two masks, seen from the first one.

    Background is not stored: the voxels that lesion i shares with no lesion of the other mask are
    `voxels[i] - shared_voxels[i]`. Components dropped by the size filter count as background.

    Attributes
    ----------
    row, column, shared : (K,) int64 arrays
        Lesion of this mask, lesion of the other mask, and the voxels that they share, > 0; sorted by row.
    voxels : (L,) int64 array
        Sizes of this mask's lesions.
    other_voxels : (M,) int64 array
        Sizes of the other mask's lesions.
    voxel_volume_ml : float
        Volume of one voxel in ml, for rules that are stated in mm3.
    """

    row: Ints
    column: Ints
    shared: Ints
    voxels: Ints
    other_voxels: Ints
    voxel_volume_ml: float

    @cached_property
    def swapped(self) -> "Overlap":
        """The same table seen from the other mask."""
        order = np.lexsort((self.row, self.column))
        other = Overlap(
            self.column[order],
            self.row[order],
            self.shared[order],
            self.other_voxels,
            self.voxels,
            self.voxel_volume_ml,
        )
        other.__dict__["swapped"] = self  # there and back is no second sort
        return other

    @cached_property
    def shared_voxels(self) -> Ints:
        """Voxels of each lesion that lie in any lesion of the other mask, (L,)."""
        return _sum_by_row(self.row, self.shared, self.voxels.size)

    @cached_property
    def union_voxels(self) -> Ints:
        """Size of the union of the two lesions of each pair, (K,)."""
        return np.asarray(self.voxels[self.row] + self.other_voxels[self.column] - self.shared)

    @cached_property
    def touched_voxels(self) -> Ints:
        """Size of the union of all lesions of the other mask that a lesion shares a voxel with, (L,)."""
        return _sum_by_row(self.row, self.other_voxels[self.column], self.voxels.size)


def count_overlap(lesions: Lesions, others: Lesions, common: Common | None = None) -> Overlap:
    """Contingency table of two sets of lesions on one grid; only pairs that share a voxel are in it.

    Parameters
    ----------
    lesions, others : Lesions
        Of two masks on one grid (see `volumes.check_same_grid`).
    common : pair of (C,) int64 arrays, optional
        From `common_voxels`, where it is known: it is the same for every connectivity of two masks.

    Returns
    -------
    Overlap
        Seen from `lesions`.

    Examples
    --------
    >>> from nnunet_ms.images.volumes import read_mask
    >>> from nnunet_ms.lesions.labelling import find_lesions
    >>> masks = [read_mask(Path(f"{name}.nii.gz")) for name in ("reference", "prediction")]
    >>> overlap = count_overlap(*(find_lesions(mask) for mask in masks))
    >>> overlap.voxels.tolist(), overlap.shared_voxels.tolist()
    ([32, 4, 144], [24, 0, 144])
    """
    here, there = common_voxels(lesions, others) if common is None else common
    width = max(others.count, 1)
    pair = lesions.lesion_of_voxel[here] * width + others.lesion_of_voxel[there]
    if lesions.count * width <= _DENSE_TABLE:
        dense = np.bincount(pair, minlength=1)
        pairs = np.flatnonzero(dense != 0)  # of truth values in a tenth of the time
        shared = dense[pairs]
    else:
        pairs, shared = np.unique(pair, return_counts=True)
    row, column = np.divmod(pairs, width)
    return Overlap(row, column, shared.astype(np.int64), lesions.voxels, others.voxels, lesions.voxel_volume_ml)


def common_voxels(lesions: Lesions, others: Lesions) -> Common:
    """Positions of the voxels of both in the voxels of each, (C,) twice."""
    first, second = lesions.voxel_index, others.voxel_index
    both = np.concatenate([first, second])
    order = both.argsort(kind="stable")  # merges the two sorted halves
    ordered = both[order]
    twice = np.flatnonzero(ordered[1:] == ordered[:-1])
    return order[twice], order[twice + 1] - first.size


def overlap_without_small(overlap: Overlap, minimum_voxels: int) -> Overlap:
    """The table after components below a size became background in both masks."""
    rows, columns = overlap.voxels >= minimum_voxels, overlap.other_voxels >= minimum_voxels
    if rows.all() and columns.all():
        return overlap
    kept = rows[overlap.row] & columns[overlap.column]
    return Overlap(
        row=new_numbers(rows)[overlap.row[kept]],
        column=new_numbers(columns)[overlap.column[kept]],
        shared=overlap.shared[kept],
        voxels=overlap.voxels[rows],
        other_voxels=overlap.other_voxels[columns],
        voxel_volume_ml=overlap.voxel_volume_ml,
    )


def best_iou(overlap: Overlap) -> Floats:
    """Greatest intersection over union of each lesion with one lesion of the other mask, (L,); 0 where none touches it.

    Examples
    --------
    A lesion of 3 voxels shares 2 with one of 4 voxels and 1 with a lesion that is just that voxel; a second one is
    alone:

    >>> row, column, shared = np.array([0, 0]), np.array([0, 1]), np.array([2, 1])
    >>> best_iou(Overlap(row, column, shared, np.array([3, 5]), np.array([4, 1]), 0.001)).tolist()
    [0.4, 0.0]
    """
    best = np.zeros(overlap.voxels.size)
    np.maximum.at(best, overlap.row, overlap.shared / overlap.union_voxels)
    return best


def lesion_dice(overlap: Overlap) -> Floats:
    """Dice of each lesion with the union of the other mask's lesions that it shares a voxel with, (L,).

    The whole of those lesions counts, so a small lesion inside a large confluent one has a low value; a lesion that
    shares no voxel has 0. The paper does not define it; this is ours.

    Examples
    --------
    >>> one, two = np.array([4, 2]), np.array([4])
    >>> overlap = Overlap(np.array([0]), np.array([0]), np.array([3]), one, two, 0.001)
    >>> lesion_dice(overlap).tolist()
    [0.75, 0.0]
    """
    return 2 * overlap.shared_voxels / (overlap.voxels + overlap.touched_voxels)


def _sum_by_row(row: Ints, values: Ints, rows: int) -> Ints:
    # exact: weights are summed as float64, and no image has 2^53 voxels
    return np.bincount(row, weights=values, minlength=rows).astype(np.int64)
