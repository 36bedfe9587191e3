import numpy as np
import pytest

from nnunet_ms.lesions.labelling import find_lesions
from nnunet_ms.lesions.rows import box_columns, lesion_columns
from tests.lesions.naive_matching import lesions_of, random_pair, volume

AFFINE = np.array([[-0.9, 0, 0, 5], [0, 1.1, 0, -3], [0, 0, 3, 1], [0, 0, 0, 1.0]])
NAMES = ["lesion_id", "voxels", "volume_ml", "x_mm", "y_mm", "z_mm"]


@pytest.mark.parametrize("seed", range(12))
def test_rows_against_one_boolean_volume_per_lesion(seed):
    # Oracle: scipy.ndimage.label and np.argwhere.
    mask = random_pair(seed)[0]
    lesions = find_lesions(volume(mask, AFFINE), 18, 3)
    columns, box = lesion_columns(lesions), box_columns(lesions)
    expected = lesions_of(mask)
    assert list(columns) == NAMES
    assert columns["lesion_id"].tolist() == list(range(1, len(expected) + 1))
    for row, lesion in enumerate(expected):
        index = np.argwhere(lesion)
        assert columns["voxels"][row] == len(index)
        assert columns["volume_ml"][row] == pytest.approx(len(index) * 0.9 * 1.1 * 3 / 1000)
        x, y, z = index.mean(axis=0)
        place = [columns[f"{axis}_mm"][row] for axis in "xyz"]
        assert place == pytest.approx([5 - 0.9 * x, 1.1 * y - 3, 3 * z + 1])
        for axis, name in enumerate("xyz"):
            corners = (box[f"{name}_first"][row], box[f"{name}_last"][row])
            assert corners == (index[:, axis].min(), index[:, axis].max())


def test_no_lesion_no_row():
    lesions = find_lesions(volume(np.zeros((4, 4, 4))))
    assert {len(column) for column in (*lesion_columns(lesions).values(), *box_columns(lesions).values())} == {0}
