"""The newcomer's scripts of docs/published: from a published tree to an evaluated model, at Tiny size."""

import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from tests.dataset_conversion.conftest import save

DOCS = Path(__file__).resolve().parents[1] / "docs"
COARSE = 3  # voxels of 1 mm that become one


def coarse(path, *, mirrored):
    """A real image of 1 mm with voxels of 3 mm, left and right exchanged for a patient more."""
    data = np.asarray(nib.load(path).dataobj)
    if mirrored:
        data = data[::-1]
    shape = [n // COARSE for n in data.shape]
    blocks = data[tuple(slice(COARSE * n) for n in shape)].reshape([k for n in shape for k in (n, COARSE)])
    mean = blocks.mean((1, 3, 5))
    return (mean >= 0.5).astype(np.uint8) if data.dtype == np.uint8 else np.clip(mean, 0, None).astype(np.int16)


def open_ms(root, shared_data):
    """Two real patients and their mirror images under the published names, coarse."""
    names = {"FLAIR": "FLAIR", "T2w": "T2W", "T1w": "T1W", "lesion": "consensus_gt"}
    patients = [(patient, mirrored) for patient in ("patient07", "patient26") for mirrored in (False, True)]
    for number, (patient, mirrored) in enumerate(patients, start=1):
        place = root / f"cross_sectional/coregistered/patient0{number}"
        source = shared_data / "open_ms_cross_sectional" / patient
        for ours, theirs in names.items():
            data = coarse(source / f"{ours}.nii.gz", mirrored=mirrored)
            save(place / f"{theirs}.nii.gz", data, (COARSE,) * 3)
            if ours == "FLAIR":
                save(place / "brainmask.nii.gz", (data > 0).astype(np.uint8), (COARSE,) * 3)


def ms3seg(root, shared_data):
    """Four real patients under the published names."""
    forms = {
        "FLAIR": "MS_100_patient_preprocessed/{p}/{p}_FLAIR",
        "T1w": "MS_100_patient_preprocessed/{p}/{p}_T1WI_reg",
        "brain": "MS_100_patient_registered/{p}/{p}_brain_mask",
        "lesion": "MS_100_patient_masks/abWMH_Masks/{p}/{p}_abWMH_Mask",
    }
    for patient in ("101228", "104670", "104899", "106639"):
        for name, form in forms.items():
            target = root / f"{form.format(p=patient)}.nii.gz"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(shared_data / "ms3seg" / patient / f"{name}.nii.gz")


WAYS = {
    "open_ms": (open_ms, "nnUNetTrainerMSMultiArmTiny", "patient04"),
    "ms3seg": (ms3seg, "nnUNetTrainerMSFlairT1Tiny", "106639"),
}


@pytest.mark.parametrize("kind", WAYS)
def test_the_page_shows_the_scripts_as_they_are(kind):
    page = (DOCS / "published_to_model.md").read_text(encoding="utf-8")
    assert (DOCS / "published" / f"{kind}.sh").read_text(encoding="utf-8") in page


@pytest.mark.slow
@pytest.mark.parametrize("kind", WAYS)
def test_a_published_tree_becomes_an_evaluated_model(kind, tmp_path, shared_data):
    make, trainer, tests = WAYS[kind]
    make(tmp_path / "published", shared_data)
    clean = {name: value for name, value in os.environ.items() if not name.lower().startswith("nnunet")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    small = {
        "TRAINER": trainer,
        "TEST_PATIENTS": tests,
        "nnUNet_n_proc_DA": "0",
        "nnUNet_def_n_proc": "1",
        "PATH": path,
    }
    script = DOCS / "published" / f"{kind}.sh"
    done = subprocess.run(
        ["bash", str(script), "published", "work"],
        cwd=tmp_path,
        env=clean | small,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    agreement = pd.read_csv(tmp_path / "work/evaluation/agreement.csv")
    assert {"dice", "ltpr"} <= set(agreement["metric"])
    visits = pd.read_csv(tmp_path / "work/evaluation/visits.csv", dtype={"patient_id": str})
    assert set(visits["patient_id"]) == {tests}
    assert set(visits["rater"]) == {"reference", trainer}
    (mask,) = (tmp_path / "published").rglob(
        f"{tests}*/consensus_gt.nii.gz" if kind == "open_ms" else f"{tests}_abWMH*"
    )
    image = nib.load(mask)
    parts, number = ndimage.label(image.get_fdata() > 0, ndimage.generate_binary_structure(3, 2))
    voxels = [
        count for count in np.bincount(parts.ravel())[1:] if count >= 3
    ]  # smaller ones are no lesions by the rule
    truth = visits.loc[visits["rater"] == "reference", "volume_ml"].item()
    assert truth == pytest.approx(sum(voxels) * np.prod(image.header.get_zooms()) / 1000, rel=1e-5)
    assert 0 < len(voxels) <= number
