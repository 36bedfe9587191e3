"""Targets with two classes in a trial, and the checks around enhancing lesions."""

import json

import numpy as np
import pandas as pd
import pytest

from nnunet_ms.dataset_conversion.cli import main
from nnunet_ms.dataset_conversion.labels import signed_change
from nnunet_ms.images.volumes import read_mask
from tests.dataset_conversion.conftest import SHAPE, save

JOINT = "t1_unenhancing,t1_enhancing"


@pytest.fixture
def joint(trial):
    """The small trial with t1post and two masks that share one voxel; the first visit also has a brain mask."""
    frame = pd.read_csv(trial, dtype=str)
    rng = np.random.default_rng(1)
    brain, first, second = (np.zeros(SHAPE, np.uint8) for _ in range(3))
    brain[1:9, 1:10], first[2:4, 5, 3], second[3:6, 5, 3] = 1, 1, 1
    for folder in frame["flair"].str.removesuffix("/flair.nii.gz"):
        base = trial.parent / folder
        save(base / "t1post.nii.gz", rng.integers(0, 900, SHAPE).astype(np.int16))
        for name, data in (("brain", brain), ("unenhancing", first), ("enhancing", second)):
            save(base / f"{name}.nii.gz", data)
    names = {"t1post": "t1post", "brain_mask": "brain", "t1_unenhancing": "unenhancing", "t1_enhancing": "enhancing"}
    for column, name in names.items():
        frame[column] = frame["flair"].str.replace("flair", name, regex=False)
    frame.to_csv(trial, index=False)
    return trial


def convert(manifest, raw, *more):
    arguments = ["--target", JOINT, "--channels", "t1,t1post", "--dataset-id", "5", "--raw", str(raw)]
    return main(["trial", str(manifest), *arguments, *more])


def test_two_masks_become_two_labels_enhancing_wins_and_the_overlap_is_counted(joint, tmp_path, capsys):
    assert convert(joint, tmp_path / "raw") == 0
    folder = tmp_path / "raw" / "Dataset005_Trial"
    assert json.loads((folder / "dataset.json").read_text())["labels"] == {
        "background": 0,
        "unenhancing": 1,
        "enhancing": 2,
    }
    label = read_mask(folder / "labelsTr" / "P1_base.nii.gz", labels=(0, 1, 2)).data
    assert label[2:6, 5, 3].tolist() == [1, 2, 2, 2]
    assert int((label > 0).sum()) == 4
    assert "P1_base: 1 voxels marked by several of t1_unenhancing, t1_enhancing; t1_enhancing wins" in (
        capsys.readouterr().out
    )


def test_one_labelled_mask_in_both_columns_is_copied(joint, tmp_path):
    frame = pd.read_csv(joint, dtype=str)
    for path in frame["t1_enhancing"]:
        data = np.zeros(SHAPE, np.uint8)
        data[3, 5, 3], data[4, 5, 3] = 1, 2
        save(joint.parent / path, data)
    frame["t1_unenhancing"] = frame["t1_enhancing"]
    frame.to_csv(joint, index=False)
    assert convert(joint, tmp_path / "raw") == 0
    written = tmp_path / "raw" / "Dataset005_Trial" / "labelsTr" / "P1_base.nii.gz"
    assert written.read_bytes() == (joint.parent / frame["t1_enhancing"][0]).read_bytes()


def test_enhancing_mask_outside_the_brain_is_listed(joint, tmp_path, capsys):
    outside = np.zeros(SHAPE, np.uint8)
    outside[0, 0, :3] = 1
    save(joint.parent / "images/P1/base/enhancing.nii.gz", outside)
    assert convert(joint, tmp_path / "raw") == 1
    assert "expected the enhancing mask inside the brain mask" in capsys.readouterr().err


def test_post_contrast_image_that_is_the_pre_contrast_one_is_listed(joint, tmp_path, capsys):
    folder = joint.parent / "images/P1/base"
    (folder / "t1post.nii.gz").write_bytes((folder / "t1.nii.gz").read_bytes())
    assert convert(joint, tmp_path / "raw") == 1
    assert "expected t1post, found the voxels of t1" in capsys.readouterr().err


def test_other_pairs_of_targets_are_refused(joint, tmp_path, capsys):
    assert convert(joint, tmp_path / "raw", "--target", "t2_lesions,t1_enhancing") == 2
    assert f"expected one mask, or {JOINT}" in capsys.readouterr().err


def test_signed_change_of_two_blobs_and_of_nothing():
    # Oracle: made so; one component gains 50, the other loses 50, and the scanner's gain differs between visits.
    rng = np.random.default_rng(0)
    baseline = rng.normal(100, 5, (20, 20, 10)).astype(np.float32)
    followup = baseline.copy()
    change = np.zeros(baseline.shape, np.uint8)
    change[2:5, 2:5, 2:5], change[12:15, 12:15, 5:8] = 1, 1
    followup[2:5, 2:5, 2:5] += 50
    followup[12:15, 12:15, 5:8] -= 50
    signed = signed_change(change, baseline, 3 * followup + 40, np.ones(baseline.shape, bool))
    assert np.unique(signed[2:5, 2:5, 2:5]).tolist() == [1]
    assert np.unique(signed[12:15, 12:15, 5:8]).tolist() == [2]
    assert not signed_change(np.zeros_like(change), baseline, followup, np.ones(baseline.shape, bool)).any()
