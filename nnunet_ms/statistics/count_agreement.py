"""Agreement of counts per patient or visit: mean squared error, Pearson's r, Lin's coefficient."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.stats

from nnunet_ms.arrays import Floats
from nnunet_ms.errors import OptionError
from nnunet_ms.statistics.bootstrap_interval import LEVEL, REPLICATES, patient_interval, sums_by_patient
from nnunet_ms.statistics.concordance import Coefficient, concordance_correlation, pearson_correlation
from nnunet_ms.statistics.input_checks import as_numbers, equally_long, missing_values, refuse
from nnunet_ms.statistics.input_checks import level as checked_level


@dataclass(frozen=True)
class CountAgreement:
    """Counted against predicted numbers; NaN where undefined.

    Attributes
    ----------
    mse, mse_low, mse_high : float
        Mean squared difference, with an interval over resampled patients.
    r, ccc : concordance.Coefficient
        Pearson's r with Fisher's interval and Lin's coefficient with that of its z; both take rows as independent.
    mean_difference : float
        Predicted less counted.
    n, patients : int
        Rows, and patients; where they differ, the intervals of `r` and `ccc` are too narrow.
    problem : str
        Blank, or why something is missing.
    """

    mse: float
    mse_low: float
    mse_high: float
    r: Coefficient
    ccc: Coefficient
    mean_difference: float
    n: int
    patients: int
    problem: str = ""


def fisher_interval(r: float, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Fisher's interval of a correlation that is known by its value and number of pairs, as papers print it.

    Parameters
    ----------
    r : float
        From -1 to 1.
    n : int
        Pairs.
    level : float, optional
        Of the two-sided interval.

    Returns
    -------
    low, high : float
        NaN with fewer than four pairs, or where r is -1 or 1.

    Raises
    ------
    OptionError
        If there is no such level or correlation.

    Examples
    --------
    A paper prints r = 0.89 of 172 patients with (0.86, 0.92), which is that of 0.894:

    >>> [round(limit, 3) for limit in fisher_interval(0.89, 172)]
    [0.854, 0.917]
    """
    checked_level(level, "level")
    if not -1 <= r <= 1:
        raise OptionError(f"r: expected a correlation from -1 to 1, found {r!r}.")
    if n < 4 or abs(r) == 1:
        return float("nan"), float("nan")
    reach = float(scipy.stats.norm.ppf((1 + level) / 2)) / np.sqrt(n - 3)
    return float(np.tanh(np.arctanh(r) - reach)), float(np.tanh(np.arctanh(r) + reach))


def count_agreement(
    counted: npt.ArrayLike,
    predicted: npt.ArrayLike,
    patients: Sequence[str] | npt.NDArray[np.str_],
    replicates: int = REPLICATES,
    seed: int = 0,
    level: float = LEVEL,
) -> CountAgreement:
    """Compare predicted with counted numbers.

    Parameters
    ----------
    counted, predicted : (n,) floats
        One number per patient, or per visit.
    patients : (n,) sequence of str
        Whose it is.
    replicates, seed : int, optional
        Of the interval of the mean squared error.
    level : float, optional
        Of all intervals.

    Raises
    ------
    OptionError, StatisticsError
        If there is no such level, lengths differ, or a value is missing or no number.

    Examples
    --------
    >>> found = count_agreement([0, 1, 3, 0, 5], [0, 2, 2, 1, 5], list("abcde"))
    >>> found.mse, round(found.r.estimate, 3), round(found.ccc.estimate, 3)
    (0.6, 0.925, 0.909)
    """
    x, y = as_numbers(counted, "counted"), as_numbers(predicted, "predicted")
    names = np.asarray(patients, dtype=object)
    equally_long(counted=x, predicted=y, patients=names)
    refuse(missing_values(counted=x, predicted=y, patients=names))
    r, ccc = pearson_correlation(x, y, level), concordance_correlation(x, y, level)
    squares = np.column_stack([(y - x) ** 2, np.ones(x.size)])
    low, high = patient_interval(sums_by_patient(squares, names), _mean, replicates, seed, level)
    problem = "" if np.isfinite(r.estimate) else _why_no_r(x)
    mse, difference = (float(np.mean(v)) if x.size else float("nan") for v in (squares[:, 0], y - x))
    return CountAgreement(mse, low, high, r, ccc, difference, x.size, np.unique(names.astype(str)).size, problem)


def _mean(sums: Floats) -> Floats:
    return np.asarray(sums[:, 0] / np.maximum(sums[:, 1], 1))


def _why_no_r(x: Floats) -> str:
    if x.size < 3:
        return f"{x.size} rows, needs 3 for a correlation"
    return f"all {'counted' if np.ptp(x) == 0 else 'predicted'} numbers are equal: no correlation"
