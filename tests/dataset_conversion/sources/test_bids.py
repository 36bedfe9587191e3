"""BIDS in, BIDS derivatives out, folds and checks in between, on a generated data set."""

import json

import numpy as np
import pytest

from nnunet_ms.dataset_conversion.cli import main
from nnunet_ms.dataset_conversion.sources import bids
from nnunet_ms.images.volumes import read_volume
from tests.dataset_conversion.conftest import SHAPE, save


@pytest.fixture
def source(tmp_path):
    """Four subjects, two sessions each; masks with 1 to 8 voxels."""
    rng = np.random.default_rng(0)
    for subject in range(1, 5):
        for session in (1, 2):
            folder, stem = f"sub-{subject:02d}/ses-{session}/anat", f"sub-{subject:02d}_ses-{session}"
            for name in ("FLAIR", "T2w", "T1w", "ce-gadolinium_T1w"):
                save(tmp_path / "bids" / folder / f"{stem}_{name}.nii.gz", rng.integers(1, 900, SHAPE).astype(np.int16))
            mask = np.zeros(SHAPE, np.uint8)
            mask[1 : 1 + 2 * subject, 4, 2] = 1
            save(tmp_path / "bids/derivatives/manual" / folder / f"{stem}_label-lesion_mask.nii.gz", mask)
    return tmp_path / "bids"


def convert(source, raw, *more):
    return main(["bids", str(source), "--dataset-id", "7", "--raw", str(raw), "--folds", "2", *more])


def test_round_trip_keeps_affine_shape_and_voxels(source, tmp_path):
    assert convert(source, tmp_path / "raw", "--channels", "flair,t1,t1post") == 0
    dataset, out = tmp_path / "raw" / "Dataset007_BIDS", tmp_path / "derivatives"
    assert main(["back", str(dataset), str(dataset / "labelsTr"), "-o", str(out), "--rater", "unet"]) == 0
    assert json.loads((out / "dataset_description.json").read_text())["DatasetType"] == "derivative"
    masks = sorted(out.rglob("*_mask.nii.gz"))
    assert len(masks) == 8
    for path in masks:
        stem = path.name.replace("_desc-unet", "")
        original = read_volume(source / "derivatives/manual" / path.parent.relative_to(out) / stem)
        returned = read_volume(path)
        np.testing.assert_array_equal(returned.data, original.data)
        np.testing.assert_array_equal(returned.grid.affine, original.grid.affine)


def test_contrast_enhanced_and_plain_t1_are_told_apart(source):
    case = bids.find_cases(bids.SOURCE.request(source, "flair,t1,t1post"))[0]
    assert case.problem == ""
    assert case.images["t1"].name == "sub-01_ses-1_T1w.nii.gz"
    assert case.images["t1post"].name == "sub-01_ses-1_ce-gadolinium_T1w.nii.gz"


def test_two_runs_are_listed_and_not_chosen_between(source):
    image = source / "sub-01/ses-1/anat/sub-01_ses-1_FLAIR.nii.gz"
    image.with_name("sub-01_ses-1_run-2_FLAIR.nii.gz").write_bytes(image.read_bytes())
    case = bids.find_cases(bids.SOURCE.request(source, "flair"))[0]
    assert "expected one file, found ['sub-01/ses-1/anat/sub-01_ses-1_FLAIR.nii.gz'" in case.problem


@pytest.mark.parametrize(
    ("scheme", "folds", "number"), [("kfold", 2, 2), ("stratified", 2, 2), ("learning-curve", 4, 12)]
)
def test_folds_stand_where_nnunet_reads_them(source, tmp_path, monkeypatch, scheme, folds, number):
    assert convert(source, tmp_path / "raw") == 0
    dataset = tmp_path / "raw" / "Dataset007_BIDS"
    preprocessed = tmp_path / "preprocessed" / dataset.name
    preprocessed.mkdir(parents=True)
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "preprocessed"))
    assert main(["splits", str(dataset), "--scheme", scheme, "--folds", str(folds)]) == 0
    written = json.loads((preprocessed / "splits_final.json").read_text())
    assert len(written) == number
    for fold in written:  # by the definition: no patient on both sides
        assert not {c.split("_")[0] for c in fold["train"]} & {c.split("_")[0] for c in fold["val"]}
    if scheme == "stratified":  # the loads are 2, 4, 6, 8 voxels: each fold has one of the small and one of the large
        for fold in written:
            assert sum(c.startswith(("01", "02")) for c in fold["val"]) == 2


def test_sites_are_asked_for(source, tmp_path, capsys):
    assert convert(source, tmp_path / "raw") == 0
    assert main(["splits", str(tmp_path / "raw" / "Dataset007_BIDS"), "--scheme", "site"]) == 2
    assert "expected a site for every training case" in capsys.readouterr().err


def test_check_writes_nothing_and_its_exit_code_tells_how_bad_it_is(source, capsys):
    assert main(["check", "bids", str(source)]) == 0
    damaged = source / "sub-01/ses-1/anat/sub-01_ses-1_FLAIR.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:100])
    capsys.readouterr()
    assert main(["check", "bids", str(source), "--json"]) == 1
    content = json.loads(capsys.readouterr().out)
    assert content["cases"] == 8
    assert [(p["severity"], p["case"]) for p in content["problems"]] == [("error", "01_1")]
    for path in source.rglob("*_FLAIR.nii.gz"):
        path.write_bytes(b"no image")
    assert main(["check", "bids", str(source)]) == 2


def test_back_refuses_other_grids_and_existing_folders(source, tmp_path, capsys):
    assert convert(source, tmp_path / "raw") == 0
    dataset = tmp_path / "raw" / "Dataset007_BIDS"
    save(tmp_path / "predictions" / "01_1.nii.gz", np.zeros((3, 3, 3), np.uint8))
    assert main(["back", str(dataset), str(tmp_path / "predictions"), "-o", str(tmp_path / "out")]) == 2
    assert "expected the grid of" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main(["back", str(dataset), str(dataset / "labelsTr"), "-o", str(source)]) == 2
    assert "exists already" in capsys.readouterr().err
