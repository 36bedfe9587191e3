"""A whole cross-validation in seconds: nobody is judged by a model that knows them; repeats, kills, refusals."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import average_precision_score

from nnunet_ms.checkpoints import load_checkpoint
from nnunet_ms.classification.rim.fold_models import (
    MODELS,
    TrainingOptions,
    load_fold_model,
    probabilities,
)
from nnunet_ms.classification.rim.lesion_set import CROSS_VALIDATION, read_lesion_set
from nnunet_ms.classification.rim.train_models import NAMES, train_rim_models
from nnunet_ms.errors import ModelError, NnunetMsError, OptionError, SettingsError
from nnunet_ms.locks import sole_run
from nnunet_ms.tables import read_table
from tests.classification.rim.tiny_lesions import NAMES as FEATURES
from tests.classification.rim.tiny_lesions import write_lesions

FAST = {"folds": 2, "epochs": 1, "small": True}
QUICK = ("aprl", "aprl-oversampling", "radiomics", "radiomics-oversampling")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_lesions(tmp_path_factory.mktemp("tiny") / "features", geometry=(8, 16, 16))


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory):
    output = tmp_path_factory.mktemp("trained") / "models"
    return train_rim_models(folder, output, list(MODELS), **FAST), output


@pytest.fixture(scope="module", autouse=True)
def small_forests():
    """A tenth of the trees, which is all that these tests need."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nnunet_ms.classification.rim.baselines.TREES", 50)
        yield


def without_checksums(output):
    return {
        path.relative_to(output).as_posix(): path.read_bytes()
        for path in output.rglob("*.csv")
    }  # fmt: skip


def test_the_command_names_the_models_that_there_are():
    assert tuple(MODELS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_lesion_is_judged_once_by_a_model_that_has_not_seen_its_patient(trained, folder, name):
    table, output = trained
    own = table[table["model"] == name]
    lesions = read_lesion_set(folder)
    assert list(own["patient_id"]) == lesions.patients
    assert list(own["label"]) == list(lesions.labels)
    assert len(own[["patient_id", "fold"]].drop_duplicates()) == own["patient_id"].nunique()
    for fold in (0, 1):
        contents = load_fold_model(output / name / f"fold_{fold}" / "model.pth")
        judged = own["fold"].to_numpy() == fold
        assert not set(contents["validation_patients"]) & set(own.loc[judged, "patient_id"])
        found = probabilities(contents, lesions)
        np.testing.assert_allclose(own.loc[judged, "probability"], found[judged], atol=1e-6)
        assert set(own.loc[judged, "threshold"]) == {contents["threshold"]}


def test_all_models_have_the_same_folds(trained):
    table, output = trained
    assert len(table[["patient_id", "fold"]].drop_duplicates()) == table["patient_id"].nunique()
    folds = pd.read_csv(output / "folds.csv", dtype={"patient_id": str}).set_index("patient_id")
    assert (table["fold"] == table["patient_id"].map(folds["fold"])).all()
    assert folds["prl_count"].sum() == table.loc[table["model"] == "aprl", "label"].sum()


def test_features_alone_find_what_is_in_them(trained):
    table, _ = trained
    for name in ("aprl", "aprl-oversampling"):
        own = table[table["model"] == name]
        assert average_precision_score(own["label"], own["probability"]) > 3 * own["label"].mean()


def test_files_hold_data_only_and_a_table_of_their_words(trained):
    table, output = trained
    for path in output.rglob("model.pth"):
        load_checkpoint(path)
        assert path.with_name("model.pth.sha256").is_file()
    written = read_table(output / "cross_validation.csv", CROSS_VALIDATION)
    pd.testing.assert_frame_equal(written, table, check_dtype=False)
    assert not list(output.rglob("last_epoch.pth"))
    history = pd.read_csv(output / "qsmrimnet/fold_0/history.csv")
    assert list(history["epoch"]) == [1]


def test_a_repeated_command_trains_nothing_and_writes_the_same(trained, folder, tmp_path, monkeypatch):
    table, output = trained
    copy = shutil.copytree(output, tmp_path / "copy")
    monkeypatch.setattr("nnunet_ms.classification.rim.fold_models.fit_fold", None)
    again = train_rim_models(folder, copy, list(MODELS), **FAST)
    pd.testing.assert_frame_equal(again, table, check_dtype=False)
    assert without_checksums(copy) == without_checksums(output)


class KilledError(Exception):
    pass


def test_a_killed_run_ends_as_one_without_the_kill(trained, folder, tmp_path):
    _, output = trained

    def until_the_second_fold(items, title, name):
        for item in items:
            if title == "qsmrimnet" and item == 1:
                raise KilledError
            yield item

    with pytest.raises(KilledError):
        train_rim_models(folder, tmp_path / "m", ["qsmrimnet"], **FAST, progress=until_the_second_fold)
    assert not (tmp_path / "m" / "cross_validation.csv").exists()
    train_rim_models(folder, tmp_path / "m", ["qsmrimnet"], **FAST)
    for name, content in without_checksums(tmp_path / "m").items():
        if name.startswith("qsmrimnet"):
            assert content == (output / name).read_bytes()


def test_two_runs_do_not_write_one_folder(folder, tmp_path):
    with sole_run(tmp_path / "m"), pytest.raises(SettingsError, match="another run is writing it at this moment"):
        train_rim_models(folder, tmp_path / "m", "radiomics", **FAST)


def test_what_a_kill_left_half_written_is_removed(folder, tmp_path):
    half = tmp_path / "m" / "radiomics" / "fold_0" / ".partial-model.pth-abc"
    train_rim_models(folder, tmp_path / "m", "radiomics", **FAST)
    half.mkdir()
    (half / "model.pth").write_bytes(b"half")
    train_rim_models(folder, tmp_path / "m", "radiomics", **FAST)
    assert not half.exists()


def test_models_of_a_later_run_join_the_table(folder, tmp_path):
    train_rim_models(folder, tmp_path / "m", "aprl", **FAST)
    table = train_rim_models(folder, tmp_path / "m", ["radiomics"], **FAST)
    assert list(table["model"].unique()) == ["aprl", "radiomics"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "expected seed 0 as in the run that began this folder, found 1"),
        ({"folds": 3}, "expected folds 2 as in the run"),
        ({"fusion": "sum"}, "expected fusion 'concat' as in the run"),
        ({"small": False}, "expected small True as in the run"),
        ({"augmentation": "none"}, "expected augmentation None as in the run"),
    ],
)
def test_another_run_does_not_write_into_a_folder(trained, folder, change, message):
    with pytest.raises(SettingsError, match=message):
        train_rim_models(folder, trained[1], ["aprl"], **{**FAST, **change})


def test_other_lesions_do_not_go_on_with_a_folder(trained, tmp_path):
    other = write_lesions(tmp_path / "other", geometry=(8, 16, 16), seed=1)
    with pytest.raises(SettingsError, match="expected lesions_sha256"):
        train_rim_models(other, trained[1], ["aprl"], **FAST)


def test_a_folder_of_other_files_is_left_alone(folder, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(SettingsError, match="expected a new folder or one of the same command, found other files"):
        train_rim_models(folder, tmp_path, ["aprl"], **FAST)


def relabelled(folder, to, keep):
    """A copy of the features folder in which only the first `keep` rim+ lesions are rim+."""
    shutil.copytree(folder, to)
    rows = pd.read_csv(to / "lesions.csv", dtype={"patient_id": str})
    rim = np.flatnonzero(rows["label"] == 1)
    rows.loc[rim[keep:], "label"] = 0.0
    rows.to_csv(to / "lesions.csv", index=False)
    return to


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        (0, r"expected 3 patients or more with a rim\+ lesion, .* found 0 with 0 rim\+ lesions"),
        (1, r"expected 3 patients or more with a rim\+ lesion, .* found 1 with 1 rim\+ lesions"),
        (2, r"expected 3 patients or more with a rim\+ lesion, .* found 2 with 2 rim\+ lesions"),
        (3, r"expected 3 patients or more with a rim\+ lesion, .* found 2 with 3 rim\+ lesions"),
        (4, r"expected 3 rim\+ lesions of 2 patients or more to train on.*Add labelled patients, or ask for 3 folds"),
    ],
)
def test_too_few_rims_to_train_on_are_refused(folder, tmp_path, keep, message):
    few = relabelled(folder, tmp_path / "few", keep)
    with pytest.raises(SettingsError, match=message):
        train_rim_models(few, tmp_path / "m", ["qsmrimnet"], **FAST)
    assert not (tmp_path / "m").exists()


def test_lesions_without_a_label_are_left_out_and_counted(folder, tmp_path):
    some = relabelled(folder, tmp_path / "some", 99)
    rows = pd.read_csv(some / "lesions.csv", dtype={"patient_id": str})
    rows.loc[[5, 11, 17], "label"] = np.nan
    rows.to_csv(some / "lesions.csv", index=False)
    table = train_rim_models(some, tmp_path / "m", ["radiomics"], **FAST)
    assert len(table) == len(rows) - 3
    assert json.loads((tmp_path / "m" / "settings.json").read_text())["left_out_without_label"] == 3


@pytest.mark.parametrize(
    ("models", "options", "message"),
    [
        (["qsmrimnett"], {}, "models: expected one of 'qsmrimnet', .*Did you mean 'qsmrimnet'"),
        ([], {}, "models: expected different names, at least one"),
        (["aprl", "aprl"], {}, "models: expected different names"),
        (["aprl"], {"folds": 1}, "folds: expected a whole number >= 2, found 1"),
        (["aprl"], {"fusion": "add"}, "fusion: expected one of 'concat', 'sum'"),
        (["aprl"], {"small": "yes"}, "small: expected True or False, found 'yes'"),
        (
            ["aprl"],
            {"augmentation": "mirror"},
            "augmentation: expected one of 'none', 'flips', 'moves', found 'mirror'",
        ),
        (["aprl"], {"seed": -1}, "seed: expected a whole number >= 0, found -1"),
        (["aprl"], {"device": "gpu7"}, "device: expected cpu, cuda or cuda:N, found 'gpu7'"),
        (["qsmrimnet"], {"epochs": 0}, "epochs: expected a whole number >= 1, found 0"),
    ],
)
def test_options_that_cannot_be(folder, tmp_path, models, options, message):
    with pytest.raises((OptionError, SettingsError), match=message):
        train_rim_models(folder, tmp_path / "m", models, **{**FAST, **options})


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_a_gpu_that_is_not_there(folder, tmp_path):
    with pytest.raises(SettingsError, match="device: expected one that torch can use, found 'cuda' and no GPU"):
        train_rim_models(folder, tmp_path / "m", ["aprl"], device="cuda")


@pytest.mark.parametrize("name", ["qsmrimnet", "rimnet"])
def test_a_network_of_other_cells_is_refused(trained, tmp_path, name):
    contents = load_fold_model(trained[1] / name / "fold_0" / "model.pth")
    other = read_lesion_set(write_lesions(tmp_path / "f", geometry=(8, 32, 32), patients=2, rim_patients=1))
    message = rf"expected patches of \(8, 16, 16\) cells as the model {name} was trained on, found \(8, 32, 32\)"
    with pytest.raises(ModelError, match=message):
        probabilities(contents, other)


@pytest.mark.parametrize("name", ["qsmrimnet", "aprl", "radiomics"])
def test_a_model_of_other_features_is_refused_by_name(trained, tmp_path, name):
    contents = load_fold_model(trained[1] / name / "fold_0" / "model.pth")
    how = {"geometry": (8, 16, 16), "patients": 2, "rim_patients": 1}
    other = read_lesion_set(write_lesions(tmp_path / "f", names=FEATURES[1:], **how))
    with pytest.raises(ModelError, match=rf"features of the model {name}, 1 are missing, such as {FEATURES[0]}"):
        probabilities(contents, other)


def test_features_may_stand_in_another_order(trained, folder, tmp_path):
    table = pd.read_csv(folder / "features.csv", dtype=str)
    copy = shutil.copytree(folder, tmp_path / "copy")
    table[[*table.columns[:3], *table.columns[:2:-1]]].to_csv(copy / "features.csv", index=False)
    contents = load_fold_model(trained[1] / "radiomics" / "fold_0" / "model.pth")
    first, second = (probabilities(contents, read_lesion_set(place)) for place in (folder, copy))
    np.testing.assert_allclose(first, second, atol=1e-12)


@pytest.mark.parametrize(("key", "value"), [("format", "rim model 9"), ("model", "other")])
def test_a_model_of_another_version_is_refused(trained, tmp_path, key, value):
    contents = load_fold_model(trained[1] / "aprl" / "fold_0" / "model.pth")
    torch.save({**contents, key: value}, tmp_path / "model.pth")
    with pytest.raises(ModelError, match=rf"expected 'rim model 1' of one of .*{value}"):
        load_fold_model(tmp_path / "model.pth")


def test_recipes_of_the_full_and_the_small_networks():
    full, small = TrainingOptions(), TrainingOptions(small=True)
    assert [full.recipe(kind).epochs for kind in ("qsmrimnet", "rimnet")] == [60, 40]
    assert full.recipe("rimnet").loss == "focal"
    assert [full.recipe(kind).augmentation for kind in ("qsmrimnet", "rimnet")] == ["flips", "moves"]
    assert TrainingOptions(augmentation="none").recipe("rimnet").augmentation == "none"
    assert small.recipe("qsmrimnet").learning_rate == 10 * full.recipe("qsmrimnet").learning_rate
    assert TrainingOptions(epochs=7).recipe("rimnet").epochs == 7
    assert issubclass(OptionError, NnunetMsError)
