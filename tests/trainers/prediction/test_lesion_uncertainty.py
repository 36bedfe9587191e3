"""Oracles: SciPy's labelling with plain loops, hand-made masks."""

import numpy as np
import pytest
from scipy import ndimage

from nnunet_ms.images.volumes import Grid
from nnunet_ms.lesions.labelling import without_small
from nnunet_ms.trainers.prediction.lesion_uncertainty import (
    label_sample,
    lesion_rows,
    lesion_structural_uncertainty,
    patient_row,
    patient_structural_uncertainty,
    structural_uncertainty,
)

GRID = Grid((12, 14, 10), np.array([[-1, 0, 0, 5], [0, 2, 0, -3], [0, 0, 3, 7], [0, 0, 0, 1.0]]))
EIGHTEEN = ndimage.generate_binary_structure(3, 2)  # by face and edge


def labelled(*masks):
    return [label_sample(mask, GRID) for mask in masks]


def lesions_of(mask, minimum=3):
    return without_small(label_sample(mask, GRID), minimum)


def random_mask(seed, share=0.12):
    return np.random.default_rng(seed).random(GRID.shape) < share


def components(mask):
    """Flat indices in C order of each component, in the order of their first voxels."""
    labels, count = ndimage.label(mask, EIGHTEEN)
    return sorted((set(np.flatnonzero(labels == label).tolist()) for label in range(1, count + 1)), key=min)


def naive_lsu(mask, samples):
    """The definition, with sets of voxels."""
    lesions = [lesion for lesion in components(mask) if len(lesion) >= 3]
    best = [
        [max((len(a & b) / len(a | b) for b in components(sample)), default=0) for sample in samples] for a in lesions
    ]
    return [1 - np.mean(row) for row in best]


def test_rows_are_of_scipys_components_in_scan_order():
    # Oracle: SciPy's components, means over np.argwhere and over one boolean image per lesion.
    mask, values = random_mask(0), np.random.default_rng(9).random(GRID.shape).astype(np.float32)
    rows = lesion_rows(lesions_of(mask), labelled(mask, mask), values, {"entropy": values})
    expected = [lesion for lesion in components(mask) if len(lesion) >= 3]
    assert len(rows) == len(expected) > 5
    assert rows["lesion_id"].tolist() == list(range(1, len(expected) + 1))
    for row, lesion in zip(rows.to_dict("records"), expected, strict=True):
        here = np.zeros(GRID.shape, bool)
        here.ravel()[list(lesion)] = True
        assert (row["voxels"], row["volume_ml"]) == (len(lesion), pytest.approx(len(lesion) * 0.006))
        x, y, z = np.argwhere(here).mean(axis=0)
        assert [row["x_mm"], row["y_mm"], row["z_mm"]] == pytest.approx([5 - x, 2 * y - 3, 3 * z + 7])
        assert row["mean_probability"] == row["entropy_mean"] == pytest.approx(values[here].mean())
        assert row["entropy_log_sum"] == pytest.approx(np.log(values[here].astype(float)).sum())


@pytest.mark.parametrize("seed", range(3))
def test_lsu_and_psu_equal_the_definition(seed):
    mask = random_mask(seed)
    samples = [mask ^ random_mask(seed + 50 + n, 0.05) for n in range(3)]
    lsu, psu = structural_uncertainty(lesions_of(mask), labelled(*samples))
    assert lsu == pytest.approx(naive_lsu(mask, samples))
    assert np.unique(lsu).size > 5
    whole = [set().union(*(part for part in components(one) if len(part) >= 3)) for one in (mask, *samples)]
    assert psu == pytest.approx(1 - np.mean([len(whole[0] & one) / len(whole[0] | one) for one in whole[1:]]))


def test_lsu_by_hand():
    mask = np.zeros(GRID.shape, bool)
    mask[1:5, 1, 1] = True
    half, gone, larger = mask.copy(), np.zeros_like(mask), mask.copy()
    half[3:5] = False
    larger[1:5, 2, 1] = True
    samples = labelled(mask, half, gone, larger)
    # IoU 1, 1/2, 0 and 1/2
    assert lesion_structural_uncertainty(lesions_of(mask), samples).tolist() == [0.5]
    assert patient_structural_uncertainty(lesions_of(mask), samples) == 0.5


def test_equal_samples_have_no_structural_uncertainty():
    (one,) = labelled(random_mask(4))
    assert lesion_structural_uncertainty(one, [one] * 3).tolist() == [0.0] * one.count
    assert patient_structural_uncertainty(one, [one] * 3) == 0


@pytest.mark.parametrize("size", [2, 3])
def test_psu_drops_a_samples_component_below_the_filter(size):
    # By hand: samples of the lesion of 4 voxels and a component beside it, dropped at 2 voxels, counted at 3.
    mask = np.zeros(GRID.shape, bool)
    mask[1:5, 1, 1] = True
    sample = mask.copy()
    sample[1 : 1 + size, 8, 8] = True
    lsu, psu = structural_uncertainty(lesions_of(mask), labelled(sample, sample))
    assert (lsu.tolist(), psu) == ([0.0], pytest.approx(0 if size == 2 else 1 - 4 / 7))


def test_one_sample_cannot_disagree_so_nothing_is_said():
    mask = random_mask(4)
    assert np.isnan(lesion_structural_uncertainty(lesions_of(mask), labelled(mask))).all()
    assert np.isnan(patient_structural_uncertainty(lesions_of(mask), labelled(mask)))


def test_empty_masks():
    empty = np.zeros(GRID.shape, bool)
    samples, probability = labelled(empty, empty), empty.astype(np.float32)
    rows = lesion_rows(lesions_of(empty), samples, probability, {"entropy": probability})
    assert len(rows) == 0
    assert "entropy_log_sum" in rows
    row = patient_row(lesions_of(empty), samples, probability, {}, empty)
    assert (row["lesion_count"], row["volume_ml"], row["psu"]) == (0, 0, 0)
    assert np.isnan(row["mean_lsu"])


def test_measures_of_a_lesion_by_hand():
    mask = np.zeros(GRID.shape, bool)
    mask[2:5, 3, 3] = True
    entropy = np.zeros(GRID.shape, np.float32)
    entropy[2:5, 3, 3] = [0.5, 0.25, 0.0]
    rows = lesion_rows(lesions_of(mask), labelled(mask, mask), mask.astype(np.float32), {"entropy": entropy})
    (row,) = rows.to_dict("records")
    assert row["entropy_mean"] == pytest.approx(0.25)
    assert row["entropy_log_sum"] == pytest.approx(np.log(0.5) + np.log(0.25) + np.log(1e-12))
    assert row["entropy_log_mean"] == pytest.approx(row["entropy_log_sum"] / 3)


def test_patient_numbers_by_hand():
    mask = np.zeros(GRID.shape, bool)
    mask[2:6, 3, 3] = True
    smaller = mask.copy()
    smaller[5] = False
    content = np.ones(GRID.shape, bool)
    row = patient_row(lesions_of(mask), labelled(mask, smaller), 0.5 * mask.astype(np.float32), {}, content)
    assert row["expected_volume_ml"] == pytest.approx(2 * 0.006)
    assert row["volume_ml"] == pytest.approx(4 * 0.006)
    assert row["volume_ml_sd"] == pytest.approx(np.std([0.024, 0.018], ddof=1))
    assert row["lesion_count_sd"] == 0
    assert row["psu"] == pytest.approx(1 - (1 + 3 / 4) / 2)
    assert row["content_voxels"] == content.size
