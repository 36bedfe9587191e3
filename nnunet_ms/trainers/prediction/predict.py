"""Predict a folder of images with Monte Carlo dropout: the recipe behind `nnunet-ms-predict`.

Written into the output folder:

========================  =================================================================================
`<case>.nii.gz`           mask: mean probability above the threshold
`probability/`            mean probability per case (`<case>_<lesion type>` when there are several)
`<measure>/`              on request, see `MEASURES` and `PARTS`; `deterministic/` that without dropout
`qc/<case>.png`           slices with outline and uncertainty
`lesions.csv`             `tables.LESIONS`, `uncertainty` = LSU, and the measures of each lesion
`cases.csv`               `tables.CASES`, with patient-level uncertainty; one row per case and lesion type
`failures.csv`            cases that are in none of the above, and why
`prediction.json`         model, folds, sampling, threshold: everything that the numbers depend on
========================  =================================================================================

Probabilities are averaged, as in the paper; nnU-Net averages logits. Memory: while a case is predicted, 4 bytes per
voxel of the preprocessed image, sample and lesion type; while it is written, see `predict_export`.

References
----------
.. [1] Krishnan et al., Sci Rep 13:4102, 2023 (10 samples x 3 folds, threshold 0.5). doi:10.1038/s41598-023-31207-5
"""

import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from nnunet_ms.errors import ImageError
from nnunet_ms.images.volumes import Grid, read_grid
from nnunet_ms.locks import sole_run
from nnunet_ms.parallel import Failure, Workers, attempt, executor
from nnunet_ms.trainers.prediction.export import (
    ExportSettings,
    Spooled,
    export_case,
    export_spooled,
    is_done,
    spool,
)
from nnunet_ms.trainers.prediction.image_cases import ImageCase, check_images, find_image_cases
from nnunet_ms.trainers.prediction.model import Model
from nnunet_ms.trainers.prediction.output_folder import SPOOL, claim, collect, record_of, withdraw
from nnunet_ms.trainers.prediction.settings import (
    PredictSettings,
    check_sample_set,
    export_settings,
    resolve_sampling,
)
from nnunet_ms.trainers.prediction.tiles import TileRunner, check_sampling


@dataclass(frozen=True)
class Predicted:
    """Tables of all cases in the folder, as written, and the cases that are not in them."""

    lesions: pd.DataFrame
    cases: pd.DataFrame
    failures: list[Failure]
    notes: list[str]


Say = Callable[[str], object]


def silent(_: str) -> None:
    """Say nothing."""


def predict(model: Model, settings: PredictSettings, device: torch.device, say: Say = silent) -> Predicted:
    """Predict every case of a folder that is not done yet, and write tables of all.

    Parameters
    ----------
    model : Model
        From `open_model`.
    settings : PredictSettings
        Folders, samples, and what is written.
    device : torch.device
        Where the network runs.
    say : callable, optional
        Gets a line about what was done before, and one for each case when it is done.

    Raises
    ------
    SettingsError
        If an argument or a folder does not fit, the output folder holds something else, or another run writes it.
    ModelError
        If the model cannot give the samples.
    MachineError
        If the machine gave out; the cases that are done are kept.
    ImageError
        If not one case could be predicted; its notes are tracebacks of the bugs among the reasons.
    """
    sampling = resolve_sampling(model, settings)
    check_sampling(model, sampling)
    runner = TileRunner(model, sampling, device)
    check_sample_set(model, settings, sampling, runner.samples_per_fold() * len(model.folds))
    cases, failures = find_image_cases(settings.images, model, settings.cases)
    with sole_run(settings.out):
        return _predict(cases, failures, runner, settings, say)


def _predict(
    cases: Sequence[ImageCase], failures: Sequence[Failure], runner: TileRunner, settings: PredictSettings, say: Say
) -> Predicted:
    model, sampling = runner.model, runner.sampling
    export = export_settings(model, settings, runner)
    claim(settings, record_of(model, settings, sampling, runner.samples_per_fold() * len(model.folds)))
    todo = [case for case in cases if not is_done(case.case_id, export)]
    if len(todo) < len(cases):
        say(f"{len(cases) - len(todo)} of {len(cases)} cases done before")
    failures = sorted([*failures, *_run(todo, runner, export, settings.workers, say)], key=lambda failure: failure.case)
    finished = [case for case in cases if case.case_id not in {failure.case for failure in failures}]
    if not finished:
        _give_up(settings, failures)
    return Predicted(*collect(finished, failures, settings), failures, runner.notes)


def _give_up(settings: PredictSettings, failures: Sequence[Failure]) -> NoReturn:
    """Leave nothing behind and say why not one case worked."""
    withdraw(settings.out)
    listed = "; ".join(f"{failure.case}: {failure.reason}" for failure in failures[:3])
    error = ImageError(f"none of {len(failures)} cases could be predicted. {listed}")
    for failure in failures:
        if failure.traceback:
            error.add_note(failure.traceback.rstrip("\n"))
    raise error


@dataclass(frozen=True)
class _Prepared:
    """A preprocessed case; `data` (C, z, y, x)."""

    case: ImageCase
    grid: Grid
    data: torch.Tensor
    properties: dict[str, Any]


def _prepare(case: ImageCase, model: Model) -> _Prepared:
    """Check and preprocess one case, as nnU-Net does.

    Raises
    ------
    ImageError
        See `check_images`.
    """
    check_images(case)
    preprocessor = model.configuration.preprocessor_class(verbose=False)
    data, _, properties = preprocessor.run_case(
        [str(path) for path in case.files], None, model.plans, model.configuration, model.dataset_json
    )
    return _Prepared(case, read_grid(case.files[0]), torch.from_numpy(np.ascontiguousarray(data)), properties)


def _run(
    cases: Sequence[ImageCase], runner: TileRunner, export: ExportSettings, workers: Workers, say: Say
) -> list[Failure]:
    """Prepare the next case while one is predicted; export here, or in other processes while the next is predicted."""
    failures: list[Failure] = []
    pending: dict[Future[dict[str, float]], tuple[ImageCase, float]] = {}
    try:
        with executor(workers) as (pool, slots):
            for case, prepared in tqdm(
                _ahead(cases, runner.model), total=len(cases), desc="predict", disable=not sys.stderr.isatty()
            ):
                started = time.monotonic()
                job = attempt(case.case_id, _predict_one, case, prepared, runner, export, pool)
                if isinstance(job, Failure):
                    failures.append(job)
                    continue
                pending[job] = (case, started)
                failures += _finish(pending, slots, say)  # no more wait in files than there are takers
            failures += _finish(pending, 0, say)
    finally:
        shutil.rmtree(export.out / SPOOL, ignore_errors=True)
    return failures


def _ahead(cases: Sequence[ImageCase], model: Model) -> Iterator[tuple[ImageCase, Callable[[], _Prepared]]]:
    """Yield each case with a call that waits for its preprocessing; the next one is prepared meanwhile."""
    with ThreadPoolExecutor(1) as thread:
        waiting = [thread.submit(_prepare, case, model) for case in cases[:1]]
        for number, case in enumerate(cases):
            current = waiting.pop()
            waiting = [thread.submit(_prepare, following, model) for following in cases[number + 1 : number + 2]]
            yield case, current.result


def _predict_one(
    case: ImageCase,
    prepared: Callable[[], _Prepared],
    runner: TileRunner,
    export: ExportSettings,
    pool: Executor | None,
) -> "Future[dict[str, float]]":
    """Predict one case and hand it to its export."""
    ready = prepared()
    prediction = runner.predict(ready.data)
    if pool is None:
        future: Future[dict[str, float]] = Future()
        future.set_result(export_case(prediction, case, ready.grid, ready.properties, export))
        return future
    path = export.out / SPOOL / f"{case.case_id}.npz"
    spool(prediction, path)
    return pool.submit(export_spooled, Spooled(case, ready.grid, ready.properties, path), export)


def _finish(pending: dict["Future[dict[str, float]]", tuple[ImageCase, float]], keep: int, say: Say) -> list[Failure]:
    """Wait for exports, oldest first, until `keep` are left, and say a line for each."""
    failures = []
    while len(pending) > keep:
        future = next(iter(pending))
        case, started = pending.pop(future)
        result = attempt(case.case_id, future.result)
        if isinstance(result, Failure):
            failures.append(result)
            continue
        say(
            f"{case.case_id}: {result['lesion_count']:.0f} lesions, {result['volume_ml']:.2f} ml, "
            f"PSU {result['psu']:.3f}, {time.monotonic() - started:.0f} s"
        )
    return failures
