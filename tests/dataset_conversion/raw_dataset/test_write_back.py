"""Masks return to the folders, names and grids of their source."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
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


# the order of entities in names, from the table of the standard (BIDS 1.10, appendix Entities), those in use here
ORDER = ["sub", "ses", "space", "label", "desc"]
AUTHORS = {"Name": "A study", "BIDSVersion": "1.9.0", "License": "CC BY 4.0", "Authors": ["A. One", "B. Two"],
           "DatasetDOI": "doi:10.1000/xyz", "Funding": ["nobody"], "Keywords": ["not passed on"]}  # fmt: skip


@pytest.fixture
def returned(bids_folder, tmp_path):
    """A derivative of masks and maps, in the place where BIDS has it."""
    (bids_folder / "dataset_description.json").write_text(json.dumps(AUTHORS))
    assert convert_bids(bids_folder, tmp_path / "raw", "--channels", "flair,t1") == 0
    dataset = tmp_path / "raw" / "Dataset007_BIDS"
    for path in (dataset / "labelsTr").iterdir():
        mask = nib.load(path)
        image = nib.Nifti1Image(np.asanyarray(mask.dataobj).astype(np.float32) * 0.75, mask.affine)
        image.header.set_xyzt_units("mm")
        (tmp_path / "maps").mkdir(exist_ok=True)
        nib.save(image, tmp_path / "maps" / path.name)
    out = bids_folder / "derivatives" / "unet"
    arguments = ["back", str(dataset), str(dataset / "labelsTr"), "--probabilities", str(tmp_path / "maps")]
    assert main([*arguments, "-o", str(out), "--rater", "unet"]) == 0
    return dataset, out


def test_names_have_their_entities_in_the_order_of_the_standard(returned):
    _, out = returned
    names = [path.name for path in out.rglob("*.nii.gz")]
    assert {name.rpartition("_")[2] for name in names} == {"mask.nii.gz", "probseg.nii.gz"}
    for name in names:
        entities = re.findall(r"(?:^|_)([a-z]+)-", name)
        assert entities == sorted(entities, key=ORDER.index)


def test_every_file_has_a_sidecar_that_leads_to_its_images(returned, bids_folder):
    _, out = returned
    for path in out.rglob("*.nii.gz"):
        content = json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())
        assert content["Manual"] is False
        assert (content.get("Type") == "Lesion") is path.name.endswith("mask.nii.gz")
        description = json.loads((out / "dataset_description.json").read_text())
        root = (out / description["DatasetLinks"]["source"]).resolve()
        assert root == bids_folder.resolve()
        for uri in (*content["Sources"], content["SpatialReference"]):
            assert (root / uri.removeprefix("bids:source:")).is_file()


def test_licence_and_authors_of_the_source_go_with_the_masks(returned, tmp_path):
    dataset, out = returned
    description = json.loads((out / "dataset_description.json").read_text())
    assert {key: description[key] for key in ("License", "Authors", "Funding")} == {
        key: AUTHORS[key] for key in ("License", "Authors", "Funding")
    }
    assert description["SourceDatasets"] == [{"DOI": "doi:10.1000/xyz"}]
    assert "Keywords" not in description
    assert "A study" in (out / "README.md").read_text()
    write_back(dataset, dataset / "labelsTr", tmp_path / "elsewhere")  # from the copy that conversion made
    found = json.loads((tmp_path / "elsewhere" / "dataset_description.json").read_text())
    assert found["License"] == "CC BY 4.0"
    assert "DatasetLinks" not in found  # nobody said where the images are


def test_maps_come_back_with_their_values(returned):
    _, out = returned
    for path in out.rglob("*_probseg.nii.gz"):
        mask = read_volume(path.with_name(path.name.replace("probseg", "mask")))
        np.testing.assert_array_equal(read_volume(path).data, np.float32(0.75) * mask.data)


def test_several_types_of_lesion_become_a_segmentation_with_names(returned, tmp_path):
    dataset, _ = returned
    content = json.loads((dataset / "dataset.json").read_text())
    content["labels"] = {"background": 0, "unenhancing": 1, "enhancing": 2}
    (dataset / "dataset.json").write_text(json.dumps(content))
    write_back(dataset, dataset / "labelsTr", tmp_path / "out", "net")
    names = {re.sub(r"sub-\w+_ses-\w+?_", "", path.name) for path in (tmp_path / "out").rglob("sub-*.nii.gz")}
    assert names == {"desc-net_dseg.nii.gz"}
    table = (tmp_path / "out" / "desc-net_dseg.tsv").read_text()
    assert table == "index\tname\n1\tunenhancing\n2\tenhancing\n"


def test_a_source_that_is_none_and_maps_that_are_not_there_are_refused(returned, tmp_path):
    dataset, _ = returned
    with pytest.raises(ConversionError, match=r"expected dataset_description\.json of the BIDS data set.*--source"):
        write_back(dataset, dataset / "labelsTr", tmp_path / "out", source=tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConversionError, match="empty: expected maps of the cases"):
        write_back(dataset, dataset / "labelsTr", tmp_path / "out", probabilities=tmp_path / "empty")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("several", [False, True])
def test_the_official_validator_finds_no_error(returned, tmp_path, several):
    here = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # the environment may not be activated
    validator = shutil.which("bids-validator-deno", path=here) or shutil.which("bids-validator", path=here)
    if validator is None:
        pytest.skip("bids-validator is not installed (pip install bids-validator-deno)")
    dataset, out = returned
    if several:
        content = json.loads((dataset / "dataset.json").read_text())
        content["labels"] = {"background": 0, "a": 1, "b": 2}
        (dataset / "dataset.json").write_text(json.dumps(content))
        out = tmp_path / "several"
        write_back(dataset, dataset / "labelsTr", out)
    done = subprocess.run([validator, str(out), "--json"], capture_output=True, text=True, check=False)
    issues = json.loads(done.stdout)["issues"]["issues"]
    assert [issue for issue in issues if issue["severity"] == "error"] == []


def test_sessions_of_two_sources_never_take_one_name(returned, tmp_path):
    dataset, _ = returned
    table = pd.read_csv(dataset / "cases.csv", dtype=str, keep_default_na=False)
    for column in ("source_flair", "source_t1"):
        table[column] = "first/" + table[column]
    table.assign(source="first").to_csv(dataset / "cases.csv", index=False)
    written = write_back(dataset, dataset / "labelsTr", tmp_path / "out")
    content = json.loads(written[0].with_name(written[0].name.replace(".nii.gz", ".json")).read_text())
    assert content["SpatialReference"].startswith("sub-")
    table.loc[1, ["source_flair", "source_t1"]] = table.loc[0, ["source_flair", "source_t1"]].to_numpy()
    table.assign(source="first").to_csv(dataset / "cases.csv", index=False)
    with pytest.raises(ConversionError, match="would both be written as sub-01/ses-1/anat/sub-01_ses-1_label-lesion"):
        write_back(dataset, dataset / "labelsTr", tmp_path / "two")
