"""What a pair of visits teaches: from a mask of change by the sign of the intensity, or from both visits' masks."""

import numpy as np
import numpy.typing as npt

from nnunet_ms.arrays import Matrix
from nnunet_ms.dataset_conversion.cases import Case, Pair
from nnunet_ms.dataset_conversion.labels import CHANGE_RULES, read_label, signed_change
from nnunet_ms.dataset_conversion.pair_ways import Visits, Ways
from nnunet_ms.dataset_conversion.preparation import moved_onto
from nnunet_ms.images.brain_mask import given_mask
from nnunet_ms.images.itk import inverse, to_itk, voxels
from nnunet_ms.images.volumes import Grid, Volume
from nnunet_ms.lesions.change import changed_voxels
from nnunet_ms.lesions.components import find_components


def label_of_pair(case: Case, pair: Pair, visits: Visits, ways: Ways) -> tuple[npt.NDArray[np.uint8], int]:
    """What is learnt, (X, Y, Z) on the pair's grid: from a mask of change, or from the masks of both visits.

    The number is that of lesions of a mask of change that this grid cannot show.
    """
    if case.label is None:
        raise ValueError(f"{case.case_id} has no mask")
    if pair.is_shared:
        marked = read_label(case.label)[0]
        data = marked.data.astype(np.uint8)
        if case.label.rule in CHANGE_RULES:
            data = _by_sign(case, marked, visits, ways)
        return nearest(data, marked.grid, ways.grid, ways.shared), _lost(data, marked.grid, ways)
    moved: list[Volume] = []
    for visit, way in zip(visits, ways.both, strict=True):
        if visit.case.label is None:
            raise ValueError(f"{visit.case.case_id} has no mask")
        mask = read_label(visit.case.label)[0]
        data = nearest((mask.data != 0).astype(np.uint8), mask.grid, ways.grid, way)
        moved.append(Volume(data, ways.grid, mask.path))
    changed = changed_voxels(moved[0], moved[1])
    if pair.target == "all":
        return changed, 0
    return np.isin(changed, (1,) if pair.target == "new" else (1, 2)).astype(np.uint8), 0


def _lost(data: npt.NDArray[np.uint8], grid: Grid, ways: Ways) -> int:
    """Components without a voxel on the pair's grid, which takes the nearest neighbour."""
    parts = find_components(data != 0)
    numbers = to_itk(parts.painted(np.arange(1, parts.count + 1, dtype=np.int32)), grid)
    shown = voxels(moved_onto(numbers, grid, ways.grid, ways.shared, is_label=True)).astype(np.int64)
    return parts.count - len(np.unique(shown[shown > 0]))


def _by_sign(case: Case, change: Volume, visits: Visits, ways: Ways) -> npt.NDArray[np.uint8]:
    """Split a mask of change by the sign of the intensity change, in its own space, whatever the pair's."""
    to_pair = inverse(ways.shared)
    first, second = (
        voxels(moved_onto(visit.first, visit.grid, change.grid, way @ to_pair, is_label=False)).astype(np.float32)
        for visit, way in zip(visits, ways.both, strict=True)
    )
    brain = (first > 0) & (second > 0)
    if case.brain_mask is not None:
        brain &= given_mask(case.brain_mask, change.grid, change.path) != 0
    signed = signed_change(change.data.astype(np.uint8), first, second, brain)
    rule = "signed" if case.label is None else case.label.rule
    return signed if rule == "signed" else (signed == (1 if rule == "brighter" else 2)).astype(np.uint8)


def nearest(data: npt.NDArray[np.uint8], grid: Grid, target: Grid, way: Matrix) -> npt.NDArray[np.uint8]:
    """A mask on another grid by the nearest neighbour; `way` leads from the wanted grid's points to the mask's."""
    return voxels(moved_onto(to_itk(data, grid), grid, target, way, is_label=True)).astype(np.uint8)
