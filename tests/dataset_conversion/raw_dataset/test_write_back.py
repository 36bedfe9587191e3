"""Masks return to the folders, names and grids of their source."""

import json

import numpy as np
import pytest

from nnunet_ms.dataset_conversion.cli import main
from nnunet_ms.dataset_conversion.raw_dataset.write_back import write_back
from nnunet_ms.errors import ConversionError
from nnunet_ms.images.volumes import read_volume
from tests.dataset_conversion.conftest import convert_bids, save, tree


def test_round_trip_keeps_affine_shape_and_voxels(bids_folder, tmp_path):
    assert convert_bids(bids_folder, tmp_path / "raw", "--channels", "flair,t1,t1post") == 0
    dataset, out = tmp_path / "raw" / "Dataset007_BIDS", tmp_path / "derivatives"
    assert main(["back", str(dataset), str(dataset / "labelsTr"), "-o", str(out), "--rater", "unet"]) == 0
    assert json.loads((out / "dataset_description.json").read_text())["DatasetType"] == "derivative"
    masks = sorted(out.rglob("*_mask.nii.gz"))
    assert len(masks) == 8
    for path in masks:
        stem = path.name.replace("_desc-unet", "")
        original = read_volume(bids_folder / "derivatives/manual" / path.parent.relative_to(out) / stem)
        returned = read_volume(path)
        np.testing.assert_array_equal(returned.data, original.data)
        np.testing.assert_array_equal(returned.grid.affine, original.grid.affine)


def test_back_refuses_other_grids_and_existing_folders(bids_folder, tmp_path, capsys):
    assert convert_bids(bids_folder, tmp_path / "raw") == 0
    dataset = tmp_path / "raw" / "Dataset007_BIDS"
    save(tmp_path / "predictions" / "01_1.nii.gz", np.zeros((3, 3, 3), np.uint8))
    assert main(["back", str(dataset), str(tmp_path / "predictions"), "-o", str(tmp_path / "out")]) == 2
    assert "expected the grid of" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main(["back", str(dataset), str(dataset / "labelsTr"), "-o", str(bids_folder)]) == 2
    assert "exists already" in capsys.readouterr().err


def test_the_function_writes_what_the_command_writes(bids_folder, tmp_path, capsys):
    assert convert_bids(bids_folder, tmp_path / "raw") == 0
    dataset = tmp_path / "raw" / "Dataset007_BIDS"
    assert main(["back", str(dataset), str(dataset / "labelsTr"), "-o", str(tmp_path / "command")]) == 0
    capsys.readouterr()
    written = write_back(str(dataset), str(dataset / "labelsTr"), str(tmp_path / "function"))
    assert capsys.readouterr() == ("", "")
    assert tree(tmp_path / "function") == tree(tmp_path / "command")
    assert sorted(written) == sorted((tmp_path / "function").rglob("*.nii.gz"))


def test_names_and_folders_that_cannot_be(bids_folder, tmp_path):
    assert convert_bids(bids_folder, tmp_path / "raw") == 0
    dataset = tmp_path / "raw" / "Dataset007_BIDS"
    with pytest.raises(ConversionError, match="--rater my_model: expected letters and digits only, as BIDS asks"):
        write_back(dataset, dataset / "labelsTr", tmp_path / "out", "my_model")
    with pytest.raises(ConversionError, match="expected masks of the cases of Dataset007_BIDS, found none"):
        write_back(dataset, tmp_path, tmp_path / "out")
    (dataset / "dataset.json").unlink()
    with pytest.raises(ConversionError, match=r"dataset\.json: expected nnU-Net's file, found none"):
        write_back(dataset, dataset / "labelsTr", tmp_path / "out")
    assert not (tmp_path / "out").exists()
