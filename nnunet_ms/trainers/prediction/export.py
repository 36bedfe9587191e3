"""Files of one case on the image's own grid: mask, maps, picture, table rows; `case_measures` says what is in them."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from nnunet_ms import tables
from nnunet_ms.arrays import SingleFloats
from nnunet_ms.images.volumes import Grid, read_volume
from nnunet_ms.lesions.rims import RIM
from nnunet_ms.outputs import whole_file, whole_folder
from nnunet_ms.trainers.channels import sequence_of
from nnunet_ms.trainers.prediction.case_measures import (
    PROBABILITY,
    Measured,
    Measuring,
    accumulate,
    label_map,
    measured_types,
)
from nnunet_ms.trainers.prediction.image_cases import ImageCase
from nnunet_ms.trainers.prediction.pair_pictures import draw_pair
from nnunet_ms.trainers.prediction.pictures import draw_mosaic
from nnunet_ms.trainers.prediction.rim_pictures import draw_rim_lesions
from nnunet_ms.trainers.prediction.rim_tables import LESIONS, RimParts, case_rims
from nnunet_ms.trainers.prediction.tiles import Prediction
from nnunet_ms.trainers.prediction.time_taken import Cost
from nnunet_ms.trainers.prediction.visit_tables import rule_name
from nnunet_ms.trainers.prediction.voxel_uncertainty import outside
from nnunet_ms.trainers.prediction.way_back import WayBack

QC, QC_VISITS, QC_RIM, DONE = "qc", "qc_visits", "qc_rim", ".done"
NOTES = "notes.json"  # in the folder of a case that is done: a run that goes on tells them again


@dataclass(frozen=True)
class ExportSettings:
    """What every case's files need to know."""

    out: Path
    plans: dict[str, Any]
    configuration: str
    measuring: Measuring
    rater: str = "model"
    pictures: bool = True
    background_channel: int = 0
    note: str = ""
    samples_note: str = ""
    channels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Spooled:
    """A case that is predicted: its samples lie in a file, so that another process can take them over."""

    case: ImageCase
    grid: Grid
    properties: dict[str, Any]
    path: Path
    cost: Cost | None = None


def spool(prediction: Prediction, path: Path) -> None:
    """Write samples aside, for the process that exports them."""
    parts = {"log_odds": prediction.log_odds, "spread": prediction.spread, "deterministic": prediction.deterministic}
    there: dict[str, Any] = {name: part for name, part in parts.items() if part is not None}
    with whole_file(path) as partial:
        np.savez(partial, **there)


def export_spooled(job: Spooled, settings: ExportSettings) -> dict[str, float]:
    """Export a spooled case in this process; the file stays, should this process be killed."""
    with np.load(job.path) as parts:
        prediction = Prediction(parts["log_odds"], parts.get("spread"), parts.get("deterministic"))
    return export_case(prediction, job.case, job.grid, job.properties, settings, job.cost)


def export_case(
    prediction: Prediction,
    case: ImageCase,
    grid: Grid,
    properties: dict[str, Any],
    settings: ExportSettings,
    cost: Cost | None = None,
) -> dict[str, float]:
    """Write everything of one case; its rows below `.done` come last and say that it is complete.

    With the cost of its prediction the rows of cases.csv say it, and the seconds that writing took up to there.

    Returns
    -------
    dict
        The first lesion type's numbers, see `lesion_uncertainty.patient_row`.
    """
    started = time.monotonic()
    way, measuring = WayBack(settings.plans, settings.configuration, properties, grid), settings.measuring
    sampled = accumulate(prediction, way, measuring)
    labels = label_map(sampled, measuring)
    way.write_mask(labels, settings.out / f"{case.case_id}.nii.gz")
    write_change_masks(labels, way, settings.out, case.case_id, measuring)
    images = [read_volume(path).data for path in case.files]
    content = np.logical_or.reduce([image[way.box] != 0 for image in images])
    lesions, rows, entropy, rims = [], [], None, None
    for found in measured_types(prediction, sampled, labels, content, way, measuring):
        _write_maps(case.case_id, found, way, settings)
        if not found.row:  # of a rim, which is a part of a lesion
            continue
        lesions.append(found.lesions)
        rows.append(found.row)
        rims = found.rims
        # the total uncertainty of the mean prediction: the one measure that a single sample has as well
        entropy = found.maps["entropy"] if entropy is None else entropy
    if rims is not None:
        write_rims(labels, rims, way, settings.out, case.case_id)
        if settings.pictures:
            draw_rims(case.case_id, images, labels, rims, way, settings)
    if settings.pictures:
        assert entropy is not None
        background = next((one for one in (images[settings.background_channel], *images) if one.any()), images[0])
        _draw(case.case_id, background[way.box], labels, entropy, lesions[0], way, settings)
        draw_visits(settings.out, case.case_id, [image[way.box] for image in images], labels, way.box_grid, settings)
    spent = {} if cost is None else cost.columns(time.monotonic() - started)
    _write_rows(case, lesions, rows, settings, spent, rims)
    return {name: value for name, value in rows[0].items() if isinstance(value, float)}


def write_change_masks(
    labels: npt.NDArray[np.uint8], way: WayBack, out: Path, case_id: str, measuring: Measuring
) -> None:
    """Of pairs with several labels a mask of each kind of change, `new/<case>.nii.gz` ..., beside the one of all."""
    if not measuring.pairs or len(measuring.classes) == 1:
        return
    for name, value in measuring.classes:
        way.write_mask((labels == value).astype(np.uint8), out / name / f"{case_id}.nii.gz")


def write_rims(labels: npt.NDArray[np.uint8], rims: RimParts, way: WayBack, out: Path, case_id: str) -> None:
    """Of a model of rims `rim/<case>.nii.gz`: the segmented rims of the lesions that are rim+, on the image's grid."""
    way.write_mask(rims_of_positive(labels, rims), out / "rim" / f"{case_id}.nii.gz")


def rims_of_positive(labels: npt.NDArray[np.uint8], rims: RimParts) -> npt.NDArray[np.uint8]:
    """Rim voxels (X, Y, Z) of lesions that are rim+ in their table, 0 and 1."""
    positive = np.zeros(labels.shape, np.uint8)
    positive[rims.parts.voxel_axes] = rims.table["rim"].to_numpy(np.uint8)[rims.parts.lesion_of_voxel]
    return np.asarray(positive * (labels == RIM), dtype=np.uint8)


def draw_rims(
    case_id: str,
    images: Sequence[npt.NDArray[Any]],
    labels: npt.NDArray[np.uint8],
    rims: RimParts,
    way: WayBack,
    settings: ExportSettings,
) -> None:
    """Of a model of rims `qc_rim/<case>.png`: the lesions with the highest scores on QSM and FLAIR, rim outlined."""
    if settings.measuring.rim is not None:
        shown = {sequence_of(name): image[way.box] for name, image in zip(settings.channels, images, strict=True)}
        path, title = settings.out / QC_RIM / f"{case_id}.png", _title(case_id, settings)
        draw_rim_lesions(path, shown, labels, rims.table, way.box_grid, title, settings.measuring.rim)


def draw_visits(
    out: Path,
    case_id: str,
    images: Sequence[npt.NDArray[Any]],
    labels: npt.NDArray[np.uint8],
    grid: Grid,
    settings: ExportSettings,
) -> None:
    """Of pairs, `qc_visits/<case>.png`: what the channels show of both visits, with the outlines of the change."""
    if settings.measuring.pairs:
        shown = dict(zip(settings.channels, images, strict=True))
        draw_pair(
            out / QC_VISITS / f"{case_id}.png",
            shown,
            labels,
            settings.measuring.classes,
            grid,
            _title(case_id, settings),
        )


def _title(case_id: str, settings: ExportSettings) -> str:
    return f"{case_id}: {settings.rater}" + (f", {settings.note} data" if settings.note else "")


def _write_maps(case_id: str, found: Measured, way: WayBack, settings: ExportSettings) -> None:
    for name, path in map_files(settings.out, case_id, found.lesion_type, settings.measuring).items():
        if name in found.maps:
            way.write_map(found.maps[name], path, outside(name))


def map_files(out: Path, case_id: str, lesion_type: str, measuring: Measuring) -> dict[str, Path]:
    """Where the maps of a lesion type are written, by name: the probability, and those that are asked for."""
    suffix = "" if len(measuring.classes) == 1 else f"_{lesion_type}"
    return {name: out / name / f"{case_id}{suffix}.nii.gz" for name in (PROBABILITY, *measuring.maps)}


def _draw(
    case_id: str,
    background: npt.NDArray[Any],
    labels: npt.NDArray[np.uint8],
    entropy: SingleFloats,
    lesions: pd.DataFrame,
    way: WayBack,
    settings: ExportSettings,
) -> None:
    path, title = settings.out / QC / f"{case_id}.png", _title(case_id, settings)
    draw_mosaic(path, background, labels, entropy, lesions, way.box_grid, title, settings.samples_note)


def case_tables(
    case: ImageCase,
    lesions: Sequence[pd.DataFrame],
    rows: Sequence[Mapping[str, Any]],
    settings: ExportSettings,
    spent: Mapping[str, Any],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of lesions.csv and of cases.csv, from those of each lesion type and what the case cost."""
    place = {"case_id": case.case_id, "patient_id": case.patient_id, "visit": case.visit, "week": case.week}
    rater, note = settings.rater, settings.note
    rule = rule_name(settings.measuring.minimum_voxels)
    labelled = pd.concat(lesions).assign(**place, rater=rater, rule=rule, data_note=note)
    first = [name for name in tables.LESIONS.names if name in labelled]
    labelled = labelled[[*first, *(name for name in labelled if name not in first)]]
    of_case = pd.DataFrame([{**place, "role": "test", "rater": rater, **row, **spent} for row in rows])
    return labelled, of_case.assign(data_note=note)


def _write_rows(
    case: ImageCase,
    lesions: Sequence[pd.DataFrame],
    rows: Sequence[Mapping[str, Any]],
    settings: ExportSettings,
    spent: Mapping[str, Any],
    rims: RimParts | None,
) -> None:
    of_lesions, of_case = case_tables(case, lesions, rows, settings, spent)
    with whole_folder(settings.out / DONE / case.case_id, replace=True) as folder:
        tables.write_table(of_lesions, folder / "lesions.csv")
        tables.write_table(of_case, folder / "cases.csv")
        if rims is not None:
            tables.write_table(case_rims(rims, case, settings.rater), folder / LESIONS)
        if case.notes:
            (folder / NOTES).write_text(json.dumps(case.notes), encoding="utf-8")


def notes_of_done(case_id: str, out: Path) -> list[str]:
    """What was noted of a case when it was predicted, maybe in an earlier run."""
    path = out / DONE / case_id / NOTES
    found: list[str] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    return found


def is_done(case_id: str, settings: ExportSettings) -> bool:
    """Whether a case's files are all there: its rows are written last."""
    files = (settings.out / f"{case_id}.nii.gz", settings.out / DONE / case_id / "cases.csv")
    return all(path.exists() for path in files)
