"""Intervals for one new value that need no model of the errors: split conformal prediction and the jackknife+.

Visits of one patient resemble each other, so patients, not visits, are what is exchangeable. Each patient weighs the
same, shared among the patient's cases, and one more patient, the new one, may lie anywhere [1]_. With one case each
this is the usual rule, the k-th smallest of n scores with k = ceil(level (n + 1)) [2]_.

A finite interval exists for levels up to K / (K + 1) with K patients: 90 % needs nine. Above, limits are infinite.

References
----------
.. [1] Lee Y, Barber RF, Willett R. Distribution-free inference with hierarchical data. 2023. arXiv:2306.06342
.. [2] Lei J et al. J Am Stat Assoc 113:1094-1111, 2018. doi:10.1080/01621459.2017.1307116
.. [3] Barber RF, Candes EJ, Ramdas A, Tibshirani RJ. Ann Stat 49:486-507, 2021. doi:10.1214/20-AOS1965
"""

from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt

from nnunet_ms.arrays import Floats
from nnunet_ms.errors import StatisticsError
from nnunet_ms.statistics.input_checks import as_numbers, equally_long, missing_values, refuse
from nnunet_ms.statistics.input_checks import level as checked_level

_ROUNDING = 1e-9  # of sums of weights, whose exact values are fractions


def largest_level(patients: int) -> float:
    """Largest level that finite limits can have with scores of so many patients: K / (K + 1).

    Parameters
    ----------
    patients : int
        K >= 0.

    Examples
    --------
    >>> largest_level(9), largest_level(4)
    (0.9, 0.8)
    """
    return patients / (patients + 1)


def conformal_quantile(
    scores: npt.ArrayLike, patients: Sequence[Hashable] | None = None, *, level: float = 0.9
) -> float:
    """Bound that the score of a new patient's case exceeds with probability 1 - `level` at most.

    Parameters
    ----------
    scores : (n,) float array
        Of held-out cases, such as absolute errors.
    patients : (n,) sequence, optional
        Whose case each is; without it each case is a patient.
    level : float, optional
        In (0, 1).

    Returns
    -------
    float
        Infinite when `level` is above `largest_level`; so it is without scores.

    Raises
    ------
    StatisticsError
        If lengths differ, or a score is missing or infinite.
    OptionError
        If there is no such level.

    Examples
    --------
    Of nine patients the largest score is the bound; eight are too few for 90 %.

    >>> conformal_quantile(range(9)), conformal_quantile(range(8))
    (8.0, inf)

    Two visits of one patient are not two patients.

    >>> conformal_quantile([1, 2, 3, 4], ["a", "a", "b", "c"], level=0.75)
    4.0
    """
    values = _finite(scores=scores)["scores"]
    return _quantile(values, _weights(len(values), patients), checked_level(level, "level"))


def jackknife_plus(
    predictions: npt.ArrayLike,
    residuals: npt.ArrayLike,
    patients: Sequence[Hashable] | None = None,
    *,
    level: float = 0.9,
) -> tuple[float, float]:
    """Interval for a new case's value by the jackknife+, with patients left out one at a time.

    Parameters
    ----------
    predictions : (n,) float array
        For each held-out case i: what the model that was fitted without its patient predicts for the *new* case.
    residuals : (n,) float array
        For each held-out case: the absolute error of that same model on the case itself.
    patients : (n,) sequence, optional
        Whose case each is; without it each case is a patient.
    level : float, optional
        In (0, 1). Coverage is near the level, and never below 2 level - 1 (Theorem 1 of [3]_; for patients, [1]_).

    Returns
    -------
    low, high : float
        Infinite when `level` is above `largest_level`.

    Raises
    ------
    StatisticsError
        If lengths differ, or a number is missing or infinite, or a residual is negative.
    OptionError
        If there is no such level.

    Examples
    --------
    >>> jackknife_plus([10.0, 11.0, 12.0], [1.0, 2.0, 0.5], level=0.75)
    (9.0, 13.0)
    """
    numbers = _finite(predictions=predictions, residuals=residuals)
    centre, error = numbers["predictions"], numbers["residuals"]
    if (error < 0).any():
        raise StatisticsError(f"residuals: expected absolute errors, found {error.min():g}. Take their absolute value.")
    weights, share = _weights(len(centre), patients), checked_level(level, "level")
    return -_quantile(error - centre, weights, share), _quantile(centre + error, weights, share)


def _finite(**arrays: npt.ArrayLike) -> dict[str, Floats]:
    numbers = {name: as_numbers(values, name) for name, values in arrays.items()}
    equally_long(**numbers)
    problem = missing_values(**numbers)
    if problem:
        refuse(problem)
    return numbers


def _weights(cases: int, patients: Sequence[Hashable] | None) -> Floats:
    """Weight (n,) of each case: 1 / ((K + 1) cases of its patient)."""
    if patients is None:
        return np.full(cases, 1 / (cases + 1))
    if len(patients) != cases:
        raise StatisticsError(f"expected equal lengths, found {cases} in scores, {len(patients)} in patients")
    number = {patient: n for n, patient in enumerate(dict.fromkeys(patients))}
    of_case = np.array([number[patient] for patient in patients], dtype=np.int64)
    return np.asarray(1 / ((len(number) + 1) * np.bincount(of_case, minlength=1)[of_case]), dtype=np.float64)


def _quantile(values: Floats, weights: Floats, level: float) -> float:
    """Smallest value at which the weights up to it reach the level; the rest of the weight lies at infinity."""
    order = np.argsort(values, kind="stable")
    reached = np.flatnonzero(np.cumsum(weights[order]) >= level - _ROUNDING)
    return float(values[order[reached[0]]]) if reached.size else float("inf")
