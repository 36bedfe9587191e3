"""Oracle: boxes cut out one by one, and nnU-Net's own loader, which says where the patch of a centre is."""

import numpy as np
import pytest
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader

from nnunet_ms.trainers.balanced_patches import BalancedDataset, FreeCentres, free_centres, window_sums
from nnunet_ms.trainers.lesion_volumes import LesionVolumeDataset


def box_of(labels, first, widths):
    """Labels of a box, 0 outside of the image."""
    padded = np.pad(labels, 64)
    return padded[tuple(slice(f + 64, f + 64 + w) for f, w in zip(first, widths, strict=True))]


def test_sums_are_those_of_the_boxes():
    mask = np.random.default_rng(0).random((7, 9, 11)) < 0.2
    starts, widths = [np.arange(-4, 8), np.array([0, 3, 8]), np.array([-2, 5])], (3, 4, 6)
    found = window_sums(mask, starts, widths)
    for i, j, k in np.ndindex(found.shape):
        first = (starts[0][i], starts[1][j], starts[2][k])
        assert found[i, j, k] == box_of(mask, first, widths).sum()


def first_voxel(shape, patch, loaded, centre):
    """Where nnU-Net's loader begins the patch that it loads for a centre."""
    loader = object.__new__(nnUNetDataLoader)
    loader.patch_size, loader.has_ignore, loader.annotated_classes_key = tuple(loaded), False, (-1, 0, 1)
    loader.need_to_pad = np.array(loaded) - np.array(patch)
    return loader.get_bbox(np.array(shape), True, {1: np.array([[0, *centre]])})[0]  # noqa: FBT003 - nnU-Net's


def brain_with(shape, lesions):
    labels = np.zeros(shape, np.int16)
    labels[:2] = labels[-2:] = -1
    for z, y, x in lesions:
        labels[z : z + 2, y : y + 2, x : x + 2] = 1
    return labels


CASES = {
    "free": (brain_with((20, 40, 40), [(8, 5, 5)]), (8, 12, 12), (10, 18, 18)),
    "one corner": (brain_with((20, 40, 40), [(4, 4, 4), (12, 30, 6)]), (8, 8, 8), (8, 11, 13)),
    "nearly free": (
        brain_with((16, 40, 40), [(7, y, x) for y in range(2, 40, 9) for x in range(2, 40, 9)]),
        (14, 5, 5),
        (16, 9, 9),
    ),
    "fewest": (
        brain_with((16, 40, 40), [(7, y, x) for y in range(0, 39, 4) for x in range(0, 39, 4)]),
        (16, 16, 16),
        (20, 22, 22),
    ),
    "patch larger than the image": (brain_with((10, 12, 40), [(4, 4, 4)]), (16, 16, 16), (18, 20, 20)),
}


@pytest.mark.parametrize("name", CASES)
def test_patches_at_the_centres_hold_what_they_should(name):
    labels, patch, loaded = CASES[name]
    found = free_centres(labels, patch, loaded)
    counts = []
    for centre in found.centres[::7]:
        first = first_voxel(labels.shape, patch, loaded, centre)
        large = box_of(labels, first, loaded)
        inner = tuple(slice((n - p) // 2, (n - p) // 2 + p) for n, p in zip(loaded, patch, strict=True))
        counts.append(((large > 0).sum(), (large[inner] > 0).sum()))
        assert labels[tuple(np.clip(centre, 0, np.array(labels.shape) - 1))] >= 0
    before, after = np.array(counts).T
    expected = {"one corner": "free", "patch larger than the image": "free"}.get(name, name)
    assert found.kind == expected
    if expected == "free":
        assert before.max() == 0
    elif expected == "nearly free":
        assert after.max() == 0
        assert before.max() > 0
    else:  # the twentieth of all patches with the fewest lesion voxels, not one place alone
        assert after.min() > 0
        every = window_sums(
            labels > 0, [np.arange(-1, n - p) for n, p in zip(labels.shape, patch, strict=True)], [p + 2 for p in patch]
        )
        assert after.max() <= np.quantile(every, 0.2)
        assert len(found.centres) >= 10


def test_a_case_without_brain_or_lesion_is_free_anywhere():
    assert free_centres(np.full((9, 9, 9), -1), (4, 4, 4), (4, 4, 4)).kind == "free"
    found = free_centres(np.zeros((30, 30, 30)), (4, 4, 4), (6, 6, 6))
    assert (found.kind, found.centres.shape) == ("free", (1000, 3))
    again = free_centres(np.zeros((30, 30, 30)), (4, 4, 4), (6, 6, 6))
    assert np.array_equal(found.centres, again.centres)


@pytest.mark.parametrize(
    ("cases", "expected"),
    [
        (["a"] * 6, [True, False] * 3),
        (["a", "none", "a", "a", "a"], [True, False, True, False, True]),
        (["none", "none", "a", "a", "a", "a"], [False, False, True, True, True, False]),
        (["none"] * 4, [False] * 4),
    ],
)
def test_patches_take_turns_and_cases_without_lesions_are_made_up_for(monkeypatch, cases, expected):
    located = {"a": {1: np.array([[0, 5, 5, 5]]), 2: np.array([])}, "none": {1: np.array([])}}
    monkeypatch.setattr(
        LesionVolumeDataset, "load_case", lambda _, case: (None, None, None, {"class_locations": located[case]})
    )
    dataset = object.__new__(BalancedDataset)
    dataset.free = dict.fromkeys(located, FreeCentres(np.array([[1, 2, 3]]), "free"))
    found = [dataset.load_case(case)[3]["class_locations"] for case in cases]
    assert [len(one) == 1 and one[1][0].tolist() == [0, 5, 5, 5] for one in found] == expected
    assert all(one[1][0].tolist() in ([0, 5, 5, 5], [0, 1, 2, 3]) for one in found)
