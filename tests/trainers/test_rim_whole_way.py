"""Lesions with rims from scans to a trial's strata, by the commands that a user types, at the smallest size."""

import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from nnunet_ms import tables
from nnunet_ms.simulation.simulate import simulate
from tests.lesions.test_rims import ball

pytestmark = pytest.mark.slow
SHAPE, SPACING = (40, 48, 12), (1.0, 1.0, 3.0)
TRAIN, TEST, WEEKS = 4, 6, (0, 24)
TRAINER = ("-tr", "nnUNetTrainerMSRimTiny", "-p", "nnUNetPlansMS")


def write_scan(folder, patient, week, number):
    """A visit with two lesions, bright on FLAIR; on QSM one is grey, the other has a bright shell, which is drawn."""
    rng = np.random.default_rng([number, week])
    lesion = ball(SHAPE, (12, 14, 5), 6.0, SPACING)
    with_rim = ball(SHAPE, (27, 32, 6), 7.0, SPACING)
    inner = ball(SHAPE, (27, 32, 6), 5.0, SPACING)
    rim = with_rim & ~inner
    data = {
        "qsm": rng.normal(0, 10, SHAPE) + 80 * rim,
        "flair": rng.normal(100, 5, SHAPE) + 80 * (lesion | with_rim),
        "lesions": lesion | with_rim,
        "rim_mask": rim,
    }
    row = {"patient_id": patient, "visit": f"w{week}", "week": week}
    for name, values in data.items():
        row[name] = f"{patient}_{week}_{name}.nii.gz"
        kind = np.uint8 if values.dtype == bool else np.float32
        nib.save(nib.Nifti1Image(values.astype(kind), np.diag([*SPACING, 1.0])), folder / row[name])
    return row


@pytest.fixture(scope="module")
def way(tmp_path_factory):
    """Everything that the commands write: `trial` has the clinical tables, `predicted` masks and tables, `report`."""
    root = tmp_path_factory.mktemp("rims")
    simulate(root / "trial", patients=60, seed=2)
    patients = pd.read_csv(root / "trial" / "patients.csv").groupby("arm").head((TRAIN + TEST) // 2)
    names = patients["patient_id"].tolist()
    for name in ("patients", "assessments", "relapses"):
        table = pd.read_csv(root / "trial" / f"{name}.csv")
        table[table["patient_id"].isin(names)].to_csv(root / "trial" / f"{name}.csv", index=False)
    (root / "trial" / "trial.toml").unlink()
    (root / "trial" / "visits.csv").unlink()
    tested = [*patients.groupby("arm")["patient_id"].nth(list(range(TEST // 2)))]
    rows = [
        write_scan(root, patient, week, number)
        for number, patient in enumerate(names)
        for week in (WEEKS if patient in tested else WEEKS[:1])
    ]
    pd.DataFrame(rows).to_csv(root / "manifest.csv", index=False)
    clean = {name: value for name, value in os.environ.items() if not name.lower().startswith("nnunet")}
    for name in ("raw", "preprocessed", "results"):
        (root / name).mkdir()
        clean[f"nnUNet_{name}"] = str(root / name)
    environment = {**clean, "nnUNet_def_n_proc": "1", "nnUNet_n_proc_DA": "0", "MPLBACKEND": "agg"}

    def run(command, *arguments):
        nnunet = [str(Path(sys.executable).parent / command)]
        ours = [sys.executable, "-m", "nnunet_ms", command.removeprefix("nnunet-ms-")]
        line = [*(nnunet if command.startswith("nnUNet") else ours), *map(str, arguments)]
        done = subprocess.run(line, env=environment, capture_output=True, text=True, cwd=root)
        assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    run("nnunet-ms-convert", "trial", "manifest.csv", "--target", "rim", "--channels", "qsm,flair", "--dataset-id", 7,
        "--folds", 2, "--test-patients", ",".join(tested))  # fmt: skip
    run("nnUNetv2_plan_and_preprocess", "-d", 7, "-pl", "nnUNetPlannerMS", "-npfp", 1, "-np", 1)
    printed = run("nnUNetv2_train", 7, "3d_fullres", 0, *TRAINER, "-device", "cpu")
    assert "with lesions: {'core': 2, 'rim': 2}" in printed
    raw = next((root / "raw").glob("Dataset007_*"))
    run("nnunet-ms-predict", "-i", raw / "imagesTs", "-o", "predicted", "-d", 7, "-f", 0, *TRAINER, "-device", "cpu",
        "--mc-samples", 0, "--no-tta", "--cases", raw / "cases.csv", "--threshold", 0.4, "--rim-threshold", 0.4,
        "--no-pictures")  # fmt: skip
    labels = pd.read_csv(root / "predicted" / "rim_lesions.csv")[["patient_id", "visit", "lesion_id"]]
    labels.assign(label=np.arange(len(labels)) % 2).to_csv(root / "labels.csv", index=False)
    run("nnunet-ms-rim", "evaluate", "segmented=predicted/rim_lesions.csv", "--labels", "labels.csv",
        "-o", "evaluation", "--data-note", "simulated")  # fmt: skip
    run("nnunet-ms-endpoints", "init", "trial/trial.toml", "--visits", "predicted/visits.csv")
    settings = (root / "trial" / "trial.toml").read_text().replace("bootstrap_draws = 2000", "bootstrap_draws = 0")
    (root / "trial" / "trial.toml").write_text(settings)
    run("nnunet-ms-endpoints", "run", "trial/trial.toml", "-o", "report")
    return root


def test_visits_count_the_lesions_that_are_called_rim_positive(way):
    visits = tables.read_table(way / "predicted" / "visits.csv", tables.VISITS)
    lesions = pd.read_csv(way / "predicted" / "rim_lesions.csv")
    counts = lesions.groupby(["patient_id", "visit"])["rim"].sum()
    keys = list(zip(visits["patient_id"], visits["visit"], strict=True))
    assert len(keys) == TEST * len(WEEKS)
    assert visits["prl_count"].tolist() == [int(counts.get(key, 0)) for key in keys]
    assert (lesions["rim"] == (lesions["probability"] >= 0.4)).all()
    # Oracle: the decision by its definition, from the written mask and map, for a lesion that is one component
    from scipy import ndimage

    for case in visits["case_id"]:
        mask, p = (
            np.asarray(nib.load(way / "predicted" / name).dataobj)
            for name in (f"{case}.nii.gz", f"probability/{case}_rim.nii.gz")
        )
        rims = np.asarray(nib.load(way / "predicted" / "rim" / f"{case}.nii.gz").dataobj)
        assert mask.shape == p.shape == rims.shape == SHAPE
        assert not (rims.astype(bool) & (mask != 2)).any()
        _, components = ndimage.label(mask > 0, ndimage.generate_binary_structure(3, 2))
        assert components >= visits.set_index("case_id").loc[case, "lesion_count"]


def test_the_evaluation_reads_what_the_prediction_wrote(way):
    results = pd.read_csv(way / "evaluation" / "results.csv")
    assert set(results["model"]) == {"segmented"}
    lesions = pd.read_csv(way / "predicted" / "rim_lesions.csv")
    counts = pd.read_csv(way / "evaluation" / "counts.csv")
    assert counts["predicted"].sum() == lesions["rim"].sum()
    assert counts["counted"].sum() == len(lesions) // 2


def test_the_trial_has_each_patients_count_from_the_model(way):
    listing = pd.read_csv(way / "report" / "audit" / "prl_counts.csv").set_index("patient_id")
    visits = pd.read_csv(way / "predicted" / "visits.csv").query("week == 0").set_index("patient_id")
    known = listing[listing["prl_count"].notna()]
    assert sorted(known.index) == sorted(visits.index)
    assert known["prl_count"].to_dict() == visits["prl_count"].to_dict()
    assert set(known["source"]) == {"visits, model"}
    assert (listing.loc[listing["prl_count"].isna(), "prl_stratum"] == "missing").all()
    endpoints = pd.read_csv(way / "report" / "endpoints.csv")
    rows = endpoints[endpoints["analysis"] == "cox_by_prl_stratum"]
    assert rows["method"].str.contains(f"as counted in visits, model ({TEST} patients)", regex=False).all()
    assert len(rows)
