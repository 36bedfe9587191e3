"""Time to event: Cox regression on one covariate, Kaplan-Meier with the usual intervals, log-rank.

Fitting is lifelines' (Efron ties) and statsmodels' (Breslow ties, log-rank); both match R's `survival` when asked for
enough precision. What they do not say (nothing to estimate, a likelihood without maximum) is said here.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.stats

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

TIES = ("efron", "breslow")
INTERVALS = ("log", "log-log", "plain")
NAN = float("nan")


@dataclass(frozen=True)
class Cox:
    """A hazard ratio per unit of the covariate, Wald interval and p; `problem` says why it is NaN."""

    n: int
    events: int
    coefficient: float = NAN
    se: float = NAN
    hazard_ratio: float = NAN
    low: float = NAN
    high: float = NAN
    p: float = NAN
    log_likelihood: float = NAN
    problem: str = ""


@dataclass(frozen=True)
class LogRank:
    """The log-rank test; `problem` says why it is NaN."""

    chisq: float = NAN
    df: float = NAN
    p: float = NAN
    problem: str = ""


def cox_univariable(
    weeks: npt.ArrayLike, event: npt.ArrayLike, covariate: npt.ArrayLike, ties: str, confidence: float = 0.95
) -> Cox:
    """Fit a proportional-hazards model with one covariate (R: `coxph(Surv(weeks, event) ~ x, ties = ties)`).

    Parameters
    ----------
    weeks, event, covariate : (n,) arrays
        Time, whether it ended with the event, and the covariate; finite.
    ties : {"efron", "breslow"}
        How tied event times are handled: R's default, or SAS's.
    confidence : float, optional
        Level of the two-sided Wald interval.

    Returns
    -------
    Cox
        Without two patients, an event, or variation, or with a likelihood that grows for ever, `problem` is set.
    """
    time, happened, x = np.asarray(weeks, float), np.asarray(event, bool), np.asarray(covariate, float)
    counts = (len(time), int(happened.sum()))
    problem = _cox_problem(time, happened, x)
    if problem:
        return Cox(*counts, problem=problem)
    fit = _efron if ties == "efron" else _breslow
    coefficient, se, log_likelihood = fit(time, happened, x)
    z = float(scipy.stats.norm.ppf(0.5 + confidence / 2))
    low, high = np.exp(coefficient - z * se), np.exp(coefficient + z * se)
    p = 2 * float(scipy.stats.norm.sf(abs(coefficient / se)))
    ratio = float(np.exp(coefficient))
    return Cox(*counts, coefficient, se, ratio, float(low), float(high), p, log_likelihood)


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


def logrank(weeks: npt.ArrayLike, event: npt.ArrayLike, group: npt.ArrayLike) -> LogRank:
    """Compare the curves of two or more groups (R: `survdiff`).

    Parameters
    ----------
    weeks, event, group : (n,) arrays
        Time, whether it ended with the event, and the group.

    Returns
    -------
    LogRank
        With fewer than two groups, or no event, `problem` is set.
    """
    from statsmodels.duration.survfunc import survdiff

    time, happened, groups = np.asarray(weeks, float), np.asarray(event, bool), np.asarray(group)
    found = len(np.unique(groups))
    if found < 2:
        return LogRank(problem=f"{found} group{'s' * (found != 1)} with patients, needs 2")
    if not happened.any():
        return LogRank(problem="no events")
    if not _compared(time, happened, groups):
        return LogRank(problem="at every event only one group was at risk")
    chisq, p = survdiff(time, happened.astype(int), groups)
    return LogRank(float(chisq), float(found - 1), float(p))


def above_median(values: npt.ArrayLike) -> tuple[float, Flags]:
    """Return the median of all values and which lie above it; ties with the median count as not above."""
    array = np.asarray(values, float)
    median = float(np.median(array))
    return median, np.asarray(array > median)


def _cox_problem(time: Floats, happened: Flags, x: Floats) -> str:
    if len(time) < 2:
        return f"{len(time)} patients, needs 2"
    if not happened.any():
        return "no events"
    if np.ptp(x) == 0:
        return "the covariate is constant"
    extremes = [(x[time >= t].min(), x[time >= t].max()) for t in time[happened]]
    if all(low == high for low, high in extremes):
        return "the covariate does not vary among the patients at risk"
    # the likelihood has no maximum when every event has the highest (or every one the lowest) value at risk
    values = x[happened]
    if all(v == high for v, (_, high) in zip(values, extremes, strict=True)) or all(
        v == low for v, (low, _) in zip(values, extremes, strict=True)
    ):
        return "the covariate separates patients with and without event"
    return ""


def _compared(time: Floats, happened: Flags, groups: npt.NDArray[np.generic]) -> bool:
    return any(len(np.unique(groups[time >= t])) > 1 for t in np.unique(time[happened]))


def _efron(time: Floats, happened: Flags, x: Floats) -> tuple[float, float, float]:
    from lifelines import CoxPHFitter

    frame = pd.DataFrame({"week": time, "event": happened.astype(int), "x": x})
    fitter = CoxPHFitter()
    # the default precision of 1e-7 on the step stops short of R's digits
    fitter.fit(frame, "week", "event", fit_options={"precision": 1e-10})
    return float(fitter.params_["x"]), float(fitter.standard_errors_["x"]), float(fitter.log_likelihood_)


def _breslow(time: Floats, happened: Flags, x: Floats) -> tuple[float, float, float]:
    from statsmodels.duration.hazard_regression import PHReg

    # centred, because exp(x * coefficient) must not overflow; the coefficient does not change
    model = PHReg(time, (x - x.mean())[:, None], status=happened.astype(int), ties="breslow")
    fit = model.fit(method="newton", tol=1e-12, disp=False)
    return float(fit.params[0]), float(fit.bse[0]), float(fit.llf)


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
