"""Synthetic scans on disk: a folder per scan, complete or absent, and a manifest that `nnunet-ms-convert` reads."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from nnunet_ms.arrays import SingleFloats
from nnunet_ms.errors import SettingsError
from nnunet_ms.images.volumes import write_volume
from nnunet_ms.locks import sole_run
from nnunet_ms.outputs import whole_folder
from nnunet_ms.parallel import Failure, Workers, map_cases
from nnunet_ms.simulation.images.files import PhantomSettings, claim_folder, patient_name, phantom_course, visit_name
from nnunet_ms.simulation.images.phantom import draw_patient, visit_masks
from nnunet_ms.simulation.images.scan_sources import (
    PHANTOM,
    Source,
    find_maps,
    find_masks,
    load_map,
    load_mask,
)
from nnunet_ms.simulation.model.presets import GRIDS
from nnunet_ms.simulation.model.streams import Step, stream
from nnunet_ms.synthesis.acquisition import Scanner
from nnunet_ms.synthesis.deformation import Deformation
from nnunet_ms.synthesis.lesion_masks import LesionMask, Pasting, prepare_mask
from nnunet_ms.synthesis.scan import BLACK_HOLE, ENHANCING, Look, SyntheticScan, synthetic_scan
from nnunet_ms.tables import Column, Table, read_table, write_table
from nnunet_ms.threads import one_thread

MARKER = "scans.json"
GRID = "demo"  # of the phantom's lesions
KINDS = {"black_hole_ml": BLACK_HOLE, "enhancing_ml": ENHANCING}
NONE_SHARE, TWO_SHARE = 0.05, 0.10  # of the scans: without lesions; with two masks of the smaller half
VISIT = visit_name(0)
SCANS_TRUTH = Table(
    "synthetic scans",
    (
        Column("patient_id"),
        Column("visit"),
        Column("label_map"),
        Column("lesion_masks", blank=True),
        Column("field_tesla", "number", minimum=0),
        Column("slice_axis", "integer", minimum=0, maximum=2),
        Column("slices_mm", "number", minimum=0),
        Column("mask_volume_ml", "number", minimum=0),
        Column("lesion_volume_ml", "number", minimum=0),
        Column("black_hole_ml", "number", minimum=0),
        Column("enhancing_ml", "number", minimum=0),
    ),
    key=("patient_id", "visit"),
)


@dataclass(frozen=True)
class ScansSettings:
    """What a set of synthetic scans is made from; the same settings and files give the same bytes.

    Attributes
    ----------
    scans, seed : int
    sequences : tuple of str
    slices_mm : (float, float)
        Range of the slices' thickness.
    thick : float
        Share of scans with slices thicker than 1 mm.
    own_grid : bool
        Write slices, not what is interpolated between them to 1 mm.
    skull : bool
        Leave the skull where the label map has one.
    """

    scans: int
    seed: int
    sequences: tuple[str, ...] = ("flair", "t2", "t1")
    slices_mm: tuple[float, float] = (1.0, 7.0)
    thick: float = 0.5
    own_grid: bool = False
    skull: bool = False


@one_thread
def write_scans(
    settings: ScansSettings,
    folder: Path,
    labels: Sequence[Path] = (),
    lesions: Sequence[Path] = (),
    workers: Workers = 1,
) -> list[Failure]:
    """Write synthetic scans, or finish a set that was interrupted.

    Parameters
    ----------
    settings : ScansSettings
    folder : Path
        New, empty, or of the same settings and files. Per scan its sequences, brain mask and lesion masks, with
        `drawn.json`; `manifest.csv`, `truth.csv`, `scans.json`.
    labels : sequence of Path, optional
        Label maps with FreeSurfer's numbers, files or folders; without them the phantom's.
    lesions : sequence of Path, optional
        Masks aligned to MNI space, files or folders, or manifests; without them the phantom's lesions.
    workers : int or Dask, optional
        Processes, or a cluster; the result does not depend on it.

    Returns
    -------
    list of Failure
        Scans that could not be made; the tables leave them out.

    Raises
    ------
    SettingsError
        If `folder` holds something else, or a file of labels or lesions is missing.
    ImageError
        If one cannot be used.
    MachineError
        See `parallel.map_cases`.
    """
    with sole_run(folder):
        _check_ours(folder)
        notes = folder / ".placed"
        maps = find_maps(labels, notes) if labels else [Source(PHANTOM, "", (), "template")]
        masks = find_masks(lesions, notes)
        claim_folder(folder, MARKER, _content(settings, maps, masks))
        write = partial(_write_scan, folder, settings, maps, masks)
        outcome = map_cases(write, range(settings.scans), patient_name, "scans", workers)
        failed = {failure.case for failure in outcome.failures}
        names = [patient_name(i) for i in range(settings.scans)]
        _write_tables(folder, settings, [name for name in names if name not in failed])
    return outcome.failures


def _check_ours(folder: Path) -> None:
    """Refuse a folder of something else before the first note is written into it."""
    there = sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))
    if there and MARKER not in there:
        raise SettingsError(
            f"{folder}: expected an empty folder or synthetic scans, found {there[:5]}. Choose another one."
        )


def _content(settings: ScansSettings, maps: Sequence[Source], masks: Sequence[Source]) -> dict[str, Any]:
    sources = {
        "label_maps": [_told(one) for one in maps],
        "lesion_masks": [_told(one) for one in masks] or PHANTOM,
    }
    drawn_from = {
        "deformation": asdict(Deformation()),
        "pasting": asdict(Pasting()),
        "scanner": asdict(_scanner(settings)),
        "look": asdict(Look()),
        "without_lesions": NONE_SHARE,
        "with_two_masks": TWO_SHARE,
    }
    return {"simulated": True, "kind": "scans", **asdict(settings), **sources, **drawn_from}


def _told(source: Source) -> dict[str, Any]:
    return {"file": source.name, "sha256": source.sha256, "placed": source.placed, "likeness": source.likeness}


def _scanner(settings: ScansSettings) -> Scanner:
    return replace(Scanner(), slices_mm=settings.slices_mm, thick=settings.thick)


def _write_scan(
    folder: Path, settings: ScansSettings, maps: Sequence[Source], masks: Sequence[Source], index: int
) -> None:
    name = patient_name(index)
    home = folder / "images" / name
    if home.is_dir():  # it appears as a whole
        return
    rng = stream(settings.seed, Step.SCANS, index)
    head = maps[int(rng.integers(len(maps)))]
    chosen = draw_masks(masks, rng) if masks else _phantom_lesions(settings, index, rng)
    scan = synthetic_scan(
        load_map(head.path, head.from_mni),
        chosen,
        rng,
        settings.sequences,
        masked=not settings.skull,
        own_grid=settings.own_grid,
        scanner=_scanner(settings),
    )
    told: dict[str, Any] = {"label_map": head.name, "lesion_masks": "; ".join(one.name for one in chosen)}
    told |= {"mask_volume_ml": round(sum(one.volume_ml for one in chosen), 4)}
    with whole_folder(home) as partial_folder:
        place = partial_folder / VISIT
        place.mkdir()
        for column, data in _volumes(scan, settings).items():
            write_volume(place / f"{column}.nii.gz", data, scan.grid.affine)
        (place / "drawn.json").write_text(json.dumps(scan.drawn, indent=1) + "\n", encoding="utf-8")
        row = pd.DataFrame([_truth(name, scan, told)], columns=SCANS_TRUTH.names)
        write_table(row, partial_folder / "truth.csv")


def draw_masks(masks: Sequence[Source], rng: np.random.Generator) -> list[LesionMask]:
    """Draw whose lesions a scan has: one patient's, in a few scans two patients' with few lesions, or nobody's."""
    kind = rng.random()
    if kind < NONE_SHARE:
        return []
    few = sorted(masks, key=lambda one: (one.volume_ml or 0.0, one.path))[: (len(masks) + 1) // 2]
    if kind < NONE_SHARE + TWO_SHARE and len(few) > 1:
        picked = [few[int(i)] for i in rng.choice(len(few), 2, replace=False)]
    else:
        picked = [masks[int(rng.integers(len(masks)))]]
    return [load_mask(one.path, one.from_mni, one.name) for one in picked]


def _phantom_lesions(settings: ScansSettings, index: int, rng: np.random.Generator) -> list[LesionMask]:
    """Lesions that the phantom draws, in its own brain, which lies in MNI space."""
    if rng.random() < NONE_SHARE:
        return []
    course = phantom_course(PhantomSettings(settings.scans, settings.seed, GRID, 1), index)
    patient = draw_patient(GRIDS[GRID], course, settings.seed, index)
    mask = visit_masks(patient, 0).masks["t2_lesions"] > 0
    return [prepare_mask(mask, patient.anatomy.grid, np.eye(4), PHANTOM)] if mask.any() else []


def _volumes(scan: SyntheticScan, settings: ScansSettings) -> dict[str, npt.NDArray[np.generic]]:
    images: dict[str, npt.NDArray[np.generic]] = {name: _whole(one) for name, one in scan.images.items()}
    masks = {"brain_mask": scan.brain, "t2_lesions": scan.lesion}
    if "t1post" in settings.sequences:
        masks |= {"t1_unenhancing": scan.kinds == BLACK_HOLE, "t1_enhancing": scan.kinds == ENHANCING}
    return images | {name: one.astype(np.uint8) for name, one in masks.items()}


def _whole(image: SingleFloats) -> npt.NDArray[np.int16]:
    """Whole numbers, as scanners store them: a third of the size on disk."""
    return np.clip(np.rint(image), 0, 32767).astype(np.int16)


def _truth(name: str, scan: SyntheticScan, told: dict[str, Any]) -> dict[str, object]:
    cut = scan.drawn["slices"][next(iter(scan.images))]
    voxel = scan.grid.voxel_volume_ml
    volumes = {column: float((scan.kinds == kind).sum()) * voxel for column, kind in KINDS.items()}
    return {
        "patient_id": name,
        "visit": VISIT,
        **told,
        "field_tesla": float(scan.drawn["field"].removesuffix("T")),
        "slice_axis": cut["axis"],
        "slices_mm": round(cut["thickness_mm"], 3),
        "lesion_volume_ml": round(float(scan.lesion.sum()) * voxel, 4),
        **{column: round(volume, 4) for column, volume in volumes.items()},
    }


def _write_tables(folder: Path, settings: ScansSettings, names: Sequence[str]) -> None:
    frames = [read_table(folder / "images" / name / "truth.csv", SCANS_TRUTH) for name in names]
    truth = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=SCANS_TRUTH.names)
    write_table(truth, folder / "truth.csv")
    kinds = ("t1_unenhancing", "t1_enhancing") if "t1post" in settings.sequences else ()
    columns = [*settings.sequences, "brain_mask", "t2_lesions", *kinds]
    rows = [
        {"patient_id": name, "visit": VISIT, "week": 0}
        | {column: f"images/{name}/{VISIT}/{column}.nii.gz" for column in columns}
        for name in names
    ]
    write_table(pd.DataFrame(rows, columns=["patient_id", "visit", "week", *columns]), folder / "manifest.csv")
