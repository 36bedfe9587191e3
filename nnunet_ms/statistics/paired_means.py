"""Two measurements of the same patients: the mean change with its paired interval, also in percent of the first."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy.stats

from nnunet_ms.arrays import Floats
from nnunet_ms.statistics.input_checks import as_numbers, equally_long, level

NAN = float("nan")


@dataclass(frozen=True)
class PairedMeans:
    """Mean change of `n` patients from one measurement to another.

    `difference` = `after` - `before`, with Student's paired interval and test; `percent` of `before`, with Fieller's
    interval [1]_. What cannot be computed is NaN, and `problem` says why.

    References
    ----------
    .. [1] Fieller EC. J R Stat Soc B 16:175-185, 1954. doi:10.1111/j.2517-6161.1954.tb00159.x
    """

    n: int
    before: float = NAN
    after: float = NAN
    difference: float = NAN
    low: float = NAN
    high: float = NAN
    p: float = NAN
    percent: float = NAN
    percent_low: float = NAN
    percent_high: float = NAN
    problem: str = ""


def paired_means(before: npt.ArrayLike, after: npt.ArrayLike, confidence: float = 0.95) -> PairedMeans:
    """Compare two measurements of the same patients (R: `t.test(after, before, paired = TRUE)`).

    Parameters
    ----------
    before, after : (n,) arrays
        One pair per patient; a pair of which one is NaN is left out.
    confidence : float, optional
        Level of both two-sided intervals.

    Returns
    -------
    PairedMeans
        Without pairs, with one, or with the same difference in all of them, there is no interval; with a first mean
        that is not clear of 0 there is none of the percentage.

    Raises
    ------
    OptionError, StatisticsError
        If there is no such level, or lengths differ.

    Examples
    --------
    >>> change = paired_means([0.70, 0.80, 0.60, 0.75], [0.68, 0.77, 0.60, 0.71])
    >>> round(change.difference, 4), round(change.low, 4), round(change.high, 4)
    (-0.0225, -0.0497, 0.0047)
    >>> round(change.percent, 2)
    -3.16
    """
    checked = level(confidence)
    equally_long(before=before, after=after)
    first, second = as_numbers(before, "before"), as_numbers(after, "after")
    both = np.isfinite(first) & np.isfinite(second)
    first, second = first[both], second[both]
    n = int(first.size)
    if not n:
        return PairedMeans(0, problem="no patient has both values")
    mean, later = float(first.mean()), float(second.mean())
    gap = later - mean
    found = PairedMeans(n, mean, later, gap, percent=100 * gap / mean if mean else NAN)
    if n < 2:
        return replace(found, problem="one patient: no interval")
    changes = second - first
    if np.ptp(changes) < 1e-12 * max(float(np.abs(second).max()), 1.0):
        return replace(found, problem="every patient changes by the same: no interval")
    test = scipy.stats.ttest_1samp(changes, 0.0)
    limits = test.confidence_interval(checked)
    low, high = _percent_limits(first, second, float(scipy.stats.t.ppf(0.5 + checked / 2, n - 1)))
    problem = "" if np.isfinite(low) else "the first mean is not clear of 0: no interval in percent"
    return replace(
        found, low=float(limits.low), high=float(limits.high), p=float(test.pvalue),
        percent_low=low, percent_high=high, problem=problem,
    )  # fmt: skip


def _percent_limits(first: Floats, second: Floats, t: float) -> tuple[float, float]:
    """Limits of 100 (mean of second / mean of first - 1): ratios that the paired t test does not reject (Fieller)."""
    covariance = np.cov(np.stack([first, second])) * t**2 / first.size
    b, a = float(first.mean()), float(second.mean())
    square, linear, rest = b**2 - covariance[0, 0], a * b - covariance[0, 1], a**2 - covariance[1, 1]
    root = linear**2 - square * rest
    if square <= 0 or root < 0:  # then the ratios not rejected have no end
        return NAN, NAN
    ends = np.sort((linear + np.array([-1, 1]) * np.sqrt(root)) / square)
    return float(100 * (ends[0] - 1)), float(100 * (ends[1] - 1))
