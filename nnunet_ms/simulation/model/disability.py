"""The generating model of disability: age, ventricles and lesions make a risk, the risk an EDSS, and its worsening.

A latent severity is a weighted sum of four standard normal numbers of the patient and logistic noise, so the odds of
an EDSS of at least 3.0 are known for every scan, and with them the best AUC that any classifier can reach.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from nnunet_ms.arrays import Floats
from nnunet_ms.simulation.model.cohort import draw_edss, draw_onset
from nnunet_ms.simulation.model.streams import Step, stream
from nnunet_ms.simulation.model.trial_presets import DEMO, WEEKS_PER_YEAR

Signal = Literal["ventricles", "brainstem", "lesions", "age", "mixed", "none"]
DAYS_PER_WEEK = 7
POPULATION = 50_000  # of the cut points and the best AUC
DISABLED = 3.0  # EDSS
CLIP_SD = 2.5  # of ventricles and lesions: farther out a deformation would fold


@dataclass(frozen=True)
class Strengths:
    """Logarithm of the odds ratio of EDSS >= 3.0 per SD of each; all ours."""

    ventricles: float
    lesions: float
    age: float
    brainstem: float = 0.0  # of its shrinkage


SIGNALS: dict[Signal, Strengths] = {
    "ventricles": Strengths(2.0, 0.3, 0.3),
    "brainstem": Strengths(0.3, 0.3, 0.3, 2.0),
    "lesions": Strengths(0.3, 2.0, 0.3),
    "age": Strengths(0.3, 0.3, 2.0),
    "mixed": Strengths(1.0, 1.0, 0.7),
    "none": Strengths(0.0, 0.0, 0.0),
}


@dataclass(frozen=True)
class DisabilityModel:
    """Every number of the cohort besides `Strengths`; all ours, but for the share of second scans (382 of 319 [1]_).

    Ventricles go with age and lesions with ventricles, as correlations; the brain stem goes with nothing.
    `edss_weights` are the shares of `edss_levels` among first scans, whatever the signal.

    References
    ----------
    .. [1] Coll L et al. J Magn Reson Imaging 60:258-267, 2024. doi:10.1002/jmri.29046
    """

    age_mean: float = 42.0
    age_sd: float = 11.0
    age_limits: tuple[float, float] = (18.0, 75.0)
    female_share: float = 0.7
    ventricles_with_age: float = 0.3
    lesions_with_ventricles: float = 0.2
    tlv_median_ml: float = 8.0
    tlv_log_sd: float = 0.7
    tlv_growth_per_year: float = 0.06  # of its logarithm
    second_scan_share: float = 63 / 319
    second_scan_weeks: tuple[int, ...] = (48, 72, 96)
    longest_days_to_edss: int = 183
    three_tesla_share: float = 0.6
    edss_levels: tuple[float, ...] = (0, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, 6, 6.5, 7)
    edss_weights: tuple[float, ...] = (8, 12, 12, 13, 9, 10, 8, 8, 5, 3, 3, 5, 3, 1)
    assessment_weeks: tuple[int, ...] = tuple(range(0, 241, 12))
    worsening_per_year: float = 0.1
    worsening_log_ratio: float = 0.4  # of the hazard, per unit of the latent sum
    lost_per_year: float = 0.06


MODEL = DisabilityModel()


@dataclass(frozen=True)
class Scan:
    """One scan and what followed; `latent` is the weighted sum, `risk` the probability of EDSS >= 3.0 given it."""

    week: int
    age_years: float
    field_tesla: float
    log_tlv: float
    edss: float
    edss_day: int
    latent: float
    risk: float


@dataclass(frozen=True)
class DisabilityPatient:
    """A patient: four standard normal numbers, the scans, and (weeks,) EDSS at the assessments that were attended."""

    age_z: float
    ventricle_z: float
    lesion_z: float
    stem_z: float
    female: bool
    scans: tuple[Scan, ...]
    onset_week: float
    assessed_weeks: tuple[int, ...]
    assessed_edss: tuple[float, ...]


@lru_cache(maxsize=8)
def cut_points(signal: Signal) -> tuple[float, ...]:
    """Severity from which each level of the scale above the first is reached; to four decimals.

    Examples
    --------
    >>> len(cut_points("none")), len(MODEL.edss_levels)
    (13, 14)
    >>> disabled = MODEL.edss_weights[5:]
    >>> round(float(expit(-cut_points("none")[4])), 3) == round(sum(disabled) / sum(MODEL.edss_weights), 3)
    True
    """
    latent = latent_sum(signal, *_population())
    shares = np.cumsum(MODEL.edss_weights)[:-1] / sum(MODEL.edss_weights)
    return tuple(round(float(brentq(_share_above, -30, 30, args=(latent, share))), 4) for share in shares)


def _share_above(cut: float, latent: Floats, share: float) -> float:
    return float(expit(latent - cut).mean() - (1 - share))


@lru_cache(maxsize=1)
def _population() -> tuple[Floats, Floats, Floats, Floats]:
    return draw_numbers(POPULATION, np.random.default_rng(20240601))


def draw_numbers(n: int, rng: np.random.Generator) -> tuple[Floats, Floats, Floats, Floats]:
    """Age, ventricles, lesions and shrinkage of the brain stem of `n` patients in SD, (n,) each.

    Examples
    --------
    >>> age, ventricles, lesions, stem = draw_numbers(100_000, np.random.default_rng(0))
    >>> round(float(np.corrcoef(age, ventricles)[0, 1]), 2)
    0.3
    """
    low, high = ((limit - MODEL.age_mean) / MODEL.age_sd for limit in MODEL.age_limits)
    age = np.clip(rng.standard_normal(n), low, high)
    first, second = MODEL.ventricles_with_age, MODEL.lesions_with_ventricles
    ventricles = first * age + np.sqrt(1 - first**2) * rng.standard_normal(n)
    ventricles = np.clip(ventricles, -CLIP_SD, CLIP_SD)
    lesions = np.clip(second * ventricles + np.sqrt(1 - second**2) * rng.standard_normal(n), -CLIP_SD, CLIP_SD)
    return age, ventricles, lesions, np.clip(rng.standard_normal(n), -CLIP_SD, CLIP_SD)


def latent_sum(signal: Signal, age: Floats, ventricles: Floats, lesions: Floats, stem: Floats) -> Floats:
    """Weighted sum of the four numbers.

    Examples
    --------
    >>> latent_sum("mixed", np.array([1.0]), np.array([1.0]), np.array([0.0]), np.array([2.0]))
    array([1.7])
    """
    by = SIGNALS[signal]
    return np.asarray(by.age * age + by.ventricles * ventricles + by.lesions * lesions + by.brainstem * stem)


def best_auc(signal: Signal) -> float:
    """AUC of the true risk of first scans for EDSS >= 3.0: no classifier is better, in the limit of many patients.

    Examples
    --------
    >>> round(best_auc("none"), 3)
    0.5
    """
    risk = np.sort(expit(latent_sum(signal, *_population()) - _cut(signal, DISABLED)))
    if risk[0] == risk[-1]:
        return 0.5
    below = np.cumsum(1 - risk) - (1 - risk)  # expected number of others with a lower risk
    return float((risk * below).sum() / (risk.sum() * (1 - risk).sum() - (risk * (1 - risk)).sum()))


def _cut(signal: Signal, edss: float) -> float:
    return cut_points(signal)[MODEL.edss_levels.index(edss) - 1]


def draw_disability(signal: Signal, field_effect: float, seed: int, index: int) -> DisabilityPatient:
    """Draw the patient with this index.

    Parameters
    ----------
    signal : {"ventricles", "brainstem", "lesions", "age", "mixed", "none"}
        Which `Strengths`.
    field_effect : float
        Logarithm of the odds ratio of 1.5 T against 3 T between scans with EDSS >= 3.0 and below.
    seed, index : int
        Key of the random stream.

    Examples
    --------
    >>> patient = draw_disability("ventricles", 0.0, 0, 0)
    >>> scan = patient.scans[0]
    >>> scan.edss in MODEL.edss_levels, 0 < scan.risk < 1, 0 <= scan.edss_day <= 183
    (True, True, True)
    >>> patient.assessed_edss[0] == scan.edss
    True
    """
    rng = stream(seed, Step.DISABILITY, index, 0)
    numbers = draw_numbers(1, rng)
    age, ventricles, lesions, stem = (float(one[0]) for one in numbers)
    latent = float(latent_sum(signal, *numbers)[0])
    severity = latent + rng.logistic()
    edss = MODEL.edss_levels[int(np.searchsorted(cut_points(signal), severity, side="right"))]
    onset = float(draw_onset(MODEL.worsening_per_year, MODEL.worsening_log_ratio * np.array([latent]), rng)[0])
    female = bool(rng.random() < MODEL.female_share)
    weeks = [0]
    if rng.random() < MODEL.second_scan_share:
        weeks.append(int(rng.choice(MODEL.second_scan_weeks)))
    scans = tuple(_draw_scan(signal, field_effect, week, (age, lesions, latent), (edss, onset), rng) for week in weeks)
    attended, values = _draw_assessments(edss, onset, rng)
    return DisabilityPatient(age, ventricles, lesions, stem, female, scans, onset, attended, values)


def _draw_scan(
    signal: Signal,
    field_effect: float,
    week: int,
    numbers: tuple[float, float, float],
    course: tuple[float, float],
    rng: np.random.Generator,
) -> Scan:
    age, lesions, latent = numbers
    first, onset = course
    day = week * DAYS_PER_WEEK + int(rng.integers(0, MODEL.longest_days_to_edss + 1))
    edss = _worsened(first) if week and onset * DAYS_PER_WEEK <= day else first
    side = -0.5 if edss >= DISABLED else 0.5
    odds = np.log(MODEL.three_tesla_share / (1 - MODEL.three_tesla_share)) + side * field_effect
    return Scan(
        week=week,
        age_years=round(MODEL.age_mean + MODEL.age_sd * age + week / WEEKS_PER_YEAR, 1),
        field_tesla=3.0 if rng.random() < expit(odds) else 1.5,
        log_tlv=float(
            np.log(MODEL.tlv_median_ml) + MODEL.tlv_log_sd * lesions + MODEL.tlv_growth_per_year * week / WEEKS_PER_YEAR
        ),
        edss=edss,
        edss_day=day,
        latent=latent,
        risk=_risk(signal, latent, day if week else 0),
    )


def _worsened(edss: float) -> float:
    """The scale's step of a confirmed worsening: 1.0 up to 5.5, 0.5 above."""
    return edss + (1.0 if edss <= 5.5 else 0.5)


def _risk(signal: Signal, latent: float, day: int) -> float:
    """Probability of EDSS >= 3.0 at `day`: at first, or by a worsening of a point since."""
    from_two, at_first = (float(expit(latent - _cut(signal, edss))) for edss in (DISABLED - 1, DISABLED))
    per_week = MODEL.worsening_per_year * np.exp(MODEL.worsening_log_ratio * latent) / WEEKS_PER_YEAR
    return at_first + (from_two - at_first) * float(-np.expm1(-per_week * day / DAYS_PER_WEEK))


def _draw_assessments(
    edss: float, onset_week: float, rng: np.random.Generator
) -> tuple[tuple[int, ...], tuple[float, ...]]:
    weeks = np.array(MODEL.assessment_weeks)
    calendar = replace(DEMO, assessment_weeks=MODEL.assessment_weeks)
    values = draw_edss(calendar, np.array([edss]), np.array([onset_week]), rng)[0]
    lost = rng.standard_exponential() / MODEL.lost_per_year * WEEKS_PER_YEAR
    kept = (weeks == 0) | (weeks < lost)
    return tuple(weeks[kept].tolist()), tuple(values[kept].tolist())
