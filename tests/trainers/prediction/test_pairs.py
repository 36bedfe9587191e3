"""From two visits to what changed: pairs are converted, predicted by an untrained model, counted, drawn, analysed."""

import json

import matplotlib.image
import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from nnunet_ms.analysis.endpoints.lesion_counts import available, patient_counts
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.settings import read_settings
from nnunet_ms.dataset_conversion.cli import main as convert_main
from nnunet_ms.dataset_conversion.convert import convert
from nnunet_ms.images.volumes import Grid, read_mask
from nnunet_ms.trainers.prediction.open_model import open_model
from nnunet_ms.trainers.prediction.pair_pictures import NO_VISITS, pair_figure, visits_of
from nnunet_ms.trainers.prediction.predict import predict
from tests.analysis.synthetic_trial import SETTINGS, write_trial
from tests.trainers.tiny_model import write_results

SHAPE, AFFINE = (24, 26, 12), np.diag([4.0, 4.0, 6.0, 1.0])
AFFINE[:3, 3] = -48, -52, -30
KINDS = ("new", "enlarging", "resolved", "shrinking")
PATIENTS = ("P1", "P2")


def visit(place, seed, lesion):
    """A ball of a head with a lesion, its mask and its brain mask."""
    points = np.stack([*np.indices(SHAPE), np.ones(SHAPE)], axis=-1) @ AFFINE.T
    brain = np.linalg.norm(points[..., :3], axis=-1) < 40
    image = np.where(brain, np.random.default_rng(seed).normal(300, 15, SHAPE), 0)
    mask = np.linalg.norm(points[..., :3] - lesion, axis=-1) < 9
    image[mask] += 300
    place.mkdir(parents=True)
    for name, data in (("flair", image.astype(np.float32)), ("mask", mask), ("brain", brain)):
        nib.save(nib.Nifti1Image(data if name == "flair" else data.astype(np.uint8), AFFINE), place / f"{name}.nii.gz")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Two patients with a baseline and a follow-up, as a dataset of pairs."""
    root, rows = tmp_path_factory.mktemp("study"), []
    for number, patient in enumerate(PATIENTS):
        for week, lesion in ((0, (16, 8, 6)), (24, (-16, -8, 0))):
            place = f"{patient}/w{week}"
            visit(root / place, [number, week], lesion)
            files = {"flair": "flair", "t1_unenhancing": "mask", "brain_mask": "brain"}
            rows.append({"patient_id": patient, "visit": f"w{week}", "week": week})
            rows[-1] |= {name: f"{place}/{file}.nii.gz" for name, file in files.items()}
    pd.DataFrame(rows).to_csv(root / "manifest.csv", index=False)
    words = {"channels": "flair", "lesions": "t1_unenhancing", "target": "all", "pair_channels": "all"}
    words |= {"pairs": "consecutive", "registration": "none", "accept": "mask_contrast", "dataset_id": 7}
    return convert(root / "manifest.csv", raw=root / "raw", **words).folder


@pytest.fixture(scope="module")
def model(pairs, tmp_path_factory):
    content = json.loads((pairs / "dataset.json").read_text())
    assert content["pairs"]["lesions"] == "t1_unenhancing"
    root = tmp_path_factory.mktemp("nnunet")
    return write_results(root, folds=(0,), trainer_name="nnUNetTrainerMSBalancedTiny", dataset_json=content)


@pytest.fixture(scope="module")
def predicted(pairs, model, tmp_path_factory):
    out = tmp_path_factory.mktemp("predicted") / "out"
    words = {"mc_samples": 1, "tta": False, "dropout": 0.1, "device": "cpu", "threshold": 0.3}
    return out, predict(pairs / "imagesTr", out, model=model, cases=pairs / "cases.csv", **words)


def test_each_kind_of_change_has_masks_that_are_together_the_whole(predicted):
    out, _ = predicted
    for patient in PATIENTS:
        whole = read_mask(out / f"{patient}_w24.nii.gz", labels=range(5))
        for value, kind in enumerate(KINDS, start=1):
            part = read_mask(out / kind / f"{patient}_w24.nii.gz")
            np.testing.assert_array_equal(part.data != 0, whole.data == value)
            np.testing.assert_array_equal(part.grid.affine, whole.grid.affine)
    assert json.loads((out / "prediction.json").read_text())["pairs"] == {"target": "all", "lesions": "t1_unenhancing"}


def test_the_tables_carry_the_change(predicted):
    out, done = predicted
    visits = pd.read_csv(out / "visits.csv")
    assert visits["case_id"].tolist() == ["P1_w24", "P2_w24"]
    assert set(visits["lesion_type"]) == {"t1_unenhancing"}
    assert (set(visits["previous_visit"]), set(visits["previous_week"])) == ({"w0"}, {0.0})
    lesions = pd.read_csv(out / "lesions.csv")
    counted = lesions.groupby(["case_id", "lesion_type"]).size()
    assert counted.sum() > 0
    for row in visits.to_dict("records"):
        found = {kind: row[f"{kind}_lesion_count"] for kind in KINDS}
        assert found == {kind: counted.get((row["case_id"], kind), 0) for kind in KINDS}
    assert not done.failures


def test_endpoints_read_the_table_as_it_is(predicted, tmp_path):
    out, _ = predicted
    visits = pd.read_csv(out / "visits.csv")
    rows = [(p, arm, 30, "F", "US", 2.0, "") for p, arm in zip(PATIENTS, ("placebo", "active"), strict=True)]
    names = ["patient_id", "arm", "age_years", "sex", "region", "edss_baseline", "discontinued_week"]
    people = pd.DataFrame(rows, columns=names)
    edss = pd.DataFrame([(p, 0, 2.0, "true") for p in PATIENTS], columns=["patient_id", "week", "edss", "scheduled"])
    text = (
        SETTINGS.replace("t2_lesions", "t1_unenhancing")
        .replace("[24, 48, 96]", "[24]")
        .replace('preset = "opera2"', "")
    )
    path = write_trial(tmp_path / "trial", text, patients=people, assessments=edss, visits=visits)
    trial = read_trial(read_settings(path))
    (endpoint,) = available(trial)
    found = patient_counts(trial, endpoint, "model").set_index("patient_id")
    assert found["lesions"].to_dict() == visits.set_index("patient_id")["new_lesion_count"].to_dict()
    assert set(found["years"]) == {24 / (365.25 / 7)}  # since the baseline, which has no row of its own
    assert trial.volumes.empty


def test_the_picture_shows_both_visits_and_the_subtraction(predicted):
    out, _ = predicted
    for patient in PATIENTS:
        assert matplotlib.image.imread(out / "qc_visits" / f"{patient}_w24.png").std() > 0.05


def test_an_image_from_python_is_written_alike(predicted, pairs, model, tmp_path):
    out, _ = predicted
    names = ("flair_subtraction", "flair_baseline", "flair_followup")
    given = {name: pairs / "imagesTr" / f"P1_w24_{number:04d}.nii.gz" for number, name in enumerate(names)}
    words = {"mc_samples": 1, "tta": False, "dropout": 0.1, "threshold": 0.3}
    open_model(model, device="cpu").predict(given, **words).save(tmp_path / "one", "P1_w24")
    for name in ("new/P1_w24.nii.gz", "enlarging/P1_w24.nii.gz"):
        one, of_folder = (read_mask(folder / name).data for folder in (tmp_path / "one", out))
        np.testing.assert_array_equal(one, of_folder)
    picture = "qc_visits/P1_w24.png"
    assert (tmp_path / "one" / picture).read_bytes() == (out / picture).read_bytes()


@pytest.mark.parametrize("at", ["baseline", "followup"])
def test_masks_return_to_either_visit(predicted, pairs, tmp_path, at):
    out, _ = predicted
    arguments = ["back", str(pairs), str(out / "new"), "-o", str(tmp_path / "back"), "--visit", at]
    assert convert_main(arguments) == 0
    week = {"baseline": "w0", "followup": "w24"}[at]
    for patient in PATIENTS:
        (path,) = (tmp_path / "back" / patient / week).glob("*.nii.gz")
        np.testing.assert_array_equal(read_mask(path).data, read_mask(out / "new" / f"{patient}_w24.nii.gz").data)


@pytest.mark.parametrize(
    ("names", "rows"),
    [
        (("flair_subtraction",), ["subtraction"]),
        (("flair_baseline", "flair_followup"), ["baseline", "follow-up", "subtraction"]),
        (("t1_subtraction", "flair_subtraction"), ["subtraction"]),
        (("t2_followup", "t2_subtraction"), ["follow-up", "subtraction"]),
    ],
)
def test_what_the_channels_show_is_drawn_and_what_they_lack_is_said(names, rows):
    channels = {name: np.full((8, 9, 5), float(number)) for number, name in enumerate(names)}
    assert list(visits_of(channels)) == rows
    labels = np.zeros((8, 9, 5), np.uint8)
    labels[2:5, 2:5, 2] = 1
    figure = pair_figure(channels, labels, [("new", 1), ("resolved", 2)], Grid((8, 9, 5), np.eye(4)), "P1")
    assert (NO_VISITS in figure.get_supxlabel()) == (len(rows) == 1)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["new: 0.01 ml", "resolved: 0.00 ml"]
    if len(rows) == 3:  # follow-up minus baseline
        np.testing.assert_array_equal(visits_of(channels)["subtraction"], 1)
