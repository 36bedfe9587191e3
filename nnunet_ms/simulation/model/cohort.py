"""The generating model of a trial: baseline, lesion volume, progression, assessments, relapses.

Every function draws for n patients at once from one stream: with n = 1 for the trial itself (so that a patient does
not depend on the others), with n in the hundred thousands for the truth. Arms are indices into `preset.arms`.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import nbinom

from nnunet_ms.arrays import Floats, Ints
from nnunet_ms.lesions.rims import PRL_STRATA
from nnunet_ms.simulation.model.presets import GRIDS, Arm, Hazard, TimedTest, TrialPreset
from nnunet_ms.simulation.model.trial_presets import WEEKS_PER_YEAR

EDSS_BELOW = 4.0  # the covariate of the published models
EDSS_STEP_LIMIT = 5.5  # a worsening is 1.0 point up to this baseline and 0.5 above
EDSS_MAXIMUM = 10.0


@dataclass(frozen=True)
class Baseline:
    """Patients at randomisation, (n,) each; `log_tlv` of ml; `discontinued_week` is infinite for completers.

    `prl_count` are rim lesions, 0 in a preset without them.
    """

    age_years: Floats
    female: npt.NDArray[np.bool_]
    us: npt.NDArray[np.bool_]
    edss: Floats
    log_tlv: Floats
    discontinued_week: Floats
    prl_count: Ints


@dataclass(frozen=True)
class Activity:
    """Counts per MRI week, (n, visits).

    T2 lesions first seen and T2 lesions grown since the scan before (baseline 0), enhancing, first seen as T1
    unenhancing.
    """

    new_t2: Ints
    enlarging_t2: Ints
    enhancing: Ints
    new_t1: Ints


def draw_baseline(preset: TrialPreset, n: int, rng: np.random.Generator) -> Baseline:
    """Draw `n` patients; nothing depends on the arm.

    Examples
    --------
    >>> from nnunet_ms.simulation.model.trial_presets import DEMO
    >>> patients = draw_baseline(DEMO, 1000, np.random.default_rng(0))
    >>> bool(DEMO.age_limits[0] <= patients.age_years.min()), bool(patients.age_years.max() <= DEMO.age_limits[1])
    (True, True)
    >>> round(float(np.exp(np.median(patients.log_tlv))), 1)
    8.1
    """
    age = _truncated_normal(n, preset.age_mean, preset.age_sd, preset.age_limits, rng)
    cut = preset.tlv_truncation_sd
    deviation = _truncated_normal(n, 0.0, 1.0, (-cut, cut), rng)
    weights = np.array(preset.edss_weights) / sum(preset.edss_weights)
    edss = np.array(preset.edss_levels)[np.searchsorted(np.cumsum(weights)[:-1], rng.random(n), side="right")]
    female, us = rng.random(n) < preset.female_share, rng.random(n) < preset.us_share
    log_tlv = np.log(preset.tlv_median_ml) + preset.tlv_log_sd * deviation
    discontinued = _draw_discontinuation(preset, n, rng)
    rims = quantile_of_rims(preset, rng.random(n)) if preset.rims else np.zeros(n, np.int64)  # the last to be drawn
    return Baseline(np.round(age, 1), female, us, edss, log_tlv, discontinued, rims)


def quantile_of_rims(preset: TrialPreset, probability: Floats) -> Ints:
    """Number of rim lesions at these quantiles of their negative binomial distribution, (n,); 0 without rims.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from nnunet_ms.simulation.model.presets import Rims
    >>> from nnunet_ms.simulation.model.trial_presets import DEMO
    >>> quantile_of_rims(replace(DEMO, rims=Rims((0.0, 0.0, 0.0))), np.array([0.2, 0.5, 0.9])).tolist()
    [0, 1, 6]
    """
    if preset.rims is None:
        return np.zeros(probability.size, np.int64)
    size = 1 / preset.rims.count_dispersion
    counts = nbinom.ppf(probability, size, size / (size + preset.rims.mean_count))
    return np.asarray(counts, dtype=np.int64)


def rim_stratum(count: Ints) -> Ints:
    """Index of the stratum of each count of rim lesions, see `lesions.rims.prl_strata`.

    Examples
    --------
    >>> rim_stratum(np.array([0, 1, 3, 4, 9])).tolist()
    [0, 1, 1, 2, 2]
    """
    return np.searchsorted(np.array(PRL_STRATA), count, side="right").astype(np.int64)


def baseline_lesions(preset: TrialPreset, volume_ml: Floats) -> Ints:
    """Return the number of T2 lesions of typical size that each baseline volume stands for, at least 1.

    Examples
    --------
    >>> from nnunet_ms.simulation.model.trial_presets import DEMO
    >>> baseline_lesions(DEMO, np.array([0.0, 8.0]))
    array([ 1, 17])
    """
    sizes = GRIDS[preset.grid].sizes
    mean_ml = sizes.median_mm3 * np.exp(sizes.log_sd**2 / 2) / 1000
    return np.maximum(1, np.rint(volume_ml / mean_ml)).astype(np.int64)


def draw_log_tlv(preset: TrialPreset, arm: Ints, log_tlv: Floats, rng: np.random.Generator) -> Floats:
    """Log volume (ml) at the MRI weeks, (n, visits): the baseline, the arm's slope, the patient's own, noise.

    Examples
    --------
    >>> from nnunet_ms.simulation.model.trial_presets import DEMO
    >>> volumes = draw_log_tlv(DEMO, np.array([0, 1]), np.log([8.0, 8.0]), np.random.default_rng(0))
    >>> volumes.shape, np.exp(volumes[:, 0])
    ((2, 3), array([8., 8.]))
    """
    years = np.array(preset.mri_weeks) / WEEKS_PER_YEAR
    slope = _of_arms(preset, "log_tlv_slope")[arm] + preset.tlv_slope_sd * rng.standard_normal(arm.size)
    noise = preset.tlv_visit_sd * rng.standard_normal((arm.size, years.size))
    noise[:, 0] = 0.0  # the baseline is the volume that every change refers to
    return np.asarray(log_tlv[:, None] + slope[:, None] * years + noise)


def log_hazard_ratio(preset: TrialPreset, hazard: Hazard, arm: Ints, baseline: Baseline) -> Floats:
    """Log of the hazard over that of a reference-arm patient at the median volume and covariates of 0, (n,).

    Age counts from the cohort's mean.

    Examples
    --------
    >>> from nnunet_ms.simulation.model.trial_presets import DEMO
    >>> patients = draw_baseline(DEMO, 2, np.random.default_rng(0))
    >>> ratios = [log_hazard_ratio(DEMO, DEMO.edss, np.array([arm, arm]), patients) for arm in (0, 1)]
    >>> (ratios[1] - ratios[0]).round(3)
    array([-0.5, -0.5])
    """
    deviation = baseline.log_tlv - np.log(preset.tlv_median_ml)
    by = preset.covariates
    ratio = _arm_ratio(preset, hazard, arm, baseline) + np.array(hazard.per_log_tlv)[arm] * deviation
    ratio += by.male * ~baseline.female + by.us * baseline.us + by.edss_below_4 * (baseline.edss < EDSS_BELOW)
    return np.asarray(ratio + by.age_per_year * (baseline.age_years - preset.age_mean))


def _arm_ratio(preset: TrialPreset, hazard: Hazard, arm: Ints, baseline: Baseline) -> Floats:
    """What the arm does, by the rim lesions where the preset has some, and what those do in both arms."""
    if preset.rims is None:
        return np.asarray(np.array(hazard.log_ratio)[arm])
    stratum = rim_stratum(baseline.prl_count)
    of_arm = np.where(arm == 1, np.array(preset.rims.log_ratio)[stratum], 0.0)
    return np.asarray(of_arm + np.array(preset.rims.log_risk)[stratum])


def draw_onset(rate_per_year: float, log_ratio: Floats, rng: np.random.Generator) -> Floats:
    """Week of lasting progression, (n,): exponential with hazard `rate_per_year` x exp(`log_ratio`).

    Examples
    --------
    >>> weeks = draw_onset(0.35, np.zeros(100_000), np.random.default_rng(0))
    >>> round(float(np.mean(weeks)) / WEEKS_PER_YEAR * 0.35, 2)
    1.0
    """
    return np.asarray(rng.standard_exponential(log_ratio.size) / (rate_per_year * np.exp(log_ratio)) * WEEKS_PER_YEAR)


def draw_edss(preset: TrialPreset, baseline: Floats, onset_week: Floats, rng: np.random.Generator) -> Floats:
    """EDSS at the assessment weeks, (n, assessments): a lasting step at the onset, and noise that never confirms.

    Single assessments reach the threshold (spikes), never two in a row and never right before the onset, so
    that the initial progression of a confirmed one is the first assessment at or after the onset. Half-point
    fluctuations stay below the threshold before the onset and above it afterwards.

    Examples
    --------
    >>> from nnunet_ms.simulation.model.trial_presets import DEMO
    >>> edss = draw_edss(DEMO, np.array([3.0]), np.array([50.0]), np.random.default_rng(0))
    >>> dict(zip(DEMO.assessment_weeks, edss[0].tolist(), strict=True))
    {0: 3.0, 12: 3.0, 24: 4.0, 36: 3.0, 48: 3.5, 60: 4.0, 72: 4.0, 84: 4.0, 96: 4.0, 108: 4.5, 120: 4.5}
    """
    weeks = np.array(preset.assessment_weeks)
    progressed = weeks[None, :] >= onset_week[:, None]
    step = np.where(baseline <= EDSS_STEP_LIMIT, 1.0, 0.5)[:, None]
    u = rng.random((2, *progressed.shape))
    spike = _isolated(u[0] < preset.edss_spikes, progressed)
    half = np.where(u[1] < preset.edss_fluctuation / 2, -0.5, np.where(u[1] < preset.edss_fluctuation, 0.5, 0.0))
    half = np.where(progressed, np.abs(half), np.where((half > 0) & (step < 1), 0.0, half))
    change = np.where(progressed, step + half, np.where(spike, step, half))
    change[:, 0] = 0.0
    edss = np.clip(baseline[:, None] + change, 0, EDSS_MAXIMUM)
    return np.where(edss == 0.5, 0.0, edss)  # the scale has no 0.5


def draw_timed_test(preset: TrialPreset, test: TimedTest, onset_week: Floats, rng: np.random.Generator) -> Floats:
    """Seconds at the assessment weeks, (n, assessments), to a hundredth.

    Examples
    --------
    >>> from nnunet_ms.simulation.model.trial_presets import DEMO
    >>> seconds = draw_timed_test(DEMO, DEMO.t25fw, np.array([60.0]), np.random.default_rng(0))
    >>> bool(seconds[0, -1] > 1.2 * seconds[0, 0])
    True
    """
    weeks = np.array(preset.assessment_weeks)
    own = test.median_s * np.exp(test.log_sd * rng.standard_normal((onset_week.size, 1)))
    noise = np.exp(test.noise_log_sd * rng.standard_normal((onset_week.size, weeks.size)))
    worse = np.where(weeks[None, :] >= onset_week[:, None], test.worsening, 1.0)
    return np.asarray(np.round(own * worse * noise, 2))


def draw_relapses(preset: TrialPreset, arm: int, last_week: float, rng: np.random.Generator) -> list[int]:
    """Weeks of one patient's relapses up to `last_week`: a Poisson process at the arm's rate.

    Examples
    --------
    >>> from nnunet_ms.simulation.model.trial_presets import DEMO
    >>> weeks = draw_relapses(DEMO, arm=0, last_week=120.0, rng=np.random.default_rng(1))
    >>> all(0 < week <= 120 for week in weeks)
    True
    """
    count = rng.poisson(preset.arms[arm].relapses * last_week / WEEKS_PER_YEAR)
    return sorted(int(week) for week in np.ceil(rng.random(count) * last_week))


def draw_activity(preset: TrialPreset, arm: Ints, rng: np.random.Generator) -> Activity:
    """Lesions that are new, have grown or enhance at each MRI week.

    One frailty per patient makes every count negative binomial, and the sum of new and enlarging ones too.

    Enhancing lesions are a share of the new T2 lesions, so that their mean per scan is the arm's whatever the interval.

    Examples
    --------
    >>> from nnunet_ms.simulation.model.trial_presets import DEMO
    >>> activity = draw_activity(DEMO, np.zeros(20_000, dtype=int), np.random.default_rng(0))
    >>> round(float(activity.new_t2[:, 1].mean() / (24 / WEEKS_PER_YEAR)), 1), DEMO.arms[0].new_lesions
    (2.0, 2.0)
    """
    frailty = rng.gamma(1 / preset.new_lesion_dispersion, preset.new_lesion_dispersion, size=(arm.size, 1))
    new = np.zeros((arm.size, len(preset.mri_weeks)), dtype=np.int64)
    enhancing, new_t1 = new.copy(), new.copy()
    new[:, 1:] = rng.poisson(frailty * _of_arms(preset, "new_lesions")[arm, None] * _intervals(preset))
    enhancing[:, 1:] = rng.binomial(new[:, 1:], enhancing_share(preset)[arm])
    enhancing[:, :1] = rng.poisson(frailty * preset.enhancing_at_baseline)
    new_t1[:, 1:] = rng.poisson(frailty * _of_arms(preset, "new_t1")[arm, None] * _intervals(preset))
    grown = np.zeros_like(new)
    # a stream of its own: what was drawn before there were enlarging lesions stays as it was
    grown[:, 1:] = rng.spawn(1)[0].poisson(frailty * _of_arms(preset, "enlarging")[arm, None] * _intervals(preset))
    return Activity(new, grown, enhancing, new_t1)


def enhancing_share(preset: TrialPreset) -> Floats:
    """Share of the lesions new at a visit that enhance there, (arms, follow-up visits).

    Examples
    --------
    >>> from nnunet_ms.simulation.model.trial_presets import DEMO
    >>> enhancing_share(DEMO).round(2)
    array([[0.76, 0.25],
           [0.72, 0.24]])
    """
    new = _of_arms(preset, "new_lesions")[:, None] * _intervals(preset)
    enhancing = np.broadcast_to(_of_arms(preset, "enhancing")[:, None], new.shape)
    return np.asarray(np.divide(enhancing, new, out=np.where(enhancing > 0, np.inf, 0.0), where=new > 0))


def draw_arms(preset: TrialPreset, n: int, rng: np.random.Generator) -> Ints:
    """Arm of each patient, (n,), by permuted blocks; the first k are the same for every n >= k.

    Examples
    --------
    >>> from nnunet_ms.simulation.model.trial_presets import DEMO
    >>> np.bincount(draw_arms(DEMO, 40, np.random.default_rng(0)))
    array([20, 20])
    """
    names = [arm.name for arm in preset.arms]
    block = np.array([names.index(name) for name in preset.allocation])
    blocks = [rng.permutation(block) for _ in range(-(-n // block.size))]
    return np.concatenate(blocks)[:n]


def _intervals(preset: TrialPreset) -> Floats:
    return np.diff(preset.mri_weeks) / WEEKS_PER_YEAR


def _of_arms(preset: TrialPreset, attribute: str) -> Floats:
    values: list[float] = [_value(arm, attribute) for arm in preset.arms]
    return np.array(values)


def _value(arm: Arm, attribute: str) -> float:
    return float(getattr(arm, attribute))


def _truncated_normal(n: int, mean: float, sd: float, limits: tuple[float, float], rng: np.random.Generator) -> Floats:
    values = np.asarray(mean + sd * rng.standard_normal(n))
    while (bad := (values < limits[0]) | (values > limits[1])).any():
        values[bad] = mean + sd * rng.standard_normal(int(bad.sum()))
    return values


def _draw_discontinuation(preset: TrialPreset, n: int, rng: np.random.Generator) -> Floats:
    week = np.ceil(rng.standard_exponential(n) / preset.discontinuations_per_year * WEEKS_PER_YEAR)
    return np.where(week < preset.assessment_weeks[-1], week, np.inf)


def _isolated(spike: npt.NDArray[np.bool_], progressed: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Keep spikes that neither follow a kept spike nor come right before the onset."""
    kept = spike.copy()
    for k in range(1, spike.shape[1]):
        kept[:, k] &= ~kept[:, k - 1]
    kept[:, :-1] &= ~progressed[:, 1:]
    return kept
