"""Which lesions of two masks found each other, by a named rule.

A rule is one entry of `RULES`. Everything it needs stands in one sparse contingency table of the two labelled masks
(`Overlap`); a further rule is a function of that table and an entry, nothing else changes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nnunet_ms.analysis.lesions import Connectivity, IntArray, Lesions, find_lesions
from nnunet_ms.errors import SettingsError
from nnunet_ms.images import Volume

BoolArray = npt.NDArray[np.bool_]


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

    @property
    def swapped(self) -> "Overlap":
        """The same table seen from the other mask."""
        order = np.lexsort((self.row, self.column))
        return Overlap(
            self.column[order],
            self.row[order],
            self.shared[order],
            self.other_voxels,
            self.voxels,
            self.voxel_volume_ml,
        )

    @property
    def shared_voxels(self) -> IntArray:
        """Voxels of each lesion that lie in any lesion of the other mask, (L,)."""
        return _sum_by_row(self.row, self.shared, self.voxels.size)

    @property
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
        Names from `agreement.CASE_METRICS` and `agreement.COHORT_METRICS`, in the order of the printed table.
    size_bins : tuple of int
        First size of each bin in voxels; a bin ends where the next begins, the last is open.
    """

    name: str
    description: str
    connectivity: Connectivity
    minimum_voxels: Callable[[float], int]
    found: Callable[[Overlap], BoolArray]
    metrics: tuple[str, ...]
    size_bins: tuple[int, ...]


@dataclass(frozen=True)
class Match:
    """The lesions of a reference mask (R) and of a predicted mask (P), and which of them are found."""

    reference: Lesions
    prediction: Lesions
    overlap: Overlap
    reference_found: BoolArray
    prediction_found: BoolArray


def match_masks(reference: Volume, prediction: Volume, rule: Rule) -> Match:
    """Label both masks, count what they share, and apply the rule in both directions.

    Parameters
    ----------
    reference, prediction : Volume
        Masks (X, Y, Z) on one grid (see `images.check_same_grid`).
    rule : Rule
        See `RULES`.

    Returns
    -------
    Match
        `reference_found` (R,): reference lesions that the prediction finds. `prediction_found` (P,): predicted
        lesions that the reference confirms; the others are false. Length 0 for a mask without lesions.
    """
    minimum = rule.minimum_voxels(reference.grid.voxel_volume_ml)
    first = find_lesions(reference, rule.connectivity, minimum)
    second = find_lesions(prediction, rule.connectivity, minimum)
    overlap = count_overlap(first, second)
    return Match(first, second, overlap, rule.found(overlap), rule.found(overlap.swapped))


def count_overlap(reference: Lesions, prediction: Lesions) -> Overlap:
    """Contingency table of two sets of lesions on one grid; only pairs that share a voxel are in it."""
    _, here, there = np.intersect1d(
        reference.voxel_index, prediction.voxel_index, assume_unique=True, return_indices=True
    )
    width = max(prediction.count, 1)
    pair = reference.lesion_of_voxel[here] * width + prediction.lesion_of_voxel[there]
    pairs, shared = np.unique(pair, return_counts=True)
    row, column = np.divmod(pairs, width)
    return Overlap(row, column, shared.astype(np.int64), reference.voxels, prediction.voxels, reference.voxel_volume_ml)


def lesion_dice(overlap: Overlap) -> npt.NDArray[np.float64]:
    """Dice of each lesion with the union of the other mask's lesions that it shares a voxel with, (L,).

    The whole of those lesions counts, so a small lesion inside a large confluent one has a low value; a lesion that
    shares no voxel has 0. The paper does not define it; this is ours.
    """
    return 2 * overlap.shared_voxels / (overlap.voxels + overlap.touched_voxels)


def rules_by_name(names: tuple[str, ...]) -> list[Rule]:
    """Look rules up in `RULES`, in the order given.

    Raises
    ------
    SettingsError
        If a name is unknown or stands twice, or if there is none.
    """
    unknown = [name for name in names if name not in RULES]
    if unknown or not names or len(set(names)) < len(names):
        raise SettingsError(f"rules: expected different names out of {sorted(RULES)}, found {list(names)}. Correct it.")
    return [RULES[name] for name in names]


def _sum_by_row(row: IntArray, values: IntArray, rows: int) -> IntArray:
    total = np.zeros(rows, dtype=np.int64)
    np.add.at(total, row, values)
    return total


def _at_least(voxels: int) -> Callable[[float], int]:
    def minimum(voxel_volume_ml: float) -> int:  # noqa: ARG001 - other rules state their filter in mm3
        return voxels

    return minimum


def _covered(percent: int) -> Callable[[Overlap], BoolArray]:
    def found(overlap: Overlap) -> BoolArray:
        # whole numbers, because 0.1 * 30 > 3 in floating point and a lesion at exactly 10 % is found
        return np.asarray(100 * overlap.shared_voxels >= percent * overlap.voxels)

    return found


# Krishnan AP et al. Sci Rep 2023;13:4102. doi:10.1038/s41598-023-31207-5. Components, filter and 10 % are given.
# Ours, because the paper is silent: the overlap is with the other mask after its own filter.
_KRISHNAN2023 = Rule(
    name="krishnan2023",
    description="18-connected, at least 3 voxels, found at 10 % overlap",
    connectivity=18,
    minimum_voxels=_at_least(3),
    found=_covered(10),
    metrics=(
        *("ppv", "tpr", "dice", "r_vol", "lppv", "ltpr", "lfpr", "r_count"),  # the paper's Table 2
        *("lppv_by_reference", "lfpr_complement"),
    ),
    size_bins=(3, 11, 51, 151),
)

RULES = {rule.name: rule for rule in (_KRISHNAN2023,)}
