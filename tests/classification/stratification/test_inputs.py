"""Oracle: the definition of each step, on images whose answer is known by hand."""

import numpy as np
import pytest
import torch

from nnunet_ms.classification.stratification.inputs import (
    Augmentation,
    coarsened,
    network_input,
    open_inputs,
    seeds_of,
    write_inputs,
)
from nnunet_ms.classification.stratification.preparation import PreparedScan
from nnunet_ms.errors import ImageError, OptionError

SHAPE = (12, 16, 12)


def scan(**changed):
    rng = np.random.default_rng(4)
    brain = np.zeros(SHAPE, bool)
    brain[1:-1, 1:-1, 1:-1] = True
    wm = np.zeros(SHAPE, bool)
    wm[4:8, 4:8, 4:8] = True
    images = np.where(brain, rng.normal(size=(2, *SHAPE)), 0).astype(np.float32)
    told = {"images": images, "brain": brain, "regions": {"wm": wm, "sgm": np.zeros(SHAPE, bool)}}
    return PreparedScan(**(told | changed), volumes_ml={}, regions_from="labels", brain_dice=0.9, matrix=np.eye(4))


def test_a_region_is_shown_with_one_voxel_around_and_scores_as_they_were():
    one = scan()
    seen = network_input(one, "wm")
    shown = np.zeros(SHAPE, bool)
    for axis in range(3):  # the cube, and one voxel more along each axis
        box = [slice(4, 8)] * 3
        box[axis] = slice(3, 9)
        shown[tuple(box)] = True
    assert np.array_equal(seen, np.where(shown, one.images, 0))
    assert np.array_equal(network_input(one, "global"), one.images)


def test_coarser_images_are_means_of_blocks():
    images = scan().images
    small = coarsened(images, 2)
    assert small.shape == (2, 6, 8, 6)
    assert small[1, 2, 3, 4] == pytest.approx(images[1, 4:6, 6:8, 8:10].mean(), abs=1e-6)


@pytest.mark.parametrize(
    ("changed", "options", "message"),
    [
        ({}, {"strategy": "sgm"}, "P1: sgm: expected voxels of the region, found none"),
        ({}, {"strategy": "brainstem"}, "P1: brainstem: expected voxels of the region, found none"),
        ({"regions": {}}, {"strategy": "wm"}, "P1: wm: expected voxels"),
        ({"images": np.full((2, *SHAPE), np.nan, np.float32)}, {"strategy": "global"}, "P1: .* found 4608 values"),
        ({"images": np.full((2, *SHAPE), -np.inf, np.float32)}, {"strategy": "wm"}, "NaN or infinite.*prepare again"),
        ({}, {"strategy": "global", "coarser": 5}, r"P1: expected images that divide into blocks of 5.*\(12, 16, 12\)"),
    ],
)
def test_scans_that_no_network_can_see_are_refused_by_name(changed, options, message):
    with pytest.raises(ImageError, match=message):
        network_input(scan(**changed), name="P1", **options)


@pytest.mark.parametrize("coarser", [0, -2, 1.5, True, "2"])
def test_coarser_is_a_whole_number(coarser):
    with pytest.raises(OptionError, match="coarser: expected a whole number >= 1"):
        network_input(scan(), "global", coarser)


def test_an_unknown_strategy_is_refused():
    with pytest.raises((OptionError, ImageError), match="white matter"):
        network_input(scan(), "white matter")


def looked(seeds, images=None):
    images = torch.from_numpy(network_input(scan(), "wm"))[None] if images is None else images
    return Augmentation(4.0)(images.expand(len(seeds), *images.shape[1:]), seeds)


def test_a_seed_gives_one_change_whatever_is_beside_it():
    together, alone = looked([1, 2, 3]), [looked([seed])[0] for seed in (1, 2, 3)]
    assert all(torch.equal(one, other) for one, other in zip(together, alone, strict=True))
    assert not torch.equal(together[0], together[1])


def test_outside_of_what_is_shown_stays_zero_and_the_input_as_it_was():
    images = torch.from_numpy(network_input(scan(), "wm"))[None]
    before = images.clone()
    changed = looked(range(12), images)
    assert torch.equal(images, before)
    assert torch.isfinite(changed).all()
    # 4 mm is one voxel; with a turn and the interpolation no score gets farther than three
    far = torch.ones(SHAPE, dtype=torch.bool)
    far[0:12, 0:12, 0:12] = False
    assert (changed[:, :, far] == 0).all()
    assert (changed == 0).float().mean() > 0.7


def test_left_and_right_change_sides_and_nothing_else_does():
    images = torch.zeros(1, 2, *SHAPE)
    images[0, :, 2:4, 3:5, 6:8] = 5.0  # one blob: left, behind
    sides = [(one[0, :6].sum() > one[0, 6:].sum()).item() for one in looked(range(24), images)]
    behind = [(one[0, :, :8].sum() > one[0, :, 8:].sum()).item() for one in looked(range(24), images)]
    assert 5 <= sum(sides) <= 19
    assert all(behind)


def test_seeds_differ_by_seed_epoch_and_scan_only():
    found = {seeds_of(seed, epoch, [place])[0] for seed in range(3) for epoch in range(3) for place in range(3)}
    assert len(found) == 27
    assert seeds_of(0, 1, [4, 9]) == [seeds_of(0, 1, [4])[0], seeds_of(0, 1, [9])[0]]


def test_stored_inputs_come_back_and_mixed_grids_are_refused(tmp_path):
    images = np.random.default_rng(0).normal(size=(3, 2, *SHAPE)).astype(np.float32)
    write_inputs(tmp_path / "inputs.npy", 3, iter(images))
    assert np.array_equal(open_inputs(tmp_path / "inputs.npy"), images)
    with pytest.raises(ImageError, match=r"one grid, found \(2, 12, 16, 12\) and then \(2, 6, 8, 6\) in scan 2"):
        write_inputs(tmp_path / "other.npy", 2, [images[0], coarsened(images[0], 2)])
    assert not (tmp_path / "other.npy").exists()


@pytest.mark.parametrize("edge", [0, -1.0, 1000])
def test_edge_of_a_voxel_is_plausible(edge):
    with pytest.raises(OptionError, match="edge_mm: expected the edge of a voxel in mm"):
        Augmentation(edge)
