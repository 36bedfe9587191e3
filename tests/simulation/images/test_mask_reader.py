"""The simulated reader against counts by SciPy."""

import numpy as np
import pytest
from scipy import ndimage

from nnunet_ms.simulation.images.mask_reader import Reader, read_again

SPACING = (1.0, 1.0, 3.0)
EIGHTEEN = ndimage.generate_binary_structure(3, 2)
PERFECT = Reader(miss_small=0, miss_large=0, invented_share=0, border_sd_mm=0)


@pytest.fixture
def mask():
    """Twenty-five lesions of 4 voxels and four of 5 x 5 x 3."""
    mask = np.zeros((60, 60, 20), dtype=bool)
    for x in range(5, 30, 5):
        for y in range(5, 30, 5):
            mask[x : x + 2, y : y + 2, 4] = True
    for x, y in ((40, 10), (40, 40), (50, 25), (20, 45)):
        mask[x : x + 5, y : y + 5, 8:11] = True
    return mask


def test_a_perfect_reader_repeats_the_mask(mask):
    again = read_again(mask, np.ones_like(mask), SPACING, np.random.default_rng(0), PERFECT)
    np.testing.assert_array_equal(again, mask)


def test_the_same_seed_gives_the_same_mask_and_another_another(mask):
    tissue = np.ones_like(mask)
    first, same, other = (read_again(mask, tissue, SPACING, np.random.default_rng(s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


def test_small_lesions_are_missed_and_large_ones_kept(mask):
    reader = Reader(miss_small=1.0, miss_large=0, invented_share=0, border_sd_mm=0)
    again = read_again(mask, np.ones_like(mask), SPACING, np.random.default_rng(0), reader)
    assert ndimage.label(again, structure=EIGHTEEN)[1] == 4


def test_invented_lesions_are_small_and_away_from_true_ones(mask):
    reader = Reader(miss_small=0, miss_large=0, invented_share=0.5, border_sd_mm=0)
    extra = read_again(mask, np.ones_like(mask), SPACING, np.random.default_rng(0), reader) & ~mask
    _, count = ndimage.label(extra, structure=np.ones((3, 3, 3)))
    assert 5 < count < 27  # Poisson with mean 14.5
    assert not (ndimage.binary_dilation(extra) & mask).any()


def test_a_generous_reader_draws_wider_and_a_strict_one_tighter(mask):
    wide, tight = (
        read_again(mask, np.ones_like(mask), SPACING, np.random.default_rng(0), reader)
        for reader in (
            Reader(miss_small=0, miss_large=0, invented_share=0, bias_mm=0.8),
            Reader(miss_small=0, miss_large=0, invented_share=0, bias_mm=-0.8),
        )
    )
    assert tight.sum() < mask.sum() < wide.sum()


def test_no_lesion_and_nothing_outside_tissue(mask):
    empty = np.zeros_like(mask)
    assert not read_again(empty, ~empty, SPACING, np.random.default_rng(0)).any()
    tissue = np.zeros_like(mask)
    tissue[:30] = True
    assert not read_again(mask, tissue, SPACING, np.random.default_rng(0))[30:].any()
