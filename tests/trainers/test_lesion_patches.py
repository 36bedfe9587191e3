import numpy as np
import pytest

from nnunet_ms.trainers.lesion_patches import ENHANCING, UNENHANCING, patch_centres

LABELS = np.full((1, 6, 8, 8), -1)
LABELS[:, 1:5, 2:6, 2:6] = 0
LABELS[0, 2, 3, 3] = UNENHANCING
LABELS[0, 3, 4, 4:6] = ENHANCING
STORED = {1: np.argwhere(LABELS == 1), 2: np.argwhere(LABELS == 2)}


@pytest.fixture(autouse=True)
def _seed():
    np.random.seed(0)  # noqa: NPY002 - what nnU-Net draws from


def draws(locations, share, times=400):
    return [patch_centres(locations, LABELS, share) for _ in range(times)]


def test_both_kinds_are_offered_so_that_nnunet_takes_each_half_of_the_time():
    assert all(set(found) == {UNENHANCING, ENHANCING} for found in draws(STORED, 0.25))


def test_a_share_of_the_other_half_is_free_and_inside_the_brain():
    centres = [found[UNENHANCING] for found in draws(STORED, 0.25)]
    free = [c for c in centres if not np.array_equal(c, STORED[1])]
    assert len(free) / len(centres) == pytest.approx(0.25, abs=5 * np.sqrt(0.25 * 0.75 / 400))
    assert all(LABELS[tuple(c[0])] >= 0 for c in free)
    assert len({tuple(c[0]) for c in free}) > 20


def test_enhancing_voxels_stay_as_stored():
    assert np.array_equal(draws(STORED, 1.0, 1)[0][ENHANCING], STORED[2])


def test_without_an_enhancing_lesion_only_the_other_side_is_offered():
    assert all(set(found) == {UNENHANCING} for found in draws({1: STORED[1], 2: []}, 0.25, 20))


def test_without_any_lesion_every_patch_is_free():
    found = draws({}, 0.0, 20)
    assert all(set(f) == {UNENHANCING} and f[UNENHANCING].shape == (1, 4) for f in found)


def test_an_image_without_brain_gives_a_voxel_all_the_same():
    found = patch_centres({}, np.full((1, 3, 3, 3), -1), 0.0)[UNENHANCING]
    assert found.shape == (1, 4)
    assert np.all((found >= 0) & (found < 3))
