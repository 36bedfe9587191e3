"""Put a new folder into the place of an old one, so that there is one of the two at every moment."""

import ctypes
import errno
import os
from functools import cache
from pathlib import Path
from typing import Any

_HERE = -100  # AT_FDCWD of fcntl.h: paths are as they would be for open()
_EXCHANGE = 2  # RENAME_EXCHANGE of rename(2)
# what a kernel, a file system or a sandbox answers that does not know the call
_UNKNOWN = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM)


def exchange(first: Path, second: Path) -> bool:
    """Exchange the names of two paths of one file system in one step; False where the system cannot do that.

    Linux can since 3.15, by renameat2(2), on its own file systems; not over NFS.

    Raises
    ------
    OSError
        If one of them is not there, or may not be renamed.

    Examples
    --------
    >>> _ = Path("a.txt").write_text("a"), Path("b.txt").write_text("b")
    >>> exchange(Path("a.txt"), Path("b.txt"))
    True
    >>> Path("a.txt").read_text()
    'b'
    """
    rename = _renameat2()
    if rename is None:
        return False
    if rename(_HERE, os.fsencode(first), _HERE, os.fsencode(second), _EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNKNOWN:
        return False
    raise OSError(number, os.strerror(number), str(first), None, str(second))


@cache
def _renameat2() -> Any:
    """The function of the C library, or None where it has none."""
    try:
        return ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):  # an older C library; another system; Windows
        return None


def put_in_place(folder: Path, target: Path, aside: Path) -> None:
    """Let `folder` be `target`; an earlier `target` is then `folder`, or gone.

    Where the system cannot exchange two folders in one step, the earlier one is `aside` for a moment. If the process
    is killed in that moment, `restore` brings it back; if the second step fails, this function does.

    Parameters
    ----------
    folder, target, aside : Path
        On one file system; `aside` is not there.

    Raises
    ------
    OSError
        If a folder may not be renamed; `target` and `folder` are then as they were.

    Examples
    --------
    >>> for name in ("new", "out"):
    ...     Path(name).mkdir()
    ...     (Path(name) / name).touch()
    >>> put_in_place(Path("new"), Path("out"), Path("aside"))
    >>> [path.name for path in Path("out").iterdir()]
    ['new']
    """
    if not target.exists():
        folder.rename(target)
    elif not exchange(folder, target):
        try:
            target.rename(aside)
            folder.rename(target)
        except BaseException:
            restore(target, aside)
            raise


def restore(target: Path, aside: Path) -> None:
    """Bring back what `put_in_place` had moved aside, if nothing took its place.

    Examples
    --------
    >>> Path("aside").mkdir()
    >>> restore(Path("out"), Path("aside"))
    >>> Path("out").is_dir(), Path("aside").exists()
    (True, False)
    """
    if aside.exists() and not target.exists():
        aside.rename(target)
