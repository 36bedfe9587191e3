import errno
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from nnunet_ms.errors import MachineError, SettingsError
from nnunet_ms.outputs import remove_leftovers, resumable_folder, whole_file, whole_folder


def test_a_target_is_a_path_or_its_text(tmp_path):
    with whole_file(f"{tmp_path}/new/a.csv") as partial:
        partial.write_text("a")
    with whole_folder(f"{tmp_path}/folder") as partial:
        (partial / "b").touch()
    with resumable_folder(f"{tmp_path}/resumed") as work:
        (work.folder / "c").touch()
    (tmp_path / "folder" / ".partial-b-x").mkdir()
    remove_leftovers(f"{tmp_path}/folder")
    assert names(tmp_path / "folder") == ["b"]
    assert names(tmp_path) == ["folder", "new", "resumed"]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_file_appears_when_the_block_ends(tmp_path):
    target = tmp_path / "new" / "table.csv"
    with whole_file(target) as partial:
        partial.write_text("a")
        assert not target.exists()
        assert partial.suffix == ".csv"
    assert target.read_text() == "a"
    assert names(target.parent) == ["table.csv"]


def test_error_leaves_the_old_file_and_no_trace(tmp_path):
    target = tmp_path / "table.csv"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), whole_file(target) as partial:
        partial.write_text(f"half {1 / 0}")
    assert target.read_text() == "old"
    assert names(tmp_path) == ["table.csv"]


def test_folder_is_swapped_as_a_whole(tmp_path):
    target = tmp_path / "out"
    for text in ("first", "second"):
        with whole_folder(target, replace=True) as partial:
            (partial / text).touch()
    assert names(tmp_path) == ["out"]
    assert names(target) == ["second"]


def test_existing_folder_is_kept_unless_asked(tmp_path):
    with pytest.raises(FileExistsError, match="exists"), whole_folder(tmp_path):
        pass


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is a POSIX signal")
def test_a_killed_process_leaves_no_target_and_the_next_run_cleans_up(tmp_path):
    target = tmp_path / "out"
    code = f"""
import time, pathlib
from nnunet_ms.outputs import whole_folder
with whole_folder(pathlib.Path({str(target)!r})) as p:
    (p / "half").write_text("x")
    print("writing", flush=True)
    time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline().strip() == "writing"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not target.exists()
    assert names(tmp_path) == [".partial-out-whole"]
    with whole_folder(target) as again:
        assert names(again) == []
    assert names(tmp_path) == ["out"]


def test_leftovers_in_a_folder_that_is_filled_in_place(tmp_path):
    (tmp_path / "P1" / ".partial-mask.nii.gz-x7").mkdir(parents=True)
    (tmp_path / "P1" / "mask.nii.gz").touch()
    remove_leftovers(tmp_path)
    assert names(tmp_path / "P1") == ["mask.nii.gz"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), MachineError("gone"), MemoryError("m")], ids=repr)
def test_a_fault_of_the_machine_keeps_what_was_done(tmp_path, error):
    def fail(path):
        path.touch()
        raise error

    with pytest.raises(type(error), match=r"full|gone|m"), resumable_folder(tmp_path / "out") as work:
        fail(work.folder / "half")
    assert not (tmp_path / "out").exists()
    with resumable_folder(tmp_path / "out") as work:
        assert names(work.folder) == ["half"]


def killed_while_writing(target):
    code = f"""
import time, pathlib
from nnunet_ms.outputs import resumable_folder
with resumable_folder(pathlib.Path({str(target)!r}), replace=True) as work:
    (work.folder / "half").write_text("x")
    (work.memory / "note").write_text("half is done")
    print("writing", flush=True)
    time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline().strip() == "writing"
    return process


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is a POSIX signal")
def test_a_resumable_folder_goes_on_where_a_killed_run_ended_and_is_one_runs_at_a_time(tmp_path):
    target = tmp_path / "deep" / "out"
    process = killed_while_writing(target)
    with pytest.raises(SettingsError, match="another run is writing it"), resumable_folder(target):
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not target.exists()
    with resumable_folder(target) as work:
        assert (work.folder / "half").read_text() == "x"
        assert (work.memory / "note").is_file()
    assert names(target.parent) == ["out"]
    assert names(target) == ["half"]


def interrupted(path):
    path.write_text("x")
    raise KeyboardInterrupt


def test_an_error_removes_a_resumable_folder_and_an_interrupt_keeps_it(tmp_path):
    target = tmp_path / "deep" / "er" / "out"
    with pytest.raises(ZeroDivisionError), resumable_folder(target) as work:
        (work.folder / "half").write_text(f"{1 / 0}")
    assert names(tmp_path) == []
    with pytest.raises(KeyboardInterrupt), resumable_folder(target) as work:
        interrupted(work.folder / "half")
    with resumable_folder(target) as work:
        assert names(work.folder) == ["half"]
    with pytest.raises(FileExistsError, match="exists"), resumable_folder(target):
        pass


@pytest.fixture
def interruptible():
    """A background job of a shell ignores SIGINT, and so would the tests in it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="signals of POSIX")
@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("made", ["mkdir", "open"])
def test_an_interrupt_just_after_the_hidden_folder_was_made_leaves_nothing(made, tmp_path, monkeypatch):
    def then_interrupt(make):
        def call(*arguments, **options):
            result = make(*arguments, **options)
            if "partial" in str(arguments[0]):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.01)  # it would come in here
            return result

        return call

    whose = os if made == "open" else Path
    monkeypatch.setattr(whose, made, then_interrupt(getattr(whose, made)))
    with pytest.raises(KeyboardInterrupt), whole_folder(tmp_path / "result"):
        pytest.fail("it was interrupted before")
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="signals of POSIX")
@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_just_after_the_folder_of_a_file_was_made_leaves_nothing(tmp_path, monkeypatch):
    make = tempfile.mkdtemp

    def then_interrupt(**options):
        folder = make(**options)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
        return folder

    monkeypatch.setattr(tempfile, "mkdtemp", then_interrupt)
    with pytest.raises(KeyboardInterrupt), whole_file(tmp_path / "numbers.txt"):
        pytest.fail("it was interrupted before")
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []
