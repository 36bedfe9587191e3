"""Predict a folder of images with Monte Carlo dropout: the recipe behind `nnunet-ms-predict`.

Written into the output folder:

========================  =================================================================================
`<case>.nii.gz`           mask: mean probability above the threshold
`probability/`            mean probability per case (`<case>_<lesion type>` when there are several)
`<measure>/`              on request, see `uncertainty.MEASURES`; `deterministic/` the probability without dropout
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

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from nnunet_ms import tables
from nnunet_ms.errors import ImageError, ModelError, NnunetMsError, SettingsError
from nnunet_ms.images import Grid, read_grid
from nnunet_ms.outputs import whole_file
from nnunet_ms.parallel import Failure, Outcome, map_cases
from nnunet_ms.trainers.channels import sequence_of
from nnunet_ms.trainers.networks.dropout import MaskedDropout3d
from nnunet_ms.trainers.predict_cases import ImageCase, check_images, find_image_cases
from nnunet_ms.trainers.predict_export import (
    DETERMINISTIC,
    DONE,
    ExportSettings,
    Spooled,
    export_case,
    export_spooled,
    files_of,
    spool,
)
from nnunet_ms.trainers.predict_model import Model
from nnunet_ms.trainers.predict_tiles import Sampling, TileRunner, check_sampling

RECORD, SPOOL = "prediction.json", ".spool"
FAILURES = tables.Table("failures", (tables.Column("case_id"), tables.Column("reason")), key=("case_id",))


@dataclass(frozen=True)
class PredictSettings:
    """What is asked for besides the model; `dropout` None takes the network's own probability."""

    images: Path
    out: Path
    cases: Path | None = None
    samples: int = 10
    site: str = "decoder"
    dropout: float | None = None
    closed_form: bool = False
    seed: int = 0
    threshold: float = 0.5
    tta: bool = True
    step_size: float = 0.5
    maps: tuple[str, ...] = ()
    minimum_voxels: int = 3
    rater: str = "model"
    lesion_type: str = ""
    note: str = ""
    pictures: bool = True
    workers: int = 1
    resume: bool = False


@dataclass(frozen=True)
class Predicted:
    """Tables of all cases in the folder, as written, and the cases that are not in them."""

    lesions: pd.DataFrame
    cases: pd.DataFrame
    failures: list[Failure]
    notes: list[str]


def predict(model: Model, settings: PredictSettings, device: torch.device) -> Predicted:
    """Predict every case of a folder that is not done yet, and write tables of all.

    Raises
    ------
    SettingsError
        If an argument or a folder does not fit, or the output folder holds something else.
    ModelError
        If the model cannot give the samples.
    ImageError
        If not one case could be predicted.
    """
    sampling = resolve_sampling(model, settings)
    check_sampling(model, sampling)
    runner = TileRunner(model, sampling, device)
    total = runner.samples_per_fold() * len(model.folds)
    _check_sample_set(model, settings, sampling, total)
    cases, failures = find_image_cases(settings.images, model, settings.cases)
    export = _export_settings(model, settings, sampling, total)
    _claim(settings, _record(model, settings, sampling, total))
    todo = [case for case in cases if not all(path.exists() for path in files_of(case.case_id, export).values())]
    if len(todo) < len(cases):
        print(f"{len(cases) - len(todo)} of {len(cases)} cases done before")
    done = _run(todo, runner, export, settings.workers)
    failures = sorted([*failures, *done], key=lambda failure: failure.case)
    finished = [case for case in cases if case.case_id not in {failure.case for failure in failures}]
    if not finished:
        listed = "; ".join(f"{failure.case}: {failure.reason}" for failure in failures[:3])
        _withdraw(settings.out)
        print(*(failure.traceback for failure in failures if failure.traceback), sep="\n", end="", file=sys.stderr)
        raise ImageError(f"none of {len(failures)} cases could be predicted. {listed}")
    return _collect(finished, failures, settings, runner.notes)


def resolve_sampling(model: Model, settings: PredictSettings) -> Sampling:
    """Settle the dropout probability, by default the network's own.

    Raises
    ------
    SettingsError
        If a number is outside its range.
    """
    own = [m.p for m in model.network.modules() if isinstance(m, MaskedDropout3d)]
    probability = settings.dropout if settings.dropout is not None else max(own, default=0.0)
    limits = {
        "--dropout": (probability, 0 <= probability < 1, "0 <= p < 1"),
        "--threshold": (settings.threshold, 0 < settings.threshold < 1, "0 < t < 1"),
        "--step-size": (settings.step_size, 0 < settings.step_size <= 1, "0 < s <= 1"),
        "--mc-samples": (settings.samples, settings.samples >= 0, "0 or more"),
    }
    for name, (found, is_good, expected) in limits.items():
        if not is_good:
            raise SettingsError(f"{name}: expected {expected}, found {found}. Correct it.")
    return Sampling(
        samples=settings.samples,
        site=settings.site,
        probability=probability,
        seed=settings.seed,
        tta=settings.tta,
        closed_form=settings.closed_form,
        deterministic=DETERMINISTIC in settings.maps,
        step_size=settings.step_size,
    )


def describe(model: Model, sampling: Sampling, total: int) -> str:
    """Say in one line what the samples are."""
    folds = f"{len(model.folds)} fold{'s' if len(model.folds) > 1 else ''}"
    if not sampling.drops:
        return f"{total} samples: {folds} and mirrorings, no dropout" if total > 1 else "one pass, no dropout"
    if sampling.closed_form:
        return f"{folds}, dropout p = {sampling.probability:g} before the head in closed form"
    return f"{total} samples: {folds}, dropout p = {sampling.probability:g} at {sampling.site}, seed {sampling.seed}"


def _check_sample_set(model: Model, settings: PredictSettings, sampling: Sampling, total: int) -> None:
    if settings.samples > 0 and not sampling.drops and total < 2:
        raise ModelError(
            f"{model.trainer}: trained with dropout probability 0, and one fold without mirroring: nothing to sample. "
            "Give --dropout 0.1 (a perturbation that the training did not see), several folds with -f, or --mc-samples "
            "0 for the plain prediction."
        )
    if sampling.closed_form and not sampling.drops:
        raise SettingsError("--closed-form: expected a dropout probability above 0, found 0. Give --dropout 0.1.")


def _export_settings(model: Model, settings: PredictSettings, sampling: Sampling, total: int) -> ExportSettings:
    names = [sequence_of(name) for name in model.dataset_json["channel_names"].values()]
    return ExportSettings(
        out=settings.out,
        plans=model.plans.plans,
        configuration=_configuration_name(model),
        classes=lesion_types(model, settings.lesion_type),
        rater=settings.rater,
        threshold=settings.threshold,
        maps=settings.maps,
        minimum_voxels=settings.minimum_voxels,
        pictures=settings.pictures,
        background_channel=names.index("flair") if "flair" in names else 0,
        note=settings.note,
        samples_note=f"{model.trainer}, {describe(model, sampling, total)}, threshold {settings.threshold:g}.",
    )


def lesion_types(model: Model, asked: str) -> tuple[tuple[str, int], ...]:
    """Names of the lesion types in all tables: those of `tables.REFERENCE_MASKS` for the converter's label names.

    Raises
    ------
    SettingsError
        If one name is given for a model of several labels.
    """
    classes = model.classes
    if len(classes) > 1:
        if asked:
            raise SettingsError(f"--lesion-type: this model has {[name for name, _ in classes]}; leave the option out.")
        return tuple((_LESION_TYPES.get(name, name), value) for name, value in classes)
    name, value = classes[0]
    return ((asked or _LESION_TYPES.get(name, name), value),)


_LESION_TYPES = {"lesion": "t2_lesions", "unenhancing": "t1_unenhancing", "enhancing": "t1_enhancing"}


def _configuration_name(model: Model) -> str:
    return model.folder.name.split("__")[-1]


def _record(model: Model, settings: PredictSettings, sampling: Sampling, total: int) -> dict[str, Any]:
    return {
        "model": model.folder.name,
        "dataset": model.folder.parent.name,
        "trainer": model.trainer,
        "folds": list(model.folds),
        "sampling": asdict(sampling),
        "samples": total,
        "threshold": settings.threshold,
        "minimum_voxels": settings.minimum_voxels,
        "maps": list(settings.maps),
        "lesion_types": [name for name, _ in lesion_types(model, settings.lesion_type)],
        "rater": settings.rater,
        "data_note": settings.note,
        "average": "probabilities over samples and folds; logits over tiles",
        "versions": {name: version(name) for name in ("nnunet-ms", "nnunetv2", "torch")},
    }


def _claim(settings: PredictSettings, record: dict[str, Any]) -> None:
    """Make the folder ours, or find that it is, with the same settings.

    Raises
    ------
    SettingsError
        If it holds something else, or a prediction with other settings, or one that was not asked to go on.
    """
    out, path = settings.out, settings.out / RECORD
    if out.exists() and not out.is_dir():
        raise SettingsError(f"{out}: expected a folder or nothing, found a file. Choose another -o.")
    there = sorted(item.name for item in out.iterdir()) if out.exists() else []
    if there:
        earlier = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
        if not settings.resume or earlier is None:
            raise SettingsError(
                f"{out}: expected an empty folder, found {', '.join(there[:3])}. Choose another -o"
                + (", or go on with --continue." if earlier else ".")
            )
        differing = sorted(key for key in record if earlier.get(key) != record[key])
        if differing:
            raise SettingsError(
                f"{path}: --continue expects the settings of the earlier run, found other {', '.join(differing)}. "
                "Repeat the earlier options, or choose another -o."
            )
    shutil.rmtree(out / SPOOL, ignore_errors=True)
    with whole_file(path) as partial:
        partial.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _withdraw(out: Path) -> None:
    """Leave nothing of a run in which no case worked."""
    (out / RECORD).unlink(missing_ok=True)
    shutil.rmtree(out / SPOOL, ignore_errors=True)
    if out.is_dir() and not any(out.iterdir()):
        out.rmdir()


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


def _run(cases: Sequence[ImageCase], runner: TileRunner, export: ExportSettings, workers: int) -> list[Failure]:
    """Prepare the next case while one is predicted; export here, or in other processes while the next is predicted."""
    failures: list[Failure] = []
    pending: dict[Future[dict[str, float]], tuple[ImageCase, float]] = {}
    pool = _export_pool(workers)
    try:
        for case, prepared in tqdm(
            _ahead(cases, runner.model), total=len(cases), desc="predict", disable=not sys.stderr.isatty()
        ):
            started = time.monotonic()
            job = _predict_one(case, prepared, runner, export, pool)
            if isinstance(job, Failure):
                failures.append(job)
                continue
            pending[job] = (case, started)
            # no more cases wait in files than workers are there to take them
            failures += _finish(pending, keep=0 if pool is None else workers)
        failures += _finish(pending, keep=0)
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)
        shutil.rmtree(export.out / SPOOL, ignore_errors=True)
    return failures


def _export_pool(workers: int) -> Executor | None:
    # spawn, because forking a process that runs torch threads can deadlock; at 1 the main process exports
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn")) if workers > 1 else None


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
) -> "Future[dict[str, float]] | Failure":
    """Predict one case and hand it to its export; a case that fails becomes a `Failure`."""

    def work(_: ImageCase) -> Future[dict[str, float]]:
        ready = prepared()
        prediction = runner.predict(ready.data)
        if pool is None:
            future: Future[dict[str, float]] = Future()
            future.set_result(export_case(prediction, case, ready.grid, ready.properties, export))
            return future
        path = export.out / SPOOL / f"{case.case_id}.npz"
        spool(prediction, path)
        return pool.submit(export_spooled, Spooled(case, ready.grid, ready.properties, path), export)

    return _only(map_cases(work, [case], _name))


def _finish(pending: dict["Future[dict[str, float]]", tuple[ImageCase, float]], keep: int) -> list[Failure]:
    """Wait for exports, oldest first, until `keep` are left, and print a line for each."""
    failures = []
    while len(pending) > keep:
        future = next(iter(pending))
        case, started = pending.pop(future)
        result = _only(map_cases(lambda _, future=future: future.result(), [case], _name))  # type: ignore[misc]
        if isinstance(result, Failure):
            failures.append(result)
            continue
        tqdm.write(
            f"{case.case_id}: {result['lesion_count']:.0f} lesions, {result['volume_ml']:.2f} ml, "
            f"PSU {result['psu']:.3f}, {time.monotonic() - started:.0f} s"
        )
    return failures


def _only(outcome: Outcome[Any]) -> Any:
    return outcome.results[0] if outcome.results else outcome.failures[0]


def _name(case: ImageCase) -> str:
    return case.case_id


def _collect(
    finished: Sequence[ImageCase], failures: list[Failure], settings: PredictSettings, notes: list[str]
) -> Predicted:
    """Put the tables of all finished cases together and write them."""
    parts = {
        name: [pd.read_csv(settings.out / DONE / case.case_id / f"{name}.csv", dtype=_TEXT) for case in finished]
        for name in ("lesions", "cases")
    }
    # cases without lesions give empty tables, whose columns have no type of their own
    lesions = pd.concat([part for part in parts["lesions"] if len(part)] or parts["lesions"][:1], ignore_index=True)
    cases = pd.concat(parts["cases"], ignore_index=True)
    bad = pd.DataFrame([(failure.case, failure.reason) for failure in failures], columns=FAILURES.names)
    for name, frame in {"lesions": lesions, "cases": cases, "failures": bad}.items():
        tables.write_table(frame, settings.out / f"{name}.csv")
    return Predicted(lesions, cases, failures, notes)


_TEXT = dict.fromkeys(("case_id", "patient_id", "visit", "rater", "lesion_type", "data_note"), str)


def model_folder(dataset: str, trainer: str, plans: str, configuration: str) -> Path:
    """Folder of a model below nnU-Net's results.

    Raises
    ------
    NnunetMsError
        If `nnUNet_results` is not set, or no or several datasets have this id.
    """
    results = os.environ.get("nnUNet_results")  # noqa: SIM112 - nnU-Net's name
    if not results:
        raise SettingsError(
            "nnUNet_results: expected nnU-Net's results folder in the environment, found none. Set it, or use -m."
        )
    pattern = f"Dataset{int(dataset):03d}_*" if dataset.isdigit() else dataset
    found = sorted(path for path in Path(results).glob(pattern) if path.is_dir())
    if len(found) != 1:
        there = sorted(path.name for path in Path(results).glob("Dataset*"))
        raise NnunetMsError(f"{results}: expected one folder {pattern}, found {len(found)} ({there}). Check -d.")
    return found[0] / f"{trainer}__{plans}__{configuration}"
