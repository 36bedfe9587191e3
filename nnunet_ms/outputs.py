"""Outputs are complete or absent: write beside the target, rename at the end.

A rename within one folder is atomic on POSIX file systems, so a reader (or the next run) sees the old
state or the new one, never half of it, whatever kills the process in between.

A folder in the making lies in a hidden one beside its target, with a lock, so that one run at a time writes it.
"""

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from nnunet_ms.errors import MachineError, OptionError, fault_of
from nnunet_ms.exchange import put_in_place, restore
from nnunet_ms.interrupts import interrupts_held_back
from nnunet_ms.locks import LOCK, locked, make_folder, no_place, remove_empty

PARTIAL_PREFIX = ".partial-"
OLD = ".old"  # in the hidden folder: the target that is being replaced
DONE = ".done"  # there too: notes of a run that was about to publish
RESUME, WHOLE = "resume", "whole"  # what the hidden folder is for: to go on, or to begin again


def _partial_name(target: Path) -> str:
    return f"{PARTIAL_PREFIX}{target.name}-"


def check_writable(target: str | Path) -> None:
    """Raise where `target` could not be written, before hours of work for it: a folder is made beside it, and removed.

    Raises
    ------
    SettingsError, OSError
        As `locks.make_folder`.

    Examples
    --------
    >>> check_writable("new/result")
    >>> Path("new").exists()
    False
    """
    target = Path(target)
    above = next((parent for parent in target.parents if parent.exists()), target)
    _beside(above / target.name).rmdir()


def _beside(target: Path) -> Path:
    """A new hidden folder beside a target."""
    try:
        return Path(tempfile.mkdtemp(prefix=_partial_name(target), dir=target.parent))
    except PermissionError as error:
        error.filename = str(target.parent)  # and not of the hidden folder
        raise
    except FileNotFoundError as error:  # the folder is there: a place such as /proc
        if not target.parent.is_dir():
            raise
        raise no_place(target, error) from error


@contextmanager
def whole_file(target: str | Path) -> Iterator[Path]:
    """Yield a path to write to; it becomes `target` when the block ends without an error.

    Parameters
    ----------
    target : str or Path
        The final file. Missing parent folders are made. The temporary file keeps its suffixes, because
        image libraries choose the format by suffix.

    Raises
    ------
    OSError
        If the folder cannot be written; nothing is left behind.

    Examples
    --------
    >>> with whole_file(Path("numbers.txt")) as partial:
    ...     partial.write_text("1 2 3")
    5
    >>> Path("numbers.txt").read_text()
    '1 2 3'
    >>> sorted(path.name for path in Path().glob("*.txt"))
    ['numbers.txt']
    """
    target = Path(target)
    make_folder(target.parent)
    with ExitStack() as stack:
        with interrupts_held_back():  # between the folder and the promise to remove it
            folder = _beside(target)
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        partial = folder / target.name
        yield partial
        partial.replace(target)


@contextmanager
def whole_folder(target: str | Path, replace: bool = False) -> Iterator[Path]:
    """Yield an empty folder to fill; it becomes `target` when the block ends without an error.

    Parameters
    ----------
    target : str or Path
        The final folder.
    replace : bool, optional
        Whether an existing `target` is replaced: in one step where the system can, and else so that the next run
        brings the old one back, should this one be killed just then.

    Raises
    ------
    FileExistsError
        If `target` exists and `replace` is false.
    OptionError
        If `replace` is neither True nor False.
    SettingsError
        If another run is writing `target` at this moment.
    MachineError
        If the complete folder cannot be renamed; the message says where it lies.

    Examples
    --------
    >>> with whole_folder(Path("result")) as folder:
    ...     (folder / "a.txt").write_text("a")
    1
    >>> [path.name for path in Path("result").iterdir()]
    ['a.txt']
    >>> with whole_folder(Path("result")) as folder:
    ...     pass
    Traceback (most recent call last):
        ...
    FileExistsError: [Errno 17] exists already: 'result'
    """
    target = Path(target)
    if not isinstance(replace, bool):  # "no" would replace it
        raise OptionError(f"replace: expected True or False, found {replace!r}. Write it without quotes.")
    with _home(target, WHOLE) as home:
        _check_free(target, replace)
        folder = home / target.name
        try:
            folder.mkdir()
            yield folder
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        _publish(folder, target, home)


@dataclass(frozen=True)
class Unfinished:
    """A folder in the making, `folder`, and beside it a place for notes on what is done, `memory`."""

    folder: Path
    memory: Path


@contextmanager
def resumable_folder(target: str | Path, replace: bool = False) -> Iterator[Unfinished]:
    """Like `whole_folder`, but what a killed run had written is there again for the next one.

    An error removes everything, and folders above `target` that were made for it; a kill, an interrupt (Ctrl-C) or a
    fault of the machine (see `errors.fault_of`) leaves it. The caller compares what is there again with the notes: a
    run may have been killed between the two.

    Raises
    ------
    FileExistsError, SettingsError, MachineError
        As `whole_folder`.

    Examples
    --------
    >>> def killed():
    ...     with resumable_folder(Path("dataset")) as work:
    ...         (work.folder / "case_1").touch()
    ...         raise KeyboardInterrupt
    >>> try:
    ...     killed()
    ... except KeyboardInterrupt:
    ...     Path("dataset").exists()
    False
    >>> with resumable_folder(Path("dataset")) as work:
    ...     [path.name for path in work.folder.iterdir()]
    ['case_1']
    """
    target = Path(target)
    with _home(target, RESUME) as home:
        _check_free(target, replace)
        work = Unfinished(home / target.name, home / "memory")
        try:
            for path in (work.folder, work.memory):
                path.mkdir(exist_ok=True)
            yield work
        except Exception as error:
            if not fault_of(error):
                _empty(home)
            raise
        work.memory.rename(home / DONE)  # its notes are not about what an exchange puts into the folder's place
        try:
            _publish(work.folder, target, home)
        except MachineError:
            (home / DONE).rename(work.memory)
            raise


@contextmanager
def _home(target: Path, kind: str) -> Iterator[Path]:
    """Hold the hidden folder beside `target`, and end with none if there is nothing left in it.

    Only a run that has the lock looks at what another left there.
    """
    made = [parent for parent in target.parents if not parent.exists()]
    home = target.parent / f"{_partial_name(target)}{kind}"
    with ExitStack() as stack:
        with interrupts_held_back():  # else one that comes just now would leave the folder, or the lock in it
            stack.callback(remove_empty, [home, *made])
            make_folder(home)
            stack.enter_context(locked(home / LOCK, target))
        restore(target, home / OLD)
        if kind == WHOLE or (home / DONE).exists():
            _empty(home)
        yield home


def _check_free(target: Path, replace: bool) -> None:
    if target.exists() and not replace:
        raise FileExistsError(errno.EEXIST, "exists already", str(target))


def _publish(folder: Path, target: Path, home: Path) -> None:
    try:
        put_in_place(folder, target, home / OLD)
    except OSError as error:
        raise MachineError(
            f"{target}: could not be replaced ({error.strerror}) and is as it was. The new one is complete and lies in "
            f"{folder}: move it to its place. To repeat the command makes it anew."
        ) from error
    _empty(home)


def _empty(home: Path) -> None:
    """Remove everything but the lock, which whoever holds it removes."""
    for path in home.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != LOCK:
            path.unlink()


def remove_leftovers(folder: str | Path) -> None:
    """Remove what killed runs left half-written in a folder that is filled in place.

    Call it only where no other run writes into it, as in `locks.sole_run`.

    Examples
    --------
    >>> Path("result/P1/.partial-mask.nii.gz-x7").mkdir(parents=True)
    >>> remove_leftovers(Path("result"))
    >>> [path.name for path in Path("result/P1").iterdir()]
    []
    """
    for leftover in sorted(Path(folder).rglob(f"{PARTIAL_PREFIX}*")):
        shutil.rmtree(leftover, ignore_errors=True)
