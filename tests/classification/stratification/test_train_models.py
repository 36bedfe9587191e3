"""Oracle: images that tell the class, folds counted by hand, an uninterrupted run, and tables as their format says."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from nnunet_ms.classification.stratification import train_models
from nnunet_ms.classification.stratification.fold_models import (
    TrainingOptions,
    input_of,
    load_fold_model,
    model_logits,
    network_of,
)
from nnunet_ms.classification.stratification.prediction_tables import CROSS_VALIDATION, youden_threshold
from nnunet_ms.classification.stratification.prepared_folder import LEFT_OUT, read_prepared
from nnunet_ms.classification.stratification.study_folds import parts_of, study_folds
from nnunet_ms.classification.stratification.train_models import train_disability_models
from nnunet_ms.classification.stratification.training import SMALL, Recipe
from nnunet_ms.classification.stratify_cli import main
from nnunet_ms.errors import ImageError, ModelError, NnunetMsError, OptionError, SettingsError, TableError
from nnunet_ms.tables import read_table
from tests.classification.stratification.tiny_cohort import SHAPE, tiny_cohort

FAST = {"small": True, "folds": 3, "epochs": 2, "tell": lambda line: None}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return tiny_cohort(tmp_path_factory.mktemp("prepared"), lacking=("P03",))


@pytest.fixture(scope="module")
def models(prepared, tmp_path_factory):
    """Folder, returned table and told lines of a run over one strategy."""
    out, lines = tmp_path_factory.mktemp("run") / "models", []
    table = train_disability_models(prepared, out, ["ventricles"], **FAST | {"tell": lines.append})
    return out, table, lines


def test_each_scan_is_judged_once_by_a_network_that_has_not_seen_its_patient(models):
    out, table, lines = models
    assert read_table(out / "cross_validation.csv", CROSS_VALIDATION).equals(table)
    rows = table[table["model"] == "ventricles"]
    assert sorted(rows["patient_id"]) == [f"P{k:02d}" for k in range(12) if k != 3]
    assert (rows["truth"] == [int(name[1:]) % 2 for name in rows["patient_id"]]).all()
    folds = pd.read_csv(out / "folds.csv").set_index("patient_id")["fold"]
    assert (rows["fold"].to_numpy() == folds[rows["patient_id"]].to_numpy()).all()
    for number in range(3):
        model = load_fold_model(out / f"ventricles/fold_{number}/model.pt")
        aside = folds[folds == (number + 1) % 3].index
        assert model["validation_patients"] == sorted(set(aside) - {"P03"})
    left_out = read_table(out / "left_out.csv", LEFT_OUT)
    assert left_out.to_numpy().tolist() == [["P03_v0", "ventricles", "no voxel of the region"]]
    assert any("ventricles: 1 of 12 scans lack the region" in line for line in lines)
    assert {"majority", "age", "lesion_load"} <= set(table["model"])
    assert not list(out.rglob("inputs.npy")) + list(out.rglob("last_epoch.pth"))


def test_probabilities_and_threshold_are_those_of_the_saved_model(models, prepared):
    out, table, _ = models
    model, cohort = load_fold_model(out / "ventricles/fold_1/model.pt"), read_prepared(prepared)
    rows = table[(table["model"] == "ventricles") & (table["fold"] == 1)]
    network = network_of(model)
    for row in rows.itertuples():
        images = torch.from_numpy(input_of(model, cohort.load(f"{row.patient_id}_{row.visit}")))[None]
        with torch.inference_mode():
            logit = network(images).item()
        assert row.probability == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-6)
    held = [f"{name}_v0" for name in model["validation_patients"]]
    images = np.stack([input_of(model, cohort.load(case)) for case in held])
    p = 1 / (1 + np.exp(-model_logits(model, images, np.arange(len(held)))[:, 0]))
    truth = [int(name[1:3]) % 2 for name in held]
    assert model["threshold"] == youden_threshold(truth, p) == rows["threshold"].unique()[0]


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kills", [(2,), (5,), (1, 4)])
def test_a_killed_run_ends_with_the_same_bytes(models, prepared, tmp_path, kills):
    def killing(after):
        count = 0

        def progress(items, title, name):
            nonlocal count
            for item in items:
                if title.startswith("fold"):
                    count += 1
                    if count == after:
                        raise KeyboardInterrupt
                yield item

        return progress

    for after in kills:
        with pytest.raises(KeyboardInterrupt):
            train_disability_models(prepared, tmp_path / "models", ["ventricles"], **FAST, progress=killing(after))
    train_disability_models(prepared, tmp_path / "models", ["ventricles"], **FAST)
    assert files(tmp_path / "models") == files(models[0])


def test_further_strategies_join_the_folder_and_the_folds_may_be_given_again(models, prepared, tmp_path):
    shutil.copytree(models[0], tmp_path / "models")
    table = train_disability_models(prepared, tmp_path / "models", ["wm"], **FAST)
    assert list(dict.fromkeys(table["model"]))[:2] == ["wm", "ventricles"]
    before = models[1].reset_index(drop=True)
    assert table[table["model"] != "wm"].reset_index(drop=True).equals(before)
    scans = read_prepared(prepared).scans
    assert np.array_equal(study_folds(scans, given=models[0] / "folds.csv"), study_folds(scans, 3))


@pytest.mark.parametrize(
    ("changed", "name"),
    [({"seed": 1}, "scans_sha256"), ({"epochs": 3}, "epochs"), ({"folds": 4}, "folds"), ({"small": False}, "small")],
)
def test_a_folder_of_another_run_is_refused(models, prepared, changed, name):
    with pytest.raises(SettingsError, match=r"settings\.json: expected .* Ask for the same, or choose another folder"):
        train_disability_models(prepared, models[0], ["ventricles"], **FAST | changed)
    assert name in json.loads((models[0] / "settings.json").read_text())


def test_changed_scans_are_refused(models, tmp_path):
    other = tiny_cohort(tmp_path / "prepared", lacking=("P03",), patients=13)
    with pytest.raises(SettingsError, match=r"expected .* as what is there was made with"):
        train_disability_models(other, models[0], ["ventricles"], **FAST)


def damaged_scan(folder):
    path = folder / "scans" / "P05_v0.npz"
    path.write_bytes(path.read_bytes()[:400])


def missing_scan(folder):
    (folder / "scans" / "P05_v0.npz").unlink()


def scan_with_nan(folder):
    from nnunet_ms.classification.stratification.preparation import load_prepared, save_prepared

    scan = load_prepared(folder / "scans" / "P05_v0.npz")
    scan.images[0, 5, 5, 5] = np.nan
    save_prepared(scan, folder / "scans" / "P05_v0.npz")


def another_grid(folder):
    from nnunet_ms.classification.stratification.preparation import load_prepared, save_prepared

    scan = load_prepared(folder / "scans" / "P05_v0.npz")
    cut = replace(scan, images=scan.images[:, :10], brain=scan.brain[:10], regions={})
    save_prepared(cut, folder / "scans" / "P05_v0.npz")


@pytest.mark.parametrize("harm", [damaged_scan, missing_scan, scan_with_nan, another_grid])
def test_a_damaged_scan_is_named_before_anything_is_trained(tmp_path, harm):
    folder = tiny_cohort(tmp_path / "prepared")
    harm(folder)
    named = "one grid, found .* in scan 6" if harm is another_grid else "P05_v0"
    with pytest.raises(ImageError, match=named):
        train_disability_models(folder, tmp_path / "models", ["global"], **FAST)
    assert not list((tmp_path / "models").rglob("model.pt"))


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        ("P00,0\nP01,0\nP00,2\n", TableError, "found patient P00 in 0 and 2"),
        ("P00,0\nP01,1\nP02,2\n", TableError, r"found none of P03, P04, .* and others \(9 of 12\)"),
        ("".join(f"P{k:02d},{k // 2 % 3 * 2}\n" for k in range(12)), TableError, "no patient with a scan in fold 1"),
        ("".join(f"P{k:02d},{k // 2 % 2}\n" for k in range(12)), SettingsError, "three folds or more.*found 2"),
        ("".join(f"P{k:02d},{k % 2 + 2 * (k > 5)}\n" for k in range(12)), SettingsError, "fold 0: expected both cla"),
        ("P00,zero\n", TableError, "fold"),
    ],
)
def test_given_folds_that_cannot_be_are_refused(prepared, tmp_path, rows, error, message):
    path = tmp_path / "folds.csv"
    path.write_text("patient_id,fold\n" + rows)
    with pytest.raises(error, match=message):
        train_disability_models(prepared, tmp_path / "models", ["wm"], folds_file=path, small=True)
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"folds": 2}, SettingsError, "folds: expected three folds or more.*found 2. Seven are the paper"),
        ({"folds": 7}, SettingsError, "folds: expected 7 patients or more with a scan of EDSS >= 3.0, found 6"),
        ({"strategies": ["grey"]}, OptionError, "strategies: expected one of"),
        ({"strategies": ["wm", "wm"]}, OptionError, "strategies: expected different words"),
        ({"strategies": []}, OptionError, "at least one"),
        ({"strategies": ["sgm"]}, SettingsError, "sgm: fold 0: scans to train on: expected both classes|sgm: expected"),
        ({"device": "cuda:77"}, SettingsError, "device: expected .*found 'cuda:77'"),
        ({"device": "tpu"}, SettingsError, "device: expected cpu, cuda or cuda:N"),
        ({"network": "vgg"}, OptionError, "network: expected one of 'densenet121'"),
        ({"coarser": 0}, OptionError, "coarser: expected a whole number >= 1"),
        ({"coarser": 7}, ImageError, "divide into blocks of 7 voxels"),
        ({"seed": -1}, OptionError, "seed: expected a whole number >= 0"),
        ({"batch_size": 1}, OptionError, "batch_size: expected a whole number >= 2"),
    ],
)
def test_options_that_cannot_be_are_refused(tmp_path, options, error, message):
    folder = tiny_cohort(tmp_path / "prepared")
    left_out = "case_id,strategy,reason\n" + "".join(f"P{k:02d}_v0,sgm,no voxel\n" for k in range(12))
    (folder / "left_out.csv").write_text(left_out)
    call = {"strategies": ["global"], **FAST, **options}
    with pytest.raises(error, match=message):
        train_disability_models(folder, tmp_path / "models", **call)


def test_scans_of_one_patient_are_never_split():
    scans = pd.DataFrame({"patient_id": np.repeat([f"P{k}" for k in range(21)], 3), "disabled": np.arange(63) // 3 % 2})
    fold = study_folds(scans, 7, seed=5)
    assert scans.groupby("patient_id")["disabled"].size().eq(3).all()
    assert all(len(set(fold[scans["patient_id"] == name])) == 1 for name in scans["patient_id"])
    for number in range(7):
        part = parts_of(fold, number, np.ones(63, bool), scans["disabled"], "wm")
        sets = [set(scans["patient_id"].iloc[rows]) for rows in (part.train, part.validation, part.judged)]
        assert sum(map(len, sets)) == 21 == len(set.union(*sets))
        assert len(part.train) + len(part.validation) + len(part.judged) == 63
        assert (fold[part.judged] == number).all()


def test_small_and_given_numbers_make_the_recipe():
    assert TrainingOptions().recipe == Recipe()
    assert TrainingOptions(small=True).recipe == SMALL
    assert TrainingOptions(small=True, epochs=3, learning_rate=0.5, augmentation=False).recipe == replace(
        SMALL, epochs=3, learning_rate=0.5, augmentation=False
    )


def altered(path, change):
    contents = torch.load(path, weights_only=True)
    change(contents)
    torch.save(contents, path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(format="stratification model 9"), "found 'stratification model 9'. Use the version"),
        (lambda c: c.update(strategy="grey"), "strategy 'grey'"),
        (lambda c: c.update(network="vgg"), "a network that cannot be"),
        (lambda c: c.update(network="compact"), "weights that are not its network's"),
        (lambda c: c.update(small=False), "weights that are not its network's"),
        (lambda c: c.update(shape=[20, 24]), r"shape \[20, 24\]"),
        (lambda c: c.update(threshold=1.5), "threshold 1.5"),
        (lambda c: c.update(fold=3), "fold 3 of 3"),
        (lambda c: c.update(outputs=True), "outputs of type bool"),
        (lambda c: c.pop("coarser"), r"\['coarser'\] missing"),
        (lambda c: c["weights"].pop("class_layers.out.bias"), "class_layers.out.bias"),
        (lambda c: c["weights"]["class_layers.out.bias"].fill_(float("nan")), "no finite numbers as class_layers"),
    ],
)
def test_altered_models_are_refused(models, tmp_path, change, message):
    path = tmp_path / "model.pt"
    shutil.copy(models[0] / "ventricles/fold_0/model.pt", path)
    altered(path, change)
    with pytest.raises(ModelError, match=message):
        load_fold_model(path)


def test_damaged_models_are_refused(models, tmp_path):
    folder = shutil.copytree(models[0] / "ventricles/fold_0", tmp_path / "fold_0")
    whole = (folder / "model.pt").read_bytes()
    (folder / "model.pt").write_bytes(whole[:-7] + b"damaged")
    with pytest.raises(ModelError, match=r"expected SHA-256 .* Copy both again"):
        load_fold_model(folder / "model.pt")
    (folder / "model.pt.sha256").unlink()
    (folder / "model.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match="cannot read it"):
        load_fold_model(folder / "model.pt")


def test_images_of_another_grid_are_refused_with_what_to_do(models, prepared):
    model = load_fold_model(models[0] / "ventricles/fold_0/model.pt")
    scan = read_prepared(prepared).load("P00_v0")
    with pytest.raises(ModelError, match=r"P00_v0: expected images of \(10, 24, 20\).*--edge-mm 16"):
        input_of(model | {"shape": [10, 24, 20]}, scan, "P00_v0")
    assert input_of(model, scan).shape == (2, *SHAPE)


def test_the_command_trains_and_says_what_was_left_out(prepared, tmp_path, capsys):
    call = ["train", str(prepared), "-o", str(tmp_path / "models"), "--strategies", "ventricles", "--small"]
    call += ["--network", "compact", "--folds", "3", "--epochs", "1", "--no-augmentation", "--batch-size", "4"]
    assert main(call) == 0
    told = capsys.readouterr().out
    assert "ventricles: 1 of 12 scans lack the region" in told
    assert "out of fold of 12 scans by" in told
    settings = json.loads((tmp_path / "models" / "settings.json").read_text())
    assert (settings["network"], settings["batch_size"], settings["augmentation"]) == ("compact", 4, False)
    assert main([*call, "--seed", "3"]) == 2
    assert "Ask for the same" in capsys.readouterr().err


def test_names_that_the_command_knows_without_loading_are_those_of_the_rooms():
    from typing import get_args

    from nnunet_ms.classification.stratification import networks, regions

    assert train_models.STRATEGIES == regions.STRATEGIES
    assert get_args(networks.NetworkName) == train_models.NETWORKS
    assert issubclass(ModelError, NnunetMsError)
