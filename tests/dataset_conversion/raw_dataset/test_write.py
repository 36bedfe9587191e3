"""What a conversion writes: copies, resampled images, integer masks; the same after a kill; nothing without room."""

import errno
import hashlib
import itertools
import os
import shutil
import signal
import sys
from functools import partial
from threading import RLock

import nibabel as nib
import numpy as np
import pytest
from tqdm import tqdm

from nnunet_ms.dataset_conversion.raw_dataset import write
from nnunet_ms.tables import CASES, read_table
from tests.dataset_conversion.conftest import SHAPE, convert_trial, first_image, refused, save, tree


def test_images_on_one_grid_are_copied_byte_for_byte_and_documented(trial, raw):
    assert convert_trial(trial, raw, "--folds", "3") == 0
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
    assert convert_trial(trial, raw) == 0
    assert "P1_base: t1 resampled onto flair" in capsys.readouterr().out
    written = nib.load(raw / "Dataset005_Trial" / "imagesTr" / "P1_base_0002.nii.gz")
    assert written.shape == SHAPE
    # Oracle: a linear ramp stays a linear ramp; voxel i of 2 mm lies at voxel 2 i of 1 mm.
    assert np.asanyarray(written.dataobj)[:, 5, 3] == pytest.approx(2 * np.arange(10), abs=1e-4)


def test_float_masks_are_written_as_integers(trial, raw):
    mask = np.zeros(SHAPE, np.float32)
    mask[2:4, 2:4, 2] = 1
    save(first_image(trial, "mask"), mask)
    assert convert_trial(trial, raw) == 0
    assert nib.load(raw / "Dataset005_Trial" / "labelsTr" / "P1_base.nii.gz").get_data_dtype() == np.uint8


def test_same_result_with_more_workers_and_again(trial, raw, tmp_path):
    assert convert_trial(trial, raw) == 0
    assert convert_trial(trial, tmp_path / "other", "--workers", "2") == 0
    assert tree(raw) == tree(tmp_path / "other")


def killed_at(event, work):
    """Do some work in a fork that is killed at its n-th file event, or never; return how many events it has seen."""
    reader, writer = os.pipe()
    child = os.fork()  # everything is imported, so that the kill falls into the work
    if child == 0:
        seen = itertools.count(1)

        def watch(name, _):
            if name in {"open", "os.mkdir", "os.rename", "os.remove", "os.link"} and next(seen) == event:
                os.kill(os.getpid(), signal.SIGKILL)

        tqdm.set_lock(RLock())  # the one of this process is shared between both, and a kill may leave it taken
        sys.addaudithook(watch)
        try:
            work()
        finally:
            os.write(writer, str(next(seen) - 1).encode())
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as pipe:
        return int(pipe.read() or event)


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is a POSIX signal")
def test_killed_at_any_moment_and_started_again_gives_the_same_dataset(trial, tmp_path):
    save(
        first_image(trial, "t1"), np.ones((20, 24, 6), np.float32) * np.arange(6), spacing=(1.0, 1.0, 4.0)
    )  # resampled
    save(first_image(trial, "mask"), np.eye(10, 12, dtype=np.float32)[..., None].repeat(6, 2))  # rewritten
    assert convert_trial(trial, tmp_path / "undisturbed") == 0
    events = killed_at(None, partial(convert_trial, trial, tmp_path / "watched"))
    assert tree(tmp_path / "watched") == tree(tmp_path / "undisturbed")
    states = set()
    for event in np.linspace(1, events, 20).astype(int):
        raw = tmp_path / f"raw{event}"
        assert killed_at(event, partial(convert_trial, trial, raw)) == event
        states.add(sorted(path.name for path in raw.iterdir())[0] if raw.exists() and any(raw.iterdir()) else "")
        assert convert_trial(trial, raw, "--overwrite") == 0
        assert tree(raw) == tree(tmp_path / "undisturbed")
    assert states == {"", ".partial-Dataset005_Trial-resume"}  # in the end a folder is renamed and the rest removed


def test_what_changed_between_a_killed_run_and_the_next_is_done_again(trial, raw, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(write, "_remove_others", stop)  # when all cases are written
        assert convert_trial(trial, raw, "--test-patients", "P3", "--folds", "2") == 130  # 128 + SIGINT
    assert len(list(raw.rglob("*.written.json"))) == 6
    save(first_image(trial), np.random.default_rng(9).integers(0, 900, SHAPE).astype(np.int16))
    shutil.rmtree(trial.parent / "images" / "P2" / "w24")
    assert convert_trial(trial, raw, "--test-patients", "P2", "--folds", "2") == 1
    assert convert_trial(trial, tmp_path / "fresh", "--test-patients", "P2", "--folds", "2") == 1
    assert tree(raw) == tree(tmp_path / "fresh")


def test_no_write_permission(trial, raw, capsys, monkeypatch):
    # root may write everywhere, so the answer of the operating system is put in its place
    monkeypatch.setattr(write.os, "access", lambda *_: False)
    assert "no permission to write" in refused(trial, raw, capsys)


def test_too_little_space_is_seen_before_writing(trial, raw, capsys, monkeypatch):
    usage = shutil.disk_usage(trial.parent)._replace(free=10)
    monkeypatch.setattr(write.shutil, "disk_usage", lambda _: usage)
    assert convert_trial(trial, raw) == 2
    assert "the dataset needs" in capsys.readouterr().err
    assert published(raw) == []
    assert len(list(raw.rglob("*.checked.json"))) == 6  # not to be read again when there is room


GONE_WRONG = {
    "deleted": lambda path: path.unlink(),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:200]),
    "a folder now": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("how", GONE_WRONG)
@pytest.mark.parametrize("more", [[], ["--workers", "2"]], ids=["here", "in workers"])
def test_a_file_that_went_wrong_after_the_check_leaves_its_case_out(trial, raw, capsys, monkeypatch, how, more):
    check_space, path = write.check_space, first_image(trial, "t1")
    save(path, np.ones((20, 24, 6), np.float32) + np.arange(6), spacing=(1.0, 1.0, 4.0))  # so that it is read again

    def meanwhile(*arguments):
        check_space(*arguments)
        GONE_WRONG[how](path)

    monkeypatch.setattr(write, "check_space", meanwhile)
    assert convert_trial(trial, raw, *more) == 1
    told = capsys.readouterr().err
    assert "case P1_base: " in told
    assert str(path) in told
    assert "Traceback" not in told
    cases = read_table(raw / "Dataset005_Trial" / "cases.csv", CASES)["case_id"]
    assert len(cases) == 5
    assert "P1_base" not in set(cases)
    assert not list((raw / "Dataset005_Trial").rglob("*P1_base*"))


def published(raw):
    return [path.name for path in raw.iterdir() if not path.name.startswith(".")]


def test_disk_full_while_writing_publishes_nothing_and_the_next_run_goes_on(trial, raw, capsys, monkeypatch):
    def full(_source, target):
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    with monkeypatch.context() as patched:
        patched.setattr(write, "copy_with_checksum", full)
        assert convert_trial(trial, raw) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert published(raw) == []
    assert len(list(raw.rglob("*.checked.json"))) == 6
    assert convert_trial(trial, raw) == 0
    assert [path.name for path in raw.iterdir()] == ["Dataset005_Trial"]
