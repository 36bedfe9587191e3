"""Williams' index: whether one rater agrees with a group as well as its members agree with each other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from nnunet_ms.arrays import Floats
from nnunet_ms.errors import StatisticsError
from nnunet_ms.statistics.bootstrap_interval import LEVEL, MINIMUM_PATIENTS, UNKNOWN, sums_by_patient
from nnunet_ms.statistics.input_checks import as_numbers, equally_long
from nnunet_ms.statistics.input_checks import level as checked_level


@dataclass(frozen=True)
class WilliamsIndex:
    """The index with its jackknife standard error and interval; NaN where they are not defined.

    An upper limit above 1 is read as: the rater may be taken for one of the group [1]_.

    References
    ----------
    .. [1] Chalana V, Kim Y. IEEE Trans Med Imaging 16:642-652, 1997. doi:10.1109/42.640755
    """

    estimate: float
    se: float
    low: float
    high: float
    level: float
    n_raters: int
    n_patients: int


def williams_index(
    with_group: Floats, within_group: Floats, patients: Sequence[str], confidence: float = LEVEL
) -> WilliamsIndex:
    """Mean agreement of a rater with a group's n members, over their mean agreement with each other [1]_ [2]_.

    Agreement of a pair is its mean over the cases that both have read, and every pair weighs the same. The standard
    error is the jackknife's, leaving out one patient at a time with all visits; the interval is normal [2]_.

    Parameters
    ----------
    with_group : (cases, n) floats
        Agreement of the rater with each member, such as Dice; NaN where one of the two has no reading.
    within_group : (cases, n * (n - 1) / 2) floats
        Agreement of each pair of members.
    patients : (cases,) sequence of str
        Whose case it is.
    confidence : float, optional
        Level of the two-sided interval, in (0, 1).

    Returns
    -------
    WilliamsIndex
        `estimate` is NaN where a pair has no case, with fewer than two members, or where the members do not agree at
        all (0 / 0); the interval with fewer than `MINIMUM_PATIENTS` patients.

    Raises
    ------
    StatisticsError
        If lengths differ, or the numbers of columns do not belong to one group.

    References
    ----------
    .. [1] Williams GW. Biometrics 32:619-627, 1976. doi:10.2307/2529750
    .. [2] Chalana V, Kim Y. IEEE Trans Med Imaging 16:642-652, 1997. doi:10.1109/42.640755

    Examples
    --------
    Two members who agree by 0.8, and a rater who agrees with them by 0.7 and 0.9:

    >>> williams_index(np.array([[0.7, 0.9]]), np.array([[0.8]]), ["P1"]).estimate
    1.0
    """
    confidence = checked_level(confidence)
    one, group = as_numbers(with_group, "with_group", 2), as_numbers(within_group, "within_group", 2)
    equally_long(with_group=one, within_group=group, patients=patients)
    members = one.shape[1]
    if group.shape[1] != members * (members - 1) // 2:
        raise StatisticsError(
            f"within_group: expected {members * (members - 1) // 2} pairs of {members} raters, found {group.shape[1]}. "
            "Give one column per pair."
        )
    pairs = np.concatenate([one, group], axis=1)
    present = ~np.isnan(pairs)
    counted = np.flatnonzero(present.any(axis=1))  # a case that no two have read says nothing
    names = np.asarray(patients, dtype=object)[counted]
    sums = sums_by_patient(np.concatenate([np.where(present, pairs, 0.0), present], axis=1)[counted], names)
    estimate = _index(sums.sum(axis=0), members)
    se = _jackknife(sums, lambda kept: _index(kept, members))
    reach = float(norm.ppf((1 + confidence) / 2)) * se
    low, high = (estimate - reach, estimate + reach) if np.isfinite(reach) else UNKNOWN
    return WilliamsIndex(estimate, se, low, high, confidence, members, sums.shape[0])


def _index(sums: Floats, members: int) -> float:
    """Index from sums and counts of every pair, (2 * pairs,), the rater's own pairs first."""
    values, counts = np.split(sums, 2)
    if members < 2 or not (counts > 0.5).all():
        return float("nan")
    means = values / counts
    within = float(means[members:].mean())
    return float(means[:members].mean()) / within if within > 0 else float("nan")


def _jackknife(sums: Floats, statistic: Callable[[Floats], float]) -> float:
    """Standard error: sqrt((m - 1) / m * sum of squares) over the values with each of m patients left out."""
    patients = sums.shape[0]
    if patients < MINIMUM_PATIENTS:
        return float("nan")
    total = sums.sum(axis=0)
    without = np.array([statistic(total - own) for own in sums])
    return float(np.sqrt((patients - 1) / patients * np.square(without - without.mean()).sum()))
