"""Map a function over cases: here, in local processes or on a Dask cluster; errors are collected per case.

The call is the same for all three: a picklable function, a list of cases, a name for each. Nothing is scheduled by
ourselves: a cluster is Dask's (https://distributed.dask.org), and only a window of cases is in flight at a time, so
that memory stays flat however many cases there are.
"""

import logging
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from multiprocessing import get_context
from typing import TYPE_CHECKING, Generic, TypeVar

from tqdm import tqdm

from nnunet_ms.errors import NnunetMsError, SettingsError, one_line, visible

if TYPE_CHECKING:
    from distributed import Client

Case = TypeVar("Case")
Result = TypeVar("Result")


WINDOW_PER_WORKER = 4  # cases in flight per worker of a cluster: enough to keep it busy, little enough for flat memory
CONNECT_TIMEOUT_S = 20


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
        If Dask is not installed or its scheduler does not answer.

    Examples
    --------
    >>> outcome = map_cases(float, ["1.5", "two", "3"])
    >>> outcome.results
    [1.5, 3.0]
    >>> [(failure.case, failure.reason) for failure in outcome.failures]
    [('two', "ValueError: could not convert string to float: 'two'")]
    """
    pairs: Iterator[tuple[int, Result | BaseException | Failure]]
    if isinstance(workers, Dask):
        pairs = _run_dask(function, cases, workers) if cases else iter(())
    else:
        pairs = _run_here(function, cases) if workers <= 1 or len(cases) <= 1 else _run_pool(function, cases, workers)
    done: dict[int, Result] = {}
    failed: dict[int, Failure] = {}
    for index, value in tqdm(pairs, total=len(cases), desc=label, disable=not sys.stderr.isatty()):
        if isinstance(value, Failure):
            failed[index] = replace(value, case=name(cases[index]))
        elif isinstance(value, BaseException):
            failed[index] = _failure(name(cases[index]), value)
        else:
            done[index] = value
    return Outcome([done[i] for i in sorted(done)], [failed[i] for i in sorted(failed)])


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
        with _connected(workers) as client, client.get_executor(pure=False) as cluster:
            yield cluster, max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
    elif workers > 1:
        # spawn, because forking a process that runs torch threads can deadlock
        pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
        try:
            yield pool, workers
        finally:
            pool.shutdown(cancel_futures=True)
    else:
        yield None, 0


def report_failures(failures: Iterable[Failure], program: str) -> None:
    """Print one line per failed case to stderr, tracebacks of bugs after it."""
    for failure in failures:
        print(f"{program}: case {visible(failure.case)}: {visible(failure.reason)}", file=sys.stderr)
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


def _run_dask(
    function: Callable[[Case], Result], cases: Sequence[Case], dask: Dask
) -> Iterator[tuple[int, Result | BaseException | Failure]]:
    try:
        from distributed import as_completed as dask_completed
    except ImportError as missing:
        raise SettingsError("--dask: Dask is not installed. Run: pip install 'nnunet-ms[cluster]'") from missing
    with _connected(dask) as client:
        waiting = iter(enumerate(cases))
        window = WINDOW_PER_WORKER * max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
        index_of = {client.submit(_attempt, function, case, pure=False): i for i, case in islice(waiting, window)}
        completed = dask_completed(list(index_of))
        for future in completed:
            error = future.exception()
            yield index_of.pop(future), error if error is not None else future.result()
            for index, case in islice(waiting, 1):
                following = client.submit(_attempt, function, case, pure=False)
                index_of[following] = index
                completed.add(following)
            future.release()  # the cluster forgets the result: memory stays flat


def _attempt(function: Callable[[Case], Result], case: Case) -> Result | Failure:
    """Return the failure instead of raising it: a cluster would log each bad case on every side."""
    try:
        return function(case)
    except Exception as error:  # noqa: BLE001 - collected, and _failure keeps the traceback of bugs
        return _failure("", error)


@contextmanager
def _connected(dask: Dask) -> "Iterator[Client]":
    """Yield a client of the cluster; one that was started for this call ends with it."""
    try:
        from distributed import Client, LocalCluster
    except ImportError as missing:
        raise SettingsError("--dask: Dask is not installed. Run: pip install 'nnunet-ms[cluster]'") from missing

    if dask.address.startswith("local:"):
        number = int(dask.address.partition(":")[2])
        # any free port for the scheduler's pages: the usual one may be taken by another cluster
        # and no log of workers that take a while to leave: what matters comes back as a result or an error
        cluster = LocalCluster(
            n_workers=number, threads_per_worker=1, dashboard_address=":0", silence_logs=logging.CRITICAL
        )
        with cluster, Client(cluster) as client:
            yield client
        return
    try:
        client = Client(dask.address, timeout=CONNECT_TIMEOUT_S)
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"--dask {dask.address}: expected a scheduler that answers, found none ({one_line(error)}). "
            "Start it with `dask scheduler`, or check the address."
        ) from error
    with client:
        yield client


def _failure(case: str, error: BaseException) -> Failure:
    if isinstance(error, NnunetMsError | OSError):
        return Failure(case, str(error))
    return Failure(case, f"{type(error).__name__}: {error}", "".join(traceback.format_exception(error)))
