"""Time to event: Kaplan-Meier with the usual intervals, log-rank tests, restricted mean survival time.

Curves and tests are statsmodels'. Written here, because no Python library has it: the limits as R and SAS print them
(statsmodels has none of log survival, lifelines log-log only); what a test says where it does not exist (statsmodels
divides by a variance of 0); the standard error of the restricted mean as R prints it; the median of a flat step.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.stats
from statsmodels.duration.survfunc import SurvfuncRight, survdiff

from nnunet_ms.arrays import Bools, Floats, Ints
from nnunet_ms.options import chosen
from nnunet_ms.statistics.input_checks import as_numbers, equally_long, level, missing_values, refuse, time_to_event

Interval = Literal["log", "log-log", "plain"]
FlatStep = Literal["midpoint", "between_events", "first"]
INTERVALS = get_args(Interval)
ALONE = "at every event only one group was at risk"
NAN = float("nan")


@dataclass(frozen=True)
class LogRank:
    """The log-rank test; `problem` says why it is NaN."""

    chisq: float = NAN
    df: float = NAN
    p: float = NAN
    problem: str = ""


def kaplan_meier(
    weeks: npt.ArrayLike, event: npt.ArrayLike, interval: Interval, confidence: float = 0.95
) -> pd.DataFrame:
    """Return the product-limit estimate at every time of the data (R: `survfit(conf.type = interval)`).

    Parameters
    ----------
    weeks, event : (n,) arrays
        Time, >= 0, and whether it ended with the event.
    interval : {"log", "log-log", "plain"}
        Scale on which Greenwood's interval is symmetric: R's default, SAS's, or none.
    confidence : float, optional
        Level of the two-sided pointwise interval.

    Returns
    -------
    pandas.DataFrame
        `week, n_risk, n_event, survival, low, high`, one row per distinct time. Where survival is 0 the limits
        are NaN, as in R. No patient: no row.

    Raises
    ------
    OptionError
        If the interval or the level does not exist.
    StatisticsError
        If lengths differ, a value is missing, a time is negative, or an event is neither 0 nor 1.

    Examples
    --------
    R: `summary(survfit(Surv(time, status) ~ 1, aml[aml$x == "Maintained", ]))` begins with these rows (survival's
    `aml`, Miller 1997).

    >>> weeks, relapse = [9, 13, 13, 18, 23, 28, 31, 34, 45, 48, 161], [1, 1, 0, 1, 1, 0, 1, 1, 0, 1, 0]
    >>> kaplan_meier(weeks, relapse, "log").head(3).round(3)
       week  n_risk  n_event  survival    low  high
    0   9.0      11        1     0.909  0.754   1.0
    1  13.0      10        1     0.818  0.619   1.0
    2  18.0       8        1     0.716  0.488   1.0
    """
    chosen(interval, INTERVALS, "interval")
    z = float(scipy.stats.norm.ppf(0.5 + level(confidence) / 2))
    time, happened, problem = time_to_event(weeks, event)
    refuse(problem)
    at, n_risk, n_event, survival = _steps(time, happened)
    low, high = _limits(survival, _log_variance(n_risk, n_event), z, interval)
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
        As R's `summary(survfit, times = week, extend = TRUE)`; NaN where nobody was followed that long, unless the
        curve is at 0 by then.

    Examples
    --------
    >>> weeks, event = [12, 24, 24, 36, 48, 60], [1, 1, 0, 1, 0, 0]
    >>> curve = kaplan_meier(weeks, event, "log")
    >>> n_risk, survival, low, high = survival_at(curve, weeks, 24)
    >>> n_risk, round(survival, 4)
    (5, 0.6667)
    """
    n_risk = int((np.asarray(weeks, float) >= week).sum())
    if n_risk == 0:
        gone = len(curve) > 0 and float(curve["survival"].iloc[-1]) == 0  # everybody had the event: 0 from then on
        return 0, 0.0 if gone else NAN, NAN, NAN
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
        With fewer than two groups, no event, no event at which two groups were at risk, or values that cannot be
        analysed, `problem` is set.

    Raises
    ------
    StatisticsError
        If lengths differ or a time or event is no number.

    Examples
    --------
    R: `survdiff(Surv(time, status) ~ sex, lung)` prints "Chisq= 10.3 on 1 degrees of freedom, p= 0.001".

    >>> from lifelines.datasets import load_lung
    >>> lung = load_lung()
    >>> test = logrank(lung["time"], lung["status"], lung["sex"])
    >>> round(test.chisq, 1), test.df, round(test.p, 3)
    (10.3, 1.0, 0.001)
    """
    time, happened, problem = time_to_event(weeks, event)
    equally_long(time=time, group=group, strata=strata)
    problem = problem or missing_values(group=group, strata=strata)
    names, index = np.unique(np.asarray(group), return_inverse=True) if not problem else ((), np.zeros(0, int))
    if problem or len(names) < 2:
        return LogRank(problem=problem or f"{len(names)} group{'s' * (len(names) != 1)} with patients, needs 2")
    if not happened.any():
        return LogRank(problem="no events")
    stratum = np.zeros(len(time)) if strata is None else np.asarray(strata)
    # a group whose every event found it alone at risk adds nothing, as in R, whose df count expected events > 0
    several = range(len(names)) if len(names) > 2 else ()  # of two groups none is alone without the other
    used = [g for g in several if _chisq(time, happened, index == g, stratum) is not None] if several else [0, 1]
    inside = np.isin(index, used)
    chisq = _chisq(time[inside], happened[inside], index[inside], stratum[inside]) if len(used) > 1 else None
    if chisq is None:
        apart = len(used) > 2
        return LogRank(problem="some groups were never at risk together" if apart else ALONE)
    # from the statistic, because statsmodels' p is 1 - cdf, which has no digits left below 1e-16
    return LogRank(chisq, float(len(used) - 1), float(scipy.stats.chi2.sf(chisq, len(used) - 1)))


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

    Returns
    -------
    MeanTime
        With nobody followed that long, or values that cannot be analysed, `problem` is set.

    Raises
    ------
    OptionError, StatisticsError
        If there is no such level, lengths differ, or a value is no number.

    Examples
    --------
    By hand: survival is 1 until week 10, 2/3 until week 20, 1/3 until week 30.

    >>> round(restricted_mean([10, 20, 30], [1, 1, 0], 30).estimate, 6)
    20.0
    """
    z = float(scipy.stats.norm.ppf(0.5 + level(confidence) / 2))
    time, happened, problem = time_to_event(weeks, event)
    if not problem and not horizon > 0:
        problem = f"horizon: expected weeks > 0, found {horizon:g}"
    if problem or not len(time):
        return MeanTime(horizon, problem=problem or "no patients")
    curve = kaplan_meier(time, happened, "plain", confidence)
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
    return MeanTime(horizon, estimate, se, estimate - z * se, estimate + z * se)


@dataclass(frozen=True)
class WaldDifference:
    """Difference of two independent estimates with Wald's interval and p; `problem` says why it is NaN."""

    estimate: float = NAN
    se: float = NAN
    low: float = NAN
    high: float = NAN
    p: float = NAN
    problem: str = ""


def mean_time_difference(a: MeanTime, b: MeanTime, confidence: float = 0.95) -> WaldDifference:
    """Return a - b of two independent samples, with Wald's interval and p.

    Raises
    ------
    OptionError
        If `confidence` is not between 0 and 1.

    Examples
    --------
    >>> active = restricted_mean([30, 48, 48, 48], [1, 0, 0, 0], 48)
    >>> placebo = restricted_mean([12, 24, 36, 48], [1, 1, 1, 0], 48)
    >>> mean_time_difference(active, placebo).estimate
    13.5
    """
    z = float(scipy.stats.norm.ppf(0.5 + level(confidence) / 2))
    problem = a.problem or b.problem or ("no events" if a.se == b.se == 0 else "")
    if problem:
        return WaldDifference(problem=problem)
    return wald_difference(a.estimate - b.estimate, float(np.hypot(a.se, b.se)), z)


def wald_difference(gap: float, se: float, z: float) -> WaldDifference:
    """Return a difference with its interval and p from its standard error, > 0; `z` is the limits' distance in SE.

    Examples
    --------
    >>> wald_difference(2.0, 1.0, 2.0).low, wald_difference(0.0, 1.0, 2.0).p
    (0.0, 1.0)
    """
    return WaldDifference(gap, se, gap - z * se, gap + z * se, 2 * float(scipy.stats.norm.sf(abs(gap / se))))


def median_time(curve: pd.DataFrame, flat_step: FlatStep = "midpoint") -> float:
    """Return when survival falls to one half, in weeks; NaN if it never does.

    Parameters
    ----------
    curve : pandas.DataFrame
        From `kaplan_meier`.
    flat_step : {"midpoint", "between_events", "first"}, optional
        Where the curve is flat at exactly 0.5: the middle of the step, of the last step the middle up to the end of
        follow-up (R's `quantile.survfit`); the middle up to the next event, NaN without one (SAS's PROC LIFETEST); or
        its first time.

    Raises
    ------
    OptionError
        If there is no such `flat_step`.

    Examples
    --------
    R: `survfit(Surv(time, status) ~ sex, lung)` prints medians of 270 and 426 days.

    >>> from lifelines.datasets import load_lung
    >>> [median_time(kaplan_meier(g["time"], g["status"], "log")) for _, g in load_lung().groupby("sex")]
    [270.0, 426.0]
    """
    chosen(flat_step, get_args(FlatStep), "flat_step")
    return falls_to(curve["week"].to_numpy(float), curve["survival"].to_numpy(float), 0.5, flat_step)


def falls_to(week: Floats, values: Floats, share: float, flat_step: FlatStep) -> float:
    """Return when a falling step function (n,) reaches `share`; NaN if it never does. NaN values are passed over.

    Raises
    ------
    OptionError
        If there is no such `flat_step`.

    Examples
    --------
    >>> falls_to(np.array([10.0, 20.0, 30.0]), np.array([0.8, 0.5, 0.2]), 0.5, "midpoint")
    25.0
    """
    chosen(flat_step, get_args(FlatStep), "flat_step")
    known = np.isfinite(values)
    at, height = week[known], values[known]
    if flat_step == "midpoint":  # limits may rise again at the end; R then takes the time of the largest one below
        order = np.argsort(-height, kind="stable")
        at, height = at[order], height[order]
    reached = np.flatnonzero(height <= share + 1e-12)
    if not len(reached):
        return NAN
    first = float(at[reached[0]])
    if height[reached[0]] < share - 1e-12 or flat_step == "first":
        return first
    below = np.flatnonzero(height < share - 1e-12)
    if len(below):
        return (first + float(at[below[0]])) / 2
    return (first + float(week[-1])) / 2 if flat_step == "midpoint" else NAN


def above_median(values: npt.ArrayLike) -> tuple[float, Bools]:
    """Return the median of all values and which lie above it; ties with the median count as not above.

    Raises
    ------
    StatisticsError
        If there is no value, or one is missing.

    Examples
    --------
    >>> above_median([4.0, 1.0, 2.0])
    (2.0, array([ True, False, False]))
    """
    array = as_numbers(values, "values")
    refuse(missing_values(values=array) or ("no values" if not len(array) else ""))
    median = float(np.median(array))
    return median, np.asarray(array > median)


def _chisq(
    time: Floats, happened: Bools, group: npt.NDArray[np.generic], stratum: npt.NDArray[np.generic]
) -> float | None:
    """Log-rank statistic; None where its variance is 0."""
    try:
        return float(survdiff(time, happened.astype(int), group, strata=stratum)[0])
    except np.linalg.LinAlgError:
        return None


def _steps(time: Floats, happened: Bools) -> tuple[Floats, Ints, Ints, Floats]:
    """Return the distinct times, numbers at risk and with the event, and survival after each."""
    if not len(time):
        return time, np.zeros(0, int), np.zeros(0, int), time
    # everybody leaves at their own time: the numbers at risk where nobody has the event, too
    leaving = SurvfuncRight(time, np.ones(len(time)))
    at, n_event, survival = leaving.surv_times, np.zeros(len(leaving.surv_times), int), np.ones(len(leaving.surv_times))
    if happened.any():
        curve = SurvfuncRight(time, happened.astype(int))
        n_event[np.searchsorted(at, curve.surv_times)] = curve.n_events
        survival = np.append(1.0, curve.surv_prob)[np.searchsorted(curve.surv_times, at, side="right")]
    return at, np.asarray(leaving.n_risk, int), n_event, survival


def _log_variance(n_risk: Ints, n_event: Ints) -> Floats:
    """Greenwood's variance of log survival; infinite from where everybody at risk has the event."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.cumsum(n_event / (n_risk * (n_risk - n_event).astype(float))))


def _limits(survival: Floats, variance: Floats, z: float, interval: Interval) -> tuple[Floats, Floats]:
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
