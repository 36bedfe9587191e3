"""A small trial on disk: three patients, two visits each, three sequences and a mask."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

SHAPE, SPACING = (10, 12, 6), (2.0, 2.0, 4.0)


def save(path, data, spacing=SPACING):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, np.diag([*spacing, 1.0])), path)


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
