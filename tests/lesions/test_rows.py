import numpy as np
import pytest
from scipy import ndimage

from nnunet_ms.errors import OptionError, SettingsError
from nnunet_ms.lesions.labelling import find_lesions
from nnunet_ms.lesions.rows import box_columns, lesion_columns, lesions_in
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


def test_a_table_of_the_lesions_of_a_mask(write_nifti):
    # Oracle: the rows above, of the same mask; by default those of krishnan2023, 18-connected and at least 3 voxels.
    mask = random_pair(2)[0]
    path = write_nifti("mask.nii.gz", mask.astype(np.uint8), affine=AFFINE)
    expected = lesions_of(mask)
    for given, geometry in ((path, {}), (str(path), {}), (mask, {"affine": AFFINE})):
        table = lesions_in(given, **geometry)
        assert table["voxels"].tolist() == [int(lesion.sum()) for lesion in expected]
        assert list(table.columns) == [*NAMES, *(f"{a}_{end}" for end in ("first", "last") for a in "xyz")]
        assert table["x_mm"].tolist() == pytest.approx(
            [5 - 0.9 * np.argwhere(one)[:, 0].mean() for one in expected], abs=1e-5
        )
    assert len(lesions_in(mask, spacing=(1, 1, 1), minimum_voxels=1)) == len(lesions_of(mask, 1)) > len(expected)
    six = ndimage.generate_binary_structure(3, 1)
    found = lesions_in(mask, spacing=(1, 1, 1), connectivity=6, minimum_voxels=1)
    assert len(found) == len(lesions_of(mask, 1, six)) > len(lesions_of(mask, 1))


def test_a_label_no_lesion_and_no_connectivity():
    labels = np.zeros((5, 5, 5), dtype=np.uint8)
    labels[0, 0, :3], labels[3, 3, :4] = 1, 2
    assert lesions_in(labels, spacing=(1, 1, 1), label=2)["voxels"].tolist() == [4]
    assert len(lesions_in(np.zeros((5, 5, 5)), spacing=(1, 1, 1))) == 0
    with pytest.raises(OptionError, match="connectivity: expected 6, 18 or 26, found 8"):
        lesions_in(labels, spacing=(1, 1, 1), connectivity=8)
    with pytest.raises(SettingsError, match="mask: an array needs spacing or affine"):
        lesions_in(labels)
