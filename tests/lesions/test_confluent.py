"""Hand-built lesions whose number is known: balls that touch, chains, rings, thick slices."""

import numpy as np
import pytest

from nnunet_ms.errors import OptionError
from nnunet_ms.lesions.components import find_components
from nnunet_ms.lesions.confluent import Splitting, split_confluent

SHAPE = (48, 28, 28)


def balls(centres, radius, spacing=(1.0, 1.0, 1.0), shape=SHAPE):
    """Union of balls; centres and radius in mm."""
    places = np.stack(np.meshgrid(*(np.arange(n) * mm for n, mm in zip(shape, spacing, strict=True)), indexing="ij"))
    distances = [np.sqrt(((places.T - c) ** 2).sum(-1).T) for c in np.atleast_2d(centres)]
    return np.min(distances, axis=0) <= radius


@pytest.mark.parametrize(
    ("centres", "radius", "spacing", "expected"),
    [
        ([[14, 14, 14]], 6, (1.0, 1.0, 1.0), 1),
        ([[10, 14, 14], [20, 14, 14]], 6, (1.0, 1.0, 1.0), 2),
        ([[10, 14, 14], [12, 14, 14]], 6, (1.0, 1.0, 1.0), 1),  # nearly the same ball
        ([[8, 14, 14], [18, 14, 14], [28, 14, 14], [38, 14, 14]], 6, (1.0, 1.0, 1.0), 4),
        ([[10, 10, 14], [18, 18, 14]], 6, (1.0, 1.0, 1.0), 2),  # along a diagonal
        ([[10, 14, 42], [10, 14, 53]], 6.5, (1.0, 1.0, 3.0), 2),  # one above the other in thick slices
        ([[10, 14, 42], [22, 14, 42]], 7, (0.75, 0.75, 3.0), 2),
        ([[14, 14, 42]], 7, (0.75, 0.75, 3.0), 1),
    ],
)
def test_balls_are_counted(centres, radius, spacing, expected):
    mask = balls(centres, radius, spacing)
    assert find_components(mask).count == 1
    labels = split_confluent(mask, spacing)
    assert labels.max() == expected
    assert ((labels > 0) == mask).all()
    index = np.rint(np.atleast_2d(centres) / np.array(spacing)).astype(int)
    assert len({int(labels[tuple(place)]) for place in index}) == expected or expected == 1


def test_two_equal_balls_are_cut_in_the_middle_and_numbered_in_scan_order():
    labels = split_confluent(balls([[10, 14, 14], [21, 14, 14]], 6.5), (1.0, 1.0, 1.0))
    first, second = np.argwhere(labels == 1), np.argwhere(labels == 2)
    assert first[:, 0].max() <= 15 < second[:, 0].min() + 1
    assert abs(len(first) - len(second)) <= 0.02 * len(first)


def test_a_shell_drawn_alone_is_one_lesion_and_not_one_per_side():
    shell = balls([[14, 14, 14]], 7) & ~balls([[14, 14, 14]], 5)
    assert split_confluent(shell, (1.0, 1.0, 1.0)).max() == 1


def test_two_shells_that_touch_are_two():
    centres = [[10, 14, 14], [23, 14, 14]]
    shells = balls(centres, 7) & ~balls(centres, 5)
    labels = split_confluent(shells, (1.0, 1.0, 1.0))
    assert labels.max() == 2
    assert ((labels > 0) == shells).all()


def test_no_part_is_smaller_than_asked_for_and_no_voxel_is_lost():
    mask = balls([[14, 14, 14]], 6) | balls([[21, 14, 14]], 2.5)  # a bud of about 50 voxels
    labels = split_confluent(mask, (1.0, 1.0, 1.0), Splitting(prominence_mm=0.1, smooth_mm=0, minimum_voxels=100))
    assert labels.max() == 1
    assert ((labels > 0) == mask).all()


def test_small_components_stay_as_they_are():
    mask = np.zeros((10, 10, 10), bool)
    mask[1, 1, 1] = mask[5:7, 5, 5] = True
    assert np.bincount(split_confluent(mask, (1.0, 1.0, 1.0)).ravel())[1:].tolist() == [1, 2]


def test_it_does_not_depend_on_the_order_in_memory_or_the_type_of_the_mask():
    mask = balls([[10, 14, 14], [20, 14, 14]], 6)
    first = split_confluent(mask, (1.0, 1.0, 1.0))
    second = split_confluent(np.asfortranarray(mask.astype(np.uint8)), (1.0, 1.0, 1.0))
    assert (first == second).all()


def test_a_mask_without_a_lesion_has_none():
    assert split_confluent(np.zeros((5, 6, 7)), (1.0, 1.0, 1.0)).max() == 0


def test_lesions_at_the_border_are_split_too():
    labels = split_confluent(balls([[2, 14, 14], [12, 14, 14]], 6), (1.0, 1.0, 1.0))
    assert labels.max() == 2


@pytest.mark.parametrize(
    ("mask", "spacing"),
    [(np.zeros((4, 4)), (1, 1, 1)), (np.zeros((4, 4, 4)), (1, 1)), (np.zeros((4, 4, 4)), (1, 0, 1))],
)
def test_what_is_no_mask_on_a_grid_is_refused(mask, spacing):
    with pytest.raises(OptionError, match="expected a 3-D mask and three edges > 0"):
        split_confluent(mask, spacing)


@pytest.mark.parametrize("change", [{"smooth_mm": -1}, {"prominence_mm": float("nan")}, {"minimum_voxels": 0}])
def test_settings_outside_their_range_are_refused(change):
    with pytest.raises(OptionError, match=f"{next(iter(change))}: expected a number >="):
        Splitting(**change)
