"""Intervals by resampling patients, because the lesions and the visits of one patient are alike.

The same data give the same interval: the generator's seed is fixed. A statistic is recomputed from sums per patient, so
that thousands of resamples are one matrix product; `scipy.stats.bootstrap` knows no patients and draws one at a time.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from nnunet_ms.arrays import Floats
from nnunet_ms.errors import OptionError
from nnunet_ms.statistics.input_checks import as_numbers, equally_long, missing_values, refuse
from nnunet_ms.statistics.input_checks import level as checked_level

LEVEL = 0.95
REPLICATES = 2000
MINIMUM_PATIENTS = 5  # a bootstrap over fewer patients is far too narrow
UNKNOWN = (float("nan"), float("nan"))


def patient_interval(
    sums: Floats,
    statistic: Callable[[Floats], Floats],
    replicates: int = REPLICATES,
    seed: int = 0,
    level: float = LEVEL,
) -> tuple[float, float]:
    """Percentile interval of a statistic of sums over patients [1]_.

    Parameters
    ----------
    sums : (patients, k) floats
        What each patient adds to the k sums that the statistic needs, such as found and all lesions.
    statistic : callable
        (replicates, k) sums -> (replicates,) values; NaN where undefined.
    replicates, seed : int, optional
        Number of resamples, and the generator's seed.
    level : float, optional
        Of the two-sided interval.

    Returns
    -------
    low, high : float
        NaN with fewer than `MINIMUM_PATIENTS` patients or when the statistic is undefined in more than a tenth of the
        resamples.

    Raises
    ------
    OptionError, StatisticsError
        If there is no such level, there are no replicates, or a sum is missing.

    References
    ----------
    .. [1] Field CA, Welsh AH. J R Stat Soc B 69:369-390, 2007 (cluster bootstrap).
       doi:10.1111/j.1467-9868.2007.00593.x

    Examples
    --------
    >>> found_and_all = np.array([[9.0, 10.0], [4.0, 8.0], [7.0, 7.0], [1.0, 4.0], [6.0, 9.0]])
    >>> low, high = patient_interval(found_and_all, lambda sums: sums[:, 0] / sums[:, 1])
    >>> bool(low < 27 / 38 < high)
    True
    """
    checked_level(level, "level")
    checked_replicates(replicates)
    sums = as_numbers(sums, "sums", 2)
    refuse(missing_values(sums=sums))
    patients = sums.shape[0]
    if patients < MINIMUM_PATIENTS:
        return UNKNOWN
    values = statistic(_resamples(patients, replicates, seed) @ sums)
    defined = values[~np.isnan(values)]
    if defined.size < 0.9 * replicates:
        return UNKNOWN
    tail = 50 * (1 - level)
    low, high = np.percentile(defined, [tail, 100 - tail])
    return float(low), float(high)


@lru_cache(maxsize=2)  # a table has hundreds of intervals over the same patients; 13 MB for 800 of them
def _resamples(patients: int, replicates: int, seed: int) -> Floats:
    """How often each patient is drawn, (replicates, patients)."""
    counts = np.random.default_rng(seed).multinomial(patients, np.full(patients, 1 / patients), size=replicates)
    drawn = counts.astype(np.float64)
    drawn.flags.writeable = False
    return drawn


def mean_interval(values: Sequence[float] | Floats, patients: Sequence[str]) -> tuple[float, float]:
    """Interval of the mean over cases, every case weighing the same; NaN values are left out.

    Raises
    ------
    StatisticsError
        If lengths differ.

    Examples
    --------
    >>> low, high = mean_interval([0.8, 0.7, 0.9, 0.6, 0.75, 0.85], ["a", "a", "b", "c", "d", "e"])
    >>> bool(low < 0.767 < high)
    True
    """
    equally_long(values=values, patients=patients)
    array = np.asarray(values, dtype=np.float64)
    defined = ~np.isnan(array)
    columns = np.stack([array[defined], np.ones(np.count_nonzero(defined))], axis=1)
    return patient_interval(sums_by_patient(columns, np.asarray(patients, dtype=object)[defined]), _ratio_of_sums)


def pearson_interval(x: Floats, y: Floats, patients: Sequence[str]) -> tuple[float, float]:
    """Interval of Pearson's r over cases; StatisticsError where lengths differ or a value is missing.

    Examples
    --------
    >>> x, y = np.arange(8.0), np.array([0.5, 0.8, 2.2, 2.9, 4.4, 4.7, 6.3, 6.6])
    >>> low, high = pearson_interval(x, y, list("abcdefgh"))
    >>> bool(0.9 < low < high <= 1)
    True
    """
    _check_pair(x, y, patients)
    return patient_interval(sums_by_patient(_moments(x, y), np.asarray(patients, dtype=object)), _pearson)


def concordance_interval(x: Floats, y: Floats, patients: Sequence[str]) -> tuple[float, float]:
    """Interval of Lin's concordance correlation coefficient over cases; errors as `pearson_interval`.

    Examples
    --------
    >>> x, y = np.arange(8.0), np.array([0.5, 0.8, 2.2, 2.9, 4.4, 4.7, 6.3, 6.6])
    >>> low, high = concordance_interval(x, y, list("abcdefgh"))
    >>> bool(0.9 < low < high <= 1)
    True
    """
    _check_pair(x, y, patients)
    return patient_interval(sums_by_patient(_moments(x, y), np.asarray(patients, dtype=object)), _lin)


def pearson_change_interval(
    before: tuple[Floats, Floats], after: tuple[Floats, Floats], patients: Sequence[str]
) -> tuple[float, float]:
    """Interval of how much Pearson's r changes from one visit to another of the same patients; errors as above.

    Parameters
    ----------
    before, after : pair of (n,) arrays
        x and y at each of the two visits, in the order of `patients`.
    patients : (n,) sequence of str
        One name per row.

    Examples
    --------
    >>> x, noise = np.arange(12.0), np.array([0, 3, -2, 1, 2, -3, 0, 1, -1, 2, -2, 1])
    >>> low, high = pearson_change_interval((x, x + 0.1 * noise), (x, x + noise), list("abcdefghijkl"))
    >>> bool(low < high < 0)
    True
    """
    for x, y in (before, after):
        _check_pair(x, y, patients)
    equally_long(before=before[0], after=after[0])
    columns = np.concatenate([_moments(*before), _moments(*after)], axis=1)
    half = columns.shape[1] // 2
    sums = sums_by_patient(columns, np.asarray(patients, dtype=object))
    return patient_interval(sums, lambda drawn: _pearson(drawn[:, half:]) - _pearson(drawn[:, :half]))


def checked_replicates(replicates: int) -> None:
    """Raise OptionError unless there is at least one replicate."""
    if replicates < 1:
        raise OptionError(f"replicates: expected 1 or more, found {replicates}. 2000 are usual.")


def _check_pair(x: Floats, y: Floats, patients: Sequence[str]) -> None:
    equally_long(x=x, y=y, patients=patients)
    refuse(missing_values(x=x, y=y))


def sums_by_patient(columns: Floats, patients: npt.NDArray[np.object_]) -> Floats:
    """Sum rows (cases, k) that belong to one patient: (patients, k), patients in order of their names."""
    if not patients.size:
        return np.zeros((0, columns.shape[1]))
    _, which = np.unique(patients.astype(str), return_inverse=True)
    return np.stack([np.bincount(which, weights=column) for column in columns.T], axis=1)


def _moments(x: Floats, y: Floats) -> Floats:
    a, b = x - x.mean(), y - y.mean()  # centred, so that sums of squares lose no digits
    shift = np.full(x.size, x.mean() - y.mean())
    return np.stack([np.ones(x.size), a, b, a * a, b * b, a * b, shift], axis=1)


def _spread(sums: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Variances, covariance, and difference of means of each resample."""
    n, a, b, aa, bb, ab, shift = sums.T
    return aa / n - (a / n) ** 2, bb / n - (b / n) ** 2, ab / n - a * b / n**2, a / n - b / n + shift / n


def _pearson(sums: Floats) -> Floats:
    first, second, together, _ = _spread(sums)
    product = first * second
    return np.where(product > 1e-24, together / np.sqrt(np.maximum(product, 1e-24)), np.nan)


def _lin(sums: Floats) -> Floats:
    first, second, together, difference = _spread(sums)
    distance = first + second + difference**2
    return np.where(distance > 1e-12, 2 * together / np.maximum(distance, 1e-12), np.nan)


def _ratio_of_sums(sums: Floats) -> Floats:
    return np.where(sums[:, 1] > 0, sums[:, 0] / np.maximum(sums[:, 1], 1), np.nan)
