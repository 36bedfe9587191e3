"""Pairs of visits: known motions and lesions, the real scans of open_ms, and everything that makes no pair."""

import json
import re
import shutil
import sys

import cc3d
import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from nnunet_ms.dataset_conversion import new_lesions, pair_ways
from nnunet_ms.dataset_conversion.cli import main
from nnunet_ms.dataset_conversion.convert import convert
from nnunet_ms.errors import ConversionError, SettingsError
from nnunet_ms.images.itk import to_itk
from nnunet_ms.images.registration import Registration, register_visits
from nnunet_ms.images.volumes import Grid, read_mask, read_volume
from tests.images.moving_head import AFFINE, SHAPE, apart, image_of, motion

GRID = Grid(SHAPE, AFFINE)
MOVED = motion((3, 2, -4), (3, 2, -4))
KEPT, NEW, GROWN, RESOLVED = (25, -10, 26), (-25, -20, 24), (25, -45, 26), (-28, 20, 24)  # mm, in white matter


def ball(centre, radius, moved):
    points = np.stack([*np.indices(SHAPE), np.ones(SHAPE)], axis=-1) @ AFFINE.T @ moved.T
    return np.linalg.norm(points[..., :3] - centre, axis=-1) < radius


def visit(place, lesions, moved, seed):
    """FLAIR with bright lesions, its mask and its brain mask; the head lies at `moved`."""
    image = image_of(GRID, moved) + np.random.default_rng(seed).normal(0, 4, SHAPE).astype(np.float32)
    mask = np.zeros(SHAPE, bool)
    for centre, radius in lesions.items():
        mask |= ball(centre, radius, moved)
    image[mask] += 400
    brain = image_of(GRID, moved) > 80
    for name, data in (("flair", image + 5), ("mask", mask.astype(np.uint8)), ("brain", brain.astype(np.uint8))):
        place.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(data, AFFINE), place / f"{name}.nii.gz")


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    """A patient with two visits, the second one moved: one lesion stays, one is new, one grows, one goes."""
    root = tmp_path_factory.mktemp("pairs") / "study"
    visit(root / "P1" / "base", {KEPT: 8, GROWN: 12, RESOLVED: 8}, np.eye(4), 1)
    visit(root / "P1" / "w24", {KEPT: 8, GROWN: 13.5, NEW: 8}, MOVED, 2)
    return manifest(root, [("P1", "w24", 24), ("P1", "base", 0)])  # the order of the rows says nothing


def manifest(root, visits):
    rows = [
        {"patient_id": patient, "visit": name, "week": week}
        | {column: f"{patient}/{name}/{file}.nii.gz" for column, file in COLUMNS.items()}
        for patient, name, week in visits
    ]
    pd.DataFrame(rows).to_csv(root / "manifest.csv", index=False)
    return root / "manifest.csv"


COLUMNS = {"flair": "flair", "t2_lesions": "mask", "brain_mask": "brain"}
WORDS = {"channels": "flair", "accept": "mask_contrast", "dataset_id": 7}


@pytest.fixture(scope="module")
def pairs(trial, tmp_path_factory):
    """All four changes as labels, all three channels, on the baseline's grid."""
    raw = tmp_path_factory.mktemp("raw")
    return convert(trial, raw=raw, pairs="consecutive", target="all", pair_channels="all", **WORDS)


def test_a_pair_is_registered_subtracted_and_labelled(pairs):
    assert (pairs.cases, pairs.failures, pairs.flagged) == (("P1_w24",), (), ())
    content = json.loads((pairs.folder / "dataset.json").read_text())
    assert list(content["channel_names"].values()) == ["flair_subtraction", "flair_baseline", "flair_followup"]
    assert content["pairs"]["target"] == "all"
    assert content["labels"] == {"background": 0, "new": 1, "enlarging": 2, "resolved": 3, "shrinking": 4}
    difference, first, second = (read_volume(pairs.folder / f"imagesTr/P1_w24_000{i}.nii.gz") for i in range(3))
    np.testing.assert_allclose(difference.grid.affine, AFFINE)
    np.testing.assert_allclose(difference.data, second.data - first.data, atol=1e-5)
    inside = first.data[first.data != 0]
    assert np.percentile(inside, [25, 50, 75]) == pytest.approx([-0.67, 0, 0.67], abs=0.3)
    # Oracle: the lesions that were drawn, at the baseline's place
    label = read_mask(pairs.folder / "labelsTr" / "P1_w24.nii.gz", labels=range(5)).data
    for value, centre in ((1, NEW), (3, RESOLVED)):
        drawn = ball(centre, 8, np.eye(4))
        assert 2 * (drawn & (label == value)).sum() / (drawn.sum() + (label == value).sum()) > 0.6
    assert (label[ball(GROWN, 8, np.eye(4))] == 0).all()
    grown = ball(GROWN, 13.5, np.eye(4)) & ~ball(GROWN, 12, np.eye(4))
    assert (label[grown] == 2).mean() > 0.5
    assert difference.data[label == 1].mean() > 1 > 0 > -1 > difference.data[label == 3].mean()


def test_the_table_and_the_record_say_how(pairs):
    row = pd.read_csv(pairs.folder / "cases.csv").set_index("case_id").loc["P1_w24"]
    assert (row["visit"], row["week"], row["baseline_visit"], row["baseline_week"]) == ("w24", 24, "base", 0)
    assert (row["registration"], row["steps"]) == ("rigid", "register subtract")
    assert row["correlation_before"] < 0.8 < 0.9 < row["correlation_after"]
    assert pd.isna(row["flag"])
    record = json.loads((pairs.folder / "provenance" / "P1_w24.json").read_text())
    found = np.array(record["target_to_followup"])
    assert apart(found, np.linalg.inv(MOVED)) < 1.75
    np.testing.assert_array_equal(record["target_to_source"], np.eye(4))


def test_predictions_return_to_the_baseline(pairs, trial, tmp_path):
    assert main(["back", str(pairs.folder), str(pairs.folder / "labelsTr"), "-o", str(tmp_path / "back")]) == 0
    returned = read_mask(tmp_path / "back" / "P1" / "base" / "P1_w24_nnunetms.nii.gz", labels=range(5))
    original = read_mask(trial.parent / "P1" / "base" / "mask.nii.gz")
    np.testing.assert_allclose(returned.grid.affine, original.grid.affine)
    written = read_mask(pairs.folder / "labelsTr" / "P1_w24.nii.gz", labels=range(5))
    np.testing.assert_array_equal(returned.data, written.data)


@pytest.fixture(scope="module")
def published(shared_data, tmp_path_factory):
    """Both patients of the real data under the names that they are published under."""
    raw = tmp_path_factory.mktemp("open_ms_data") / "longitudinal" / "raw"
    for patient in ("patient01", "patient03"):
        (raw / patient).mkdir(parents=True)
        brain = raw.parent / "coregistered" / patient / "brainmask.nii.gz"
        brain.parent.mkdir(parents=True)
        for path in (shared_data / "open_ms_longitudinal" / patient).iterdir():
            name = path.name.replace("change_gt_common", "gt")
            shutil.copy(path, brain if name.startswith("brainmask") else raw / patient / name)
    return raw


# Oracle: the data's README: 8 components of 2.96 ml brighter and 5 of 0.54 ml darker, FLAIR correlation .94
PATIENT_01 = ((1, 8, 2.96), (2, 5, 0.54))


def is_split_by_sign(label):
    for value, number, volume_ml in PATIENT_01:
        part = label.data == value
        assert cc3d.connected_components(part, connectivity=18).max() == number
        assert part.sum() * label.grid.voxel_volume_ml == pytest.approx(volume_ml, rel=0.05)


def test_real_patients_in_the_half_way_space_of_their_mask(published, tmp_path):
    words = {"variant": "raw", "pairs": "consecutive", "space": "halfway", "target": "all", "dataset_id": 7}
    done = convert(published.parent, "open_ms_longitudinal", raw=tmp_path, **words)
    table = pd.read_csv(done.folder / "cases.csv").set_index("case_id")
    assert table["registration"].tolist() == ["published"] * 2
    assert table.loc["patient01", "correlation_before"] < 0.3 < 0.94 <= table.loc["patient01", "correlation_after"]
    assert table["flag"].isna().all()
    is_split_by_sign(read_mask(done.folder / "labelsTr" / "patient01.nii.gz", labels=(0, 1, 2)))
    truth = read_mask(published / "patient03" / "gt.nii.gz")
    label = read_mask(done.folder / "labelsTr" / "patient03.nii.gz", labels=(0, 1, 2))
    np.testing.assert_array_equal(label.data > 0, truth.data > 0)


def test_a_real_patient_registered_by_us_on_the_baselines_head(published, tmp_path):
    shutil.copytree(published / "patient01", tmp_path / "raw" / "patient01")
    shutil.copytree(published.parent / "coregistered" / "patient01", tmp_path / "coregistered" / "patient01")
    words = {"variant": "raw", "pairs": "consecutive", "registration": "rigid", "target": "all", "dataset_id": 7}
    done = convert(tmp_path, "open_ms_longitudinal", raw=tmp_path / "out", steps={"spacing": (1, 1, 1)}, **words)
    row = pd.read_csv(done.folder / "cases.csv").iloc[0]
    assert row["correlation_after"] >= 0.94
    assert row["steps"] == "register resample subtract"
    is_split_by_sign(read_mask(done.folder / "labelsTr" / "patient01.nii.gz", labels=(0, 1, 2)))
    assert main(["back", str(done.folder), str(done.folder / "labelsTr"), "-o", str(tmp_path / "back")]) == 0
    (returned,) = (tmp_path / "back").rglob("*.nii.gz")
    original = read_volume(tmp_path / "raw" / "patient01" / "study1_FLAIR.nii.gz").grid
    np.testing.assert_allclose(read_mask(returned, labels=(0, 1, 2)).grid.affine, original.affine, atol=1e-4)


@pytest.fixture
def still(tmp_path):
    """A patient whose head does not move, so that nothing need be registered: the second visit has a new lesion."""
    root = tmp_path / "study"
    visit(root / "P1" / "base", {KEPT: 10}, np.eye(4), 3)
    visit(root / "P1" / "w24", {KEPT: 10, NEW: 10}, np.eye(4), 4)
    return root


def converted(root, visits, tmp_path, **words):
    return convert(manifest(root, visits), raw=tmp_path / "raw", pairs="consecutive", **{**NOT_MOVED, **words})


NOT_MOVED = {**WORDS, "registration": "none"}
BOTH = [("P1", "base", 0), ("P1", "w24", 24)]


def change(path, function):
    image = nib.load(path)
    nib.save(nib.Nifti1Image(function(image.get_fdata()).astype(np.float32), image.affine), path)


def test_what_makes_no_pair_is_listed_and_the_rest_is_written(still, tmp_path):
    for number, patient in enumerate(("Alone", "Copied", "Scaled"), start=10):
        visit(still / patient / "base", {KEPT: 10}, np.eye(4), number)
    shutil.copytree(still / "Copied" / "base", still / "Copied" / "w24")
    visit(still / "Scaled" / "w24", {KEPT: 10}, np.eye(4), number)  # the same noise: the same scan
    change(still / "Scaled" / "w24" / "flair.nii.gz", lambda data: 0.37 * data)
    visits = [
        *BOTH,
        ("Alone", "w24", 24),
        *(("Copied", v, w) for _, v, w in BOTH),
        *(("Scaled", v, w) for _, v, w in BOTH),
    ]
    (still / "Alone" / "base").rename(still / "Alone" / "w24")
    done = converted(still, visits, tmp_path)
    assert done.cases == ("P1_w24",)
    reasons = {failure.case: failure.reason for failure in done.failures}
    assert "found one visit (w24): a follow-up without a baseline" in reasons["Alone_w24"]
    assert "expected flair_followup, found the voxels of flair_baseline" in reasons["Copied_w24"]
    assert "expected two scans, found one twice (correlation 1.00000)" in reasons["Scaled_w24"]
    assert not any(failure.traceback for failure in done.failures)


def test_exchanged_visits_show_in_the_lesions_that_are_new(still, tmp_path):
    reversed_weeks = [("P1", "base", 24), ("P1", "w24", 0)]
    for name, label in (("base", {KEPT: 10, NEW: 10}), ("w24", {KEPT: 10})):  # the masks in the right order
        mask = np.logical_or.reduce([ball(centre, radius, np.eye(4)) for centre, radius in label.items()])
        nib.save(nib.Nifti1Image(mask.astype(np.uint8), AFFINE), still / "P1" / name / "mask.nii.gz")
    with pytest.raises(ConversionError, match="none of 1 cases could be written") as raised:
        converted(still, reversed_weeks, tmp_path)
    assert "are the visits reversed? Correct the files, or --accept visits_order" in raised.value.__notes__[0]
    done = converted(still, reversed_weeks, tmp_path, accept=["mask_contrast", "visits_order"])
    record = json.loads((done.folder / "provenance" / "P1_base.json").read_text())
    assert "are the visits reversed?" in record["remarks"][0]


def another_head(data):
    return data[:, ::-1, ::-1]


def without_a_head(data):
    return np.random.default_rng(0).normal(100, 30, data.shape)


@pytest.mark.parametrize("other", [another_head, without_a_head])
def test_a_pair_that_is_unlike_is_written_flagged_listed_and_ends_with_1(still, tmp_path, capsys, other):
    change(still / "P1" / "w24" / "flair.nii.gz", other)
    arguments = ["trial", str(manifest(still, BOTH)), "--channels", "flair", "--dataset-id", "7", "--pairs", "baseline"]
    arguments += ["--raw", str(tmp_path / "raw"), "--registration", "none", "--overwrite"]
    arguments += ["--accept", "mask_contrast,sequence,alignment,visits_order"]
    assert main(arguments) == 1
    told = capsys.readouterr()
    assert "below 0.6; written, and flagged in cases.csv. The headers say 48x58x32 voxels of 3.5x3.5x5 mm" in told.err
    assert "0 left out, 1 poorly registered" in told.out
    row = pd.read_csv(tmp_path / "raw" / "Dataset007_Trial" / "cases.csv").iloc[0]
    assert (row["flag"], row["correlation_after"] < 0.6) == ("poor_registration", True)
    assert main([*arguments, "--accept-poor-registration"]) == 0
    assert "P1_w24: accepted: " in capsys.readouterr().out


@pytest.mark.parametrize("mm", [14.0, -14.0])
def test_a_registration_that_makes_visits_less_alike_is_flagged(still, tmp_path, monkeypatch, mm):
    wrong = np.eye(4)
    wrong[0, 3] = mm
    monkeypatch.setattr(pair_ways, "register_visits", lambda *_: Registration(wrong, 0.5, 0.6))
    monkeypatch.setattr(new_lesions, "POOR", 0.05)
    words = {"registration": "rigid", "accept": "visits_order"}
    done = converted(still, BOTH, tmp_path, **words)
    (flagged,) = done.flagged
    assert re.search(r"correlation 0\.\d\d inside .*, 0\.\d\d by the headers alone: .* wrong place", flagged.reason)
    row = pd.read_csv(done.folder / "cases.csv").iloc[0]
    assert row["flag"] == "poor_registration"
    assert row["correlation_after"] < row["correlation_before"] - 0.02
    taken = converted(still, BOTH, tmp_path, **words, accept_poor_registration=True, overwrite=True)
    assert not taken.flagged
    assert any("P1_w24: accepted: " in note for note in taken.notes)


@pytest.mark.parametrize("name", ["base", "w24"])
def test_an_image_below_zero_is_told_from_two_heads_apart(still, tmp_path, name):
    change(still / "P1" / name / "flair.nii.gz", lambda data: data - 5000)
    words = {"accept": "mask_contrast,alignment,sequence"}
    for one in ("base", "w24"):
        (still / "P1" / one / "brain.nii.gz").unlink()
    table = pd.read_csv(manifest(still, BOTH)).drop(columns="brain_mask")
    table.to_csv(still / "manifest.csv", index=False)
    with pytest.raises(ConversionError, match="none of 1 cases could be written") as raised:
        convert(still / "manifest.csv", raw=tmp_path / "raw", pairs="consecutive", **{**NOT_MOVED, **words})
    assert f"{name}/flair.nii.gz has no voxel above 0: add its brain mask, or a constant" in raised.value.__notes__[0]


def test_a_registration_that_fails_is_listed(still, tmp_path):
    far = np.eye(4, k=3) * 5000
    image = nib.load(still / "P1" / "w24" / "flair.nii.gz")
    nib.save(nib.Nifti1Image(image.get_fdata(), AFFINE + far), still / "P1" / "w24" / "flair.nii.gz")
    for name in ("mask", "brain"):
        (still / "P1" / "w24" / f"{name}.nii.gz").unlink()
    table = pd.read_csv(manifest(still, BOTH))
    table.loc[1, ["t2_lesions", "brain_mask"]] = None
    table.to_csv(still / "manifest.csv", index=False)
    with pytest.raises(ConversionError, match="none of 1 cases could be written") as raised:
        convert(still / "manifest.csv", raw=tmp_path / "raw", pairs="consecutive", **WORDS)
    assert "w24/flair.nii.gz onto" in raised.value.__notes__[0]


@pytest.mark.parametrize("target", ["new", "new_or_enlarging", "all"])
def test_targets_of_two_masks(still, tmp_path, target):
    done = converted(still, BOTH, tmp_path, target=target)
    label = read_mask(done.folder / "labelsTr" / "P1_w24.nii.gz", labels=range(5)).data
    np.testing.assert_array_equal(label, ball(NEW, 10, np.eye(4)).astype(np.uint8))


@pytest.mark.parametrize(
    ("steps", "space", "spacing"),
    [({"spacing": (4, 4, 4)}, "baseline", (4, 4, 4)), ({"apply_brain_mask": True}, "halfway", (3.5, 3.5, 5))],
)
def test_steps_and_spaces_return_a_prediction_to_the_baseline(still, tmp_path, steps, space, spacing):
    done = converted(still, BOTH, tmp_path, steps=steps, space=space, target="new")
    written = read_mask(done.folder / "labelsTr" / "P1_w24.nii.gz")
    assert written.grid.spacing == pytest.approx(spacing)
    assert main(["back", str(done.folder), str(done.folder / "labelsTr"), "-o", str(tmp_path / "back")]) == 0
    returned = read_mask(tmp_path / "back" / "P1" / "base" / "P1_w24_nnunetms.nii.gz")
    np.testing.assert_allclose(returned.grid.affine, AFFINE, atol=1e-5)
    drawn = ball(NEW, 10, np.eye(4))
    assert 2 * (drawn & (returned.data > 0)).sum() / (drawn.sum() + returned.data.sum()) > 0.7


def test_predictions_return_to_the_follow_up_too(pairs, trial, tmp_path):
    arguments = ["back", str(pairs.folder), str(pairs.folder / "labelsTr"), "-o", str(tmp_path / "back")]
    assert main([*arguments, "--visit", "followup"]) == 0
    returned = read_mask(tmp_path / "back" / "P1" / "w24" / "P1_w24_nnunetms.nii.gz", labels=range(5)).data
    drawn = ball(NEW, 8, MOVED)  # as the follow-up shows it
    assert 2 * (drawn & (returned == 1)).sum() / (drawn.sum() + (returned == 1).sum()) > 0.6


def test_only_pairs_have_a_follow_up_to_return_to(still, tmp_path, capsys):
    done = convert(manifest(still, BOTH), raw=tmp_path / "raw", **WORDS)
    arguments = ["back", str(done.folder), str(done.folder / "labelsTr"), "-o", str(tmp_path / "back")]
    assert main([*arguments, "--visit", "followup"]) == 2
    assert "--visit followup: expected pairs of visits, found none" in capsys.readouterr().err


def test_without_brain_masks_the_depth_of_the_head_is_taken(still, tmp_path):
    table = pd.read_csv(manifest(still, BOTH)).drop(columns="brain_mask")
    table.to_csv(still / "manifest.csv", index=False)
    done = convert(still / "manifest.csv", raw=tmp_path / "raw", pairs="consecutive", **NOT_MOVED)
    record = json.loads((done.folder / "provenance" / "P1_w24.json").read_text())
    assert record["steps"][-1]["inside"].endswith("there is no brain mask")


def test_a_mask_of_new_lesions_goes_in_as_published(tmp_path):
    # MSSEG-2: training/013/flair_time01_on_middle_space.nii.gz, ground_truth.nii.gz
    root = tmp_path / "training" / "013"
    for number, lesions in (("01", {KEPT: 10}), ("02", {KEPT: 10, NEW: 10})):
        visit(tmp_path / number, lesions, np.eye(4), int(number))
        root.mkdir(parents=True, exist_ok=True)
        shutil.copy(tmp_path / number / "flair.nii.gz", root / f"flair_time{number}_on_middle_space.nii.gz")
    new = ball(NEW, 10, np.eye(4)).astype(np.uint8)
    nib.save(nib.Nifti1Image(new, AFFINE), root / "ground_truth.nii.gz")
    done = convert(tmp_path / "training", "msseg2_2021", raw=tmp_path / "raw", dataset_id=8, pairs="consecutive")
    content = json.loads((done.folder / "dataset.json").read_text())
    assert (content["channel_names"], content["labels"]) == ({"0": "flair_subtraction"}, {"background": 0, "lesion": 1})
    np.testing.assert_array_equal(read_mask(done.folder / "labelsTr" / "013.nii.gz").data, new)
    row = pd.read_csv(done.folder / "cases.csv").iloc[0]
    assert (row["registration"], row["correlation_before"]) == ("published", row["correlation_after"])


def test_an_engine_that_is_not_installed_says_what_to_install(still, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "picsl_greedy", None)
    with pytest.raises(SettingsError, match="--registration greedy: expected the package picsl-greedy, found none"):
        converted(still, BOTH, tmp_path, registration="greedy")


def test_greedy_finds_the_motion_too():
    pytest.importorskip("picsl_greedy", reason="the extra greedy is not installed")
    images = [to_itk(image_of(GRID, moved), GRID) for moved in (np.eye(4), MOVED)]
    assert apart(register_visits(*images, "greedy").matrix, np.linalg.inv(MOVED)) < 1.75
