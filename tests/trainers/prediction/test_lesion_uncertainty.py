"""Oracles: lesions of the analysis room, SciPy's labelling with plain loops, hand-made masks."""

import numpy as np
import pytest
from scipy import ndimage

from nnunet_ms.images.volumes import Grid, Volume
from nnunet_ms.lesions.labelling import find_lesions, lesion_table
from nnunet_ms.trainers.prediction.lesion_uncertainty import (
    best_overlap,
    label_lesions,
    lesion_rows,
    lesion_structural_uncertainty,
    patient_row,
    patient_structural_uncertainty,
)

GRID = Grid((12, 14, 10), np.array([[-1, 0, 0, 5], [0, 2, 0, -3], [0, 0, 3, 7], [0, 0, 0, 1.0]]))


def random_mask(seed, share=0.12):
    return np.random.default_rng(seed).random(GRID.shape) < share


def naive_best_overlap(lesions, sample):
    neighbours = ndimage.generate_binary_structure(3, 2)  # by face and edge: 18
    others, count = ndimage.label(sample, neighbours)
    best = []
    for lesion in range(1, lesions.voxels.size + 1):
        here = lesions.labels == lesion
        ious = [(here & (others == o)).sum() / (here | (others == o)).sum() for o in range(1, count + 1)]
        best.append(max(ious, default=0.0))
    return best


def test_lesions_are_those_of_the_evaluation_in_the_same_order(tmp_path):
    mask = random_mask(0)
    expected = lesion_table(find_lesions(Volume(mask.astype(np.uint8), GRID, tmp_path), 18, 3))
    lesions = label_lesions(mask)
    rows = lesion_rows(lesions, [mask, mask], mask.astype(np.float32), {}, GRID)
    assert len(rows) == len(expected) > 5
    for name in ("lesion_id", "voxels", "volume_ml", "x_mm", "y_mm", "z_mm"):
        assert np.allclose(rows[name], expected[name]), name


@pytest.mark.parametrize("seed", range(3))
def test_best_overlap_equals_plain_loops(seed):
    lesions = label_lesions(random_mask(seed))
    sample = random_mask(seed) ^ random_mask(seed + 50, 0.05)
    assert np.allclose(best_overlap(lesions, sample), naive_best_overlap(lesions, sample))


def test_lsu_by_hand():
    mask = np.zeros(GRID.shape, bool)
    mask[1:5, 1, 1] = True
    half, gone, larger = mask.copy(), np.zeros_like(mask), mask.copy()
    half[3:5] = False
    larger[1:5, 2, 1] = True
    lesions = label_lesions(mask)
    # IoU 1, 1/2, 0 and 1/2
    assert lesion_structural_uncertainty(lesions, [mask, half, gone, larger]).tolist() == [0.5]
    assert patient_structural_uncertainty(mask, [mask, half, gone, larger]) == 0.5


def test_equal_samples_have_no_structural_uncertainty():
    mask = random_mask(4)
    assert (
        lesion_structural_uncertainty(label_lesions(mask, 1), [mask] * 3).tolist()
        == [0.0] * label_lesions(mask, 1).voxels.size
    )
    assert patient_structural_uncertainty(mask, [mask] * 3) == 0


def test_one_sample_cannot_disagree_so_nothing_is_said():
    mask = random_mask(4)
    assert np.isnan(lesion_structural_uncertainty(label_lesions(mask), [mask])).all()
    assert np.isnan(patient_structural_uncertainty(mask, [mask]))


def test_empty_masks():
    empty = np.zeros(GRID.shape, bool)
    rows = lesion_rows(
        label_lesions(empty), [empty, empty], empty.astype(np.float32), {"entropy": empty.astype(np.float32)}, GRID
    )
    assert len(rows) == 0
    assert "entropy_log_sum" in rows
    row = patient_row(label_lesions(empty), [empty, empty], empty.astype(np.float32), {}, empty, GRID)
    assert (row["lesion_count"], row["volume_ml"], row["psu"]) == (0, 0, 0)
    assert np.isnan(row["mean_lsu"])


def test_measures_of_a_lesion_by_hand():
    mask = np.zeros(GRID.shape, bool)
    mask[2:5, 3, 3] = True
    entropy = np.zeros(GRID.shape, np.float32)
    entropy[2:5, 3, 3] = [0.5, 0.25, 0.0]
    (row,) = lesion_rows(
        label_lesions(mask), [mask, mask], mask.astype(np.float32), {"entropy": entropy}, GRID
    ).to_dict("records")
    assert row["entropy_mean"] == pytest.approx(0.25)
    assert row["entropy_log_sum"] == pytest.approx(np.log(0.5) + np.log(0.25) + np.log(1e-12))
    assert row["entropy_log_mean"] == pytest.approx(row["entropy_log_sum"] / 3)


def test_patient_numbers_by_hand():
    mask = np.zeros(GRID.shape, bool)
    mask[2:6, 3, 3] = True
    smaller = mask.copy()
    smaller[5] = False
    content = np.ones(GRID.shape, bool)
    row = patient_row(label_lesions(mask), [mask, smaller], 0.5 * mask.astype(np.float32), {}, content, GRID)
    assert row["expected_volume_ml"] == pytest.approx(2 * 0.006)
    assert row["volume_ml"] == pytest.approx(4 * 0.006)
    assert row["volume_ml_sd"] == pytest.approx(np.std([0.024, 0.018], ddof=1))
    assert row["lesion_count_sd"] == 0
    assert row["psu"] == pytest.approx(1 - (1 + 3 / 4) / 2)
    assert row["content_voxels"] == content.size
