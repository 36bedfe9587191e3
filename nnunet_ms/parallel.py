"""Map a function over cases: here, in local processes or on a Dask cluster; errors are collected per case.

The call is the same for all three: a picklable function, a list of cases, a name for each. Nothing is scheduled by
ourselves: a cluster is Dask's (https://distributed.dask.org), and only a window of cases is in flight at a time, so
that memory stays flat however many cases there are.
"""

import sys
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Generic, ParamSpec, TypeVar

from tqdm import tqdm

from nnunet_ms.cluster import cluster_fault, connected, map_on_cluster, number_of_workers
from nnunet_ms.errors import MachineError, NnunetMsError, SettingsError, fault_of
from nnunet_ms.processes import WorkerKilledError, map_in_processes, pool

Case = TypeVar("Case")
Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")

ALONE = "the process that worked on it was killed, and again when it was the only one"
KILLED = "; mostly that is for want of memory. Use fewer --workers, or a machine with more of it."


@dataclass(frozen=True)
class Dask:
    """A Dask cluster: the address of its scheduler (`tcp://host:8786`), or `local:N` for N processes here."""

    address: str

    def __post_init__(self) -> None:
        scheme, _, rest = self.address.partition(":")
        if not rest or (scheme == "local" and not (rest.isdecimal() and int(rest) >= 1)):
            raise SettingsError(
                f"--dask {self.address}: expected local:N with N >= 1, or a scheduler like tcp://host:8786. Correct it."
            )


Workers = int | Dask  # number of local processes, or a cluster


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
    workers: Workers = 1,
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
    workers : int or Dask, optional
        Number of local processes, >= 1 (1 stays in this process), or a Dask cluster. Workers of a cluster must see
        the same files under the same paths, and have this package installed.

    Returns
    -------
    Outcome
        Order of `cases` kept in both lists, whatever the order of completion; both empty without cases.

    Raises
    ------
    SettingsError
        If Dask is not installed, its scheduler does not answer, or its workers have other versions.
    MachineError
        If a fault of the machine ends the work: no case is left out for want of memory, disk or file handles, or
        because a process was killed. The message names the case that was being worked on.
    KeyboardInterrupt
        On Ctrl-C, when the local processes have ended.

    Examples
    --------
    >>> outcome = map_cases(float, ["1.5", "two", "3"])
    >>> outcome.results
    [1.5, 3.0]
    >>> [(failure.case, failure.reason) for failure in outcome.failures]
    [('two', "ValueError: could not convert string to float: 'two'")]
    """
    done: dict[int, Result] = {}
    failed: dict[int, Failure] = {}
    is_shown = sys.stderr is not None and sys.stderr.isatty()
    pairs = _pairs(function, cases, workers)
    try:
        for index, value in tqdm(pairs, total=len(cases), desc=label, disable=not is_shown):
            if isinstance(value, _Fault):
                raise MachineError(f"case {name(cases[index])}: {value.reason}")
            if isinstance(value, Failure):
                failed[index] = replace(value, case=name(cases[index]))
            else:
                done[index] = value
    except WorkerKilledError as killed:
        raise MachineError(f"case {name(cases[killed.number])}: {ALONE}{KILLED}") from killed
    finally:
        pairs.close()  # at once, so that no worker outlives an interrupt
    return Outcome([done[i] for i in sorted(done)], [failed[i] for i in sorted(failed)])


def attempt(
    case: str, function: Callable[Arguments, Result], /, *args: Arguments.args, **kwargs: Arguments.kwargs
) -> Result | Failure:
    """Call a function for one case; an error becomes the case's `Failure`, as in `map_cases`.

    Parameters
    ----------
    case : str
        The case's name.
    function : callable
        Called with the arguments that follow.

    Raises
    ------
    MachineError
        If the machine is at fault, and not the case.

    Examples
    --------
    >>> attempt("P001", int, "7")
    7
    >>> attempt("P001", int, "seven").reason
    "ValueError: invalid literal for int() with base 10: 'seven'"
    """
    try:
        return function(*args, **kwargs)
    except Exception as error:
        if reason := _fault_of(error):
            raise MachineError(f"case {case}: {reason}") from error
        return _failure(case, error)


@contextmanager
def executor(workers: Workers) -> Iterator[tuple[Executor | None, int]]:
    """Yield a place to hand single jobs to while others are made, and how many it takes at once.

    For work that comes one by one, such as cases that are predicted; `map_cases` is for a list that is there.

    Parameters
    ----------
    workers : int or Dask
        As in `map_cases`; with 1 there is no place (None, 0) and the caller does the work itself.

    Raises
    ------
    SettingsError
        If Dask is not installed or its scheduler does not answer.
    """
    if isinstance(workers, Dask):
        with connected(workers.address) as client, client.get_executor(pure=False) as places:
            yield places, number_of_workers(client)
    elif workers > 1:
        with pool(workers) as places:
            yield places, workers
    else:
        yield None, 0


@dataclass(frozen=True)
class _Fault:
    """What is handed back instead of a case's result when the machine gave out."""

    reason: str


def _pairs(
    function: Callable[[Case], Result], cases: Sequence[Case], workers: Workers
) -> Generator[tuple[int, Result | Failure | _Fault], None, None]:
    """Yield the number of each case with its result, as they come."""
    job = partial(_tried, function)
    if isinstance(workers, Dask):
        return map_on_cluster(job, cases, workers.address, _blamed)
    if workers <= 1 or len(cases) <= 1:
        return ((index, job(case)) for index, case in enumerate(cases))
    return map_in_processes(job, cases, workers, _blamed)


def _tried(function: Callable[[Case], Result], case: Case) -> Result | Failure | _Fault:
    """Return failures instead of raising them: a cluster would log each bad case on every side."""
    try:
        return function(case)
    except Exception as error:  # noqa: BLE001 - collected, and _failure keeps the traceback of bugs
        return _blamed(error)


def _blamed(error: BaseException) -> Failure | _Fault:
    reason = _fault_of(error)
    return _Fault(reason) if reason else _failure("", error)


def _fault_of(error: BaseException) -> str:
    """What to tell about an error that is not the case's, or nothing."""
    if isinstance(error, BrokenExecutor):
        return f"the process that had it was killed{KILLED}"
    return fault_of(error) or cluster_fault(error)


def _failure(case: str, error: BaseException) -> Failure:
    if isinstance(error, NnunetMsError | OSError):
        return Failure(case, str(error))
    return Failure(case, f"{type(error).__name__}: {error}", "".join(traceback.format_exception(error)))
