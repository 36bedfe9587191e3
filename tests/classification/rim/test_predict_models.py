"""Prediction by trained folds: their mean, counts of visits, masks and pictures, and what does not belong together."""

import importlib
import json
import shutil

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from nnunet_ms.checkpoints import load_checkpoint, save_checkpoint
from nnunet_ms.classification.rim.cohort import FILE_COLUMNS, read_cohort
from nnunet_ms.classification.rim.dataset import DATASET_VISITS, rim_dataset
from nnunet_ms.classification.rim.evaluation import evaluate_rims
from nnunet_ms.classification.rim.fold_models import load_fold_model, probabilities
from nnunet_ms.classification.rim.lesion_boxes import visit_lesions
from nnunet_ms.classification.rim.lesion_set import read_lesion_set
from nnunet_ms.classification.rim.predict_models import model_folder, predict_rims
from nnunet_ms.classification.rim.train_models import train_rim_models
from nnunet_ms.classification.rim_cli import main
from nnunet_ms.errors import ModelError, OptionError, SettingsError, TableError
from nnunet_ms.tables import VISITS, read_table
from tests.classification.rim.tiny_lesions import NAMES, write_lesions
from tests.classification.rim.visits import lesion_mask, write_visit

PATIENTS = ("01", "02", "03", "04", "05")  # the last has no lesion


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Images and manifest of five patients, and the folder of their lesions' features."""
    folder = tmp_path_factory.mktemp("study")
    rows = []
    for patient in PATIENTS:
        (folder / patient).mkdir()
        empty = {"lesions": np.zeros(lesion_mask().shape, np.uint8)} if patient == PATIENTS[-1] else {}
        case = write_visit(folder / patient, **empty)
        files = {name: getattr(case, name) for name in FILE_COLUMNS}
        paths = {name: path.relative_to(folder).as_posix() for name, path in files.items() if path}
        rows.append({"patient_id": patient, "visit": "base", "week": 0, **paths})
    pd.DataFrame(rows).to_csv(folder / "manifest.csv", index=False)
    write_features(folder)
    return folder


def write_features(folder):
    (folder / "features" / "boxes").mkdir(parents=True)
    generator, rows = np.random.default_rng(0), []
    for case in read_cohort(folder / "manifest.csv"):
        lesions = visit_lesions(case).lesions
        rows += [lesion.row | {"label": float(lesion.lesion_id < 3)} for lesion in lesions]
        patches = np.array([lesion.patch for lesion in lesions]).reshape(-1, 2, 8, 32, 32)
        np.savez(folder / "features" / "boxes" / f"{case.case_id}.npz", patches=patches)
    visits = pd.DataFrame({"patient_id": PATIENTS, "visit": "base", "week": 0, "lesion_count": [3, 3, 3, 3, 0]})
    counts = dict.fromkeys(DATASET_VISITS.names[4:], 0)
    visits.assign(**counts).to_csv(folder / "features" / "rim_visits.csv", index=False)
    table = pd.DataFrame(rows)
    values = generator.normal(0, 0.1, (len(table), len(NAMES))) + 2 * table[["label"]].to_numpy()
    features = pd.concat([table[["patient_id", "visit", "lesion_id"]], pd.DataFrame(values, columns=NAMES)], axis=1)
    table.to_csv(folder / "features" / "lesions.csv", index=False)
    features.to_csv(folder / "features" / "features.csv", index=False)


@pytest.fixture(scope="module")
def models(study):
    how = {"folds": 2, "epochs": 1, "small": True}
    train_rim_models(study / "features", study / "models", ["radiomics", "qsmrimnet"], **how)
    return study / "models"


@pytest.fixture(scope="module")
def predicted(study, models):
    output = study / "predicted"
    table = predict_rims(models / "radiomics", study / "features", output, manifest=study / "manifest.csv", pictures=4)
    return table, output


def test_probabilities_are_the_mean_of_the_folds(predicted, study, models):
    table, output = predicted
    folds = [load_fold_model(models / "radiomics" / f"fold_{k}" / "model.pth") for k in (0, 1)]
    lesions = read_lesion_set(study / "features")
    each = np.array([probabilities(contents, lesions) for contents in folds])
    np.testing.assert_allclose(table["probability"], each.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(table["probability_sd"], np.abs(each[0] - each[1]) / 2, atol=1e-12)
    assert set(table["threshold"]) == {np.mean([contents["threshold"] for contents in folds])}
    assert np.array_equal(table["rim"] == 1, table["probability"] >= table["threshold"])
    assert list(table["rim"]) == list(lesions.labels)  # its features tell all
    written = pd.read_csv(output / "rim_lesions.csv", dtype={"patient_id": str})
    assert list(written) == list(table)
    numbers = ["lesion_id", "x_mm", "z_mm", "label", "probability", "threshold", "rim"]
    pd.testing.assert_frame_equal(written[numbers], table[numbers], check_dtype=False)


def test_visits_are_counted_also_those_without_a_lesion(predicted):
    _, output = predicted
    visits = read_table(output / "visits.csv", VISITS)
    assert list(visits["patient_id"]) == list(PATIENTS)
    assert list(visits["lesion_count"]) == [3, 3, 3, 3, 0]
    assert [int(count) for count in visits["prl_count"]] == [2, 2, 2, 2, 0]
    assert set(visits["rater"]) == {"radiomics"}
    assert set(visits["lesion_type"]) == {"t2_lesions"}  # where a trial looks for the count


def test_masks_are_of_the_rims_in_the_grid_of_the_input(predicted, study):
    table, output = predicted
    for patient in PATIENTS:
        mask = nib.load(output / "masks" / f"{patient}_base.nii.gz")
        assert np.array_equal(mask.affine, nib.load(study / patient / "qsm.nii.gz").affine)
        rim = table[(table["patient_id"] == patient) & (table["rim"] == 1)]
        assert set(np.unique(np.asarray(mask.dataobj))) - {0} == set(rim["lesion_id"])


def test_pictures_of_the_most_and_least_certain(predicted):
    _, output = predicted
    assert sorted(path.name for path in (output / "pictures").iterdir()) == ["least_certain.png", "most_certain.png"]


def test_without_a_manifest_there_are_tables_only(study, models, tmp_path):
    table = predict_rims(models / "qsmrimnet", study / "features", tmp_path / "out")
    assert len(table) == 12
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["rim_lesions.csv", "visits.csv"]
    assert len(pd.read_csv(tmp_path / "out" / "visits.csv")) == 5


def test_a_folder_without_a_table_of_visits_knows_those_with_lesions(study, models, tmp_path):
    copy = shutil.copytree(study / "features", tmp_path / "copy")
    (copy / "rim_visits.csv").unlink()
    predict_rims(models / "radiomics", copy, tmp_path / "out")
    assert list(pd.read_csv(tmp_path / "out" / "visits.csv")["prl_count"]) == [2, 2, 2, 2]


def test_an_existing_output_is_left_alone(study, models, predicted):
    with pytest.raises(FileExistsError):
        predict_rims(models / "radiomics", study / "features", predicted[1])


def test_a_folder_of_several_models_or_none_is_refused(study, models, tmp_path):
    with pytest.raises(ModelError, match=r"found models qsmrimnet, radiomics\. Name one of them"):
        model_folder(models)
    with pytest.raises(ModelError, match=r"found none\. Train one"):
        model_folder(study / "features")
    shutil.copytree(models / "radiomics", tmp_path / "one" / "radiomics")
    assert model_folder(tmp_path / "one") == tmp_path / "one" / "radiomics"


def test_folds_of_two_models_are_no_model(study, models, tmp_path):
    mixed = shutil.copytree(models / "radiomics", tmp_path / "mixed")
    shutil.copytree(models / "qsmrimnet" / "fold_0", mixed / "fold_7")
    with pytest.raises(ModelError, match="expected folds of one model, found several"):
        predict_rims(mixed, study / "features", tmp_path / "out")


def test_a_damaged_fold_is_refused(study, models, tmp_path):
    damaged = shutil.copytree(models / "radiomics", tmp_path / "damaged")
    path = damaged / "fold_1" / "model.pth"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ModelError, match="expected SHA-256"):
        predict_rims(damaged, study / "features", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_manifest_of_other_visits_is_refused(study, models, tmp_path):
    rows = pd.read_csv(study / "manifest.csv", dtype=str)
    for name in FILE_COLUMNS[:4]:
        rows[name] = [str(study / path) for path in rows[name]]
    rows[rows["patient_id"] != "02"].to_csv(tmp_path / "m.csv", index=False)
    with pytest.raises(SettingsError, match=r"patient 02 visit base lacks\. Give the manifest that the features"):
        predict_rims(models / "radiomics", study / "features", tmp_path / "out", manifest=tmp_path / "m.csv")


def test_a_mask_that_was_redrawn_is_refused_and_nothing_is_written(study, models, tmp_path):
    copy = shutil.copytree(study, tmp_path / "copy")
    image = nib.load(copy / "03" / "lesions.nii.gz")
    data = np.asarray(image.dataobj).copy()
    data[np.nonzero(data)[0][0]] = 0
    nib.save(nib.Nifti1Image(data, image.affine), copy / "03" / "lesions.nii.gz")
    with pytest.raises(TableError, match=r"expected .* voxels as in lesions\.csv"):
        predict_rims(models / "radiomics", copy / "features", tmp_path / "out", manifest=copy / "manifest.csv")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("pictures", [-1, 1.5, True, "4"])
def test_pictures_are_a_number(study, models, tmp_path, pictures):
    with pytest.raises(OptionError, match="pictures: expected a whole number >= 0"):
        predict_rims(models / "radiomics", study / "features", tmp_path / "out", pictures=pictures)


@pytest.fixture(scope="module")
def measured(study):
    """A model of the 527 features of the study's lesions, measured by the step before."""
    folder = study / "measured"
    rim_dataset(study / "manifest.csv", folder)
    rows = pd.read_csv(folder / "lesions.csv", dtype={"patient_id": str})
    rows["label"] = (rows["lesion_id"] < 3).astype(float)
    rows.to_csv(folder / "lesions.csv", index=False)
    train_rim_models(folder, study / "measured_models", ["radiomics"], folds=2)
    return folder


def test_a_manifest_is_measured_as_the_lesions_of_the_training_were(study, measured, tmp_path, capsys):
    manifest, model = str(study / "manifest.csv"), str(study / "measured_models")
    assert main(["predict", model, manifest, "-o", str(tmp_path / "out"), "--pictures", "2"]) == 0
    assert "of 12 lesions rim+." in capsys.readouterr().out
    direct = predict_rims(model, measured, tmp_path / "direct")
    written = pd.read_csv(tmp_path / "out" / "rim_lesions.csv")
    np.testing.assert_allclose(written["probability"], direct["probability"], atol=1e-9)
    assert len(list((tmp_path / "out" / "masks").iterdir())) == 5
    assert len(pd.read_csv(tmp_path / "out" / "visits.csv")) == 5


def bytes_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def unbroken(study, measured):
    """What a run without a kill writes, from the manifest, with masks and pictures."""
    output = study / "unbroken"
    predict_rims(study / "measured_models", study / "manifest.csv", output, pictures=2)
    return bytes_of(output)


@pytest.mark.parametrize(
    ("step", "number"),
    [
        ("nnunet_ms.classification.rim.dataset._write_box", 4),
        ("nnunet_ms.classification.rim.dataset._write_tables", 1),
        ("nnunet_ms.tables.write_table", 2),
        ("nnunet_ms.classification.rim.predicted_masks.write_rim_mask", 5),
        ("nnunet_ms.classification.rim.mosaics.draw_mosaic", 2),
    ],
)
def test_a_prediction_that_is_killed_at_any_file_ends_with_the_same_bytes(
    study, measured, unbroken, tmp_path, monkeypatch, step, number
):
    module, name = step.rsplit(".", 1)
    whole, calls = getattr(importlib.import_module(module), name), []

    def killed(*given, **options):
        calls.append(given)
        if len(calls) == number:
            raise KeyboardInterrupt
        return whole(*given, **options)

    given = (study / "measured_models", study / "manifest.csv", tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(step, killed)
        with pytest.raises(KeyboardInterrupt):
            predict_rims(*given, pictures=2)
    assert not (tmp_path / "out").exists()
    predict_rims(*given, pictures=2)
    assert bytes_of(tmp_path / "out") == unbroken


def test_a_visit_that_cannot_be_read_is_listed_and_not_counted_as_one_without_rims(study, measured, tmp_path, capsys):
    copy = tmp_path / "copy"
    for name in ("01", "02"):
        shutil.copytree(study / name, copy / name)
    rows = pd.read_csv(study / "manifest.csv", dtype=str)
    rows[rows["patient_id"].isin(["01", "02"])].to_csv(copy / "manifest.csv", index=False)
    (copy / "02" / "flair.nii.gz").unlink()
    command = ["predict", str(study / "measured_models"), str(copy / "manifest.csv"), "-o", str(tmp_path / "out")]
    assert main(command) == 1
    assert "case 02_base" in capsys.readouterr().err
    assert list(pd.read_csv(tmp_path / "out" / "visits.csv", dtype=str)["patient_id"]) == ["01"]
    assert [path.name for path in (tmp_path / "out" / "masks").iterdir()] == ["01_base.nii.gz"]


@pytest.mark.parametrize("model", ["measured_models/radiomics", "models/qsmrimnet"])
def test_patients_without_a_lesion_have_no_rim_and_are_no_error(study, measured, models, tmp_path, model):
    copy = tmp_path / "copy"
    shutil.copytree(study / PATIENTS[-1], copy / PATIENTS[-1])
    rows = pd.read_csv(study / "manifest.csv", dtype=str)
    rows[rows["patient_id"] == PATIENTS[-1]].to_csv(copy / "manifest.csv", index=False)
    if model.startswith("measured"):
        table = predict_rims(study / model, copy / "manifest.csv", tmp_path / "out")
        assert table.empty
        assert list(table)[-5:] == ["probability", "probability_sd", "threshold", "rim", "model"]
        visits = read_table(tmp_path / "out" / "visits.csv", VISITS)
        assert [int(visits[name].iloc[0]) for name in ("lesion_count", "prl_count")] == [0, 0]
        mask = nib.load(tmp_path / "out" / "masks" / f"{PATIENTS[-1]}_base.nii.gz")
        assert not np.asarray(mask.dataobj).any()
        assert not (tmp_path / "out" / "pictures").exists()
    else:
        with pytest.raises(ModelError, match="expected the 5 features of the model qsmrimnet, 1 are missing"):
            predict_rims(study / model, copy / "manifest.csv", tmp_path / "out")


def test_a_unit_that_is_none(study, measured, tmp_path):
    with pytest.raises(OptionError, match="qsm_unit: expected one of 'ppb', 'ppm', 'unchecked', found 'T'"):
        predict_rims(study / "measured_models", study / "manifest.csv", tmp_path / "out", qsm_unit="T")


def test_a_model_of_another_extent_is_refused(study, measured, tmp_path):
    copy = shutil.copytree(measured, tmp_path / "copy")
    settings = json.loads((copy / "settings.json").read_text())
    (copy / "settings.json").write_text(json.dumps(settings | {"extent_mm": 30.0}))
    with pytest.raises(ModelError, match=r"measured with extent_mm 24\.0 as those that the model radiomics .*30\.0"):
        predict_rims(study / "measured_models", copy, tmp_path / "out")


def test_the_commands_train_and_say_what_they_left_out(tmp_path, capsys):
    folder = write_lesions(tmp_path / "features", geometry=(8, 16, 16))
    rows = pd.read_csv(folder / "lesions.csv", dtype={"patient_id": str})
    rows.loc[5, "label"] = np.nan
    rows.to_csv(folder / "lesions.csv", index=False)
    assert (
        main(
            [
                "train",
                str(folder),
                "-o",
                str(tmp_path / "m"),
                "--models",
                "radiomics,radiomics-oversampling",
                "--folds",
                "2",
            ]
        )
        == 0
    )
    told = capsys.readouterr().out
    assert "142 probabilities out of fold of 2 models. 1 lesions without a label were left out." in told
    assert main(["train", str(folder), "-o", str(tmp_path / "m"), "--models", "radiomix"]) == 2
    assert "Did you mean 'radiomics'" in capsys.readouterr().err


def forget(contents, key):
    del contents[key]


def scramble(contents):
    contents["weights"]["left"] += 10_000


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("aprl", lambda c: c.update(threshold="x"), "threshold of type str"),
        ("aprl", lambda c: c.update(threshold=float("nan")), "threshold nan"),
        ("aprl", lambda c: forget(c, "feature_names"), r"\['feature_names'\] missing"),
        ("aprl", lambda c: c.update(mean=c["mean"][:2]), "mean and sd of 2 and 3 features for 3 names"),
        ("aprl", lambda c: c.update(sd=c["sd"] * np.nan), "no finite numbers as sd"),
        ("aprl", lambda c: c.update(lesion_settings=None), "lesion_settings of type NoneType"),
        ("aprl", lambda c: c.update(model=["aprl"]), r"of \['aprl'\]"),
        ("aprl", lambda c: c.update(weights={}), r"a forest of \[\]"),
        ("aprl", scramble, "trees that lead nowhere"),
        ("radiomics", lambda c: c["weights"].update(weights=c["weights"]["weights"][:2]), "a regression of"),
        ("radiomics", lambda c: c["weights"].update(intercept=c["weights"]["intercept"] * np.nan), "no finite numbers"),
        ("qsmrimnet", lambda c: forget(c["weights"], next(iter(c["weights"]))), "weights that are not its network's"),
        ("qsmrimnet", lambda c: next(iter(c["weights"].values())).fill_(np.nan), "no finite numbers as same_spread"),
        ("qsmrimnet", lambda c: forget(c, "options"), r"\['options'\] missing"),
        ("qsmrimnet", lambda c: c["options"].update(fusion="product"), "weights that are not its network's"),
    ],
)
def test_a_model_that_no_training_has_written_is_refused(study, kept, tmp_path, name, damage, message):
    model = shutil.copytree(kept / name, tmp_path / "model")
    path = model / "fold_1" / "model.pth"
    contents = load_checkpoint(path)
    damage(contents)
    save_checkpoint(contents, path)
    with pytest.raises(ModelError, match=rf"fold_1.model.pth: .*{message}"):
        predict_rims(model, study / "features", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def kept(study, models, tmp_path_factory):
    """Folds of three kinds of models."""
    folder = shutil.copytree(models, tmp_path_factory.mktemp("kept") / "models")
    train_rim_models(study / "features", folder, ["aprl"], folds=2, epochs=1, small=True)
    return folder


@pytest.mark.parametrize("lost", ["fold_0", "fold_1"])
@pytest.mark.parametrize("alone", [False, True])
def test_a_training_under_way_does_not_predict_by_some_of_its_folds(study, kept, tmp_path, lost, alone):
    folder = shutil.copytree(kept, tmp_path / "models")
    shutil.rmtree(folder / "radiomics" / lost)
    model = folder / "radiomics"
    if alone:  # copied without the settings beside it: the last fold cannot be missed then
        model = shutil.copytree(model, tmp_path / "copy")
    if alone and lost == "fold_1":
        assert len(predict_rims(model, study / "features", tmp_path / "out"))
        return
    with pytest.raises(ModelError, match=rf"expected 2 folds, fold {lost[-1]} lacks \(1 found\). Repeat nnunet-ms-rim"):
        predict_rims(model, study / "features", tmp_path / "out")


@pytest.mark.parametrize(
    ("source", "wrong", "message"),
    [
        ("features", {"qsm_unit": "ppm"}, "qsm_unit: expected none, since .*features is a folder of features"),
        ("features", {"qsm_unit": "T"}, "qsm_unit: expected one of 'ppb', 'ppm', 'unchecked', found 'T'"),
        ("manifest.csv", {"manifest": "other.csv"}, "manifest: expected none, since .*manifest.csv is one"),
        ("features", {"device": "mps"}, "device: expected cpu, cuda or cuda:N, found 'mps'"),
    ],
)
def test_options_that_nothing_would_read_are_refused(study, models, tmp_path, source, wrong, message):
    with pytest.raises(SettingsError, match=message):
        predict_rims(models / "radiomics", study / source, tmp_path / "out", **wrong)


@pytest.mark.parametrize("function", [predict_rims, train_rim_models, evaluate_rims])
def test_a_misspelt_argument_is_answered_with_its_name(function):
    with pytest.raises(TypeError, match=rf"{function.__name__}: unknown argument 'progres'. Did you mean 'progress'"):
        function("a", "b", "c", progres=None)
