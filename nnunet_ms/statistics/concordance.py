"""Concordance of two raters over cases: correlation, agreement, and Bland-Altman limits on both scales.

Pearson's r and its interval are scipy's; the rest is written here, because scipy, statsmodels and lifelines have none
of it with intervals.

Pearson's r asks whether two raters rank cases alike; Lin's coefficient and the intraclass correlation also whether
they give the same numbers; Bland and Altman by how much they differ, in the unit (difference) and as a ratio.

Nothing here raises for too few cases: what cannot be computed is NaN, and `n` says of how many cases it is. The
intervals take cases as independent; with several visits per patient they are too narrow, and a bootstrap over
patients belongs beside them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from nnunet_ms.arrays import Floats
from nnunet_ms.errors import StatisticsError
from nnunet_ms.statistics.input_checks import as_numbers, missing_values
from nnunet_ms.statistics.input_checks import level as checked_level

LEVEL = 0.95
MINIMUM_CASES = 3  # two cases always lie on a line
Values = Sequence[float] | npt.NDArray[np.number]


@dataclass(frozen=True)
class Coefficient:
    """A coefficient between -1 and 1 over `n` cases with its two-sided interval at `level`; NaN where undefined."""

    estimate: float
    low: float
    high: float
    n: int
    level: float = LEVEL


@dataclass(frozen=True)
class Limits:
    """Bland-Altman bias and limits of agreement; each with an interval at `level`.

    For differences everything is in the unit of the values and `bias` 0 is agreement. For ratios (`is_ratio`) bias and
    limits are factors, prediction / reference, and 1 is agreement; `sd` then is that of the natural logarithm.

    Attributes
    ----------
    bias, bias_low, bias_high : float
        Mean difference, or geometric mean ratio.
    sd : float
        Standard deviation (n - 1) of the differences, or of the log ratios.
    lower, lower_low, lower_high, upper, upper_low, upper_high : float
        Limits between which 95 % of differences (ratios) lie when these are normal (log-normal).
    n, n_left_out : int
        Pairs that count; pairs without a ratio, because one value is 0.
    is_ratio : bool
        Which of the two scales.
    level : float
        Of the intervals and of the limits.
    """

    bias: float
    bias_low: float
    bias_high: float
    sd: float
    lower: float
    lower_low: float
    lower_high: float
    upper: float
    upper_low: float
    upper_high: float
    n: int
    n_left_out: int = 0
    is_ratio: bool = False
    level: float = LEVEL


_PLACES = tuple(f"{place}{end}" for place in ("bias", "lower", "upper") for end in ("", "_low", "_high"))


def pearson_correlation(reference: Values, prediction: Values, level: float = LEVEL) -> Coefficient:
    """Pearson's r with Fisher's interval.

    Parameters
    ----------
    reference, prediction : (n,) floats
        One value per case and rater, in the same order; finite.
    level : float, optional
        Of the two-sided interval, in (0, 1).

    Returns
    -------
    Coefficient
        NaN below three cases or when one rater's values are all the same; the interval needs four cases.

    Raises
    ------
    OptionError, StatisticsError
        If there is no such level, the lengths differ, or a value is not finite.

    References
    ----------
    .. [1] Fisher RA. Metron 1:3-32, 1921.

    Examples
    --------
    R prints these three numbers for the example of `?cor.test` (canned tuna; Hollander and Wolfe 1973).

    >>> lightness = [44.4, 45.9, 41.9, 53.3, 44.7, 44.1, 50.7, 45.2, 60.1]
    >>> found = pearson_correlation(lightness, [2.6, 3.1, 2.5, 5.0, 3.6, 4.0, 5.2, 2.8, 3.8])
    >>> round(found.estimate, 7), round(found.low, 7), round(found.high, 7)
    (0.5711816, -0.1497426, 0.8955795)
    """
    x, y = _pair(reference, prediction)
    checked_level(level, "level")
    if not _varies(x, y):
        return Coefficient(np.nan, np.nan, np.nan, x.size, level)
    found = stats.pearsonr(x, y)
    r = float(found.statistic)
    if x.size == MINIMUM_CASES or abs(r) >= 1:  # scipy answers with the widest interval, or with none
        return Coefficient(r, np.nan, np.nan, x.size, level)
    limits = found.confidence_interval(level)
    return Coefficient(r, float(limits.low), float(limits.high), x.size, level)


def concordance_correlation(reference: Values, prediction: Values, level: float = LEVEL) -> Coefficient:
    """Lin's concordance correlation coefficient with the interval of the z-transform.

    Moments divide by n, as in the paper [1]_; the variance is the corrected one [2]_.

    Parameters
    ----------
    reference, prediction : (n,) floats
        One value per case and rater, in the same order; finite.
    level : float, optional
        Of the two-sided interval, in (0, 1).

    Returns
    -------
    Coefficient
        NaN below three cases or when both raters' values are all the same; the interval also when r is 0 or 1.

    Raises
    ------
    OptionError, StatisticsError
        If there is no such level, the lengths differ, or a value is not finite.

    References
    ----------
    .. [1] Lin LI-K. Biometrics 45:255-268, 1989. doi:10.2307/2532051
    .. [2] Lin LI-K. Biometrics 56:324-325, 2000 (a note on the 1989 variance). doi:10.1111/j.0006-341X.2000.00324.x

    Examples
    --------
    Twice the variance 2/3, over 2/3 + 2/3 + the squared difference of the means, 1:

    >>> round(concordance_correlation([1, 2, 3], [2, 3, 4]).estimate, 6)
    0.571429
    """
    x, y = _pair(reference, prediction)
    checked_level(level, "level")
    if x.size < MINIMUM_CASES or (np.ptp(x) == 0 and np.ptp(y) == 0):
        return Coefficient(np.nan, np.nan, np.nan, x.size, level)
    covariance = float(((x - x.mean()) * (y - y.mean())).mean())
    estimate = 2 * covariance / float(x.var() + y.var() + (x.mean() - y.mean()) ** 2)
    return Coefficient(estimate, *_fisher_interval(estimate, _lin_error(x, y, estimate), level), n=x.size, level=level)


def intraclass_correlation(ratings: npt.NDArray[np.number], level: float = LEVEL) -> Coefficient:
    """ICC(2,1): two-way random effects, absolute agreement, one rater [1]_, with the interval of [2]_.

    Parameters
    ----------
    ratings : (n, k) floats
        One row per case, one column per rater; finite.
    level : float, optional
        Of the two-sided interval, in (0, 1).

    Returns
    -------
    Coefficient
        NaN below three cases, below two raters, or when all values are the same.

    Raises
    ------
    OptionError, StatisticsError
        If there is no such level, `ratings` is not (n, k), or a value is not finite.

    References
    ----------
    .. [1] Shrout PE, Fleiss JL. Psychol Bull 86:420-428, 1979. doi:10.1037/0033-2909.86.2.420
    .. [2] McGraw KO, Wong SP. Psychol Methods 1:30-46, 1996, table 7, ICC(A,1). doi:10.1037/1082-989X.1.1.30

    Examples
    --------
    Shrout and Fleiss's table 2, six targets and four judges, prints 0.29.

    >>> table = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    >>> round(intraclass_correlation(np.array(table)).estimate, 2)
    0.29
    """
    checked_level(level, "level")
    values = np.asarray(ratings, dtype=np.float64)
    found = f"shape {values.shape}" if values.ndim != 2 else missing_values(ratings=values)
    if found:
        raise StatisticsError(f"expected finite ratings (cases, raters), found {found}")
    n, k = values.shape
    if n < MINIMUM_CASES or k < 2 or np.ptp(values) == 0:
        return Coefficient(np.nan, np.nan, np.nan, n, level)
    between, judges, error = _mean_squares(values)
    estimate = (between - error) / (between + (k - 1) * error + k * (judges - error) / n)
    if (
        error <= 1e-12 * between
    ):  # 0 but for rounding: raters differ by a constant at most, so the interval has no width that data could tell
        return Coefficient(estimate, np.nan, np.nan, n, level)
    return Coefficient(estimate, *_icc_interval(between, judges, error, n, k, level), n=n, level=level)


def bland_altman(reference: Values, prediction: Values, level: float = LEVEL) -> Limits:
    """Bias and limits of agreement of the differences prediction - reference [1]_.

    Parameters
    ----------
    reference, prediction : (n,) floats
        One value per case and rater, in the same order; finite.
    level : float, optional
        Of the intervals (t distribution) and of the limits (normal quantiles, 1.96 at 95 %).

    Returns
    -------
    Limits
        In the unit of the values; NaN below three cases.

    Raises
    ------
    OptionError, StatisticsError
        If there is no such level, the lengths differ, or a value is not finite.

    References
    ----------
    .. [1] Bland JM, Altman DG. Stat Methods Med Res 8:135-160, 1999. doi:10.1177/096228029900800204

    Examples
    --------
    >>> limits = bland_altman([4.0, 8.1, 2.2, 12.5], [4.4, 7.6, 2.0, 13.1])
    >>> round(limits.bias, 3), round(limits.lower, 3), round(limits.upper, 3)
    (0.075, -0.929, 1.079)
    """
    x, y = _pair(reference, prediction)
    return _limits(y - x, checked_level(level, "level"))


def bland_altman_ratio(reference: Values, prediction: Values, level: float = LEVEL) -> Limits:
    """Bias and limits of agreement of the ratios prediction / reference, computed on logarithms.

    Lesion volumes spread over three orders of magnitude and errors grow with them, so the ratio is the fairer scale.
    Pairs in which either value is 0 have no ratio: they are left out and counted.

    Parameters
    ----------
    reference, prediction : (n,) floats
        One value per case and rater, in the same order; finite and >= 0.
    level : float, optional
        Of the intervals and of the limits.

    Returns
    -------
    Limits
        Factors; `sd` of the log ratio. NaN below three pairs.

    Raises
    ------
    OptionError, StatisticsError
        If there is no such level, the lengths differ, or a value is not finite or negative.

    References
    ----------
    .. [1] Bland JM, Altman DG. Stat Methods Med Res 8:135-160, 1999, section 3. doi:10.1177/096228029900800204

    Examples
    --------
    >>> limits = bland_altman_ratio([1.0, 2.0, 4.0, 0.0], [2.0, 4.0, 8.0, 1.0])
    >>> round(limits.bias, 6), limits.n, limits.n_left_out
    (2.0, 3, 1)
    """
    x, y = _pair(reference, prediction)
    checked_level(level, "level")
    if (x < 0).any() or (y < 0).any():
        raise StatisticsError(f"expected values >= 0 for ratios, found negative ones such as {min(x.min(), y.min()):g}")
    both = (x > 0) & (y > 0)
    logs = _limits(np.log(y[both] / x[both]), level)
    factors: dict[str, Any] = {name: float(np.exp(getattr(logs, name))) for name in _PLACES}
    return Limits(**factors, sd=logs.sd, n=logs.n, n_left_out=int((~both).sum()), is_ratio=True, level=level)


def _pair(reference: Values, prediction: Values) -> tuple[Floats, Floats]:
    x, y = as_numbers(reference, "reference"), as_numbers(prediction, "prediction")
    found = f"{len(x)} and {len(y)}" if len(x) != len(y) else missing_values(reference=x, prediction=y)
    if found:
        raise StatisticsError(f"expected two equally long rows of finite values, found {found}")
    return x, y


def _varies(x: Floats, y: Floats) -> bool:
    return bool(x.size >= MINIMUM_CASES and np.ptp(x) > 0 and np.ptp(y) > 0)


def _fisher_interval(estimate: float, error: float, level: float) -> tuple[float, float]:
    """Interval on the scale of artanh; `error` is the standard error there."""
    if not np.isfinite(error) or abs(estimate) >= 1:
        return np.nan, np.nan
    reach = float(stats.norm.ppf((1 + level) / 2)) * error
    centre = np.arctanh(estimate)
    return float(np.tanh(centre - reach)), float(np.tanh(centre + reach))


def _lin_error(x: Floats, y: Floats, ccc: float) -> float:
    """Standard error of artanh(ccc), Lin 2000; `shift` is the paper's u, squared."""
    if not _varies(x, y) or abs(ccc) >= 1:
        return np.nan
    r = float(np.asarray(np.corrcoef(x, y))[0, 1])
    if r == 0:
        return np.nan
    shift = float((x.mean() - y.mean()) ** 2 / (x.std() * y.std()))
    one = 1 - ccc**2
    variance = (
        (1 - r**2) * ccc**2 / (one * r**2)
        + 2 * ccc**3 * (1 - ccc) * shift / (r * one**2)
        - ccc**4 * shift**2 / (2 * r**2 * one**2)
    ) / (x.size - 2)
    return float(np.sqrt(variance)) if variance > 0 else np.nan


def _mean_squares(values: Floats) -> tuple[float, float, float]:
    """Mean squares between cases, between raters, and residual, of the two-way layout (n, k)."""
    n, k = values.shape
    cases, raters, mean = values.mean(axis=1), values.mean(axis=0), values.mean()
    residual = values - cases[:, None] - raters + mean
    return (
        k * float(((cases - mean) ** 2).sum()) / (n - 1),
        n * float(((raters - mean) ** 2).sum()) / (k - 1),
        float((residual**2).sum()) / ((n - 1) * (k - 1)),
    )


def _icc_interval(between: float, judges: float, error: float, n: int, k: int, level: float) -> tuple[float, float]:
    """McGraw and Wong's interval; degrees of freedom by Satterthwaite."""
    icc = (between - error) / (between + (k - 1) * error + k * (judges - error) / n)
    a = k * icc / (n * (1 - icc))
    b = 1 + k * icc * (n - 1) / (n * (1 - icc))
    freedom = (a * judges + b * error) ** 2 / ((a * judges) ** 2 / (k - 1) + (b * error) ** 2 / ((n - 1) * (k - 1)))
    below = float(stats.f.ppf((1 + level) / 2, n - 1, freedom))
    above = float(stats.f.ppf((1 + level) / 2, freedom, n - 1))
    noise = k * judges + (k * n - k - n) * error
    return (
        float(n * (between - below * error) / (below * noise + n * between)),
        float(n * (above * between - error) / (noise + n * above * between)),
    )


def _limits(differences: Floats, level: float) -> Limits:
    n = differences.size
    if n < MINIMUM_CASES:
        nowhere: dict[str, Any] = dict.fromkeys(_PLACES, np.nan)
        return Limits(**nowhere, sd=np.nan, n=n, level=level)
    bias, sd = float(differences.mean()), float(differences.std(ddof=1))
    t, z = float(stats.t.ppf((1 + level) / 2, n - 1)), float(stats.norm.ppf((1 + level) / 2))
    reach_bias = t * sd / np.sqrt(n)
    reach_limit = t * sd * np.sqrt(1 / n + z**2 / (2 * (n - 1)))
    lower, upper = bias - z * sd, bias + z * sd
    return Limits(
        bias=bias,
        bias_low=bias - reach_bias,
        bias_high=bias + reach_bias,
        sd=sd,
        lower=lower,
        lower_low=lower - reach_limit,
        lower_high=lower + reach_limit,
        upper=upper,
        upper_low=upper - reach_limit,
        upper_high=upper + reach_limit,
        n=n,
        level=level,
    )
