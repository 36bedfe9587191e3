"""How many threads libraries use: one where more do not help, and a share of the processors where processes are many.

Small linear algebra on a busy machine took three times its processor time with a thread for each processor: they wait
for each other by spinning (`benchmarks/load.py threads`).
"""

import os
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

# read by a library when it is loaded: OpenMP's users (torch, scikit-learn), OpenBLAS, MKL, BLIS, numexpr, ITK
VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)


def one_thread(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let the libraries that are loaded use one thread while `function` works, and afterwards what they used before.

    Examples
    --------
    >>> from threadpoolctl import threadpool_info
    >>> import numpy
    >>> {library["num_threads"] for library in one_thread(threadpool_info)()}
    {1}
    """

    @wraps(function)
    def limited(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        from threadpoolctl import threadpool_limits  # here: `--help` does without

        with threadpool_limits(1):
            return function(*args, **kwargs)

    return limited


def threads_of_each(processes: int) -> int:
    """Threads for each of several processes, so that together they are as many as the processors, at least 1.

    Examples
    --------
    >>> threads_of_each(10_000)
    1
    """
    return max(1, processors() // processes)


def processors() -> int:
    """Processors that this process may use; batch systems often give it fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def limit_this_process(threads: int) -> None:
    """In a process of ours that works on cases beside others: for libraries that are loaded, and those that will be.

    Numbers that somebody has set in the environment, if they are smaller, still hold.
    """
    from threadpoolctl import threadpool_limits

    for name in VARIABLES:
        asked = os.environ.get(name, "")
        os.environ[name] = str(min(threads, int(asked)) if asked.isdecimal() and int(asked) else threads)
    threadpool_limits(min(threads, int(os.environ["OMP_NUM_THREADS"])))
