"""Files that are read before anything is written: each fault is named, and the other cases go on."""

import json

import numpy as np
import pytest

from nnunet_ms.dataset_conversion.cli import main
from tests.dataset_conversion.conftest import SHAPE, convert_trial, first_image, save


def truncate(path):
    path.write_bytes(path.read_bytes()[:300])


def four_dimensions(path):
    save(path, np.zeros((*SHAPE, 2), np.int16))


def with_nan(path):
    data = np.ones(SHAPE, np.float32)
    data[0, 0, 0] = np.nan
    save(path, data)


def other_grid(path):
    save(path, np.zeros((10, 12, 7), np.uint8))


def label_two(path):
    save(path, np.full(SHAPE, 2, np.uint8))


BAD_FILES = [
    ("flair", lambda path: path.unlink(), "no such file"),
    ("flair", truncate, "Copy"),
    ("t2", four_dimensions, "expected a 3-D image, found shape (10, 12, 6, 2)"),
    ("t1", with_nan, "1 NaN or infinite"),
    ("mask", other_grid, "expected the grid of"),
    ("mask", label_two, "expected a mask with values [0, 1], found 2"),
]


@pytest.mark.parametrize(("name", "spoil", "message"), BAD_FILES)
def test_one_bad_case_is_listed_and_the_others_are_written(trial, raw, capsys, name, spoil, message):
    spoil(first_image(trial, name))
    assert convert_trial(trial, raw) == 1
    error = capsys.readouterr().err
    assert error.startswith("nnunet-ms-convert: case P1_base: ")
    assert message in error
    assert error.count("\n") == 1
    assert len(list((raw / "Dataset005_Trial" / "labelsTr").iterdir())) == 5


@pytest.mark.parametrize(("name", "spoil", "message"), BAD_FILES)
def test_when_no_case_is_good_nothing_is_written(trial, raw, capsys, name, spoil, message):
    for path in trial.parent.rglob(f"{name}.nii.gz"):
        spoil(path)
    assert convert_trial(trial, raw) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "none of 6 cases can be converted; nothing written" in error
    assert not raw.exists()


def test_check_writes_nothing_and_its_exit_code_tells_how_bad_it_is(bids_folder, capsys):
    assert main(["check", "bids", str(bids_folder)]) == 0
    damaged = bids_folder / "sub-01/ses-1/anat/sub-01_ses-1_FLAIR.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:100])
    capsys.readouterr()
    assert main(["check", "bids", str(bids_folder), "--json"]) == 1
    content = json.loads(capsys.readouterr().out)
    assert content["cases"] == 8
    assert [(p["severity"], p["case"]) for p in content["problems"]] == [("error", "01_1")]
    for path in bids_folder.rglob("*_FLAIR.nii.gz"):
        path.write_bytes(b"no image")
    assert main(["check", "bids", str(bids_folder)]) == 2
