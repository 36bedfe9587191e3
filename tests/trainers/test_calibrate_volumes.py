"""`nnunet-ms-model calibrate` and what predictions do with it. Oracles: volumes that are known, the core by hand."""

import json
import math
import shutil

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from nnunet_ms.errors import ImageError, ModelError, SettingsError, TableError
from nnunet_ms.images.volumes import read_volume
from nnunet_ms.tables import PREDICTED_CASES, read_table
from nnunet_ms.trainers.calibrate_volumes import calibrate_model
from nnunet_ms.trainers.model_cli import main
from nnunet_ms.trainers.pack_model import draft_model_card, install_model, pack_model
from nnunet_ms.trainers.prediction.calibration_file import FILE
from nnunet_ms.trainers.prediction.open_model import open_model
from nnunet_ms.trainers.prediction.predict import predict
from nnunet_ms.trainers.prediction.volume_calibration import HeldOut, Seen, fit_calibration, log_odds_counts

SHAPE, VOXEL_ML = (6, 7, 5), 0.003
NEW = ("calibrated_volume_ml", "calibrated_lower_ml", "calibrated_upper_ml", "volume_calibration_note")
PLAIN = {"device": "cpu", "mc_samples": 0, "tta": False, "folds": 0}


@pytest.fixture
def model(model_folder, tmp_path):
    """A copy of the tiny model that may be calibrated."""
    return shutil.copytree(model_folder, tmp_path / model_folder.parent.name / model_folder.name)


def write_table(path, n=10, factor=2.0, **columns):
    truths = np.geomspace(0.5, 40, n)
    frame = {"case_id": [f"c{i}" for i in range(n)], "patient_id": [f"p{i}" for i in range(n)]}
    frame |= {"expected_volume_ml": factor * truths, "reference_volume_ml": truths} | columns
    pd.DataFrame({name: value for name, value in frame.items() if value is not None}).to_csv(path, index=False)
    return path


def image(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, np.diag([1.0, 1.0, 3.0, 1.0])), path)


def case_maps(number):
    rng = np.random.default_rng(number)
    z = rng.normal(-1, 2, SHAPE)
    return 1 / (1 + np.exp(-z)), (rng.random(SHAPE) < 1 / (1 + np.exp(1 - z / 2))).astype(np.uint8)


def write_validation(model, masks, cases=10, folds=2):
    """What nnU-Net's validation leaves, (H, z, y, x) probabilities in float32; returns the cases by hand."""
    by_hand = []
    for n in range(cases):
        p, mask = case_maps(n)
        place = model / f"fold_{n % folds}" / "validation"
        image(place / f"v_{n}.nii.gz", (p > 0.5).astype(np.uint8))
        np.savez_compressed(place / f"v_{n}.npz", probabilities=np.stack([1 - p.T, p.T]).astype(np.float32))
        image(masks / f"v_{n}.nii.gz", mask)
        seen = Seen(p.sum() * VOXEL_ML, log_odds_counts(p) * VOXEL_ML)
        lesions = log_odds_counts(p, mask > 0) * VOXEL_ML
        by_hand.append(HeldOut(f"v_{n}", f"v_{n}", seen, mask.sum() * VOXEL_ML, lesions))
    return by_hand


def test_validation_of_nnunet_is_read_as_the_network_means_it(model, tmp_path, monkeypatch):
    expected = fit_calibration(write_validation(model, tmp_path / "masks"))
    done = calibrate_model(model, references=tmp_path / "masks")
    found = done.calibration.labels[0]
    assert found.fit.platt == pytest.approx(expected.fit.platt, abs=0.02)  # float32, and bins of log-odds
    assert found.measured.error_before == pytest.approx(expected.measured.error_before, rel=1e-3)
    assert (found.cases, found.patients, done.calibration.dropout) == (10, 10, False)
    assert done.notes == ("10 cases without patient in dataset.json: each is its own",)
    place = tmp_path / "raw" / model.parent.name / "labelsTr"
    shutil.copytree(tmp_path / "masks", place)
    monkeypatch.delenv("nnUNet_preprocessed", raising=False)
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
    assert calibrate_model(model).calibration.sha256 == done.calibration.sha256


def test_predictions_of_a_calibrated_model_have_volumes_with_intervals(model, image_folder, tmp_path):
    predict(image_folder, tmp_path / "before", model=model, pictures=False, **PLAIN)
    done = calibrate_model(model, cases=write_table(tmp_path / "seen.csv"), offset_ml=1e-6)
    predict(image_folder, tmp_path / "after", model=model, pictures=False, **PLAIN)
    before, after = (read_table(tmp_path / one / "cases.csv", PREDICTED_CASES) for one in ("before", "after"))
    assert not set(NEW) & set(before)
    assert [name for name in after if name not in NEW] == list(before)
    assert after["expected_volume_ml"].tolist() == before["expected_volume_ml"].tolist()
    expected = after["expected_volume_ml"].astype(float)
    assert (tmp_path / "before" / "a_1.nii.gz").read_bytes() == (tmp_path / "after" / "a_1.nii.gz").read_bytes()
    for column in NEW[:3]:
        np.testing.assert_allclose(after[column].astype(float), expected / 2, rtol=1e-4)
    records = [json.loads((tmp_path / one / "prediction.json").read_text()) for one in ("before", "after")]
    assert "volume_calibration" not in records[0]
    assert records[1]["volume_calibration"]["sha256"] == done.calibration.sha256
    assert records[1]["volume_calibration"]["labels"]["lesion"]["patients"] == 10
    files = {name: image_folder / f"a_1_{n:04d}.nii.gz" for n, name in enumerate(("t1", "flair", "t2"))}
    how = {name: value for name, value in PLAIN.items() if name not in ("device", "folds")}
    alone = open_model(model, folds=0, device="cpu").predict(files, **how).patient
    assert alone["calibrated_volume_ml"].iloc[0] == pytest.approx(expected[0] / 2, rel=1e-4)
    p = read_volume(tmp_path / "after" / "probability" / "a_1.nii.gz").data
    assert (p.astype(float)).sum() * VOXEL_ML == pytest.approx(expected[0], rel=1e-5)


def write_prediction(folder, model, cases, folds=("0",), samples=0):
    for n in cases:
        image(folder / "probability" / f"v_{n}.nii.gz", case_maps(n)[0].astype(np.float32))
    record = {"model": model.name, "dataset": model.parent.name, "folds": list(folds), "lesion_types": ["t2_lesions"]}
    record["sampling"] = {"samples": samples, "probability": 0.1}
    (folder / "prediction.json").write_text(json.dumps(record))
    rows = [
        {"case_id": f"v_{n}", "patient_id": f"q{n // 2}", "visit": "1", "week": 0, "role": "test", "rater": "m"}
        | {"lesion_type": "t2_lesions", "psu": 0.1, "content_voxels": 9}
        for n in cases
    ]
    pd.DataFrame(rows).to_csv(folder / "cases.csv", index=False)
    return folder


def test_predicted_folders_calibrate_with_their_patients(model, tmp_path):
    write_validation(model, tmp_path / "masks", cases=4)
    one = write_prediction(tmp_path / "one", model, [0, 2], samples=10)
    two = write_prediction(tmp_path / "two", model, range(4, 12), folds=("0", "1"), samples=10)
    for n in range(4, 12):
        image(tmp_path / "masks" / f"v_{n}.nii.gz", case_maps(n)[1])
    done = calibrate_model(model, predicted=[one, two], references=tmp_path / "masks")
    assert (done.calibration.labels[0].cases, done.calibration.labels[0].patients) == (10, 6)
    assert done.calibration.dropout is True
    assert any("8 cases are in no fold's validation" in note for note in done.notes)
    assert any("6 patients allow 86 % at most, 90 % need 9" in note for note in done.notes)
    with pytest.raises(SettingsError, match=r"case v_1: expected a prediction by fold 1 alone.*found folds 0"):
        calibrate_model(
            model, predicted=[write_prediction(tmp_path / "three", model, [1])], references=tmp_path / "masks"
        )
    with pytest.raises(SettingsError, match=r"case v_0 stands in .*one too"):
        calibrate_model(model, predicted=[one, one], references=tmp_path / "masks")


def test_calibration_travels_with_the_package_and_its_hash_is_checked(
    model, image_folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("NNUNET_MS_MODELS", str(tmp_path / "models"))
    assert main(["calibrate", str(model), "--cases", str(write_table(tmp_path / "seen.csv", n=9))]) == 0
    told = "volumes of lesion calibrated on 9 cases of 9 patients, 90 % intervals; on patients left out: mean error of"
    assert told in capsys.readouterr().out
    text = draft_model_card(model, name="random", licence="CC0-1.0").replace("<fill in", "<filled")
    (tmp_path / "CARD.md").write_text(text)
    packed = pack_model(model, tmp_path, name="random", licence="CC0-1.0", card=tmp_path / "CARD.md")
    assert any(told in note for note in packed.notes)
    assert main(["show", str(packed.path)]) == 0
    assert told in capsys.readouterr().out
    found = install_model(packed.path)
    assert main(["show", "random"]) == 0
    assert told in capsys.readouterr().out
    with pytest.raises(SettingsError, match="found a packed model, whose files have hashes"):
        calibrate_model(found.folder, cases=tmp_path / "seen.csv")
    path = found.folder / FILE
    path.write_text(path.read_text().replace('"level": 0.9', '"level": 0.5'))
    with pytest.raises(ModelError, match=r"volume_calibration\.json: expected SHA-256 .* by model\.json"):
        predict(image_folder, tmp_path / "out", model="random", **PLAIN)


def test_other_sampling_than_the_calibrations_is_noted(model, image_folder, tmp_path):
    write_validation(model, tmp_path / "masks")
    calibrate_model(model, references=tmp_path / "masks")
    files = {name: image_folder / f"a_1_{n:04d}.nii.gz" for n, name in enumerate(("t1", "flair", "t2"))}
    opened = open_model(model, folds=0, device="cpu")
    dropped = opened.predict(files, mc_samples=1, dropout=0.2).patient.iloc[0]
    assert "calibrated on predictions without dropout" in dropped["volume_calibration_note"]
    assert dropped["calibrated_lower_ml"] <= dropped["calibrated_volume_ml"] <= dropped["calibrated_upper_ml"]
    assert math.isfinite(dropped["calibrated_upper_ml"])


@pytest.mark.parametrize(
    ("columns", "error", "match"),
    [
        ({"reference_volume_ml": None}, TableError, r"needs columns \['reference_volume_ml'\]"),
        ({"expected_volume_ml": [-1.0] * 10}, TableError, "expected_volume_ml"),
        ({"case_id": ["c"] * 10}, TableError, "stands twice"),
        (
            {"lesion_type": ["t1_enhancing"] * 10},
            TableError,
            r"row 1: expected lesion_type out of .*found t1_enhancing",
        ),
        ({"patient_id": ["p"] * 10}, SettingsError, "expected held-out cases of 4 patients or more, found 1"),
        ({"reference_volume_ml": [0.0] * 10}, SettingsError, "3 patients with lesions or more, found 0"),
    ],
)
def test_tables_that_cannot_calibrate_are_refused(columns, error, match, model, tmp_path):
    with pytest.raises(error, match=match):
        calibrate_model(model, cases=write_table(tmp_path / "seen.csv", **columns))
    assert not (model / FILE).exists()


def test_a_table_without_patients_says_that_cases_are_patients(model, tmp_path):
    done = calibrate_model(
        model, cases=write_table(tmp_path / "seen.csv", patient_id=None, lesion_type=["lesion"] * 10)
    )
    assert done.notes == ("no column patient_id: each case is its own patient",)


def test_what_is_missing_or_does_not_fit_is_named(model, tmp_path, monkeypatch):
    for variable in ("nnUNet_preprocessed", "nnUNet_raw"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(SettingsError, match=r"expected probabilities fold_X/validation/\*\.npz.*--val --npz"):
        calibrate_model(model)
    write_validation(model, tmp_path / "masks")
    with pytest.raises(SettingsError, match="references: expected the reference masks in nnUNet_preprocessed"):
        calibrate_model(model)
    with pytest.raises(SettingsError, match="references: expected the folder of reference masks beside --predicted"):
        calibrate_model(model, predicted=[tmp_path])
    with pytest.raises(SettingsError, match=r"prediction\.json: expected the record of nnunet-ms-predict"):
        calibrate_model(model, predicted=[tmp_path], references=tmp_path / "masks")
    with pytest.raises(SettingsError, match="expected a table"):
        calibrate_model(model, cases="x.csv", references=tmp_path / "masks")
    image(tmp_path / "masks" / "v_3.nii.gz", np.zeros((6, 7, 4), np.uint8))
    with pytest.raises(ImageError, match=r"prediction of v_3: expected the grid of"):
        calibrate_model(model, references=tmp_path / "masks")
    (tmp_path / "masks" / "v_3.nii.gz").unlink()
    with pytest.raises(SettingsError, match="expected the reference of case v_3, found no such file"):
        calibrate_model(model, references=tmp_path / "masks")
    (model / "fold_1" / "validation" / "v_0.npz").write_bytes(b"0")
    with pytest.raises(SettingsError, match="expected each case in one fold, found it in fold 0 too"):
        calibrate_model(model, references=tmp_path / "masks")
    assert not (model / FILE).exists()
