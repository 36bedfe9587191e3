"""Map a function over cases: here, in local processes or on a Dask cluster; errors are collected per case.

The call is the same for all three: a picklable function, a list of cases, a name for each. Nothing is scheduled by
ourselves: a cluster is Dask's (https://distributed.dask.org), and only a window of cases is in flight at a time, so
that memory stays flat however many cases there are.
"""

import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from multiprocessing import get_context, parent_process
from types import FrameType
from typing import TYPE_CHECKING, Generic, NoReturn, ParamSpec, TypeVar

from tqdm import tqdm

from nnunet_ms.errors import NnunetMsError, SettingsError, one_line
from nnunet_ms.memory import keep_freed_memory

if TYPE_CHECKING:
    from distributed import Client

Case = TypeVar("Case")
Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")


WINDOW_PER_WORKER = 4  # cases in flight per worker of a cluster: enough to keep it busy, little enough for flat memory
CONNECT_TIMEOUT_S = 20
GRACE_S = (
    5.0  # that a worker gets to tidy up when it is ended; a long call into a library does not end before it returns
)


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
    with closing(_pairs(function, cases, workers)) as pairs:  # closed at once, so that no worker outlives an interrupt
        for index, value in tqdm(pairs, total=len(cases), desc=label, disable=not sys.stderr.isatty()):
            if isinstance(value, Failure):
                failed[index] = replace(value, case=name(cases[index]))
            else:
                done[index] = value
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

    Examples
    --------
    >>> attempt("P001", int, "7")
    7
    >>> attempt("P001", int, "seven").reason
    "ValueError: invalid literal for int() with base 10: 'seven'"
    """
    try:
        return function(*args, **kwargs)
    except Exception as error:  # noqa: BLE001 - collected, and _failure keeps the traceback of bugs
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
        with _connected(workers) as client, client.get_executor(pure=False) as cluster:
            yield cluster, max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
    elif workers > 1:
        pool = _Pool(workers)
        try:
            yield pool, workers
        except BaseException:
            pool.end()
            raise
        pool.shutdown()
    else:
        yield None, 0


def _pairs(
    function: Callable[[Case], Result], cases: Sequence[Case], workers: Workers
) -> Generator[tuple[int, Result | Failure], None, None]:
    """Yield the number of each case with its result, as they come."""
    if isinstance(workers, Dask):
        return _run_dask(function, cases, workers)
    if workers <= 1 or len(cases) <= 1:
        return ((index, attempt("", function, case)) for index, case in enumerate(cases))
    return _run_pool(function, cases, workers)


def _run_pool(
    function: Callable[[Case], Result], cases: Sequence[Case], workers: int
) -> Generator[tuple[int, Result | Failure], None, None]:
    with executor(min(workers, len(cases))) as (pool, _):
        assert pool is not None
        futures: dict[Future[Result | Failure], int] = {
            pool.submit(attempt, "", function, case): number for number, case in enumerate(cases)
        }
        for future in as_completed(futures):
            # a worker that was killed, such as for want of memory, cannot say so itself
            error = future.exception()
            yield futures[future], _failure("", error) if error is not None else future.result()


class _Pool(ProcessPoolExecutor):
    """Local processes that an interrupt (Ctrl-C) does not reach: their parent ends them.

    They are spawned, because forking a process that runs torch or matplotlib threads can deadlock.
    """

    def __init__(self, workers: int) -> None:
        super().__init__(workers, mp_context=get_context("spawn"), initializer=_begin_worker)

    def submit(
        self, fn: Callable[Arguments, Result], /, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Future[Result]:
        with _interrupts_held_back():  # it starts processes, which inherit this: not even their start is interrupted
            return super().submit(_work, fn, *args, **kwargs)

    def end(self) -> None:
        """End the processes now: they leave their job, remove what it had begun to write, and are gone."""
        processes = list((self._processes or {}).values())  # terminate_workers() of Python 3.14 is the public way
        with _interrupts_held_back():
            self.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.terminate()
            deadline = time.monotonic() + GRACE_S
            for process in processes:
                process.join(max(0.0, deadline - time.monotonic()))
                process.kill()  # nothing happens to one that has ended


class _Ended(SystemExit):
    """In a worker: the parent ends it."""


def _begin_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where they cannot be held back
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    keep_freed_memory()


def _leave_with_parent() -> None:
    """Wait for the parent; when it was killed and ends nobody, a worker would wait for jobs for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _leave(*_: object) -> NoReturn:
    raise _Ended


def _work(function: Callable[Arguments, Result], /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
    """Do one job in a worker."""
    try:
        return function(*args, **kwargs)
    except _Ended:  # the pool would hand this on as the job's result and do the next job
        os._exit(128 + signal.SIGTERM)


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Let an interrupt wait until the end of the block; processes and threads that it starts never get one."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # is inherited
    try:
        with _interrupts_noted():  # another thread, such as of a numerical library, may still get it
            yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _interrupts_noted() -> Iterator[None]:
    """In the main thread, which is the one that Python interrupts: act on an interrupt after the block."""
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    noted: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda *interrupt: noted.append(interrupt))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if noted:
            handler(*noted[0])


def _run_dask(
    function: Callable[[Case], Result], cases: Sequence[Case], dask: Dask
) -> Generator[tuple[int, Result | Failure], None, None]:
    if not cases:
        return
    try:
        from distributed import as_completed as dask_completed
    except ImportError as missing:
        raise SettingsError("--dask: Dask is not installed. Run: pip install 'nnunet-ms[cluster]'") from missing
    with _connected(dask) as client:
        waiting = iter(enumerate(cases))
        window = WINDOW_PER_WORKER * max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
        index_of = {client.submit(_on_cluster, function, case, pure=False): i for i, case in islice(waiting, window)}
        completed = dask_completed(list(index_of))
        for future in completed:
            error = future.exception()
            yield index_of.pop(future), _failure("", error) if error is not None else future.result()
            for index, case in islice(waiting, 1):
                following = client.submit(_on_cluster, function, case, pure=False)
                index_of[following] = index
                completed.add(following)
            future.release()  # the cluster forgets the result: memory stays flat


def _on_cluster(function: Callable[[Case], Result], case: Case) -> Result | Failure:
    """Return the failure instead of raising it: a cluster would log each bad case on every side."""
    keep_freed_memory()
    return attempt("", function, case)


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
        with _interrupts_held_back():  # as for `_Pool`: this process ends them
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
