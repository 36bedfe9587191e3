"""Time to event: Kaplan-Meier with the usual intervals, log-rank tests, restricted mean survival time.

What the tests cannot say (nothing to compare, nobody at risk) is said here in `problem`.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.stats

from nnunet_ms.arrays import Bools, Floats, Indices

INTERVALS = ("log", "log-log", "plain")
NAN = float("nan")


@dataclass(frozen=True)
class LogRank:
    """The log-rank test; `problem` says why it is NaN."""

    chisq: float = NAN
    df: float = NAN
    p: float = NAN
    problem: str = ""


def kaplan_meier(weeks: npt.ArrayLike, event: npt.ArrayLike, interval: str, confidence: float = 0.95) -> pd.DataFrame:
    """Return the product-limit estimate at every time of the data (R: `survfit(conf.type = interval)`).

    Parameters
    ----------
    weeks, event : (n,) arrays
        Time, and whether it ended with the event.
    interval : {"log", "log-log", "plain"}
        Scale on which Greenwood's interval is symmetric: R's default, SAS's, or none.
    confidence : float, optional
        Level of the two-sided pointwise interval.

    Returns
    -------
    pandas.DataFrame
        `week, n_risk, n_event, survival, low, high`, one row per distinct time. Where survival is 0 the limits
        are NaN, as in R. No patient: no row.
    """
    time, happened = np.asarray(weeks, float), np.asarray(event, bool)
    at = np.unique(time)
    n_risk = np.array([(time >= t).sum() for t in at], dtype=int)
    n_event = np.array([(time[happened] == t).sum() for t in at], dtype=int)
    with np.errstate(divide="ignore"):  # everybody at risk has the event: infinite variance, NaN limits below
        variance = np.cumsum(n_event / (n_risk * (n_risk - n_event).astype(float)))
    survival = np.cumprod(1 - n_event / n_risk)
    z = float(scipy.stats.norm.ppf(0.5 + confidence / 2))
    low, high = _limits(survival, variance, z, interval)
    return pd.DataFrame(
        {"week": at, "n_risk": n_risk, "n_event": n_event, "survival": survival, "low": low, "high": high}
    )


def survival_at(curve: pd.DataFrame, weeks: npt.ArrayLike, week: float) -> tuple[int, float, float, float]:
    """Return the number at risk just before `week` and survival with its limits at `week`, from a curve.

    Parameters
    ----------
    curve : pandas.DataFrame
        From `kaplan_meier`.
    weeks : (n,) array
        The times it was made from.
    week : float
        The time asked for.

    Returns
    -------
    n_risk, survival, low, high
        As R's `summary(survfit, times = week)`; NaN where nobody was followed that long.
    """
    n_risk = int((np.asarray(weeks, float) >= week).sum())
    if n_risk == 0:
        return 0, NAN, NAN, NAN
    before = curve[curve["week"] <= week]
    if before.empty:
        return n_risk, 1.0, 1.0, 1.0
    last = before.iloc[-1]
    return n_risk, float(last["survival"]), float(last["low"]), float(last["high"])


def logrank(
    weeks: npt.ArrayLike, event: npt.ArrayLike, group: npt.ArrayLike, strata: npt.ArrayLike | None = None
) -> LogRank:
    """Compare the curves of two or more groups (R: `survdiff`, with `strata()` where given).

    Parameters
    ----------
    weeks, event, group : (n,) arrays
        Time, whether it ended with the event, and the group.
    strata : (n,) array, optional
        Observed and expected events are added over strata.

    Returns
    -------
    LogRank
        With fewer than two groups, no event, or no event at which two groups were at risk, `problem` is set.
    """
    time, happened, groups = np.asarray(weeks, float), np.asarray(event, bool), np.asarray(group)
    names, index = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        return LogRank(problem=f"{len(names)} group{'s' * (len(names) != 1)} with patients, needs 2")
    if not happened.any():
        return LogRank(problem="no events")
    stratum = np.zeros(len(time)) if strata is None else np.asarray(strata)
    gap, variance = np.zeros(len(names)), np.zeros((len(names), len(names)))
    for value in np.unique(stratum):
        chosen = stratum == value
        more = _observed_minus_expected(time[chosen], happened[chosen], index[chosen], len(names))
        gap, variance = gap + more[0], variance + more[1]
    # a group whose every event found it alone at risk adds nothing, as in R, whose df count expected events > 0
    used = np.flatnonzero(np.diag(variance) > 0)
    if len(used) < 2:
        return LogRank(problem="at every event only one group was at risk")
    free = used[1:]
    chisq = float(gap[free] @ np.linalg.pinv(variance[np.ix_(free, free)]) @ gap[free])
    return LogRank(chisq, float(len(free)), float(scipy.stats.chi2.sf(chisq, len(free))))


@dataclass(frozen=True)
class MeanTime:
    """Restricted mean survival time up to `horizon`, in weeks; `problem` says why it is NaN."""

    horizon: float
    estimate: float = NAN
    se: float = NAN
    low: float = NAN
    high: float = NAN
    problem: str = ""


def restricted_mean(weeks: npt.ArrayLike, event: npt.ArrayLike, horizon: float, confidence: float = 0.95) -> MeanTime:
    """Return the area under the Kaplan-Meier curve up to `horizon` (R: `print(survfit, rmean = horizon)`).

    Parameters
    ----------
    weeks, event : (n,) arrays
        Time, and whether it ended with the event.
    horizon : float
        Weeks, > 0; somebody must have been followed that long, unless the curve is at 0.
    confidence : float, optional
        Level of the two-sided Wald interval.
    """
    time = np.asarray(weeks, float)
    curve = kaplan_meier(time, event, "plain", confidence)
    if curve.empty:
        return MeanTime(horizon, problem="no patients")
    if time.max() < horizon and curve["survival"].iloc[-1] > 0:
        return MeanTime(horizon, problem=f"nobody was followed to week {horizon:g}")
    inside = curve[curve["week"] < horizon]
    edges = np.concatenate([[0.0], inside["week"].to_numpy(float), [horizon]])
    heights = np.concatenate([[1.0], inside["survival"].to_numpy(float)])
    areas = heights * np.diff(edges)
    left = areas[::-1].cumsum()[::-1][1:]  # area to the right of each time
    n_risk, died = inside["n_risk"].to_numpy(float), inside["n_event"].to_numpy(float)
    alive = n_risk - died
    terms = np.divide(left**2 * died, n_risk * alive, out=np.zeros_like(left), where=alive > 0)
    estimate, se = float(areas.sum()), float(np.sqrt(terms.sum()))
    z = float(scipy.stats.norm.ppf(0.5 + confidence / 2))
    return MeanTime(horizon, estimate, se, estimate - z * se, estimate + z * se)


@dataclass(frozen=True)
class MeanTimeDifference:
    """Difference of two restricted mean survival times, in weeks."""

    estimate: float = NAN
    se: float = NAN
    low: float = NAN
    high: float = NAN
    p: float = NAN
    problem: str = ""


def mean_time_difference(a: MeanTime, b: MeanTime, confidence: float = 0.95) -> MeanTimeDifference:
    """Return a - b of two independent samples, with Wald's interval and p."""
    problem = a.problem or b.problem or ("no events" if a.se == b.se == 0 else "")
    if problem:
        return MeanTimeDifference(problem=problem)
    gap, se = a.estimate - b.estimate, float(np.hypot(a.se, b.se))
    z = float(scipy.stats.norm.ppf(0.5 + confidence / 2))
    return MeanTimeDifference(gap, se, gap - z * se, gap + z * se, 2 * float(scipy.stats.norm.sf(abs(gap / se))))


def median_time(curve: pd.DataFrame, flat_step: str = "midpoint") -> float:
    """Return when survival falls to one half, in weeks; NaN if it never does.

    Parameters
    ----------
    curve : pandas.DataFrame
        From `kaplan_meier`.
    flat_step : {"midpoint", "first"}, optional
        Where the curve is flat at exactly 0.5: the middle of the step (R's `quantile.survfit`, and SAS's PROC
        LIFETEST), or its first time.
    """
    reached = curve[curve["survival"] <= 0.5 + 1e-12]
    if reached.empty:
        return NAN
    first = float(reached["week"].iloc[0])
    if abs(float(reached["survival"].iloc[0]) - 0.5) > 1e-12 or flat_step == "first":
        return first
    below = reached[reached["survival"] < 0.5 - 1e-12]
    return first if below.empty else (first + float(below["week"].iloc[0])) / 2


def above_median(values: npt.ArrayLike) -> tuple[float, Bools]:
    """Return the median of all values and which lie above it; ties with the median count as not above."""
    array = np.asarray(values, float)
    median = float(np.median(array))
    return median, np.asarray(array > median)


def _observed_minus_expected(time: Floats, happened: Bools, index: Indices, groups: int) -> tuple[Floats, Floats]:
    """Return the sums over event times of O - E per group, and their hypergeometric covariance."""
    gap, variance = np.zeros(groups), np.zeros((groups, groups))
    for t in np.unique(time[happened]):
        at_risk = np.bincount(index[time >= t], minlength=groups).astype(float)
        died = np.bincount(index[happened & (time == t)], minlength=groups).astype(float)
        n, d = at_risk.sum(), died.sum()
        share = at_risk / n
        gap += died - d * share
        if n > 1:
            variance += d * (n - d) / (n - 1) * (np.diag(share) - np.outer(share, share))
    return gap, variance


def _limits(survival: Floats, variance: Floats, z: float, interval: str) -> tuple[Floats, Floats]:
    """Greenwood's pointwise limits; `variance` is that of log survival."""
    dead, alive = survival <= 0, survival >= 1
    inner = np.where(dead | alive, 0.5, survival)
    se = np.where(dead, 0.0, np.sqrt(variance))
    if interval == "plain":
        low, high = survival - z * se * survival, survival + z * se * survival
    elif interval == "log":
        low, high = inner * np.exp(-z * se), inner * np.exp(z * se)
    else:
        width = z * se / np.log(inner)
        low, high = inner ** np.exp(-width), inner ** np.exp(width)
    low, high = (np.where(dead, NAN, np.where(alive, 1.0, np.clip(side, 0, 1))) for side in (low, high))
    return low, high
