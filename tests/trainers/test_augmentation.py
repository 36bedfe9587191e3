import numpy as np
import pytest
import torch

from nnunet_ms.trainers.augmentation import training_transforms

SCALES = [[1, 1, 1], [1, 0.5, 0.5], [0.5, 0.25, 0.25]]


def sample(in_plane_only, n=30, mirror_axes=None):
    """Patches of a scene whose image is its own label map, so that image and labels can be compared."""
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - what batchgeneratorsv2 draws from
    transforms = training_transforms((8, 32, 32), SCALES, in_plane_only, [0], mirror_axes)
    labels = torch.zeros(2, 8 if in_plane_only else 12, 44, 44, dtype=torch.int16)
    labels[0, 2:6, 15:30, 12:28] = 1
    labels[1] = labels[0] * 700
    image = labels[:1].float()
    return [transforms(image=image.clone(), segmentation=labels.clone()) for _ in range(n)]


@pytest.mark.parametrize("in_plane_only", [True, False])
def test_labels_volumes_and_image_move_together(in_plane_only):
    for patch in sample(in_plane_only):
        finest = patch["segmentation"][0]
        assert torch.equal(finest[0] * 700, finest[1])
        assert ((patch["image"][0] > 0.5) != (finest[0] == 1)).float().mean() < 0.02


@pytest.mark.parametrize("in_plane_only", [True, False])
def test_shapes_of_the_supervised_levels(in_plane_only):
    patch = sample(in_plane_only, n=1)[0]
    assert [tuple(s.shape) for s in patch["segmentation"]] == [(2, 8, 32, 32), (2, 8, 16, 16), (2, 4, 8, 8)]
    assert tuple(patch["image"].shape) == (1, 8, 32, 32)


def test_about_half_of_the_patches_are_deformed():
    patches = [p["image"] for p in sample(in_plane_only=True, n=200)]
    plain = next(p for p in patches if sum(torch.equal(p, q) for q in patches) > 1)
    untouched = sum(torch.equal(plain, p) for p in patches)
    assert 75 <= untouched <= 125  # binomial(200, 1/2): p < 5e-4 outside


def test_about_half_of_the_patches_are_mirrored_with_their_labels():
    # undeformed patches are recognised by being the same or mirror images of each other
    patches = sample(in_plane_only=True, n=200, mirror_axes=(2,))
    untouched = next(p for p in patches if sum(torch.equal(p["image"], q["image"]) for q in patches) > 1)["image"]
    mirrored = sum(torch.equal(untouched.flip(3), p["image"]) for p in patches)
    as_they_are = sum(torch.equal(untouched, p["image"]) for p in patches)
    assert not torch.equal(untouched, untouched.flip(3))
    assert 28 <= mirrored <= 72  # binomial(200, 1/4): p < 5e-4 outside
    assert 28 <= as_they_are <= 72
    for patch in patches:
        assert ((patch["image"][0] > 0.5) != (patch["segmentation"][0][0] == 1)).float().mean() < 0.02
