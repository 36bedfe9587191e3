import numpy as np
import pytest
from scipy import ndimage

from nnunet_ms.trainers.lesion_volumes import MAX_VOLUME_MM3, lesion_volume_map


def test_against_scipy_on_random_masks():
    # Oracle: scipy.ndimage with the 18-neighbourhood, one lesion after the other.
    rng = np.random.default_rng(0)
    for _ in range(20):
        labels = (rng.random((6, 9, 8)) < 0.25).astype(np.int8)
        labels[0, 0, :4] = -1  # outside the brain
        components, n = ndimage.label(labels > 0, ndimage.generate_binary_structure(3, 2))
        expected = np.zeros(labels.shape)
        for lesion in range(1, n + 1):
            expected[components == lesion] = np.rint(3.0 * (components == lesion).sum())
        np.testing.assert_array_equal(lesion_volume_map(labels, 3.0), expected)


def test_touching_lesion_types_are_separate_lesions():
    labels = np.zeros((1, 1, 5), np.int8)
    labels[0, 0] = [0, 1, 1, 2, 0]
    assert lesion_volume_map(labels, 3.0).ravel().tolist() == [0, 6, 6, 3, 0]


@pytest.mark.parametrize(("voxel", "expected"), [(0.2, 1), (1e6, MAX_VOLUME_MM3)])
def test_at_least_one_and_capped(voxel, expected):
    labels = np.zeros((3, 3, 3), np.int8)
    labels[1, 1, 1] = 1
    assert lesion_volume_map(labels, voxel)[1, 1, 1] == expected
