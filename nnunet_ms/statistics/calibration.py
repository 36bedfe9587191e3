"""Whether predicted probabilities are true: calibration in numbers and as a curve, Brier score, net benefit.

Logistic fits, proportions' intervals and the local regression are statsmodels'. Nothing is clipped: a probability of
exactly 0 or 1 has infinite log odds, and the calibration line then says so in `problem`; the rest is still there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.special
import scipy.stats
from statsmodels.nonparametric.smoothers_lowess import lowess
from statsmodels.stats.proportion import proportion_confint

from nnunet_ms.arrays import Floats
from nnunet_ms.errors import OptionError, StatisticsError
from nnunet_ms.statistics.bootstrap_interval import LEVEL
from nnunet_ms.statistics.input_checks import as_numbers, equally_long, probabilities, refuse, two_classes
from nnunet_ms.statistics.input_checks import level as checked_level
from nnunet_ms.statistics.logistic import fit_logistic

NAN = float("nan")
_Line = tuple[float, float, float, float, float, float]  # intercept and slope, each with its limits


@dataclass(frozen=True)
class Calibration:
    """Calibration of predicted probabilities; NaN where undefined, and `problem` says why.

    Attributes
    ----------
    intercept, intercept_low, intercept_high : float
        Log odds by which risks are too low on the whole (slope held at 1): 0 is right, below 0 predicts too much.
    slope, slope_low, slope_high : float
        Of the outcome on the predicted log odds: 1 is right, below 1 is too extreme, as of an overfitted model.
    brier, brier_scaled : float
        Mean squared error of the probabilities; and 1 less its ratio to that of predicting the share of events for
        everybody (1 is perfect, 0 is worth nothing).
    expected, observed : float
        Mean probability, and share of events.
    level : float
        Of the two-sided intervals (Wald, as R's `confint.default`); rows are taken as independent.
    n, events : int
        Rows, and rows with the event.
    problem : str
        Blank, or why there is no line, or nothing at all.
    """

    intercept: float
    intercept_low: float
    intercept_high: float
    slope: float
    slope_low: float
    slope_high: float
    brier: float
    brier_scaled: float
    expected: float
    observed: float
    level: float
    n: int
    events: int
    problem: str = ""


@dataclass(frozen=True)
class CalibrationGroup:
    """One group of the calibration curve: `n` rows with probabilities from `low` to `high`, `events` of them events.

    `observed` is the share of events, with Wilson's interval from `observed_low` to `observed_high` at `level`.
    """

    low: float
    high: float
    n: int
    events: int
    mean_probability: float
    observed: float
    observed_low: float
    observed_high: float
    level: float


@dataclass(frozen=True)
class NetBenefit:
    """Net benefit at one threshold: true positives less false positives weighed by the threshold's odds, per row.

    `model` acts where the probability is at or above `threshold`; `treat_all` acts always, `treat_none` (0) never.
    """

    threshold: float
    model: float
    treat_all: float
    treat_none: float
    n: int
    events: int


def calibration(truth: npt.ArrayLike, probability: npt.ArrayLike, level: float = LEVEL) -> Calibration:
    """Calibration intercept and slope, Brier score [1]_.

    R: `glm(y ~ offset(qlogis(p)), binomial)`, `glm(y ~ qlogis(p), binomial)`.

    Parameters
    ----------
    truth : (n,) array
        1 with the event, 0 without.
    probability : (n,) floats
        From 0 to 1.
    level : float, optional
        Of the two-sided intervals.

    Raises
    ------
    OptionError, StatisticsError
        If there is no such level, or lengths differ.

    References
    ----------
    .. [1] Van Calster B et al. BMC Med 17:230, 2019. doi:10.1186/s12916-019-1466-7

    Examples
    --------
    >>> found = calibration([0, 0, 1, 0, 1, 1], [0.2, 0.3, 0.4, 0.6, 0.7, 0.8])
    >>> round(found.brier, 4), round(found.expected, 2), found.observed
    (0.1633, 0.5, 0.5)
    """
    checked_level(level, "level")
    (event,), problem = two_classes(truth=truth)
    p, unlike = probabilities(probability)
    equally_long(truth=event, probability=p)
    y, sizes = event.astype(float), (event.size, int(event.sum()))
    problem = problem or unlike or ("no rows" if not event.size else "")
    if problem:
        return Calibration(*(NAN,) * 10, level, *sizes, problem)
    brier, share = float(np.mean((p - y) ** 2)), float(y.mean())
    scaled = 1 - brier / (share * (1 - share)) if 0 < share < 1 else NAN
    line, problem = _line(y, p, level)
    return Calibration(*line, brier, scaled, float(p.mean()), share, level, *sizes, problem)


def calibration_groups(
    truth: npt.ArrayLike, probability: npt.ArrayLike, groups: int = 10, level: float = LEVEL
) -> tuple[CalibrationGroup, ...]:
    """Share of events in groups of rising probability, about equally large; equal probabilities stay together.

    Parameters
    ----------
    truth, probability, level
        As of `calibration`.
    groups : int, optional
        Upper number of groups: fewer where many probabilities are equal, or there are fewer rows.

    Raises
    ------
    OptionError, StatisticsError
        If there is no such level or number of groups, lengths differ, or a value is missing or not possible.

    Examples
    --------
    >>> two = calibration_groups([0, 0, 1, 0, 1, 1], [0.2, 0.3, 0.4, 0.6, 0.7, 0.8], groups=2)
    >>> [(group.n, group.events, round(group.mean_probability, 2)) for group in two]
    [(3, 1, 0.3), (3, 2, 0.7)]
    """
    checked_level(level, "level")
    if not (isinstance(groups, int | np.integer) and groups >= 1):
        raise OptionError(f"groups: expected a whole number >= 1, found {groups!r}. 10 are usual.")
    y, p = _checked(truth, probability)
    if not p.size:
        return ()
    _, which, counts = np.unique(p, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts + 1) / 2  # mean place of the rows with this probability, from 0
    of_value = np.minimum((middle * groups / p.size).astype(int), groups - 1)
    of_row = of_value[which]
    return tuple(_group(y[of_row == k], p[of_row == k], level) for k in np.unique(of_value))


def calibration_smooth(
    truth: npt.ArrayLike, probability: npt.ArrayLike, fraction: float = 2 / 3
) -> tuple[Floats, Floats]:
    """Return sorted probabilities, and the share of events there by local linear regression.

    R: `lowess(p, y, f = fraction, iter = 0, delta = 0)`. Values may leave 0 to 1 at the ends, as R's do.

    Parameters
    ----------
    truth, probability
        As of `calibration`.
    fraction : float, optional
        Share of the rows that each place uses, in (0, 1].

    Raises
    ------
    OptionError, StatisticsError
        If there is no such fraction, lengths differ, or a value is missing or not possible; or all probabilities are
        the same, or there are fewer than three rows.

    Examples
    --------
    >>> p, observed = calibration_smooth([0, 0, 1, 0, 1, 1], [0.2, 0.3, 0.4, 0.6, 0.7, 0.8], fraction=1)
    >>> p.tolist(), bool((np.diff(observed) > 0).all())
    ([0.2, 0.3, 0.4, 0.6, 0.7, 0.8], True)
    """
    if not (isinstance(fraction, float | int | np.number) and 0 < fraction <= 1):
        raise OptionError(f"fraction: expected a number above 0 and at most 1, found {fraction!r}. 2/3 is usual.")
    y, p = _checked(truth, probability)
    if np.unique(p).size < 3:
        raise StatisticsError(f"expected three different probabilities for a smooth curve, found {np.unique(p).size}.")
    found = lowess(y, p, frac=fraction, it=0, delta=0.0, return_sorted=True)
    return np.asarray(found[:, 0]), np.asarray(found[:, 1])


def net_benefit(
    truth: npt.ArrayLike, probability: npt.ArrayLike, thresholds: Sequence[float] | Floats
) -> tuple[NetBenefit, ...]:
    """Decision curve [1]_: net benefit of acting on the probabilities, on everybody, and on nobody.

    Parameters
    ----------
    truth, probability
        As of `calibration`.
    thresholds : (m,) floats
        Probabilities at which one would act, each above 0 and below 1.

    Raises
    ------
    OptionError, StatisticsError
        If a threshold is not possible, lengths differ, or a value is missing or not possible.

    References
    ----------
    .. [1] Vickers AJ, Elkin EB. Med Decis Making 26:565-574, 2006. doi:10.1177/0272989X06295361

    Examples
    --------
    At 0.5 a false positive weighs as much as a true one: of six rows two found, one wrongly.

    >>> found = net_benefit([0, 0, 1, 0, 1, 1], [0.2, 0.3, 0.4, 0.6, 0.7, 0.8], [0.5])[0]
    >>> round(found.model, 4), found.treat_all, found.treat_none
    (0.1667, 0.0, 0.0)
    """
    y, p = _checked(truth, probability)
    places = as_numbers(thresholds, "thresholds")
    outside = places[~((places > 0) & (places < 1))]
    if outside.size:
        raise OptionError(f"thresholds: expected probabilities above 0 and below 1, found {outside[0]:g}.")
    n, events = y.size, int(y.sum())
    rows = []
    for place in places.tolist():
        acted, odds = p >= place, place / (1 - place)
        found, false = float((y * acted).sum()), float(((1 - y) * acted).sum())
        model, everybody = (found - odds * false, events - odds * (n - events)) if n else (NAN, NAN)
        rows.append(NetBenefit(place, model / max(n, 1), everybody / max(n, 1), 0.0, n, events))
    return tuple(rows)


def _checked(truth: npt.ArrayLike, probability: npt.ArrayLike) -> tuple[Floats, Floats]:
    (event,), problem = two_classes(truth=truth)
    p, unlike = probabilities(probability)
    equally_long(truth=event, probability=p)
    refuse(problem or unlike)
    return event.astype(float), p


def _line(y: Floats, p: Floats, level: float) -> tuple[_Line, str]:
    """Intercept and slope with their limits, and why there are none."""
    none: _Line = (NAN, NAN, NAN, NAN, NAN, NAN)
    extreme = int(((p == 0) | (p == 1)).sum())
    if extreme:
        return none, f"{extreme} of {p.size} probabilities are exactly 0 or 1, whose log odds are infinite"
    odds = scipy.special.logit(p)
    shifted = fit_logistic(y, np.ones((y.size, 1)), offset=odds)
    if shifted.problem:
        return none, shifted.problem
    at = float(scipy.stats.norm.ppf((1 + level) / 2))
    first = _limits(shifted.estimates[0], shifted.se[0], at)
    if np.ptp(odds) == 0:
        return (*first, NAN, NAN, NAN), "all probabilities are equal: no slope"
    sloped = fit_logistic(y, np.column_stack([np.ones(y.size), odds]))
    if sloped.problem:
        return (*first, NAN, NAN, NAN), sloped.problem
    return (*first, *_limits(sloped.estimates[1], sloped.se[1], at)), ""


def _limits(estimate: float, se: float, at: float) -> tuple[float, float, float]:
    return float(estimate), float(estimate - at * se), float(estimate + at * se)


def _group(y: Floats, p: Floats, level: float) -> CalibrationGroup:
    low, high = proportion_confint(y.sum(), y.size, alpha=1 - level, method="wilson")
    ends = float(p.min()), float(p.max())
    return CalibrationGroup(
        *ends, y.size, int(y.sum()), float(p.mean()), float(y.mean()), float(low), float(high), level
    )
