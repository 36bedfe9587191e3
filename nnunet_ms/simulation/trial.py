"""A simulated two-arm trial on disk: tables with known effects, and on request images that show them."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from nnunet_ms import tables
from nnunet_ms.locks import sole_run
from nnunet_ms.outputs import whole_file
from nnunet_ms.parallel import Failure, Workers, map_cases
from nnunet_ms.simulation.adam import adam_lesions, adam_tables, write_adam
from nnunet_ms.simulation.images.files import claim_folder, manifest_row, patient_name, visit_name, write_patient
from nnunet_ms.simulation.images.lesion_tables import CHANGES, write_lesion_tables
from nnunet_ms.simulation.model import cohort
from nnunet_ms.simulation.model.course import Course
from nnunet_ms.simulation.model.preset_check import check_preset
from nnunet_ms.simulation.model.presets import CONTRASTS, GRIDS, SCANNER, SUSCEPTIBILITY, TrialPreset
from nnunet_ms.simulation.model.streams import Step, stream
from nnunet_ms.simulation.model.table_reader import RATER, read_counts, read_volumes
from nnunet_ms.simulation.trial_file import trial_file
from nnunet_ms.simulation.truth.rows import GROWTH_ENDPOINTS, truth_rows
from nnunet_ms.threads import one_thread

LESION_TYPES = ("t2_lesions", "t1_unenhancing", "t1_enhancing")


@dataclass(frozen=True)
class TrialSettings:
    """What one simulated trial is made from; the same settings give the same bytes.

    Examples
    --------
    >>> from nnunet_ms.simulation.model.trial_presets import DEMO
    >>> TrialSettings(DEMO, patients=40, seed=0, grid=DEMO.grid, images=False).preset.name
    'demo'
    """

    preset: TrialPreset
    patients: int
    seed: int
    grid: str
    images: bool
    qsm: bool = False


@dataclass(frozen=True)
class SimulatedPatient:
    """One patient's values at all scheduled weeks; `last_week` cuts what was not observed."""

    index: int
    arm: int
    baseline: cohort.Baseline
    volume_ml: tuple[float, ...]  # per MRI week
    activity: cohort.Activity  # per MRI week
    black_holes: int  # T1-unenhancing lesions at baseline
    onset_week: tuple[float, ...]  # of lasting progression: EDSS, timed walk, peg test
    edss: tuple[float, ...]  # per assessment week, as the two below
    t25fw_s: tuple[float, ...]
    nhpt_s: tuple[float, ...]
    relapse_weeks: tuple[int, ...]
    last_week: float

    @property
    def name(self) -> str:
        """Identifier in every table."""
        return patient_name(self.index)


def write_trial(settings: TrialSettings, folder: Path, workers: Workers = 1) -> list[Failure]:
    """Write a trial into `folder`, or finish one that was interrupted.

    Parameters
    ----------
    settings : TrialSettings
    folder : Path
        New, empty, or holding a trial of the same settings.
    workers : int or Dask, optional
        Processes, or a cluster, that make images; the result does not depend on it.

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

    Examples
    --------
    >>> from nnunet_ms.simulation.model.trial_presets import DEMO
    >>> settings = TrialSettings(DEMO, patients=4, seed=0, grid=DEMO.grid, images=False)
    >>> write_trial(settings, Path("simulated"))
    []
    >>> sorted(path.name for path in Path("simulated").glob("*.csv"))
    ['assessments.csv', 'patients.csv', 'relapses.csv', 'visits.csv']
    """
    check_preset(settings.preset)
    with sole_run(folder):
        return _write_trial(settings, folder, workers)


def _write_trial(settings: TrialSettings, folder: Path, workers: Workers) -> list[Failure]:
    claim_folder(folder, "truth.json", describe_trial(settings))
    patients = simulate_patients(settings)
    _write_clinical(settings, patients, folder)
    if not settings.images:
        tables.write_table(visit_table(settings, patients), folder / "visits.csv")
        _write_lesions(settings, patients, folder)
        return []
    outcome = map_cases(
        partial(write_images, settings, folder), patients, lambda p: p.name, "simulated patients", workers
    )
    failed = {failure.case for failure in outcome.failures}
    imaged = [p for p in patients if p.name not in failed]
    weeks = settings.preset.mri_weeks
    visits = [(p.name, weeks[k]) for p in imaged for k in observed_visits(settings.preset, p)]
    write_lesion_tables(folder, visits)
    _write_lesions(settings, patients, folder)
    tables.write_table(manifest(settings, imaged), folder / "manifest.csv")
    return outcome.failures


def _write_clinical(settings: TrialSettings, patients: Sequence[SimulatedPatient], folder: Path) -> None:
    frames = clinical_tables(settings, patients)
    for name, frame in frames.items():
        tables.write_table(frame, folder / f"{name}.csv")
    onsets = [p.onset_week for p in patients]
    write_adam(adam_tables(settings.preset, frames["patients"], frames["assessments"], onsets), folder / "adam")
    with whole_file(folder / "trial.toml") as partial_path:
        partial_path.write_text(trial_file(settings.preset), encoding="utf-8")


def _write_lesions(settings: TrialSettings, patients: Sequence[SimulatedPatient], folder: Path) -> None:
    """Copy the counts of `visits.csv` to ADaM, whether they were drawn or measured in masks."""
    visits = tables.read_table(folder / "visits.csv", tables.VISITS)
    people = pd.DataFrame([_patient_row(settings.preset, p) for p in patients])
    write_adam({"admri": adam_lesions(settings.preset, people, visits)}, folder / "adam")


def describe_trial(settings: TrialSettings) -> dict[str, Any]:
    """Content of `truth.json`: every parameter, and the true statistics.

    Examples
    --------
    >>> from nnunet_ms.simulation.model.trial_presets import DEMO
    >>> truth = describe_trial(TrialSettings(DEMO, patients=40, seed=0, grid=DEMO.grid, images=False))
    >>> truth["simulated"], truth["parameters"]["patients"]
    (True, 40)
    """
    preset = asdict(settings.preset)
    if settings.preset.rims is None:  # a trial without them is the one that it was before there were any
        del preset["rims"]
    parameters = {
        **preset,
        "patients": settings.patients,
        "grid": settings.grid,
        "images": settings.images,
        "qsm": settings.qsm,
        "susceptibility": asdict(SUSCEPTIBILITY),
        "grid_settings": asdict(GRIDS[settings.grid]),
        "scanner": asdict(SCANNER),
        "contrasts": {name: asdict(contrast) for name, contrast in CONTRASTS.items()},
    }
    truth = one_thread(truth_rows)(settings.preset)
    if settings.images:  # masks grow lesion by lesion as their volumes do, and are measured
        truth = [row for row in truth if row["endpoint"] not in GROWTH_ENDPOINTS]
    return {
        "simulated": True,
        "seed": settings.seed,
        "preset": settings.preset.name,
        "parameters": parameters,
        "truth": truth,
    }


def simulate_patients(settings: TrialSettings) -> list[SimulatedPatient]:
    """Every patient of the trial, each from streams of its own.

    Examples
    --------
    >>> from nnunet_ms.simulation.model.trial_presets import DEMO
    >>> settings = TrialSettings(DEMO, patients=40, seed=0, grid=DEMO.grid, images=False)
    >>> patients = simulate_patients(settings)
    >>> sum(patient.arm for patient in patients), len(patients[0].volume_ml)
    (20, 3)
    """
    arms = cohort.draw_arms(settings.preset, settings.patients, stream(settings.seed, Step.ALLOCATION))
    return [simulate_patient(settings.preset, settings.seed, index, int(arm)) for index, arm in enumerate(arms)]


def simulate_patient(preset: TrialPreset, seed: int, index: int, arm: int) -> SimulatedPatient:
    """Draw one patient of `arm` (index into the preset's arms).

    Examples
    --------
    >>> from nnunet_ms.simulation.model.trial_presets import DEMO
    >>> patient = simulate_patient(DEMO, seed=0, index=6, arm=1)
    >>> patient.name, patient.volume_ml == simulate_patient(DEMO, seed=0, index=6, arm=1).volume_ml
    ('P007', True)
    """

    def draw(step: Step) -> np.random.Generator:
        return stream(seed, step, index)

    baseline = cohort.draw_baseline(preset, 1, draw(Step.BASELINE))
    log_tlv = cohort.draw_log_tlv(preset, np.array([arm]), baseline.log_tlv, draw(Step.VOLUME))
    hazards = (preset.edss, preset.t25fw.hazard, preset.nhpt.hazard)
    progression, visits = draw(Step.PROGRESSION), draw(Step.ASSESSMENTS)
    onsets = []
    for hazard in hazards:
        ratio = cohort.log_hazard_ratio(preset, hazard, np.array([arm]), baseline)
        onsets.append(cohort.draw_onset(hazard.per_year, ratio, progression))
    edss = cohort.draw_edss(preset, baseline.edss, onsets[0], visits)
    timed = [
        cohort.draw_timed_test(preset, test, onset, visits)
        for test, onset in zip((preset.t25fw, preset.nhpt), onsets[1:], strict=True)
    ]
    activity = draw(Step.NEW_LESIONS)
    volume_ml = np.exp(log_tlv[0])
    last_week = min(float(baseline.discontinued_week[0]), float(preset.assessment_weeks[-1]))
    return SimulatedPatient(
        index=index,
        arm=arm,
        baseline=baseline,
        volume_ml=tuple(volume_ml.tolist()),
        activity=cohort.draw_activity(preset, np.array([arm]), activity),
        black_holes=int(activity.binomial(cohort.baseline_lesions(preset, volume_ml[:1])[0], preset.black_hole_share)),
        onset_week=tuple(float(onset[0]) for onset in onsets),
        edss=tuple(edss[0].tolist()),
        t25fw_s=tuple(timed[0][0].tolist()),
        nhpt_s=tuple(timed[1][0].tolist()),
        relapse_weeks=tuple(cohort.draw_relapses(preset, arm, last_week, draw(Step.RELAPSES))),
        last_week=last_week,
    )


def clinical_tables(settings: TrialSettings, patients: Sequence[SimulatedPatient]) -> dict[str, pd.DataFrame]:
    """Tables `patients`, `assessments`, `relapses` of `nnunet_ms.tables`.

    Examples
    --------
    >>> from nnunet_ms.simulation.model.trial_presets import DEMO
    >>> settings = TrialSettings(DEMO, patients=4, seed=0, grid=DEMO.grid, images=False)
    >>> frames = clinical_tables(settings, simulate_patients(settings))
    >>> list(frames), len(frames["patients"])
    (['patients', 'assessments', 'relapses'], 4)
    """
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
    """Lesions as both raters would report them (`tables.VISITS`), for a trial without images.

    Examples
    --------
    >>> from nnunet_ms.simulation.model.trial_presets import DEMO
    >>> settings = TrialSettings(DEMO, patients=4, seed=0, grid=DEMO.grid, images=False)
    >>> visits = visit_table(settings, simulate_patients(settings))
    >>> sorted(set(visits["rater"])), sorted(set(visits["lesion_type"]))
    (['reference', 'simulated_reader'], ['t1_enhancing', 't1_unenhancing', 't2_lesions'])
    """
    rows = [row for p in patients for row in _visit_rows(settings, p)]
    frame = pd.DataFrame(rows, columns=tables.VISITS.names)
    whole = [*CHANGES, *([] if settings.preset.rims is None else [tables.PRL_COUNT])]
    return frame[[name for name in frame if name != tables.PRL_COUNT or name in whole]].astype(
        dict.fromkeys(whole, "Int64")
    )


def _visit_rows(settings: TrialSettings, p: SimulatedPatient) -> Iterator[tuple[object, ...]]:
    """Yield the rows of one patient. A T1 lesion has the patient's mean T2 lesion volume of the visit."""
    preset, rng = settings.preset, stream(settings.seed, Step.READER, p.index)
    growing = stream(settings.seed, Step.GROWTH_READER, p.index)
    grown = p.activity.enlarging_t2[0]
    new = {
        "t2_lesions": p.activity.new_t2[0],
        "t1_enhancing": p.activity.enhancing[0],
        "t1_unenhancing": p.activity.new_t1[0],
    }
    count = {
        "t2_lesions": cohort.baseline_lesions(preset, np.array(p.volume_ml[:1]))[0] + np.cumsum(new["t2_lesions"]),
        "t1_enhancing": new["t1_enhancing"],
        "t1_unenhancing": p.black_holes + np.cumsum(new["t1_unenhancing"]),
    }
    # a visit has the lesions that are new there or have grown, whatever its volume says
    count["t2_lesions"] = np.maximum(count["t2_lesions"], new["t2_lesions"] + grown)
    read = read_volumes(preset.reader, np.array([p.volume_ml]), rng)[0]
    rims = _rims_read(preset, p, stream(settings.seed, Step.RIM_READER, p.index))
    for rater, volume_ml in ((tables.REFERENCE, np.array(p.volume_ml)), (RATER, read)):
        for kind in LESION_TYPES:
            counts, fresh, larger = count[kind], new[kind], grown if kind == "t2_lesions" else None
            if rater == RATER:
                counts, fresh = read_counts(preset.reader, counts, rng), read_counts(preset.reader, fresh, rng)
                larger = None if larger is None else read_counts(preset.reader, larger, growing)
                counts = np.maximum(counts, fresh if larger is None else np.maximum(fresh + larger, 1))
            share = 1.0 if kind == "t2_lesions" else np.minimum(counts / count["t2_lesions"], 1.0)
            for k in observed_visits(preset, p):
                week = preset.mri_weeks[k]
                case = (f"{p.name}_{visit_name(week)}", p.name, visit_name(week), week)
                volume = round(float((volume_ml * share)[k]), 6)
                change = [None if values is None or not k else int(values[k]) for values in (fresh, larger)]
                since = preset.mri_weeks[k - 1] if k else None
                seen = int(rims[rater][k]) if kind == "t2_lesions" and rims else None
                yield (*case, rater, kind, int(counts[k]), volume, *change, since, seen)


def _rims_read(preset: TrialPreset, p: SimulatedPatient, rng: np.random.Generator) -> dict[str, npt.NDArray[np.int64]]:
    """Rim lesions at each MRI week, by rater: they stay, and the simulated reader misses and invents some."""
    if preset.rims is None:
        return {}
    true = np.repeat(p.baseline.prl_count, len(preset.mri_weeks))
    return {tables.REFERENCE: true, RATER: read_counts(preset.reader, true, rng)}


def manifest(settings: TrialSettings, patients: Sequence[SimulatedPatient]) -> pd.DataFrame:
    """Where every visit's images are (`tables.MANIFEST`), relative to the manifest."""
    weeks = settings.preset.mri_weeks
    visits = [(p.name, weeks[k]) for p in patients for k in observed_visits(settings.preset, p)]
    return pd.DataFrame([manifest_row(*visit, qsm=settings.qsm) for visit in visits])


def write_images(settings: TrialSettings, folder: Path, p: SimulatedPatient) -> None:
    """Write the images of the patient's visits that are not complete yet."""
    wanted = observed_visits(settings.preset, p)
    course = Course(
        p.volume_ml,
        tuple(p.activity.new_t2[0].tolist()),
        tuple(p.activity.enhancing[0].tolist()),
        tuple(p.activity.new_t1[0].tolist()),
        settings.preset.black_hole_share,
    )
    weeks = [settings.preset.mri_weeks[k] for k in wanted]
    write_patient(folder, settings.grid, course, weeks, settings.seed, p.index, settings.qsm)


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
        **({} if preset.rims is None else {tables.PRL_COUNT: int(p.baseline.prl_count[0])}),
    }
