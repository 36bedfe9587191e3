"""One simulated trial as arrays, and what every estimator of the report says about it.

The estimators are those of `nnunet_ms.analysis` with the report's covariates and conventions (R); only the tables
between them are left out, which would take seconds per trial.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
import pandas as pd

from nnunet_ms.simulation.model import cohort, table_reader
from nnunet_ms.simulation.model.presets import Hazard, TrialPreset
from nnunet_ms.simulation.model.trial_presets import WEEKS_PER_YEAR
from nnunet_ms.simulation.truth.expected_cox import Expected, limits_of_cox, moments
from nnunet_ms.simulation.truth.population import draw_population, expected_outcome, observed_progression, outcomes
from nnunet_ms.simulation.truth.progression import (
    AGE_LIMIT_YEARS,
    MODEL_PATIENTS,
    SUBGROUPS,
    multivariable_covariates,
)
from nnunet_ms.statistics.ancova import ancova, ranked_ancova
from nnunet_ms.statistics.change_from_baseline import separation
from nnunet_ms.statistics.count_model import count_model, exact_rate_ratio, rank_sum_p
from nnunet_ms.statistics.cox import Cox, CoxModel, cox_univariable, fit_cox
from nnunet_ms.statistics.mmrm import fit_mmrm
from nnunet_ms.statistics.paired_effect import (
    draw_weights,
    linear_effect,
    log_hazard_ratio,
    log_ratio_of_means,
    paired_effect,
)
from nnunet_ms.statistics.proportional_hazards import proportional_hazards_test
from nnunet_ms.statistics.survival import kaplan_meier, logrank, mean_time_difference, restricted_mean, survival_at

REFERENCE, READER = "reference", table_reader.RATER
TIES = "efron"
DRAWS = 200  # of the bootstrap; reports draw 2000
NAN = float("nan")


@dataclass(frozen=True)
class Estimate:
    """One estimate with its 95 % limits; ratios as logarithms. NaN where there is none.

    `linear`: first-order part of the error, of expectation 0; it lets the bias be seen through the noise.
    """

    value: float = NAN
    low: float = NAN
    high: float = NAN
    p: float = NAN
    linear: float = NAN


class Trial:
    """One simulated trial as arrays over its patients; what several targets need is computed once."""

    def __init__(self, preset: TrialPreset, rng: np.random.Generator) -> None:
        self.preset = preset
        self.arm = cohort.draw_arms(preset, preset.patients, rng)
        self.baseline = cohort.draw_baseline(preset, preset.patients, rng)
        log_tlv = cohort.draw_log_tlv(preset, self.arm, self.baseline.log_tlv, rng)
        self.volume_ml = {REFERENCE: np.exp(log_tlv)}
        self.volume_ml[READER] = table_reader.read_volumes(preset.reader, np.exp(log_tlv), rng)
        self.attended = np.array(preset.mri_weeks) <= self.baseline.discontinued_week[:, None]
        activity = cohort.draw_activity(preset, self.arm, rng)
        self.onset: dict[Hazard, np.ndarray] = {}
        for hazard in (preset.edss, preset.t25fw.hazard, preset.nhpt.hazard):
            ratio = cohort.log_hazard_ratio(preset, hazard, self.arm, self.baseline)
            self.onset[hazard] = cohort.draw_onset(hazard.per_year, ratio, rng)
        counts = {"enhancing_lesions": activity.enhancing, "new_t1_lesions": activity.new_t1}
        counts["new_t2_lesions"], counts["enlarging_t2_lesions"] = activity.new_t2, activity.enlarging_t2
        self.counts = {REFERENCE: counts}
        self.counts[READER] = {k: table_reader.read_counts(preset.reader, v, rng) for k, v in counts.items()}
        for of_rater in self.counts.values():
            of_rater["new_or_enlarging_t2_lesions"] = of_rater["new_t2_lesions"] + of_rater["enlarging_t2_lesions"]
        self.seed = int(rng.integers(2**31))

    @cached_property
    def survival(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Week and event per outcome."""
        return {
            outcome.name: observed_progression(
                self.preset,
                np.minimum.reduce([self.onset[hazard] for hazard in outcome.hazards]),
                self.baseline.discontinued_week,
                outcome.confirmation_weeks,
            )
            for outcome in outcomes(self.preset)
        }

    @cached_property
    def covariates(self) -> pd.DataFrame:
        """Arm, region, age group and EDSS stratum as the report's tables hold them."""
        b = self.baseline
        return pd.DataFrame(
            {
                "arm": np.array([arm.name for arm in self.preset.arms])[self.arm],
                "region": np.where(b.us, "US", "ROW"),
                "age_group": np.where(b.age_years > AGE_LIMIT_YEARS, "> 45", "<= 45"),
                "edss_stratum": np.where(b.edss < cohort.EDSS_BELOW, "< 4", ">= 4"),
            }
        )

    @property
    def arms(self) -> list[str]:
        """Names, the reference first."""
        return [arm.name for arm in self.preset.arms]

    @cached_property
    def mixed_model(self) -> list[Estimate]:
        """Log ratio of geometric means at every follow-up visit."""
        return _mixed_model(self)

    @cached_property
    def joint(self) -> dict[str, CoxModel]:
        """Multivariable model of every outcome."""
        X, names = multivariable_covariates(self.arm, self.baseline)
        keep = np.ptp(X, axis=0) > 0
        kept = [n for n, k in zip(names, keep, strict=True) if k]
        return {name: fit_cox(*self.survival[name], X[:, keep], kept, TIES) for name in self.survival}

    def change(self, rater: str, visit: int) -> pd.DataFrame:
        """Percent change of those who attended the visit, with covariates."""
        volume, here = self.volume_ml[rater], self.attended[:, visit]
        change = 100 * (volume[:, visit] / volume[:, 0] - 1)
        return self.covariates.assign(percent_change=change, baseline_tlv=volume[:, 0])[here].reset_index(drop=True)


def volume_separation(trial: Trial, rater: str, visit: int) -> Estimate:
    """Difference of the arms' mean percent change, Welch's interval; p < .05 where it excludes 0."""
    table = trial.change(rater, visit)
    found = separation(*(table.loc[table["arm"] == arm, "percent_change"].to_numpy() for arm in trial.arms[::-1]))
    return Estimate(found.estimate, found.low, found.high, 1.0 if found.low <= 0 <= found.high else 0.0)


def volume_ancova(trial: Trial, rater: str, robust: bool = False) -> Estimate:
    """Arm effect of the ANCOVA at the last visit; `robust`: with an interval that allows unequal variances."""
    table = trial.change(rater, len(trial.preset.mri_weeks) - 1)
    fit = ancova(table, "percent_change", trial.arms, ["baseline_tlv"], ["region", "age_group"])
    c = (fit.contrasts_robust if robust else fit.contrasts)[0]
    return Estimate(c.estimate, c.low, c.high, c.p)


def volume_ranked(trial: Trial) -> Estimate:
    """P value of the ranked ANCOVA, the last observation carried forward."""
    last = (trial.attended * np.arange(trial.attended.shape[1])).max(axis=1)
    volume = trial.volume_ml[REFERENCE]
    change = 100 * (volume[np.arange(len(last)), last] / volume[:, 0] - 1)
    table = trial.covariates.assign(percent_change=change, baseline_tlv=volume[:, 0])[last > 0]
    table = table.reset_index(drop=True)
    fit = ranked_ancova(table, "percent_change", trial.arms, "baseline_tlv", factors=["region", "age_group"])
    return Estimate(p=fit.contrasts[0].p)


def volume_mmrm(trial: Trial, visit: int) -> Estimate:
    """Log ratio of geometric means at a visit."""
    return trial.mixed_model[visit - 1]


def _mixed_model(trial: Trial) -> list[Estimate]:
    """Arm x visit, log baseline x visit, region, age group; unstructured covariance."""
    visits = len(trial.preset.mri_weeks)
    who, when = np.nonzero(trial.attended[:, 1:])
    log_volume = np.log(trial.volume_ml[REFERENCE])
    at = (when[:, None] == np.arange(visits - 1)).astype(float)
    active, level = (trial.arm[who] == 1)[:, None], log_volume[who, :1]
    factors = trial.covariates.iloc[who]
    others = [(factors["region"] == "US").to_numpy(float), (factors["age_group"] == "> 45").to_numpy(float)]
    X = np.column_stack([at, at * active, at * level, *others])
    names = [str(i) for i in range(X.shape[1])]
    fit = fit_mmrm(log_volume[who, when + 1] - log_volume[who, 0], X, who, when, names)
    points = np.eye(X.shape[1])[visits - 1 : 2 * (visits - 1)]
    contrasts = [fit.contrast(point) for point in points]
    return [Estimate(c.estimate, c.low, c.high, c.p) for c in contrasts]


def _patient_counts(trial: Trial, endpoint: str, rater: str = REFERENCE) -> pd.DataFrame:
    counts, scanned = trial.counts[rater][endpoint], trial.attended[:, 1:]
    present = np.where(counts[:, 0] > 0, "present", "absent")
    years = np.diff(trial.preset.mri_weeks) / WEEKS_PER_YEAR
    table = trial.covariates.assign(
        lesions=(counts[:, 1:] * scanned).sum(axis=1),
        exposure=(scanned * (1.0 if endpoint == "enhancing_lesions" else years)).sum(axis=1),
        baseline=present,
    )
    return table[table["exposure"] > 0].reset_index(drop=True)


def negative_binomial(trial: Trial, endpoint: str) -> Estimate:
    """Log rate ratio."""
    factors = ["baseline"] * (endpoint == "enhancing_lesions") + ["edss_stratum", "region"]
    fit = count_model(_patient_counts(trial, endpoint), "lesions", "exposure", trial.arms, [], factors)
    if not fit.ratios or not fit.ratios[0].low > 0:
        return Estimate()
    ratio = fit.ratios[0]
    return Estimate(*(float(v) for v in np.log([ratio.estimate, ratio.low, ratio.high])), ratio.p)


def count_test(trial: Trial, endpoint: str, test: str) -> Estimate:
    """P value of the exact Poisson or of Wilcoxon's test."""
    table = _patient_counts(trial, endpoint)
    b, a = (table[table["arm"] == arm] for arm in trial.arms)
    if test == "wilcoxon":
        return Estimate(p=rank_sum_p(a["lesions"] / a["exposure"], b["lesions"] / b["exposure"]))
    (n_a, years_a), (n_b, years_b) = ((int(t["lesions"].sum()), float(t["exposure"].sum())) for t in (a, b))
    return Estimate(p=exact_rate_ratio(n_a, years_a, n_b, years_b).p)


def cox(trial: Trial, outcome: str, covariate: str) -> Estimate:
    """Log hazard ratio of the arm, of log TLV or of one lesion."""
    b = trial.baseline
    lesions = cohort.baseline_lesions(trial.preset, np.exp(b.log_tlv)).astype(float)
    x = {"log_tlv": b.log_tlv, "lesion_count": lesions, "arm": trial.arm.astype(float)}[covariate]
    return _log_hazard(cox_univariable(*trial.survival[outcome], x, TIES), _linear(trial, outcome, covariate)[0])


def cox_stratified(trial: Trial, outcome: str) -> Estimate:
    """Log hazard ratio of the arm within regions."""
    x = trial.arm.astype(float)[:, None]
    fit = fit_cox(*trial.survival[outcome], x, ["arm"], TIES, trial.baseline.us).term("arm")
    return _log_hazard(fit, _linear(trial, outcome, "arm")[0])  # of the model without strata: nearly the same


def cox_joint(trial: Trial, outcome: str, term: str) -> Estimate:
    """Log hazard ratio of one term of the multivariable model."""
    model = trial.joint[outcome]
    return _log_hazard(model.term(term), _linear(trial, outcome, "joint")[model.names.index(term)])


def cox_subgroup(trial: Trial, outcome: str, term: str) -> Estimate:
    """Log hazard ratio of the arm within a subgroup."""
    time, event = trial.survival[outcome]
    chosen = SUBGROUPS[term](trial.baseline)
    fit = cox_univariable(time[chosen], event[chosen], trial.arm[chosen].astype(float), TIES)
    return _log_hazard(fit, _linear(trial, outcome, "arm", term)[0])


def interaction_test(trial: Trial, outcome: str) -> Estimate:
    """Likelihood-ratio test of arm x region."""
    from scipy.stats import chi2

    a, group = trial.arm.astype(float), trial.baseline.us.astype(float)
    designs = (np.column_stack([a, group]), np.column_stack([a, group, a * group]))
    fits = [fit_cox(*trial.survival[outcome], X, [str(i) for i in range(X.shape[1])], TIES) for X in designs]
    return Estimate(p=float(chi2.sf(2 * (fits[1].log_likelihood - fits[0].log_likelihood), 1)))


def ph_test(trial: Trial, outcome: str) -> Estimate:
    """GLOBAL line of the test of proportional hazards of the multivariable model."""
    X, names = multivariable_covariates(trial.arm, trial.baseline)
    keep = np.ptp(X, axis=0) > 0
    terms = {name: [i] for i, name in enumerate(n for n, k in zip(names, keep, strict=True) if k)}
    return Estimate(p=proportional_hazards_test(*trial.survival[outcome], X[:, keep], terms, TIES)[-1].p)


def logrank_test(trial: Trial, outcome: str, stratified: bool) -> Estimate:
    """P value, all patients or within regions."""
    return Estimate(p=logrank(*trial.survival[outcome], trial.arm, trial.baseline.us if stratified else None).p)


def mean_time(trial: Trial, outcome: str) -> Estimate:
    """Difference of the restricted mean times up to the last MRI week."""
    time, event = trial.survival[outcome]
    horizon = float(trial.preset.mri_weeks[-1])
    a, b = (restricted_mean(time[trial.arm == arm], event[trial.arm == arm], horizon) for arm in (1, 0))
    gap = mean_time_difference(a, b)
    return Estimate(gap.estimate, gap.low, gap.high, gap.p, float(_linear(trial, outcome, "arm")[0]))


def survival_of_group(trial: Trial, outcome: str, arm: int, half: str, week: float) -> Estimate:
    """Kaplan-Meier estimate in one arm; `half`: all, or below or above the cohort's median volume."""
    time_weeks, event = trial.survival[outcome]
    group = trial.arm == arm
    if half:
        above = trial.baseline.log_tlv > np.median(trial.baseline.log_tlv)
        group &= above == (half == "tlv > median")
    curve = kaplan_meier(time_weeks[group], event[group], "log")
    _, value, low, top = survival_at(curve, time_weeks[group], week)
    return Estimate(value, low, top)


def agreement_of_volume(trial: Trial, adjusted: bool) -> Estimate:
    """Effect by the reader minus effect by the reference at the last visit: separation or ANCOVA, in % points."""
    effects = []
    for rater in (REFERENCE, READER):
        table = trial.change(rater, len(trial.preset.mri_weeks) - 1)
        active = (table["arm"] == trial.arms[1]).to_numpy(float)
        columns = [np.ones(len(table)), active]
        if adjusted:
            groups = [(table["region"] == "US").to_numpy(float), (table["age_group"] == "> 45").to_numpy(float)]
            columns += [table["baseline_tlv"].to_numpy(), *groups]
        effects.append(linear_effect(table["percent_change"].to_numpy(), np.column_stack(columns), 1))
    return _paired(effects, active, trial.seed)


def agreement_of_counts(trial: Trial, endpoint: str) -> Estimate:
    """Log ratio of means by the reader minus that by the reference."""
    effects = []
    for rater in (REFERENCE, READER):
        table = _patient_counts(trial, endpoint, rater)
        active = (table["arm"] == trial.arms[1]).to_numpy()
        effects.append(
            log_ratio_of_means(table["lesions"].to_numpy(float), table["exposure"].to_numpy(float), active, ~active)
        )
    return _paired(effects, active, trial.seed)


def agreement_of_cox(trial: Trial, outcome: str) -> Estimate:
    """Coefficient of log TLV by the reader minus that by the reference."""
    time, event = trial.survival[outcome]
    volumes = (np.log(trial.volume_ml[rater][:, :1]) for rater in (REFERENCE, READER))
    effects = [log_hazard_ratio(time, event, x, 0, TIES) for x in volumes]
    return _paired(effects, trial.arm, trial.seed)


def _paired(effects: list[Callable[[np.ndarray], np.ndarray]], arm: np.ndarray, seed: int) -> Estimate:
    found = paired_effect(*effects, draw_weights(arm, DRAWS, seed))
    return Estimate(found.difference, found.low, found.high)


def _log_hazard(fit: Cox, linear: float = NAN) -> Estimate:
    return Estimate(fit.coefficient, float(np.log(fit.low)), float(np.log(fit.high)), fit.p, float(linear))


@dataclass(frozen=True)
class Expansion:
    """First-order expansion of a Cox estimate at its limit `beta` (k,).

    Visit by visit the hazard `step` (visits,) and the mean covariate of those who progress `mean` (visits, k);
    `expected` score and `inverse` information per patient.
    """

    beta: np.ndarray
    step: np.ndarray
    mean: np.ndarray
    expected: np.ndarray
    inverse: np.ndarray


def _design(model: str, preset: TrialPreset, arm: np.ndarray, baseline: cohort.Baseline) -> np.ndarray:
    if model == "joint":
        X = multivariable_covariates(arm, baseline)[0]
        return np.asarray(X[:, np.ptp(X, axis=0) > 0])
    lesions = cohort.baseline_lesions(preset, np.exp(baseline.log_tlv))
    column = {"log_tlv": baseline.log_tlv, "lesion_count": lesions, "arm": arm}[model]
    return np.asarray(column, float)[:, None]


@cache
def _expansion(preset: TrialPreset, outcome: str, model: str, subgroup: str) -> Expansion:
    """Expand the score in the limit; Breslow's thinning is enough, because only its expectation must be exact."""
    population = draw_population(preset, MODEL_PATIENTS)
    (chosen,) = (o for o in outcomes(preset) if o.name == outcome)
    expected = expected_outcome(preset, chosen, population)
    X, within = _design(model, preset, population.arm, population.baseline), _belongs(subgroup, population.baseline)
    share = population.weight[within].sum()
    expected = Expected(expected.event[within] / share, expected.at_risk[within] / share)
    X = X[within]
    beta = limits_of_cox(expected, X)
    risk = expected.at_risk * np.exp(X @ beta)[:, None]
    sums = risk.T @ moments(X)
    deaths, k = expected.event.sum(axis=0), X.shape[1]
    step, mean = deaths / sums[:, 0], sums[:, 1 : k + 1] / sums[:, :1]
    second = (sums[:, k + 1 :] / sums[:, :1]).reshape(-1, k, k) - mean[:, :, None] * mean[:, None, :]
    # what is at risk has no part in it: with these steps and means its terms cancel visit by visit
    score = (expected.event.T @ X - deaths[:, None] * mean).sum(axis=0)
    return Expansion(beta, step, mean, score, np.linalg.inv(np.tensordot(deaths, second, 1)))


def _belongs(subgroup: str, baseline: cohort.Baseline) -> np.ndarray:
    return SUBGROUPS[subgroup](baseline) if subgroup else np.ones(len(baseline.edss), dtype=bool)


def _linear(trial: Trial, outcome: str, model: str, subgroup: str = "") -> np.ndarray:
    """First-order error of a Cox estimate in this trial, (k,)."""
    e, within = _expansion(trial.preset, outcome, model, subgroup), _belongs(subgroup, trial.baseline)
    X = _design(model, trial.preset, trial.arm, trial.baseline)[within]
    time, event = (values[within] for values in trial.survival[outcome])
    weeks = np.array(trial.preset.assessment_weeks[1:], dtype=float)
    here = (time[:, None] == weeks) & event[:, None]
    martingale = here - (time[:, None] >= weeks) * np.exp(X @ e.beta)[:, None] * e.step
    score = X.T @ martingale.sum(axis=1) - martingale.sum(axis=0) @ e.mean
    return np.asarray(e.inverse @ (score / len(X) - e.expected))


def without_effect(preset: TrialPreset) -> TrialPreset:
    """Return the preset with two equal arms, and no influence of lesion volume on progression."""
    same = replace(preset.arms[0], name=preset.arms[1].name)

    def flat(hazard: Hazard) -> Hazard:
        return replace(hazard, log_ratio=(0.0, 0.0), per_log_tlv=(0.0, 0.0))

    timed = {
        name: replace(test, hazard=flat(test.hazard)) for name, test in (("t25fw", preset.t25fw), ("nhpt", preset.nhpt))
    }
    return replace(preset, arms=(preset.arms[0], same), edss=flat(preset.edss), **timed)
