"""Exports of predicted cases, here or in other processes beside the next prediction; a killed one costs no case."""

from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from nnunet_ms.errors import MachineError
from nnunet_ms.parallel import ALONE, KILLED, Dask, Failure, Workers, attempt, executor
from nnunet_ms.processes import pool
from nnunet_ms.trainers.prediction.export import ExportSettings, Spooled, export_case, export_spooled, spool
from nnunet_ms.trainers.prediction.image_cases import ImageCase
from nnunet_ms.trainers.prediction.tiles import Prediction

Numbers = dict[str, float]  # the first lesion type's, see `lesion_uncertainty.patient_row`


@dataclass(frozen=True)
class Exported:
    """What became of one case: its numbers or why it failed, and when its prediction began."""

    case: ImageCase
    started: float
    result: Numbers | Failure


@contextmanager
def exporting(workers: Workers, settings: ExportSettings) -> "Iterator[Exports]":
    """Yield the place where cases are exported; on an error its processes are ended."""
    with ExitStack() as stack:
        yield Exports(workers, settings, stack)


class Exports:
    """Exports that are under way, oldest first; no more wait in files than there are takers.

    When a process is killed, mostly for want of memory, its exports are done again from their files in half as many.
    """

    def __init__(self, workers: Workers, settings: ExportSettings, stack: ExitStack) -> None:
        self._workers, self._settings, self._stack = workers, settings, stack
        self._places, self._slots = stack.enter_context(executor(workers))
        self._waiting: list[tuple[Spooled, float, Future[Numbers]]] = []

    def add(self, job: Spooled, started: float, prediction: Prediction) -> Iterator[Exported]:
        """Export a case, and yield those that are done before there is room for it.

        Parameters
        ----------
        job : Spooled
            The case; `path` is where its samples may lie meanwhile.
        started : float
            `time.monotonic()` when its prediction began.
        prediction : Prediction
            Its samples.

        Raises
        ------
        MachineError
            If the machine gave out.
        """
        if self._places is None:
            found = attempt(
                job.case.case_id,
                export_case,
                prediction,
                job.case,
                job.grid,
                job.properties,
                self._settings,
                job.cost,
            )
            yield Exported(job.case, started, found)
            return
        spool(prediction, job.path)
        self._submit(job, started)
        yield from self.finished(self._slots)

    def finished(self, keep: int = 0) -> Iterator[Exported]:
        """Wait for exports, oldest first, until `keep` are left.

        Raises
        ------
        MachineError
            If the machine gave out, such as when the only process was killed.
        """
        while len(self._waiting) > keep:
            job, started, future = self._waiting[0]
            if isinstance(future.exception(), BrokenExecutor) and not isinstance(self._workers, Dask):
                self._begin_again(job.case.case_id)
                continue
            del self._waiting[0]
            found = attempt(job.case.case_id, future.result)
            job.path.unlink(missing_ok=True)
            yield Exported(job.case, started, found)

    def _submit(self, job: Spooled, started: float) -> None:
        try:
            future = self._places.submit(export_spooled, job, self._settings)  # type: ignore[union-attr]
        except BrokenExecutor as error:
            future = Future()
            future.set_exception(error)
        self._waiting.append((job, started, future))

    def _begin_again(self, case: str) -> None:
        """Do all that is not done in half as many processes."""
        if self._slots == 1:
            raise MachineError(f"case {case}: {ALONE}{KILLED}")
        broken, self._waiting = self._waiting, []
        self._stack.close()
        self._slots //= 2
        self._places = self._stack.enter_context(pool(self._slots))
        for job, started, future in broken:
            if future.done() and not future.exception():
                self._waiting.append((job, started, future))
            else:
                self._submit(job, started)
