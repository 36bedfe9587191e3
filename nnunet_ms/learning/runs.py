"""Runs of a learning curve: train, then predict the tested subset; here, on several GPUs, or on a Dask cluster.

A run that is done is not done again. Killed at any moment and started again, the others go on where they stopped:
nnU-Net at its last checkpoint, the prediction at its last case.
"""

import os
import queue
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nnunet_ms.errors import NnunetMsError, SettingsError
from nnunet_ms.learning.plan import FIRST_SUBSET, Plan, Run
from nnunet_ms.learning.studies import ENDING
from nnunet_ms.locks import locked
from nnunet_ms.outputs import whole_file
from nnunet_ms.parallel import Dask, Failure, attempt, map_cases
from nnunet_ms.programs import GRACE_S, end_of_log, run_logged

TRAINED, PREDICTED = "trained", "predicted.done"  # one file per finished stage
DEFAULT = "default"  # the source model as it is, without any training on these studies
_AT_WORK = ".at-work-"


@dataclass(frozen=True)
class Done:
    """A run that is done, and how long it took."""

    name: str
    seconds: float


def run_folder(plan: Plan, name: str) -> Path:
    """Where a run has its notes, logs and masks."""
    return plan.out / "runs" / name


def predictions(plan: Plan, name: str) -> Path:
    """Folder of the masks that a run has predicted."""
    return run_folder(plan, name) / "predicted"


def is_done(plan: Plan, name: str) -> bool:
    """Whether a run has predicted its subset."""
    return (run_folder(plan, name) / PREDICTED).is_file()


def is_trained(plan: Plan, run: Run) -> bool:
    """Whether nothing of the training is left to do, also where somebody typed the command: nnU-Net validates last."""
    fold = plan.results(run) / f"fold_{run.fold}"
    by_hand = (fold / "checkpoint_final.pth").is_file() and (fold / "validation" / "summary.json").is_file()
    return (run_folder(plan, run.name) / TRAINED).is_file() or by_hand


def prepare_images(plan: Plan) -> None:
    """Make a folder of images per subset, of links where the system has them.

    Raises
    ------
    SettingsError
        If an image is missing.
    """
    for number, subset in enumerate(plan.studies.subsets):
        for case in subset:
            for channel in range(len(plan.studies.channels)):
                name = f"{case}_{channel:04d}{ENDING}"
                place(plan.studies.raw / "imagesTr" / name, plan.images(number) / name)


def place(file: Path, target: Path) -> None:
    """Make a file appear under another name: as a link, or as a copy where there are no links.

    Raises
    ------
    SettingsError
        If the file is missing.
    """
    if not file.is_file():
        raise SettingsError(f"{file}: expected this file of the dataset, found none. Convert the dataset again.")
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)  # a link to what is no longer there
    try:
        target.symlink_to(file.resolve())
    except OSError:  # a file system or an account without links
        with whole_file(target) as partial_file:
            shutil.copyfile(file, partial_file)


def do_runs(plan: Plan, dask: Dask | None, say: Callable[[str], object]) -> list[Failure]:
    """Do every run that is not done; one that fails is listed and does not stop the others.

    Parameters
    ----------
    plan : Plan
        Its GPUs work side by side, one run each; without any, one run follows the other.
    dask : Dask or None
        A cluster instead, whose workers see the same files under the same paths.
    say : callable
        Is told of every run that ends.

    Raises
    ------
    MachineError, SettingsError
        As `parallel.map_cases`.
    """
    todo = [run for run in plan.runs if not is_done(plan, run.name)]
    earlier = len(plan.runs) - len(todo)
    if earlier:
        say(f"{earlier} of {len(plan.runs)} trainings: done before")
    if not todo:
        return []
    with _at_work(plan.out) as sign:
        job = partial(do_run, plan=plan, sign=sign)
        if dask is not None:
            outcome = map_cases(job, todo, lambda run: run.name, "trainings", dask)
            for done in outcome.results:
                say(f"{done.name}: {done.seconds:.0f} s")
            return outcome.failures
        return _in_threads(job, todo, plan.gpus or (None,), say, sign)


def _in_threads(
    job: Callable[..., Done],
    todo: Sequence[Run],
    gpus: Sequence[int | None],
    say: Callable[[str], object],
    sign: Path,
) -> list[Failure]:
    """Do the runs on GPUs that are free; None is whatever the device is."""
    free: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    for gpu in gpus:
        free.put(gpu)

    def on_free_gpu(run: Run) -> Done | Failure:
        gpu = free.get()
        try:
            return attempt(run.name, job, run, gpu=gpu)
        finally:
            free.put(gpu)

    failures = {}
    pool = ThreadPoolExecutor(len(gpus))
    try:
        futures = {pool.submit(on_free_gpu, run): number for number, run in enumerate(todo)}
        for count, future in enumerate(as_completed(futures), start=1):
            found = future.result()
            title = f"[{count}/{len(todo)}]"
            if isinstance(found, Failure):
                failures[futures[future]] = found
                say(f"{title} {found.case}: failed")
            else:
                say(f"{title} {found.name}: {found.seconds:.0f} s")
    except BaseException:
        sign.unlink(missing_ok=True)  # ends the commands, which are then waited for
        raise
    finally:
        pool.shutdown(cancel_futures=True)
    return [failures[number] for number in sorted(failures)]


def do_run(run: Run, plan: Plan, sign: Path, gpu: int | None = None) -> Done:
    """Train and predict, but for what is done; `sign` is a file that is there as long as this is wanted.

    Raises
    ------
    NnunetMsError
        If a command fails or does not make its output; with the end of its log.
    """
    started = time.monotonic()
    folder = run_folder(plan, run.name)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock", folder, GRACE_S) as locks:
        call = partial(run_logged, folder=plan.out, environment=plan.environment(run.arm, gpu), locks=locks)
        if not is_trained(plan, run):
            log = folder / "train.log"
            code = call(plan.train(run), log=log, wanted=sign.is_file)
            _expect(plan.results(run) / f"fold_{run.fold}" / "checkpoint_final.pth", code, log)
        _note(folder / TRAINED)
        out = predictions(plan, run.name)
        _predict(partial(call, wanted=sign.is_file), plan.predict(run, out), out, plan.studies.subsets[run.test])
    return Done(run.name, time.monotonic() - started)


def _predict(call: Callable[..., int], command: Sequence[str], out: Path, cases: Sequence[str]) -> None:
    """Predict a subset unless it is done."""
    marker, log = out.parent / PREDICTED, out.parent / "predict.log"
    if marker.is_file():
        return
    code = call(command, log=log)
    for case in cases:
        _expect(out / f"{case}{ENDING}", code, log)
    _note(marker)


def predict_default(plan: Plan, dask: Dask | None) -> list[Failure]:
    """Predict the first subset with the source model as it is, where the trainings are done, unless it is done."""
    if is_done(plan, DEFAULT):
        return []
    return map_cases(partial(_do_default, plan=plan), [DEFAULT], str, "default model", dask or 1).failures


def _do_default(name: str, plan: Plan) -> None:
    if plan.source is None:
        return
    fold, out = plan.source.parent, predictions(plan, name)
    command = plan.predict_with(fold.parent, fold.name.removeprefix("fold_"), FIRST_SUBSET, name, out)
    run_folder(plan, name).mkdir(parents=True, exist_ok=True)
    gpu = plan.gpus[0] if plan.gpus else None
    call = partial(run_logged, folder=plan.out, environment=plan.environment(gpu=gpu))
    _predict(call, (*command, "-chk", plan.source.name), out, plan.studies.subsets[FIRST_SUBSET])


def _expect(output: Path, code: int, log: Path) -> None:
    if code == 0 and output.is_file():
        return
    raise NnunetMsError(f"exit code {code}, expected {output}. The end of {log}:\n{end_of_log(log)}")


def _note(marker: Path) -> None:
    with whole_file(marker) as aside:
        aside.write_text("", encoding="utf-8")


@contextmanager
def _at_work(out: Path) -> Iterator[Path]:
    """Yield a file that is there as long as this run goes on: all commands that it started, anywhere, end without it.

    Those of a run that was killed, and left its file, end now.
    """
    for left in out.glob(f"{_AT_WORK}*"):
        left.unlink(missing_ok=True)
    sign = out / f"{_AT_WORK}{os.getpid()}-{time.time_ns()}"
    sign.touch()
    try:
        with _before_interrupts(partial(sign.unlink, missing_ok=True)):
            yield sign
    finally:
        sign.unlink(missing_ok=True)


@contextmanager
def _before_interrupts(action: Callable[[], object]) -> Iterator[None]:
    """Act first when an interrupt comes: a cluster that was started here is closed before its commands hear of it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def act(number: int, frame: object) -> None:
        action()
        handler = handlers[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)  # type: ignore[arg-type]  # as it was called

    changed = [number for number, handler in handlers.items() if callable(handler)]
    for number in changed:
        signal.signal(number, act)
    try:
        yield
    finally:
        for number in changed:
            with suppress(ValueError):
                signal.signal(number, handlers[number])
