"""What a perfect analysis of an endless trial would find: the rows of `truth.json`.

The strings are those of `endpoints.csv`, so that a report can put estimate and truth side by side.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri
from scipy.stats.qmc import Sobol

from nnunet_ms.simulation.cohort import Baseline, Indices, Numbers, log_hazard_ratio
from nnunet_ms.simulation.expected_cox import Expected, expected_events, limit_of_cox, limit_of_kaplan_meier
from nnunet_ms.simulation.presets import Hazard, TrialPreset
from nnunet_ms.simulation.trial_presets import WEEKS_PER_YEAR

PATIENTS = 2**14  # covariates only: events enter by their probabilities, see `expected_cox`
SEED = 0  # the truth belongs to the preset, not to one trial's seed

Row = dict[str, str | float]


@dataclass(frozen=True)
class Outcome:
    """A confirmed progression: its name in `endpoints.csv`, the hazards that can bring it on, the confirmation."""

    name: str
    hazards: tuple[Hazard, ...]
    confirmation_weeks: float


@dataclass(frozen=True)
class Population:
    """The same drawn patients once in every arm: `arm` (n,) is then independent of every covariate by construction."""

    arm: Indices
    baseline: Baseline


def truth_rows(preset: TrialPreset) -> list[Row]:
    """Rows of the true statistics of a preset, in a fixed order."""
    return [*_volume_rows(preset), *_count_rows(preset), *_progression_rows(preset)]


def outcomes(preset: TrialPreset) -> tuple[Outcome, ...]:
    """All outcomes of a preset. The composite is the first of three, so its hazard is their sum."""
    edss, walk, peg = preset.edss, preset.t25fw.hazard, preset.nhpt.hazard
    single = {"cdp": (edss,), "t25fw": (walk,), "9hpt": (peg,), "ccdp": (edss, walk, peg)}
    return tuple(Outcome(f"{name}{weeks}", hazards, weeks) for name, hazards in single.items() for weeks in (12, 24))


def mean_percent_change(preset: TrialPreset, arm: int, week: int) -> float:
    """Return the expected percent change of T2 volume from baseline: the mean of a log-normal variable."""
    years = week / WEEKS_PER_YEAR
    variance = (preset.tlv_slope_sd * years) ** 2 + preset.tlv_visit_sd**2
    return float(100 * np.expm1(preset.arms[arm].log_tlv_slope * years + variance / 2))


def observed_progression(
    preset: TrialPreset, onset_week: Numbers, discontinued_week: Numbers, confirmation_weeks: float
) -> tuple[Numbers, npt.NDArray[np.bool_]]:
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


def _row(how: str, **values: str | float) -> Row:
    row: Row = dict.fromkeys(("endpoint", "analysis", "arm", "contrast", "visit", "term", "stat_name"), "")
    return row | values | {"how": how}


def _contrast(preset: TrialPreset) -> str:
    return f"{preset.arms[1].name} - {preset.arms[0].name}"


def _volume_rows(preset: TrialPreset) -> list[Row]:
    how = "Closed form: mean of a log-normal variable with the arm's slope and the variances of slope and visit."
    rows = []
    common: Any = {"endpoint": "t2_volume_percent_change", "unit": "%"}
    for week in preset.mri_weeks[1:]:
        means = [mean_percent_change(preset, arm, week) for arm in range(len(preset.arms))]
        for arm, mean in zip(preset.arms, means, strict=True):
            place = {"analysis": "by_visit", "arm": arm.name, "visit": str(week)}
            rows.append(_row(how, **common, **place, stat_name="mean", stat=mean))
        place = {"analysis": "by_visit", "contrast": _contrast(preset), "visit": str(week)}
        separation = means[1] - means[0]
        rows.append(
            _row(how + " Difference of the two arms.", **common, **place, stat_name="separation", stat=separation)
        )
    place |= {"analysis": "ancova", "term": "arm"}
    randomised = "The separation: randomised arms, and the change is independent of the model's other covariates."
    return [*rows, _row(randomised, **common, **place, stat_name="difference", stat=separation)]


def _count_rows(preset: TrialPreset) -> list[Row]:
    """Rate ratios: the frailty has the same law in both arms, so it cancels whatever the covariates."""
    how = "Ratio of the arms' rates; the log link leaves it unchanged by covariates and by the patients' frailty."
    rows = []
    for endpoint, name in (
        ("enhancing_lesions", "enhancing"),
        ("new_t1_lesions", "new_t1"),
        ("new_t2_lesions", "new_lesions"),
    ):
        reference, compared = (float(getattr(arm, name)) for arm in preset.arms[:2])
        if reference > 0:
            place: Any = {"endpoint": endpoint, "analysis": "negative_binomial", "contrast": _contrast(preset)}
            rows.append(_row(how, **place, stat_name="rate_ratio", stat=compared / reference, unit=""))
    return rows


def _progression_rows(preset: TrialPreset) -> list[Row]:
    population = _population(preset)
    how = f"Cox regression (Efron) in the limit of an endless trial, over {PATIENTS} quasi-random patients."
    rows = []
    for outcome in outcomes(preset):
        expected = _expected(preset, outcome, population)
        log_tlv = limit_of_cox(expected, population.baseline.log_tlv[:, None])
        arm = limit_of_cox(expected, (population.arm == 1).astype(float)[:, None])
        place: Any = {"endpoint": outcome.name, "stat_name": "hazard_ratio"}
        tlv: Any = {"analysis": "cox_univariable", "term": "log_tlv", "unit": "per log ml"}
        by_arm: Any = {"analysis": "cox_by_arm", "contrast": _contrast(preset), "unit": ""}
        rows.append(_row(how, **place, **tlv, stat=float(np.exp(log_tlv[0]))))
        rows.append(_row(how, **place, **by_arm, stat=float(np.exp(arm[0]))))
        rows += _survival_rows(preset, outcome, population, expected)
    return rows


def _population(preset: TrialPreset) -> Population:
    """Patients at the points of a Sobol sequence [1]_: covariates are independent and spread as the model says.

    References
    ----------
    .. [1] Joe S, Kuo FY. SIAM J Sci Comput 30:2635-2654, 2008. doi:10.1137/070709359
    """
    age, volume, edss, sex, region = Sobol(5, rng=np.random.default_rng(SEED)).random(PATIENTS).T
    levels = np.cumsum(preset.edss_weights) / sum(preset.edss_weights)
    low, high = ((limit - preset.age_mean) / preset.age_sd for limit in preset.age_limits)
    cut = preset.tlv_truncation_sd
    drawn = Baseline(
        np.round(preset.age_mean + preset.age_sd * _truncated_quantile(age, low, high), 1),
        sex < preset.female_share,
        region < preset.us_share,
        np.array(preset.edss_levels)[np.searchsorted(levels[:-1], edss, side="right")],
        np.log(preset.tlv_median_ml) + preset.tlv_log_sd * _truncated_quantile(volume, -cut, cut),
        np.full(PATIENTS, np.inf),  # discontinuation enters by its probabilities
    )
    share = [preset.allocation.count(arm.name) for arm in preset.arms]
    copies = [n // math.gcd(*share) for n in share]
    rows = np.tile(np.arange(PATIENTS), sum(copies))
    arm = np.repeat(np.arange(len(share)), np.array(copies) * PATIENTS)
    return Population(arm, Baseline(**{name: values[rows] for name, values in vars(drawn).items()}))


def _truncated_quantile(probability: Numbers, low: float, high: float) -> Numbers:
    """Quantiles of the standard normal distribution cut at `low` and `high`."""
    return np.asarray(ndtri(ndtr(low) + (ndtr(high) - ndtr(low)) * probability))


def _expected(preset: TrialPreset, outcome: Outcome, population: Population) -> Expected:
    ratios = [np.exp(log_hazard_ratio(preset, h, population.arm, population.baseline)) for h in outcome.hazards]
    total = sum((h.per_year * ratio for h, ratio in zip(outcome.hazards, ratios, strict=True)), np.zeros(1))
    return expected_events(preset, total, outcome.confirmation_weeks)


def _survival_rows(preset: TrialPreset, outcome: Outcome, population: Population, expected: Expected) -> Iterator[Row]:
    """Survival of the halves at the median volume, at the last MRI week at which it can still be confirmed."""
    weeks = preset.assessment_weeks
    last = min(preset.mri_weeks[-1], weeks[-1] - int(outcome.confirmation_weeks))
    week = max(w for w in preset.mri_weeks if w <= last)
    visit = sum(0 < w <= week for w in weeks)
    low = population.baseline.log_tlv <= np.log(preset.tlv_median_ml)
    how = f"Kaplan-Meier in the limit of an endless trial, over {PATIENTS} quasi-random patients; true median volume."
    for index, arm in enumerate(preset.arms):
        for term, half in (("tlv <= median", low), ("tlv > median", ~low)):
            group = half & (population.arm == index)
            stat = limit_of_kaplan_meier(Expected(expected.event[group], expected.at_risk[group]), visit)
            place: Any = {"endpoint": outcome.name, "analysis": "km_at_median_tlv", "arm": arm.name, "visit": str(week)}
            yield _row(how, **place, term=term, stat_name="survival", stat=stat, unit="")
