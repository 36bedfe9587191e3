"""Predicted survival curves side by side: concordance and Brier score up to a horizon, and their differences.

All models are judged in the same resamples of patients, so that a difference has an interval of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nnunet_ms.arrays import Bools, Floats, Ints
from nnunet_ms.errors import StatisticsError
from nnunet_ms.options import chosen
from nnunet_ms.statistics.bootstrap_interval import LEVEL, MINIMUM_PATIENTS, checked_replicates
from nnunet_ms.statistics.input_checks import as_numbers, equally_long, missing_values, probabilities, time_to_event
from nnunet_ms.statistics.input_checks import level as checked_level
from nnunet_ms.statistics.survival_predictions import (
    brier_over_time,
    curve_concordance,
    time_concordance,
)

MEASURES = ("concordance_uno", "concordance_antolini", "brier_integrated", "brier")
NAN = float("nan")
LEAST_DEFINED = 0.9  # of the resamples, for an interval


@dataclass(frozen=True)
class SurvivalScore:
    """One measure of one model, or the first less another; NaN where undefined, and `problem` says why.

    Attributes
    ----------
    model, versus : str
        `versus` is blank for the model's own measure.
    measure : str
        Of `MEASURES`: Uno's concordance of the risk at the horizon, Antolini's of the curves up to it, the mean Brier
        score of the times up to it, and the Brier score at each of them. Larger concordance is better, smaller Brier
        scores are.
    week : float
        Of a Brier score at one time that time, else the horizon.
    estimate, low, high, level : float
        Percentile interval over resampled patients.
    n, events : int
        Patients, and those with an event up to the horizon.
    horizon : float
    problem : str
    """

    model: str
    versus: str
    measure: str
    week: float
    estimate: float
    low: float
    high: float
    level: float
    n: int
    events: int
    horizon: float
    problem: str = ""


def survival_scores(
    time: npt.ArrayLike,
    event: npt.ArrayLike,
    curves: Mapping[str, npt.ArrayLike],
    at: npt.ArrayLike,
    horizon: float,
    reference: str = "",
    replicates: int = 500,
    seed: int = 0,
    level: float = LEVEL,
) -> tuple[SurvivalScore, ...]:
    """Every measure of every model, and of every model less the reference.

    Parameters
    ----------
    time, event : (n,) arrays
        Follow-up, >= 0, and 1 where it ended with the event.
    curves : mapping of str to (n, m) floats
        By model: predicted share without the event at each time of `at`, for patients it was not trained on.
    at : (m,) floats
        Rising times; `horizon` is one of them, and those after it do not count. For Antolini's concordance curves are
        `interpolated` to the times of the events: steps would make ties of patients who progress between two times.
    horizon : float
        Events after it do not count.
    reference : str, optional
        One of the models; blank for no differences.
    replicates, seed : int, optional
        Of the resamples.
    level : float, optional
        Of the intervals.

    Returns
    -------
    tuple of SurvivalScore

    Raises
    ------
    StatisticsError
        If times or curves cannot be analysed, or the horizon is none of `at`.
    OptionError
        If a level or the reference does not exist, or there are no replicates.

    Examples
    --------
    >>> curves = {"net": [[0.5, 0.2], [0.9, 0.3], [0.8, 0.6]], "coin": [[0.5, 0.5]] * 3}
    >>> found = survival_scores([2, 4, 6], [1, 1, 0], curves, [1, 5], 5, reference="coin", replicates=20)
    >>> [(one.measure, one.estimate) for one in found if one.versus][0]
    ('concordance_uno', 0.5)
    """
    checked_level(level, "level")
    checked_replicates(replicates)
    if reference:
        chosen(reference, list(curves), "reference")
    when, happened, problem = time_to_event(time, event)
    places, all_curves = as_numbers(at, "at"), {name: _curves(values, name) for name, values in curves.items()}
    for name, values in all_curves.items():
        equally_long(time=when, **{name: values})
    problem = problem or missing_values(at=places)
    if problem or not when.size:
        raise StatisticsError(f"{problem or 'no patients'}. Correct the table.")
    inside = places <= horizon
    if not inside.any() or places[inside][-1] != horizon:
        raise StatisticsError(f"horizon: expected one of the times of the curves, found {horizon:g}. Choose one.")
    at_times = places[inside]
    kept = {name: values[:, inside] for name, values in all_curves.items()}
    times = np.unique(when[happened & (when <= horizon)])
    models = {name: _Model(values, interpolated(values, at_times, times)) for name, values in kept.items()}
    own = {name: _measured(when, happened, model, at_times, times) for name, model in models.items()}
    drawn = _resampled(when, happened, models, at_times, times, replicates, seed)
    size = when.size, int((happened & (when <= horizon)).sum())
    rows: list[SurvivalScore] = []
    for name in kept:
        rows += _scores(name, "", own[name], drawn[name], size, at_times, level)
    for name in kept if reference else ():
        if name != reference:
            gap, gaps = own[name] - own[reference], drawn[name] - drawn[reference]
            rows += _scores(name, reference, gap, gaps, size, at_times, level)
    return tuple(rows)


def score_of(
    scores: tuple[SurvivalScore, ...], model: str, measure: str, versus: str = "", week: float | None = None
) -> SurvivalScore:
    """One of the scores; `week` of a Brier score at one time, without it that at the horizon.

    Raises
    ------
    OptionError
        If there is no such measure.
    StatisticsError
        If there is no such model or pair.

    Examples
    --------
    >>> score_of((), "net", "brier")
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.StatisticsError: net: expected scores of this model, found none.
    """
    chosen(measure, MEASURES, "measure")
    for one in scores:
        asked = one.horizon if week is None else week
        if (one.model, one.measure, one.versus, one.week) == (model, measure, versus, asked):
            return one
    raise StatisticsError(f"{model}{f' - {versus}' if versus else ''}: expected scores of this model, found none.")


def interpolated(curves: npt.ArrayLike, at: npt.ArrayLike, times: npt.ArrayLike) -> Floats:
    """Survival between the times of a curve: the rate is constant there, so its logarithm is linear [1]_.

    Parameters
    ----------
    curves : (n, m) floats
        Survival at the times `at`; it is 1 at 0.
    at : (m,) floats
        Rising times, > 0.
    times : (t,) floats
        Times, >= 0; after the last of `at` the curve is level.

    Returns
    -------
    (n, t) float array

    References
    ----------
    .. [1] Kvamme H, Borgan O. Lifetime Data Anal 27:710-736, 2021, section 3.2. doi:10.1007/s10985-021-09532-6

    Examples
    --------
    >>> interpolated([[0.81, 0.4]], [12, 24], [0, 6, 12, 99]).round(3).tolist()
    [[1.0, 0.9, 0.81, 0.4]]
    """
    hazard = -np.log(np.clip(np.asarray(curves, dtype=np.float64), 1e-300, 1))
    places = np.concatenate([[0.0], np.asarray(at, dtype=np.float64)])
    wanted = np.asarray(times, dtype=np.float64)
    rows = [np.interp(wanted, places, [0.0, *row]) for row in hazard]
    return np.asarray(np.exp(-np.array(rows).reshape(len(hazard), wanted.size)))


def _curves(values: npt.ArrayLike, name: str) -> Floats:
    array, problem = probabilities(values, name, 2)
    if problem:
        raise StatisticsError(f"{problem}. Correct the curves.")
    return array


@dataclass(frozen=True)
class _Model:
    """Curves at the times asked for (n, m), and at the times of events (n, e)."""

    curves: Floats
    at_events: Floats

    def take(self, rows: Ints) -> "_Model":
        return _Model(self.curves[rows], self.at_events[rows])


def _measured(when: Floats, happened: Bools, model: _Model, at: Floats, times: Floats) -> Floats:
    """Both concordances, the mean Brier score and that at each time, (3 + t,); NaN where undefined."""
    horizon = float(at[-1])
    brier = np.array([one.brier for one in brier_over_time(when, happened, model.curves, at)])
    found = [
        time_concordance(when, happened, 1 - model.curves[:, -1], horizon, "uno", replicates=1).estimate,
        curve_concordance(when, happened, model.at_events, times, horizon, "harrell", replicates=1).estimate,
        float(np.trapezoid(brier, at)) / (horizon - float(at[0])) if len(at) > 1 else NAN,
    ]
    return np.array([*found, *brier], dtype=np.float64)


def _resampled(
    when: Floats,
    happened: Bools,
    models: Mapping[str, _Model],
    at: Floats,
    times: Floats,
    replicates: int,
    seed: int,
) -> dict[str, Floats]:
    """The measures in each resample of patients, (replicates, 3 + t) by model."""
    generator = np.random.default_rng(seed)
    rows: list[Ints] = [generator.integers(0, when.size, when.size) for _ in range(replicates)]
    return {
        name: np.array([_measured(when[one], happened[one], model.take(one), at, times) for one in rows])
        for name, model in models.items()
    }


def _scores(
    model: str, versus: str, own: Floats, drawn: Floats, size: tuple[int, int], at: Floats, level: float
) -> list[SurvivalScore]:
    rows = []
    tail, horizon = 50 * (1 - level), float(at[-1])
    places = [*((measure, horizon) for measure in MEASURES[:3]), *(("brier", float(week)) for week in at)]
    for k, (measure, week) in enumerate(places):
        defined = drawn[~np.isnan(drawn[:, k]), k]
        low, high, problem = NAN, NAN, ""
        if np.isnan(own[k]):
            problem = f"undefined: {size[1]} events among {size[0]} patients up to {horizon:g}, {len(at)} times"
        elif size[0] < MINIMUM_PATIENTS:
            problem = f"{size[0]} patients, needs {MINIMUM_PATIENTS} for an interval over patients"
        elif defined.size < LEAST_DEFINED * len(drawn):
            problem = f"undefined in {len(drawn) - defined.size} of {len(drawn)} resamples: no interval"
        else:
            low, high = (float(limit) for limit in np.percentile(defined, [tail, 100 - tail]))
        rows.append(
            SurvivalScore(model, versus, measure, week, float(own[k]), low, high, level, *size, horizon, problem)
        )
    return rows
