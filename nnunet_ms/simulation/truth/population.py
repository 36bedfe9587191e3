"""The patients over whom truth is averaged, and the outcomes that they can have."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri
from scipy.stats.qmc import Sobol

from nnunet_ms.arrays import Floats, Ints
from nnunet_ms.simulation.model.cohort import Baseline, log_hazard_ratio, quantile_of_rims
from nnunet_ms.simulation.model.presets import Hazard, TrialPreset
from nnunet_ms.simulation.truth.expected_cox import Expected, expected_events

SEED = 0  # the truth belongs to the preset, not to one trial's seed


@dataclass(frozen=True)
class Outcome:
    """A confirmed progression: its name in `endpoints.csv`, the hazards that can bring it on, the confirmation."""

    name: str
    hazards: tuple[Hazard, ...]
    confirmation_weeks: float


@dataclass(frozen=True)
class Population:
    """The same patients once in every arm: `arm` (n,) is then independent of every covariate by construction.

    `log_tlv_read` (n,): log volume (ml) at baseline as the simulated reader of the tables would report it. `weight`
    (n,): share of each row in the trial, by the allocation of arms; the sum is 1.
    """

    arm: Ints
    baseline: Baseline
    log_tlv_read: Floats
    weight: Floats


def outcomes(preset: TrialPreset) -> tuple[Outcome, ...]:
    """All outcomes of a preset. The composite is the first of three, so its hazard is their sum."""
    edss, walk, peg = preset.edss, preset.t25fw.hazard, preset.nhpt.hazard
    single = {"cdp": (edss,), "t25fw": (walk,), "9hpt": (peg,), "ccdp": (edss, walk, peg)}
    return tuple(Outcome(f"{name}{weeks}", hazards, weeks) for name, hazards in single.items() for weeks in (12, 24))


def draw_population(preset: TrialPreset, patients: int) -> Population:
    """Patients at the points of a Sobol sequence [1]_: covariates are independent and spread as the model says.

    Parameters
    ----------
    preset : TrialPreset
    patients : int
        A power of two; covariates only, because events enter by their probabilities (`expected_cox`).

    References
    ----------
    .. [1] Joe S, Kuo FY. SIAM J Sci Comput 30:2635-2654, 2008. doi:10.1137/070709359
    """
    dimensions = 6 if preset.rims is None else 7
    points = Sobol(dimensions, rng=np.random.default_rng(SEED)).random(patients).T
    age, volume, edss, sex, region, reading = points[:6]
    levels = np.cumsum(preset.edss_weights) / sum(preset.edss_weights)
    low, high = ((limit - preset.age_mean) / preset.age_sd for limit in preset.age_limits)
    cut = preset.tlv_truncation_sd
    drawn = Baseline(
        np.round(preset.age_mean + preset.age_sd * _truncated_quantile(age, low, high), 1),
        sex < preset.female_share,
        region < preset.us_share,
        np.array(preset.edss_levels)[np.searchsorted(levels[:-1], edss, side="right")],
        np.log(preset.tlv_median_ml) + preset.tlv_log_sd * _truncated_quantile(volume, -cut, cut),
        np.full(patients, np.inf),  # discontinuation enters by its probabilities
        quantile_of_rims(preset, points[-1]),
    )
    reader = preset.reader
    read = drawn.log_tlv + reader.bias + math.hypot(reader.patient_log_sd, reader.visit_log_sd) * ndtri(reading)
    rows: npt.NDArray[np.intp] = np.tile(np.arange(patients), len(preset.arms))
    arm = np.repeat(np.arange(len(preset.arms)), patients)
    share = np.array([preset.allocation.count(arm.name) for arm in preset.arms]) / len(preset.allocation)
    of_arms = Baseline(**{name: values[rows] for name, values in vars(drawn).items()})
    return Population(arm, of_arms, read[rows], share[arm] / patients)


def expected_outcome(preset: TrialPreset, outcome: Outcome, population: Population) -> Expected:
    """Probabilities of confirmed progression and of being at risk, per row and visit, times the row's weight."""
    ratios = [np.exp(log_hazard_ratio(preset, h, population.arm, population.baseline)) for h in outcome.hazards]
    total = sum((h.per_year * ratio for h, ratio in zip(outcome.hazards, ratios, strict=True)), np.zeros(1))
    each, weight = expected_events(preset, total, outcome.confirmation_weeks), population.weight[:, None]
    return Expected(each.event * weight, each.at_risk * weight)


def observed_progression(
    preset: TrialPreset, onset_week: Floats, discontinued_week: Floats, confirmation_weeks: float
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Week and flag of confirmed progression, (n,) each.

    Onset is dated at the first assessment that shows it; patients without a confirmed one are censored at their
    last assessment, as the trials do.
    """
    weeks = np.array(preset.assessment_weeks, dtype=float)
    attended = weeks[np.searchsorted(weeks, np.minimum(discontinued_week, weeks[-1]), side="right") - 1]
    first = np.searchsorted(weeks, onset_week)
    shown = np.append(weeks, np.inf)[first]
    event = shown + confirmation_weeks <= attended
    return np.where(event, shown, attended), event


def _truncated_quantile(probability: Floats, low: float, high: float) -> Floats:
    """Quantiles of the standard normal distribution cut at `low` and `high`."""
    return np.asarray(ndtri(ndtr(low) + (ndtr(high) - ndtr(low)) * probability))
