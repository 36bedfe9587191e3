"""The newcomer's scripts of docs/published: from a published tree to an evaluated model, at Tiny size."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from tests.dataset_conversion.conftest import save

DOCS = Path(__file__).resolve().parents[1] / "docs"
SHAPE, SPACING = (40, 48, 20), (4.0, 4.0, 6.0)


def head(seed):
    """Brain, lesions and three sequences of somebody: an ellipsoid with bright blobs, smooth noise; int16 and uint8."""
    rng = np.random.default_rng(seed)
    place = (np.indices(SHAPE).transpose(1, 2, 3, 0) - np.array(SHAPE) / 2) / (np.array(SHAPE) * 0.42)
    brain = (place**2).sum(-1) < 1
    lesions = np.zeros(SHAPE, bool)
    for x, y, z in rng.integers([14, 16, 7], [26, 32, 13], (4, 3)):
        lesions[x : x + 3, y : y + 3, z : z + 2] = True
    noise = ndimage.gaussian_filter(rng.normal(size=(3, *SHAPE)), (0, 1, 1, 1)) * 90
    means = (400, 300, 500)
    images = [
        np.where(brain, mean + n, 20) + s * lesions for mean, n, s in zip(means, noise, (300, 250, -150), strict=True)
    ]
    names = ("flair", "t2", "t1")
    images = {name: np.clip(one, 0, 4000).astype(np.int16) for name, one in zip(names, images, strict=True)}
    return images, (lesions & brain).astype(np.uint8), brain.astype(np.uint8)


def open_ms(root):
    for number in range(1, 5):
        images, mask, brain = head(number)
        named = {
            "FLAIR": images["flair"],
            "T2W": images["t2"],
            "T1W": images["t1"],
            "consensus_gt": mask,
            "brainmask": brain,
        }
        for name, data in named.items():
            save(root / f"cross_sectional/coregistered/patient0{number}/{name}.nii.gz", data, SPACING)


def ms3seg(root):
    for number in range(1, 5):
        images, mask, brain = head(number)
        named = {"FLAIR": images["flair"], "T1WI_reg": images["t1"]}
        for name, data in named.items():
            save(root / f"MS_100_patient_preprocessed/00{number}/00{number}_{name}.nii.gz", data, SPACING)
        save(root / f"MS_100_patient_registered/00{number}/00{number}_brain_mask.nii.gz", brain, SPACING)
        save(root / f"MS_100_patient_masks/abWMH_Masks/00{number}/00{number}_abWMH_Mask.nii.gz", mask * 255, SPACING)


WAYS = {
    "open_ms": (open_ms, "nnUNetTrainerMSMultiArmTiny", "patient04"),
    "ms3seg": (ms3seg, "nnUNetTrainerMSFlairT1Tiny", "004"),
}


@pytest.mark.parametrize("kind", WAYS)
def test_the_page_shows_the_scripts_as_they_are(kind):
    page = (DOCS / "published_to_model.md").read_text(encoding="utf-8")
    assert (DOCS / "published" / f"{kind}.sh").read_text(encoding="utf-8") in page


@pytest.mark.slow
@pytest.mark.parametrize("kind", WAYS)
def test_a_published_tree_becomes_an_evaluated_model(kind, tmp_path):
    make, trainer, tests = WAYS[kind]
    make(tmp_path / "published")
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
    truth = visits.loc[visits["rater"] == "reference", "volume_ml"].item()
    assert truth == pytest.approx(head(4)[1].sum() * np.prod(SPACING) / 1000)
