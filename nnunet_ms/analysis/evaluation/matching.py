"""Which lesions of two masks found each other, by a named rule.

The rules themselves stand in `rules.py`. Everything a rule needs stands in one sparse contingency table of the two
labelled masks (`Overlap`). Both masks are labelled once per connectivity; rules that differ in the size filter or the
criterion share that labelling and that table.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from nnunet_ms.images.volumes import Volume
from nnunet_ms.lesions.components import BoolArray, Connectivity, IntArray
from nnunet_ms.lesions.labelling import Lesions, find_all_lesions, new_numbers, without_small

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

    row: IntArray
    column: IntArray
    shared: IntArray
    voxels: IntArray
    other_voxels: IntArray
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
    def shared_voxels(self) -> IntArray:
        """Voxels of each lesion that lie in any lesion of the other mask, (L,)."""
        return _sum_by_row(self.row, self.shared, self.voxels.size)

    @cached_property
    def touched_voxels(self) -> IntArray:
        """Size of the union of all lesions of the other mask that a lesion shares a voxel with, (L,)."""
        return _sum_by_row(self.row, self.other_voxels[self.column], self.voxels.size)


@dataclass(frozen=True)
class Rule:
    """How lesions are delineated, how they are found, and what is reported.

    Attributes
    ----------
    name : str
        The rule's name in every table.
    description : str
        One line for figures: components, size filter, criterion.
    connectivity : {6, 18, 26}
        Which voxels touch.
    minimum_voxels : callable
        Voxel volume in ml -> smallest lesion that counts, in voxels; the filter acts on both masks.
    found : callable
        `Overlap` seen from the lesions in question -> (L,) bool, which of them are found. It is called once per
        mask, so an asymmetric rule sees its lesions as rows both times.
    metrics : tuple of str
        Names from `case_metrics.CASE_METRICS` and `cohort_metrics.COHORT_METRICS`, in the order of the printed table.
    size_bins : tuple of int
        First size of each bin in voxels; a bin ends where the next begins, the last is open.
    filters_voxels : bool
        Whether voxel-wise metrics are of the masks after the size filter, or of the masks as they are.
    """

    name: str
    description: str
    connectivity: Connectivity
    minimum_voxels: Callable[[float], int]
    found: Callable[[Overlap], BoolArray]
    metrics: tuple[str, ...]
    size_bins: tuple[int, ...]
    filters_voxels: bool = False


@dataclass(frozen=True)
class Voxels:
    """Voxels of both masks, of each, of the whole image, and of the brain (the image when no brain mask is known)."""

    shared: int
    reference: int
    prediction: int
    image: int
    brain: int


@dataclass(frozen=True)
class Match:
    """The lesions of a reference mask (R) and of a predicted mask (P), and which of them are found.

    `voxels` is what voxel-wise metrics of the rule are computed from, after its size filter or before.
    """

    reference: Lesions
    prediction: Lesions
    overlap: Overlap
    reference_found: BoolArray
    prediction_found: BoolArray
    voxels: Voxels


def match_masks(reference: Volume, prediction: Volume, rule: Rule) -> Match:
    """Label both masks, count what they share, and apply the rule in both directions.

    Parameters
    ----------
    reference, prediction : Volume
        Masks (X, Y, Z) on one grid (see `volumes.check_same_grid`).
    rule : Rule
        See `rules.RULES`.

    Returns
    -------
    Match
        `reference_found` (R,): reference lesions that the prediction finds. `prediction_found` (P,): predicted
        lesions that the reference confirms; the others are false. Length 0 for a mask without lesions.
    """
    return match_by_rules(reference, prediction, [rule])[0]


def match_by_rules(
    reference: Volume, prediction: Volume, rules: Sequence[Rule], brain_voxels: int | None = None
) -> list[Match]:
    """Apply several rules to one pair of masks; each connectivity among them is labelled once.

    Parameters
    ----------
    reference, prediction : Volume
        Masks (X, Y, Z) on one grid (see `volumes.check_same_grid`).
    rules : sequence of Rule
        In any order.
    brain_voxels : int, optional
        Size of the brain, for rules that need it; the whole image when not given.

    Returns
    -------
    list of Match
        One per rule, in the order of `rules`.
    """
    connectivities = list(dict.fromkeys(rule.connectivity for rule in rules))
    first, second = (find_all_lesions(mask, connectivities) for mask in (reference, prediction))
    return match_lesions(first, second, rules, brain_voxels)


def match_lesions(
    reference: Mapping[Connectivity, Lesions],
    prediction: Mapping[Connectivity, Lesions],
    rules: Sequence[Rule],
    brain_voxels: int | None = None,
) -> list[Match]:
    """Apply several rules to two masks that `find_all_lesions` has labelled by every rule's connectivity."""
    first, second = next(iter(reference.values())), next(iter(prediction.values()))
    common = _in_both(first.voxel_index, second.voxel_index)  # the same voxels under every connectivity
    labelled = {
        c: (reference[c], prediction[c], _table(reference[c], prediction[c], *common))
        for c in {rule.connectivity for rule in rules}
    }
    return [_apply(rule, *labelled[rule.connectivity], brain_voxels) for rule in rules]


def _apply(rule: Rule, reference: Lesions, prediction: Lesions, overlap: Overlap, brain_voxels: int | None) -> Match:
    minimum = rule.minimum_voxels(reference.voxel_volume_ml)
    first, second = without_small(reference, minimum), without_small(prediction, minimum)
    filtered = overlap_without_small(overlap, minimum)
    counted = filtered if rule.filters_voxels else overlap
    image = math.prod(reference.grid.shape)
    voxels = Voxels(
        shared=int(counted.shared.sum()),
        reference=int(counted.voxels.sum()),
        prediction=int(counted.other_voxels.sum()),
        image=image,
        brain=image if brain_voxels is None else brain_voxels,
    )
    return Match(first, second, filtered, rule.found(filtered), rule.found(filtered.swapped), voxels)


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


def count_overlap(reference: Lesions, prediction: Lesions) -> Overlap:
    """Contingency table of two sets of lesions on one grid; only pairs that share a voxel are in it."""
    return _table(reference, prediction, *_in_both(reference.voxel_index, prediction.voxel_index))


def _table(reference: Lesions, prediction: Lesions, here: IntArray, there: IntArray) -> Overlap:
    """Contingency table from the positions of the common voxels in both sets."""
    width = max(prediction.count, 1)
    pair = reference.lesion_of_voxel[here] * width + prediction.lesion_of_voxel[there]
    if reference.count * width <= _DENSE_TABLE:
        dense = np.bincount(pair, minlength=1)
        pairs = np.flatnonzero(dense != 0)  # of truth values in a tenth of the time
        shared = dense[pairs]
    else:
        pairs, shared = np.unique(pair, return_counts=True)
    row, column = np.divmod(pairs, width)
    return Overlap(row, column, shared.astype(np.int64), reference.voxels, prediction.voxels, reference.voxel_volume_ml)


def _in_both(first: IntArray, second: IntArray) -> tuple[IntArray, IntArray]:
    """Positions of the common values of two ascending arrays without repeats, in both."""
    both = np.concatenate([first, second])
    order = both.argsort(kind="stable")  # merges the two sorted halves
    ordered = both[order]
    twice = np.flatnonzero(ordered[1:] == ordered[:-1])
    return order[twice], order[twice + 1] - first.size


def lesion_dice(overlap: Overlap) -> npt.NDArray[np.float64]:
    """Dice of each lesion with the union of the other mask's lesions that it shares a voxel with, (L,).

    The whole of those lesions counts, so a small lesion inside a large confluent one has a low value; a lesion that
    shares no voxel has 0. The paper does not define it; this is ours.
    """
    return 2 * overlap.shared_voxels / (overlap.voxels + overlap.touched_voxels)


def _sum_by_row(row: IntArray, values: IntArray, rows: int) -> IntArray:
    # exact: weights are summed as float64, and no image has 2^53 voxels
    return np.bincount(row, weights=values, minlength=rows).astype(np.int64)
