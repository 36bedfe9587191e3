"""Decisions against the truth: sensitivity, specificity, predictive values, accuracy, F1, each with an interval.

Intervals resample whole patients, because the lesions, or the scans, of one patient are alike; with one row per patient
that is the usual bootstrap. Numbers that need an absent class are NaN, and `problem` says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nnunet_ms.arrays import Bools, Floats
from nnunet_ms.statistics.bootstrap_interval import (
    LEVEL,
    MINIMUM_PATIENTS,
    REPLICATES,
    checked_replicates,
    patient_interval,
    sums_by_patient,
)
from nnunet_ms.statistics.input_checks import equally_long, missing_values, refuse, two_classes
from nnunet_ms.statistics.input_checks import level as checked_level

NAN = float("nan")


@dataclass(frozen=True)
class Rate:
    """A rate of decisions with its interval over resampled patients; NaN where undefined, and `problem` says why.

    Attributes
    ----------
    measure : str
        One of `MEASURES`.
    estimate, low, high, level : float
        From 0 to 1 (a difference: from -1 to 1); interval at `level`.
    n, positive, patients : int
        Cases, cases with the condition, and patients.
    problem : str
        Blank, or why there is no estimate or no interval.
    """

    measure: str
    estimate: float
    low: float
    high: float
    level: float
    n: int
    positive: int
    patients: int
    problem: str = ""


# Each measure is the mean of shares; a share is part / whole, both sums of true positives, false negatives, false
# positives and true negatives with these weights.
_SHARES: dict[str, list[tuple[tuple[int, ...], tuple[int, ...]]]] = {
    "sensitivity": [((1, 0, 0, 0), (1, 1, 0, 0))],
    "specificity": [((0, 0, 0, 1), (0, 0, 1, 1))],
    "ppv": [((1, 0, 0, 0), (1, 0, 1, 0))],
    "npv": [((0, 0, 0, 1), (0, 1, 0, 1))],
    "accuracy": [((1, 0, 0, 1), (1, 1, 1, 1))],
    "balanced_accuracy": [((1, 0, 0, 0), (1, 1, 0, 0)), ((0, 0, 0, 1), (0, 0, 1, 1))],
    "f1": [((2, 0, 0, 0), (2, 1, 1, 0))],
}
MEASURES = tuple(_SHARES)
_WHY = {
    "sensitivity": "no case with the condition",
    "specificity": "no case without the condition",
    "ppv": "no case was called positive",
    "npv": "no case was called negative",
    "accuracy": "no case",
    "balanced_accuracy": "cases of one class only",
    "f1": "no case with the condition, and none called so",
}


def decision_rates(
    truth: npt.ArrayLike,
    decision: npt.ArrayLike,
    patients: Sequence[str] | npt.NDArray[np.str_],
    replicates: int = REPLICATES,
    seed: int = 0,
    level: float = LEVEL,
) -> tuple[Rate, ...]:
    """All `MEASURES` of decisions, with percentile intervals over resampled patients.

    Parameters
    ----------
    truth, decision : (n,) array
        1 or True: with the condition, called so; 0 or False otherwise.
    patients : (n,) sequence of str
        Whose case it is.
    replicates, seed : int, optional
        Number of resamples, and the generator's seed.
    level : float, optional
        Of the two-sided intervals.

    Returns
    -------
    tuple of Rate
        In the order of `MEASURES`. A constant decision has a balanced accuracy of one half.

    Raises
    ------
    OptionError, StatisticsError
        If there is no such level, there are no replicates, or lengths differ.

    Examples
    --------
    >>> rates = decision_rates([1, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 1], list("abcdef"))
    >>> [(rate.measure, round(rate.estimate, 3)) for rate in rates[4:]]
    [('accuracy', 0.667), ('balanced_accuracy', 0.625), ('f1', 0.5)]
    """
    return _rates(truth, [decision], patients, replicates, seed, level)


def decision_differences(
    truth: npt.ArrayLike,
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    patients: Sequence[str] | npt.NDArray[np.str_],
    replicates: int = REPLICATES,
    seed: int = 0,
    level: float = LEVEL,
) -> tuple[Rate, ...]:
    """All `MEASURES` of the first model less those of the second on the same cases; otherwise as `decision_rates`.

    Examples
    --------
    >>> rates = decision_differences([1, 1, 0, 0, 0], [1, 1, 0, 0, 1], [1, 0, 0, 0, 1], list("abcde"))
    >>> rates[0].measure, rates[0].estimate
    ('sensitivity', 0.5)
    """
    return _rates(truth, [first, second], patients, replicates, seed, level)


def _rates(
    truth: npt.ArrayLike,
    decisions: list[npt.ArrayLike],
    patients: Sequence[str] | npt.NDArray[np.str_],
    replicates: int,
    seed: int,
    level: float,
) -> tuple[Rate, ...]:
    checked_level(level, "level")
    checked_replicates(replicates)
    names = np.asarray(patients, dtype=object)
    refuse(missing_values(patients=names))
    named = {"truth": truth, **{f"decision {k + 1}": values for k, values in enumerate(decisions)}}
    flags, problem = two_classes(**named)
    equally_long(truth=flags[0], patients=names)
    sizes = flags[0].size, int(flags[0].sum()), np.unique(names.astype(str)).size
    if problem:
        return tuple(Rate(name, NAN, NAN, NAN, level, *sizes, problem) for name in MEASURES)
    columns = np.concatenate([_counts(flags[0], decision) for decision in flags[1:]], axis=1)
    sums = sums_by_patient(columns, names)
    return tuple(_rate(name, sums, sizes, replicates, seed, level) for name in MEASURES)


def _counts(truth: Bools, decision: Bools) -> Floats:
    kinds = [truth & decision, truth & ~decision, ~truth & decision, ~truth & ~decision]
    return np.stack(kinds, axis=1).astype(float)


def _rate(measure: str, sums: Floats, sizes: tuple[int, int, int], replicates: int, seed: int, level: float) -> Rate:
    def statistic(totals: Floats) -> Floats:
        models = [_measured(measure, totals[:, k : k + 4]) for k in range(0, totals.shape[1], 4)]
        return models[0] if len(models) == 1 else models[0] - models[1]

    estimate = float(statistic(sums.sum(axis=0, keepdims=True))[0])
    if np.isnan(estimate):
        return Rate(measure, NAN, NAN, NAN, level, *sizes, _WHY[measure])
    low, high = patient_interval(sums, statistic, replicates, seed, level)
    return Rate(measure, estimate, low, high, level, *sizes, _no_interval(low, sizes[2]))


def _measured(measure: str, counts: Floats) -> Floats:
    """Measure of each row of `counts`; NaN where a share is of nothing."""
    shares = []
    for part, whole in _SHARES[measure]:
        of = counts @ np.array(whole, dtype=float)
        shares.append(np.where(of > 0, counts @ np.array(part, dtype=float) / np.maximum(of, 1), np.nan))
    return np.asarray(sum(shares) / len(shares))


def _no_interval(low: float, patients: int) -> str:
    if not np.isnan(low):
        return ""
    if patients < MINIMUM_PATIENTS:
        return f"{patients} patients, needs {MINIMUM_PATIENTS} for an interval over patients"
    return "undefined in more than a tenth of the resamples"
