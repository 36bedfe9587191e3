"""Discrete time: intervals, what is known of a patient in each, and curves from the hazards of the intervals."""

import numpy as np
import numpy.typing as npt

from nnunet_ms.arrays import Floats, SingleFloats
from nnunet_ms.errors import OptionError, SettingsError
from nnunet_ms.options import whole_from
from nnunet_ms.statistics.survival_comparisons import interpolated


def interval_edges(
    weeks: npt.ArrayLike, event: npt.ArrayLike, intervals: int = 6, interval_weeks: float | None = None
) -> Floats:
    """Edges of the intervals, from 0 to the longest follow-up.

    Parameters
    ----------
    weeks, event : (n,) arrays
        Of the *training* patients: times, > 0, and 1 where one ended with progression.
    intervals : int, optional
        How many, at times between which the Kaplan-Meier curve falls by equal amounts [1]_. Where events are tied
        there may be fewer.
    interval_weeks : float, optional
        Instead: the length of each. The paper's are a year.

    Returns
    -------
    (k + 1,) float array
        Rising, the first is 0.

    Raises
    ------
    SettingsError
        If there is no event.
    OptionError
        If a number cannot be.

    References
    ----------
    .. [1] Kvamme H, Borgan O. Lifetime Data Anal 27:710-736, 2021, section 3.1. doi:10.1007/s10985-021-09532-6

    Examples
    --------
    >>> interval_edges([10, 20, 30, 40, 60], [1, 1, 1, 1, 0], intervals=2)
    array([ 0., 20., 60.])
    >>> interval_edges([10, 20, 30, 40, 60], [1, 1, 1, 1, 0], interval_weeks=24)
    array([ 0., 24., 48., 72.])
    """
    time, happened = np.asarray(weeks, dtype=np.float64), np.asarray(event).astype(bool)
    whole_from(intervals, 1, "intervals", "6 are usual.")
    if not happened.any():
        raise SettingsError(
            f"training set: expected patients with progression, found none of {time.size}. Add patients, or ask for "
            "fewer folds."
        )
    longest = float(time.max())
    if interval_weeks is not None:
        is_number = isinstance(interval_weeks, int | float) and not isinstance(interval_weeks, bool)
        if not is_number or not 1 <= interval_weeks <= longest:
            raise OptionError(
                f"interval_weeks: expected 1 to {longest:g}, the longest follow-up, found {interval_weeks!r}. 52 is "
                "the paper's year."
            )
        return np.arange(0, np.ceil(longest / interval_weeks - 1e-9) + 1) * interval_weeks
    times = np.unique(time[happened])
    steps = [1 - np.count_nonzero(happened & (time == t)) / np.count_nonzero(time >= t) for t in times]
    curve = np.cumprod(steps)
    wanted = 1 - (1 - curve[-1]) * np.arange(1, intervals) / intervals
    inner = times[[int(np.argmax(curve <= level + 1e-12)) for level in wanted]]
    return np.unique(np.concatenate([[0.0], inner, [longest]]))


def person_periods(weeks: npt.ArrayLike, event: npt.ArrayLike, edges: npt.ArrayLike) -> SingleFloats:
    """What is known of each patient in each interval: survived (first k columns), and progressed in it (last k).

    An event at t belongs to the interval with left < t <= right. Who is censored has survived the intervals of which at
    least a half was seen, as in Gensheimer and Narasimhan's model.

    Parameters
    ----------
    weeks, event : (n,) arrays
        As of `interval_edges`. Events after the last edge are survival of all intervals.
    edges : (k + 1,) floats

    Returns
    -------
    (n, 2 k) float32 array
        0 and 1; both are 0 in intervals that are not known.

    References
    ----------
    Gensheimer MF, Narasimhan B. PeerJ 7:e6257, 2019. doi:10.7717/peerj.6257

    Examples
    --------
    >>> person_periods([15, 17, 19], [1, 0, 0], [0, 12, 24]).astype(int).tolist()
    [[1, 0, 0, 1], [1, 0, 0, 0], [1, 1, 0, 0]]
    """
    time, happened = np.asarray(weeks, dtype=np.float64)[:, None], np.asarray(event).astype(bool)[:, None]
    places = np.asarray(edges, dtype=np.float64)
    left, right = places[None, :-1], places[None, 1:]
    progressed = happened & (time > left) & (time <= right)
    survived = np.where(happened, time > right, time >= (left + right) / 2)
    return np.concatenate([survived, progressed], axis=1).astype(np.float32)


def curves_at(hazards: npt.ArrayLike, edges: npt.ArrayLike, at: npt.ArrayLike) -> Floats:
    """Share without progression at any time, from the hazards of intervals.

    At the edges it is the product of (1 - hazard) of the intervals before. Between two edges the rate is constant
    (`survival_comparisons.interpolated`); after the last edge the curve is level.

    Parameters
    ----------
    hazards : (n, k) floats
        Probability of an event in each interval, of who has none before it.
    edges : (k + 1,) floats
        Weeks.
    at : (t,) floats
        Weeks, >= 0.

    Returns
    -------
    (n, t) float array

    Examples
    --------
    >>> curves_at([[0.19, 0.5]], [0, 12, 24], [0, 6, 12, 24, 99]).round(3).tolist()
    [[1.0, 0.9, 0.81, 0.405, 0.405]]
    """
    survival = np.cumprod(1 - np.clip(np.asarray(hazards, dtype=np.float64), 0, 1), axis=1)
    return interpolated(survival, np.asarray(edges, dtype=np.float64)[1:], at)


def median_weeks(curves: npt.ArrayLike, at: npt.ArrayLike) -> Floats:
    """First of the times `at` (t,) at which a curve (n, t) is at or below one half; NaN where none is.

    Examples
    --------
    >>> median_weeks([[0.9, 0.5, 0.2], [0.9, 0.8, 0.7]], [12, 24, 36]).tolist()
    [24.0, nan]
    """
    below = np.asarray(curves, dtype=np.float64) <= 0.5 + 1e-12
    return np.where(below.any(axis=1), np.asarray(at, dtype=np.float64)[below.argmax(axis=1)], np.nan)
