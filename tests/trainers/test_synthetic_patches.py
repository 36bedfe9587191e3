"""Synthetic patches in the place of loaded ones: shape, labels, scaling, what is refused."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from nnunet_ms.errors import OptionError
from nnunet_ms.images.volumes import Grid
from nnunet_ms.synthesis.label_maps import prepare_map
from nnunet_ms.synthesis.lesion_masks import prepare_mask
from nnunet_ms.synthesis.patches import synthetic_patch
from nnunet_ms.trainers.synthetic_patches import T1_LABELS, SyntheticPatches

GRID = Grid((48, 48, 48), np.diag([1.0, 1, 1, 1]) - np.outer([24, 24, 24, 0], [0, 0, 0, 1]))


def ball(radius, centre=(24, 24, 24)):
    axes = np.ogrid[0:48, 0:48, 0:48]
    return sum((axis - c) ** 2 for axis, c in zip(axes, centre, strict=True)) <= radius**2


@pytest.fixture(scope="module")
def head():
    labels = np.where(ball(21), 3, 0)
    labels[ball(19)] = 2
    return prepare_map(labels, GRID, from_mni=np.eye(4))


@pytest.fixture(scope="module")
def lesions():
    return [prepare_mask(ball(5, (30, 24, 24)), GRID, np.eye(4))]


def patch(shape=(20, 24, 28), channels=2):
    return {"image": torch.full((channels, *shape), 7.0), "segmentation": torch.full((1, *shape), 3, dtype=torch.int16)}


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (4.0, 1.0, 1.0), (1.5, 0.8, 0.8)])
def test_patches_have_the_shape_of_those_they_replace_and_scores_of_their_brain(head, lesions, spacing):
    np.random.seed(0)  # noqa: NPY002 - as nnU-Net seeds
    change = SyntheticPatches([head], lesions, ("flair", "t1"), spacing, probability=1.0, lesion_share=1.0)
    made = change(**patch())
    assert made["image"].shape == (2, 20, 24, 28)
    assert made["image"].dtype == torch.float32
    assert set(made["segmentation"].unique().tolist()) == {0, 1}
    for channel in made["image"]:
        inside = channel[channel != 0]
        assert float(inside.mean()) == pytest.approx(0, abs=0.02)
        assert float(inside.std()) == pytest.approx(1, abs=0.02)
    # Oracle: lesions are bright on FLAIR.
    lesion = made["segmentation"][0] == 1
    assert float(made["image"][0][lesion].mean()) > 0.5


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 1.0, 1.0)])
def test_a_second_channel_holds_the_volume_of_each_lesion(head, lesions, spacing):
    np.random.seed(3)  # noqa: NPY002
    both = {"image": torch.zeros(1, 12, 24, 24), "segmentation": torch.zeros(2, 12, 24, 24, dtype=torch.int16)}
    made = SyntheticPatches([head], lesions, ("flair",), spacing, probability=1.0, lesion_share=1.0)(**both)
    label, volumes = made["segmentation"].numpy()
    parts, count = ndimage.label(label == 1, ndimage.generate_binary_structure(3, 2))
    expected = [max(1, round((parts == n).sum() * np.prod(spacing))) for n in range(1, count + 1)]
    assert count >= 1
    assert [set(volumes[parts == n].tolist()) for n in range(1, count + 1)] == [{one} for one in expected]
    assert not volumes[parts == 0].any()


def test_a_probability_of_zero_changes_nothing_and_a_half_about_half(head):
    np.random.seed(1)  # noqa: NPY002
    never, often = (SyntheticPatches([head], [], ("flair", "t1"), probability=p) for p in (0.0, 0.5))
    assert bool((never(**patch())["image"] == 7).all())
    replaced = [not bool((often(**patch((6, 6, 6)))["image"] == 7).all()) for _ in range(30)]
    assert 6 <= sum(replaced) <= 24


def test_labels_of_joint_t1_leave_lesions_out_that_t1_does_not_show(head, lesions):
    change = SyntheticPatches([head], lesions, ("t1", "t1post"), labels=T1_LABELS, lesion_share=1.0)
    seen = set()
    for seed in range(40):  # one lesion enhances in one scan of ten
        seen |= set(change.drawn((16, 16, 16), np.random.default_rng(seed))[1].unique().tolist())
    assert seen == {0, 1, 2}


@pytest.mark.parametrize("size", [(16, 16, 16), (70, 30, 60)])
def test_a_patch_may_be_larger_than_the_head(head, lesions, size):
    made = synthetic_patch(head, lesions, size, np.random.default_rng(0), ("flair",))
    assert made.images["flair"].shape == made.lesion.shape == made.brain.shape == size


def test_channels_and_heads_that_do_not_fit_are_refused(head):
    with pytest.raises(OptionError, match="expected one per channel of the patch, found 1 for 2"):
        SyntheticPatches([head], [], ("flair",), probability=1.0)(**patch())
    with pytest.raises(OptionError, match="at least one prepared label map"):
        SyntheticPatches([], [], ("flair",))
    with pytest.raises(OptionError, match="from 0 to 1"):
        SyntheticPatches([head], [], ("flair",), probability=2)
