"""Whether predicted risks and survival curves are right: concordance and Brier score over time, with censoring.

Censoring is met by inverse probability weights: each event weighs one over the share of patients that are still
uncensored then (Kaplan-Meier of the censoring; events come before censoring at the same time). Written here, because
lifelines has Harrell's index only, which depends on who was censored.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from nnunet_ms.arrays import Bools, Floats
from nnunet_ms.options import chosen
from nnunet_ms.statistics.bootstrap_interval import LEVEL, MINIMUM_PATIENTS, REPLICATES, checked_replicates
from nnunet_ms.statistics.input_checks import as_numbers, equally_long, missing_values, probabilities, time_to_event
from nnunet_ms.statistics.input_checks import level as checked_level

Weighting = Literal["uno", "harrell"]
Index = Callable[[Floats], Floats]
Curve = Callable[[float], float]
NAN = float("nan")
_AT_ONCE = 4_000_000  # numbers per array of resamples: 32 MB


@dataclass(frozen=True)
class Concordance:
    """Share of comparable pairs of patients in the right order; NaN where undefined, and `problem` says why.

    Attributes
    ----------
    estimate, low, high, level : float
        0.5 is worthless, 1 perfect; percentile interval over resampled patients at `level`, with weights made anew in
        each resample.
    n, events : int
        Patients, and those with an event up to the horizon.
    horizon : float
        Events after it do not count; infinite where there is none.
    problem : str
        Blank, or why there is no estimate or no interval.
    """

    estimate: float
    low: float
    high: float
    level: float
    n: int
    events: int
    horizon: float
    problem: str = ""


@dataclass(frozen=True)
class BrierAtTime:
    """Squared error of predicted survival at one time.

    `brier` is the model's; `reference` that of predicting the Kaplan-Meier curve of these patients for everybody;
    `scaled` is 1 less their ratio. NaN where nobody is followed so long, and `problem` says so.
    """

    time: float
    brier: float
    reference: float
    scaled: float
    n: int
    problem: str = ""


@dataclass(frozen=True)
class IntegratedBrier:
    """Mean of the Brier score from `start` to `end` (trapezoids); `reference` and `scaled` as at one time."""

    estimate: float
    reference: float
    scaled: float
    start: float
    end: float
    n: int
    problem: str = ""


def time_concordance(
    time: npt.ArrayLike,
    event: npt.ArrayLike,
    risk: npt.ArrayLike,
    horizon: float | None = None,
    weights: Weighting = "uno",
    replicates: int = REPLICATES,
    seed: int = 0,
    level: float = LEVEL,
) -> Concordance:
    """Concordance of a risk with the time to an event: Uno's C [1]_, or Harrell's.

    A pair counts when the patient with the shorter time had the event; equal risks count one half. R:
    `concordance(Surv(time, event) ~ risk, timewt = "n/G2", ymax = horizon, reverse = TRUE)`; "n" for Harrell's.

    Parameters
    ----------
    time : (n,) floats
        Follow-up, >= 0, in any unit.
    event : (n,) array
        1 where it ended with the event, 0 where it was censored.
    risk : (n,) floats
        Higher means earlier.
    horizon : float, optional
        Last time at which an event counts, in the unit of `time`; without it all. Weights grow where few are followed,
        so name one.
    weights : {"uno", "harrell"}, optional
        Whether events are weighted for censoring.
    replicates, seed : int, optional
        Number of resamples, and the generator's seed.
    level : float, optional
        Of the interval.

    Returns
    -------
    Concordance

    Raises
    ------
    OptionError, StatisticsError
        If a word or level does not exist, there are no replicates, or lengths differ.

    References
    ----------
    .. [1] Uno H et al. Stat Med 30:1105-1117, 2011. doi:10.1002/sim.4154

    Examples
    --------
    Of the five pairs whose earlier time is an event, three are in the right order:

    >>> found = time_concordance([2, 4, 6, 8], [1, 1, 0, 1], [0.2, 0.9, 0.1, 0.3], weights="harrell")
    >>> found.estimate, found.events
    (0.6, 3)
    """
    chosen(weights, get_args(Weighting), "weights")
    value = as_numbers(risk, "risk")
    when, happened, problem = time_to_event(time, event)
    equally_long(time=when, risk=value)
    problem = problem or missing_values(risk=value)
    higher = np.zeros((0, 0)) if problem else _won(value[:, None], value[None, :])
    return _concordance(when, happened, higher, problem, horizon, weights, replicates, seed, level)


def curve_concordance(
    time: npt.ArrayLike,
    event: npt.ArrayLike,
    survival: npt.ArrayLike,
    at: npt.ArrayLike,
    horizon: float | None = None,
    weights: Weighting = "harrell",
    replicates: int = REPLICATES,
    seed: int = 0,
    level: float = LEVEL,
) -> Concordance:
    """Antolini's time-dependent concordance [1]_: of predicted survival curves, which may cross.

    At each event its patient's predicted survival is compared with that of everybody who was followed longer. For
    curves that do not cross it is `time_concordance`.

    Parameters
    ----------
    time, event : (n,) arrays
        As of `time_concordance`.
    survival : (n, m) floats
        Predicted share without the event at each time of `at`, from 0 to 1.
    at : (m,) floats
        Rising times. Between two of them the curve is that of the earlier one, before the first it is 1.
    weights : {"harrell", "uno"}, optional
        Antolini's own has no weights for censoring.
    horizon, replicates, seed, level
        As of `time_concordance`.

    Raises
    ------
    OptionError, StatisticsError
        As of `time_concordance`.

    References
    ----------
    .. [1] Antolini L, Boracchi P, Biganzoli E. Stat Med 24:3927-3944, 2005. doi:10.1002/sim.2427

    Examples
    --------
    >>> curves = [[0.5, 0.2], [0.9, 0.3], [0.8, 0.6]]
    >>> curve_concordance([2, 4, 6], [1, 1, 0], curves, [1, 3]).estimate
    1.0
    """
    chosen(weights, get_args(Weighting), "weights")
    curves, places, when, happened, problem = _checked_curves(time, event, survival, at)
    lower = np.zeros((0, 0))
    if not problem:
        at_events = _at(curves, places, when)  # (patient, time of patient i)
        lower = _won(-np.diag(at_events)[:, None], -at_events.T)
    return _concordance(when, happened, lower, problem, horizon, weights, replicates, seed, level)


def brier_over_time(
    time: npt.ArrayLike, event: npt.ArrayLike, survival: npt.ArrayLike, at: npt.ArrayLike
) -> tuple[BrierAtTime, ...]:
    """Brier score of predicted survival at each time, weighted for censoring [1]_.

    Parameters
    ----------
    time, event : (n,) arrays
        As of `time_concordance`.
    survival : (n, m) floats
        Predicted share without the event at each time of `at`.
    at : (m,) floats
        Rising times.

    Returns
    -------
    tuple of BrierAtTime
        One per time.

    Raises
    ------
    StatisticsError
        If shapes do not fit, times do not rise, or a value is no number.

    References
    ----------
    .. [1] Graf E et al. Stat Med 18:2529-2545, 1999.

    Examples
    --------
    Nobody is censored: the plain mean of squared errors.

    >>> found = brier_over_time([2, 4, 6], [1, 1, 1], [[0.2], [0.8], [0.9]], [3])[0]
    >>> round(found.brier, 3), round(found.reference, 3)
    (0.03, 0.222)
    """
    curves, places, when, happened, problem = _checked_curves(time, event, survival, at)
    if problem or not when.size:
        why = problem or "no patients"
        return tuple(BrierAtTime(float(t), NAN, NAN, NAN, when.size, why) for t in places)
    ones = np.ones((1, when.size))
    before, whole = _uncensored(when, happened, ones)[0], _curve_of(when, happened)
    rows = []
    for k, t in enumerate(places.tolist()):
        later = when > t
        still = float(_uncensored_at(when, happened, t))
        if not later.any() and not _all_known(when, happened, t):
            rows.append(BrierAtTime(t, NAN, NAN, NAN, when.size, f"nobody is followed beyond {t:g}"))
            continue
        weight = np.where(later, 1 / max(still, 1e-300), np.where(happened & (when <= t), 1 / before, 0.0))
        known = later.astype(float)
        scores = [float(np.mean(weight * (known - p) ** 2)) for p in (curves[:, k], np.full(when.size, whole(t)))]
        scaled = 1 - scores[0] / scores[1] if scores[1] > 0 else NAN
        rows.append(BrierAtTime(t, scores[0], scores[1], scaled, when.size))
    return tuple(rows)


def integrated_brier(
    time: npt.ArrayLike, event: npt.ArrayLike, survival: npt.ArrayLike, at: npt.ArrayLike
) -> IntegratedBrier:
    """Brier score, averaged over the times `at` by trapezoids; parameters and errors as of `brier_over_time`.

    Examples
    --------
    >>> curves = [[0.5, 0.2], [0.9, 0.3], [0.8, 0.6]]
    >>> round(integrated_brier([2, 4, 6], [1, 1, 0], curves, [1, 3]).estimate, 4)
    0.165
    """
    rows = brier_over_time(time, event, survival, at)
    n = rows[0].n if rows else 0
    start, end = (rows[0].time, rows[-1].time) if rows else (NAN, NAN)
    problem = next((row.problem for row in rows if row.problem), "") or ("needs two times" if len(rows) < 2 else "")
    if problem:
        return IntegratedBrier(NAN, NAN, NAN, start, end, n, problem)
    times = np.array([row.time for row in rows])
    means = [
        float(np.trapezoid([getattr(row, name) for row in rows], times)) / (end - start)
        for name in ("brier", "reference")
    ]
    scaled = 1 - means[0] / means[1] if means[1] > 0 else NAN
    return IntegratedBrier(means[0], means[1], scaled, start, end, n)


def _won(first: Floats, other: Floats) -> Floats:
    """1 where the first is higher, one half where both are level; (n, n)."""
    return np.asarray((first > other) + 0.5 * (first == other))


def _concordance(
    when: Floats,
    happened: Bools,
    won: Floats,
    problem: str,
    horizon: float | None,
    weights: Weighting,
    replicates: int,
    seed: int,
    level: float,
) -> Concordance:
    checked_level(level, "level")
    checked_replicates(replicates)
    last = float("inf") if horizon is None else float(horizon)
    counts = happened & (when <= last)
    sizes = when.size, int(counts.sum())
    longer = (when[:, None] < when[None, :]) | ((when[:, None] == when[None, :]) & ~happened[None, :])
    np.fill_diagonal(longer, val=False)
    comparable = longer * counts[:, None]
    if not problem and not comparable.any():
        problem = f"no pair can be compared: {sizes[1]} events among {sizes[0]} patients"
    if problem:
        return Concordance(NAN, NAN, NAN, level, *sizes, last, problem)
    pairs = comparable.astype(float)
    wins = pairs * won

    def index(drawn: Floats) -> Floats:
        share = 1.0 if weights == "harrell" else _uncensored(when, happened, drawn)
        weight = np.where(drawn > 0, drawn / np.maximum(share, 1e-100) ** 2, 0.0)
        found, of = (np.einsum("rp,rp->r", weight @ part, drawn) for part in (wins, pairs))
        return np.asarray(np.where(of > 0, found / np.maximum(of, 1e-300), np.nan))

    estimate = float(index(np.ones((1, when.size)))[0])
    low, high, problem = _interval(index, when.size, replicates, seed, level)
    return Concordance(estimate, low, high, level, *sizes, last, problem)


def _interval(index: Index, n: int, replicates: int, seed: int, level: float) -> tuple[float, float, str]:
    if n < MINIMUM_PATIENTS:
        return NAN, NAN, f"{n} patients, needs {MINIMUM_PATIENTS} for an interval over patients"
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=replicates).astype(float)
    step = max(_AT_ONCE // n, 1)
    values = np.concatenate([index(drawn[start : start + step]) for start in range(0, replicates, step)])
    defined = values[~np.isnan(values)]
    if defined.size < 0.9 * replicates:
        return NAN, NAN, f"{replicates - defined.size} of {replicates} resamples have no pair to compare"
    tail = 50 * (1 - level)
    low, high = np.percentile(defined, [tail, 100 - tail])
    return float(low), float(high), ""


def _uncensored(when: Floats, happened: Bools, weights: Floats) -> Floats:
    """Share not yet censored just before each patient's time, of each row of weights: (resamples, n)."""
    times, place = np.unique(when, return_inverse=True)
    shape = len(weights), times.size
    lost, all_of = np.zeros(shape), np.zeros(shape)
    for k in range(when.size):  # few patients are not worth a matrix of indicators
        all_of[:, place[k]] += weights[:, k]
        if not happened[k]:
            lost[:, place[k]] += weights[:, k]
    events = all_of - lost
    at_risk = np.cumsum(all_of[:, ::-1], axis=1)[:, ::-1] - events  # those with the event have left already
    steps = 1 - lost / np.maximum(at_risk, 1e-300)
    curve = np.cumprod(np.where(lost > 0, steps, 1.0), axis=1)
    before = np.concatenate([np.ones((shape[0], 1)), curve[:, :-1]], axis=1)
    return np.asarray(before[:, place])


def _uncensored_at(when: Floats, happened: Bools, time: float) -> float:
    """Share not yet censored at `time`, those censored then included in the loss."""
    share = 1.0
    for t in np.unique(when[~happened & (when <= time)]):
        at_risk = np.count_nonzero(when > t) + np.count_nonzero((when == t) & ~happened)
        share *= 1 - np.count_nonzero((when == t) & ~happened) / at_risk
    return share


def _all_known(when: Floats, happened: Bools, time: float) -> bool:
    return bool(happened[when <= time].all())


def _curve_of(when: Floats, happened: Bools) -> Curve:
    """Kaplan-Meier of these patients as a function of time."""
    times = np.unique(when[happened])
    factors = [1 - np.count_nonzero(happened & (when == t)) / np.count_nonzero(when >= t) for t in times]
    steps = np.concatenate([[1.0], np.cumprod(factors)])
    return lambda time: float(steps[np.searchsorted(times, time, side="right")])


def _checked_curves(
    time: npt.ArrayLike, event: npt.ArrayLike, survival: npt.ArrayLike, at: npt.ArrayLike
) -> tuple[Floats, Floats, Floats, Bools, str]:
    when, happened, problem = time_to_event(time, event)
    curves, unlike = probabilities(survival, "survival", 2)
    places = as_numbers(at, "at")
    equally_long(time=when, survival=curves)
    equally_long(at=places, columns_of_survival=curves.T)
    problem = problem or unlike or missing_values(at=places)
    if not problem and (np.diff(places) <= 0).any():
        problem = "at: expected rising times"
    if not problem and (np.diff(curves, axis=1) > 1e-9).any():
        problem = "survival: expected curves that never rise"
    return curves, places, when, happened, problem


def _at(curves: Floats, places: Floats, when: Floats) -> Floats:
    """Each curve at each patient's time, (patients, times)."""
    whole = np.concatenate([np.ones((len(curves), 1)), curves], axis=1)
    return np.asarray(whole[:, np.searchsorted(places, when, side="right")])
