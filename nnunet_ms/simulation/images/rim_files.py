"""The cohort of rims on disk: a folder per patient, complete or absent, and manifests for `nnunet-ms-rim`."""

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from nnunet_ms.images.volumes import write_volume
from nnunet_ms.locks import sole_run
from nnunet_ms.outputs import whole_folder
from nnunet_ms.parallel import Failure, Workers, map_cases
from nnunet_ms.simulation.images.files import claim_folder, patient_name, visit_name
from nnunet_ms.simulation.images.rim_patient import draw_visit
from nnunet_ms.simulation.model.presets import SCANNER, SUSCEPTIBILITY
from nnunet_ms.simulation.model.rim_presets import RIM_LESIONS, RIM_SCAN, VEINS
from nnunet_ms.tables import Column, Table, read_table, write_table
from nnunet_ms.threads import one_thread

VOLUMES = ("qsm", "flair", "brain_mask", "qsm_lesions", "flair_lesions", "lesion_ids", "rims")
MANIFESTS = {"manifest.csv": "qsm_lesions", "manifest_flair.csv": "flair_lesions"}  # and the masks in each


RIM_TRUTH = Table(
    "rim truth",
    (
        Column("patient_id"),
        Column("visit"),
        Column("week", "number"),
        Column("lesion_id", "integer", minimum=1),
        *(Column(name, "number") for name in ("x_mm", "y_mm", "z_mm")),
        Column("voxels", "integer", minimum=1),
        Column("volume_ml", "number", minimum=0),
        Column("label", "integer", minimum=0, maximum=1),
        Column("kind", "category"),
        *(Column(name, "number") for name in ("base_ppb", "rim_ppb")),
        *(Column(name, "number", blank=True) for name in ("rim_mm", "rim_cover")),
        Column("penumbra_mm", "number"),
        Column("vein", "category"),
    ),
    key=("patient_id", "visit", "lesion_id"),
)


@dataclass(frozen=True)
class RimSettings:
    """What a cohort of rims is made from; the same settings give the same bytes."""

    patients: int
    seed: int


@one_thread
def write_rims(settings: RimSettings, folder: Path, workers: Workers = 1) -> list[Failure]:
    """Write a cohort of patients with rims on QSM, or finish one that was interrupted.

    Parameters
    ----------
    settings : RimSettings
        Number of patients and seed.
    folder : Path
        New, empty, or of the same settings. Per patient QSM in ppb, FLAIR, brain mask, lesion masks as drawn on QSM
        and on FLAIR, the lesions' numbers, their rims (1 lesion, 2 rim) and `labels.csv`; `truth.csv` of all lesions;
        `manifest.csv` with the masks of QSM, `manifest_flair.csv` with those of FLAIR.
    workers : int or Dask, optional
        Processes, or a cluster; the result does not depend on it.

    Returns
    -------
    list of Failure
        Patients that could not be made; manifests and truth leave them out.

    Raises
    ------
    SettingsError
        If `folder` holds something else, or another run is writing into it.
    MachineError
        See `parallel.map_cases`.
    """
    with sole_run(folder):
        content = {"simulated": True, "kind": "rims", **asdict(settings), "scan": asdict(RIM_SCAN)}
        content |= {"lesions": asdict(RIM_LESIONS), "veins": asdict(VEINS), "scanner": asdict(SCANNER)}
        claim_folder(folder, "rims.json", content | {"susceptibility": asdict(SUSCEPTIBILITY)})
        write = partial(_write_patient, folder, settings.seed)
        outcome = map_cases(write, range(settings.patients), patient_name, "patients with rims", workers)
        failed = {failure.case for failure in outcome.failures}
        names = [name for i in range(settings.patients) if (name := patient_name(i)) not in failed]
        _write_tables(folder, names)
    return outcome.failures


def _write_patient(folder: Path, seed: int, index: int) -> None:
    home = _home(folder, patient_name(index))
    if home.is_dir():  # it appears as a whole
        return
    visit = draw_visit(seed, index)
    with whole_folder(home) as partial_folder:
        for name in VOLUMES:
            write_volume(partial_folder / f"{name}.nii.gz", visit.volumes[name], visit.grid.affine)
        frame = pd.DataFrame(visit.rows)
        frame.insert(0, "week", 0)
        frame.insert(0, "visit", visit_name(0))
        frame.insert(0, "patient_id", patient_name(index))
        write_table(frame[RIM_TRUTH.names], partial_folder / "truth.csv")
        write_table(frame[["x_mm", "y_mm", "z_mm", "label"]], partial_folder / "labels.csv")


def _home(folder: Path, patient: str) -> Path:
    return folder / "images" / patient / visit_name(0)


def _write_tables(folder: Path, names: list[str]) -> None:
    frames = [read_table(_home(folder, name) / "truth.csv", RIM_TRUTH) for name in names]
    truth = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=RIM_TRUTH.names)
    write_table(truth, folder / "truth.csv")
    for manifest, masks in MANIFESTS.items():
        write_table(pd.DataFrame([_row(name, masks) for name in names], columns=_COLUMNS), folder / manifest)


_COLUMNS = ("patient_id", "visit", "week", "qsm", "flair", "lesions", "brain_mask", "labels")


def _row(patient: str, masks: str) -> dict[str, object]:
    place = f"images/{patient}/{visit_name(0)}"
    files = {"qsm": "qsm", "flair": "flair", "lesions": masks, "brain_mask": "brain_mask"}
    row: dict[str, object] = {"patient_id": patient, "visit": visit_name(0), "week": 0}
    return row | {name: f"{place}/{file}.nii.gz" for name, file in files.items()} | {"labels": f"{place}/labels.csv"}
