"""Do two raters see the same treatment effect? Its difference over resampled patients."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nnunet_ms.arrays import Bools, Floats
from nnunet_ms.statistics.bootstrap_cox import cox_draws
from nnunet_ms.statistics.bootstrap_estimates import sums_effect
from nnunet_ms.statistics.cox import Ties, maximise, risk_sets
from nnunet_ms.statistics.input_checks import equally_long, level

FEWEST_DRAWS = 0.9  # share of draws that must give an estimate


@dataclass(frozen=True)
class DrawnEffect:
    """One rater's effect from all patients, and from every draw, (draws,); NaN where a draw gives none."""

    estimate: float
    draws: Floats


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
    """Return (draws, n): how often each patient is drawn; the number per arm stays as it is.

    Examples
    --------
    >>> weights = draw_weights(["active", "active", "placebo"], draws=4, seed=0)
    >>> weights[:, :2].sum(axis=1).tolist(), weights[:, 2].tolist()
    ([2.0, 2.0, 2.0, 2.0], [1.0, 1.0, 1.0, 1.0])
    """
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

    Returns
    -------
    PairedEffect
        Where too few draws give an effect, `problem` says so.

    Raises
    ------
    OptionError
        If `confidence` is not between 0 and 1.

    Examples
    --------
    >>> y, arm = np.array([1.0, 2.0, 3.0, 6.0, 7.0, 8.0]), np.array([0.0, 0, 0, 1, 1, 1])
    >>> X = np.column_stack([np.ones(6), arm])
    >>> weights = draw_weights(arm, draws=200, seed=0)
    >>> effect = paired_effect(linear_effect(y, X, 1), linear_effect(2 * y, X, 1), weights)
    >>> round(effect.difference, 9)
    5.0
    """
    level(confidence)
    once, none = np.ones((1, weights.shape[1])), np.zeros(0)
    estimates = [float(effect(once)[0]) for effect in (reference, rater)]
    known = bool(np.isfinite(estimates).all())  # what cannot be estimated from all patients is not drawn
    first, second = (
        DrawnEffect(estimate, effect(weights) if known else none)
        for estimate, effect in zip(estimates, (reference, rater), strict=True)
    )
    return paired_draws(first, second, confidence)


def paired_draws(reference: DrawnEffect, rater: DrawnEffect, confidence: float = 0.95) -> PairedEffect:
    """Compare two effects that are estimated already, on the same draws; see `paired_effect`."""
    tail = (1 - level(confidence)) / 2
    a, b = reference.estimate, rater.estimate
    if not np.isfinite([a, b]).all():
        return PairedEffect(a, b, *(float("nan"),) * 4, 0, "the effect itself cannot be estimated")
    gaps = rater.draws - reference.draws
    gaps = gaps[np.isfinite(gaps)]
    if len(gaps) < FEWEST_DRAWS * len(rater.draws) or len(gaps) < 2:
        why = f"only {len(gaps)} of {len(rater.draws)} draws can be estimated"
        return PairedEffect(a, b, b - a, *(float("nan"),) * 3, len(gaps), why)
    low, high = np.quantile(gaps, [tail, 1 - tail])
    return PairedEffect(a, b, b - a, float(low), float(high), float(gaps.std(ddof=1)), len(gaps))


def linear_effect(y: Floats, X: Floats, column: int) -> Callable[[Floats], Floats]:
    """Return the effect of least squares: all draws at once, from weighted cross-products.

    Examples
    --------
    >>> X = np.column_stack([np.ones(4), [0.0, 0, 1, 1]])
    >>> effect = linear_effect(np.array([1.0, 3.0, 5.0, 9.0]), X, 1)
    >>> effect(np.ones((1, 4))).round(6).tolist()
    [5.0]
    """
    equally_long(y=y, X=X)
    return sums_effect(X[:, :, None] * X[:, None, :], X * y[:, None], column)


def log_ratio_of_means(count: Floats, exposure: Floats, active: Bools, reference: Bools) -> Callable[[Floats], Floats]:
    """Return log(rate in `active` / rate in `reference`); NaN where one of them has no lesion.

    Examples
    --------
    >>> active = np.array([False, False, True, True])
    >>> effect = log_ratio_of_means(np.array([4.0, 6.0, 1.0, 1.0]), np.ones(4), active, ~active)
    >>> np.exp(effect(np.ones((1, 4)))).round(6).tolist()
    [0.2]
    """
    equally_long(count=count, exposure=exposure, active=active, reference=reference)

    def effect(weights: Floats) -> Floats:
        if not active.any() or not reference.any():
            return np.full(len(weights), np.nan)
        rates = [(weights[:, g] @ count[g]) / (weights[:, g] @ exposure[g]) for g in (active, reference)]
        positive = (rates[0] > 0) & (rates[1] > 0)
        return np.where(positive, np.log(np.where(positive, rates[0], 1.0) / np.where(positive, rates[1], 1.0)), np.nan)

    return effect


def log_hazard_ratio(weeks: Floats, event: Bools, X: Floats, column: int, ties: Ties) -> Callable[[Floats], Floats]:
    """Return a Cox coefficient; each draw starts from the whole sample's.

    Examples
    --------
    >>> weeks, event = np.array([5.0, 8.0, 12.0, 20.0]), np.array([True, True, True, False])
    >>> effect = log_hazard_ratio(weeks, event, np.array([[0.0], [1.0], [0.0], [1.0]]), 0, "efron")
    >>> bool(effect(np.ones((1, 4)))[0] < 0)
    True
    """
    start, _, _, converged = maximise(risk_sets(weeks, event, X), ties)
    if not converged:
        return lambda weights: np.full(len(weights), np.nan)
    return lambda weights: cox_draws(weeks, event, X, ties, weights, start)[:, column]
