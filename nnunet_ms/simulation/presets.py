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
    shift_sd_mm: float = 0.25  # misregistration left between the contrasts of one visit, per axis
    lesion_edge_mm: float = 0.7  # half-width of the ramp from lesion to tissue
    weakest_lesion: float = 0.5  # contrast of the faintest lesion over that of `Contrast.lesion`
    strongest_lesion: float = 1.15
    white_matter_log_sd: float = 0.035  # patchy ("dirty") normal-appearing white matter


@dataclass(frozen=True)
class PhantomLesions:
    """Lesions of single scans without a trial: total volume log-normal (cut at 2.5 SD), kinds by their shares."""

    tlv_median_ml: float = 8.0
    tlv_log_sd: float = 0.7
    enhancing: float = 1.2  # mean number per patient
    black_hole_share: float = 0.4  # of the lesions that do not enhance


@dataclass(frozen=True)
class Arm:
    """One treatment arm. Rates are per patient-year, slopes per year, ratios against the first arm."""

    name: str
    log_tlv_slope: float
    new_lesions: float
    relapses: float
    log_hazard_ratio: float = 0.0
    log_hazard_ratio_per_log_tlv: float = 0.0  # arm x log TLV


@dataclass(frozen=True)
class TimedTest:
    """A timed test in seconds that worsens for good by the factor `worsening` at its progression."""

    median_s: float
    log_sd: float
    noise_log_sd: float
    worsening: float
    progressions_per_year: float  # first arm, at the median lesion volume


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
    new_lesion_dispersion: float  # variance = mean + dispersion x mean^2
    enhancing_share: float  # of the lesions that are new at a visit
    enhancing_at_baseline: float  # mean number per patient
    black_hole_share: float  # of the lesions that do not enhance
    age_mean: float
    age_sd: float
    age_limits: tuple[float, float]
    female_share: float
    us_share: float
    edss_levels: tuple[float, ...]
    edss_weights: tuple[float, ...]
    discontinuations_per_year: float
    progressions_per_year: float  # EDSS, first arm, at the median lesion volume
    log_hazard_per_log_tlv: float  # of every progression
    edss_fluctuation: float  # share of assessments half a point off
    edss_spikes: float  # share of assessments that reach the threshold once and do not confirm
    t25fw: TimedTest
    nhpt: TimedTest


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

SCANNER = Scanner()

PHANTOMS = PhantomLesions()

DEMO = TrialPreset(
    name="demo",
    patients=40,
    grid="demo",
    arms=(
        Arm("placebo", log_tlv_slope=0.08, new_lesions=2.0, relapses=0.35),
        Arm("active", log_tlv_slope=-0.05, new_lesions=0.3, relapses=0.15, log_hazard_ratio=-0.5),
    ),
    allocation=("placebo", "placebo", "active", "active"),
    mri_weeks=(0, 24, 96),
    assessment_weeks=tuple(range(0, 121, 12)),  # 24 weeks beyond the last MRI, so that its onsets can be confirmed
    tlv_median_ml=8.0,
    tlv_log_sd=0.7,
    tlv_truncation_sd=2.5,
    tlv_slope_sd=0.05,
    tlv_visit_sd=0.03,
    new_lesion_dispersion=0.8,
    enhancing_share=0.5,
    enhancing_at_baseline=1.2,
    black_hole_share=0.4,
    age_mean=42.0,
    age_sd=9.0,
    age_limits=(18.0, 60.0),
    female_share=0.62,
    us_share=0.3,
    edss_levels=(1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0),
    edss_weights=(0.08, 0.14, 0.14, 0.14, 0.13, 0.11, 0.08, 0.06, 0.06, 0.06),
    discontinuations_per_year=0.08,
    progressions_per_year=0.35,  # high, so that a few dozen patients have events
    log_hazard_per_log_tlv=0.4,
    edss_fluctuation=0.2,
    edss_spikes=0.05,
    t25fw=TimedTest(median_s=6.0, log_sd=0.35, noise_log_sd=0.03, worsening=1.4, progressions_per_year=0.2),
    nhpt=TimedTest(median_s=23.0, log_sd=0.2, noise_log_sd=0.03, worsening=1.4, progressions_per_year=0.12),
)

PRESETS = {DEMO.name: DEMO}
