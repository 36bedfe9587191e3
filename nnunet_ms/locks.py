"""One run at a time writes an output; the system gives the lock back, however a process ends."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nnunet_ms.errors import SettingsError, fault_of

try:
    import fcntl

    HAS_LOCKS = True
except ImportError:  # Windows: two runs with one target are then not told apart
    HAS_LOCKS = False

_LOOK_AGAIN_S = 0.05
LOCK = ".lock"  # in a folder that one run fills in place


@contextmanager
def locked(lock: Path, target: Path, wait_s: float = 0.0) -> Iterator[tuple[int, ...]]:
    """Hold a lock file during the block; the file is gone afterwards. Some file systems, and Windows, have no locks.

    Yields the open file's number, if there is one: a program that is started with it (`subprocess.Popen(pass_fds=...)`)
    holds the lock as well, should this process be killed before it.

    Parameters
    ----------
    lock : Path
        The file; its folder exists.
    target : Path
        What is written, for the message.
    wait_s : float, optional
        How long a lock may be held before that is an error: processes that were killed are not gone at once.

    Raises
    ------
    SettingsError
        If another run holds it.

    Examples
    --------
    >>> with locked(Path("lock"), Path("out")), locked(Path("lock"), Path("out")):
    ...     pass
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.SettingsError: out: another run is writing it at this moment. Wait for it, or end it.
    >>> Path("lock").exists()
    False
    """
    if not HAS_LOCKS:
        yield ()
        return
    number = _hold(lock, target, time.monotonic() + wait_s)
    try:
        yield (number,)
    finally:
        lock.unlink(missing_ok=True)
        os.close(number)


@contextmanager
def sole_run(folder: Path, wait_s: float = 0.0) -> Iterator[tuple[int, ...]]:
    """Keep other runs out of a folder that is filled in place; it is made if it is not there. See `locked`.

    Raises
    ------
    SettingsError
        If it is a file, or another run writes into it.

    Examples
    --------
    >>> with sole_run(Path("out")):
    ...     sorted(path.name for path in Path("out").iterdir())
    ['.lock']
    """
    if folder.exists() and not folder.is_dir():
        raise SettingsError(f"{folder}: expected a folder, found a file. Choose another output folder.")
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    make_folder(folder)
    try:
        with locked(folder / LOCK, folder, wait_s) as numbers:
            yield numbers
    finally:
        remove_empty(made)


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, unless it is there.

    Raises
    ------
    SettingsError
        If the place takes no folders though it is there, as `/proc`.
    OSError
        If it is read-only, full, or not ours, which `commands.run` tells in one line.

    Examples
    --------
    >>> make_folder(Path("a/b"))
    >>> Path("a/b").is_dir()
    True
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if fault_of(error) or isinstance(error, (PermissionError, FileExistsError, NotADirectoryError)):
            raise
        raise no_place(folder, error) from error


def no_place(target: Path, error: OSError) -> SettingsError:
    """The error for a place that takes no files or folders."""
    above = next((parent for parent in target.parents if parent.exists()), target)
    return SettingsError(
        f"{target}: expected a place that can be written, found that {above} takes no new files ({error.strerror}). "
        "Choose another output folder."
    )


def remove_empty(folders: list[Path]) -> None:
    """Remove folders that were made for nothing, innermost first."""
    for folder in folders:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _hold(lock: Path, target: Path, deadline: float) -> int:
    """Open a lock file and take it."""
    while True:
        number = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _take(number, target, deadline)
            if _is_still(number, lock):
                return number
        except BaseException:
            os.close(number)
            raise
        os.close(number)  # the run that held it ended, and removed it, between our opening and our taking it


def _take(number: int, target: Path, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                raise SettingsError(
                    f"{target}: another run is writing it at this moment. Wait for it, or end it."
                ) from error
            time.sleep(_LOOK_AGAIN_S)
        except OSError:  # a file system without locks
            return


def _is_still(number: int, lock: Path) -> bool:
    """Whether the open file is the one that stands under this name."""
    try:
        return os.path.samestat(os.fstat(number), lock.stat())
    except FileNotFoundError:
        return False
