"""Percent reduction of a lesion rate against a reference arm, with its interval."""

from dataclasses import dataclass

import numpy as np
import scipy.stats

from nnunet_ms.arrays import Floats
from nnunet_ms.statistics.input_checks import equally_long, level, missing_values

NAN = float("nan")


@dataclass(frozen=True)
class Reduction:
    """100 * (1 - ratio of rates), in percent; `problem` says why the limits (and perhaps the estimate) are NaN."""

    estimate: float = NAN
    low: float = NAN
    high: float = NAN
    problem: str = ""


def of_ratio(ratio: float, low: float, high: float, problem: str = "") -> Reduction:
    """Turn a rate ratio with its limits into a percent reduction: the upper limit of the ratio is the lower one.

    Examples
    --------
    >>> of_ratio(0.25, 0.125, 0.5)
    Reduction(estimate=75.0, low=50.0, high=87.5, problem='')
    """
    return Reduction(100 * (1 - ratio), 100 * (1 - high), 100 * (1 - low), problem)


def crude_reduction(
    lesions: Floats, scans: Floats, reference_lesions: Floats, reference_scans: Floats, confidence: float = 0.95
) -> Reduction:
    """Compare lesions per scan of two arms without a model.

    The variance of each rate is that of a ratio of sums over patients [1]_, so that a patient's scans may be alike;
    the interval is that of the log ratio, by the delta method.

    Parameters
    ----------
    lesions, scans : (n,) float arrays
        Sums per patient; scans >= 1.
    reference_lesions, reference_scans : (m,) float arrays
        Of the reference arm.
    confidence : float, optional
        Level of the two-sided interval.

    Returns
    -------
    Reduction
        No lesion in the reference arm, or missing values: nothing. No lesion in the other arm: 100 % without limits.

    Raises
    ------
    OptionError, StatisticsError
        If there is no such level, or lengths differ.

    References
    ----------
    .. [1] Cochran WG. Sampling Techniques, 3rd ed., 1977, section 6.4.

    Examples
    --------
    2 lesions in 4 scans against 6 in 3: a quarter of the rate.

    >>> crude_reduction(np.array([2.0, 0.0]), np.array([2.0, 2.0]), np.array([4.0, 2.0]), np.array([2.0, 1.0])).estimate
    75.0
    """
    level(confidence)
    equally_long(lesions=lesions, scans=scans)
    equally_long(reference_lesions=reference_lesions, reference_scans=reference_scans)
    problem = missing_values(lesions=[*lesions, *reference_lesions], scans=[*scans, *reference_scans])
    if problem:
        return Reduction(problem=problem)
    if not len(lesions) or not len(reference_lesions):
        return Reduction(problem="no visit in an arm")
    rates = [y.sum() / x.sum() for y, x in ((lesions, scans), (reference_lesions, reference_scans))]
    if rates[1] == 0:
        return Reduction(problem="no lesion in the reference arm")
    estimate = 100 * (1 - float(rates[0] / rates[1]))
    if rates[0] == 0:
        return Reduction(estimate, problem="no lesion in an arm: no variance")
    if min(len(lesions), len(reference_lesions)) < 2:
        return Reduction(estimate, problem="one patient in an arm")
    variance = _log_variance(lesions, scans) + _log_variance(reference_lesions, reference_scans)
    reach = float(scipy.stats.norm.ppf(0.5 + confidence / 2)) * float(np.sqrt(variance))
    ratio = float(rates[0] / rates[1])
    return of_ratio(ratio, ratio * float(np.exp(-reach)), ratio * float(np.exp(reach)))


def _log_variance(y: Floats, x: Floats) -> float:
    """Variance of log(sum y / sum x) over patients."""
    n, rate = len(y), y.sum() / x.sum()
    residual = float(((y - rate * x) ** 2).sum()) * n / (n - 1)
    return residual / float(x.sum()) ** 2 / float(rate) ** 2
