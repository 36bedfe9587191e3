"""Map a function over cases: local processes, a progress bar, and errors collected per case.

The call stays the same when a cluster comes to serve it: a picklable function, a list of cases, a name for each.
"""

import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Generic, TypeVar

from tqdm import tqdm

from nnunet_ms.errors import NnunetMsError

Case = TypeVar("Case")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Failure:
    """One case that could not be done: its name and the reason; `traceback` is set when it was a bug."""

    case: str
    reason: str
    traceback: str = ""


@dataclass(frozen=True)
class Outcome(Generic[Result]):
    """Results of the cases that worked, in the order of the cases, and the failures of the others."""

    results: list[Result] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


def map_cases(
    function: Callable[[Case], Result],
    cases: Sequence[Case],
    name: Callable[[Case], str] = str,
    label: str = "cases",
    workers: int = 1,
) -> Outcome[Result]:
    """Apply `function` to every case; one bad case does not stop the others.

    Parameters
    ----------
    function : callable
        Must be picklable (a module-level function or a `functools.partial` of one) when `workers` > 1.
    cases : sequence
        What `function` is called with, one at a time.
    name : callable, optional
        Gives the case's name for messages.
    label : str, optional
        Title of the progress bar (on stderr, only on a terminal).
    workers : int, optional
        Number of local processes, >= 1; 1 stays in this process.

    Returns
    -------
    Outcome
        Order of `cases` kept in both lists, whatever the order of completion.
    """
    pairs = _run_here(function, cases) if workers <= 1 or len(cases) <= 1 else _run_pool(function, cases, workers)
    done: dict[int, Result] = {}
    failed: dict[int, Failure] = {}
    for index, value in tqdm(pairs, total=len(cases), desc=label, disable=not sys.stderr.isatty()):
        if isinstance(value, BaseException):
            failed[index] = _failure(name(cases[index]), value)
        else:
            done[index] = value
    return Outcome([done[i] for i in sorted(done)], [failed[i] for i in sorted(failed)])


def report_failures(failures: Iterable[Failure], program: str) -> None:
    """Print one line per failed case to stderr, tracebacks of bugs after it."""
    for failure in failures:
        print(f"{program}: case {failure.case}: {failure.reason}", file=sys.stderr)
        if failure.traceback:
            print(failure.traceback, file=sys.stderr)


def _run_here(function: Callable[[Case], Result], cases: Sequence[Case]) -> Iterator[tuple[int, Result | Exception]]:
    for index, case in enumerate(cases):
        try:
            yield index, function(case)
        except Exception as error:  # noqa: BLE001 - collected, and _failure keeps the traceback of bugs
            yield index, error


def _run_pool(
    function: Callable[[Case], Result], cases: Sequence[Case], workers: int
) -> Iterator[tuple[int, Result | BaseException]]:
    # spawn, because forking a process that runs torch or matplotlib threads can deadlock
    with ProcessPoolExecutor(min(workers, len(cases)), mp_context=get_context("spawn")) as pool:
        futures: dict[Future[Result], int] = {pool.submit(function, case): i for i, case in enumerate(cases)}
        for future in as_completed(futures):
            error = future.exception()
            yield futures[future], error if error is not None else future.result()


def _failure(case: str, error: BaseException) -> Failure:
    if isinstance(error, NnunetMsError | OSError):
        return Failure(case, str(error))
    return Failure(case, f"{type(error).__name__}: {error}", "".join(traceback.format_exception(error)))
