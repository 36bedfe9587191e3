"""The command on a small trial: what it writes, and each kind of bad input."""

import json
import shutil

import pytest

from nnunet_ms.dataset_conversion.cli import main
from tests.dataset_conversion.conftest import convert_trial, first_image, refused, tree


def test_writes_a_dataset_that_nnunet_accepts(trial, raw):
    from nnunetv2.experiment_planning.verify_dataset_integrity import check_cases
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
    from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets

    assert convert_trial(trial, raw, "--test-patients", "P3", "--folds", "2") == 0
    folder = raw / "Dataset005_Trial"
    content = json.loads((folder / "dataset.json").read_text())
    assert content["channel_names"] == {"0": "flair", "1": "t2", "2": "t1"}
    assert content["labels"] == {"background": 0, "lesion": 1}
    assert content["patients"]["P3_w24"] == "P3"
    # Oracle: nnU-Net's own listing and integrity check.
    listed = get_filenames_of_train_images_and_targets(str(folder), content)
    assert sorted(listed) == ["P1_base", "P1_w24", "P2_base", "P2_w24"]
    assert len(listed) == content["numTraining"]
    assert all(check_cases(c["images"], c["label"], 3, SimpleITKIO) for c in listed.values())
    assert sorted(p.name for p in (folder / "labelsTs").iterdir()) == ["P3_base.nii.gz", "P3_w24.nii.gz"]


def test_dry_run_checks_and_writes_nothing(trial, raw, capsys):
    assert convert_trial(trial, raw, "--dry-run") == 0
    assert "would write" in capsys.readouterr().out
    assert not raw.exists()
    first_image(trial).unlink()
    assert convert_trial(trial, raw, "--dry-run") == 1


# bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--channels", "flair,t3", "--channels flair,t3: expected different names among"),
        ("--channels", "flair,flair", "--channels flair,flair"),
        ("--target", "lesions", "--target lesions"),
        ("--test-patients", "P9", "['P9'] are not among the 3 patients"),
        ("--folds", "4", "found 3 training patients and --folds 4"),
        ("--test-patients", "@none.txt", "none.txt: no such file"),
        ("--dataset-id", "1000", "expected 1 to 999"),
    ],
)
def test_options_that_cannot_be(trial, raw, capsys, option, value, message):
    assert message in refused(trial, raw, capsys, option, value)


def test_dataset_number_taken(trial, raw, capsys):
    (raw / "Dataset005_Other").mkdir(parents=True)
    assert convert_trial(trial, raw) == 2
    assert "dataset number 5 is taken by ['Dataset005_Other']" in capsys.readouterr().err
    shutil.rmtree(raw)
    assert convert_trial(trial, raw) == 0
    before = tree(raw)
    assert convert_trial(trial, raw) == 2
    assert "--overwrite it" in capsys.readouterr().err
    assert tree(raw) == before
    assert convert_trial(trial, raw, "--overwrite") == 0


def test_no_raw_folder_known(trial, raw, capsys):
    assert main(["trial", str(trial), "--dataset-id", "5"]) == 2
    assert "give --raw DIR or set nnUNet_raw" in capsys.readouterr().err


# help -----------------------------------------------------------------------------------------------------------


def test_help_has_an_example(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert "example:\n  nnunet-ms-convert trial" in capsys.readouterr().out
