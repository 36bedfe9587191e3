"""Where the lesions of each visit lie: in the terms of the McDonald criteria, by the MNI152 template and own fluid.

Written into `lesions.csv` (`location` and what it follows from) and `places.csv` (number and volume by place) [1]_. The
classes and their limits are those of `lesions.features.locate`; cortical lesions are counted as juxtacortical, for a
FLAIR does not tell them apart. Where a brain does not fit the template, or none is seen, places are `unknown`.

References
----------
.. [1] Thompson AJ et al. Lancet Neurol 17:162-173, 2018. doi:10.1016/S1474-4422(17)30470-2
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nnunet_ms.arrays import Bools, Matrix
from nnunet_ms.dataset_conversion.cases import place_in_time
from nnunet_ms.dataset_conversion.resume_notes import recall, remember
from nnunet_ms.errors import ImageError
from nnunet_ms.images.grids import onto_grid
from nnunet_ms.images.patient_regions import BrainPlace, needed_fit, place_again, place_brain, regions_of
from nnunet_ms.images.volumes import Volume, read_mask, read_volume
from nnunet_ms.lesions.features import locate
from nnunet_ms.lesions.labelling import without_small
from nnunet_ms.parallel import Failure, Workers, map_cases
from nnunet_ms.segmentation.prepared_scans import Prepared
from nnunet_ms.segmentation.results import ScanWarning
from nnunet_ms.segmentation.scan_warnings import NO_HEAD_MM
from nnunet_ms.tables import VISITS, VOLUME_LIMIT_ML, Column, Table
from nnunet_ms.trainers.prediction.lesion_uncertainty import MINIMUM_VOXELS, label_sample
from nnunet_ms.trainers.training_range import brain_of
from nnunet_ms.versions import version_of

UNKNOWN = "unknown"
LOCATIONS = ("periventricular", "juxtacortical", "infratentorial", "deep_white_matter", UNKNOWN)
MEASURES = ("ventricles_mm", "cortex_mm", "infratentorial_share")
NOT_TOLD = "places of lesions are not told"
PLACES = Table(
    "places",
    (
        *(column for column in VISITS.columns if column.name in (*VISITS.key, "patient_id", "visit", "week")),
        Column("location", "category"),
        Column("lesion_count", "integer", minimum=0),
        Column("volume_ml", "number", minimum=0, maximum=VOLUME_LIMIT_ML),
        Column("mni_dice", "number", blank=True, minimum=0, maximum=1),
        Column("ventricle_contrast", "number", blank=True),
    ),
    key=(*VISITS.key, "location"),
)


@dataclass(frozen=True)
class Placed:
    """Scans with what is to be said of their places, `lesions.csv` with them, `places.csv`, and lines to tell."""

    prepared: list[Prepared]
    lesions: pd.DataFrame
    places: pd.DataFrame
    notes: list[str]
    failures: list[Failure]


@dataclass(frozen=True)
class _Visit:
    """Places of one visit: rows by lesion, the fit, and why there is none."""

    case_id: str
    rows: tuple[Mapping[str, Any], ...]
    note: str
    dice: float | None = None
    contrast: float | None = None
    warning: ScanWarning | None = None

    @property
    def is_told(self) -> bool:
        """Whether its lesions have places; it may have no lesion."""
        return self.dice is not None and self.warning is None


def place_lesions(
    prepared: Sequence[Prepared],
    lesions: pd.DataFrame,
    visits: pd.DataFrame,
    predictions: Path,
    classes: Sequence[tuple[str, int]],
    memory: Path,
    workers: Workers = 1,
) -> Placed:
    """Tell the place of every lesion; the visits of a patient, who lies alike in all of them, by one transform.

    Parameters
    ----------
    prepared : sequence of Prepared
        Scans that were predicted.
    lesions, visits : pandas.DataFrame
        `lesions.csv` and `visits.csv` of the prediction.
    predictions : Path
        Folder of the masks `<case>.nii.gz`.
    classes : sequence of (str, int)
        Lesion types, called as in the tables, and their labels.
    memory : Path
        Notes, so that what is done is not done again.
    workers : int or Dask, optional
        Processes, each for one patient.
    """
    patients: dict[str, list[Prepared]] = {}
    for one in sorted(prepared, key=lambda one: place_in_time(one.case)):
        patients.setdefault(one.case.patient_id, []).append(one)
    work = partial(_patient, predictions=predictions, classes=tuple(classes), memory=memory)
    done = map_cases(
        work, list(patients.values()), lambda one: f"places of {one[0].case.patient_id}", "places", workers
    )
    found = {visit.case_id: visit for part in done.results for visit in part}
    told = [_told(one, found.get(one.case.case_id)) for one in prepared]
    lines = [f"{one.case.case_id}: {found[one.case.case_id].note}" for one in prepared if one.case.case_id in found]
    table = _with_places(lesions, found)
    return Placed(told, table, _counts(table, visits, found), lines, list(done.failures))


def _told(one: Prepared, visit: _Visit | None) -> Prepared:
    if visit is None:
        return one
    warnings = () if visit.warning is None else (visit.warning,)
    return replace(
        one, notes=(*one.notes, f"{visit.note[0].upper()}{visit.note[1:]}."), warnings=(*one.warnings, *warnings)
    )


def _with_places(lesions: pd.DataFrame, found: Mapping[str, _Visit]) -> pd.DataFrame:
    """The table with the columns of the place; lesions of visits whose places are not told are `unknown`."""
    known = {(case, row["lesion_type"], row["lesion_id"]): row for case, v in found.items() for row in v.rows}
    keys = zip(lesions["case_id"], lesions["lesion_type"].astype(str), lesions["lesion_id"], strict=True)
    told = {case for case, visit in found.items() if visit.is_told}
    rows = [
        known[case, kind, int(number)] if case in told else {}  # one that is missing is a bug, and keeps its traceback
        for case, kind, number in keys
    ]
    names = pd.Series([row.get("location", UNKNOWN) for row in rows], index=lesions.index, dtype=object)
    numbers = {
        name: pd.Series([row.get(name, np.nan) for row in rows], index=lesions.index, dtype=float) for name in MEASURES
    }
    return lesions.assign(location=names, **numbers)


def _counts(lesions: pd.DataFrame, visits: pd.DataFrame, found: Mapping[str, _Visit]) -> pd.DataFrame:
    """One row per visit, lesion type and place, also of places without a lesion; `unknown` alone where none is told."""
    rows = []
    for visit in visits.to_dict("records"):
        here = lesions[(lesions["case_id"] == visit["case_id"]) & (lesions["lesion_type"] == visit["lesion_type"])]
        fit = found.get(str(visit["case_id"]))
        is_told = fit is not None and fit.is_told
        for location in LOCATIONS[:-1] if is_told else (UNKNOWN,):
            volumes = here.loc[here["location"] == location, "volume_ml"]
            rows.append(
                {
                    **{name: visit[name] for name in PLACES.names[:6]},
                    "location": location,
                    "lesion_count": len(volumes),
                    "volume_ml": float(volumes.sum()),
                    "mni_dice": None if fit is None else fit.dice,
                    "ventricle_contrast": None if fit is None else fit.contrast,
                }
            )
    return pd.DataFrame(rows, columns=PLACES.names)


def _patient(
    visits: Sequence[Prepared], predictions: Path, classes: tuple[tuple[str, int], ...], memory: Path
) -> list[_Visit]:
    """Places of all visits of a patient, unless an earlier run has found them."""
    masks = [predictions / f"{one.case.case_id}.nii.gz" for one in visits]
    files = [*masks, *(next(iter(one.images.values())) for one in visits)]
    stamps = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    key = json.dumps([version_of("nnunet-ms"), stamps, classes])
    note = memory / f"{visits[0].case.case_id}.places.json"
    if (known := recall(note, key)) is not None:
        return [_from_note(one) for one in known["visits"]]
    matrix: Matrix | None = None
    found = []
    for one, path in zip(visits, masks, strict=True):
        visit, matrix = _visit(one, path, classes, matrix)
        found.append(visit)
    remember(note, key, {"visits": [_as_note(one) for one in found]})
    return found


def _as_note(visit: _Visit) -> dict[str, Any]:
    warning = None if visit.warning is None else vars(visit.warning)
    return {**vars(visit), "warning": warning}


def _from_note(known: Mapping[str, Any]) -> _Visit:
    warning = None if known["warning"] is None else ScanWarning(**known["warning"])
    return _Visit(**{**known, "rows": tuple(known["rows"]), "warning": warning})


def _visit(
    one: Prepared, mask: Path, classes: Sequence[tuple[str, int]], matrix: Matrix | None
) -> tuple[_Visit, Matrix | None]:
    """Places of one visit, and the transform for the next: that of the visit before where it fits, else its own."""
    sequence, path = next(iter(one.images.items()))
    image = read_volume(path)
    brain = brain_of(image)
    if brain is None or max(np.multiply(image.grid.shape, image.grid.spacing)) < NO_HEAD_MM:
        return _without_brain(one.case.case_id, sequence, image, brain), matrix
    try:
        place = _place(image, brain, matrix, one.place)
    except ImageError as error:
        warning = ScanWarning("places", sequence, str(error), "a brain that fits MNI152", "Look at the image.")
        return _Visit(one.case.case_id, (), f"{NOT_TOLD}: {error}", warning=warning), matrix
    found = partial(_Visit, one.case.case_id, dice=round(place.dice, 4), contrast=round(place.contrast, 4))
    if not place.is_good:
        known = f"{needed_fit()} darker or brighter"
        warning = ScanWarning("places", sequence, place.words, known, "Are skull and voxel sizes right?")
        return found(rows=(), note=f"{NOT_TOLD}: {place.words}", warning=warning), matrix
    told = f"places of lesions: by MNI152, fitted to {sequence} (affine), and fluid: {place.words}"
    rows = _rows(read_mask(mask, labels=range(256)), image, brain, place.matrix, classes)
    return found(rows=rows, note=told), place.matrix


def _without_brain(case_id: str, sequence: str, image: Volume, brain: Bools | None) -> _Visit:
    if brain is None and max(np.multiply(image.grid.shape, image.grid.spacing)) >= NO_HEAD_MM:
        found = f"the skull is left in {sequence}"
        warning = ScanWarning("places", sequence, found, "a brain without its skull", "Give a brain mask.")
        return _Visit(case_id, (), f"{NOT_TOLD}: {found}", warning=warning)
    return _Visit(case_id, (), f"{NOT_TOLD}: {sequence} shows no whole head")


def _place(image: Volume, brain: Bools, matrix: Matrix | None, known: BrainPlace | None) -> BrainPlace:
    """By the visit before, else by what was found when the scan was prepared, else by a search."""
    for one in (matrix, None if known is None else known.matrix):
        if one is not None and (again := place_again(image, brain, one)).is_good:
            return again
    return place_brain(image, brain) if known is None else known


def _rows(
    mask: Volume, image: Volume, brain: Bools, matrix: Matrix, classes: Sequence[tuple[str, int]]
) -> tuple[Mapping[str, Any], ...]:
    """One row per lesion, numbered as in `lesions.csv`."""
    labels = onto_grid(mask, image).data
    regions = regions_of(image, brain, matrix) if labels.any() else {}
    rows: list[Mapping[str, Any]] = []
    for name, value in classes:
        lesions = without_small(label_sample(labels == value, image.grid), MINIMUM_VOXELS)
        if lesions.count:
            columns = {column: values.tolist() for column, values in locate(lesions, regions).items()}
            numbered = zip(*columns.values(), strict=True)
            rows += [
                {"lesion_type": name, "lesion_id": number, **dict(zip(columns, values, strict=True))}
                for number, values in enumerate(numbered, start=1)
            ]
    return tuple(rows)
