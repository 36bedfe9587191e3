"""Oracle: one boolean volume per lesion, and every pair of them."""

import numpy as np
import pytest

from nnunet_ms.lesions import overlap as overlap_module
from nnunet_ms.lesions.labelling import find_lesions
from nnunet_ms.lesions.overlap import best_iou, common_voxels, count_overlap, lesion_dice, overlap_without_small
from tests.lesions.naive_matching import dice_with_touched, lesions_of, random_pair, union, volume

SHAPE = (14, 13, 12)


def found(seed, minimum=1):
    """Both masks' lesions, by the code and by the oracle."""
    masks = random_pair(seed)
    return [find_lesions(volume(mask), 18, minimum) for mask in masks], [lesions_of(mask, minimum) for mask in masks]


def table(overlap):
    return list(zip(overlap.row.tolist(), overlap.column.tolist(), overlap.shared.tolist(), strict=True))


def naive_table(first, second):
    return [
        (row, column, int((one & other).sum()))
        for row, one in enumerate(first)
        for column, other in enumerate(second)
        if (one & other).any()
    ]


@pytest.fixture(params=["dense", "sorted"])
def way(request, monkeypatch):
    """Both ways of counting pairs: the second is for tables of very many cells."""
    if request.param == "sorted":
        monkeypatch.setattr(overlap_module, "_DENSE_TABLE", -1)


@pytest.mark.parametrize("seeds", [range(20), range(20, 40)])
def test_every_number_of_the_table_against_all_pairs(seeds, way):
    for seed in seeds:
        lesions, (first, second) = found(seed)
        overlap = count_overlap(*lesions)
        expected = naive_table(first, second)
        assert table(overlap) == expected, seed
        assert overlap.union_voxels.tolist() == [int((first[r] | second[c]).sum()) for r, c, _ in expected]
        whole = union(second, SHAPE)
        assert overlap.shared_voxels.tolist() == [int((one & whole).sum()) for one in first]
        touched = [sum(int(other.sum()) for other in second if (one & other).any()) for one in first]
        assert overlap.touched_voxels.tolist() == touched
        assert overlap.voxels.tolist() == [int(one.sum()) for one in first]
        assert overlap.other_voxels.tolist() == [int(other.sum()) for other in second]
        assert overlap.voxel_volume_ml == pytest.approx(0.001)
        ious = [max((int((a & b).sum()) / int((a | b).sum()) for b in second), default=0) for a in first]
        assert best_iou(overlap).tolist() == ious
        assert lesion_dice(overlap).tolist() == [dice_with_touched(one, second) for one in first]


@pytest.mark.parametrize("seed", range(10))
def test_swapped_is_the_table_of_the_swapped_masks(seed):
    (first, second), _ = found(seed)
    there, back = count_overlap(first, second), count_overlap(second, first)
    assert table(there.swapped) == table(back)
    assert there.swapped.voxels.tolist() == back.voxels.tolist()
    assert there.swapped.other_voxels.tolist() == back.other_voxels.tolist()
    assert there.swapped.swapped is there


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("minimum", [2, 4, 9])
def test_small_components_become_background_on_both_sides(seed, minimum):
    # Oracle: the table of masks from which SciPy's small components were taken before.
    lesions, _ = found(seed)
    _, (first, second) = found(seed, minimum)
    overlap = overlap_without_small(count_overlap(*lesions), minimum)
    assert table(overlap) == naive_table(first, second)
    assert overlap.voxels.tolist() == [int(one.sum()) for one in first]
    assert overlap.other_voxels.tolist() == [int(other.sum()) for other in second]
    assert overlap.voxel_volume_ml == pytest.approx(0.001)


def test_common_voxels_are_where_both_masks_are():
    (first, second), _ = found(3)
    here, there = common_voxels(first, second)
    reference, prediction = random_pair(3)
    expected = np.flatnonzero((reference & prediction).ravel(order="F"))
    assert first.voxel_index[here].tolist() == second.voxel_index[there].tolist() == expected.tolist()
    assert table(count_overlap(first, second, (here, there))) == table(count_overlap(first, second))


def test_nothing_in_one_mask_or_in_both():
    some, none = np.ones((3, 3, 3)), np.zeros((3, 3, 3))
    one, empty = (find_lesions(volume(mask)) for mask in (some, none))
    for first, second, expected in ((one, empty, [0.0]), (empty, one, []), (empty, empty, [])):
        overlap = count_overlap(first, second)
        assert table(overlap) == table(overlap.swapped) == []
        assert best_iou(overlap).tolist() == lesion_dice(overlap).tolist() == expected
