"""A simulated trial, or cohort of rims or of disability, by one call: what `nnunet-ms-simulate` runs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite, log
from pathlib import Path
from typing import Literal, get_args

from nnunet_ms.errors import OptionError, SettingsError
from nnunet_ms.options import chosen, known_keywords
from nnunet_ms.parallel import Failure, Workers
from nnunet_ms.simulation.images.disability_files import DisabilitySettings, write_disability
from nnunet_ms.simulation.images.disability_scan import EDGES_MM
from nnunet_ms.simulation.images.rim_files import RimSettings, write_rims
from nnunet_ms.simulation.images.scan_files import ScansSettings, write_scans
from nnunet_ms.simulation.model.disability import Signal
from nnunet_ms.simulation.model.presets import Rims, TrialPreset
from nnunet_ms.simulation.model.trial_presets import PRESETS
from nnunet_ms.simulation.trial import TrialSettings, write_trial
from nnunet_ms.synthesis.scan import Drawn
from nnunet_ms.threads import one_thread

Preset = Literal["demo", "opera1", "opera2", "oratorio", "olympus"]
GridName = Literal["trial", "isotropic", "demo"]
LARGEST_FIELD_EFFECT = 5.0
THICKEST_MM = 10.0


@dataclass(frozen=True)
class SimulatedTrial:
    """A simulated trial on disk, and the patients whose images could not be made.

    `settings` is its `trial.toml`, for `run_trial`; `manifest` lists its images, for `convert`, where there are any.
    """

    folder: Path
    failures: list[Failure]

    @property
    def settings(self) -> Path:
        """`trial.toml`; with images, its visits.csv is there once masks have been evaluated."""
        return self.folder / "trial.toml"

    @property
    def manifest(self) -> Path:
        """`manifest.csv`, of a trial with images."""
        return self.folder / "manifest.csv"


@one_thread
@known_keywords
def simulate(
    out: str | Path,
    preset: Preset = "demo",
    patients: int | None = None,
    *,
    seed: int = 0,
    grid: GridName | None = None,
    images: bool = False,
    qsm: bool = False,
    prl_hazard_ratios: Sequence[float] | None = None,
    workers: Workers = 1,
) -> SimulatedTrial:
    """Simulate a two-arm trial with known effects, or finish one that was interrupted.

    Parameters
    ----------
    out : str or Path
        Folder: new, empty, or holding a trial of the same arguments.
    preset : {"demo", "opera1", "opera2", "oratorio", "olympus"}, optional
        Which trial's arms, schedule and effects.
    patients : int, optional
        Number of patients, >= 1; without it the preset's.
    seed : int, optional
        >= 0; the same arguments give the same bytes.
    grid : {"trial", "isotropic", "demo"}, optional
        Voxel grid of the images, see `model.presets.GRIDS`; without it the preset's.
    images : bool, optional
        Whether images and masks are made, instead of a table of lesion volumes.
    qsm : bool, optional
        Whether images come with a map of susceptibility.
    prl_hazard_ratios : (3,) sequence of float, optional
        Hazard ratios > 0 of the treatment in patients with 0, 1 to 3, and 4 or more rim lesions, of every kind of
        progression, in the place of the preset's; patients then have `prl_count`. Of a trial without images.
    workers : int or Dask, optional
        Processes, or a cluster, that make images; the result does not depend on it.

    Returns
    -------
    SimulatedTrial
        Where its files are; `truth.json` holds every parameter and the true effects.

    Raises
    ------
    SettingsError
        If an argument is outside its range, or `out` holds something else.

    Examples
    --------
    >>> trial = simulate("simulated", patients=4)
    >>> sorted(path.name for path in trial.folder.glob("*.csv"))
    ['assessments.csv', 'patients.csv', 'relapses.csv', 'visits.csv']
    """
    chosen_preset = PRESETS[chosen(preset, get_args(Preset), "preset")]
    chosen_grid = chosen(grid, get_args(GridName), "grid") if grid is not None else chosen_preset.grid
    number = chosen_preset.patients if patients is None else patients
    _check_numbers(number, seed)
    if qsm and not images:
        raise SettingsError("qsm: expected images beside it, found none. Ask for images too, or leave out qsm.")
    folder = Path(out)
    if prl_hazard_ratios is not None:
        chosen_preset = _with_rims(chosen_preset, prl_hazard_ratios, images)
    trial = TrialSettings(chosen_preset, number, seed, chosen_grid, images, qsm)
    return SimulatedTrial(folder, write_trial(trial, folder, workers))


@dataclass(frozen=True)
class SimulatedRims:
    """A cohort of rims on disk, and the patients that could not be made.

    `manifest` and `manifest_flair` are for `nnunet-ms-rim`, with lesion masks as drawn on QSM and on FLAIR; `truth` has
    one row per lesion.
    """

    folder: Path
    failures: list[Failure]

    @property
    def manifest(self) -> Path:
        """`manifest.csv`, with masks of QSM."""
        return self.folder / "manifest.csv"

    @property
    def manifest_flair(self) -> Path:
        """`manifest_flair.csv`, the same visits with masks of FLAIR."""
        return self.folder / "manifest_flair.csv"

    @property
    def truth(self) -> Path:
        """`truth.csv`: what each lesion is."""
        return self.folder / "truth.csv"


@known_keywords
def simulate_rims(out: str | Path, patients: int = 120, *, seed: int = 0, workers: Workers = 1) -> SimulatedRims:
    """Simulate patients with rim lesions on QSM, or finish a cohort that was interrupted.

    Parameters
    ----------
    out : str or Path
        Folder: new, empty, or holding a cohort of the same arguments.
    patients : int, optional
        Number of patients, >= 1; each has about 25 lesions.
    seed : int, optional
        >= 0; the same arguments give the same bytes.
    workers : int or Dask, optional
        Processes, or a cluster; the result does not depend on it.

    Returns
    -------
    SimulatedRims
        Where its files are.

    Raises
    ------
    SettingsError
        If an argument is outside its range, or `out` holds something else.

    Examples
    --------
    >>> cohort = simulate_rims("rim_cohort", patients=1)
    >>> pd.read_csv(cohort.truth)["kind"].value_counts().to_dict()
    {'bright': 14, 'iso': 7, 'dark': 4, 'rim': 1}
    """
    _check_numbers(patients, seed)
    folder = Path(out)
    return SimulatedRims(folder, write_rims(RimSettings(patients, seed), folder, workers))


@dataclass(frozen=True)
class SimulatedDisability:
    """A cohort for the stratification of disability on disk, and the patients that could not be made.

    `manifest` is for `nnunet-ms-stratify`, `assessments` for its survival task, `truth` has one row per scan.
    """

    folder: Path
    failures: list[Failure]

    @property
    def manifest(self) -> Path:
        """`manifest.csv`."""
        return self.folder / "manifest.csv"

    @property
    def assessments(self) -> Path:
        """`assessments.csv`: EDSS every 12 weeks."""
        return self.folder / "assessments.csv"

    @property
    def truth(self) -> Path:
        """`truth.csv`: what each scan was drawn from, with the true risk."""
        return self.folder / "truth.csv"


@known_keywords
def simulate_disability(
    out: str | Path,
    patients: int = 160,
    *,
    seed: int = 0,
    signal: Signal = "ventricles",
    field_effect: float = 0.0,
    edge_mm: int = 2,
    workers: Workers = 1,
) -> SimulatedDisability:
    """Simulate patients whose EDSS depends on what T1 and FLAIR show, or finish a cohort that was interrupted.

    Parameters
    ----------
    out : str or Path
        Folder: new, empty, or holding a cohort of the same arguments.
    patients : int, optional
        Number of patients, >= 1; a fifth of them is scanned twice.
    seed : int, optional
        >= 0; the same arguments give the same bytes.
    signal : {"ventricles", "brainstem", "lesions", "age", "mixed", "none"}, optional
        What the EDSS mostly depends on; with `none` on nothing.
    field_effect : float, optional
        Log odds ratio, from -5 to 5, of a scan at 1.5 T rather than 3 T with EDSS >= 3.0 against below: a confounder.
    edge_mm : {2, 4}, optional
        Of the voxels.
    workers : int or Dask, optional
        Processes, or a cluster; the result does not depend on it.

    Returns
    -------
    SimulatedDisability
        Where its files are.

    Raises
    ------
    SettingsError
        If an argument is outside its range, or `out` holds something else.

    Examples
    --------
    >>> cohort = simulate_disability("disability_cohort", patients=1, edge_mm=4)
    >>> pd.read_csv(cohort.truth)[["patient_id", "visit", "disabled"]].values.tolist()
    [['P001', 'week000', 1]]
    """
    _check_numbers(patients, seed)
    chosen(signal, get_args(Signal), "signal")
    if edge_mm not in EDGES_MM:
        raise OptionError(f"edge_mm: expected 2 or 4, found {edge_mm!r}. Choose one of them.")
    if not abs(field_effect) <= LARGEST_FIELD_EFFECT:
        raise OptionError(
            f"field_effect: expected a number from -5 to 5, a log odds ratio, found {field_effect!r}. Correct it."
        )
    settings = DisabilitySettings(patients, seed, signal, float(field_effect), edge_mm)
    return SimulatedDisability(Path(out), write_disability(settings, Path(out), workers))


@dataclass(frozen=True)
class SimulatedScans:
    """Synthetic scans on disk, and those that could not be made.

    `manifest` is for `convert`; `truth` has one row per scan.
    """

    folder: Path
    failures: list[Failure]

    @property
    def manifest(self) -> Path:
        """`manifest.csv`."""
        return self.folder / "manifest.csv"

    @property
    def truth(self) -> Path:
        """`truth.csv`: label map, lesion masks, slices and volumes of each scan."""
        return self.folder / "truth.csv"


@known_keywords
def simulate_scans(
    out: str | Path,
    count: int = 20,
    *,
    seed: int = 0,
    labels: Sequence[str | Path] = (),
    lesions: Sequence[str | Path] = (),
    sequences: Sequence[str] = ("flair", "t2", "t1"),
    slices_mm: Sequence[float] = (1.0, 7.0),
    thick: float = 0.5,
    own_grid: bool = False,
    skull: bool = False,
    workers: Workers = 1,
) -> SimulatedScans:
    """Make scans for training out of label maps and lesion masks, or finish a set that was interrupted.

    Parameters
    ----------
    out : str or Path
        Folder: new, empty, or holding scans of the same arguments.
    count : int, optional
        Number of scans, >= 1, each of a patient of its own.
    seed : int, optional
        >= 0; the same arguments and files give the same bytes.
    labels : sequence of path, optional
        Label maps with FreeSurfer's numbers, files or folders; without them the phantom's brain.
    lesions : sequence of path, optional
        Lesion masks aligned to MNI space, files or folders (names with "lesion"), or manifests with `t1` or `flair`,
        `brain_mask` and `t2_lesions`, which are fitted to it; without them the phantom's lesions.
    sequences : sequence of {"flair", "t2", "t1", "t1post", "pd"}, optional
        With `t1post` lesions may enhance.
    slices_mm : (float, float), optional
        Range of the thickness of slices, from 1 mm on.
    thick : float, optional
        Share of scans with slices thicker than 1 mm.
    own_grid : bool, optional
        Write the slices themselves, not what is interpolated between them to 1 mm.
    skull : bool, optional
        Leave skull and scalp of label maps that have them.
    workers : int or Dask, optional
        Processes, or a cluster; the result does not depend on it.

    Returns
    -------
    SimulatedScans
        Where its files are.

    Raises
    ------
    SettingsError
        If an argument is outside its range, or `out` holds something else.
    ImageError
        If a label map or a mask cannot be used.

    Examples
    --------
    >>> scans = simulate_scans("scans", count=1, sequences=("flair",), slices_mm=(5, 5), thick=1, own_grid=True)
    >>> pd.read_csv(scans.truth)[["patient_id", "label_map", "slices_mm"]].values.tolist()
    [['P001', 'phantom', 5.0]]
    """
    _check_numbers(count, seed)
    names = tuple(chosen(one, get_args(Drawn), "sequence") for one in sequences)
    if not names or len(set(names)) < len(names):
        raise OptionError(f"sequences: expected some, each once, found {list(sequences)}. Correct them.")
    low, high = (float(one) for one in slices_mm)
    if not 1 <= low <= high <= THICKEST_MM:
        raise OptionError(
            f"slices_mm: expected two numbers from 1 to {THICKEST_MM:g}, the smaller one first, found {low:g} and "
            f"{high:g}. Correct them."
        )
    if not 0 <= thick <= 1:
        raise OptionError(f"thick: expected a share from 0 to 1, found {thick!r}. Correct it.")
    settings = ScansSettings(count, seed, names, (low, high), float(thick), own_grid, skull)
    maps, masks = ([Path(one) for one in several] for several in (labels, lesions))
    return SimulatedScans(Path(out), write_scans(settings, Path(out), maps, masks, workers))


def _check_numbers(patients: int, seed: int) -> None:
    for name, found, least in (("patients", patients, 1), ("seed", seed, 0)):
        if found < least:
            raise OptionError(f"{name}: expected a whole number >= {least}, found {found}. Correct it.")


def _with_rims(preset: TrialPreset, ratios: Sequence[float], images: bool) -> TrialPreset:
    """The preset with an effect of treatment that depends on rim lesions."""
    given = tuple(float(ratio) for ratio in ratios)
    if len(given) != 3 or not all(isfinite(ratio) and ratio > 0 for ratio in given):
        raise OptionError(
            f"prl_hazard_ratios: expected three numbers > 0, for 0, 1 to 3, and 4 or more rim lesions, found "
            f"{list(ratios)}. Correct them."
        )
    if images:
        raise OptionError(
            "prl_hazard_ratios: expected a trial without images, whose rims are drawn lesion by lesion, found images. "
            "Leave one of them out."
        )
    first, second, third = (log(ratio) for ratio in given)
    return replace(preset, rims=Rims((first, second, third)))
