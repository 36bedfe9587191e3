"""True statistics of confirmed progression: what Cox, Kaplan-Meier and mean time tend to in an endless trial.

The models are the report's: arm alone, within strata, in subgroups, beside baseline lesions, and the published
multivariable model (Krishnan et al., Sci Rep 2023;13:4102, Table 4).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from nnunet_ms.arrays import Bools, Floats, Ints
from nnunet_ms.lesions.rims import prl_strata
from nnunet_ms.simulation.model.cohort import EDSS_BELOW, Baseline, baseline_lesions, rim_stratum
from nnunet_ms.simulation.model.presets import TrialPreset
from nnunet_ms.simulation.truth.expected_cox import (
    Expected,
    limit_of_cox,
    limit_of_kaplan_meier,
    limits_of_cox,
    survival_steps,
)
from nnunet_ms.simulation.truth.population import Outcome, Population, draw_population, expected_outcome, outcomes

PATIENTS, MODEL_PATIENTS = 2**13, 2**12  # of the multivariable model fewer: it costs the most
AGE_LIMIT_YEARS = 45  # of the age groups of the published models

Row = dict[str, str | float]

# term of `endpoints.csv` -> the covariate of patients at baseline
COVARIATES: dict[str, Callable[[Baseline], Floats]] = {
    "sex: M": lambda b: (~b.female).astype(float),
    "region: US": lambda b: b.us.astype(float),
    "edss < 4": lambda b: (b.edss < EDSS_BELOW).astype(float),
    "age_years": lambda b: b.age_years,
    "log_tlv": lambda b: b.log_tlv,
}


def _has_rims(stratum: int, baseline: Baseline) -> Bools:
    return np.asarray(rim_stratum(baseline.prl_count) == stratum)


# term of `endpoints.csv` -> who belongs to the subgroup
SUBGROUPS: dict[str, Callable[[Baseline], Bools]] = {
    "sex: F": lambda b: b.female,
    "sex: M": lambda b: ~b.female,
    "region: ROW": lambda b: ~b.us,
    "region: US": lambda b: b.us,
    "age_group: <= 45": lambda b: b.age_years <= AGE_LIMIT_YEARS,
    "age_group: > 45": lambda b: b.age_years > AGE_LIMIT_YEARS,
    "edss_stratum: < 4": lambda b: b.edss < EDSS_BELOW,
    "edss_stratum: >= 4": lambda b: b.edss >= EDSS_BELOW,
    **{f"prl_stratum: {name}": partial(_has_rims, index) for index, name in enumerate(prl_strata())},
}


@dataclass(frozen=True)
class Place:
    """Where a row belongs, and how to make it: `row(analysis=..., stat_name=..., stat=...)`."""

    endpoint: str
    contrast: str
    how: str

    def row(self, **values: str | float) -> Row:
        """Return a row with every key of `truth.json`."""
        keys: Row = dict.fromkeys(("endpoint", "analysis", "arm", "contrast", "visit", "term", "stat_name", "unit"), "")
        return keys | {"endpoint": self.endpoint} | values | {"how": self.how}

    def hazard_ratio(self, analysis: str, coefficient: float, **values: str | float) -> Row:
        """Return a row of the exponential of a coefficient."""
        return self.row(analysis=analysis, stat_name="hazard_ratio", stat=float(np.exp(coefficient)), **values)


def multivariable_covariates(arm: Ints, baseline: Baseline) -> tuple[Floats, tuple[str, ...]]:
    """Design (n, k) of the multivariable model and its terms: arm, `COVARIATES`, arm x log TLV."""
    active = (arm == 1).astype(float)
    columns = [active, *(pick(baseline) for pick in COVARIATES.values()), active * baseline.log_tlv]
    return np.column_stack(columns), ("arm", *COVARIATES, "arm:log_tlv")


def progression_rows(preset: TrialPreset, contrast: str) -> Iterator[Row]:
    """Rows of every outcome."""
    population, fewer = draw_population(preset, PATIENTS), draw_population(preset, MODEL_PATIENTS)
    how = "in the limit of an endless trial, over {} quasi-random patients."
    for outcome in outcomes(preset):
        expected = expected_outcome(preset, outcome, population)
        cox = Place(outcome.name, contrast, "Cox regression (Efron) " + how.format(PATIENTS))
        yield from _cox_rows(preset, population, expected, cox)
        joint = Place(outcome.name, contrast, "Cox regression (Efron) " + how.format(MODEL_PATIENTS))
        yield from _joint_rows(fewer, expected_outcome(preset, outcome, fewer), joint)
        curves = Place(outcome.name, contrast, "Kaplan-Meier " + how.format(PATIENTS))
        yield from _survival_rows(preset, population, expected, curves)
        yield from _half_rows(preset, outcome, population, expected, curves)


def _cox_rows(preset: TrialPreset, population: Population, expected: Expected, to: Place) -> Iterator[Row]:
    baseline, arm = population.baseline, (population.arm == 1).astype(float)
    contrast = {"contrast": to.contrast}
    log_tlv = limit_of_cox(expected, baseline.log_tlv)
    yield to.hazard_ratio("cox_univariable", log_tlv, term="log_tlv", unit="per log ml")
    lesions = baseline_lesions(preset, np.exp(baseline.log_tlv)).astype(float)
    yield to.hazard_ratio("cox_univariable_count", limit_of_cox(expected, lesions), term="lesion_count")
    yield to.hazard_ratio("cox_by_arm", limit_of_cox(expected, arm), **contrast, term="arm")
    stratified = limit_of_cox(expected, arm, baseline.us)
    yield to.hazard_ratio("cox_by_arm_stratified", stratified, **contrast, term="arm")
    for term, belongs in SUBGROUPS.items():
        chosen = belongs(baseline)
        if 0 < chosen.mean() < 1:
            within = limit_of_cox(expected.of(chosen), arm[chosen])
            yield to.hazard_ratio("subgroup", within, **contrast, term=term)
    if preset.rims is not None:
        yield from _rim_rows(expected, arm, rim_stratum(baseline.prl_count), to)
    gap = limit_of_cox(expected, population.log_tlv_read) - log_tlv
    values: Any = {"analysis": "effect_agreement", "term": "log_tlv", "stat_name": "difference", "stat": gap}
    yield to.row(**values, unit="log hazard ratio per log(TLV in ml)")


def _rim_rows(expected: Expected, arm: Floats, stratum: Ints, to: Place) -> Iterator[Row]:
    """The model of arm, stratum of rim lesions and both together."""
    names = [f"prl_stratum: {name}" for name in prl_strata()[1:]]
    strata = np.column_stack([stratum == index for index in range(1, len(names) + 1)]).astype(float)
    X = np.column_stack([arm, strata, arm[:, None] * strata])
    terms = ("arm", *names, *(f"arm:{name}" for name in names))
    for term, value in zip(terms, limits_of_cox(expected, X), strict=True):
        contrast = {"contrast": to.contrast} if term.startswith("arm") else {}
        yield to.hazard_ratio("cox_by_prl_stratum", float(value), term=term, **contrast)


def _joint_rows(population: Population, expected: Expected, to: Place) -> Iterator[Row]:
    X, terms = multivariable_covariates(population.arm, population.baseline)
    varying = np.ptp(X, axis=0) > 0
    names = [term for term, keep in zip(terms, varying, strict=True) if keep]
    for term, value in zip(names, limits_of_cox(expected, X[:, varying]), strict=True):
        contrast = {"contrast": to.contrast} if term.startswith("arm") else {}
        yield to.hazard_ratio("cox_multivariable", float(value), term=term, **contrast)


def _survival_rows(preset: TrialPreset, population: Population, expected: Expected, to: Place) -> Iterator[Row]:
    """Survival by arm at the MRI weeks, and mean time without progression up to the last of them."""
    mean_weeks, horizon = [], preset.mri_weeks[-1]
    for index, arm in enumerate(preset.arms):
        steps = survival_steps(expected.of(population.arm == index))
        weeks = np.array(preset.assessment_weeks)
        for week in preset.mri_weeks[1:]:
            stat = float(steps[(weeks <= week).sum() - 1])
            yield to.row(analysis="km_by_arm", arm=arm.name, visit=str(week), stat_name="survival", stat=stat)
        lasting = np.diff(np.minimum([*weeks, weeks[-1] + horizon], horizon))
        mean_weeks.append(float(steps @ lasting))
        values: Any = {"analysis": "rmst", "unit": "weeks"}
        yield to.row(**values, arm=arm.name, stat_name="mean_time", stat=mean_weeks[-1])
    difference = mean_weeks[1] - mean_weeks[0]
    yield to.row(**values, contrast=to.contrast, stat_name="difference", stat=difference)


def _half_rows(
    preset: TrialPreset, outcome: Outcome, population: Population, expected: Expected, to: Place
) -> Iterator[Row]:
    """Survival of the halves at the true median volume, at the last MRI week at which it can still be confirmed."""
    weeks = preset.assessment_weeks
    last = min(preset.mri_weeks[-1], weeks[-1] - int(outcome.confirmation_weeks))
    week = max(w for w in preset.mri_weeks if w <= last)
    visit = sum(0 < w <= week for w in weeks)
    low = population.baseline.log_tlv <= np.log(preset.tlv_median_ml)
    for index, arm in enumerate(preset.arms):
        for term, half in (("tlv <= median", low), ("tlv > median", ~low)):
            stat = limit_of_kaplan_meier(expected.of(half & (population.arm == index)), visit)
            place: Any = {"analysis": "km_at_median_tlv", "arm": arm.name, "visit": str(week), "term": term}
            yield to.row(**place, stat_name="survival", stat=stat)
