"""Masks on the grids of the inputs, on grids drawn by hand: what lies between thick slices is told."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from nnunet_ms.dataset_conversion.cases import Case
from nnunet_ms.segmentation.masks_back import write_masks
from nnunet_ms.segmentation.prepared_scans import Prepared


def scan(folder: Path, lesions, steps=()):
    """A case whose T1 has a slice at every fourth voxel of FLAIR, with a predicted mask."""
    mask = np.zeros((8, 8, 16), np.uint8)
    for x, y, z in lesions:
        mask[x, y, z] = 1
    thick = np.diag([1.0, 1.0, 4.0, 1.0])
    nib.save(nib.Nifti1Image(np.zeros((8, 8, 16), np.float32), np.eye(4)), folder / "flair.nii.gz")
    nib.save(nib.Nifti1Image(np.zeros((8, 8, 4), np.float32), thick), folder / "t1.nii.gz")
    (folder / "predictions" / "probability").mkdir(parents=True)
    nib.save(nib.Nifti1Image(mask, np.eye(4)), folder / "predictions" / "P1.nii.gz")
    grid = {"shape": [8, 8, 16], "affine": np.eye(4).tolist()}
    record = folder / "P1.json"
    record.write_text(
        json.dumps({"steps": list(steps), "grid": grid, "source_grid": grid, "target_to_source": np.eye(4).tolist()})
    )
    images = {name: folder / f"{name}.nii.gz" for name in ("flair", "t1")}
    return Prepared(Case("P1", "", None, images, None), images, record, ())


@pytest.mark.parametrize(
    ("lesions", "lost"),
    [
        ([(2, 2, 4)], 0),  # on a slice
        ([(2, 2, 6)], 1),  # half-way between two: the nearest voxel of the slices at 4 and 8 is another
        ([(2, 2, 6), (5, 5, 8)], 1),
        ([(2, 2, 5), (5, 5, 7), (5, 2, 10)], 3),
        ([(2, 2, 3), (2, 2, 4), (2, 2, 5)], 0),  # one lesion that a slice cuts
        ([], 0),
    ],
)
def test_lesions_between_the_slices_of_an_input_are_told(tmp_path, lesions, lost):
    notes, failures = write_masks([scan(tmp_path, lesions)], tmp_path / "predictions", tmp_path / "out")
    assert failures == []
    own = np.asarray(nib.load(tmp_path / "out" / "masks" / "t1" / "P1.nii.gz").dataobj)
    assert own.shape == (8, 8, 4)
    assert own.sum() == sum(z % 4 == 0 for _, _, z in lesions)
    count = len(lesions) if len({(x, y) for x, y, _ in lesions}) == len(lesions) else 1
    expected = f"P1: t1: {lost} of {count} lesions lie between its voxels and are not in its mask; the tables have them"
    assert notes == ([expected] if lost else [])


@pytest.mark.parametrize(("threshold", "expected"), [(0.5, [2]), (0.75, [2]), (0.25, [2, 3])])
def test_masks_of_a_resampled_scan_come_back_by_their_probability(tmp_path, threshold, expected):
    one = scan(tmp_path, [(x, y, z) for x in (4, 5) for y in range(8) for z in range(8)], [{"step": "resample"}])
    # FLAIR has voxels of 2 mm, and the prepared grid is one of 1 mm whose voxels lie half a millimetre beside theirs
    coarse = np.array([[2, 0, 0, 0.5], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    nib.save(nib.Nifti1Image(np.zeros((4, 8, 16), np.float32), coarse), tmp_path / "flair.nii.gz")
    probability = np.zeros((8, 8, 16), np.float32)
    probability[4:6], probability[6] = 0.8, 0.6
    nib.save(nib.Nifti1Image(probability, np.eye(4)), tmp_path / "predictions" / "probability" / "P1.nii.gz")
    _, failures = write_masks([one], tmp_path / "predictions", tmp_path / "out", threshold=threshold)
    assert failures == []
    found = np.asarray(nib.load(tmp_path / "out" / "masks" / "flair" / "P1.nii.gz").dataobj)
    # at 4.5 mm lie 0.8 and 0.8, at 6.5 mm 0.6 and nothing
    assert sorted(set(np.nonzero(found)[0].tolist())) == expected


def test_specks_that_the_tables_do_not_count_are_no_lesions(tmp_path):
    found = [(2, 2, 5), (5, 5, 5), (5, 5, 6), (5, 5, 7)]  # one voxel, and three in a row between two slices
    scan_of = scan(tmp_path, found)
    how = {"predictions": tmp_path / "predictions", "out": tmp_path / "out"}
    (told,), _ = write_masks([scan_of], **how, minimum_voxels=3)
    assert told.startswith("P1: t1: 1 of 1 lesions lie between its voxels")
    (told,), _ = write_masks([scan_of], **how)
    assert told.startswith("P1: t1: 2 of 2 lesions")
