"""From samples on the preprocessed grid to files on the image's own grid: mask, maps, picture, table rows.

Each sample is brought to the image's grid as nnU-Net does it (log-odds are resampled, the crop is undone) and only then
becomes a probability. Memory per voxel of the cropped image and lesion type: 20 bytes of sums, and one byte per sample
for the masks that the lesion measures need.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from nnunet_ms import tables
from nnunet_ms.images.volumes import Grid, read_volume
from nnunet_ms.lesions.labelling import Lesions, without_small
from nnunet_ms.outputs import whole_file, whole_folder
from nnunet_ms.trainers.networks.closed_form import quadrature
from nnunet_ms.trainers.prediction.image_cases import ImageCase
from nnunet_ms.trainers.prediction.lesion_uncertainty import (
    label_sample,
    lesion_rows,
    patient_row,
    structural_uncertainty,
)
from nnunet_ms.trainers.prediction.pictures import draw_mosaic
from nnunet_ms.trainers.prediction.tiles import Prediction
from nnunet_ms.trainers.prediction.voxel_uncertainty import MEASURES, PARTS, VarianceParts, VoxelUncertainty, outside
from nnunet_ms.trainers.prediction.way_back import WayBack

PROBABILITY, DETERMINISTIC, QC, DONE = "probability", "deterministic", "qc", ".done"
MAPS = (*MEASURES, *PARTS, DETERMINISTIC)

Float = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ExportSettings:
    """What every case's files need to know; `classes` are (lesion type, label value)."""

    out: Path
    plans: dict[str, Any]
    configuration: str
    classes: tuple[tuple[str, int], ...]
    rater: str
    threshold: float = 0.5
    maps: tuple[str, ...] = ()
    minimum_voxels: int = 3
    pictures: bool = True
    background_channel: int = 0
    note: str = ""
    samples_note: str = ""
    member_thresholds: tuple[float, ...] = ()  # one per sample, for LSU+ and PSU+
    samples_per_fold: int = 1
    flips: int = 1  # of one fold: sample k sees mirroring k modulo this

    @property
    def splits_variance(self) -> bool:
        """Whether parts of the variance are asked for."""
        return any(name in PARTS for name in self.maps)


@dataclass(frozen=True)
class Spooled:
    """A case that is predicted: its samples lie in a file, so that another process can take them over."""

    case: ImageCase
    grid: Grid
    properties: dict[str, Any]
    path: Path


def spool(prediction: Prediction, path: Path) -> None:
    """Write samples aside, for the process that exports them."""
    parts = {"log_odds": prediction.log_odds, "spread": prediction.spread, "deterministic": prediction.deterministic}
    there: dict[str, Any] = {name: part for name, part in parts.items() if part is not None}
    with whole_file(path) as partial:
        np.savez(partial, **there)


def export_spooled(job: Spooled, settings: ExportSettings) -> dict[str, float]:
    """Export a spooled case in this process and remove the file."""
    with np.load(job.path) as parts:
        prediction = Prediction(parts["log_odds"], parts.get("spread"), parts.get("deterministic"))
    try:
        return export_case(prediction, job.case, job.grid, job.properties, settings)
    finally:
        job.path.unlink(missing_ok=True)


def export_case(
    prediction: Prediction, case: ImageCase, grid: Grid, properties: dict[str, Any], settings: ExportSettings
) -> dict[str, float]:
    """Write everything of one case; its rows below `.done` come last and say that it is complete.

    Returns
    -------
    dict
        The first lesion type's numbers, see `lesion_uncertainty.patient_row`.
    """
    way = WayBack(settings.plans, settings.configuration, properties, grid)
    sampled = _accumulate(prediction, way, settings)
    labels = _labels(np.stack([one.mean() for one in sampled.sums]), settings, settings.threshold)
    way.write_mask(labels, settings.out / f"{case.case_id}.nii.gz")
    images = [read_volume(path).data for path in case.files]
    content = np.logical_or.reduce([image[way.box] != 0 for image in images])
    lesions, rows = [], []
    for number, (lesion_type, value) in enumerate(settings.classes):
        measures = {PROBABILITY: sampled.sums[number].mean(), **sampled.sums[number].measures()}
        measures.update(sampled.variances[number].parts() if sampled.variances else {})
        found = without_small(label_sample(labels == value, way.box_grid), settings.minimum_voxels)
        table, row = _rows(found, value, measures, sampled, content, settings)
        lesions.append(table.assign(lesion_type=lesion_type))
        rows.append({"lesion_type": lesion_type, **row})
        if DETERMINISTIC in settings.maps and prediction.deterministic is not None:
            measures[DETERMINISTIC] = way.mean_probability(prediction.deterministic[:, number])
        _write_maps(case, lesion_type, measures, way, settings)
    if settings.pictures:
        _draw(case, images[settings.background_channel][way.box], labels, sampled, lesions[0], way, settings)
    _write_rows(case, pd.concat(lesions), rows, settings)
    return {name: value for name, value in rows[0].items() if isinstance(value, float)}


@dataclass(frozen=True)
class _Sampled:
    """What is kept of the samples: sums per lesion type, label maps at the threshold, and at the members' own ones."""

    sums: list[VoxelUncertainty]
    variances: list[VarianceParts]
    masks: list[npt.NDArray[np.uint8]]
    members: list[npt.NDArray[np.uint8]]


def _accumulate(prediction: Prediction, way: WayBack, settings: ExportSettings) -> _Sampled:
    shape, asked = way.box_grid.shape, settings.splits_variance
    kept = _Sampled(
        [VoxelUncertainty(shape) for _ in settings.classes],
        [VarianceParts(shape) for _ in settings.classes if asked],
        [],
        [],
    )
    for number, (log_odds, weight, is_function) in enumerate(_samples(prediction, way)):
        p = [one.add(torch.from_numpy(z), weight) for one, z in zip(kept.sums, log_odds, strict=True)]
        if is_function:
            _keep(kept, torch.stack(p), number, settings)
    return kept


def _keep(kept: _Sampled, p: torch.Tensor, number: int, settings: ExportSettings) -> None:
    """Keep what needs to know which sample it is: `p` (T, X, Y, Z) of sample `number`."""
    fold, within = divmod(number, settings.samples_per_fold)
    for one, here in zip(kept.variances, p, strict=False):
        one.add(here, fold, within % settings.flips)
    kept.masks.append(_labels(p.numpy(), settings, settings.threshold))
    if settings.member_thresholds:
        kept.members.append(_labels(p.numpy(), settings, settings.member_thresholds[number]))


def _samples(prediction: Prediction, way: WayBack) -> Iterator[tuple[Float, float, bool]]:
    """Log-odds (T, X, Y, Z) of each sample, its weight, and whether lesions of it mean something.

    In closed form only moments are known: nodes of a quadrature stand for the samples, and are none of them.
    """
    for number, mean in enumerate(prediction.log_odds):
        here = way.resample(mean)
        if prediction.spread is None:
            yield here, 1.0, True
            continue
        spread = np.maximum(way.resample(prediction.spread[number]), 0)
        for node, weight in zip(*(x.tolist() for x in quadrature()), strict=True):
            yield (here + node * spread).astype(np.float32), weight, False


def _labels(probability: Float, settings: ExportSettings, threshold: float) -> npt.NDArray[np.uint8]:
    """Label map (X, Y, Z) of (T, X, Y, Z): the likeliest lesion type where it exceeds the threshold."""
    values = np.array([value for _, value in settings.classes], dtype=np.uint8)
    best = probability.argmax(axis=0)
    return np.where(probability.max(axis=0) > threshold, values[best], 0).astype(np.uint8)


def _rows(
    lesions: Lesions,
    value: int,
    maps: Mapping[str, Float],
    sampled: _Sampled,
    content: Bool,
    settings: ExportSettings,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Table of the lesions of one type, and the case's row."""
    measures = {name: maps[name] for name in MEASURES}
    samples = [label_sample(mask == value, lesions.grid) for mask in sampled.masks]
    table = lesion_rows(lesions, samples, maps[PROBABILITY], measures)
    row = patient_row(lesions, samples, maps[PROBABILITY], measures, content, settings.minimum_voxels)
    if sampled.members:
        members = [label_sample(mask == value, lesions.grid) for mask in sampled.members]
        table["lsu_plus"], row["psu_plus"] = structural_uncertainty(lesions, members, settings.minimum_voxels)
    return table, {"n_samples": float(len(samples)), **row}


def _write_maps(
    case: ImageCase, lesion_type: str, maps: Mapping[str, Float], way: WayBack, settings: ExportSettings
) -> None:
    suffix = "" if len(settings.classes) == 1 else f"_{lesion_type}"
    for name in (PROBABILITY, *settings.maps):
        if name in maps:
            way.write_map(maps[name], settings.out / name / f"{case.case_id}{suffix}.nii.gz", outside(name))


def _draw(
    case: ImageCase,
    background: npt.NDArray[Any],
    labels: npt.NDArray[np.uint8],
    sampled: _Sampled,
    lesions: pd.DataFrame,
    way: WayBack,
    settings: ExportSettings,
) -> None:
    draw_mosaic(
        settings.out / QC / f"{case.case_id}.png",
        background,
        labels,
        # the total uncertainty of the mean prediction: the one measure that a single sample has as well
        sampled.sums[0].measures()["entropy"],
        lesions,
        way.box_grid,
        f"{case.case_id}: {settings.rater}" + (f", {settings.note} data" if settings.note else ""),
        settings.samples_note,
    )


def _write_rows(case: ImageCase, lesions: pd.DataFrame, rows: list[dict[str, Any]], settings: ExportSettings) -> None:
    place = {"case_id": case.case_id, "patient_id": case.patient_id, "visit": case.visit, "week": case.week}
    labelled = lesions.assign(**place, rater=settings.rater, data_note=settings.note)
    first = [name for name in tables.LESIONS.names if name in labelled]
    labelled = labelled[[*first, *(name for name in labelled if name not in first)]]
    of_case = pd.DataFrame([{**place, "role": "test", "rater": settings.rater, **row} for row in rows])
    with whole_folder(settings.out / DONE / case.case_id, replace=True) as folder:
        tables.write_table(labelled, folder / "lesions.csv")
        tables.write_table(of_case.assign(data_note=settings.note), folder / "cases.csv")


def is_done(case_id: str, settings: ExportSettings) -> bool:
    """Whether a case's files are all there: its rows are written last."""
    files = (settings.out / f"{case_id}.nii.gz", settings.out / DONE / case_id / "cases.csv")
    return all(path.exists() for path in files)
