"""A folder is replaced in one step, or the old one comes back; each step is made to fail."""

import errno
from pathlib import Path

import pytest

from nnunet_ms import exchange as module
from nnunet_ms.errors import MachineError
from nnunet_ms.exchange import exchange, put_in_place, restore
from nnunet_ms.outputs import resumable_folder, whole_folder

NEW, OLD = ["new"], ["old"]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def folders(tmp_path):
    for name in ("new", "old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    return tmp_path / "new", tmp_path / "old", tmp_path / "aside"


def test_two_names_are_exchanged(folders):
    new, old, _ = folders
    is_done = exchange(new, old)  # not on every system and file system
    assert (names(new), names(old)) == ((OLD, NEW) if is_done else (NEW, OLD))
    if is_done:
        with pytest.raises(FileNotFoundError, match="nothing"):
            exchange(new, old.parent / "nothing")


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM])
def test_a_system_that_does_not_know_the_call(folders, monkeypatch, number):
    def answer(*_):
        module.ctypes.set_errno(number)
        return -1

    new, old, aside = folders
    monkeypatch.setattr(module, "_renameat2", lambda: answer)
    put_in_place(new, old, aside)
    assert names(old) == NEW
    assert names(aside) == OLD


class Killed(BaseException):
    """Stands for the end of the process: nothing that comes after it is done."""


def failing_rename(monkeypatch, at, error):
    """Let the call number `at` (from 1) of `Path.rename` fail; 0 lets none fail."""
    calls, rename = [], Path.rename

    def counted(self, target):
        calls.append(target)
        if len(calls) == at:
            raise error
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", counted)
    return calls


# Oracle: the promise itself. A target is one of the two whole folders at every moment, or the next run finds it.
@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), KeyboardInterrupt("by hand")], ids=["error", "Ctrl-C"])
@pytest.mark.parametrize("at", [1, 2])
def test_a_failing_step_leaves_both_as_they_were(folders, monkeypatch, at, error):
    new, old, aside = folders
    monkeypatch.setattr(module, "exchange", lambda *_: False)
    failing_rename(monkeypatch, at, error)
    with pytest.raises(type(error), match=r"broken|by hand"):
        put_in_place(new, old, aside)
    assert (names(new), names(old), aside.exists()) == (NEW, OLD, False)


def fill(target, *, resumable=False):
    with (resumable_folder if resumable else whole_folder)(target, replace=True) as work:
        ((work.folder if resumable else work) / "new").touch()


@pytest.mark.parametrize("resumable", [False, True], ids=["whole", "resumable"])
@pytest.mark.parametrize("can_exchange", [False, True])
@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_a_folder_killed_at_each_rename_is_whole_after_the_next_run(tmp_path, monkeypatch, resumable, can_exchange, at):
    target = tmp_path / "out"
    target.mkdir()
    (target / "old").touch()
    with monkeypatch.context() as patch:
        if not can_exchange:
            patch.setattr(module, "exchange", lambda *_: False)
        patch.setattr(module, "restore", lambda *_: None)  # a killed process restores nothing
        calls = failing_rename(patch, at, Killed("here"))
        if at:
            try:
                fill(target, resumable=resumable)
            except Killed:
                assert len(calls) == at
        else:
            fill(target, resumable=resumable)
    if target.exists():
        assert names(target) in (OLD, NEW)
    with (
        pytest.raises(FileExistsError, match="out"),
        whole_folder(target) if not resumable else resumable_folder(target),
    ):
        pass  # the old one is there again
    fill(target, resumable=resumable)
    assert names(target) == NEW
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("resumable", [False, True], ids=["whole", "resumable"])
def test_a_result_that_cannot_be_put_in_place_is_kept_and_named(tmp_path, monkeypatch, resumable):
    target = tmp_path / "out"
    target.mkdir()
    (target / "old").touch()
    with monkeypatch.context() as patch:
        patch.setattr("nnunet_ms.outputs.put_in_place", lambda *_: Path("/nowhere/a").rename("/nowhere/b"))
        with pytest.raises(MachineError, match=r"out: could not be replaced .* lies in .*out: move it"):
            fill(target, resumable=resumable)
    (kept,) = tmp_path.glob(".partial-out-*/out")
    assert (names(kept), names(target)) == (NEW, OLD)
    fill(target, resumable=resumable)
    assert (names(target), names(tmp_path)) == (NEW, ["out"])


def test_nothing_is_restored_over_a_new_folder(folders):
    new, old, _ = folders
    restore(new, old)
    assert (names(new), names(old)) == (NEW, OLD)
