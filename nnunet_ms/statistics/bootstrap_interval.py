"""Intervals by resampling patients, because the lesions and the visits of one patient are alike.

The same data give the same interval: the generator's seed is fixed. A statistic is recomputed from sums per patient, so
that thousands of resamples are one matrix product.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

LEVEL = 0.95
REPLICATES = 2000
MINIMUM_PATIENTS = 5  # a bootstrap over fewer patients is far too narrow
UNKNOWN = (float("nan"), float("nan"))


def patient_interval(
    sums: FloatArray,
    statistic: Callable[[FloatArray], FloatArray],
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

    References
    ----------
    .. [1] Field CA, Welsh AH. J R Stat Soc B 69:369-390, 2007 (cluster bootstrap).
       doi:10.1111/j.1467-9868.2007.00593.x
    """
    patients = sums.shape[0]
    if patients < MINIMUM_PATIENTS:
        return UNKNOWN
    weights = np.random.default_rng(seed).multinomial(patients, np.full(patients, 1 / patients), size=replicates)
    values = statistic(weights @ sums)
    defined = values[~np.isnan(values)]
    if defined.size < 0.9 * replicates:
        return UNKNOWN
    tail = 50 * (1 - level)
    low, high = np.percentile(defined, [tail, 100 - tail])
    return float(low), float(high)


def mean_interval(values: Sequence[float] | FloatArray, patients: Sequence[str]) -> tuple[float, float]:
    """Interval of the mean over cases, every case weighing the same; NaN values are left out."""
    array = np.asarray(values, dtype=np.float64)
    defined = ~np.isnan(array)
    columns = np.stack([array[defined], np.ones(np.count_nonzero(defined))], axis=1)
    return patient_interval(sums_by_patient(columns, np.asarray(patients, dtype=object)[defined]), _ratio_of_sums)


def pearson_interval(x: FloatArray, y: FloatArray, patients: Sequence[str]) -> tuple[float, float]:
    """Interval of Pearson's r over cases."""
    return patient_interval(sums_by_patient(_moments(x, y), np.asarray(patients, dtype=object)), _pearson)


def concordance_interval(x: FloatArray, y: FloatArray, patients: Sequence[str]) -> tuple[float, float]:
    """Interval of Lin's concordance correlation coefficient over cases."""
    return patient_interval(sums_by_patient(_moments(x, y), np.asarray(patients, dtype=object)), _lin)


def sums_by_patient(columns: FloatArray, patients: npt.NDArray[np.object_]) -> FloatArray:
    """Sum rows (cases, k) that belong to one patient: (patients, k), patients in order of their names."""
    if not patients.size:
        return np.zeros((0, columns.shape[1]))
    _, which = np.unique(patients.astype(str), return_inverse=True)
    return np.stack([np.bincount(which, weights=column) for column in columns.T], axis=1)


def _moments(x: FloatArray, y: FloatArray) -> FloatArray:
    a, b = x - x.mean(), y - y.mean()  # centred, so that sums of squares lose no digits
    shift = np.full(x.size, x.mean() - y.mean())
    return np.stack([np.ones(x.size), a, b, a * a, b * b, a * b, shift], axis=1)


def _spread(sums: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Variances, covariance, and difference of means of each resample."""
    n, a, b, aa, bb, ab, shift = sums.T
    return aa / n - (a / n) ** 2, bb / n - (b / n) ** 2, ab / n - a * b / n**2, a / n - b / n + shift / n


def _pearson(sums: FloatArray) -> FloatArray:
    first, second, together, _ = _spread(sums)
    product = first * second
    return np.where(product > 1e-24, together / np.sqrt(np.maximum(product, 1e-24)), np.nan)


def _lin(sums: FloatArray) -> FloatArray:
    first, second, together, difference = _spread(sums)
    distance = first + second + difference**2
    return np.where(distance > 1e-12, 2 * together / np.maximum(distance, 1e-12), np.nan)


def _ratio_of_sums(sums: FloatArray) -> FloatArray:
    return np.where(sums[:, 1] > 0, sums[:, 0] / np.maximum(sums[:, 1], 1), np.nan)
