"""Pairs of visits: known motions and lesions, the real scans of open_ms, and everything that makes no pair."""

import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from nnunet_ms.dataset_conversion.cli import main
from nnunet_ms.dataset_conversion.convert import convert
from nnunet_ms.images.volumes import Grid, read_mask, read_volume
from tests.images.moving_head import AFFINE, SHAPE, apart, image_of, motion

GRID = Grid(SHAPE, AFFINE)
MOVED = motion((3, 2, -4), (3, 2, -4))
KEPT, NEW, GROWN, RESOLVED = (25, -10, 26), (-25, -20, 24), (25, -45, 26), (-28, 20, 24)  # mm, in white matter


def ball(centre, radius, moved):
    points = np.stack([*np.indices(SHAPE), np.ones(SHAPE)], axis=-1) @ AFFINE.T @ moved.T
    return np.linalg.norm(points[..., :3] - centre, axis=-1) < radius


def visit(place, lesions, moved, seed):
    """FLAIR with bright lesions, its mask and its brain mask; the head lies at `moved`."""
    image = image_of(GRID, moved) + np.random.default_rng(seed).normal(0, 4, SHAPE).astype(np.float32)
    mask = np.zeros(SHAPE, bool)
    for centre, radius in lesions.items():
        mask |= ball(centre, radius, moved)
    image[mask] += 400
    brain = image_of(GRID, moved) > 80
    for name, data in (("flair", image + 5), ("mask", mask.astype(np.uint8)), ("brain", brain.astype(np.uint8))):
        place.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(data, AFFINE), place / f"{name}.nii.gz")


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    """A patient with two visits, the second one moved: one lesion stays, one is new, one grows, one goes."""
    root = tmp_path_factory.mktemp("pairs") / "study"
    visit(root / "P1" / "base", {KEPT: 8, GROWN: 12, RESOLVED: 8}, np.eye(4), 1)
    visit(root / "P1" / "w24", {KEPT: 8, GROWN: 13.5, NEW: 8}, MOVED, 2)
    return manifest(root, [("P1", "w24", 24), ("P1", "base", 0)])  # the order of the rows says nothing


def manifest(root, visits):
    rows = [
        {"patient_id": patient, "visit": name, "week": week}
        | {column: f"{patient}/{name}/{file}.nii.gz" for column, file in COLUMNS.items()}
        for patient, name, week in visits
    ]
    pd.DataFrame(rows).to_csv(root / "manifest.csv", index=False)
    return root / "manifest.csv"


COLUMNS = {"flair": "flair", "t2_lesions": "mask", "brain_mask": "brain"}
WORDS = {"channels": "flair", "accept": "mask_contrast", "dataset_id": 7}


@pytest.fixture(scope="module")
def pairs(trial, tmp_path_factory):
    """All four changes as labels, all three channels, on the baseline's grid."""
    raw = tmp_path_factory.mktemp("raw")
    return convert(trial, raw=raw, pairs="consecutive", target="all", pair_channels="all", **WORDS)


def test_a_pair_is_registered_subtracted_and_labelled(pairs):
    assert (pairs.cases, pairs.failures, pairs.flagged) == (("P1_w24",), (), ())
    content = json.loads((pairs.folder / "dataset.json").read_text())
    assert list(content["channel_names"].values()) == ["flair_subtraction", "flair_baseline", "flair_followup"]
    assert content["labels"] == {"background": 0, "new": 1, "enlarging": 2, "resolved": 3, "shrinking": 4}
    difference, first, second = (read_volume(pairs.folder / f"imagesTr/P1_w24_000{i}.nii.gz") for i in range(3))
    np.testing.assert_allclose(difference.grid.affine, AFFINE)
    np.testing.assert_allclose(difference.data, second.data - first.data, atol=1e-5)
    inside = first.data[first.data != 0]
    assert np.percentile(inside, [25, 50, 75]) == pytest.approx([-0.67, 0, 0.67], abs=0.3)
    # Oracle: the lesions that were drawn, at the baseline's place
    label = read_mask(pairs.folder / "labelsTr" / "P1_w24.nii.gz", labels=range(5)).data
    for value, centre in ((1, NEW), (3, RESOLVED)):
        drawn = ball(centre, 8, np.eye(4))
        assert 2 * (drawn & (label == value)).sum() / (drawn.sum() + (label == value).sum()) > 0.6
    assert (label[ball(GROWN, 8, np.eye(4))] == 0).all()
    grown = ball(GROWN, 13.5, np.eye(4)) & ~ball(GROWN, 12, np.eye(4))
    assert (label[grown] == 2).mean() > 0.5
    assert difference.data[label == 1].mean() > 1 > 0 > -1 > difference.data[label == 3].mean()


def test_the_table_and_the_record_say_how(pairs):
    row = pd.read_csv(pairs.folder / "cases.csv").set_index("case_id").loc["P1_w24"]
    assert (row["visit"], row["week"], row["baseline_visit"], row["baseline_week"]) == ("w24", 24, "base", 0)
    assert (row["registration"], row["steps"]) == ("rigid", "register subtract")
    assert row["correlation_before"] < 0.8 < 0.9 < row["correlation_after"]
    assert pd.isna(row["flag"])
    record = json.loads((pairs.folder / "provenance" / "P1_w24.json").read_text())
    found = np.array(record["target_to_followup"])
    assert apart(found, np.linalg.inv(MOVED)) < 1.75
    np.testing.assert_array_equal(record["target_to_source"], np.eye(4))


def test_predictions_return_to_the_baseline(pairs, trial, tmp_path):
    assert main(["back", str(pairs.folder), str(pairs.folder / "labelsTr"), "-o", str(tmp_path / "back")]) == 0
    returned = read_mask(tmp_path / "back" / "P1" / "base" / "P1_w24_nnunetms.nii.gz", labels=range(5))
    original = read_mask(trial.parent / "P1" / "base" / "mask.nii.gz")
    np.testing.assert_allclose(returned.grid.affine, original.grid.affine)
    written = read_mask(pairs.folder / "labelsTr" / "P1_w24.nii.gz", labels=range(5))
    np.testing.assert_array_equal(returned.data, written.data)
