"""Outputs are complete or absent: write beside the target, rename at the end.

A rename within one folder is atomic on POSIX file systems, so a reader (or the next run) sees the old
state or the new one, never half of it, whatever kills the process in between.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL_PREFIX = ".partial-"


def _partial_name(target: Path) -> str:
    return f"{PARTIAL_PREFIX}{target.name}-"


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Yield a path to write to; it becomes `target` when the block ends without an error.

    Parameters
    ----------
    target : Path
        The final file. Missing parent folders are made. The temporary file keeps its suffixes, because
        image libraries choose the format by suffix.

    Raises
    ------
    OSError
        If the folder cannot be written; nothing is left behind.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=_partial_name(target), dir=target.parent))
    try:
        partial = folder / target.name
        yield partial
        partial.replace(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def whole_folder(target: Path, replace: bool = False) -> Iterator[Path]:
    """Yield an empty folder to fill; it becomes `target` when the block ends without an error.

    Parameters
    ----------
    target : Path
        The final folder.
    replace : bool, optional
        Whether an existing `target` is replaced. The old one is moved aside first and removed last.

    Raises
    ------
    FileExistsError
        If `target` exists and `replace` is false.
    """
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


def _swap(folder: Path, target: Path) -> None:
    if not target.exists():
        folder.replace(target)
        return
    old = Path(tempfile.mkdtemp(prefix=_partial_name(target), dir=target.parent))
    target.replace(old / target.name)
    folder.replace(target)
    shutil.rmtree(old)


def remove_leftovers(target: Path) -> None:
    """Remove what a killed run left beside `target`; call it only where no other run writes the same target."""
    for leftover in target.parent.glob(f"{_partial_name(target)}*"):
        shutil.rmtree(leftover, ignore_errors=True)
