"""The sources with a folder per patient, on the real data."""

import json

import numpy as np
import pytest

from nnunet_ms.dataset_conversion.cli import main
from nnunet_ms.dataset_conversion.sources import ms3seg, open_ms
from nnunet_ms.errors import ConversionError
from nnunet_ms.images.volumes import read_mask


def convert(kind, source, raw, *more):
    return main([kind, str(source), "--dataset-id", "7", "--raw", str(raw), *more])


def test_open_ms_with_four_channels(shared_data, tmp_path):
    source = shared_data / "open_ms_cross_sectional"
    assert convert("open_ms", source, tmp_path, "--channels", "flair,t2,t1,t1post", "--folds", "2") == 0
    folder = tmp_path / "Dataset007_OpenMS"
    content = json.loads((folder / "dataset.json").read_text())
    assert content["numTraining"] == 2
    assert "doi:10.1007/s12021-017-9348-7" in content["citation"]
    original = read_mask(source / "patient07" / "lesion.nii.gz").data
    np.testing.assert_array_equal(read_mask(folder / "labelsTr" / "patient07.nii.gz").data, original)


def test_ms3seg_lists_the_two_patients_without_t2(shared_data, tmp_path, capsys):
    assert convert("ms3seg", shared_data / "ms3seg", tmp_path, "--workers", "2") == 1
    error = capsys.readouterr().err
    assert error.count("missing ['T2w.nii.gz']") == 2
    splits = json.loads((tmp_path / "Dataset007_MS3SEG" / "splits_final.json").read_text())
    assert [len(fold["val"]) for fold in splits] == [2, 2, 2]
    assert convert("ms3seg", shared_data / "ms3seg", tmp_path / "two", "--channels", "flair,t1") == 0


def test_a_folder_of_something_else(tmp_path):
    (tmp_path / "letters").mkdir()
    with pytest.raises(ConversionError, match=r"expected folders patientNN .*found \['letters'\]"):
        open_ms.SOURCE.find(open_ms.SOURCE.request(tmp_path, ["flair"]))


def test_no_folder_at_all(tmp_path):
    with pytest.raises(ConversionError, match="expected a folder"):
        ms3seg.SOURCE.find(ms3seg.SOURCE.request(tmp_path / "none", ["flair"]))
