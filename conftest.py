"""Where the examples of docstrings, README and docs run: a folder of their own with small simulated data.

`reference.nii.gz` and `prediction.nii.gz` are lesion masks on one grid of 1 x 1 x 3 mm, in the folders `references` and
`predictions` as the case P1; `flair.nii.gz`, `t1.nii.gz` and `t2.nii.gz` are images, in the folder `images` as nnU-Net
names them. `study` holds the scans of three patients and their manifest, `trial` is a simulated trial without scans,
"trained" a network of nnU-Net's results, whose weights are random numbers, and "rim_data" the features of lesions of
twelve made-up patients, six with rims; an example gets these four when it names them. `np` and `pd` are
numpy and pandas.
"""

import re
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

# scripts: to collect those of docs is to run them (a test does), and two need PyRadiomics, which is not installed here
collect_ignore_glob = ["docs/*.py", "tests/*/rim/pyradiomics_reference.py", "tests/*/rim/find_triangles.py"]
AFFINE = np.diag([1.0, 1.0, 3.0, 1.0])


def draw_masks(folder: Path) -> None:
    """Three reference lesions; the model finds two of them, one shifted, and draws one that is not there."""
    reference, prediction = np.zeros((2, 24, 24, 12), dtype=np.uint8)
    reference[4:8, 4:8, 3:5] = prediction[4:8, 5:9, 3:5] = 1
    reference[14:20, 12:18, 5:9] = prediction[14:20, 12:18, 5:9] = 1
    reference[4:6, 18:20, 8:9] = 1
    prediction[20:22, 3:5, 2:3] = 1
    flair = 100 + 60 * reference + np.random.default_rng(0).normal(0, 5, reference.shape)
    images = {"t1": 250 - flair, "flair": flair, "t2": flair.max() + flair}
    masks = {"reference": reference, "prediction": prediction}
    for name, data in {**masks, **{name: image.astype(np.float32) for name, image in images.items()}}.items():
        nib.save(nib.Nifti1Image(data, AFFINE), folder / f"{name}.nii.gz")
    links = {f"images/P1_{number:04d}": name for number, name in enumerate(images)}
    for link, name in {**links, "references/P1": "reference", "predictions/P1": "prediction"}.items():
        (folder / link).parent.mkdir(exist_ok=True)
        (folder / f"{link}.nii.gz").symlink_to(folder / f"{name}.nii.gz")


def draw_study(folder: Path) -> None:
    """Three patients with one visit: FLAIR, T1 and a lesion mask each, listed in study/manifest.csv."""
    rows, generator = [], np.random.default_rng(0)
    mask = np.zeros((12, 14, 6), dtype=np.uint8)
    mask[4:7, 5:8, 2:4] = 1
    for patient in ("P1", "P2", "P3"):
        place = folder / "study" / patient
        place.mkdir(parents=True)
        for name in ("flair", "t1"):
            data = generator.normal(100, 20, mask.shape).astype(np.float32)
            nib.save(nib.Nifti1Image(data, AFFINE), place / f"{name}.nii.gz")
        nib.save(nib.Nifti1Image(mask, AFFINE), place / "mask.nii.gz")
        files = {"flair": "flair", "t1": "t1", "t2_lesions": "mask"}
        paths = {column: f"{patient}/{name}.nii.gz" for column, name in files.items()}
        rows.append({"patient_id": patient, "visit": "base", "week": 0, **paths})
    pd.DataFrame(rows).to_csv(folder / "study" / "manifest.csv", index=False)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where processes share the tests, begin with the files that have slow ones: no process ends with a long rest."""
    if hasattr(config, "workerinput"):
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: item.path not in slow)


@cache
def simulated_trial(folder: Path) -> Path:
    """A trial of 40 patients without scans; made once, when the first example asks for it."""
    from nnunet_ms.simulation.cli import main

    assert main(["trial", "--patients", "40", "-o", str(folder / "trial")]) == 0
    settings = folder / "trial" / "trial.toml"  # one outcome instead of four: seconds
    settings.write_text(re.sub("outcomes = .*", 'outcomes = ["cdp24"]', settings.read_text("utf-8")), "utf-8")
    return folder / "trial"


@cache
def random_network(folder: Path) -> Path:
    """A trained-model folder with two folds; made once, when the first example asks for it."""
    from tests.trainers.tiny_model import write_results

    (folder / "nnunet").mkdir()
    return write_results(folder / "nnunet")


@pytest.fixture(autouse=True)
def place_of_an_example(request: pytest.FixtureRequest) -> None:
    """For examples only: names, and a working folder with the data."""
    if not isinstance(request.node, pytest.DoctestItem):
        return
    folder, patch = request.getfixturevalue("tmp_path"), request.getfixturevalue("monkeypatch")
    request.getfixturevalue("doctest_namespace").update(np=np, pd=pd, Path=Path)
    draw_masks(folder)
    base = request.getfixturevalue("tmp_path_factory").getbasetemp()
    if re.search('study/|"study"', request.node.dtest.docstring):
        draw_study(folder)
    if '"trial' in request.node.dtest.docstring:  # Path("trial"), "trial/visits.csv"
        (folder / "trial").symlink_to(simulated_trial(base))
    if '"trained"' in request.node.dtest.docstring:
        (folder / "trained").symlink_to(random_network(base))
    if '"rim_data"' in request.node.dtest.docstring and "rims.csv" not in request.node.dtest.docstring:
        from tests.classification.rim.tiny_lesions import write_lesions

        write_lesions(folder / "rim_data")
    patch.chdir(folder)
