"""Endpoint: do reference and model masks give the same treatment effect? Patient-paired bootstrap of the difference.

A draw takes patients with replacement within each arm; both raters are analysed on the same draw, so that what the
patients have in common cancels. Interval: percentiles [1]_.

.. [1] Efron B, Tibshirani RJ. An Introduction to the Bootstrap, 1993, chapter 13.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from nnunet_ms.analysis.cox import maximise, risk_sets
from nnunet_ms.analysis.design_matrix import arm_design
from nnunet_ms.analysis.lesion_counts import available, patient_counts
from nnunet_ms.analysis.progression import ProgressionData
from nnunet_ms.analysis.tidy import Statistic, contrast_text, not_estimable, spread, week_text
from nnunet_ms.analysis.trial_data import TrialData
from nnunet_ms.analysis.volume_models import with_covariates
from nnunet_ms.tables import REFERENCE

Floats = npt.NDArray[np.float64]
ENDPOINT = "effect_agreement"
FEWEST_DRAWS = 0.9  # share of draws that must give an estimate


@dataclass(frozen=True)
class PairedEffect:
    """The same effect from two raters, `difference` = rater - reference, with the bootstrap's interval."""

    reference: float
    rater: float
    difference: float
    low: float
    high: float
    se: float
    draws: int
    problem: str = ""


def draw_weights(arm: npt.ArrayLike, draws: int, seed: int) -> Floats:
    """Return (draws, n): how often each patient is drawn; the number per arm stays as it is."""
    arms = np.asarray(arm)
    rng = np.random.default_rng(seed)
    weights = np.zeros((draws, len(arms)))
    for name in np.unique(arms):
        index = np.flatnonzero(arms == name)
        weights[:, index] = rng.multinomial(len(index), np.full(len(index), 1 / len(index)), draws)
    return weights


def paired_effect(
    reference: Callable[[Floats], Floats], rater: Callable[[Floats], Floats], weights: Floats, confidence: float = 0.95
) -> PairedEffect:
    """Compare two effects on the same draws.

    Parameters
    ----------
    reference, rater : callable
        (draws, n) weights -> (draws,) effects; NaN where a draw gives none.
    weights : (draws, n) array
        From `draw_weights`.
    confidence : float, optional
        Level of the percentile interval.
    """
    once = np.ones((1, weights.shape[1]))
    a, b = float(reference(once)[0]), float(rater(once)[0])
    if not np.isfinite([a, b]).all():
        return PairedEffect(a, b, *(float("nan"),) * 4, 0, "the effect itself cannot be estimated")
    gaps = rater(weights) - reference(weights)
    gaps = gaps[np.isfinite(gaps)]
    if len(gaps) < FEWEST_DRAWS * len(weights) or len(gaps) < 2:
        why = f"only {len(gaps)} of {len(weights)} draws can be estimated"
        return PairedEffect(a, b, b - a, *(float("nan"),) * 3, len(gaps), why)
    tail = (1 - confidence) / 2
    low, high = np.quantile(gaps, [tail, 1 - tail])
    return PairedEffect(a, b, b - a, float(low), float(high), float(gaps.std(ddof=1)), len(gaps))


def linear_effect(y: Floats, X: Floats, column: int) -> Callable[[Floats], Floats]:
    """Return the effect of least squares: all draws at once, from weighted cross-products."""
    n, k = X.shape
    products = (X[:, :, None] * X[:, None, :]).reshape(n, k * k)
    right = X * y[:, None]

    def effect(weights: Floats) -> Floats:
        A, b = (weights @ products).reshape(-1, k, k), weights @ right
        good = np.linalg.cond(A) < 1e12
        found = np.full(len(weights), np.nan)
        if good.any():
            found[good] = np.linalg.solve(A[good], b[good][:, :, None])[:, column, 0]
        return found

    return effect


def log_ratio_of_means(
    count: Floats, exposure: Floats, active: npt.NDArray[np.bool_], reference: npt.NDArray[np.bool_]
) -> Callable[[Floats], Floats]:
    """Return log(rate in `active` / rate in `reference`); NaN where one of them has no lesion."""

    def effect(weights: Floats) -> Floats:
        if not active.any() or not reference.any():
            return np.full(len(weights), np.nan)
        rates = [(weights[:, g] @ count[g]) / (weights[:, g] @ exposure[g]) for g in (active, reference)]
        positive = (rates[0] > 0) & (rates[1] > 0)
        return np.where(positive, np.log(np.where(positive, rates[0], 1.0) / np.where(positive, rates[1], 1.0)), np.nan)

    return effect


def log_hazard_ratio(
    weeks: Floats, event: npt.NDArray[np.bool_], X: Floats, column: int, ties: str
) -> Callable[[Floats], Floats]:
    """Return a Cox coefficient; each draw starts from the whole sample's."""
    sets = risk_sets(weeks, event, X)
    start, *_ = maximise(sets, ties)

    def one(weights: Floats) -> float:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # a draw without a maximum becomes NaN
            beta, _, _, converged = maximise(sets, ties, weights, start)
        return float(beta[column]) if converged and np.isfinite(beta).all() else float("nan")

    return lambda weights: np.array([one(row) for row in weights])


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
        for rater in trial.raters:
            rows = patient_counts(trial, endpoint, rater).sort_values("patient_id")
            rows = rows[rows["arm"].isin([arm, settings.reference_arm])]
            arms = rows["arm"].to_numpy(str)
            effects[rater] = log_ratio_of_means(
                rows["lesions"].to_numpy(float),
                rows["scans"].to_numpy(float),
                arms == arm,
                arms == settings.reference_arm,
            )
        keys = Statistic(ENDPOINT, endpoint.name, contrast=contrast_text(arm, settings.reference_arm), visit="all")
        yield from _rows(trial, keys, effects, arms, "log ratio of lesions per scan")


def _cox_rows(trial: TrialData, data: ProgressionData) -> Iterator[Statistic]:
    table = data.table
    effects = {}
    if table["event"].sum() >= 2:
        for rater in trial.raters:
            x = np.log(data.volumes[rater].to_numpy(float))[:, None]
            if np.ptp(x) > 0:
                effects[rater] = log_hazard_ratio(
                    table["time_weeks"].to_numpy(float),
                    table["event"].to_numpy(bool),
                    x,
                    0,
                    trial.settings.conventions.ties,
                )
    keys = Statistic(ENDPOINT, data.outcome, term="log_tlv")
    events = int(table["event"].sum())
    why = "no events" if events == 0 else "one event" if events == 1 else "the lesion volume is constant"
    yield from _rows(trial, keys, effects, table["arm"].to_numpy(str), "log hazard ratio per log(TLV in ml)", why)


def _rows(
    trial: TrialData,
    keys: Statistic,
    effects: Mapping[str, Callable[[Floats], Floats]],
    arms: npt.NDArray[np.str_] | None,
    unit: str,
    why: str = "an arm has no patient",
) -> Iterator[Statistic]:
    analysis = trial.settings.analysis
    weights = None
    for rater in (r for r in trial.raters if r != REFERENCE):
        base = replace(keys, population="patients with both raters", rater=rater)
        if REFERENCE not in effects or rater not in effects or arms is None:
            yield from spread(base, {"difference": (float("nan"), unit)}, not_estimable(why))
            continue
        weights = draw_weights(arms, analysis.bootstrap_draws, analysis.seed) if weights is None else weights
        found = paired_effect(effects[REFERENCE], effects[rater], weights)
        method = f"{rater} - reference; paired bootstrap of patients within arms, {found.draws} draws, percentiles"
        stats = {
            "effect_reference": found.reference, "effect_rater": found.rater, "difference": found.difference,
            "low": found.low, "high": found.high, "se": found.se,
        }  # fmt: skip
        yield from spread(
            replace(base, method=method), {k: (v, unit) for k, v in stats.items()}, not_estimable(found.problem)
        )
