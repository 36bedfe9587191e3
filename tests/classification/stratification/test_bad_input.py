"""Oracle: what a user may get wrong ends in one line of the package's own, and leaves nothing in the way."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from nnunet_ms.classification.stratification.baselines import baseline_predictions
from nnunet_ms.classification.stratification.explain_models import explain_cohort
from nnunet_ms.classification.stratification.patient_risk import add_disability_risk
from nnunet_ms.classification.stratification.prepared_folder import read_prepared
from nnunet_ms.classification.stratification.survival_evaluation import evaluate_survival, has_survival
from nnunet_ms.classification.stratification.survival_models import load_survival_model, train_survival_models
from nnunet_ms.classification.stratification.survival_predictions import predict_survival
from nnunet_ms.classification.stratification.survival_tables import COVARIATES, curve_rows, read_survival
from nnunet_ms.classification.stratification.train_models import train_disability_models
from nnunet_ms.classification.stratify_cli import main
from nnunet_ms.errors import ModelError, NnunetMsError, OptionError, SettingsError, TableError
from tests.classification.stratification.tiny_cohort import tiny_cohort

FAST = {"network": "compact", "small": True, "folds": 3, "epochs": 1, "augmentation": False, "tell": lambda line: None}
WEEKS = range(0, 157, 12)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Prepared scans, and assessments in which those with a bright scan progress after half a year to a year."""
    folder = tmp_path_factory.mktemp("study")
    prepared = tiny_cohort(folder / "prepared", lacking=("P03",))
    scans = pd.read_csv(prepared / "scans.csv")
    scans.assign(scan_day=0).to_csv(prepared / "scans.csv", index=False)
    rows = [(f"P{k:02d}", week, 2.0 + (k % 2 and week >= 24 + 12 * (k % 3))) for k in range(12) for week in WEEKS]
    pd.DataFrame(rows, columns=["patient_id", "week", "edss"]).to_csv(folder / "assessments.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def survival(study):
    train_survival_models(study / "prepared", study / "survival", study / "assessments.csv", ["wm"], **FAST)
    return study / "survival"


@pytest.fixture(scope="module")
def models(study):
    train_disability_models(study / "prepared", study / "models", ["wm"], **FAST)
    return study / "models"


OPTIONS = [
    ("strategies", None, "strategies: expected different words, at least one, found None"),
    ("strategies", [], "strategies: expected different words, at least one, found \\[\\]"),
    ("strategies", 3, "strategies: expected different words, at least one, found 3"),
    ("strategies", ["wm", "wm"], "strategies: expected different words, .* Name each once"),
    ("strategies", "globl", "strategies: expected one of .* Did you mean 'global'"),
    ("folds", "7", "folds: expected a whole number >= 1, found '7'"),
    ("folds", None, "folds: expected a whole number >= 1, found None"),
    ("folds", True, "folds: expected a whole number >= 1, found True"),
    ("folds", float("nan"), "folds: expected a whole number >= 1, found nan"),
    ("folds", 2, "folds: expected three"),
    ("device", None, "device: expected cpu, cuda or cuda:N, found None"),
    ("device", "gpu", "device: expected cpu, cuda or cuda:N, found 'gpu'"),
    ("learning_rate", 0, "learning_rate: expected a number above 0, found 0"),
    ("coarser", 7, "blocks of 7 voxels"),
    ("network", "resnet", "network: expected one of"),
]


@pytest.mark.parametrize(("name", "value", "words"), OPTIONS)
@pytest.mark.parametrize("task", ["disability", "survival"])
def test_an_option_that_cannot_be_leaves_no_folder_behind(study, tmp_path, task, name, value, words):
    how = {"strategies": ["wm"], **FAST, name: value}
    told = [study / "prepared", tmp_path / "out", *([study / "assessments.csv"] if task == "survival" else [])]
    with pytest.raises(NnunetMsError, match=words):
        (train_survival_models if task == "survival" else train_disability_models)(*told, **how)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("value", [0, True, 2.5, "6"])
def test_a_number_of_intervals_is_checked_before_the_folder_is_claimed(study, tmp_path, value):
    with pytest.raises(OptionError, match="intervals: expected a whole number >= 1"):
        train_survival_models(
            study / "prepared", tmp_path / "out", study / "assessments.csv", ["wm"], intervals=value, **FAST
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("value", [0, True, float("nan"), 9999, "52"])
def test_a_length_of_intervals_is_checked_before_the_folder_is_claimed(study, tmp_path, value):
    with pytest.raises(OptionError, match="interval_weeks: expected 1 to 156"):
        train_survival_models(
            study / "prepared", tmp_path / "out", study / "assessments.csv", ["wm"], interval_weeks=value, **FAST
        )
    assert not (tmp_path / "out").exists()


def test_a_region_that_nobody_has_is_said_before_the_folder_is_claimed(tmp_path):
    prepared = tiny_cohort(tmp_path / "prepared", 6, lacking=tuple(f"P{k:02d}" for k in range(6)))
    with pytest.raises(SettingsError, match="ventricles: expected scans with the region, found none of 6"):
        train_disability_models(prepared, tmp_path / "out", ["wm", "ventricles"], **FAST)
    assert not (tmp_path / "out").exists()


def set_first(column, value):
    def change(scans):
        return scans.astype({column: object}).assign(**{column: [value, *scans[column].iloc[1:]]})

    return change


ALTERED = {
    "a path": (set_first("case_id", "../../elsewhere"), "row 1, column case_id: expected a plain name"),
    "a hidden file": (set_first("case_id", ".hidden"), "row 1, column case_id: expected a plain name"),
    "a scan twice": (lambda scans: scans.assign(patient_id="P00"), "patient_id P00, visit v0 stands twice"),
    "not its EDSS": (set_first("edss", 6.5), "row 1, column disabled: expected 1, as EDSS 6.5 tells, found 0"),
    "EDSS of 3": (set_first("edss", 3.0), "row 1, column disabled: expected 1, as EDSS 3 tells, found 0"),
    "no brain": (set_first("brain_ml", 0.0), "row 1, column brain_ml: expected a volume above 0"),
}


@pytest.mark.parametrize("name", ALTERED)
def test_a_table_of_scans_that_was_altered_is_refused(study, tmp_path, name):
    change, words = ALTERED[name]
    for file in ("settings.json", "left_out.csv"):
        shutil.copy(study / "prepared" / file, tmp_path / file)
    change(pd.read_csv(study / "prepared/scans.csv")).to_csv(tmp_path / "scans.csv", index=False)
    with pytest.raises(TableError, match=words):
        read_prepared(tmp_path)


def test_a_table_of_a_strategy_that_was_cut_is_made_again(models, study, tmp_path):
    shutil.copytree(models, tmp_path / "out")
    path = tmp_path / "out/wm/cross_validation.csv"
    whole = path.read_bytes()
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[:5]))
    train_disability_models(study / "prepared", tmp_path / "out", ["wm"], **FAST)
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "horizons", [[0], [-1], [float("nan")], [float("inf")], [48, 48], ["48"], [True], "48", None, [1e9]]
)
def test_horizons_that_cannot_be(survival, study, tmp_path, horizons):
    with pytest.raises(OptionError, match="horizons: expected different weeks above 0 and up to"):
        predict_survival(survival / "wm", study / "prepared", tmp_path / "out", horizons=horizons)


@pytest.mark.parametrize("words", ["48,nan", "-1", "0"])
def test_the_command_refuses_horizons_too(survival, study, tmp_path, capsys, words):
    told = ["predict", survival / "wm", study / "prepared", "-o", tmp_path / "out", f"--horizons={words}"]
    assert main([str(word) for word in told]) == 2
    assert "horizons: expected different weeks" in capsys.readouterr().err


def test_a_device_that_is_none(survival, study, tmp_path):
    with pytest.raises(SettingsError, match="device: expected cpu"):
        predict_survival(survival / "wm", study / "prepared", tmp_path / "out", device="gpu")
    with pytest.raises(SettingsError, match="device: expected cpu"):
        explain_cohort(survival / "wm", study / "prepared", tmp_path / "out", device="gpu")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("outcome", "cdp48", "expected an outcome of cdp24, cdp12, found 'cdp48'"),
        ("outcome", 3, "expected an outcome"),
        ("outcome", None, "expected an outcome"),
        ("edges", [], "rising edges"),
        ("edges", [0.0, float("nan")], "rising edges"),
        ("edges", [0.0, float("inf")], "rising edges"),
    ],
)
def test_a_model_that_was_altered(survival, tmp_path, name, value, words):
    contents = torch.load(survival / "wm/fold_0/model.pt", weights_only=True)
    if name == "edges" and value:  # as many as there are
        value = [*np.arange(contents["outputs"], dtype=float).tolist(), value[1]]
    torch.save(contents | {name: value}, tmp_path / "model.pt")
    with pytest.raises(ModelError, match=words):
        load_survival_model(tmp_path / "model.pt")


@pytest.mark.parametrize("edge", [0, -2, "x", float("nan"), None, 1e9])
def test_explain_refuses_a_folder_whose_voxels_have_no_edge(models, study, tmp_path, edge):
    prepared = tmp_path / "prepared"
    shutil.copytree(study / "prepared", prepared)
    (prepared / "settings.json").write_text(json.dumps({"edge_mm": edge}))
    with pytest.raises(TableError, match="expected the settings of nnunet-ms-stratify prepare with edge_mm"):
        explain_cohort(models / "wm", prepared, tmp_path / "out", randomised=0, pictures=False)


def curves(event, weeks=None):
    """Table of one network and the Kaplan-Meier estimate."""
    n = len(event)
    names = [f"P{k}" for k in range(n)]
    rows = pd.DataFrame({"case_id": names, "patient_id": names, "visit": "a", "fold": np.arange(n) % 3})
    rows = rows.assign(event=event, time_weeks=weeks or [20.0 + 3 * k for k in range(n)])
    rows = rows.assign(**dict.fromkeys(COVARIATES, np.nan))
    at, risk = np.array([12.0, 24, 36]), np.linspace(0.1, 0.4, n)[:, None]
    return pd.concat(
        [
            curve_rows("net", rows, (1 - risk) ** (at / 12), at),
            curve_rows("kaplan-meier", rows, 0.8 ** (at / 12) * np.ones((n, 1)), at),
        ]
    )


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ([0] * 9, "progression among them, found 9 with 0"),
        ([1, 1], "3 patients or more .* found 2 with 2"),
        ([1], "3 patients or more .* found 1 with 1"),
    ],
)
def test_curves_of_which_nothing_can_be_said(tmp_path, event, words):
    curves(event).to_csv(tmp_path / "cv.csv", index=False)
    with pytest.raises(TableError, match=words):
        evaluate_survival(tmp_path / "cv.csv", tmp_path / "out")


def test_a_table_without_a_row_or_no_table(tmp_path):
    curves([1, 0, 1]).iloc[:0].to_csv(tmp_path / "cv.csv", index=False)
    with pytest.raises(TableError, match="expected a row per curve and week, found none"):
        read_survival([tmp_path / "cv.csv"])
    with pytest.raises(OptionError, match="tables: expected at least one"):
        evaluate_survival([], tmp_path / "out")


@pytest.mark.parametrize("horizon", [0, 13, float("nan"), "24", True])
def test_a_horizon_without_curves(tmp_path, horizon):
    curves([1, 0, 1, 1]).to_csv(tmp_path / "cv.csv", index=False)
    with pytest.raises(OptionError, match="horizon_weeks: expected a week of the curves"):
        evaluate_survival(tmp_path / "cv.csv", tmp_path / "out", horizon_weeks=horizon)


def test_all_events_at_one_time_have_no_concordance_and_it_is_said(tmp_path):
    curves([1] * 9, [30.0] * 9).to_csv(tmp_path / "cv.csv", index=False)
    results = evaluate_survival(tmp_path / "cv.csv", tmp_path / "out", replicates=5)
    rows = results[(results["measure"] == "concordance_uno") & (results["model"] == "net")]
    assert rows["estimate"].isna().all()
    assert (rows["problem"] != "").all()


def test_a_survival_table_may_be_named_and_its_baselines_keep_their_names(tmp_path):
    curves([1, 0, 1, 1]).to_csv(tmp_path / "cv.csv", index=False)
    assert has_survival([f"mine={tmp_path / 'cv.csv'}"])
    found = read_survival([f"mine={tmp_path / 'cv.csv'}"])
    assert list(found.curves) == ["mine", "kaplan-meier"]
    assert list(read_survival([tmp_path / "cv.csv"], "net").curves) == ["net"]


FITS = pd.DataFrame(
    {
        "model": "age",
        "fold": [0, 0, 1, 1],
        "term": ["intercept", "age_years"] * 2,
        "estimate": [-4.0, 0.1] * 2,
        "threshold": 0.4,
    }
)


@pytest.mark.parametrize("rows", [[0, 1, 2], [1, 3], [2, 3], [0, 1, 3]])
def test_frozen_baselines_that_lack_a_coefficient_or_a_fold(rows):
    scans = pd.DataFrame({"patient_id": ["P1"], "visit": "base", "age_years": [40.0]})
    assert baseline_predictions(FITS, scans)["probability"].tolist() == pytest.approx([0.5])
    with pytest.raises(TableError, match="baselines: model age: expected every term, intercept too, in folds 0 to"):
        baseline_predictions(FITS.iloc[rows], scans)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "no such file"),
        (b"", "it is empty"),
        (b"\xff\xfepatient_id", "UTF-8"),
        (b"patient_id,arm\nP1,a,b\n", "line 2: expected 2 cells"),
        (b"patient_id,arm,arm\nP1,a,b\n", "column arm stands twice"),
        (b"patient_id,disability_risk\nP1,0.3\n", "none called disability_risk"),
    ],
)
def test_a_patient_table_that_cannot_be_read(tmp_path, text, words):
    (tmp_path / "predictions.csv").write_text("patient_id,visit,probability,threshold,disabled\nP1,base,0.7,0.5,1\n")
    if text is not None:
        (tmp_path / "patients.csv").write_bytes(text)
    with pytest.raises(TableError, match=words):
        add_disability_risk(tmp_path, tmp_path / "patients.csv", tmp_path / "out.csv")


def test_replace_is_a_switch_and_cells_stay_as_they_are(tmp_path):
    (tmp_path / "predictions.csv").write_text("patient_id,visit,probability,threshold,disabled\nP1,base,0.7,0.5,1\n")
    (tmp_path / "patients.csv").write_text("patient_id,note\nP1, NA \nP1,\nP2,x\n")
    told = (tmp_path, tmp_path / "patients.csv", tmp_path / "out.csv")
    add_disability_risk(*told)
    assert (tmp_path / "out.csv").read_text() == "patient_id,note,disability_risk\nP1, NA ,0.7\nP1,,0.7\nP2,x,\n"
    with pytest.raises(OptionError, match="replace: expected True or False, found 'no'"):
        add_disability_risk(*told, replace="no")
    arguments = ["risk", tmp_path, "--patients", tmp_path / "patients.csv", "-o", tmp_path / "again.csv"]
    assert main([str(word) for word in arguments]) == 1  # P2


def test_predict_ends_with_a_command_that_works(models, study, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "patients.csv").write_text("patient_id\nP00\nP01\n")
    assert main(["predict", str(models / "wm"), str(study / "prepared"), "-o", "predicted"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("Into a trial: "))
    assert main(line.split()[4:]) == 0
    assert (tmp_path / "with_risk.csv").read_text().startswith("patient_id,disability_risk\nP00,0.")
