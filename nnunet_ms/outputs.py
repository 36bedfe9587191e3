"""Outputs are complete or absent: write beside the target, rename at the end.

A rename within one folder is atomic on POSIX file systems, so a reader (or the next run) sees the old
state or the new one, never half of it, whatever kills the process in between.
"""

import glob
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nnunet_ms.errors import SettingsError

try:
    import fcntl

    HAS_LOCKS = True
except ImportError:  # Windows: two runs with one target are then not told apart
    HAS_LOCKS = False

PARTIAL_PREFIX = ".partial-"
RESUME = "resume"


def _partial_name(target: Path) -> str:
    return f"{PARTIAL_PREFIX}{target.name}-"


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
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=_partial_name(target), dir=target.parent))
    try:
        partial = folder / target.name
        yield partial
        partial.replace(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def whole_folder(target: str | Path, replace: bool = False) -> Iterator[Path]:
    """Yield an empty folder to fill; it becomes `target` when the block ends without an error.

    Parameters
    ----------
    target : str or Path
        The final folder.
    replace : bool, optional
        Whether an existing `target` is replaced. The old one is moved aside first and removed last.

    Raises
    ------
    FileExistsError
        If `target` exists and `replace` is false.

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
    FileExistsError: result exists
    """
    target = Path(target)
    if target.exists() and not replace:
        raise FileExistsError(f"{target} exists")
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=_partial_name(target), dir=target.parent))
    folder.chmod(0o755)  # mkdtemp makes private folders; datasets are shared
    try:
        yield folder
        _swap(folder, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class Unfinished:
    """A folder in the making, `folder`, and beside it a place for notes on what is done, `memory`."""

    folder: Path
    memory: Path


@contextmanager
def resumable_folder(target: str | Path, replace: bool = False) -> Iterator[Unfinished]:
    """Like `whole_folder`, but what a killed run had written is there again for the next one.

    An error removes everything, and folders above `target` that were made for it; a kill or an interrupt (Ctrl-C)
    leaves it. The caller compares what is there again with the notes: a run may have been killed between the two.

    Raises
    ------
    FileExistsError
        If `target` exists and `replace` is false.
    SettingsError
        If another run is writing `target` at this moment.

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
    if target.exists() and not replace:
        raise FileExistsError(f"{target} exists")
    made = [parent for parent in target.parents if not parent.exists()]
    home = target.parent / f"{_partial_name(target)}{RESUME}"
    work = Unfinished(home / target.name, home / "memory")
    for path in (work.folder, work.memory):
        path.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        _take(lock.fileno(), target)  # the system gives it back, however this process ends
        try:
            yield work
            _swap(work.folder, target)
            shutil.rmtree(home, ignore_errors=True)
        except Exception:
            shutil.rmtree(home, ignore_errors=True)
            for parent in made:
                if not any(parent.iterdir()):
                    parent.rmdir()
            raise


def _take(lock: int, target: Path) -> None:
    if not HAS_LOCKS:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise SettingsError(f"{target}: another run is writing it at this moment. Wait for it, or end it.") from error
    except OSError:  # a file system without locks
        return


def _swap(folder: Path, target: Path) -> None:
    if not target.exists():
        folder.replace(target)
        return
    old = Path(tempfile.mkdtemp(prefix=_partial_name(target), dir=target.parent))
    target.replace(old / target.name)
    folder.replace(target)
    shutil.rmtree(old)


def remove_leftovers(target: str | Path) -> None:
    """Remove what a killed run left beside `target`, but for what a `resumable_folder` goes on with.

    Call it only where no other run writes the same target.

    Examples
    --------
    >>> Path(".partial-result-x7").mkdir()
    >>> remove_leftovers(Path("result"))
    >>> list(Path().glob(".partial*"))
    []
    """
    target = Path(target)
    for leftover in target.parent.glob(f"{glob.escape(_partial_name(target))}*"):
        if leftover.name != f"{_partial_name(target)}{RESUME}":
            shutil.rmtree(leftover, ignore_errors=True)
