"""Errors that a user can fix. Everything else is a bug and keeps its traceback."""

import errno
from collections.abc import Iterator

# too little room on the disk; the disk taken away; too many open files or processes; too little memory
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_NO_DISK = (errno.EROFS, errno.ESTALE)
_NO_HANDLES = (errno.EMFILE, errno.ENFILE, errno.EAGAIN)
# what torch and the libraries below it say (`torch.OutOfMemoryError` is raised for CUDA alone)
_NO_ROOM_ON_DEVICE = ("CUDA out of memory", "MPS backend out of memory", "STATUS_ALLOC_FAILED", "HIP out of memory")
_NO_ROOM_FOR_TENSOR = "DefaultCPUAllocator: "


class NnunetMsError(Exception):
    """Base class: the message names the thing, what was expected, what was found and the next step."""


class ConversionError(NnunetMsError):
    """Source data cannot become an nnU-Net dataset."""


class ImageError(NnunetMsError):
    """An image file is missing, damaged, or not what its role asks for."""


class TableError(NnunetMsError):
    """A table lacks a column, holds a bad value, or contradicts another table."""


class ModelError(NnunetMsError):
    """A plan, channel set or label set does not fit the network that was asked for."""


class SettingsError(NnunetMsError):
    """An argument or a settings file asks for something that cannot be done."""


class OptionError(SettingsError, ValueError):
    """An argument has a value that is not among those it takes; also a `ValueError`, as callers from Python expect."""


class StatisticsError(NnunetMsError, ValueError):
    """Numbers given to a statistic contradict each other or lack something; also a `ValueError`, as numpy raises."""


class MachineError(NnunetMsError):
    """The machine gave out (memory, disk, handles, a process, a cluster): no case is to blame, none is left out."""


class Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM), as batch systems and `kill` do it; handled as an interrupt."""


def fault_of(error: BaseException) -> str:
    """What to tell about an error if the machine is at fault, or nothing if it is not.

    It is when this error, or one that it was made from, says that memory, disk or file handles are used up: a reader
    that calls such a file damaged is wrong.

    Examples
    --------
    >>> fault_of(OSError(errno.ENOSPC, "No space left on device", "out/lesions.csv"))
    'out/lesions.csv: No space left on device. Choose another place, or make room.'
    >>> fault_of(ImageError("damaged"))
    ''
    """
    return next((told for one in _chain(error) if (told := _fault(one))), "")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that it was made from, as a traceback shows them."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _fault(error: BaseException) -> str:
    if isinstance(error, MachineError):
        return str(error)
    if isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_ROOM_ON_DEVICE):
        return "out of memory on the device. End what else uses it, choose another -device, or use cpu."
    is_for_tensor = isinstance(error, RuntimeError) and _NO_ROOM_FOR_TENSOR in str(error)
    if isinstance(error, MemoryError) or is_for_tensor or getattr(error, "errno", None) == errno.ENOMEM:
        return "out of memory. Use fewer --workers, or a machine with more of it."
    if not isinstance(error, OSError):
        return ""
    if error.errno in (*_NO_ROOM, *_NO_DISK):
        return f"{error.filename or 'output'}: {error.strerror}. Choose another place, or make room."
    if error.errno in _NO_HANDLES:
        return f"{error.strerror}. Use fewer --workers, or raise the limit (ulimit)."
    return ""


def one_line(error: BaseException) -> str:
    r"""Text of another library's error on one line, to stand inside a message of ours.

    Examples
    --------
    >>> one_line(ValueError("a file\nthat is broken"))
    'a file that is broken'
    """
    return " ".join(str(error).split())


def visible(text: str) -> str:
    r"""Text with line ends, terminal codes and bytes that are no text spelled out: names come from users' disks.

    Examples
    --------
    >>> visible("P001\n\x1b[31m")
    'P001\\n\\x1b[31m'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
