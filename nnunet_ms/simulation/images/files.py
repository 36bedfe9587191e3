"""Simulated images on disk: one folder per visit, complete or absent, so that an interrupted run can go on."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nnunet_ms import tables
from nnunet_ms.errors import SettingsError
from nnunet_ms.images.volumes import write_volume
from nnunet_ms.locks import sole_run
from nnunet_ms.outputs import remove_leftovers, whole_file, whole_folder
from nnunet_ms.parallel import Failure, Workers, map_cases
from nnunet_ms.simulation.images.lesion_tables import PATIENT_TABLES, measure_patient, write_lesion_tables
from nnunet_ms.simulation.images.phantom import acquire_visit, draw_patient
from nnunet_ms.simulation.model.course import Course
from nnunet_ms.simulation.model.presets import CONTRASTS, GRIDS, PHANTOMS, SCANNER, SUSCEPTIBILITY
from nnunet_ms.simulation.model.streams import Step, stream
from nnunet_ms.simulation.model.trial_presets import WEEKS_PER_YEAR
from nnunet_ms.threads import one_thread

IMAGE_COLUMNS = (*CONTRASTS, "brain_mask", *tables.REFERENCE_MASKS)
PHANTOM_INTERVAL_WEEKS = 24
MANIFEST_COLUMNS = ("patient_id", "visit", "week", *IMAGE_COLUMNS)


@dataclass(frozen=True)
class PhantomSettings:
    """What a set of single scans is made from; the same settings give the same bytes."""

    patients: int
    seed: int
    grid: str
    visits: int = 1


@one_thread
def write_phantoms(settings: PhantomSettings, folder: Path, workers: Workers = 1) -> list[Failure]:
    """Write `settings.visits` scans of each of `settings.patients` brains, with masks and tables, or finish doing so.

    Returns
    -------
    list of Failure
        Patients whose images could not be made; the manifest leaves them out.

    Raises
    ------
    SettingsError
        If `folder` holds something else, or another run is writing into it.
    MachineError
        See `parallel.map_cases`.
    """
    with sole_run(folder):
        return _write_phantoms(settings, folder, workers)


def _write_phantoms(settings: PhantomSettings, folder: Path, workers: Workers) -> list[Failure]:
    content = {"simulated": True, **asdict(settings), "lesions": asdict(PHANTOMS), "scanner": asdict(SCANNER)}
    content |= {"susceptibility": asdict(SUSCEPTIBILITY)}
    claim_folder(folder, "phantom.json", content | {"grid_settings": asdict(GRIDS[settings.grid])})
    cases = range(settings.patients)
    outcome = map_cases(partial(_write_phantom, settings, folder), cases, patient_name, "phantoms", workers)
    failed = {failure.case for failure in outcome.failures}
    names = [name for i in cases if (name := patient_name(i)) not in failed]
    visits = [(name, week) for name in names for week in phantom_weeks(settings.visits)]
    write_lesion_tables(folder, visits)
    rows = [manifest_row(*visit, qsm=True) for visit in visits]
    columns = [*MANIFEST_COLUMNS[:3], *image_columns(qsm=True)]
    tables.write_table(pd.DataFrame(rows, columns=columns), folder / "manifest.csv")
    return outcome.failures


def claim_folder(folder: Path, marker: str, content: dict[str, Any]) -> None:
    """Write `content` as the folder's first file, or check that it is there already and the same.

    Raises
    ------
    SettingsError
        If the folder is in use by something else, or by a simulation with other settings.
    """
    path, text = folder / marker, json.dumps(content, indent=1) + "\n"
    there = sorted(p.name for p in folder.iterdir() if not p.name.startswith(".")) if folder.exists() else []
    if path.is_file():
        _check_same_settings(path, content)
        remove_leftovers(folder)
    elif there:
        raise SettingsError(
            f"{folder}: expected an empty folder or a simulation, found {there[:5]}. Choose another one."
        )
    else:
        remove_leftovers(folder)
        with whole_file(path) as partial_path:
            partial_path.write_text(text, encoding="utf-8")


def write_patient(
    folder: Path, grid: str, course: Course, weeks: Sequence[int], seed: int, index: int, qsm: bool = False
) -> None:
    """Write the visits and tables of one patient that are not complete yet, each complete or absent.

    Parameters
    ----------
    folder : Path
        The simulation's folder.
    grid : str
        Key of `GRIDS`.
    course : Course
        Lesion volumes and new lesions of all scheduled visits.
    weeks : sequence of int
        Weeks of the attended visits: the first entries of `course`.
    seed, index : int
        Key of the random streams; `index` is the patient's, from 0.
    qsm : bool, optional
        Whether there is a map of susceptibility, and a label image of the lesions' numbers, too.
    """
    name = patient_name(index)
    missing = [k for k, week in enumerate(weeks) if not _complete(folder, name, week, qsm)]
    home = folder / "images" / name
    untold = [table for table in PATIENT_TABLES if not (home / f"{table}.csv").is_file()]
    if not missing and not untold:
        return
    patient = draw_patient(GRIDS[grid], course, seed, index, qsm)
    for k in missing:
        visit = acquire_visit(patient, k, stream(seed, Step.ACQUISITION, index, k))
        target = home / visit_name(weeks[k])
        with whole_folder(target, replace=True) as partial_folder:
            for column, data in visit.volumes.items():
                write_volume(partial_folder / f"{column}.nii.gz", data, patient.anatomy.grid.affine)
    if untold:
        visits = [(visit_name(week), week) for week in weeks]
        for table, frame in measure_patient(patient, name, visits, seed, index).items():
            tables.write_table(frame, home / f"{table}.csv")


def patient_name(index: int) -> str:
    """Return the identifier of the patient with this index (from 0): `P001`."""
    return f"P{index + 1:03d}"


def visit_name(week: int) -> str:
    """Return the name of a visit in tables and folders: `week024`."""
    return f"week{week:03d}"


def image_columns(qsm: bool) -> tuple[str, ...]:
    """Return the manifest's columns of images."""
    return (*CONTRASTS, "qsm", "brain_mask", *tables.REFERENCE_MASKS, "rim_mask") if qsm else IMAGE_COLUMNS


def image_paths(patient: str, week: int, qsm: bool = False) -> dict[str, str]:
    """Return the path of each image of a visit, relative to the simulation's folder, by manifest column."""
    return {column: f"images/{patient}/{visit_name(week)}/{column}.nii.gz" for column in image_columns(qsm)}


def manifest_row(patient: str, week: int, qsm: bool = False) -> dict[str, object]:
    """Return one row of the manifest (`tables.MANIFEST`)."""
    return {"patient_id": patient, "visit": visit_name(week), "week": week} | image_paths(patient, week, qsm)


def phantom_weeks(visits: int) -> list[int]:
    """Weeks of the visits of patients without a trial."""
    return [PHANTOM_INTERVAL_WEEKS * k for k in range(visits)]


def phantom_course(settings: PhantomSettings, index: int) -> Course:
    """Draw what the scans of one patient without a trial show."""
    rng = stream(settings.seed, Step.VOLUME, index)
    deviation = rng.standard_normal()
    volume = PHANTOMS.tlv_median_ml * np.exp(PHANTOMS.tlv_log_sd * np.clip(deviation, -2.5, 2.5))
    later = settings.visits - 1
    slope = PHANTOMS.log_slope_per_year + PHANTOMS.log_slope_sd * rng.standard_normal()
    volumes = volume * np.exp(slope * np.array(phantom_weeks(settings.visits)) / WEEKS_PER_YEAR)
    new = rng.poisson(PHANTOMS.new_per_visit, later)
    enhancing = rng.binomial(new, PHANTOMS.enhancing_per_visit / PHANTOMS.new_per_visit)
    return Course(
        tuple(volumes.tolist()),
        (0, *new.tolist()),
        (int(rng.poisson(PHANTOMS.enhancing)), *enhancing.tolist()),
        (0, *rng.poisson(PHANTOMS.new_t1_per_visit, later).tolist()),
        PHANTOMS.black_hole_share,
    )


def _write_phantom(settings: PhantomSettings, folder: Path, index: int) -> None:
    course, weeks = phantom_course(settings, index), phantom_weeks(settings.visits)
    write_patient(folder, settings.grid, course, weeks, settings.seed, index, qsm=True)


def _complete(folder: Path, patient: str, week: int, qsm: bool) -> bool:
    return all((folder / path).is_file() for path in image_paths(patient, week, qsm).values())


def _check_same_settings(path: Path, content: dict[str, Any]) -> None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SettingsError(
            f"{path}: expected a simulation's settings, cannot read them ({error}). Choose another folder."
        ) from error
    expected, other = _settings(json.loads(json.dumps(content))), _settings(found)
    different = [key for key in {**expected, **other} if expected.get(key) != other.get(key)]
    if different:
        key = different[0]
        raise SettingsError(
            f"{path.parent}: holds a simulation with other settings: {key} is {other.get(key)}, asked for "
            f"{expected.get(key)}. Repeat its settings to finish it, or choose another folder."
        )


def _settings(content: object) -> dict[str, object]:
    """Flatten all but the true statistics: they follow from the settings, with rounding that differs by processor."""
    flat = _flat(content)
    flat.pop("truth", None)
    return flat


def _flat(value: object, prefix: str = "") -> dict[str, object]:
    if isinstance(value, dict):
        parts = [_flat(item, f"{prefix}.{key}".lstrip(".")) for key, item in value.items()]
        return {key: item for part in parts for key, item in part.items()}
    return {prefix: value}
