"""The published rules by which lesions are delineated, found and counted.

A number such as "lesion F1" means nothing without its rule; the same pair of masks scores between .2 and .8. Each rule
is one entry of `RULES`; its name stands in every table and figure. Where the source is silent, "ours" says so.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np

from nnunet_ms.analysis.evaluation.matching import Rule
from nnunet_ms.arrays import Bools, Ints
from nnunet_ms.errors import SettingsError
from nnunet_ms.lesions.overlap import Overlap

ALL_SIZES = (1, 3, 11, 51, 151)  # krishnan2023's bins, and one for what that rule drops
SHIFTS = "shifts2022"


def rules_by_name(names: tuple[str, ...]) -> list[Rule]:
    """Look rules up in `RULES`, in the order given; `shifts2022_min<N>` drops components below N voxels.

    Raises
    ------
    SettingsError
        If a name is unknown or stands twice, or if there is none.

    Examples
    --------
    >>> [rule.connectivity for rule in rules_by_name(["krishnan2023", "isbi2015_26"])]
    [18, 26]
    """
    found = [_rule(name) for name in names]
    if not names or len(set(names)) < len(names) or None in found:
        raise SettingsError(
            f"rules: expected different names out of {sorted(RULES)} or {SHIFTS}_min<N>, found {list(names)}. "
            "Correct it."
        )
    return [rule for rule in found if rule is not None]


def is_rule(name: str) -> bool:
    """Whether `rules_by_name` knows the name."""
    return _rule(name) is not None


def _rule(name: str) -> Rule | None:
    minimum = re.fullmatch(rf"{SHIFTS}_min([1-9]\d*)", name)
    if minimum is None:
        return RULES.get(name)
    voxels = int(minimum[1])
    description = f"6-connected, at least {voxels} voxels, found at IoU 0.25"
    return replace(RULES[SHIFTS], name=name, description=description, minimum_voxels=_at_least(voxels))


def _at_least(voxels: int) -> Callable[[float], int]:
    def minimum(voxel_volume_ml: float) -> int:  # noqa: ARG001 - other rules state their filter in mm3
        return voxels

    return minimum


def _covered(percent: int) -> Callable[[Overlap], Bools]:
    def found(overlap: Overlap) -> Bools:
        # whole numbers, because 0.1 * 30 > 3 in floating point and a lesion at exactly 10 % is found
        return np.asarray(100 * overlap.shared_voxels >= percent * overlap.voxels)

    return found


def _any_voxel(overlap: Overlap) -> Bools:
    return np.asarray(overlap.shared_voxels > 0)


def _best_iou(overlap: Overlap, threshold: Fraction) -> Bools:
    """Whether one lesion of the other mask alone reaches an intersection over union, (L,)."""
    reached = threshold.denominator * overlap.shared >= threshold.numerator * overlap.union_voxels
    return _any_by_row(overlap, reached)


def _iou_quarter(overlap: Overlap) -> Bools:
    return _best_iou(overlap, Fraction(1, 4))


def _more_than_3_mm3(voxel_volume_ml: float) -> int:
    """Smallest lesion above 3 mm3, in voxels, with the voxel volume that float32 headers give."""
    return int(np.floor(3 / float(np.float32(1000 * voxel_volume_ml)))) + 1


def _msseg_found(overlap: Overlap) -> Bools:
    """Detection of Commowick et al. 2018 [1]_; all comparisons in whole numbers.

    A lesion is found when (a) more than 10 % of it are covered (alpha), and (b) going through the other mask's lesions
    by falling overlap until 65 % of the covered part are explained (gamma), none of those lies by more than 70 %
    outside all lesions of this mask (beta).

    References
    ----------
    .. [1] Commowick O et al. Sci Rep 2018;8:13650. doi:10.1038/s41598-018-31911-7; animaSegPerfAnalyzer.
    """
    covered = overlap.shared_voxels
    order = np.lexsort((overlap.column, -overlap.shared, overlap.row))
    row, column, shared = overlap.row[order], overlap.column[order], overlap.shared[order]
    running = np.cumsum(shared) - shared
    before = running - _value_at_row_start(row, running)
    outside = overlap.other_voxels - overlap.swapped.shared_voxels
    considered = 100 * before < 65 * covered[row]
    bad = considered & (10 * outside[column] > 7 * overlap.other_voxels[column])
    stopped = np.bincount(row, weights=bad, minlength=covered.size) > 0
    return np.asarray((10 * covered > overlap.voxels) & ~stopped)


def _value_at_row_start(row: Ints, values: Ints) -> Ints:
    """For each entry of a table sorted by row, the value of its row's first entry."""
    first = np.ones(row.size, dtype=np.bool_)
    first[1:] = row[1:] != row[:-1]
    return np.asarray(values[first][np.cumsum(first) - 1])


def _panoptica_matched(overlap: Overlap) -> Bools:
    """One-to-one matching by falling Dice of pairs, at Dice >= 0.1; the same pairs seen from either mask.

    Ties are broken by the lesions' sizes, so that the roles do not matter.
    """
    rows, columns = overlap.voxels[overlap.row], overlap.other_voxels[overlap.column]
    order = np.lexsort((np.maximum(rows, columns), np.minimum(rows, columns), -2 * overlap.shared / (rows + columns)))
    order = order[20 * overlap.shared[order] >= (rows + columns)[order]]
    found = np.zeros(overlap.voxels.size, dtype=np.bool_)
    taken = np.zeros(overlap.other_voxels.size, dtype=np.bool_)
    for row, column in zip(overlap.row[order], overlap.column[order], strict=True):
        if not found[row] and not taken[column]:
            found[row] = taken[column] = True
    return found


def _any_by_row(overlap: Overlap, flags: Bools) -> Bools:
    return np.asarray(np.bincount(overlap.row, weights=flags, minlength=overlap.voxels.size) > 0)


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
    filters_voxels=True,
)

# Carass A et al. NeuroImage 2017;148:77-102. doi:10.1016/j.neuroimage.2016.12.064. It states no connectivity.
# `isbi15_raw` is the published weighting; the website's 0-100 number uses a normalisation that was never published.
_ISBI2015 = Rule(
    name="isbi2015",
    description="18-connected, no size filter, found by any shared voxel",
    connectivity=18,
    minimum_voxels=_at_least(1),
    found=_any_voxel,
    metrics=("dice", "ppv", "tpr", "ltpr", "lfpr", "avd", "r_vol", "isbi15_raw"),
    size_bins=ALL_SIZES,
)
_ISBI2015_26 = replace(
    _ISBI2015,
    name="isbi2015_26",
    description="26-connected, no size filter, found by any shared voxel",
    connectivity=26,
)

_MSSEG2016 = Rule(
    name="msseg2016",
    description="6-connected, more than 3 mm3, found by the challenge's rule",
    connectivity=6,
    minimum_voxels=_more_than_3_mm3,
    found=_msseg_found,
    metrics=(
        *("dice", "jaccard", "tpr", "ppv", "specificity", "sensl", "ppvl", "f1"),
        *("npv", "relative_volume_error_percent", "tested_lesions", "tested_volume_mm3"),
    ),
    size_bins=ALL_SIZES,
)

# Commowick O et al., MSSEG-2 challenge proceedings, MICCAI 2021: new lesions. Cases with and without are two tables.
_MSSEG2_2021 = replace(
    _MSSEG2016,
    name="msseg2_2021",
    metrics=("f1", "dice", "tested_lesions", "tested_volume_mm3"),
)

# Wahlig SG et al. Front Neurosci 2023;17:1188336. "There was no minimum size"; criterion and connectivity are ours.
_WAHLIG2023 = Rule(
    name="wahlig2023",
    description="26-connected, no size filter, found by any shared voxel",
    connectivity=26,
    minimum_voxels=_at_least(1),
    found=_any_voxel,
    metrics=("ltpr", "lppv", "lppv_empty0", "lppv_empty1", "dice"),
    size_bins=ALL_SIZES,
)

# Malinin A et al. Shifts 2.0, arXiv:2206.15407: normalised Dice at r = .001, lesion F1 at IoU .25.
_SHIFTS2022 = Rule(
    name=SHIFTS,
    description="6-connected, no size filter, found at IoU 0.25",
    connectivity=6,
    minimum_voxels=_at_least(1),
    found=_iou_quarter,
    metrics=("ndsc", "lesion_f1", "brain_voxels"),
    size_bins=ALL_SIZES,
)

# Kofler F et al. panoptica, arXiv:2312.02608: its configuration `binaryMS` as version 2.1.7 ships it.
_PANOPTICA_MS = Rule(
    name="panoptica_ms",
    description="26-connected, no size filter, pairs one to one at Dice 0.1",
    connectivity=26,
    minimum_voxels=_at_least(1),
    found=_panoptica_matched,
    metrics=("lesion_f1", "ltpr", "lppv", "dice"),  # rq, sensitivity and precision of instances, global Dice
    size_bins=ALL_SIZES,
)

RULES = {
    rule.name: rule
    for rule in (
        *(_KRISHNAN2023, _ISBI2015, _ISBI2015_26, _MSSEG2016, _MSSEG2_2021, _WAHLIG2023, _SHIFTS2022),
        _PANOPTICA_MS,
    )
}
