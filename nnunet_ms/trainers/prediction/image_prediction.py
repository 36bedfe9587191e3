"""One image's prediction in memory: arrays on the image's own grid, tables, a picture, and files on request."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure

from nnunet_ms import tables
from nnunet_ms.arrays import SingleFloats
from nnunet_ms.errors import ModelError, SettingsError
from nnunet_ms.images.volumes import Grid, write_volume
from nnunet_ms.outputs import whole_folder
from nnunet_ms.trainers.prediction.case_measures import PROBABILITY, Measured, accumulate, label_map, measured_types
from nnunet_ms.trainers.prediction.export import (
    QC,
    ExportSettings,
    case_tables,
    draw_visits,
    map_files,
    write_change_masks,
)
from nnunet_ms.trainers.prediction.given_channels import GivenChannels, prepare_channels
from nnunet_ms.trainers.prediction.image_cases import ImageCase
from nnunet_ms.trainers.prediction.likeness import check_usable, unlike
from nnunet_ms.trainers.prediction.output_folder import add_time, record_of, write_record
from nnunet_ms.trainers.prediction.pictures import draw_mosaic, mosaic
from nnunet_ms.trainers.prediction.rim_tables import RimParts, case_rims, write_rim_tables
from nnunet_ms.trainers.prediction.tiles import TileRunner
from nnunet_ms.trainers.prediction.time_taken import Stopwatch
from nnunet_ms.trainers.prediction.visit_tables import write_visits
from nnunet_ms.trainers.prediction.voxel_uncertainty import outside
from nnunet_ms.trainers.prediction.way_back import WayBack


@dataclass(frozen=True)
class TypeMaps:
    """Maps of one lesion type: the mean probability, and uncertainties by name, (X, Y, Z) float32 arrays."""

    probability: SingleFloats
    uncertainty: Mapping[str, SingleFloats]


@dataclass(frozen=True)
class _Drawn:
    """What a picture and files need besides: in the crop, channels and entropy; patients of cases that are known."""

    way: WayBack
    settings: ExportSettings
    images: list[npt.NDArray[Any]]
    entropy: SingleFloats
    record: dict[str, Any]
    patients: Mapping[str, str]
    spent: Mapping[str, Any]
    rims: RimParts | None = None


@dataclass(frozen=True, repr=False, eq=False)
class ImagePrediction:
    """What a model says of one image.

    Attributes
    ----------
    mask : (X, Y, Z) uint8 array
        Label values where the mean probability exceeds the threshold; on the image's own grid, as all arrays here.
    affine : (4, 4) float array
        Voxel -> world in mm.
    types : mapping
        Lesion type -> `TypeMaps`.
    lesions : pandas.DataFrame
        One row per lesion: `lesion_type`, `lesion_id`, `voxels`, `volume_ml`, place (`x_mm`, `y_mm`, `z_mm`),
        `uncertainty` (LSU), `mean_probability`, and each measure's mean; no rows without lesions.
    patient : pandas.DataFrame
        One row per lesion type: `lesion_count`, `volume_ml`, `expected_volume_ml`, `psu`, `mean_lsu`, what the samples
        say of volume and count, and the measures' means over the image's content.
    notes : tuple of str
        What did not go as asked, such as a GPU whose memory was too small, and how the image is unlike those that the
        model was trained on.
    """

    mask: npt.NDArray[np.uint8]
    affine: npt.NDArray[np.float64]
    types: Mapping[str, TypeMaps]
    lesions: pd.DataFrame
    patient: pd.DataFrame
    notes: tuple[str, ...]
    _drawn: _Drawn

    @property
    def probability(self) -> SingleFloats:
        """Mean probability, of a model with one lesion type; else ModelError, see `types`."""
        return self._single().probability

    @property
    def uncertainty(self) -> Mapping[str, SingleFloats]:
        """Maps of uncertainty by name, of a model with one lesion type; else ModelError, see `types`."""
        return self._single().uncertainty

    def _single(self) -> TypeMaps:
        if len(self.types) > 1:
            names = list(self.types)
            raise ModelError(f"this model has lesion types {names}. Take .types[{names[0]!r}] or another of them.")
        return next(iter(self.types.values()))

    def __repr__(self) -> str:
        rows = self.patient.itertuples()
        found = ", ".join(f"{row.lesion_count:.0f} {row.lesion_type} of {row.volume_ml:.2f} ml" for row in rows)
        return f"<ImagePrediction {'x'.join(map(str, self.mask.shape))}: {found}>"

    def plot(self, title: str = "") -> Figure:
        """Draw slices with the mask's outline, and with the entropy laid over; a matplotlib figure."""
        settings = self._drawn.settings
        return mosaic(*self._picture(), title or settings.rater, settings.samples_note)

    def _picture(self) -> tuple[npt.NDArray[Any], npt.NDArray[Any], SingleFloats, pd.DataFrame, Grid]:
        way, first = self._drawn.way, next(iter(self.types))
        of_first = self.lesions[self.lesions["lesion_type"] == first]
        background = self._drawn.images[self._drawn.settings.background_channel]
        return background, self.mask[way.box], self._drawn.entropy, of_first, way.box_grid

    def save(self, folder: str | Path, case_id: str = "image") -> Path:
        """Write what `nnunet-ms-predict` writes of a folder with this image alone, complete or not at all.

        Parameters
        ----------
        folder : str or Path
            Made; must not exist, or be empty.
        case_id : str, optional
            Name of the files, and of the case in the tables.

        Returns
        -------
        Path
            The mask; beside it maps in folders of their own, `lesions.csv`, `cases.csv`, `prediction.json`, a picture.

        Raises
        ------
        SettingsError
            If there is something in the folder, or the name is none for a file.
        """
        target, drawn = Path(folder), self._drawn
        if Path(case_id).name != case_id or case_id.strip(". ") == "":
            raise SettingsError(f"case_id: expected a name for files, found {case_id!r}. Choose another.")
        if target.exists() and not (target.is_dir() and not any(target.iterdir())):
            raise SettingsError(f"{target}: expected a new or empty folder, found something in it. Choose another.")
        with whole_folder(target, replace=True) as partial:
            labels = self.mask[drawn.way.box]
            drawn.way.write_mask(labels, partial / f"{case_id}.nii.gz")
            write_change_masks(labels, drawn.way, partial, case_id, drawn.settings.measuring)
            for lesion_type, maps in self.types.items():
                for name, path in map_files(partial, case_id, lesion_type, drawn.settings.measuring).items():
                    values = maps.probability if name == PROBABILITY else maps.uncertainty[name]
                    write_volume(path, values, self.affine)
            write_record(drawn.record, partial)
            self._write_tables(partial, case_id)
            title = f"{case_id}: {drawn.settings.rater}" + (
                f", {drawn.settings.note} data" if drawn.settings.note else ""
            )
            draw_mosaic(partial / QC / f"{case_id}.png", *self._picture(), title, drawn.settings.samples_note)
            draw_visits(partial, case_id, drawn.images, labels, drawn.way.box_grid, drawn.settings)
        return target / f"{case_id}.nii.gz"

    def _write_tables(self, folder: Path, case_id: str) -> None:
        settings, rows = self._drawn.settings, self.patient.to_dict(orient="records")
        case = ImageCase(case_id, (), self._drawn.patients.get(case_id, case_id))
        of_lesions, of_case = case_tables(case, [self.lesions], rows, settings, self._drawn.spent)
        tables.write_table(of_lesions, folder / "lesions.csv")
        tables.write_table(of_case, folder / "cases.csv")
        add_time(folder, of_case)
        visits = write_visits([case], folder, settings.measuring, settings.rater, settings.note)
        rims, decision = self._drawn.rims, settings.measuring.rim
        if rims is not None and decision is not None:
            write_rim_tables([case_rims(rims, case, settings.rater)], visits, folder, decision)


def predict_image(runner: TileRunner, settings: ExportSettings, given: GivenChannels) -> ImagePrediction:
    """Predict one image: the same numbers as the files of `export.export_case`, in memory.

    Parameters
    ----------
    runner : TileRunner
        Model, sampling, device.
    settings : ExportSettings
        What is measured, and the words of picture and tables; `out` is not used.
    given : GivenChannels
        The image.
    """
    started = time.monotonic()
    check_usable(given.volumes, runner.model)
    data, properties = prepare_channels(given, runner.model)
    watch = Stopwatch(runner.device)
    prepare_s = time.monotonic() - started
    prediction, measuring = runner.predict(data), settings.measuring
    cost, predicted_at = watch.cost(prepare_s, runner.device), time.monotonic()
    way = WayBack(settings.plans, settings.configuration, properties, given.volumes[0].grid)
    sampled = accumulate(prediction, way, measuring)
    labels = label_map(sampled, measuring)
    content = np.logical_or.reduce([volume.data[way.box] != 0 for volume in given.volumes])
    types, lesions, rows, entropy, rims = {}, [], [], None, None
    for found in measured_types(prediction, sampled, labels, content, way, measuring):
        types[found.lesion_type] = maps = _on_the_image(found, way, measuring.maps)
        if found.row:  # not of a rim, which is a part of a lesion
            lesions.append(found.lesions)
            rows.append(found.row)
            rims = found.rims
        if entropy is None:  # the first type's, as in the command's pictures; a view where the map is kept anyway
            entropy = maps.uncertainty["entropy"][way.box] if "entropy" in maps.uncertainty else found.maps["entropy"]
    assert entropy is not None
    images = [volume.data[way.box] for volume in given.volumes]
    record = record_of(runner, measuring, settings.rater, settings.note)
    patients = runner.model.dataset_json.get("patients", {})
    spent = cost.columns(time.monotonic() - predicted_at)
    return ImagePrediction(
        mask=way.whole(labels, 0),
        affine=way.grid.affine,
        types=types,
        lesions=pd.concat(lesions, ignore_index=True),
        patient=pd.DataFrame(rows),
        notes=(*runner.notes, *unlike(given.volumes, runner.model)),
        _drawn=_Drawn(way, settings, images, entropy, record, patients, spent, rims),
    )


def _on_the_image(found: Measured, way: WayBack, asked: tuple[str, ...]) -> TypeMaps:
    probability = way.whole(found.maps[PROBABILITY], outside(PROBABILITY))
    return TypeMaps(probability, {name: way.whole(found.maps[name], outside(name)) for name in asked})
