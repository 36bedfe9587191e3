import numpy as np
import pytest
from scipy import ndimage

from nnunet_ms.errors import ImageError
from nnunet_ms.lesions.change import ChangeRule, change_columns, change_table, classify, lesion_change
from tests.lesions.naive_matching import random_pair, volume


def naive(here, other, voxel_mm3, mirrored):
    """The rule's sentences, one boolean volume per component."""
    minimum = int(np.ceil(6 / voxel_mm3))
    labels, count = ndimage.label(here)
    rows = []
    for label in range(1, count + 1):
        lesion = labels == label
        o, n = int((lesion & other).sum()), int((lesion & ~other).sum())
        if o + n < minimum:
            continue
        parts, number = ndimage.label(lesion & ~other)
        largest = max((int((parts == part).sum()) for part in range(1, number + 1)), default=0)
        if o == 0:
            change = "new" if n > minimum else "small"
        elif n <= minimum or n / o <= 0.05:
            change = "existing"
        elif n / o > 0.5 and n * voxel_mm3 > 12:
            change = "new"
        else:
            change = "enlarging" if largest / o > 0.05 else "existing"
        if mirrored:
            backwards = {"existing": "kept", "enlarging": "shrinking", "small": "small"}
            change = backwards.get(change, "resolved" if o == 0 else "shrinking")
        rows.append((change, o, n))
    return sorted(rows)


@pytest.mark.parametrize("seeds", [range(start, start + 50) for start in range(0, 200, 50)])
def test_change_against_naive_loop(seeds):
    # Oracle: naive, from the rule's sentences; voxels of 1 and of 3 mm3.
    seen = set()
    for seed in seeds:
        before, after = random_pair(seed)
        thickness = (1.0, 3.0)[seed % 2]
        affine = np.diag([1.0, 1.0, thickness, 1.0])
        change = lesion_change(volume(before, affine), volume(after, affine))
        for lesions, here, other, mirrored in (
            (change.followup, after, before, False),
            (change.baseline, before, after, True),
        ):
            rows = zip(lesions.change, lesions.voxels_old, lesions.voxels_only_here, strict=True)
            assert sorted((str(c), int(o), int(n)) for c, o, n in rows) == naive(here, other, thickness, mirrored), seed
            seen |= set(lesions.change)
    assert {"new", "existing", "enlarging", "resolved", "shrinking", "kept"} <= seen


@pytest.mark.parametrize(
    ("old", "outside", "largest", "change"),
    [
        (100, 6, 6, "existing"),  # growth not above the minimum
        (200, 10, 10, "existing"),  # 5 % exactly
        (0, 7, 7, "new"),
        (0, 6, 6, "small"),
        (20, 11, 11, "enlarging"),  # 55 %, but 11 mm3
        (20, 13, 13, "new"),  # 65 % and 13 mm3: it swallowed an old lesion
        (26, 13, 13, "enlarging"),  # 50 % exactly
        (200, 12, 10, "existing"),  # a thin rim: no connected part above 5 %
        (200, 12, 11, "enlarging"),
    ],
)
def test_borders_of_the_rule(old, outside, largest, change):
    # By hand, voxels of 1 mm3: minimum 6 voxels.
    assert classify(np.array([old]), np.array([outside]), np.array([largest]), 0.001).tolist() == [change]


@pytest.mark.parametrize(
    ("mm3", "voxels"), [(1.0, 6), (3.0, 2), (0.3, 20), (4.0, 2), (10.0, 1), (0.9996, 7), (6 / 20.0000004, 20)]
)
def test_minimum_is_rounded_up_to_voxels(mm3, voxels):
    assert ChangeRule().minimum_voxels(mm3 / 1000) == voxels


def cube(start, edge=3, shape=(20, 20, 20)):
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(s, s + edge) for s in start)] = True
    return mask


def test_counts_and_volumes():
    # By hand: one cube of 27 stays, one of 27 appears, one of 27 resolves; voxels of 1 mm3.
    before, after = cube((1, 1, 1)) | cube((10, 10, 10)), cube((1, 1, 1)) | cube((15, 1, 1))
    columns = change_columns(lesion_change(volume(before), volume(after)))
    expected = dict.fromkeys(columns, 0) | {"new_lesion_count": 1, "existing_lesion_count": 1}
    expected |= {"resolved_lesion_count": 1, "new_volume_ml": 0.027, "resolved_volume_ml": 0.027}
    assert columns == pytest.approx(expected)
    table = change_table(lesion_change(volume(before), volume(after)))
    assert sorted(zip(table["mask"], table["change"], table["voxels"], strict=True)) == [
        ("baseline", "kept", 27),
        ("baseline", "resolved", 27),
        ("followup", "existing", 27),
        ("followup", "new", 27),
    ]


def test_backwards_in_time():
    # By definition: new becomes resolved, enlarging becomes shrinking.
    for seed in range(30):
        before, after = (volume(mask) for mask in random_pair(seed))
        there, back = lesion_change(before, after), lesion_change(after, before)
        fully_new = int(((there.followup.change == "new") & (there.followup.voxels_old == 0)).sum())
        assert fully_new == back.baseline.count("resolved")


def test_empty_masks():
    none, some = np.zeros((20, 20, 20), dtype=bool), cube((1, 1, 1))
    assert change_columns(lesion_change(volume(none), volume(none))) == dict.fromkeys(
        change_columns(lesion_change(volume(none), volume(none))), 0
    )
    assert change_columns(lesion_change(volume(none), volume(some)))["new_lesion_count"] == 1
    assert change_columns(lesion_change(volume(some), volume(none)))["resolved_lesion_count"] == 1
    assert len(change_table(lesion_change(volume(none), volume(none)))) == 0


def test_different_grids():
    with pytest.raises(ImageError, match="expected the grid of"):
        lesion_change(volume(cube((1, 1, 1))), volume(cube((1, 1, 1)), np.diag([1, 1, 2, 1.0])))


def test_the_table_gives_volumes_in_ml():
    # By hand, voxels of 1 x 1 x 3 mm: a cube of 27 that grew to 3 x 3 x 6 = 54 voxels, all of one lesion.
    before, after = cube((1, 1, 1)), cube((1, 1, 1)) | cube((1, 1, 4))
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    table = change_table(lesion_change(volume(before, affine), volume(after, affine))).set_index("mask")
    assert table.loc["followup", ["voxels", "voxels_old", "voxels_only_here"]].tolist() == [54, 27, 27]
    assert table.loc["followup", ["volume_ml", "changed_ml"]].tolist() == pytest.approx([0.162, 0.081])
    assert table.loc["baseline", ["volume_ml", "changed_ml"]].tolist() == pytest.approx([0.081, 0])
