"""The command on a small trial: what it writes, and each kind of bad input."""

import errno
import hashlib
import json
import os
import shutil
import signal
import time

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from nnunet_ms.dataset_conversion.cli import main
from nnunet_ms.dataset_conversion.raw_dataset import write
from nnunet_ms.tables import CASES, read_table
from tests.dataset_conversion.conftest import SHAPE, save, tree


def convert(manifest, raw, *more):
    return main(["trial", str(manifest), "--dataset-id", "5", "--raw", str(raw), *more])


def edit(manifest, change):
    frame = pd.read_csv(manifest, dtype=str)
    change(frame)
    frame.to_csv(manifest, index=False)


def first_image(manifest, name="flair"):
    return manifest.parent / "images" / "P1" / "base" / f"{name}.nii.gz"


def test_writes_a_dataset_that_nnunet_accepts(trial, raw):
    from nnunetv2.experiment_planning.verify_dataset_integrity import check_cases
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
    from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets

    assert convert(trial, raw, "--test-patients", "P3", "--folds", "2") == 0
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


def test_images_on_one_grid_are_copied_byte_for_byte_and_documented(trial, raw):
    assert convert(trial, raw, "--folds", "3") == 0
    folder = raw / "Dataset005_Trial"
    for index, name in enumerate(("flair", "t2", "t1")):
        target = folder / "imagesTr" / f"P1_base_{index:04d}.nii.gz"
        assert target.read_bytes() == first_image(trial, name).read_bytes()
    cases = read_table(folder / "cases.csv", CASES)
    row = cases[cases["case_id"] == "P1_base"].iloc[0]
    assert row["sha256_flair"] == hashlib.sha256(first_image(trial).read_bytes()).hexdigest()
    assert row["week"] == 0
    assert row["role"] == "train"
    assert str(trial.parent) not in (folder / "cases.csv").read_text()


def test_another_grid_is_resampled_onto_the_first_channel_and_said_so(trial, raw, capsys):
    ramp = np.broadcast_to(np.arange(20, dtype=np.float32)[:, None, None], (20, 24, 6)).copy()
    save(first_image(trial, "t1"), ramp, spacing=(1.0, 1.0, 4.0))
    assert convert(trial, raw) == 0
    assert "P1_base: t1 resampled onto flair" in capsys.readouterr().out
    written = nib.load(raw / "Dataset005_Trial" / "imagesTr" / "P1_base_0002.nii.gz")
    assert written.shape == SHAPE
    # Oracle: a linear ramp stays a linear ramp; voxel i of 2 mm lies at voxel 2 i of 1 mm.
    assert np.asanyarray(written.dataobj)[:, 5, 3] == pytest.approx(2 * np.arange(10), abs=1e-4)


def test_float_masks_are_written_as_integers(trial, raw):
    mask = np.zeros(SHAPE, np.float32)
    mask[2:4, 2:4, 2] = 1
    save(first_image(trial, "mask"), mask)
    assert convert(trial, raw) == 0
    assert nib.load(raw / "Dataset005_Trial" / "labelsTr" / "P1_base.nii.gz").get_data_dtype() == np.uint8


def test_same_result_with_more_workers_and_again(trial, raw, tmp_path):
    assert convert(trial, raw) == 0
    assert convert(trial, tmp_path / "other", "--workers", "2") == 0
    assert tree(raw) == tree(tmp_path / "other")


def test_dry_run_checks_and_writes_nothing(trial, raw, capsys):
    assert convert(trial, raw, "--dry-run") == 0
    assert "would write" in capsys.readouterr().out
    assert not raw.exists()
    first_image(trial).unlink()
    assert convert(trial, raw, "--dry-run") == 1


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is a POSIX signal")
def test_killed_at_any_moment_and_started_again_gives_the_same_dataset(trial, tmp_path):
    save(
        first_image(trial, "t1"), np.ones((20, 24, 6), np.float32) * np.arange(6), spacing=(1.0, 1.0, 4.0)
    )  # resampled
    save(first_image(trial, "mask"), np.eye(10, 12, dtype=np.float32)[..., None].repeat(6, 2))  # rewritten
    assert convert(trial, tmp_path / "undisturbed") == 0
    started = time.monotonic()
    assert convert(trial, tmp_path / "timed") == 0
    whole = time.monotonic() - started
    states = set()
    for number, moment in enumerate(np.random.default_rng(0).uniform(0, 1.2 * whole, 20)):
        raw = tmp_path / f"raw{number}"
        child = os.fork()  # everything is imported, so that the kill falls into the work
        if child == 0:
            convert(trial, raw)
            os._exit(0)
        time.sleep(moment)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        states.add(sorted(path.name for path in raw.iterdir())[0] if raw.exists() and any(raw.iterdir()) else "")
        assert convert(trial, raw, "--overwrite") == 0
        assert tree(raw) == tree(tmp_path / "undisturbed")
    assert ".partial-Dataset005_Trial-resume" in states


def test_what_changed_between_a_killed_run_and_the_next_is_done_again(trial, raw, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(write, "_remove_others", stop)  # when all cases are written
        with pytest.raises(KeyboardInterrupt):
            convert(trial, raw, "--test-patients", "P3", "--folds", "2")
    assert len(list(raw.rglob("*.written.json"))) == 6
    save(first_image(trial), np.random.default_rng(9).integers(0, 900, SHAPE).astype(np.int16))
    shutil.rmtree(trial.parent / "images" / "P2" / "w24")
    assert convert(trial, raw, "--test-patients", "P2", "--folds", "2") == 1
    assert convert(trial, tmp_path / "fresh", "--test-patients", "P2", "--folds", "2") == 1
    assert tree(raw) == tree(tmp_path / "fresh")


# bad input ------------------------------------------------------------------------------------------------------


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
    assert convert(trial, raw) == 1
    error = capsys.readouterr().err
    assert error.startswith("nnunet-ms-convert: case P1_base: ")
    assert message in error
    assert error.count("\n") == 1
    assert len(list((raw / "Dataset005_Trial" / "labelsTr").iterdir())) == 5


@pytest.mark.parametrize(("name", "spoil", "message"), BAD_FILES)
def test_when_no_case_is_good_nothing_is_written(trial, raw, capsys, name, spoil, message):
    for path in trial.parent.rglob(f"{name}.nii.gz"):
        spoil(path)
    assert convert(trial, raw) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "none of 6 cases can be converted; nothing written" in error
    assert not raw.exists()


def blank_one_t2(frame):
    frame.loc[0, "t2"] = None


def test_missing_sequence_of_one_visit_is_listed(trial, raw, capsys):
    edit(trial, blank_one_t2)
    assert convert(trial, raw) == 1
    assert "patient P1 visit base: no path for ['t2']" in capsys.readouterr().err


def refused(trial, raw, capsys, *more):
    assert convert(trial, raw, *more) == 2
    assert not list(raw.glob("Dataset*")) if raw.exists() else True
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_unknown_column(trial, raw, capsys):
    edit(trial, lambda frame: frame.insert(3, "flare", "x"))
    assert "unknown columns ['flare']" in refused(trial, raw, capsys)


def test_duplicate_visit(trial, raw, capsys):
    def repeat(frame):
        frame.loc[1, "visit"] = "base"

    edit(trial, repeat)
    assert "row 2: patient_id P1, visit base stands twice" in refused(trial, raw, capsys)


@pytest.mark.parametrize("path", ["../elsewhere/flair.nii.gz", "/data/flair.nii.gz", "images/../../flair.nii.gz"])
def test_path_outside_the_manifests_folder(trial, raw, capsys, path):
    def move(frame):
        frame.loc[2, "flair"] = path

    edit(trial, move)
    assert f"row 3, column flair: expected a path inside the manifest's folder, found {path}" in refused(
        trial, raw, capsys
    )


def test_sequence_that_no_visit_has(trial, raw, capsys):
    edit(trial, lambda frame: frame.pop("t2"))
    assert "found none in ['t2']" in refused(trial, raw, capsys)


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
    assert convert(trial, raw) == 2
    assert "dataset number 5 is taken by ['Dataset005_Other']" in capsys.readouterr().err
    shutil.rmtree(raw)
    assert convert(trial, raw) == 0
    before = tree(raw)
    assert convert(trial, raw) == 2
    assert "--overwrite it" in capsys.readouterr().err
    assert tree(raw) == before
    assert convert(trial, raw, "--overwrite") == 0


def test_dataset_number_taken_among_the_results(trial, raw, capsys, tmp_path, monkeypatch):
    (tmp_path / "results" / "Dataset005_Older").mkdir(parents=True)
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))
    assert "taken by ['Dataset005_Older']" in refused(trial, raw, capsys)


def test_no_raw_folder_known(trial, raw, capsys):
    assert main(["trial", str(trial), "--dataset-id", "5"]) == 2
    assert "give --raw DIR or set nnUNet_raw" in capsys.readouterr().err


def test_no_write_permission(trial, raw, capsys, monkeypatch):
    # root may write everywhere, so the answer of the operating system is put in its place
    monkeypatch.setattr(write.os, "access", lambda *_: False)
    assert "no permission to write" in refused(trial, raw, capsys)


def test_too_little_space_is_seen_before_writing(trial, raw, capsys, monkeypatch):
    usage = shutil.disk_usage(trial.parent)._replace(free=10)
    monkeypatch.setattr(write.shutil, "disk_usage", lambda _: usage)
    assert "the dataset needs" in refused(trial, raw, capsys)


def test_disk_full_while_writing_leaves_nothing(trial, raw, capsys, monkeypatch):
    def full(_source, target):
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    monkeypatch.setattr(write, "copy_with_checksum", full)
    assert "No space left on device" in refused(trial, raw, capsys)
    assert not raw.exists()


def test_two_visits_with_one_file_name(trial, raw, capsys):
    def clash(frame):
        frame.loc[:1, "visit"] = ["a b", "a/b"]

    edit(trial, clash)
    assert "both become case P1_a-b" in refused(trial, raw, capsys)


# help -----------------------------------------------------------------------------------------------------------


def test_help_has_an_example(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert "example:\n  nnunet-ms-convert trial" in capsys.readouterr().out
