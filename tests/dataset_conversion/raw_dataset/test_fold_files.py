"""Folds stand where nnU-Net reads them."""

import json

import pytest

from nnunet_ms.dataset_conversion.cli import main
from nnunet_ms.dataset_conversion.raw_dataset.fold_files import make_folds, write_folds
from nnunet_ms.errors import OptionError
from tests.dataset_conversion.conftest import convert_bids


@pytest.mark.parametrize(
    ("scheme", "folds", "number"), [("kfold", 2, 2), ("stratified", 2, 2), ("learning-curve", 4, 12)]
)
def test_folds_stand_where_nnunet_reads_them(bids_folder, tmp_path, monkeypatch, scheme, folds, number):
    assert convert_bids(bids_folder, tmp_path / "raw") == 0
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


def test_sites_are_asked_for(bids_folder, tmp_path, capsys):
    assert convert_bids(bids_folder, tmp_path / "raw") == 0
    assert main(["splits", str(tmp_path / "raw" / "Dataset007_BIDS"), "--scheme", "site"]) == 2
    assert "expected a site for every training case" in capsys.readouterr().err


def test_the_functions_write_what_the_command_writes(bids_folder, tmp_path, monkeypatch):
    monkeypatch.delenv("nnUNet_preprocessed", raising=False)
    assert convert_bids(bids_folder, tmp_path / "raw") == 0
    dataset = tmp_path / "raw" / "Dataset007_BIDS"
    (tmp_path / "preprocessed" / dataset.name).mkdir(parents=True)
    assert main(["splits", str(dataset), "--scheme", "stratified", "--folds", "4", "--seed", "3"]) == 0
    expected = (dataset / "splits_final.json").read_bytes()
    (dataset / "splits_final.json").unlink()
    folds = make_folds(str(dataset), "stratified", folds=4, seed=3)
    assert not (dataset / "splits_final.json").exists()
    written = write_folds(folds, str(dataset), str(tmp_path / "preprocessed"))
    places = (dataset, tmp_path / "preprocessed" / dataset.name)
    assert written == [place / "splits_final.json" for place in places]
    assert [path.read_bytes() for path in written] == [expected] * 2


def test_unknown_schemes_are_refused_with_the_known_ones(tmp_path):
    with pytest.raises(OptionError, match=r"scheme: expected one of 'kfold', .* Did you mean 'learning-curve'\?"):
        make_folds(tmp_path, "learning_curve")
