"""Percent reduction of a lesion rate against a reference arm, with its interval."""

from dataclasses import dataclass

import numpy as np
import scipy.stats

from nnunet_ms.arrays import Floats

NAN = float("nan")


@dataclass(frozen=True)
class Reduction:
    """100 * (1 - ratio of rates), in percent; `problem` says why the limits (and perhaps the estimate) are NaN."""

    estimate: float = NAN
    low: float = NAN
    high: float = NAN
    problem: str = ""


def of_ratio(ratio: float, low: float, high: float, problem: str = "") -> Reduction:
    """Turn a rate ratio with its limits into a percent reduction: the upper limit of the ratio is the lower one."""
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
        No lesion in the reference arm: nothing. No lesion in the other arm: 100 % without limits.

    References
    ----------
    .. [1] Cochran WG. Sampling Techniques, 3rd ed., 1977, section 6.4.
    """
    if not len(lesions) or not len(reference_lesions):
        return Reduction(problem="no visit in an arm")
    rates = [y.sum() / x.sum() for y, x in ((lesions, scans), (reference_lesions, reference_scans))]
    if rates[1] == 0:
        return Reduction(problem="no lesion in the reference arm")
    estimate = 100 * (1 - rates[0] / rates[1])
    if rates[0] == 0:
        return Reduction(estimate, problem="no lesion in an arm: no variance")
    if min(len(lesions), len(reference_lesions)) < 2:
        return Reduction(estimate, problem="one patient in an arm")
    variance = _log_variance(lesions, scans) + _log_variance(reference_lesions, reference_scans)
    reach = float(scipy.stats.norm.ppf(0.5 + confidence / 2)) * float(np.sqrt(variance))
    ratio = rates[0] / rates[1]
    return of_ratio(ratio, ratio * np.exp(-reach), ratio * np.exp(reach))


def _log_variance(y: Floats, x: Floats) -> float:
    """Variance of log(sum y / sum x) over patients."""
    n, rate = len(y), y.sum() / x.sum()
    residual = float(((y - rate * x) ** 2).sum()) * n / (n - 1)
    return residual / float(x.sum()) ** 2 / float(rate) ** 2
