"""`docs/tables.md` against its script, and the script against what the commands write."""

import ast
import importlib.util
import sys
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from nnunet_ms import vocabulary
from nnunet_ms.analysis.endpoints_cli import main as endpoints
from nnunet_ms.analysis.evaluate_cli import main as evaluate
from nnunet_ms.analysis.measure_cli import main as measure
from nnunet_ms.analysis.trial.outcomes import OUTCOMES
from nnunet_ms.dataset_conversion.cli import main as convert
from nnunet_ms.simulation.cli import main as simulate
from nnunet_ms.trainers.predict_cli import main as predict
from tests.trainers.tiny_model import write_images, write_model

ROOT = Path(__file__).resolve().parents[1]


@cache
def script():
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("make_tables", ROOT / "docs" / "make_tables.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_tables"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def outputs():
    return [output for chapter in script().CHAPTERS.values() for output in chapter]


def test_the_page_is_what_the_script_makes():
    assert (ROOT / "docs" / "tables.md").read_text(encoding="utf-8") == script().page(), "python docs/make_tables.py"


def test_every_table_of_the_package_is_on_the_page():
    names = set()
    for path in (ROOT / "nnunet_ms").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = getattr(node, "func", None)
            if isinstance(node, ast.Call) and getattr(called, "id", getattr(called, "attr", "")) == "Table":
                names.add(node.args[0].value)
    assert names == {output.table.name for output in outputs() if output.table}


def test_the_vocabulary_has_no_name_that_no_table_has():
    used = {key for output in outputs() for name in output.columns for key in (name, f"{output.sense}.{name}")}
    assert set(vocabulary.COLUMNS) <= used


# columns that come with options and data which this small run does not have
NOT_HERE = {
    "cases.csv": {
        *("rewritten", "absent", "site", "source", "steps", "psu_plus"),
        *("baseline_visit", "baseline_week", "registration"),
        *("correlation_before", "correlation_after", "flag", "lesions_lost", "prl_count"),
        *("calibrated_volume_ml", "calibrated_lower_ml", "calibrated_upper_ml", "volume_calibration_note"),
    },
    "lesions.csv": {"lsu_plus", "uncertainty", "rim_score", "rim_share", "rim"},
    "visits.csv": {
        *("prl_count", "new_or_enlarging_lesion_count", "new_or_enlarging_volume_ml"),
        *("resolved_or_shrinking_lesion_count", "resolved_or_shrinking_volume_ml"),
    },
    "patients.csv": {"discontinuation_reason", "randomisation_date", "prl_count", "disability_risk"},
    "assessments.csv": {
        *("date", "t25fw_unable", "nhpt_unable", "t25fw_1_s", "t25fw_2_s"),
        *("nhpt_dominant_1_s", "nhpt_dominant_2_s", "nhpt_other_1_s", "nhpt_other_2_s"),
    },
    "relapses.csv": {"date"},
    "manifest.csv": {"site", "lesions", "labels", "rim_mask"},
    "adsl.csv": {"PRLBL"},
}


def dictionary(chapter):
    return {output.file: output for output in script().CHAPTERS[chapter]}


def check(chapter, file, folder, found_in=None, *, more=()):
    """The columns of a file are those of the dictionary: none unknown, none that never comes."""
    output = dictionary(chapter)[file]
    names = set(pd.read_csv(folder / (found_in or file), nrows=0).columns) - set(more)
    starred = {name for name in output.columns if "*" in name}
    plain = {name for name in names if not name.startswith(tuple(star.removesuffix("*") for star in starred) or "*")}
    assert plain <= set(output.columns), (chapter, file)
    assert set(output.columns) - starred - plain <= NOT_HERE.get(Path(file).name, set()), (chapter, file)


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables") / "trial"
    assert simulate(["trial", "--patients", "4", "--images", "--qsm", "-o", str(folder)]) == 0
    return folder


@pytest.mark.slow
def test_simulated_trials(trial):
    for file in dictionary("nnunet-ms-simulate"):
        check("nnunet-ms-simulate", file, trial)
    for file in set(dictionary("Input: the trial")) - {"region_names.csv", "volumes.csv"}:  # no part of a trial
        check("Input: the trial", file, trial)


@pytest.mark.slow
def test_endpoints(trial, tmp_path):
    assert endpoints(["run", str(trial / "trial.toml"), "-o", str(tmp_path / "report")]) == 0
    curves = [name for name in dictionary("nnunet-ms-endpoints run") if "OUTCOME" in name]
    audit = [f"audit/{name}.csv" for name in ("exclusions", "rater_pairs", "t2_volume_percent_change")]
    for file in ("endpoints.csv", *audit):
        check("nnunet-ms-endpoints run", file, tmp_path / "report")
    for file in curves:
        check("nnunet-ms-endpoints run", file, tmp_path / "report", file.replace("OUTCOME", "cdp24"))
    listed = {output.file.split("/")[-1] for output in dictionary("nnunet-ms-endpoints run").values()}
    outcomes = {f"{name}.csv" for name in OUTCOMES}
    assert {path.name for path in (tmp_path / "report" / "audit").glob("*.csv")} - outcomes <= listed


@pytest.mark.slow
def test_conversion_and_evaluation_of_two_models(trial, tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    arguments = ["--dataset-id", "801", "--test-patients", "P001,P002", "--folds", "2"]
    assert convert(["trial", str(trial / "manifest.csv"), *arguments]) == 0
    (raw,) = tmp_path.glob("Dataset801*")
    check("nnunet-ms-convert", "cases.csv", raw)
    labels = raw / "labelsTs"
    (tmp_path / "shifted").mkdir()
    for path in sorted(labels.iterdir()):
        image = nib.load(path)
        shifted = np.roll(np.asanyarray(image.dataobj), 1, axis=0)
        nib.save(nib.Nifti1Image(shifted, image.affine, image.header), tmp_path / "shifted" / path.name)
    models = ["--predictions", f"same={labels}", "--predictions", f"shifted={tmp_path / 'shifted'}"]
    beside = [f"--region={name}={labels}" for name in ("ventricles", "cortex", "infratentorial")]
    (tmp_path / "names.csv").write_text("label,name\n1,somewhere\n", encoding="utf-8")
    beside += [f"--region-labels={labels}", f"--region-names={tmp_path / 'names.csv'}"]
    beside += [f"--lesion-auc=same={labels}", f"--lesion-auc=shifted={tmp_path / 'shifted'}", f"--map=drawn={labels}"]
    out = tmp_path / "evaluation"
    paths = ["--references", str(labels), "--cases", str(raw / "cases.csv"), "-o", str(out)]
    assert evaluate([*models, *paths, *beside]) == 0
    raters = [f"same={labels}", f"shifted={tmp_path / 'shifted'}"]
    assert evaluate(["--raters", *raters, *paths[2:4], "-o", str(tmp_path / "raters")]) == 0
    for file in dictionary("nnunet-ms-evaluate --raters"):
        check("nnunet-ms-evaluate --raters", file, tmp_path / "raters")
    for file in dictionary("nnunet-ms-evaluate"):
        if not file.startswith(("uncertainty/", "cohorts")):
            check("nnunet-ms-evaluate", file, out, more={"drawn"})
    assert evaluate(["--cohorts", f"a={out}", f"b={out}", "-o", str(tmp_path / "cohorts")]) == 0
    check("nnunet-ms-evaluate", "cohorts.csv", tmp_path / "cohorts")
    assert measure([str(labels), "--cases", str(raw), *beside[:3], beside[-1], "-o", str(tmp_path / "measured")]) == 0
    for file in dictionary("nnunet-ms-measure"):
        check("nnunet-ms-measure", file, tmp_path / "measured", more={"drawn"})


@pytest.mark.slow
def test_prediction_and_its_uncertainty(model_folder, tmp_path):
    images, out = write_images(tmp_path / "images"), tmp_path / "predicted"
    options = [
        "-device",
        "cpu",
        "-f",
        "0",
        "1",
        "--mc-samples",
        "2",
        "--no-pictures",
        "--fold-thresholds",
        "0.4",
        "0.5",
    ]
    assert predict(["-i", str(images), "-o", str(out), "-m", str(model_folder), *options]) == 0
    for file in dictionary("nnunet-ms-predict"):
        if file != "rim_lesions.csv":  # of models of rims alone; tests/trainers/prediction/test_rim_tables.py
            check("nnunet-ms-predict", file, out)
    arguments = ["--predictions", str(out), "--references", str(out), "--uncertainty", str(out)]
    assert evaluate([*arguments, "-o", str(tmp_path / "evaluation")]) == 0
    for file in dictionary("nnunet-ms-evaluate"):
        if file.startswith("uncertainty/"):
            check("nnunet-ms-evaluate", file, tmp_path / "evaluation")


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("nnunet")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("raw", "preprocessed", "results"):
            (root / name).mkdir()
            patch.setenv(f"nnUNet_{name}", str(root / name))
        preprocessed = root / "preprocessed" / "Dataset001_Test" / "nnUNetPlansMS_3d_fullres"
        preprocessed.mkdir(parents=True)
        (preprocessed / "case.b2nd").touch()  # tells nnU-Net the format of the preprocessed cases
        patch.setenv("nnUNet_compile", "f")
        return write_model(root / "results" / "Dataset001_Test")
