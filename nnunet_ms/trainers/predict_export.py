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
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_ms import tables
from nnunet_ms.images import Grid, read_volume, write_volume
from nnunet_ms.outputs import whole_file, whole_folder
from nnunet_ms.trainers.networks.closed_form import quadrature
from nnunet_ms.trainers.predict_cases import ImageCase
from nnunet_ms.trainers.predict_pictures import draw_mosaic
from nnunet_ms.trainers.predict_tiles import Prediction
from nnunet_ms.trainers.uncertainty import MEASURES, VoxelUncertainty, outside
from nnunet_ms.trainers.uncertainty_lesions import label_lesions, lesion_rows, patient_row

PROBABILITY, DETERMINISTIC, QC, DONE = "probability", "deterministic", "qc", ".done"
MAPS = (*MEASURES, DETERMINISTIC)

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
        The first lesion type's numbers, see `uncertainty_lesions.patient_row`.
    """
    way = _WayBack(settings, properties, grid)
    sums, masks = _accumulate(prediction, way, settings)
    mean = np.stack([one.mean() for one in sums])
    labels = _labels(mean, settings)
    way.write_mask(labels, settings.out / f"{case.case_id}.nii.gz")
    images = [read_volume(path).data for path in case.files]
    content = np.logical_or.reduce([image[way.box] != 0 for image in images])
    lesion_tables, rows = [], []
    for number, (lesion_type, value) in enumerate(settings.classes):
        measures = sums[number].measures()
        own = [mask == value for mask in masks]
        lesions = label_lesions(labels == value, settings.minimum_voxels)
        lesion_tables.append(
            lesion_rows(lesions, own, mean[number], measures, way.box_grid).assign(lesion_type=lesion_type)
        )
        row = patient_row(lesions, own, mean[number], measures, content, way.box_grid, settings.minimum_voxels)
        rows.append({"lesion_type": lesion_type, "n_samples": float(len(own)), **row})
        suffix = "" if len(settings.classes) == 1 else f"_{lesion_type}"
        maps = {PROBABILITY: mean[number], **{name: measures[name] for name in settings.maps if name in measures}}
        if DETERMINISTIC in settings.maps and prediction.deterministic is not None:
            maps[DETERMINISTIC] = way.mean_probability(prediction.deterministic[:, number])
        for name, values in maps.items():
            way.write_map(values, settings.out / name / f"{case.case_id}{suffix}.nii.gz", outside(name))
    if settings.pictures:
        # the total uncertainty of the mean prediction: the one measure that a single sample has as well
        draw_mosaic(
            settings.out / QC / f"{case.case_id}.png",
            images[settings.background_channel][way.box],
            labels,
            sums[0].measures()["entropy"],
            lesion_tables[0],
            way.box_grid,
            f"{case.case_id}: {settings.rater}" + (f", {settings.note} data" if settings.note else ""),
            settings.samples_note,
        )
    _write_rows(case, pd.concat(lesion_tables), rows, settings)
    return {name: value for name, value in rows[0].items() if isinstance(value, float)}


class _WayBack:
    """From the preprocessed grid to the image: resampling, and where the crop lies in the file (X, Y, Z)."""

    def __init__(self, settings: ExportSettings, properties: dict[str, Any], grid: Grid) -> None:
        self.plans = PlansManager(settings.plans)
        self.configuration = self.plans.get_configuration(settings.configuration)
        self.properties, self.grid = properties, grid
        backward = self.plans.transpose_backward
        self.order = [backward[axis] for axis in (2, 1, 0)]  # reader's (z, y, x), then the file's (x, y, z)
        limits = [properties["bbox_used_for_cropping"][axis] for axis in self.order]
        self.box = tuple(slice(int(low), int(high)) for low, high in limits)
        affine = grid.affine.copy()
        affine[:3, 3] += affine[:3, :3] @ np.array([part.start for part in self.box], dtype=float)
        self.box_grid = Grid(tuple(part.stop - part.start for part in self.box), affine)

    def resample(self, volumes: Float) -> Float:
        """(T, z, y, x) on the preprocessed grid -> (T, X, Y, Z) in the box."""
        spacing = [self.properties["spacing"][axis] for axis in self.plans.transpose_forward]
        resampled = self.configuration.resampling_fn_probabilities(
            volumes,
            self.properties["shape_after_cropping_and_before_resampling"],
            self.configuration.spacing,
            spacing,
        )
        in_file_order = np.asarray(resampled, dtype=np.float32).transpose([0, *(1 + axis for axis in self.order)])
        return np.ascontiguousarray(in_file_order)

    def mean_probability(self, log_odds: Float) -> Float:
        """(folds, z, y, x) -> mean probability (X, Y, Z) in the box."""
        return np.mean(
            [torch.sigmoid(torch.from_numpy(self.resample(one[None])[0])).numpy() for one in log_odds], axis=0
        )

    def write_map(self, values: Float, path: Path, around: float) -> None:
        """Write a map of the box on the whole image's grid."""
        whole = np.full(self.grid.shape, around, dtype=np.float32)
        whole[self.box] = values
        write_volume(path, whole, self.grid.affine)

    def write_mask(self, labels: npt.NDArray[np.uint8], path: Path) -> None:
        """Write the mask with nnU-Net's own writer."""
        whole = np.zeros(self.grid.shape, dtype=np.uint8)
        whole[self.box] = labels
        with whole_file(path) as partial:
            self.plans.image_reader_writer_class().write_seg(whole.transpose(2, 1, 0), str(partial), self.properties)


def _accumulate(
    prediction: Prediction, way: _WayBack, settings: ExportSettings
) -> tuple[list[VoxelUncertainty], list[npt.NDArray[np.uint8]]]:
    """Sums per lesion type, and the label map of every sample."""
    sums = [VoxelUncertainty(way.box_grid.shape) for _ in settings.classes]
    masks = []
    for log_odds, weight, is_function in _samples(prediction, way):
        p = [one.add(torch.from_numpy(z), weight) for one, z in zip(sums, log_odds, strict=True)]
        if is_function:
            masks.append(_labels(np.stack([one.numpy() for one in p]), settings))
    return sums, masks


def _samples(prediction: Prediction, way: _WayBack) -> Iterator[tuple[Float, float, bool]]:
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


def _labels(probability: Float, settings: ExportSettings) -> npt.NDArray[np.uint8]:
    """Label map (X, Y, Z) of (T, X, Y, Z): the likeliest lesion type where it exceeds the threshold."""
    values = np.array([value for _, value in settings.classes], dtype=np.uint8)
    best = probability.argmax(axis=0)
    return np.where(probability.max(axis=0) > settings.threshold, values[best], 0).astype(np.uint8)


def _write_rows(case: ImageCase, lesions: pd.DataFrame, rows: list[dict[str, Any]], settings: ExportSettings) -> None:
    place = {"case_id": case.case_id, "patient_id": case.patient_id, "visit": case.visit, "week": case.week}
    labelled = lesions.assign(**place, rater=settings.rater, data_note=settings.note)
    first = [name for name in tables.LESIONS.names if name in labelled]
    labelled = labelled[[*first, *(name for name in labelled if name not in first)]]
    of_case = pd.DataFrame([{**place, "role": "test", "rater": settings.rater, **row} for row in rows])
    with whole_folder(settings.out / DONE / case.case_id, replace=True) as folder:
        tables.write_table(labelled, folder / "lesions.csv")
        tables.write_table(of_case.assign(data_note=settings.note), folder / "cases.csv")


def files_of(case_id: str, settings: ExportSettings) -> Mapping[str, Path]:
    """The files that a finished case has, besides maps of several lesion types."""
    return {"mask": settings.out / f"{case_id}.nii.gz", "rows": settings.out / DONE / case_id / "cases.csv"}
