"""How the processes of our commands ask the system for memory; a program that imports this package is left alone."""

from functools import cache

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
