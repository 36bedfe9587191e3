"""How our commands ask the system for memory, which a program that imports us decides itself, and how much it was."""

import sys
from functools import cache
from pathlib import Path

_LARGEST = 31 << 20  # bytes: glibc moves its threshold up to 32 MiB and no further


@cache
def keep_freed_memory() -> None:
    """Once per process: let glibc keep some 64 MB of freed memory, instead of returning and asking for it per image.

    Its thresholds follow the largest block that was freed (mallopt(3), M_MMAP_THRESHOLD). New pages for the images of
    each mask took a third of the time of labelling and matching; other allocators do not care. Call it in processes
    that are ours: of a command, and its workers.

    Examples
    --------
    >>> keep_freed_memory()
    """
    bytes(_LARGEST)  # asked for as zeros and never written, so it takes no memory


def peak_memory_mb() -> float:
    """Most main memory that this process has held at any time, in MB of 1e6 bytes; NaN where the system does not say.

    Linux gives the process's own high-water mark (`VmHWM`, proc(5)), the BSDs and macOS that of `getrusage`.

    Examples
    --------
    >>> bool(peak_memory_mb() > 1) or sys.platform == "win32"
    True
    """
    status = Path("/proc/self/status")
    if status.is_file():
        marks = [line.split() for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM")]
        return float("nan") if not marks else int(marks[0][1]) * 1024 / 1e6
    if sys.platform == "win32":
        return float("nan")
    import resource  # of POSIX only

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1e6 if sys.platform == "darwin" else most * 1024 / 1e6
