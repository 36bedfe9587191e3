"""Outputs of small trials, as `nnunet-ms-endpoints run` writes them but for figures and documents."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from nnunet_ms.analysis import run_trial
from nnunet_ms.analysis.endpoints.recipe import compute_endpoints
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.settings import read_settings
from nnunet_ms.tables import write_table
from tests.analysis.synthetic_trial import SETTINGS, all_lesion_types, assessments, patients, visits, write_trial

SHORT = SETTINGS.replace("bootstrap_draws = 20", "bootstrap_draws = 0")
RULES = {"krishnan2023": 0.7, "isbi2015": 0.6}


def write_output(folder: Path, settings: str = SHORT, seed: int = 1, **changed) -> Path:
    """Compute a trial of 40 patients and write what a comparison reads; the folder of its tables is beside it."""
    table = changed.pop("patients", patients(40, seed))
    tables = {"visits": visits(table, seed + 1), "assessments": assessments(table, seed + 2), **changed}
    path = write_trial(folder.parent / f"{folder.name}_tables", settings, patients=table, **tables)
    trial = read_trial(read_settings(path))
    results = compute_endpoints(trial)
    write_table(results.endpoints, folder / "endpoints.csv")
    (folder / "index.html").touch()
    (folder / "provenance.json").write_text(json.dumps(run_trial._provenance(trial, results)))
    return folder


def write_evaluation(folder: Path, rater: str = "model", small=(41, 42, 17)) -> Path:
    """Output of `nnunet-ms-evaluate` with 100 reference lesions, so many of at most 10, at most 50 and more voxels."""
    folder.mkdir()
    rows = [
        (rater, "t2_lesions", rule, metric, mean, "" if metric.startswith("r_") else 0.1, 60, 0)
        for rule, mean in RULES.items()
        for metric in ("ppv", "tpr", "dice", "r_vol", "lppv", "ltpr", "lfpr", "r_count")
    ]
    columns = ["rater", "lesion_type", "rule", "metric", "mean", "sd", "n", "n_undefined"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "agreement.csv", index=False)
    ends = ((3, 10), (11, 50), (51, ""), (3, ""))
    sizes = [
        {"rater": rater, "lesion_type": "t2_lesions", "rule": "krishnan2023", "size_bin": name, "voxels_min": low}
        | {"voxels_max": high, "n_cases": 60, "n_patients": 20, "reference_lesions": n, "found_lesions": n}
        | {"predicted_lesions": 2 * n, "false_lesions": 0, "level": 0.95}
        for name, (low, high), n in zip(("3-10", "11-50", "51-", "all"), ends, (*small, sum(small)), strict=True)
    ]
    shares = ("reference_share", "predicted_share", "lesion_dice", "lesion_dice_found", "data_note")
    rates = [f"{rate}{end}" for rate in ("ltpr", "lfpr") for end in ("", "_low", "_high")]
    pd.DataFrame(sizes).assign(**dict.fromkeys([*shares, *rates], "")).to_csv(folder / "size_bins.csv", index=False)
    return folder


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """`first` and `second` differ in outcomes, a rater, lesion types, preset and treatment."""
    folder = tmp_path_factory.mktemp("comparison")
    write_output(folder / "first")
    table = patients(40, 5)
    settings = SHORT.replace("Synthetic trial", "Other trial").replace('["cdp24"]', '["cdp12", "cdp24"]')
    settings = settings.replace('preset = "opera2"', 'preset = "oratorio"')
    other = all_lesion_types(table).replace({"rater": {"model": "other_model"}})
    write_output(folder / "second", settings, 5, visits=other)
    return folder


@pytest.fixture
def outputs(made, tmp_path):
    """Copies that a test may damage."""
    return [Path(shutil.copytree(made / name, tmp_path / name)) for name in ("first", "second")]
