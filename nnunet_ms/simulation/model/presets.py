"""Presets of the simulator: grids, lesion sizes, scanners and trials. Data only, so that a command can list them fast.

A trial preset holds every number of the generating model; `truth.json` repeats them all.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class LesionSizes:
    """Volume of one lesion: log-normal, at least `smallest_voxels` voxels of the grid, at most `largest_mm3`."""

    median_mm3: float
    log_sd: float
    largest_mm3: float = 6000.0
    smallest_voxels: int = 3  # the rule of the multi-arm paper: smaller components are no lesions


@dataclass(frozen=True)
class GridSettings:
    """Voxel edge lengths (x, y, z) in mm, and the lesion sizes that this grid can show."""

    spacing_mm: tuple[float, float, float]
    sizes: LesionSizes


@dataclass(frozen=True)
class Contrast:
    """One MR contrast: signals of pure tissue and lesions, in the scanner's arbitrary units.

    `texture` weighs the fine structure of the template's T1 image: T1 follows it, T2 and FLAIR oppose it.
    """

    csf: float
    grey: float
    white: float
    lesion: float
    black_hole: float  # lesion of the T1-unenhancing kind
    enhancing: float
    texture: float
    halo: float = 0.0  # brightening of normal white matter beside the ventricles, in units of its signal


@dataclass(frozen=True)
class Scanner:
    """What the acquisition adds to the tissue signal."""

    noise: float = 0.05  # SD of the complex noise over the signal of white matter
    bias_log_sd: float = 0.05  # SD of the logarithm of the smooth coil profile left after correction
    gain_log_sd: float = 0.15  # SD of the logarithm of the overall scaling, per visit and contrast
    noise_log_sd: float = 0.15  # of the noise's level between visits and contrasts
    shift_sd_mm: float = 0.25  # misregistration left between the contrasts of one visit, per axis
    turn_sd_degrees: float = 0.2  # the same, per axis
    ghost_sd: float = 0.01  # motion during the scan: amplitude of the ghost half a field of view away
    lesion_edge_mm: float = 0.7  # half-width of the ramp from lesion to tissue
    weakest_lesion: float = 0.5  # contrast of the faintest lesion over that of `Contrast.lesion`
    strongest_lesion: float = 1.15
    white_matter_log_sd: float = 0.035  # patchy ("dirty") normal-appearing white matter


@dataclass(frozen=True)
class PhantomLesions:
    """Lesions of single scans without a trial: total volume log-normal (cut at 2.5 SD), kinds by their shares."""

    tlv_median_ml: float = 8.0
    tlv_log_sd: float = 0.7
    enhancing: float = 1.2  # mean number per patient at the first visit
    black_hole_share: float = 0.4  # of the lesions at the first visit
    log_slope_per_year: float = 0.04  # of the volume, for patients scanned more than once
    log_slope_sd: float = 0.1
    new_per_visit: float = 1.5  # mean numbers between two visits
    enhancing_per_visit: float = 0.6
    new_t1_per_visit: float = 0.5


@dataclass(frozen=True)
class Arm:
    """One treatment arm. Slopes, new and enlarging lesions, `relapses` are per patient-year, `enhancing` per scan."""

    name: str
    log_tlv_slope: float
    new_lesions: float  # T2, as the next
    enlarging: float  # lesions that have grown since the scan before
    enhancing: float  # T1 enhancing lesions per scan; each is one of the scan's new T2 lesions
    new_t1: float  # T1 lesions that are unenhancing for the first time
    relapses: float


@dataclass(frozen=True)
class Hazard:
    """Hazard of one kind of progression: exponential onset, proportional in arm and log lesion volume.

    `per_year`: reference arm at the median volume. `log_ratio`: per arm, at the median volume. `per_log_tlv`: slope
    per arm; where the slopes differ, arm and volume interact.
    """

    per_year: float
    log_ratio: tuple[float, ...]
    per_log_tlv: tuple[float, ...]


@dataclass(frozen=True)
class Covariates:
    """Log hazard ratios of baseline covariates, common to every kind of progression."""

    male: float = 0.0
    us: float = 0.0
    edss_below_4: float = 0.0
    age_per_year: float = 0.0


@dataclass(frozen=True)
class TimedTest:
    """A timed test in seconds that worsens for good by the factor `worsening` at its progression."""

    median_s: float
    log_sd: float
    noise_log_sd: float
    worsening: float
    hazard: Hazard


@dataclass(frozen=True)
class TableReader:
    """The simulated reader of a trial without images; with images it reads the masks (`mask_reader.Reader`).

    Volumes are off by a factor that stays with the patient and one that changes with the visit; lesions are missed,
    and others invented.
    """

    patient_log_sd: float = 0.08
    visit_log_sd: float = 0.03
    bias: float = 0.03
    missed_share: float = 0.15
    invented_share: float = 0.1


@dataclass(frozen=True)
class Rims:
    """Rim lesions at baseline, and what they do to every kind of progression; all ours.

    Counts are negative binomial. By stratum (`lesions.rims.PRL_STRATA`: 0, 1 to 3, 4 and more): `log_ratio` is that of
    the compared arm over the reference arm, in the place of `Hazard.log_ratio`; `log_risk` that of both arms over
    patients without a rim.
    """

    log_ratio: tuple[float, float, float]
    log_risk: tuple[float, float, float] = (0.0, 0.25, 0.5)
    mean_count: float = 2.2
    count_dispersion: float = 1.0


@dataclass(frozen=True)
class TrialPreset:
    """Everything that generates one trial. The first arm is the reference of every contrast."""

    name: str
    patients: int
    grid: str
    arms: tuple[Arm, ...]
    allocation: tuple[str, ...]  # one block of the permuted-block randomisation
    mri_weeks: tuple[int, ...]  # the first is the baseline, week 0
    assessment_weeks: tuple[int, ...]
    tlv_median_ml: float
    tlv_log_sd: float
    tlv_truncation_sd: float  # baseline log volumes beyond this many SD are not drawn
    tlv_slope_sd: float  # between patients, per year, of log volume
    tlv_visit_sd: float  # from visit to visit within a patient, of log volume
    new_lesion_dispersion: float  # of every count: variance = mean + dispersion x mean^2
    enhancing_at_baseline: float  # mean number per patient
    black_hole_share: float  # of the lesions at baseline
    age_mean: float
    age_sd: float
    age_limits: tuple[float, float]
    female_share: float
    us_share: float
    edss_levels: tuple[float, ...]
    edss_weights: tuple[float, ...]
    discontinuations_per_year: float
    edss: Hazard
    edss_fluctuation: float  # share of assessments half a point off
    edss_spikes: float  # share of assessments that reach the threshold once and do not confirm
    t25fw: TimedTest
    nhpt: TimedTest
    covariates: Covariates = Covariates()
    reader: TableReader = TableReader()
    rims: Rims | None = None


GRIDS = {
    # 41 % of the lesions have at most 10 voxels, 83 % at most 50 (Krishnan et al., Sci Rep 2023;13:4102, OPERA II)
    "trial": GridSettings((1.0, 1.0, 3.0), LesionSizes(median_mm3=31.0, log_sd=1.48)),
    "isotropic": GridSettings((1.0, 1.0, 1.0), LesionSizes(median_mm3=31.0, log_sd=1.48)),
    # A voxel of 16 mm3 cannot hold the lesions that are most frequent at 1x1x3 mm: sizes shifted to larger ones.
    "demo": GridSettings((2.0, 2.0, 4.0), LesionSizes(median_mm3=300.0, log_sd=0.95)),
}

CONTRASTS = {
    "flair": Contrast(csf=110, grey=540, white=440, lesion=740, black_hole=700, enhancing=760, texture=-160, halo=0.18),
    "t2": Contrast(csf=1050, grey=600, white=450, lesion=720, black_hole=780, enhancing=740, texture=-180, halo=0.04),
    "t1": Contrast(csf=250, grey=620, white=860, lesion=780, black_hole=500, enhancing=760, texture=700),
    "t1post": Contrast(csf=270, grey=650, white=870, lesion=790, black_hole=510, enhancing=1250, texture=700),
}


@dataclass(frozen=True)
class Susceptibility:
    """Quantitative susceptibility in ppm: tissue, lesions, and the iron rim of some chronic lesions."""

    grey: float = 0.02
    white: float = -0.03
    lesion: float = 0.02
    rim_low: float = 0.05
    rim_high: float = 0.10
    rim_mm: float = 0.9  # half-width of the rim, inside the lesion's border
    rim_share: float = 0.04  # of the lesions (177 of 4163; Zhang et al., NeuroImage Clin 2022;34:102979)
    rim_smallest_mm3: float = 60.0  # a smaller lesion has no room for core and rim
    noise: float = 0.012


SCANNER = Scanner()

SUSCEPTIBILITY = Susceptibility()

PHANTOMS = PhantomLesions()
