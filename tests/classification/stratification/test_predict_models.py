"""Oracle: the mean of the seven (here three) networks, computed one by one, and files as they were before."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from nnunet_ms.checkpoints import save_checkpoint
from nnunet_ms.classification.stratification.fold_models import input_of, load_fold_model, network_of
from nnunet_ms.classification.stratification.predict_models import (
    fold_models_of,
    predict_disability,
    strategy_folder,
)
from nnunet_ms.classification.stratification.prediction_tables import PREDICTIONS
from nnunet_ms.classification.stratification.prepared_folder import LEFT_OUT, read_prepared
from nnunet_ms.classification.stratification.train_models import train_disability_models
from nnunet_ms.classification.stratify_cli import main
from nnunet_ms.errors import ModelError, SettingsError
from nnunet_ms.tables import read_table
from tests.classification.stratification.tiny_cohort import tiny_cohort

FAST = {"small": True, "folds": 3, "epochs": 1, "augmentation": False, "tell": lambda line: None}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("here")
    train_disability_models(tiny_cohort(folder / "prepared"), folder / "models", ["ventricles", "wm"], **FAST)
    return folder / "models"


@pytest.fixture
def elsewhere(tmp_path):
    """Six other patients with two scans each, of whom one has no ventricles."""
    return tiny_cohort(tmp_path / "elsewhere", patients=6, visits=2, lacking=("P02",))


def test_the_frozen_mean_of_the_folds_judges_and_nothing_of_the_models_changes(models, elsewhere, tmp_path):
    before = {path: path.read_bytes() for path in models.rglob("*") if path.is_file()}
    table = predict_disability(models / "ventricles", elsewhere, tmp_path / "out")
    assert {path: path.read_bytes() for path in models.rglob("*") if path.is_file()} == before
    assert read_table(tmp_path / "out" / "predictions.csv", PREDICTIONS)["probability"].tolist() == pytest.approx(
        table["probability"].tolist()
    )
    folds = [load_fold_model(models / f"ventricles/fold_{k}/model.pt") for k in range(3)]
    cohort = read_prepared(elsewhere)
    assert table["patient_id"].tolist() == [f"P{k:02d}" for k in (0, 0, 1, 1, 3, 3, 4, 4, 5, 5)]
    for row in table.itertuples():
        scan = cohort.load(f"{row.patient_id}_{row.visit}")
        with torch.inference_mode():
            logits = [network_of(one)(torch.from_numpy(input_of(one, scan))[None]).item() for one in folds]
        p = 1 / (1 + np.exp(-np.array(logits)))
        assert (row.probability, row.probability_sd) == pytest.approx((p.mean(), p.std()), abs=1e-6)
        assert row.threshold == pytest.approx(np.mean([one["threshold"] for one in folds]))
        assert row.disabled == int(row.probability >= row.threshold)
    left_out = read_table(tmp_path / "out" / "left_out.csv", LEFT_OUT)
    assert left_out["case_id"].tolist() == ["P02_v0", "P02_v1"]


def test_the_command_says_what_was_left_out_damaged_and_prepared_differently(models, elsewhere, tmp_path, capsys):
    (elsewhere / "scans" / "P05_v1.npz").write_bytes(b"damaged")
    settings = json.loads((elsewhere / "settings.json").read_text())
    (elsewhere / "settings.json").write_text(json.dumps(settings | {"brain": "nonzero"}))
    call = ["predict", str(models / "ventricles"), str(elsewhere), "-o", str(tmp_path / "out")]
    assert main(call) == 1
    told = capsys.readouterr()
    assert "of 9 scans judged as disabled, by the mean of 3 networks of ventricles" in told.out
    assert "2 scans lack the region and are left out" in told.out
    assert "prepared differently: brain is nonzero, in the training None." in told.out
    assert "P05_v1" in told.err
    assert main(call) == 2  # the output is there
    judged = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert len(judged) == 9


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda f: shutil.rmtree(f / "fold_1"), r"expected folds 0 to 2, fold 1 lacks \(2 found\)"),
        (lambda f: shutil.copytree(f / "fold_0", f / "fold_3"), "one stands twice"),
        (
            lambda f: shutil.copy(f.parent / "wm/fold_1/model.pt", f / "fold_1/model.pt"),
            "expected SHA-256 .* as model.pt.sha256 says",
        ),
        (
            lambda f: shutil.copytree(f.parent / "wm/fold_1", f / "fold_1", dirs_exist_ok=True),
            "expected folds of one training, found strategy 'ventricles' in fold 0 and 'wm' in fold 1",
        ),
        (lambda f: (f / "fold_2/model.pt").write_bytes(b"PK"), "expected SHA-256"),
    ],
)
def test_models_that_are_incomplete_mixed_or_altered_are_refused(models, elsewhere, tmp_path, harm, message):
    copied = shutil.copytree(models, tmp_path / "models")
    harm(copied / "ventricles")
    with pytest.raises(ModelError, match=message):
        predict_disability(copied / "ventricles", elsewhere, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_grid_is_refused_for_all_scans_with_what_to_do(models, tmp_path):
    from nnunet_ms.classification.stratification.preparation import load_prepared, save_prepared

    other = tiny_cohort(tmp_path / "other", patients=2)
    for path in (other / "scans").iterdir():
        scan = load_prepared(path)
        cut = {name: mask[:16] for name, mask in scan.regions.items()}
        save_prepared(type(scan)(scan.images[:, :16], scan.brain[:16], cut, {}, "labels", 0.9, np.eye(4)), path)
    with pytest.raises(ModelError, match=r"P00_v0: expected images of \(20, 24, 20\) voxels.*--edge-mm 8"):
        predict_disability(models / "ventricles", other, tmp_path / "out")


def test_one_strategy_is_found_and_several_are_named(models, tmp_path, elsewhere):
    with pytest.raises(ModelError, match=r"found strategies ventricles, wm\. Name one of them: .*ventricles"):
        strategy_folder(models)
    shutil.copytree(models / "wm", tmp_path / "models" / "wm")
    assert strategy_folder(tmp_path / "models") == tmp_path / "models" / "wm"
    assert [contents["fold"] for contents in fold_models_of(models / "wm")] == [0, 1, 2]
    with pytest.raises(SettingsError, match="device: expected"):
        predict_disability(models / "wm", elsewhere, tmp_path / "out", device="cuda:50")


@pytest.mark.parametrize("changed", [{"task": "survival"}, {"task": "relapse"}])
def test_networks_of_another_task_give_no_risk_of_disability(models, elsewhere, tmp_path, changed):
    copied = shutil.copytree(models, tmp_path / "models")
    for path in copied.glob("wm/fold_*/model.pt"):
        save_checkpoint(load_fold_model(path) | changed, path)
    with pytest.raises(ModelError, match=f"expected networks of disability, with one output, found {changed['task']}"):
        predict_disability(copied / "wm", elsewhere, tmp_path / "out")
