"""A model of lesion core and rim: rules of its masks, its lesions' scores, its tables, pictures and refusals."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from nnunet_ms import tables
from nnunet_ms.errors import ImageError, SettingsError
from nnunet_ms.images.volumes import Grid, Volume
from nnunet_ms.lesions.labelling import find_lesions
from nnunet_ms.lesions.rims import RimDecision, shell_of
from nnunet_ms.trainers.prediction.case_measures import Measuring, _labels, lesion_and_rim
from nnunet_ms.trainers.prediction.export import rims_of_positive
from nnunet_ms.trainers.prediction.open_model import open_model
from nnunet_ms.trainers.prediction.predict import predict
from nnunet_ms.trainers.prediction.rim_pictures import rim_figure
from nnunet_ms.trainers.prediction.rim_tables import rim_parts
from tests.trainers.tiny_model import SHAPE, SPACING, write_results

CONTENT = {
    "channel_names": {"0": "qsm", "1": "flair"},
    "labels": {"background": 0, "core": 1, "rim": 2},
    "numTraining": 4,
    "file_ending": ".nii.gz",
    "patients": {"a_1": "a", "b_1": "b"},
}
WORDS = {"mc_samples": 0, "tta": False, "device": "cpu", "threshold": 0.3}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    root = tmp_path_factory.mktemp("nnunet")
    return write_results(root, folds=(0,), trainer_name="nnUNetTrainerMSRimTiny", dataset_json=CONTENT)


def write_case(folder, case, number, factor=1.0):
    rng = np.random.default_rng(number)
    affine = np.diag([-SPACING[0], SPACING[1], SPACING[2], 1.0])
    for channel, data in enumerate((factor * rng.normal(0, 40, SHAPE), rng.normal(100, 20, SHAPE))):
        data[:2] = data[-1:] = 0
        nib.save(nib.Nifti1Image(data.astype(np.float32), affine), folder / f"{case}_{channel:04d}.nii.gz")


@pytest.fixture(scope="module")
def predicted(model, tmp_path_factory):
    images, out = tmp_path_factory.mktemp("images"), tmp_path_factory.mktemp("predicted") / "out"
    for number, case in enumerate(("a_1", "b_1")):
        write_case(images, case, number)
    write_case(images, "ppm_1", 5, factor=0.001)
    return images, out, predict(images, out, model=model, **WORDS)


def array(path):
    return np.asarray(nib.load(path).dataobj)


def test_lesions_are_core_and_rim_together_and_have_scores(predicted):
    _, out, done = predicted
    lesions = pd.read_csv(out / "lesions.csv")
    assert set(lesions["lesion_type"]) == {"t2_lesions"}
    assert lesions["rim_score"].between(0, 1).all()
    assert (lesions["rim"] == (lesions["rim_score"] >= 0.5)).all()
    for case, rows in lesions.groupby("case_id"):
        mask, p = array(out / f"{case}.nii.gz"), array(out / "probability" / f"{case}_t2_lesions.nii.gz")
        rim = array(out / "probability" / f"{case}_rim.nii.gz")
        assert np.array_equal(mask > 0, p > 0.3)
        assert np.array_equal(mask == 2, (p > 0.3) & (rim > 0.3))
        assert (p >= rim - 1e-6).all()
        # Oracle: a second labelling, whole image
        from scipy import ndimage

        numbers, count = ndimage.label(mask > 0, ndimage.generate_binary_structure(3, 2))
        scores = []
        for number in range(1, count + 1):
            here = numbers == number
            if here.sum() >= 3:
                scores.append(rim[shell_of(here, SPACING)].mean())
        assert sorted(scores) == pytest.approx(sorted(rows["rim_score"]), abs=1e-5)
    assert done.lesions["rim"].tolist() == lesions["rim"].tolist()


def test_tables_count_rims_and_are_those_that_others_read(predicted):
    _, out, done = predicted
    visits = tables.read_table(out / "visits.csv", tables.VISITS)
    lesions = pd.read_csv(out / "lesions.csv")
    counts = pd.read_csv(out / "rim_lesions.csv").groupby("patient_id")["rim"].sum().rename(lambda name: f"{name}_1")
    assert visits["prl_count"].tolist() == [int(counts.get(case, 0)) for case in visits["case_id"]]
    assert visits["lesion_count"].tolist() == lesions.groupby("case_id").size().reindex(visits["case_id"]).tolist()
    assert pd.read_csv(out / "cases.csv").groupby("case_id").size().tolist() == [1, 1]
    table = pd.read_csv(out / "rim_lesions.csv")
    names = ["patient_id", "visit", "week", "lesion_id", "voxels", "volume_ml", "x_mm", "y_mm", "z_mm"]
    assert list(table) == [*names, "probability", "threshold", "rim", "model", "component"]
    highest = table.groupby(["patient_id", "component"])["probability"].max()
    assert highest.tolist() == pytest.approx(lesions["rim_score"].tolist())
    assert table.groupby(["patient_id", "component"])["voxels"].sum().tolist() == lesions["voxels"].tolist()
    assert done.visits["prl_count"].tolist() == visits["prl_count"].tolist()


def test_rim_masks_hold_the_rims_of_rim_positive_lesions_only(model, predicted, tmp_path):
    images, out, _ = predicted
    for threshold, name in ((0.0001, "all"), (0.9999, "none")):
        predict(images, tmp_path / name, model=model, rim_threshold=threshold, pictures=False, **WORDS)
        for case in ("a_1", "b_1"):
            mask, rims = array(tmp_path / name / f"{case}.nii.gz"), array(tmp_path / name / "rim" / f"{case}.nii.gz")
            assert rims.shape == mask.shape == SHAPE
            assert not (rims.astype(bool) & (mask != 2)).any()
            assert rims.any() == ((mask == 2).any() and name == "all")
    assert (out / "qc_rim" / "a_1.png").stat().st_size > 5000


def test_qsm_in_ppm_is_listed_with_what_to_do(model, predicted, tmp_path):
    _, out, done = predicted
    assert [failure.case for failure in done.failures] == ["ppm_1"]
    assert "this is ppm. Multiply by 1000 (fslmaths" in pd.read_csv(out / "failures.csv")["reason"][0]
    write_case(tmp_path, "ppm", 5, factor=0.001)
    files = {"qsm": tmp_path / "ppm_0000.nii.gz", "flair": tmp_path / "ppm_0001.nii.gz"}
    with pytest.raises(ImageError, match="this is ppm"):
        open_model(model, 0, device="cpu").predict(files, mc_samples=0, tta=False)


def test_from_python_the_same_lesions(model, predicted, tmp_path):
    images, out, _ = predicted
    files = {"qsm": images / "a_1_0000.nii.gz", "flair": images / "a_1_0001.nii.gz"}
    found = open_model(model, 0, device="cpu").predict(files, mc_samples=0, tta=False, threshold=0.3)
    lesions = pd.read_csv(out / "lesions.csv").query("case_id == 'a_1'")
    assert found.lesions["rim_score"].to_numpy() == pytest.approx(lesions["rim_score"].to_numpy())
    assert set(found.types) == {"t2_lesions", "rim"}
    found.save(tmp_path / "saved", "a_1")
    assert "prl_count" in pd.read_csv(tmp_path / "saved" / "visits.csv")


@pytest.mark.parametrize("threshold", [0.0, 1.0, -1.0, 2.0])
def test_threshold_of_the_score_lies_between_0_and_1(model, predicted, tmp_path, threshold):
    with pytest.raises(SettingsError, match="rim_threshold: expected 0 < t < 1"):
        predict(predicted[0], tmp_path / "out", model=model, rim_threshold=threshold, **WORDS)


def test_a_model_without_rims_takes_no_threshold_of_rims(model_folder, image_folder, tmp_path):
    with pytest.raises(SettingsError, match="none for a model without the labels core and rim"):
        predict(image_folder, tmp_path / "out", model=model_folder, rim_threshold=0.3, **WORDS)


def test_without_splitting_every_component_is_one_lesion(model, predicted, tmp_path):
    images, out, _ = predicted
    predict(images, tmp_path / "whole", model=model, rim_split=False, pictures=False, **WORDS)
    whole, lesions = (pd.read_csv(tmp_path / "whole" / f"{name}.csv") for name in ("rim_lesions", "lesions"))
    assert whole["voxels"].tolist() == lesions["voxels"].tolist()
    assert whole["component"].tolist() == whole["lesion_id"].tolist() == lesions["lesion_id"].tolist()
    assert whole["probability"].tolist() == lesions["rim_score"].tolist()
    parts = pd.read_csv(out / "rim_lesions.csv")
    assert len(parts) >= len(whole)
    assert json.loads((out / "prediction.json").read_text())["rim_splitting"]["prominence_mm"] == 0.5
    assert json.loads((tmp_path / "whole" / "prediction.json").read_text())["rim_splitting"] is None


def test_a_model_without_rims_has_nothing_to_take_apart(model_folder, image_folder, tmp_path):
    with pytest.raises(SettingsError, match="rim_split: expected none for a model without the labels core and rim"):
        predict(image_folder, tmp_path / "out", model=model_folder, rim_split=False, **WORDS)


@pytest.mark.parametrize("rims", [(), (1,), (2,), (1, 2)])
def test_parts_of_a_confluent_lesion_count_each(rims):
    # Oracle: two balls of 6 mm that touch, of which those in `rims` have a segmented rim.
    x, y, z = np.ogrid[:32, :28, :28]
    far = [np.sqrt((x - c) ** 2 + (y - 14) ** 2 + (z - 14) ** 2) for c in (10, 20)]
    mask = np.minimum(*far) <= 6
    ball = np.where(far[0] <= far[1], 1, 2)
    rim = shell_of(mask, (1.0, 1.0, 1.0)) & np.isin(ball, rims)
    lesions = find_lesions(Volume(mask, Grid(mask.shape, np.eye(4)), Path("mask.nii.gz")))
    found = rim_parts(lesions, rim.astype(float), rim, RimDecision())
    assert found.table["component"].tolist() == [1, 1]
    assert found.count == len(rims)
    assert found.table["rim"].tolist() == [int(number in rims) for number in (1, 2)]
    assert found.table["x_mm"].tolist() == pytest.approx([10, 20], abs=0.6)
    kept = rims_of_positive(np.where(rim, 2, mask).astype(np.uint8), found)
    assert np.array_equal(kept > 0, rim)
    whole = rim_parts(lesions, rim.astype(float), rim, RimDecision(splitting=None))
    assert len(whole.table) == 1
    assert whole.table["rim_score"].tolist() == pytest.approx([len(rims) / 2], abs=0.02)


def test_lesion_is_likely_where_core_and_rim_are_undecided():
    core, rim = np.meshgrid(np.linspace(-30, 30, 13), np.linspace(-30, 30, 13))
    z = np.stack([core, rim])[..., None].astype(np.float32)
    p = 1 / (1 + np.exp(-z.astype(np.float64)))
    found = 1 / (1 + np.exp(-lesion_and_rim(z).astype(np.float64)))
    assert found[0] == pytest.approx(1 - (1 - p[0]) * (1 - p[1]), abs=1e-6)
    assert found[1] == pytest.approx(p[1], abs=1e-6)
    assert np.isfinite(lesion_and_rim(np.full((2, 1, 1, 1), -200, np.float32))).all()


def test_the_rim_of_a_mask_lies_in_the_lesion():
    p = np.random.default_rng(0).random((2, 4, 5, 6)).astype(np.float32)
    labels = _labels(p, Measuring((("t2_lesions", 1), ("rim", 2)), rim=RimDecision()), 0.5)
    assert np.array_equal(labels > 0, p[0] > 0.5)
    assert np.array_equal(labels == 2, (p > 0.5).all(axis=0))


@pytest.mark.parametrize("channels", [("qsm", "flair"), ("qsm",), ("flair",)])
@pytest.mark.parametrize("count", [0, 1, 9])
def test_picture_of_any_channels_and_any_number_of_lesions(channels, count):
    shape = (20, 24, 6)
    rng = np.random.default_rng(count)
    lesions = pd.DataFrame(rng.random((count, 4)) * 5, columns=["x_mm", "y_mm", "z_mm", "rim_score"])
    lesions = lesions.assign(rim_score=lesions["rim_score"] / 5, rim=1)
    shown = {name: rng.normal(0, 40, shape) for name in channels}
    figure = rim_figure(
        shown, rng.integers(0, 3, shape).astype(np.uint8), lesions, Grid(shape, np.eye(4)), "x", RimDecision()
    )
    assert len(figure.axes) == len(channels) * max(min(count, 6), 1)
    assert ("QSM in grey from -150 to 150 ppb" in figure.get_supxlabel()) == ("qsm" in channels)
