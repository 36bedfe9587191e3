"""Area under the ROC curve from pairs of scans that share something: a field strength, or a fold's model.

A scanner of 3 T may have more disabled patients than one of 1.5 T; a model that knows the scanner then ranks well.
Within field strengths it does not. Within folds the area is free of what differs between the models of the folds.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nnunet_ms.arrays import Bools, Floats
from nnunet_ms.statistics.bootstrap_interval import LEVEL, MINIMUM_PATIENTS, REPLICATES, checked_replicates
from nnunet_ms.statistics.input_checks import as_numbers, equally_long, missing_values, refuse, two_classes
from nnunet_ms.statistics.input_checks import level as checked_level

NAN = float("nan")
_AT_ONCE = 500  # resamples


@dataclass(frozen=True)
class WithinArea:
    """An area with its percentile interval over resampled patients, and the number of pairs that it comes from."""

    estimate: float
    low: float
    high: float
    pairs: int
    problem: str = ""


def auc_within(
    truth: npt.ArrayLike,
    score: npt.ArrayLike,
    patients: npt.ArrayLike,
    strata: npt.ArrayLike,
    replicates: int = REPLICATES,
    seed: int = 0,
    level: float = LEVEL,
) -> WithinArea:
    """Share of pairs of a disabled and another scan of one stratum in which the disabled one scores higher.

    Ties count one half. With one stratum it is the usual area.

    Parameters
    ----------
    truth : (n,) array
        1 disabled, 0 not.
    score : (n,) floats
        Higher means more like disabled.
    patients, strata : (n,) arrays
        Whose scan it is, and what it must share.
    replicates, seed : int, optional
        Of the resamples of patients.
    level : float, optional
        Of the two-sided interval.

    Raises
    ------
    OptionError, StatisticsError
        If there is no such level, there are no replicates, lengths differ or a value is missing.

    Examples
    --------
    The field strength ranks all four scans; within it nothing is ranked.

    >>> auc_within([1, 0, 1, 0], [3, 3, 1, 1], list("abcd"), [3.0, 3.0, 1.5, 1.5]).estimate
    0.5
    """
    checked_level(level, "level")
    checked_replicates(replicates)
    (positive,), problem = two_classes(truth=truth)
    values, of, group = as_numbers(score, "score"), np.asarray(patients).astype(str), np.asarray(strata).astype(str)
    equally_long(truth=positive, score=values, patients=of, strata=group)
    refuse(problem or missing_values(score=values))
    won, pairs = _pairs(positive, values, group)
    count = int(pairs.sum())
    if not count:
        return WithinArea(NAN, NAN, NAN, 0, "no pair of a disabled scan and another of one stratum")
    estimate = float(won.sum() / count)
    names, which = np.unique(of, return_inverse=True)
    if names.size < MINIMUM_PATIENTS:
        return WithinArea(estimate, NAN, NAN, count, f"{names.size} patients, needs {MINIMUM_PATIENTS} for an interval")
    draws = _drawn(won, pairs, which[positive], which[~positive], names.size, replicates, seed)
    defined = draws[~np.isnan(draws)]
    if defined.size < 0.9 * replicates:
        return WithinArea(estimate, NAN, NAN, count, "undefined in more than a tenth of the resamples")
    tail = 50 * (1 - level)
    low, high = (float(limit) for limit in np.percentile(defined, [tail, 100 - tail]))
    return WithinArea(estimate, low, high, count)


def _pairs(positive: Bools, values: Floats, group: npt.NDArray[np.str_]) -> tuple[Floats, Floats]:
    """Pairs won, and whether a pair counts; (positives, negatives)."""
    one, other = values[positive][:, None], values[~positive][None]
    shared = (group[positive][:, None] == group[~positive][None]).astype(np.float64)
    return shared * ((one > other) + 0.5 * (one == other)), shared


def _drawn(
    won: Floats,
    pairs: Floats,
    of_positive: npt.NDArray[np.intp],
    of_negative: npt.NDArray[np.intp],
    patients: int,
    replicates: int,
    seed: int,
) -> Floats:
    weights = np.random.default_rng(seed).multinomial(patients, np.full(patients, 1 / patients), size=replicates)
    found = []
    for start in range(0, replicates, _AT_ONCE):
        part = weights[start : start + _AT_ONCE].astype(np.float64)
        one, other = part[:, of_positive], part[:, of_negative]
        of = ((one @ pairs) * other).sum(axis=1)
        found.append(np.where(of > 0, ((one @ won) * other).sum(axis=1) / np.maximum(of, 1), np.nan))
    return np.concatenate(found)
