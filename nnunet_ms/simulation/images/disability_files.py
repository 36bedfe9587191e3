"""The cohort of disability on disk: a folder per patient, complete or absent, a manifest for `nnunet-ms-stratify`."""

import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from nnunet_ms.images.volumes import write_volume
from nnunet_ms.locks import sole_run
from nnunet_ms.outputs import whole_file, whole_folder
from nnunet_ms.parallel import Failure, Workers, map_cases
from nnunet_ms.simulation.images import disability_scan
from nnunet_ms.simulation.images.files import claim_folder, patient_name, visit_name
from nnunet_ms.simulation.model.disability import (
    DAYS_PER_WEEK,
    DISABLED,
    MODEL,
    SIGNALS,
    Signal,
    best_auc,
    cut_points,
    draw_disability,
)
from nnunet_ms.simulation.model.presets import CONTRASTS, SCANNER
from nnunet_ms.tables import Column, Table, read_table, write_table
from nnunet_ms.threads import one_thread

VOLUMES = ("t1", "flair", "brain_mask", "region_labels")
DISABILITY_TRUTH = Table(
    "disability truth",
    (
        Column("patient_id"),
        Column("visit"),
        Column("scan_day", "integer", minimum=0),
        Column("age_years", "number", minimum=0),
        Column("sex", "category"),
        Column("field_tesla", "number", minimum=0),
        Column("lesion_volume_ml", "number", minimum=0),
        Column("edss", "number", minimum=0, maximum=10),
        Column("edss_day", "integer", minimum=0),
        Column("disabled", "integer", minimum=0, maximum=1),
        *(Column(name, "number", minimum=0) for name in ("ventricles_ml", "brainstem_ml")),
        *(Column(name, "number") for name in ("age_z", "ventricle_z", "lesion_z", "stem_z", "latent")),
        Column("risk", "number", minimum=0, maximum=1),
        Column("onset_week", "number", minimum=0),
    ),
    key=("patient_id", "visit"),
)
OF_MANIFEST = ("age_years", "sex", "field_tesla", "lesion_volume_ml", "edss", "edss_day")


@dataclass(frozen=True)
class DisabilitySettings:
    """What a cohort is made from; the same settings give the same bytes."""

    patients: int
    seed: int
    signal: Signal = "ventricles"
    field_effect: float = 0.0
    edge_mm: int = 2


@one_thread
def write_disability(settings: DisabilitySettings, folder: Path, workers: Workers = 1) -> list[Failure]:
    """Write a cohort of patients whose EDSS depends on what their scans show, or finish one that was interrupted.

    Parameters
    ----------
    settings : DisabilitySettings
        Number of patients, seed, which sign carries the disability and how strongly the field strength goes with it.
    folder : Path
        New, empty, or of the same settings. Per scan T1, FLAIR, brain mask and region labels with FreeSurfer's
        numbers, in MNI space; `manifest.csv`, `assessments.csv`, `truth.csv` (with the true risk of every scan) and
        `truth.json` (every parameter, the cut points of the scale, the AUC of the true risk).
    workers : int or Dask, optional
        Processes, or a cluster; the result does not depend on it.

    Returns
    -------
    list of Failure
        Patients that could not be made; the tables leave them out.

    Raises
    ------
    SettingsError
        If `folder` holds something else, or another run is writing into it.
    MachineError
        See `parallel.map_cases`.
    """
    with sole_run(folder):
        claim_folder(folder, "disability.json", _content(settings))
        write = partial(_write_patient, folder, settings)
        outcome = map_cases(write, range(settings.patients), patient_name, "patients", workers)
        failed = {failure.case for failure in outcome.failures}
        kept = [i for i in range(settings.patients) if patient_name(i) not in failed]
        _write_tables(folder, settings, kept)
    return outcome.failures


def _content(settings: DisabilitySettings) -> dict[str, object]:
    contrasts = {name: asdict(CONTRASTS[name]) for name in ("t1", "flair")}
    return {
        "simulated": True,
        "kind": "disability",
        **asdict(settings),
        "log_odds_ratios": asdict(SIGNALS[settings.signal]),
        "model": asdict(MODEL),
        "contrasts": contrasts,
        "scanner": asdict(SCANNER),
    }


def _write_patient(folder: Path, settings: DisabilitySettings, index: int) -> None:
    name = patient_name(index)
    home = _home(folder, name)
    if home.is_dir():  # it appears as a whole
        return
    patient = draw_disability(settings.signal, settings.field_effect, settings.seed, index)
    made = disability_scan.draw_scans(patient, settings.edge_mm, settings.seed, index)
    rows = []
    with whole_folder(home) as partial_folder:
        for scan, images in zip(patient.scans, made, strict=True):
            place = partial_folder / visit_name(scan.week)
            place.mkdir()
            for volume in VOLUMES:
                write_volume(place / f"{volume}.nii.gz", images.volumes[volume], images.grid.affine)
            rows.append(
                {
                    "patient_id": name,
                    "visit": visit_name(scan.week),
                    "scan_day": scan.week * DAYS_PER_WEEK,
                    "age_years": scan.age_years,
                    "sex": "F" if patient.female else "M",
                    "field_tesla": scan.field_tesla,
                    "lesion_volume_ml": images.lesion_volume_ml,
                    "edss": scan.edss,
                    "edss_day": scan.edss_day,
                    "disabled": int(scan.edss >= DISABLED),
                    "ventricles_ml": images.ventricles_ml,
                    "brainstem_ml": images.brainstem_ml,
                    "age_z": patient.age_z,
                    "ventricle_z": patient.ventricle_z,
                    "lesion_z": patient.lesion_z,
                    "stem_z": patient.stem_z,
                    "latent": scan.latent,
                    "risk": scan.risk,
                    "onset_week": patient.onset_week,
                }
            )
        write_table(pd.DataFrame(rows, columns=DISABILITY_TRUTH.names), partial_folder / "truth.csv")


def _home(folder: Path, patient: str) -> Path:
    return folder / "images" / patient


def _write_tables(folder: Path, settings: DisabilitySettings, kept: list[int]) -> None:
    frames = [read_table(_home(folder, patient_name(i)) / "truth.csv", DISABILITY_TRUTH) for i in kept]
    truth = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=DISABILITY_TRUTH.names)
    write_table(truth, folder / "truth.csv")
    manifest = truth[["patient_id", "visit", "scan_day"]].copy()
    for volume in VOLUMES:
        manifest[volume] = [
            f"images/{p}/{v}/{volume}.nii.gz" for p, v in zip(truth["patient_id"], truth["visit"], strict=True)
        ]
    write_table(manifest.join(truth[list(OF_MANIFEST)]), folder / "manifest.csv")
    write_table(_assessments(settings, kept), folder / "assessments.csv")
    content = {
        **_content(settings),
        "edss_cut_points": dict(zip(map(str, MODEL.edss_levels[1:]), cut_points(settings.signal), strict=True)),
        "best_auc": round(best_auc(settings.signal), 4),
    }
    with whole_file(folder / "truth.json") as partial_path:
        partial_path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _assessments(settings: DisabilitySettings, kept: list[int]) -> pd.DataFrame:
    rows = []
    for index in kept:
        patient = draw_disability(settings.signal, settings.field_effect, settings.seed, index)
        pairs = zip(patient.assessed_weeks, patient.assessed_edss, strict=True)
        rows += [(patient_name(index), week, edss) for week, edss in pairs]
    return pd.DataFrame(rows, columns=["patient_id", "week", "edss"])
