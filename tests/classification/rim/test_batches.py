"""Batches for training: their composition by counting, augmentation by its inverse, scaling by hand."""

from collections import Counter

import numpy as np
import pytest

from nnunet_ms.classification.rim.batches import augmented, scale_of, stratified_batches
from nnunet_ms.errors import SettingsError


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


def test_features_are_standardised_on_the_training_lesions_and_clipped():
    train = np.array([[1.0, 5.0, 0.1], [3.0, 5.0, 0.1], [5.0, 5.0, 0.1]])
    scaled = scale_of(train)(np.array([[3.0, 5.0, 0.1], [1.0, 9.0, 0.2], [1e6, 5.0, 0.1], [-1e6, 5.0, 0.1]]))
    sd = np.sqrt(8 / 3)
    np.testing.assert_allclose(scaled, [[0, 0, 0], [-2 / sd, 0, 0], [5, 0, 0], [-5, 0, 0]], rtol=1e-6)
    assert scaled.dtype == np.float32
