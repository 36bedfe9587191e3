"""Small sources on disk: a trial of three patients with two visits each, and a BIDS data set with its tables."""

import hashlib

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

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
