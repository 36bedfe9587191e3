"""Regions from label maps: the tables, ids that nobody knows, what a network sees, and volumes of real maps."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from nnunet_ms.classification.stratification import regions
from nnunet_ms.classification.stratification.regions import (
    ASEG,
    MINDGLIDE,
    REGIONS,
    empty_regions,
    label_table,
    region_masks,
    regional_volumes,
    strategy_input,
)
from nnunet_ms.errors import ImageError, OptionError
from nnunet_ms.images.volumes import Grid, Volume, read_volume

SKULL = (136, 137, 163, 164, *range(502, 531))  # of SynthSeg's maps of whole heads


def volume(data, edge=1.0):
    data = np.asarray(data)
    return Volume(data, Grid(data.shape, np.diag([edge, edge, edge, 1.0])), Path("labels.nii.gz"))


@pytest.mark.parametrize(
    ("table", "region", "ids"),
    [  # the numbers as the tools' own lists have them
        (ASEG, "wm", {2, 41, 77, 7, 46, 251, 255}),
        (ASEG, "gm", {3, 42, 8, 47, 1002, 1035, 2002, 2035}),
        (ASEG, "sgm", {10, 49, 11, 50, 12, 51, 13, 52, 26, 58, 17, 53, 18, 54}),
        (ASEG, "ventricles", {4, 43, 5, 44, 14, 15}),
        (ASEG, "brainstem", {16}),
        (ASEG, "", {0, 24, 28, 60, 85}),
        (MINDGLIDE, "wm", {12, 13, 18}),
        (MINDGLIDE, "gm", {7, 14, 15, 16, 17}),
        (MINDGLIDE, "ventricles", {2, 8, 9}),
        (MINDGLIDE, "brainstem", {4, 5}),
        (MINDGLIDE, "", {0, 1, 6, 10, 11, 19}),
    ],
)
def test_ids_are_in_the_region_that_their_tool_names(table, region, ids):
    assert {table[i] for i in ids} == {region}


def test_left_and_right_are_in_one_region_and_all_regions_are_named():
    pairs = [(2, 41), (3, 42), (4, 43), (5, 44), (7, 46), (8, 47), (25, 57), (26, 58), (28, 60), (30, 62), (31, 63)]
    pairs += [(i, i + 39) for i in range(10, 14)] + [(17, 53), (18, 54), (78, 79), (81, 82)]
    assert all(ASEG[left] == ASEG[right] for left, right in pairs)
    assert set(MINDGLIDE) == set(range(20))
    assert {*ASEG.values()} == {*MINDGLIDE.values()} == {*REGIONS, ""}


def test_every_voxel_is_in_one_region_at_most_and_where_its_id_says():
    ids = np.array(sorted(ASEG))
    data = np.random.default_rng(0).choice(ids, (9, 8, 7)).astype(np.float32)
    masks = region_masks(volume(data), label_table())
    assert sum(mask.astype(int) for mask in masks.values()).max() == 1
    for index in np.ndindex(data.shape):
        assert [r for r in REGIONS if masks[r][index]] == [r for r in REGIONS if ASEG[int(data[index])] == r]


@pytest.mark.parametrize(
    ("data", "tool", "message"),
    [
        ([[[2, 502, 502, 99]]], "aseg", r"expected ids of the table, found 99 \(1 voxels\), 502 \(2 voxels\)\. Is it"),
        ([[[1, 6, 9, 19]]], "aseg", r"found 1 \(1 voxels\), 6 .*another tool"),  # a map of MindGlide
        ([[[2, 41, 43]]], "mindglide", r"found 41 \(1 voxels\), 43"),
        ([[[-1, 2, 3]]], "aseg", r"found -1 \(1 voxels\)"),
        ([[list(range(600, 612))]], "aseg", "607 .* and 4 more"),
        ([[[2.0, 2.5, 3.0]]], "aseg", r"labels.nii.gz: expected whole numbers, ids of regions, found 2\.5"),
    ],
)
def test_voxels_of_unknown_meaning_are_refused_by_name(data, tool, message):
    with pytest.raises(ImageError, match=message):
        region_masks(volume(data), label_table(tool))


def test_ids_may_be_declared_as_outside_but_not_those_of_a_region():
    masks = region_masks(volume([[[2, 502]]]), label_table(outside=[502, 24]))
    assert masks["wm"].ravel().tolist() == [True, False]
    with pytest.raises(OptionError, match="found 16, which is brainstem in the table aseg"):
        label_table(outside=[16])
    with pytest.raises(OptionError, match="tool: expected one of 'aseg', 'mindglide'"):
        label_table("samseg")


def test_an_empty_region_is_listed_and_no_network_is_shown_it():
    masks = region_masks(volume([[[2, 3, 10, 4]]]), label_table())
    assert empty_regions(masks) == ["brainstem"]
    scored, brain = np.ones((2, 1, 1, 4), np.float32), np.ones((1, 1, 4), bool)
    with pytest.raises(ImageError, match="brainstem: expected voxels of the region, found none"):
        strategy_input(scored, brain, masks, "brainstem")


@pytest.mark.parametrize("strategy", regions.STRATEGIES)
def test_a_network_sees_its_region_and_one_voxel_around_with_the_scores_of_the_whole_brain(strategy):
    rng = np.random.default_rng(1)
    scored = rng.normal(size=(2, 12, 12, 12)).astype(np.float32)
    brain = np.zeros((12, 12, 12), bool)
    brain[1:11, 1:11, 1:11] = True
    masks = {region: np.zeros_like(brain) for region in REGIONS}
    for k, region in enumerate(REGIONS):
        masks[region][3 + k, 4:6, 5] = True
    seen = strategy_input(scored, brain, masks, strategy)
    mask = brain if strategy == "global" else masks[strategy]
    here = np.argwhere(mask)
    for index in np.ndindex(brain.shape):
        near = np.abs(here - index).sum(axis=1).min() <= (0 if strategy == "global" else 1)
        np.testing.assert_array_equal(seen[:, *index], scored[:, *index] if near else 0)


def test_volumes_of_a_real_label_map_are_its_counts(shared_data):
    path = shared_data / "synthseg_labels" / "training_seg_01.nii.gz"
    labels = read_volume(path)
    with pytest.raises(ImageError, match=r"found 136 \(\d+ voxels\), 137"):
        region_masks(labels, label_table())
    masks = region_masks(labels, label_table(outside=SKULL))
    ids, counts = np.unique(np.asarray(nib.load(path).dataobj), return_counts=True)
    counted = dict(zip(ids.astype(int).tolist(), (counts / 1000).tolist(), strict=True))
    volumes = regional_volumes(masks, labels.grid)
    assert volumes["brainstem_ml"] == pytest.approx(counted[16], rel=1e-5)
    assert volumes["ventricles_ml"] == pytest.approx(
        sum(counted.get(i, 0) for i in (4, 5, 14, 15, 43, 44, 72)), rel=1e-5
    )
    assert 350 < volumes["wm_ml"] < 750  # of an adult brain
    assert 400 < volumes["gm_ml"] < 800
    assert empty_regions(masks) == []
