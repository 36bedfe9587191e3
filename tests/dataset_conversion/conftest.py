"""Small sources on disk: a trial of three patients with two visits each, and a BIDS data set with its tables."""

import hashlib

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from nnunet_ms.dataset_conversion.cli import main

SHAPE, SPACING = (10, 12, 6), (2.0, 2.0, 4.0)


def save(path, data, spacing=SPACING):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, np.diag([*spacing, 1.0])), path)


def tree(folder):
    """Relative path -> content hash of every file, to compare two results byte for byte."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def raw(tmp_path, monkeypatch):
    """A folder for datasets that does not exist yet, where nnU-Net's variables name none."""
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "raw"


@pytest.fixture
def trial(tmp_path):
    """Folder with manifest.csv and images; returns the manifest's path."""
    rng = np.random.default_rng(0)
    rows = []
    for patient in ("P1", "P2", "P3"):
        for visit, week in (("base", 0), ("w24", 24)):
            folder = f"images/{patient}/{visit}"
            for name in ("flair", "t2", "t1"):
                save(tmp_path / f"study/{folder}/{name}.nii.gz", rng.integers(0, 900, SHAPE).astype(np.int16))
            mask = np.zeros(SHAPE, np.uint8)
            mask[3:6, 3:6, 2:4] = 1
            save(tmp_path / f"study/{folder}/mask.nii.gz", mask)
            paths = {name: f"{folder}/{name}.nii.gz" for name in ("flair", "t2", "t1")}
            rows.append(
                {"patient_id": patient, "visit": visit, "week": week, **paths, "t2_lesions": f"{folder}/mask.nii.gz"}
            )
    manifest = tmp_path / "study" / "manifest.csv"
    pd.DataFrame(rows).to_csv(manifest, index=False)
    return manifest


@pytest.fixture
def bids_study(tmp_path):
    """Three subjects, two sessions 24 weeks apart, participants at two sites."""
    rng, root = np.random.default_rng(0), tmp_path / "bids"
    for subject in ("01", "02", "03"):
        for session in ("base", "w24"):
            stem = f"sub-{subject}/ses-{session}/anat/sub-{subject}_ses-{session}"
            save(root / f"{stem}_FLAIR.nii.gz", rng.integers(1, 900, SHAPE).astype(np.int16))
            mask = np.zeros(SHAPE, np.uint8)
            mask[3:6, 4, 2] = 1
            save(root / "derivatives" / "manual" / f"{stem}_label-lesion_mask.nii.gz", mask)
        rows = ["session_id\tacq_time\tEDSS", "ses-base\t1925-03-01T09:30:00\t2.5", "ses-w24\t1925-08-16T15:00:00\tn/a"]
        (root / f"sub-{subject}" / f"sub-{subject}_sessions.tsv").write_text("\n".join(rows) + "\n")
    (root / "participants.tsv").write_text(
        "participant_id\tage\tsex\tgroup\tcountry\tcentre\thandedness\n"
        "sub-01\t34\tfemale\tplacebo\tIT\tA\tright\nsub-02\t41\tM\tactive\tIT\tB\tn/a\nsub-03\t29\tf\tactive\tSI\tA\tleft\n"
    )
    return root


def convert_trial(manifest, raw, *more):
    return main(["trial", str(manifest), "--dataset-id", "5", "--raw", str(raw), *more])


def edit(manifest, change):
    frame = pd.read_csv(manifest, dtype=str)
    change(frame)
    frame.to_csv(manifest, index=False)


def first_image(manifest, name="flair"):
    return manifest.parent / "images" / "P1" / "base" / f"{name}.nii.gz"


def refused(trial, raw, capsys, *more):
    assert convert_trial(trial, raw, *more) == 2
    assert not list(raw.glob("Dataset*")) if raw.exists() else True
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


@pytest.fixture
def bids_folder(tmp_path):
    """Four subjects, two sessions each; masks with 1 to 8 voxels."""
    rng = np.random.default_rng(0)
    for subject in range(1, 5):
        for session in (1, 2):
            folder, stem = f"sub-{subject:02d}/ses-{session}/anat", f"sub-{subject:02d}_ses-{session}"
            for name in ("FLAIR", "T2w", "T1w", "ce-gadolinium_T1w"):
                save(tmp_path / "bids" / folder / f"{stem}_{name}.nii.gz", rng.integers(1, 900, SHAPE).astype(np.int16))
            mask = np.zeros(SHAPE, np.uint8)
            mask[1 : 1 + 2 * subject, 4, 2] = 1
            save(tmp_path / "bids/derivatives/manual" / folder / f"{stem}_label-lesion_mask.nii.gz", mask)
    return tmp_path / "bids"


def convert_bids(source, raw, *more):
    return main(["bids", str(source), "--dataset-id", "7", "--raw", str(raw), "--folds", "2", *more])
