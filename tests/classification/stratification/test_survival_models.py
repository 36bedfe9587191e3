"""Oracle: images in which the middle is bright in those who progress early, so that curves must tell them apart."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from nnunet_ms.classification.stratification.survival_models import (
    load_survival_model,
    survival_task,
    train_survival_models,
)
from nnunet_ms.classification.stratification.survival_predictions import predict_survival, read_survival_models
from nnunet_ms.classification.stratification.survival_tables import read_survival
from nnunet_ms.classification.stratify_cli import main
from nnunet_ms.errors import ModelError, OptionError, SettingsError
from nnunet_ms.statistics.survival_predictions import time_concordance
from nnunet_ms.tables import ASSESSMENTS, read_table
from tests.classification.stratification.tiny_cohort import tiny_cohort

PATIENTS = 18
OPTIONS = {"network": "compact", "small": True, "epochs": 8, "batch_size": 6, "augmentation": False, "folds": 3}
RATE = {"learning_rate": 0.01, "tell": lambda _: None}
WEEKS = range(0, 157, 12)


def assessments(folder):
    """Those whose scan is bright progress after 12 to 48 weeks; of the others every third after two years."""
    rows = []
    for k in range(PATIENTS):
        onset = 12 + 12 * (k % 4) if k % 2 else 108 if k % 6 == 0 else 999
        base = 4.0 if k % 2 else 2.0
        rows += [(f"P{k:02d}", week, base + (1.0 if week >= onset else 0.0)) for week in WEEKS]
    path = folder / "assessments.csv"
    pd.DataFrame(rows, columns=["patient_id", "week", "edss"]).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("survival")
    prepared = tiny_cohort(folder / "prepared", PATIENTS, visits=2, lacking=("P03",))
    scans = pd.read_csv(prepared / "scans.csv")
    scans.assign(scan_day=np.where(scans["visit"] == "v0", 0, 336)).to_csv(prepared / "scans.csv", index=False)
    return prepared, assessments(folder)


@pytest.fixture(scope="module")
def trained(study, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "models"
    lines = []
    told = {**OPTIONS, **RATE, "tell": lines.append}
    table = train_survival_models(study[0], out, study[1], ["ventricles"], outcome="cdp12", intervals=3, **told)
    return out, table, lines


def test_curves_tell_those_apart_whose_scans_differ(trained):
    out, _, _ = trained
    predicted = read_survival([out])
    assert list(predicted.curves) == ["ventricles", "kaplan-meier", "cox"][: len(predicted.curves)]
    risk = 1 - predicted.curves["ventricles"][:, 3]
    assert time_concordance(predicted.weeks, predicted.event, risk, 48.0, replicates=1).estimate > 0.75
    for curves in predicted.curves.values():
        assert ((curves >= 0) & (curves <= 1)).all()
        assert (np.diff(curves, axis=1) <= 1e-12).all()


def test_no_patient_is_judged_by_a_model_that_has_seen_it(trained):
    out, table, _ = trained
    folds = table.drop_duplicates("case_id").set_index("case_id")["fold"]
    assert sorted(folds.unique()) == [0, 1, 2]
    for number in range(3):
        contents = load_survival_model(out / "ventricles" / f"fold_{number}" / "model.pt")
        assert contents["fold"] == number
        assert contents["edges"][0] == 0
        assert contents["outputs"] == len(contents["edges"]) - 1 <= 3


def test_what_is_left_out_is_listed(trained):
    out, table, lines = trained
    left_out = pd.read_csv(out / "left_out.csv")
    assert (left_out["reason"] == "a later scan of the patient: the first one counts").sum() == PATIENTS
    assert left_out[left_out["strategy"] == "ventricles"]["case_id"].tolist() == ["P03_v0"]
    assert "P03_v0" not in set(table[table["model"] == "ventricles"]["case_id"])
    assert any("18 scans or patients have no time to progression" in line for line in lines)


def test_another_run_finds_what_is_there_and_another_seed_is_refused(trained, study):
    out, table, _ = trained
    given, told = (study[0], out, study[1], ["ventricles"]), {**OPTIONS, **RATE, "intervals": 3}
    again = train_survival_models(*given, outcome="cdp12", **told)
    pd.testing.assert_frame_equal(again, table)
    with pytest.raises(SettingsError, match="expected outcome = cdp12"):
        train_survival_models(*given, **told)


def test_a_strategy_is_added_to_a_folder_that_has_another(trained, study, tmp_path):
    out, table, _ = trained
    copy = shutil.copytree(out, tmp_path / "models")
    given, told = (study[0], copy, study[1]), {**OPTIONS, **RATE, "intervals": 3}
    more = train_survival_models(*given, ["wm"], outcome="cdp12", **told)
    assert set(more["model"]) == {*table["model"], "wm"}
    assert "ventricles" in set(pd.read_csv(copy / "left_out.csv")["strategy"])  # what an earlier call left out stays


def test_prediction_is_the_mean_of_the_models_at_the_horizons(trained, study, tmp_path):
    out, _, _ = trained
    table, failures = predict_survival(out / "ventricles", study[0], tmp_path / "risks", horizons=[48, 24])
    assert failures == []
    assert pd.read_csv(tmp_path / "risks" / "left_out.csv")["case_id"].tolist() == ["P03_v0", "P03_v1"]
    assert table["week"].unique().tolist() == [24, 48]
    wide = table.pivot_table(index="case_id", columns="week", values="risk")
    assert (wide[48] >= wide[24]).all()
    bright = wide.index.str.slice(1, 3).astype(int) % 2 == 1
    assert wide.loc[bright, 48].mean() > wide.loc[~bright, 48].mean()
    late = table[table["median_weeks"].notna()]
    assert ((late["risk"] >= 0.5) == (late["median_weeks"] <= late["week"])).all()


def test_the_command_asks_them(trained, study, tmp_path, capsys):
    given = ["predict", str(trained[0]), str(study[0]), "-o", str(tmp_path / "risks")]
    assert main([*given, "--horizons", "24,48"]) == 0
    told = capsys.readouterr().out
    assert "risk of confirmed progression (cdp12) of 34 scans up to weeks 24, 48, by the mean of 3 networks" in told
    assert "2 scans lack the region" in told
    with pytest.raises(SystemExit, match="2"):
        main([*given, "--horizons", "soon"])
    assert "expected weeks like 48,96, found soon" in capsys.readouterr().err


@pytest.mark.parametrize("horizons", [[0], [24, 24], [9999]])
def test_horizons_beyond_the_models_are_refused(trained, study, tmp_path, horizons):
    with pytest.raises(OptionError, match="horizons: expected different weeks above 0 and up to"):
        predict_survival(trained[0] / "ventricles", study[0], tmp_path / "risks", horizons=horizons)


def test_models_with_a_fold_missing_are_refused(trained, tmp_path):
    folder = tmp_path / "ventricles"
    for number in (0, 2):
        contents = torch.load(trained[0] / "ventricles" / f"fold_{number}" / "model.pt", weights_only=True)
        (folder / f"fold_{number}").mkdir(parents=True)
        torch.save(contents, folder / f"fold_{number}" / "model.pt")
    with pytest.raises(ModelError, match=r"expected models of folds 0 to 2, found \[0, 2\]"):
        read_survival_models(folder)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"task": "disability"}, "expected a model of --task survival, found one of disability"),
        ({"edges": [0.0, 12.0]}, "rising edges of intervals from 0"),
        ({"edges": [0.0, 12.0, 12.0, 24.0]}, "rising edges of intervals from 0"),
    ],
)
def test_damaged_models_are_refused(trained, tmp_path, changed, message):
    contents = torch.load(trained[0] / "ventricles" / "fold_0" / "model.pt", weights_only=True)
    torch.save({**contents, **changed}, tmp_path / "model.pt")
    with pytest.raises(ModelError, match=message):
        load_survival_model(tmp_path / "model.pt")


def test_task_learns_by_likelihood():
    task = survival_task(3)
    targets = np.array([[1, 1, 0, 0, 0, 1.0]])
    assert task.scores(np.zeros((1, 3)), targets)["log_likelihood"] == pytest.approx(-3 * np.log(2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--task", "survival"], "assessments: expected a table of repeated EDSS"),
        (["--assessments", "a.csv"], "assessments: expected it with --task survival"),
        (["--intervals", "4"], "intervals: expected it with --task survival"),
        (["--task", "survival", "--assessments", "a.csv", "--folds-file", "f.csv"], "folds-file: expected none"),
    ],
)
def test_options_that_do_not_fit_the_task(study, tmp_path, capsys, options, message):
    assert main(["train", str(study[0]), "-o", str(tmp_path / "models"), *options]) == 2
    assert message in capsys.readouterr().err


def test_patients_without_a_covariate_that_others_have_are_left_out(study, tmp_path):
    prepared = tiny_cohort(tmp_path / "prepared", PATIENTS)
    scans = pd.read_csv(prepared / "scans.csv").assign(scan_day=0)
    scans.loc[scans["patient_id"] == "P04", "age_years"] = np.nan
    scans.to_csv(prepared / "scans.csv", index=False)
    few = {**OPTIONS, **RATE, "epochs": 1}
    out = tmp_path / "models"
    table = train_survival_models(prepared, out, study[1], ["global"], **few)
    assert "P04_v0" not in set(table["case_id"])
    assert pd.read_csv(out / "left_out.csv")["reason"].tolist() == ["no age_years, as others have"]
    assert len(read_table(study[1], ASSESSMENTS)) == PATIENTS * len(WEEKS)
