"""A simulated two-arm trial on disk: tables with known effects, and on request images that show them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nnunet_ms import tables
from nnunet_ms.parallel import Failure, map_cases
from nnunet_ms.simulation import cohort
from nnunet_ms.simulation.dataset import claim_folder, manifest_row, patient_name, visit_name, write_patient
from nnunet_ms.simulation.phantom import Course
from nnunet_ms.simulation.presets import CONTRASTS, GRIDS, SCANNER, TrialPreset
from nnunet_ms.simulation.streams import Step, stream
from nnunet_ms.simulation.truth import truth_rows


@dataclass(frozen=True)
class TrialSettings:
    """What one simulated trial is made from; the same settings give the same bytes."""

    preset: TrialPreset
    patients: int
    seed: int
    grid: str
    images: bool


@dataclass(frozen=True)
class SimulatedPatient:
    """One patient's values at all scheduled weeks; `last_week` cuts what was not observed."""

    index: int
    arm: int
    baseline: cohort.Baseline
    volume_ml: tuple[float, ...]  # per MRI week
    new_lesions: tuple[int, ...]  # per MRI week
    edss: tuple[float, ...]  # per assessment week, as the two below
    t25fw_s: tuple[float, ...]
    nhpt_s: tuple[float, ...]
    relapse_weeks: tuple[int, ...]
    last_week: float

    @property
    def name(self) -> str:
        """Identifier in every table."""
        return patient_name(self.index)


def write_trial(settings: TrialSettings, folder: Path, workers: int = 1) -> list[Failure]:
    """Write a trial into `folder`, or finish one that was interrupted.

    Parameters
    ----------
    settings : TrialSettings
    folder : Path
        New, empty, or holding a trial of the same settings.
    workers : int, optional
        Processes that make images; the result does not depend on it.

    Returns
    -------
    list of Failure
        Patients whose images could not be made; the manifest leaves them out.

    Raises
    ------
    SettingsError
        If `folder` holds something else.
    """
    claim_folder(folder, "truth.json", describe_trial(settings))
    patients = simulate_patients(settings)
    for name, frame in clinical_tables(settings, patients).items():
        tables.write_table(frame, folder / f"{name}.csv")
    if not settings.images:
        tables.write_table(visit_table(settings, patients), folder / "visits.csv")
        return []
    outcome = map_cases(
        partial(write_images, settings, folder), patients, lambda p: p.name, "simulated patients", workers
    )
    failed = {failure.case for failure in outcome.failures}
    tables.write_table(manifest(settings, [p for p in patients if p.name not in failed]), folder / "manifest.csv")
    return outcome.failures


def describe_trial(settings: TrialSettings) -> dict[str, Any]:
    """Content of `truth.json`: every parameter, and the true statistics."""
    parameters = {
        **asdict(settings.preset),
        "patients": settings.patients,
        "grid": settings.grid,
        "images": settings.images,
        "grid_settings": asdict(GRIDS[settings.grid]),
        "scanner": asdict(SCANNER),
        "contrasts": {name: asdict(contrast) for name, contrast in CONTRASTS.items()},
    }
    return {
        "simulated": True,
        "seed": settings.seed,
        "preset": settings.preset.name,
        "parameters": parameters,
        "truth": truth_rows(settings.preset),
    }


def simulate_patients(settings: TrialSettings) -> list[SimulatedPatient]:
    """Every patient of the trial, each from streams of its own."""
    arms = cohort.draw_arms(settings.preset, settings.patients, stream(settings.seed, Step.ALLOCATION))
    return [simulate_patient(settings.preset, settings.seed, index, int(arm)) for index, arm in enumerate(arms)]


def simulate_patient(preset: TrialPreset, seed: int, index: int, arm: int) -> SimulatedPatient:
    """Draw one patient of `arm` (index into the preset's arms)."""

    def draw(step: Step) -> np.random.Generator:
        return stream(seed, step, index)

    baseline = cohort.draw_baseline(preset, 1, draw(Step.BASELINE))
    log_tlv = cohort.draw_log_tlv(preset, np.array([arm]), baseline.log_tlv, draw(Step.VOLUME))
    ratio = cohort.log_hazard_ratio(preset, np.array([arm]), baseline.log_tlv)
    onsets, visits = draw(Step.PROGRESSION), draw(Step.ASSESSMENTS)
    edss = cohort.draw_edss(
        preset, baseline.edss, cohort.draw_onset(preset.progressions_per_year, ratio, onsets), visits
    )
    timed = [
        cohort.draw_timed_test(preset, test, cohort.draw_onset(test.progressions_per_year, ratio, onsets), visits)
        for test in (preset.t25fw, preset.nhpt)
    ]
    last_week = min(float(baseline.discontinued_week[0]), float(preset.assessment_weeks[-1]))
    return SimulatedPatient(
        index=index,
        arm=arm,
        baseline=baseline,
        volume_ml=tuple(np.exp(log_tlv[0]).tolist()),
        new_lesions=tuple(cohort.draw_new_lesions(preset, arm, draw(Step.NEW_LESIONS))),
        edss=tuple(edss[0].tolist()),
        t25fw_s=tuple(timed[0][0].tolist()),
        nhpt_s=tuple(timed[1][0].tolist()),
        relapse_weeks=tuple(cohort.draw_relapses(preset, arm, last_week, draw(Step.RELAPSES))),
        last_week=last_week,
    )


def clinical_tables(settings: TrialSettings, patients: Sequence[SimulatedPatient]) -> dict[str, pd.DataFrame]:
    """Tables `patients`, `assessments`, `relapses` of `nnunet_ms.tables`."""
    preset = settings.preset
    assessments = [
        (p.name, week, *values, True)
        for p in patients
        for week, *values in zip(preset.assessment_weeks, p.edss, p.t25fw_s, p.nhpt_s, strict=True)
        if week <= p.last_week
    ]
    relapses = [(p.name, week) for p in patients for week in p.relapse_weeks]
    columns = ["patient_id", "week", "edss", "t25fw_s", "nhpt_s", "scheduled"]
    return {
        "patients": pd.DataFrame([_patient_row(preset, p) for p in patients]),
        "assessments": pd.DataFrame(assessments, columns=columns),
        "relapses": pd.DataFrame(relapses, columns=["patient_id", "week"]),
    }


def visit_table(settings: TrialSettings, patients: Sequence[SimulatedPatient]) -> pd.DataFrame:
    """T2 lesions as the reference rater would report them (`tables.VISITS`), for a trial without images."""
    sizes = GRIDS[settings.grid].sizes
    mean_ml = sizes.median_mm3 * np.exp(sizes.log_sd**2 / 2) / 1000
    rows = []
    for p in patients:
        first = max(1, round(p.volume_ml[0] / mean_ml))
        for k in observed_visits(settings.preset, p):
            week = settings.preset.mri_weeks[k]
            new = p.new_lesions[k] if k else None
            count = first + sum(p.new_lesions[: k + 1])
            case = (f"{p.name}_{visit_name(week)}", p.name, visit_name(week), week)
            rows.append((*case, tables.REFERENCE, "t2_lesions", count, p.volume_ml[k], new))
    return pd.DataFrame(rows, columns=tables.VISITS.names).astype({"new_lesion_count": "Int64"})


def manifest(settings: TrialSettings, patients: Sequence[SimulatedPatient]) -> pd.DataFrame:
    """Where every visit's images are (`tables.MANIFEST`), relative to the manifest."""
    weeks = settings.preset.mri_weeks
    return pd.DataFrame([manifest_row(p.name, weeks[k]) for p in patients for k in observed_visits(settings.preset, p)])


def write_images(settings: TrialSettings, folder: Path, p: SimulatedPatient) -> None:
    """Write the images of the patient's visits that are not complete yet."""
    wanted = observed_visits(settings.preset, p)
    course = Course(
        p.volume_ml,
        p.new_lesions,
        settings.preset.enhancing_share,
        settings.preset.enhancing_at_baseline,
        settings.preset.black_hole_share,
    )
    write_patient(folder, settings.grid, course, [settings.preset.mri_weeks[k] for k in wanted], settings.seed, p.index)


def observed_visits(preset: TrialPreset, p: SimulatedPatient) -> list[int]:
    """Return indices of the MRI weeks that the patient attended."""
    return [k for k, week in enumerate(preset.mri_weeks) if week <= p.last_week]


def _patient_row(preset: TrialPreset, p: SimulatedPatient) -> dict[str, object]:
    week = p.baseline.discontinued_week[0]
    return {
        "patient_id": p.name,
        "arm": preset.arms[p.arm].name,
        "age_years": float(p.baseline.age_years[0]),
        "sex": "F" if p.baseline.female[0] else "M",
        "region": "US" if p.baseline.us[0] else "ROW",
        "edss_baseline": float(p.baseline.edss[0]),
        "discontinued_week": None if np.isinf(week) else int(week),
    }
