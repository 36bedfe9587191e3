"""Lesion tables of simulated images: what the reference masks hold, what a simulated reader sees, what is true.

Tables of one patient lie beside its images, and are gathered when all patients are done.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from nnunet_ms import tables
from nnunet_ms.arrays import Bools, Floats
from nnunet_ms.images.volumes import Grid, Volume
from nnunet_ms.lesions.change import ChangeRule, lesion_change
from nnunet_ms.lesions.labelling import Lesions, find_lesions, lesions_of_labels
from nnunet_ms.lesions.overlap import count_overlap
from nnunet_ms.lesions.rows import lesion_columns
from nnunet_ms.simulation.images.lesion_shapes import NEVER, small_components
from nnunet_ms.simulation.images.mask_reader import Reader, read_again
from nnunet_ms.simulation.images.phantom import Patient, VisitMasks, visit_masks
from nnunet_ms.simulation.model.streams import Step, stream
from nnunet_ms.simulation.model.table_reader import RATER

Masks = dict[str, Bools]
CHANGES = ("new_lesion_count", "enlarging_lesion_count", "previous_week")  # blank at a first visit

PATIENT_TABLES = ("lesions", "visits", "lesion_truth")
TRUTH_COLUMNS = (
    *("case_id", "patient_id", "visit", "week", "lesion_id", "voxels", "volume_ml", "x_mm", "y_mm", "z_mm"),
    *("first_visit", "new", "enhancing", "t1_unenhancing", "rim"),
)


def measure_patient(
    patient: Patient, name: str, visits: Sequence[tuple[str, int]], seed: int, index: int
) -> dict[str, pd.DataFrame]:
    """Return the tables `PATIENT_TABLES` of one patient.

    Parameters
    ----------
    patient : Patient
    name : str
        The patient's identifier.
    visits : sequence of (str, int)
        Name and week of the attended visits, in the order of the patient's course.
    seed, index : int
        Key of the reader's random streams.
    """
    lesions: list[tuple[object, ...]] = []
    rows: list[tuple[object, ...]] = []
    truth: list[tuple[object, ...]] = []
    missed = stream(seed, Step.READER, index).random(len(patient.lesions))
    grid = patient.anatomy.grid
    before: dict[str, dict[str, Lesions]] = {}
    masks_before: dict[str, Masks] = {}
    for k, (visit, week) in enumerate(visits):
        found = visit_masks(patient, k)
        reader = read_visit(found, patient, missed, stream(seed, Step.READER, index, k))
        case = (f"{name}_{visit}", name, visit, week)
        masks = {tables.REFERENCE: _lesion_masks(found), RATER: reader}
        now = {rater: _lesions(of_rater, grid) for rater, of_rater in masks.items()}
        for rater, of_rater in now.items():
            for kind, of_mask in of_rater.items():
                lesions += [(*case, rater, kind, *row) for row in _rows(of_mask)]
                new = None if k == 0 else _count_new(of_mask, before[rater][kind])
                pair = () if k == 0 else (masks_before[rater][kind], masks[rater][kind])
                larger = _count_enlarging(*pair, grid) if pair and kind == "t2_lesions" else None
                size = (of_mask.count, round(of_mask.volume_ml, 6))
                rims = _count_rims(patient, found, masks[rater][kind]) if kind == "t2_lesions" else None
                rows.append((*case, rater, kind, *size, new, larger, visits[k - 1][1] if k else None, rims))
        truth += [(*case, *row) for row in _true_lesions(patient, found, k)]
        before, masks_before = now, masks
    return {
        "lesions": pd.DataFrame(lesions, columns=tables.LESIONS.names[:-1]),
        "visits": _visit_table(rows, has_qsm=patient.anatomy.iron is not None),
        "lesion_truth": pd.DataFrame(truth, columns=TRUTH_COLUMNS),
    }


def read_visit(found: VisitMasks, patient: Patient, missed: Floats, rng: np.random.Generator) -> Masks:
    """Masks of the simulated reader: `reader.read_again`, but a lesion missed at one visit is missed at all.

    Parameters
    ----------
    found : VisitMasks
        The reference.
    patient : Patient
    missed : (lesions,) float array
        A uniform number per lesion, the same at every visit: readers compare a patient's visits.
    rng : numpy.random.Generator
        For borders and invented lesions.
    """
    reader, lesions = Reader(), found.masks["t2_lesions"] > 0
    sizes = np.bincount(found.owner[lesions], minlength=len(patient.lesions) + 1)[1:]
    overlooked = missed < np.where(sizes <= reader.small_voxels, reader.miss_small, reader.miss_large)
    kept = lesions & ~np.concatenate([[False], overlooked])[found.owner]
    tissue = patient.anatomy.brain & (patient.anatomy.csf < 0.5)
    t2 = read_again(kept, tissue, patient.anatomy.grid.spacing, rng, replace(reader, miss_small=0.0, miss_large=0.0))
    # T1 lesions are parts of T2 lesions; too small a part is no lesion
    return {"t2_lesions": t2} | {
        kind: _without_small(t2 & (found.masks[kind] > 0)) for kind in tables.REFERENCE_MASKS if kind != "t2_lesions"
    }


def write_lesion_tables(folder: Path, visits: Sequence[tuple[str, int]]) -> None:
    """Gather the patients' tables in `folder`, for the patients of `visits` (patient, week)."""
    patients = list(dict.fromkeys(name for name, _ in visits))
    for table in PATIENT_TABLES:
        frames = [
            pd.read_csv(folder / "images" / name / f"{table}.csv", float_precision="round_trip") for name in patients
        ]
        filled = [frame for frame in frames if len(frame)] or frames
        gathered = pd.concat(filled, ignore_index=True) if filled else pd.DataFrame()
        gathered = gathered.astype({name: "Int64" for name in (*CHANGES, tables.PRL_COUNT) if name in gathered})
        tables.write_table(gathered, folder / f"{table}.csv")


def _visit_table(rows: list[tuple[object, ...]], has_qsm: bool) -> pd.DataFrame:
    """Rows of visits; rim lesions are counted where there is a map that shows them."""
    frame = pd.DataFrame(rows, columns=tables.VISITS.names)
    frame = frame if has_qsm else frame.drop(columns=tables.PRL_COUNT)
    return frame.astype({name: "Int64" for name in (*CHANGES, tables.PRL_COUNT) if name in frame})


def _count_rims(patient: Patient, found: VisitMasks, mask: Bools) -> int:
    """Simulated lesions with a rim that a mask holds a part of; confluent lesions are told apart."""
    there = np.unique(found.owner[mask & (found.owner > 0)])
    return sum(patient.lesions[number - 1].rim for number in there.tolist())


def _lesion_masks(found: VisitMasks) -> Masks:
    return {kind: found.masks[kind] > 0 for kind in tables.REFERENCE_MASKS}


def _lesions(masks: Masks, grid: Grid) -> dict[str, Lesions]:
    return {kind: find_lesions(Volume(mask, grid, Path(kind))) for kind, mask in masks.items()}


def _rows(lesions: Lesions) -> Iterator[tuple[object, ...]]:
    """Yield lesion_id, voxels, volume_ml and centre (mm) of every lesion, rounded for the tables."""
    for number, voxels, volume_ml, *centre in zip(*lesion_columns(lesions).values(), strict=True):
        yield (int(number), int(voxels), round(float(volume_ml), 6), *(round(float(mm), 2) for mm in centre))


def _count_new(lesions: Lesions, before: Lesions) -> int:
    """Lesions that share no voxel with the previous visit's mask."""
    return int(np.count_nonzero(count_overlap(lesions, before).shared_voxels == 0))


def _count_enlarging(before: Bools, here: Bools, grid: Grid) -> int:
    """Lesions that share a voxel with the previous visit's mask and have grown by the rule of `lesions.change`."""
    old, new = (Volume(mask, grid, Path("t2_lesions")) for mask in (before, here))
    change = lesion_change(old, new, ChangeRule(connectivity=18)).followup
    grown = np.isin(change.change, ("enlarging", "new")) & (change.voxels_old > 0)
    return int(np.count_nonzero(grown))


def _without_small(mask: Bools, smallest: int = 3) -> Bools:
    return mask & ~small_components(mask, smallest)


def _true_lesions(patient: Patient, found: VisitMasks, visit: int) -> Iterator[tuple[object, ...]]:
    """Yield one row per simulated lesion that is in the mask; confluent lesions are told apart."""
    names, lesions = lesions_of_labels(Volume(found.owner, patient.anatomy.grid, Path("owner")))
    for number, (_, *size) in zip(names.tolist(), _rows(lesions), strict=True):
        lesion = patient.lesions[number - 1]
        enhancing = lesion.enhancing_at == visit
        hole = lesion.hole_from != NEVER and lesion.hole_from <= visit and not enhancing
        yield (number, *size, lesion.born, lesion.born == visit and visit > 0, enhancing, hole, lesion.rim)
