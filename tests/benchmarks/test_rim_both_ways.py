"""Lesions of masks and of a segmenter are matched by their voxels."""

import numpy as np
import pytest

from benchmarks.rim_both_ways import most_of, shell_means

MASKS = np.array([[1, 1, 1, 0, 2, 2, 0, 3]])
SEGMENTED = {
    "one each": ([[1, 1, 0, 0, 2, 2, 0, 3]], [1, 2, 3]),
    "not found": ([[0, 0, 0, 1, 0, 2, 0, 0]], [0, 2, 0]),
    "two in one": ([[1, 2, 2, 0, 0, 0, 0, 0]], [2, 0, 0]),
    "one over two": ([[4, 4, 4, 4, 4, 4, 0, 0]], [4, 4, 0]),
    "equal shares": ([[0, 0, 0, 0, 2, 1, 0, 0]], [0, 1, 0]),
    "nothing segmented": ([[0] * 8], [0, 0, 0]),
}


@pytest.mark.parametrize(("segmented", "wanted"), SEGMENTED.values(), ids=SEGMENTED.keys())
def test_a_lesion_takes_the_segmented_one_with_most_of_its_voxels(segmented, wanted):
    assert most_of(MASKS, np.array(segmented)).tolist() == wanted


def test_no_lesion_in_the_mask():
    assert most_of(np.zeros((2, 2), int), np.ones((2, 2), int)).tolist() == []


def test_the_mean_is_of_the_shell_alone():
    numbers = np.zeros((7, 7, 7), np.int32)
    numbers[1:6, 1:6, 1:6] = 1
    probability = np.full(numbers.shape, 0.25)
    probability[2:5, 2:5, 2:5] = 0.75  # inside of the outermost voxels
    assert shell_means(numbers, probability, (1.0, 1.0, 1.0)).tolist() == [0.25]
