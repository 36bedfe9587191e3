"""Batches for training: their composition by counting, augmentation by its inverse, scaling by hand."""

from collections import Counter

import numpy as np
import pytest

from nnunet_ms.classification.rim import batches
from nnunet_ms.classification.rim.batches import augmented, moved, scale_of, stratified_batches
from nnunet_ms.errors import OptionError, SettingsError


def batches_of(n, n_rim, size=32, least_rim=4, seed=0):
    rim = np.zeros(n, dtype=bool)
    rim[np.random.default_rng(1).permutation(n)[:n_rim]] = True
    return rim, list(stratified_batches(rim, np.random.default_rng(seed), size, least_rim))


@pytest.mark.parametrize(
    ("n", "n_rim", "size", "least_rim"),
    [
        (1000, 42, 32, 4),
        (400, 17, 32, 4),
        (50, 2, 32, 4),
        (40, 3, 8, 4),
        (100, 50, 32, 4),
        (60, 20, 16, 8),
        (9, 8, 8, 1),
    ],
)
def test_every_batch_has_rim_lesions_and_every_other_lesion_comes_once(n, n_rim, size, least_rim):
    rim, batches = batches_of(n, n_rim, size, least_rim)
    seen = Counter(np.concatenate(batches).tolist())
    assert all(rim[batch].sum() >= least_rim for batch in batches)
    assert all(len(batch) <= size for batch in batches)
    assert {seen[i] for i in np.flatnonzero(~rim).tolist()} == {1}
    times = [seen[i] for i in np.flatnonzero(rim).tolist()]
    assert max(times) - min(times) <= 1


def test_a_common_class_keeps_its_share():
    rim, batches = batches_of(320, 160)
    assert [int(rim[batch].sum()) for batch in batches] == [16] * 10


def test_the_generator_decides_and_nothing_else():
    first, again, other = (batches_of(100, 6, seed=seed)[1] for seed in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize(("n", "n_rim"), [(30, 1), (30, 0), (5, 5)])
def test_a_training_set_that_cannot_be_learned_from(n, n_rim):
    message = rf"training set: expected 2 rim\+ lesions or more, and rim- ones, found {n_rim} rim\+ and {n - n_rim}"
    with pytest.raises(SettingsError, match=message):
        batches_of(n, n_rim)


def orientations(patch):
    """All 8 flips with 4 quarter turns in the plane, the slow way."""
    for flips in np.ndindex(2, 2, 2):
        turned = patch
        for axis, flip in enumerate(flips):
            turned = np.flip(turned, axis + 1) if flip else turned
        for turns in range(4):
            yield np.rot90(turned, turns, axes=(2, 3))


def test_an_augmented_patch_is_a_turned_one_of_other_brightness():
    generator = np.random.default_rng(0)
    patches = generator.normal(0, 1, (40, 2, 3, 4, 4)).astype(np.float32)
    before = patches.copy()
    new = augmented(patches, generator)
    assert np.array_equal(patches, before)
    factors = []
    for patch, found in zip(patches, new, strict=True):
        ratios = [(found / turned).reshape(2, -1) for turned in orientations(patch)]
        (fits, *_) = [ratio for ratio in ratios if np.ptp(ratio, axis=1).max() < 1e-5]
        factors.append(fits[:, 0])
    factors = np.array(factors)
    assert ((factors > 0.9 - 1e-6) & (factors < 1.1 + 1e-6)).all()
    assert factors.std(axis=0).min() > 0.03  # sd of the uniform one: 0.058
    assert np.abs(factors[:, 0] - factors[:, 1]).max() > 0.01  # channels on their own


def test_patches_with_another_height_than_width_are_flipped_only():
    patches = np.arange(2 * 2 * 2 * 3 * 4, dtype=np.float32).reshape(2, 2, 2, 3, 4)
    assert augmented(patches, np.random.default_rng(0)).shape == patches.shape


def test_no_augmentation_leaves_patches_as_they_are_and_a_word_that_is_none_is_named():
    patches = np.random.default_rng(0).normal(0, 1, (3, 2, 4, 8, 8)).astype(np.float32)
    new = augmented(patches, np.random.default_rng(0), "none")
    assert np.array_equal(new, patches)
    assert new is not patches
    with pytest.raises(OptionError, match="augmentation: expected one of 'none', 'flips', 'moves', found 'flip'"):
        augmented(patches, np.random.default_rng(0), "flip")


def middles(patches, extent=28.0):
    """Centres of mass of patches, (n, 3), in the unit of their edge, from their middle."""
    axes = [(np.arange(n) + 0.5 - n / 2) * extent / n for n in patches.shape[2:]]
    grids = np.stack(np.meshgrid(*axes, indexing="ij"))
    weights = patches[:, 0] / patches[:, 0].sum(axis=(1, 2, 3), keepdims=True)
    return np.einsum("nijk,aijk->na", weights, grids)


def blob(shape, place, width=3.0, extent=28.0):
    """A soft ball at a place in a cube of 28, whatever its cells."""
    axes = [(np.arange(n) + 0.5 - n / 2) * extent / n for n in shape]
    grids = np.meshgrid(*axes, indexing="ij")
    return np.exp(-sum((grid - x) ** 2 for grid, x in zip(grids, place, strict=True)) / (2 * width**2))


@pytest.mark.parametrize("shape", [(28, 28, 28), (8, 32, 32)])
def test_moved_patches_are_shifted_by_up_to_three_cells_of_28_along_each_axis(shape, monkeypatch):
    monkeypatch.setattr(batches, "TURN", 0.0)
    patches = np.broadcast_to(blob(shape, (0, 0, 0)), (200, 2, *shape)).astype(np.float32)
    moves = middles(moved(patches, np.random.default_rng(0)))
    assert 2.9 < np.abs(moves).max() < 3.05
    # uniform from -3 to 3: a standard deviation of the square root of 3, on every axis alike
    np.testing.assert_allclose(moves.std(axis=0), np.sqrt(3), rtol=0.12)
    assert np.abs(np.corrcoef(moves.T) - np.eye(3)).max() < 0.25


def test_moved_patches_are_turned_by_up_to_five_degrees(monkeypatch):
    monkeypatch.setattr(batches, "SHIFT", 0.0)
    shape, places = (28, 28, 28), np.array([[8.0, 0, 0], [0, 8.0, 0], [0, 0, 8.0]])
    found = []
    for place in places:
        patches = np.broadcast_to(blob(shape, place, 1.5), (100, 2, *shape)).astype(np.float32)
        now = middles(moved(patches, np.random.default_rng(1)))
        np.testing.assert_allclose(np.linalg.norm(now, axis=1), 8, atol=0.15)  # a turn keeps the distance
        found.append(now / 8)
    frames = np.stack(found, axis=1)  # (n, axis before, after): an orthogonal matrix of each patch
    np.testing.assert_allclose(frames @ frames.transpose(0, 2, 1), np.broadcast_to(np.eye(3), (100, 3, 3)), atol=0.03)
    angles = np.degrees(np.arccos(np.clip((np.trace(frames, axis1=1, axis2=2) - 1) / 2, -1, 1)))
    assert 5 < angles.max() < 5 * np.sqrt(3) + 0.5
    assert angles.mean() > 3


def test_both_channels_are_moved_alike_and_one_seed_gives_one_move():
    ball = blob((8, 32, 32), (1, 2, -3))
    patches = np.stack([ball, 5 * ball])[None].repeat(4, axis=0).astype(np.float32)
    new = moved(patches, np.random.default_rng(3))
    np.testing.assert_allclose(new[:, 1], 5 * new[:, 0], rtol=1e-5)
    assert np.array_equal(new, moved(patches, np.random.default_rng(3)))
    assert not np.array_equal(new, moved(patches, np.random.default_rng(4)))


def test_features_are_standardised_on_the_training_lesions_and_clipped():
    train = np.array([[1.0, 5.0, 0.1], [3.0, 5.0, 0.1], [5.0, 5.0, 0.1]])
    scaled = scale_of(train)(np.array([[3.0, 5.0, 0.1], [1.0, 9.0, 0.2], [1e6, 5.0, 0.1], [-1e6, 5.0, 0.1]]))
    sd = np.sqrt(8 / 3)
    np.testing.assert_allclose(scaled, [[0, 0, 0], [-2 / sd, 0, 0], [5, 0, 0], [-5, 0, 0]], rtol=1e-6)
    assert scaled.dtype == np.float32
