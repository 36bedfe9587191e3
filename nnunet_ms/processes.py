"""Local processes that cases are handed to; one that is killed costs time and no case."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, as_completed
from contextlib import closing, contextmanager
from multiprocessing import get_context, parent_process
from typing import NoReturn, ParamSpec, TypeVar

from tqdm import tqdm

from nnunet_ms.interrupts import interrupts_held_back
from nnunet_ms.memory import keep_freed_memory
from nnunet_ms.threads import limit_this_process, threads_of_each

Case = TypeVar("Case")
Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")

GRACE_S = (
    5.0  # that a worker gets to tidy up when it is ended; a long call into a library does not end before it returns
)
_TOLD_TO_END = 128 + signal.SIGTERM  # as shells have it


class WorkerKilledError(Exception):
    """A process that had this case alone was killed; `number` is the case's."""

    def __init__(self, number: int) -> None:
        super().__init__(f"case number {number}")
        self.number = number


def map_in_processes(
    function: Callable[[Case], Result],
    cases: Sequence[Case],
    workers: int,
    failed: Callable[[BaseException], Result],
) -> Generator[tuple[int, Result], None, None]:
    """Yield the number of each case with its result, as they come.

    When a process is killed, mostly for want of memory, all others end with it, and nobody knows which case it was.
    The unfinished cases are then tried again in half as many processes; at last one by one, so that the case is known.

    Parameters
    ----------
    function : callable
        Picklable; returns failures that are the case's own.
    cases : sequence
        What it is called with.
    workers : int
        Processes, > 1.
    failed : callable
        Makes a result of an error: of what cannot be sent to a process, or back.

    Raises
    ------
    WorkerKilledError
        If a process that had one case alone was killed.
    """
    left, processes = list(range(len(cases))), min(workers, len(cases))
    while left:
        broken = []
        with closing(_completed(function, {number: cases[number] for number in left}, processes)) as completed:
            for number, future in completed:
                error = future.exception()
                if isinstance(error, BrokenExecutor):
                    broken.append(number)
                else:
                    yield number, failed(error) if error is not None else future.result()
        if broken and processes == 1:
            raise WorkerKilledError(broken[0])
        left, processes = sorted(broken), max(1, processes // 2)
        if left and sys.stderr is not None and sys.stderr.isatty():
            tqdm.write(f"a process was killed; {len(left)} cases go on in {processes}", file=sys.stderr)


def _completed(
    function: Callable[[Case], Result], cases: dict[int, Case], processes: int
) -> Generator[tuple[int, Future[Result]], None, None]:
    """Yield the number of each case with its future, when it is done or the processes are broken."""
    with pool(processes) as places:
        if processes == 1:
            for number, case in cases.items():
                future = _submitted(places, function, case)
                is_broken = isinstance(future.exception(), BrokenExecutor)
                yield number, future
                if is_broken:
                    return
            return
        number_of = {_submitted(places, function, case): number for number, case in cases.items()}
        for future in as_completed(number_of):
            yield number_of[future], future


def _submitted(places: "Pool", function: Callable[[Case], Result], case: Case) -> Future[Result]:
    try:
        return places.submit(function, case)
    except BrokenExecutor as error:  # while the last ones were handed over
        future: Future[Result] = Future()
        future.set_exception(error)
        return future


@contextmanager
def pool(workers: int) -> Iterator["Pool"]:
    """Yield local processes; on an error they are ended, and not waited for."""
    places = Pool(workers)
    try:
        yield places
    except BaseException:
        places.end()
        raise
    if places.is_broken:  # it ends its processes itself, and would wait for ever for one that does not heed SIGTERM
        places.end()
    places.shutdown()


class Pool(ProcessPoolExecutor):
    """Local processes that an interrupt (Ctrl-C) does not reach: their parent ends them.

    They are spawned, because forking a process that runs torch or matplotlib threads can deadlock.
    """

    def __init__(self, workers: int) -> None:
        super().__init__(
            workers,
            mp_context=get_context("spawn"),
            initializer=_begin_worker,
            initargs=(threads_of_each(workers),),
        )

    def submit(
        self, fn: Callable[Arguments, Result], /, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Future[Result]:
        """Hand one job over."""
        with interrupts_held_back():  # it starts processes, which inherit this: not even their start is interrupted
            return super().submit(_work, fn, *args, **kwargs)

    @property
    def is_broken(self) -> bool:
        """Whether one of the processes was killed."""
        return bool(self._broken)

    def end(self) -> None:
        """End the processes now: they leave their job, remove what it had begun to write, and are gone."""
        processes = list((self._processes or {}).values())  # terminate_workers() of Python 3.14 is the public way
        manager: threading.Thread | None = self._executor_manager_thread  # type: ignore[assignment]  # typeshed's error
        with interrupts_held_back():
            self.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.terminate()
            deadline = time.monotonic() + GRACE_S
            for process in processes:
                process.join(max(0.0, deadline - time.monotonic()))
                process.kill()  # nothing happens to one that has ended
            if manager is not None:  # it takes leave of them too: until then, one that is gone may look alive to us
                manager.join(GRACE_S)


class _Ended(SystemExit):
    """In a worker: the parent ends it, and the job that it is at tidies up on the way out."""


_at_work = threading.Event()  # in a worker: it is at a job
_ending = threading.Event()  # in a worker: its parent ends it


def _begin_worker(threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where they cannot be held back
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    keep_freed_memory()
    limit_this_process(threads)  # before the first job brings its libraries
    signal.signal(signal.SIGTERM, _leave)  # last: raised in here, it would be logged as an error of the pool's


def _leave_with_parent() -> None:
    """Wait for the parent; when it was killed and ends nobody, a worker would wait for jobs for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _leave(*_: object) -> NoReturn:
    """End a worker; a job is left by an exception, so that it removes what it had begun to write."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a broken pool sends it again, which would interrupt the tidying up
    if not _at_work.is_set():
        os._exit(_TOLD_TO_END)  # an exception would be printed, if it came while the interpreter ends
    _ending.set()
    raise _Ended


def _work(function: Callable[Arguments, Result], /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
    """Do one job in a worker."""
    try:
        return _at(function, *args, **kwargs)
    finally:
        if _ending.is_set():  # the pool would hand the exception on as the job's result and do the next job
            os._exit(_TOLD_TO_END)


def _at(function: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
    try:
        _at_work.set()
        return function(*args, **kwargs)
    finally:
        _at_work.clear()
