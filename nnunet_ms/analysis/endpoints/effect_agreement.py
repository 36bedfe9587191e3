"""Endpoint: do reference and model masks give the same treatment effect? Patient-paired bootstrap of the difference.

A draw takes patients with replacement within each arm; both raters are analysed on the same draw, so that what the
patients have in common cancels. Interval: percentiles [1]_.

.. [1] Efron B, Tibshirani RJ. An Introduction to the Bootstrap, 1993, chapter 13.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from nnunet_ms.analysis.endpoints.lesion_counts import (
    CountEndpoint,
    available,
    count_factors,
    exposure_unit,
    missing_reason,
    patient_counts,
)
from nnunet_ms.analysis.endpoints.progression_by_t2_volume import ProgressionData
from nnunet_ms.analysis.endpoints.progression_multivariable import JointModel, joint_model
from nnunet_ms.analysis.endpoints.statistic_rows import Statistic, not_estimable, spread
from nnunet_ms.analysis.endpoints.t2_volume_models import mmrm_design, of_modelled_arms, volume_mmrm, with_covariates
from nnunet_ms.analysis.trial.data import TrialData
from nnunet_ms.analysis.trial.keys import contrast_text, week_text
from nnunet_ms.arrays import Floats
from nnunet_ms.statistics.bootstrap_cox import cox_draws
from nnunet_ms.statistics.bootstrap_estimates import mixed_model_effect, rate_effect
from nnunet_ms.statistics.design_matrix import arm_design, arms_with_patients
from nnunet_ms.statistics.negative_binomial import fit_negative_binomial
from nnunet_ms.statistics.paired_effect import (
    DrawnEffect,
    PairedEffect,
    draw_weights,
    linear_effect,
    log_hazard_ratio,
    log_ratio_of_means,
    paired_draws,
    paired_effect,
)
from nnunet_ms.statistics.separation import estimable_covariates
from nnunet_ms.tables import REFERENCE

ENDPOINT = "effect_agreement"


def effect_agreement_statistics(
    trial: TrialData, changes: pd.DataFrame, outcomes: Sequence[ProgressionData]
) -> Iterator[Statistic]:
    """Yield every effect's difference between each model and the reference; nothing without a reference or draws."""
    draws = trial.settings.analysis.bootstrap_draws
    if REFERENCE not in trial.raters or len(trial.raters) < 2 or draws < 2:
        return
    for arm in trial.settings.compared_arms:
        yield from _volume_rows(trial, changes, arm)
        yield from _count_rows(trial, arm)
    yield from _mixed_rows(trial, with_covariates(trial, changes))
    yield from _rate_rows(trial)
    for data in outcomes:
        yield from _cox_rows(trial, data)


def _volume_rows(trial: TrialData, changes: pd.DataFrame, arm: str) -> Iterator[Statistic]:
    settings = trial.settings
    frame = with_covariates(trial, changes)
    for week in settings.weeks:
        at = frame[(frame["week"] == week) & frame["arm"].isin([arm, settings.reference_arm])]
        for analysis, covariates in (("t2_volume_separation", False), ("t2_volume_ancova", True)):
            if covariates and week != settings.weeks[-1]:
                continue
            effects, arms = {}, None
            for rater in trial.raters:
                rows = at[at["rater"] == rater].sort_values("patient_id")
                arms = rows["arm"].to_numpy(str)
                if set(arms) != {arm, settings.reference_arm}:
                    break
                numbers, factors = (["baseline_ml"], ["region", "age_group"]) if covariates else ([], [])
                design = arm_design(rows, [settings.reference_arm, arm], numbers, factors)
                effects[rater] = linear_effect(rows["percent_change"].to_numpy(float), design.X, 1)
            keys = Statistic(
                ENDPOINT, analysis, contrast=contrast_text(arm, settings.reference_arm), visit=week_text(week)
            )
            yield from _rows(trial, keys, effects, arms, "percentage points")


def _count_rows(trial: TrialData, arm: str) -> Iterator[Statistic]:
    settings = trial.settings
    for endpoint in available(trial):
        effects, arms = {}, None
        for rater in _counting(trial, endpoint):
            rows = patient_counts(trial, endpoint, rater).sort_values("patient_id")
            rows = rows[rows["arm"].isin([arm, settings.reference_arm])]
            arms = rows["arm"].to_numpy(str)
            effects[rater] = log_ratio_of_means(
                rows["lesions"].to_numpy(float),
                rows["exposure"].to_numpy(float),
                arms == arm,
                arms == settings.reference_arm,
            )
        keys = Statistic(ENDPOINT, endpoint.name, contrast=contrast_text(arm, settings.reference_arm), visit="all")
        unit = f"log ratio of lesions per {exposure_unit(trial, endpoint)}"
        yield from _rows(trial, keys, effects, arms, unit, _unread(trial, endpoint) or "an arm has no patient")


def _counting(trial: TrialData, endpoint: CountEndpoint) -> list[str]:
    """Return the raters that have this count; the visits are the same for all of them."""
    return [rater for rater in trial.raters if not missing_reason(trial, endpoint, rater)]


def _unread(trial: TrialData, endpoint: CountEndpoint) -> str:
    """Return why some rater has no such count; blank text where all have it."""
    return next(filter(None, (missing_reason(trial, endpoint, rater) for rater in trial.raters)), "")


def _mixed_rows(trial: TrialData, frame: pd.DataFrame) -> Iterator[Statistic]:
    """Compare the mixed model's ratio of geometric means at the last visit; `frame` from `with_covariates`."""
    settings, week = trial.settings, trial.settings.weeks[-1]
    usable = of_modelled_arms(trial, frame[frame["log_ratio"].notna()])
    arm_of = usable.drop_duplicates("patient_id").set_index("patient_id")["arm"].sort_index()
    fits = {rater: volume_mmrm(trial, usable[usable["rater"] == rater]) for rater in trial.raters}
    for arm in settings.compared_arms:
        effects, name = {}, f"{arm} at {week:g}"
        for rater, (fit, weeks) in fits.items():
            if fit.problem or name not in fit.names:
                continue
            rows = usable[(usable["rater"] == rater) & usable["week"].isin(weeks)]
            effects[rater] = mixed_model_effect(
                rows["log_ratio"].to_numpy(float),
                mmrm_design(trial, rows)[0],
                arm_of.index.get_indexer(rows["patient_id"]),
                np.searchsorted(weeks, rows["week"]),
                fit.sigma,
                fit.names.index(name),
            )
        why = next((fit.problem for fit, _ in fits.values() if fit.problem), "the last visit lacks an arm")
        keys = Statistic(
            ENDPOINT, "t2_volume_mmrm", contrast=contrast_text(arm, settings.reference_arm), visit=week_text(week)
        )
        note = "covariance of the visits held at the whole sample's"
        arms = arm_of.to_numpy(str)
        yield from _rows(trial, keys, effects, arms, "log ratio of geometric means", why, note)


def _rate_rows(trial: TrialData) -> Iterator[Statistic]:
    """Compare the negative binomial models' log rate ratios."""
    settings = trial.settings
    for endpoint in available(trial):
        counting = _counting(trial, endpoint)
        tables = {r: patient_counts(trial, endpoint, r).sort_values("patient_id") for r in counting}
        for arm in settings.compared_arms:
            found = {rater: _rate_of(trial, endpoint, table, arm) for rater, table in tables.items()}
            effects = {rater: effect for rater, (effect, _) in found.items() if effect is not None}
            why = _unread(trial, endpoint) or next((problem for _, problem in found.values() if problem), "")
            keys = Statistic(
                ENDPOINT, f"{endpoint.name}_negative_binomial",
                contrast=contrast_text(arm, settings.reference_arm), visit="all",
            )  # fmt: skip
            arms = tables[counting[0]]["arm"].to_numpy(str) if counting else None
            note = "dispersion held at the whole sample's"
            yield from _rows(trial, keys, effects, arms, "log rate ratio", why, note)


def _rate_of(
    trial: TrialData, endpoint: CountEndpoint, table: pd.DataFrame, arm: str
) -> tuple[Callable[[Floats], Floats] | None, str]:
    totals = table.groupby("arm")["lesions"].sum()
    if any(totals.get(name, 0) == 0 for name in (trial.settings.reference_arm, arm)):
        return None, "no lesion in an arm"
    there = arms_with_patients(table, trial.settings.arms)
    arms = [name for name in there if totals.get(name, 0) > 0]
    if arm not in arms:
        return None, f"fewer than 2 patients in arm {arm}"
    inside = table["arm"].isin(arms).to_numpy()
    kept = estimable_covariates(table[inside], "lesions", arms, factors=count_factors(endpoint))
    design = arm_design(table[inside], arms, [], kept.factors)
    problem = design.rank_problem() or ("too few patients" if inside.sum() <= design.X.shape[1] else "")
    if problem:
        return None, problem
    y, offset = table["lesions"].to_numpy(float), np.log(table["exposure"].to_numpy(float))
    fit = fit_negative_binomial(y[inside], design.X, offset[inside])
    if not fit.converged:
        return None, "the likelihood has no maximum"
    effect = rate_effect(y[inside], design.X, offset[inside], fit.alpha, fit.beta, design.names.index(arm))
    return lambda weights: effect(weights[:, inside]), ""


def _cox_rows(trial: TrialData, data: ProgressionData) -> Iterator[Statistic]:
    table = data.table
    time, event = table["time_weeks"].to_numpy(float), table["event"].to_numpy(bool)
    ties, arms, unit = (
        trial.settings.conventions.ties,
        table["arm"].to_numpy(str),
        "log hazard ratio per log(TLV in ml)",
    )
    effects = {}
    if event.sum() >= 2:
        for rater in trial.raters:
            x = np.log(data.volumes[rater].to_numpy(float))[:, None]
            if np.ptp(x) > 0:
                effects[rater] = log_hazard_ratio(time, event, x, 0, ties)
    events = int(event.sum())
    why = "no events" if events == 0 else "one event" if events == 1 else "the lesion volume is constant"
    yield from _rows(trial, Statistic(ENDPOINT, data.outcome, term="log_tlv"), effects, arms, unit, why)
    yield from _joint_rows(trial, data, arms, unit)


def _joint_rows(trial: TrialData, data: ProgressionData, arms: npt.NDArray[np.str_], unit: str) -> Iterator[Statistic]:
    """Compare the terms of the model of both arms; one fit per rater and draw serves every term."""
    joint = {rater: joint_model(trial, data, rater) for rater in trial.raters}
    why = next((fit.model.problem for fit in joint.values() if fit.model.problem), "")
    contrasts = {"log_tlv": ("log_tlv", "")} | {
        f"{arm}:log_tlv": ("arm:log_tlv", contrast_text(arm, trial.settings.reference_arm))
        for arm in trial.settings.compared_arms
    }
    weights = draw_weights(arms, trial.settings.analysis.bootstrap_draws, trial.settings.analysis.seed)
    drawn = {} if why else {rater: _drawn_terms(trial, data, fit, weights) for rater, fit in joint.items()}
    for name, (term, contrast) in contrasts.items():
        keys = Statistic(ENDPOINT, f"{data.outcome}_multivariable", term=term, contrast=contrast)
        effects = {rater: terms[name] for rater, terms in drawn.items() if name in terms}
        for rater in (r for r in trial.raters if r != REFERENCE):
            found = None
            if REFERENCE in effects and rater in effects:
                found = paired_draws(effects[REFERENCE], effects[rater], trial.settings.analysis.confidence)
            yield from _row(replace(keys, rater=rater), found, unit, why or "constant in the data")


def _drawn_terms(trial: TrialData, data: ProgressionData, fit: JointModel, weights: Floats) -> dict[str, DrawnEffect]:
    """Every coefficient of one rater's model, by name."""
    time, event = data.table["time_weeks"].to_numpy(float), data.table["event"].to_numpy(bool)
    once, draws = (
        cox_draws(time, event, fit.X, trial.settings.conventions.ties, drawn, fit.model.beta)
        for drawn in (np.ones((1, len(time))), weights)
    )
    return {name: DrawnEffect(float(once[0, k]), draws[:, k]) for k, name in enumerate(fit.model.names)}


def _rows(
    trial: TrialData,
    keys: Statistic,
    effects: Mapping[str, Callable[[Floats], Floats]],
    arms: npt.NDArray[np.str_] | None,
    unit: str,
    why: str = "an arm has no patient",
    note: str = "",
) -> Iterator[Statistic]:
    analysis = trial.settings.analysis
    weights = None
    for rater in (r for r in trial.raters if r != REFERENCE):
        found = None
        if REFERENCE in effects and rater in effects and arms is not None:
            weights = draw_weights(arms, analysis.bootstrap_draws, analysis.seed) if weights is None else weights
            found = paired_effect(effects[REFERENCE], effects[rater], weights, analysis.confidence)
        yield from _row(replace(keys, rater=rater), found, unit, why, note)


def _row(keys: Statistic, found: PairedEffect | None, unit: str, why: str, note: str = "") -> Iterator[Statistic]:
    """Yield one comparison's numbers; blank, with the reason `why`, when there is none."""
    base = replace(keys, population="patients with both raters")
    if found is None:
        yield from spread(base, {"difference": (float("nan"), unit)}, not_estimable(why))
        return
    method = f"{keys.rater} - reference; paired bootstrap of patients within arms, {found.draws} draws, percentiles"
    method += f"; {note}" if note else ""
    stats = {
        "effect_reference": found.reference, "effect_rater": found.rater, "difference": found.difference,
        "low": found.low, "high": found.high, "se": found.se,
    }  # fmt: skip
    yield from spread(
        replace(base, method=method), {k: (v, unit) for k, v in stats.items()}, not_estimable(found.problem)
    )
