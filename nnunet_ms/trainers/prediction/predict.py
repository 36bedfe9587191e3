"""Predict a folder of images with Monte Carlo dropout: the recipe behind `nnunet-ms-predict`.

Written into the output folder:

========================  =================================================================================
`<case>.nii.gz`           mask: mean probability above the threshold
`probability/`            mean probability per case (`<case>_<lesion type>` when there are several)
`<measure>/`              on request, see `MEASURES` and `PARTS`; `deterministic/` that without dropout
`qc/<case>.png`           slices with outline and uncertainty
`qc_visits/<case>.png`    of pairs of visits: baseline, follow-up, subtraction, with outlines of the change
`rim/`, `qc_rim/`          of models of lesion core and rim: rims of the rim+ lesions; QSM and FLAIR with the rims
`rim_lesions.csv`         the same models' lesions in the form that `nnunet-ms-rim evaluate` reads
`new/`, `enlarging/` ...  of pairs with several labels: a mask of each kind of change
`lesions.csv`             `tables.LESIONS`, `uncertainty` = LSU, and the measures of each lesion
`cases.csv`               `tables.CASES`, with patient-level uncertainty; one row per case and lesion type
`visits.csv`              `tables.VISITS` with the change since the visit before, as `nnunet-ms-measure` writes it;
                          `nnunet-ms-endpoints` takes it as it is
`lesion_changes.csv`      one row per lesion of two compared visits
`failures.csv`            cases that are in none of the above, and why
`prediction.json`         model, folds, sampling, threshold: everything that the numbers depend on; and `time`: seconds
                          per case, device and memory, whose values of each case are in `cases.csv`
========================  =================================================================================

Probabilities are averaged, as in the paper; nnU-Net averages logits. Memory: while a case is predicted, 4 bytes per
voxel of the preprocessed image, sample and lesion type; while it is written, see `export`.

References
----------
.. [1] Krishnan et al., Sci Rep 13:4102, 2023 (10 samples x 3 folds, threshold 0.5). doi:10.1038/s41598-023-31207-5
"""

import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from nnunet_ms.errors import ImageError, SettingsError
from nnunet_ms.images.volumes import Grid, without_remarks
from nnunet_ms.lesions.rims import RIM_THRESHOLD
from nnunet_ms.locks import sole_run
from nnunet_ms.options import known_keywords
from nnunet_ms.parallel import Failure, Workers, attempt
from nnunet_ms.trainers.networks.dropout import Site
from nnunet_ms.trainers.prediction.case_measures import Map
from nnunet_ms.trainers.prediction.export import DONE, ExportSettings, Spooled, is_done, notes_of_done
from nnunet_ms.trainers.prediction.exports import Exported, exporting
from nnunet_ms.trainers.prediction.image_cases import ImageCase, find_image_cases, plain_case, read_images
from nnunet_ms.trainers.prediction.likeness import check_usable, unlike
from nnunet_ms.trainers.prediction.model import Model, model_folder
from nnunet_ms.trainers.prediction.open_model import Folds, OpenModel, open_model
from nnunet_ms.trainers.prediction.output_folder import SPOOL, add_time, claim, collect, record_of, withdraw
from nnunet_ms.trainers.prediction.rim_tables import read_rims, write_rim_tables
from nnunet_ms.trainers.prediction.settings import export_settings, make_runner, resolve_measuring
from nnunet_ms.trainers.prediction.tiles import Prediction, TileRunner
from nnunet_ms.trainers.prediction.time_taken import Cost, Stopwatch
from nnunet_ms.trainers.prediction.visit_tables import write_visits


@dataclass(frozen=True)
class Predicted:
    """Tables of all cases in the folder, as written, and the cases that are not in them."""

    lesions: pd.DataFrame
    cases: pd.DataFrame
    failures: list[Failure]
    notes: list[str]
    visits: pd.DataFrame = field(default_factory=pd.DataFrame)


Say = Callable[[str], object]


def silent(_: str) -> None:
    """Say nothing."""


@known_keywords
def predict(
    images: str | Path,
    out: str | Path,
    *,
    model: str | Path | OpenModel | None = None,
    dataset: str | int | None = None,
    trainer: str | None = None,
    plans: str = "nnUNetPlansMS",
    configuration: str = "3d_fullres",
    folds: Folds | None = None,
    checkpoint: str = "checkpoint_final.pth",
    mc_samples: int = 10,
    dropout_site: Site = "decoder",
    dropout: float | None = None,
    closed_form: bool = False,
    seed: int = 0,
    tta: bool = True,
    step_size: float = 0.5,
    threshold: float = 0.5,
    fold_thresholds: Sequence[float] = (),
    maps: Sequence[Map] = (),
    minimum_voxels: int = 3,
    cases: str | Path | None = None,
    rater: str = "model",
    lesion_type: str = "",
    rim_threshold: float = RIM_THRESHOLD,
    rim_split: bool = True,
    note: str = "",
    pictures: bool = True,
    device: str | None = None,
    workers: Workers = 1,
    resume: bool = False,
    say: Say = silent,
) -> Predicted:
    """Predict every case of a folder that is not done yet, and write masks, maps, pictures and tables.

    Parameters
    ----------
    images : path
        Folder of `<case>_0000.nii.gz`, `<case>_0001.nii.gz` ...
    out : path
        Folder to write, new or empty, unless an earlier run is to go on.
    model : path or OpenModel, optional
        Folder `TRAINER__PLANS__CONFIGURATION`, the name of an installed model, or one that is open already, which
        settles `folds`, `checkpoint` and `device`.
    dataset : str or int, optional
        Instead of `model`: name or id of the dataset below nnUNet_results, with `trainer`, `plans`, `configuration`.
    trainer : str, optional
        The trainer that the checkpoints have to come from.
    plans, configuration : str, optional
        Of a model that is named by its dataset.
    folds : int, str or sequence, optional
        Such as (0, 1, 2) or "all"; without it, every numbered fold that has the checkpoint.
    checkpoint : str, optional
        File name in each fold's folder.
    mc_samples, dropout_site, dropout, closed_form, seed, tta, step_size : optional
        How samples are made, see `OpenModel.predict`.
    threshold, fold_thresholds, minimum_voxels, lesion_type : optional
        How samples become masks and tables, see `OpenModel.predict`.
    maps : sequence of str, optional
        Of `case_measures.MAPS`: uncertainty maps to write besides the mean probability.
    cases : path, optional
        `tables.CASES`: patient, visit and week of each case.
    rim_threshold : float, optional
        Of a model of lesion core and rim: the score from which a lesion is rim+, in (0, 1).
    rim_split : bool, optional
        Of such a model: whether confluent lesions are taken apart before each part is decided on.
    rater, note : str, optional
        The model's name and what the data are, in all tables and pictures.
    pictures : bool, optional
        Whether slices are drawn.
    device : str, optional
        "cuda", "cuda:1", "cpu" or "mps"; without it the first of cuda, mps and cpu that is there.
    workers : int or Dask, optional
        Processes, or a cluster, that write finished cases.
    resume : bool, optional
        Whether to go on with an earlier run in the same folder.
    say : callable, optional
        Gets a line about what was done before, and one for each case when it is done.

    Returns
    -------
    Predicted
        Tables of all cases, as written, and the cases that could not be predicted.

    Raises
    ------
    SettingsError
        If an argument or a folder does not fit, the output folder holds something else, or another run writes it.
    ModelError
        If the folder is no model, or the model cannot give the samples.
    MachineError
        If the machine gave out; the cases that are done are kept.
    ImageError
        If not one case could be predicted; its notes are tracebacks of the bugs among the reasons.

    Examples
    --------
    >>> done = predict("images", "predicted", model="trained", folds=0, mc_samples=2, dropout=0.1, device="cpu")
    >>> done.cases["case_id"].tolist(), done.failures
    (['P1'], [])
    """
    opened = _opened(model, dataset, trainer, plans, configuration, folds, checkpoint, device)
    runner = make_runner(
        opened.model,
        opened.device,
        mc_samples=mc_samples,
        dropout_site=dropout_site,
        dropout=dropout,
        closed_form=closed_form,
        seed=seed,
        tta=tta,
        step_size=step_size,
        maps=maps,
    )
    measuring = resolve_measuring(
        runner, threshold=threshold, fold_thresholds=fold_thresholds, maps=maps, minimum_voxels=minimum_voxels,
        lesion_type=lesion_type, rim_threshold=rim_threshold, rim_split=rim_split,
    )  # fmt: skip
    export = export_settings(runner, measuring, Path(out), rater=rater, note=note, pictures=pictures)
    found = find_image_cases(Path(images), opened.model, None if cases is None else Path(cases))
    with sole_run(export.out):
        claim(export.out, record_of(runner, measuring, rater, note), resume=resume)
        return _predict_cases(*found, runner, export, workers, say)


def _opened(
    model: str | Path | OpenModel | None,
    dataset: str | int | None,
    trainer: str | None,
    plans: str,
    configuration: str,
    folds: Folds | None,
    checkpoint: str,
    device: str | None,
) -> OpenModel:
    if isinstance(model, OpenModel):
        if folds is not None or device is not None:
            raise SettingsError("model: expected no folds and no device beside a model that is open. Leave them out.")
        return model
    if model is not None and dataset is not None:
        raise SettingsError("model: expected its folder (-m) or a dataset (-d), found both. Leave one out.")
    if model is None and (dataset is None or trainer is None):
        raise SettingsError(
            "model: expected its folder (-m), or dataset and trainer (-d and -tr), found neither. Name the model."
        )
    folder = model_folder(str(dataset), str(trainer), plans, configuration) if model is None else model
    return open_model(folder, folds, checkpoint, device, trainer or "")


def _predict_cases(
    cases: Sequence[ImageCase],
    failures: Sequence[Failure],
    runner: TileRunner,
    export: ExportSettings,
    workers: Workers,
    say: Say,
) -> Predicted:
    """Predict what is not done yet and put the tables of all cases together."""
    todo = [case for case in cases if not is_done(case.case_id, export)]
    known = [note for case in cases if case not in todo for note in notes_of_done(case.case_id, export.out)]
    if len(todo) < len(cases):
        say(f"{len(cases) - len(todo)} of {len(cases)} cases done before")
    failed = sorted([*failures, *_run(todo, runner, export, workers, say)], key=lambda failure: failure.case)
    finished = [case for case in cases if case.case_id not in {failure.case for failure in failed}]
    if not finished:
        _give_up(export.out, failed)
    collected = collect(finished, failed, export.out)
    add_time(export.out, collected[1])
    visits = write_visits(finished, export.out, export.measuring, export.rater, export.note, workers)
    if export.measuring.rim is not None:
        rims = read_rims([export.out / DONE / case.case_id for case in finished])
        visits = write_rim_tables(rims, visits, export.out, export.measuring.rim)
    return Predicted(*collected, failed, [*known, *runner.notes], visits)


def _give_up(out: Path, failures: Sequence[Failure]) -> NoReturn:
    """Leave nothing behind and say why not one case worked."""
    withdraw(out)
    listed = "; ".join(f"{failure.case}: {failure.reason}" for failure in failures[:3])
    error = ImageError(f"none of {len(failures)} cases could be predicted. {listed}")
    for failure in failures:
        if failure.traceback:
            error.add_note(failure.traceback.rstrip("\n"))
    raise error


@dataclass(frozen=True)
class _Prepared:
    """A preprocessed case; `data` (C, z, y, x). `notes` say how it is unlike the images of the training.

    `seconds` is how long that took.
    """

    case: ImageCase
    grid: Grid
    data: torch.Tensor
    properties: dict[str, Any]
    notes: list[str]
    seconds: float


def _prepare(case: ImageCase, model: Model, aside: Path) -> _Prepared:
    """Check and preprocess one case, as nnU-Net does; images that it would read differently are copied aside.

    Raises
    ------
    ImageError
        See `read_images`.
    """
    started = time.monotonic()
    volumes = read_images(case)
    check_usable(volumes, model)
    grid, notes = volumes[0].grid, [f"{case.case_id}: {note}" for note in unlike(volumes, model)]
    del volumes
    case = replace(plain_case(case, grid, aside), notes=tuple(notes))
    preprocessor = model.configuration.preprocessor_class(verbose=False)
    with without_remarks():  # nnU-Net reads the files once more
        data, _, properties = preprocessor.run_case(
            [str(path) for path in case.files], None, model.plans, model.configuration, model.dataset_json
        )
    tensor = torch.from_numpy(np.ascontiguousarray(data))
    return _Prepared(case, grid, tensor, properties, notes, time.monotonic() - started)


def _run(
    cases: Sequence[ImageCase], runner: TileRunner, export: ExportSettings, workers: Workers, say: Say
) -> list[Failure]:
    """Prepare the next case while one is predicted; export here, or in other processes while the next is predicted."""
    failures: list[Failure] = []
    aside = export.out / SPOOL
    try:
        with exporting(workers, export) as exports:
            ahead = _ahead(cases, runner.model, aside)
            for case, prepared in tqdm(ahead, total=len(cases), desc="predict", disable=not sys.stderr.isatty()):
                started = time.monotonic()
                predicted = attempt(case.case_id, _predict_one, prepared, runner)
                if isinstance(predicted, Failure):
                    failures.append(predicted)
                    continue
                ready, prediction, cost = predicted
                path = aside / f"{case.case_id}.npz"
                job = Spooled(ready.case, ready.grid, ready.properties, path, cost)
                failures += _told(exports.add(job, started, prediction), say)
            failures += _told(exports.finished(), say)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return failures


def _ahead(
    cases: Sequence[ImageCase], model: Model, aside: Path
) -> Iterator[tuple[ImageCase, Callable[[], _Prepared]]]:
    """Yield each case with a call that waits for its preprocessing; the next one is prepared meanwhile."""
    with ThreadPoolExecutor(1) as thread:
        waiting = [thread.submit(_prepare, case, model, aside) for case in cases[:1]]
        for number, case in enumerate(cases):
            current = waiting.pop()
            waiting = [thread.submit(_prepare, following, model, aside) for following in cases[number + 1 : number + 2]]
            yield case, current.result


def _predict_one(prepared: Callable[[], _Prepared], runner: TileRunner) -> tuple[_Prepared, Prediction, Cost]:
    ready = prepared()
    runner.notes.extend(ready.notes)
    watch = Stopwatch(runner.device)
    prediction = runner.predict(ready.data)
    return ready, prediction, watch.cost(ready.seconds, runner.device)


def _told(exported: Iterable[Exported], say: Say) -> list[Failure]:
    """Say a line for each case that is done; return the others."""
    failures = []
    for done in exported:
        if isinstance(done.result, Failure):
            failures.append(done.result)
            continue
        say(
            f"{done.case.case_id}: {done.result['lesion_count']:.0f} lesions, {done.result['volume_ml']:.2f} ml, "
            f"PSU {done.result['psu']:.3f}, {time.monotonic() - done.started:.0f} s"
        )
    return failures
