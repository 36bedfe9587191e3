"""Area under the ROC curve, DeLong's comparison of two, and intervals by resampling patients.

Written here, because scipy and statsmodels have neither DeLong's test nor resampling of whole patients.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.stats

from nnunet_ms.arrays import Floats
from nnunet_ms.errors import StatisticsError
from nnunet_ms.statistics.bootstrap_interval import LEVEL, MINIMUM_PATIENTS, REPLICATES, UNKNOWN, checked_replicates
from nnunet_ms.statistics.input_checks import as_numbers, equally_long, missing_values, refuse

NAN = float("nan")


@dataclass(frozen=True)
class Scores:
    """Scores of one reader: higher means more like a lesion; patients name the cluster of each entry.

    Raises
    ------
    StatisticsError
        If lengths differ or a score is missing.
    """

    positive: Floats
    negative: Floats
    positive_patients: npt.NDArray[np.str_]
    negative_patients: npt.NDArray[np.str_]

    def __post_init__(self) -> None:
        """Check lengths and scores."""
        equally_long(positive=self.positive, positive_patients=self.positive_patients)
        equally_long(negative=self.negative, negative_patients=self.negative_patients)
        refuse(missing_values(positive=self.positive, negative=self.negative))

    @property
    def is_defined(self) -> bool:
        """Whether there are lesions and false candidates."""
        return bool(self.positive.size and self.negative.size)


@dataclass(frozen=True)
class AucDifference:
    """AUC of the first reader less that of the second, DeLong's standard error, z and two-sided p."""

    difference: float
    se: float
    z: float
    p: float


def auc(positive: npt.ArrayLike, negative: npt.ArrayLike) -> float:
    """Probability that a positive scores higher than a negative, ties one half; NaN when one kind is absent.

    Raises
    ------
    StatisticsError
        If a score is missing or no number.

    Examples
    --------
    Of the four pairs three are won and one is level:

    >>> auc([3, 2], [2, 1])
    0.875
    """
    x, y = _both(positive, negative)
    return float(_placements(x, y)[0].mean()) if x.size and y.size else NAN


def auc_se(positive: npt.ArrayLike, negative: npt.ArrayLike) -> float:
    """DeLong's standard error of one AUC (R: `sqrt(pROC::var(roc))`); NaN with fewer than two of a kind.

    Raises
    ------
    StatisticsError
        If a score is missing or no number.

    Examples
    --------
    >>> round(auc_se([3, 2, 4], [2, 1, 2.5]), 4)
    0.1925
    """
    x, y = _both(positive, negative)
    if min(x.size, y.size) < 2:
        return NAN
    return float(np.sqrt(_covariance([_placements(x, y)])[0, 0]))


def delong_test(first: Scores, second: Scores) -> AucDifference:
    """Compare two readers of the same positives and negatives [1]_ (R: `pROC::roc.test(method = "delong")`).

    Parameters
    ----------
    first, second : Scores
        Entry i of both is the same lesion or the same false candidate. Patients are not regarded: DeLong's test takes
        candidates as independent, so see `difference_interval` beside it.

    Returns
    -------
    AucDifference
        NaN with fewer than two of a kind; z and p are NaN when the scores of both readers order everything alike.

    Raises
    ------
    StatisticsError
        If the readers have not scored the same numbers.

    References
    ----------
    .. [1] DeLong ER, DeLong DM, Clarke-Pearson DL. Biometrics 44:837-845, 1988. doi:10.2307/2531595

    Examples
    --------
    >>> patients = np.array(["a", "b", "c", "d"])
    >>> one = Scores(np.array([0.9, 0.8, 0.7, 0.4]), np.array([0.1, 0.5, 0.3, 0.2]), patients, patients)
    >>> two = Scores(np.array([0.6, 0.8, 0.3, 0.4]), np.array([0.5, 0.5, 0.7, 0.2]), patients, patients)
    >>> test = delong_test(one, two)
    >>> test.difference, round(test.p, 3)
    (0.375, 0.1)
    """
    if first.positive.size != second.positive.size or first.negative.size != second.negative.size:
        sizes = [(reader.positive.size, reader.negative.size) for reader in (first, second)]
        raise StatisticsError(f"expected both readers to score the same lesions and false candidates, found {sizes}")
    if min(first.positive.size, first.negative.size) < 2:
        return AucDifference(auc(first.positive, first.negative) - auc(second.positive, second.negative), NAN, NAN, NAN)
    placements = [_placements(reader.positive, reader.negative) for reader in (first, second)]
    covariance = _covariance(placements)
    difference = float(placements[0][0].mean() - placements[1][0].mean())
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    if variance <= 1e-15:
        return AucDifference(difference, 0.0, NAN, NAN)
    se = float(np.sqrt(variance))
    return AucDifference(difference, se, difference / se, 2 * float(scipy.stats.norm.sf(abs(difference) / se)))


def auc_interval(scores: Scores, replicates: int = REPLICATES, seed: int = 0) -> tuple[float, float]:
    """Percentile interval of the AUC over resampled patients; NaN as `bootstrap_interval.patient_interval`.

    Examples
    --------
    >>> patients = np.array([f"p{k}" for k in range(12)])
    >>> scores = Scores(np.linspace(0.3, 0.9, 12), np.linspace(0.1, 0.6, 12), patients, patients)
    >>> low, high = auc_interval(scores)
    >>> bool(0 < low < auc(scores.positive, scores.negative) < high <= 1)
    True
    """
    wins = _wins_by_patient(scores)
    return _interval(wins[0], wins[1], wins[2], replicates, seed)


def difference_interval(
    first: Scores, second: Scores, replicates: int = REPLICATES, seed: int = 0
) -> tuple[float, float]:
    """Percentile interval of the difference of two AUCs on the same candidates, over resampled patients.

    Examples
    --------
    >>> patients = np.array([f"p{k}" for k in range(12)])
    >>> scores = Scores(np.linspace(0.3, 0.9, 12), np.linspace(0.1, 0.6, 12), patients, patients)
    >>> difference_interval(scores, scores)
    (0.0, 0.0)
    """
    a, b = _wins_by_patient(first), _wins_by_patient(second)
    return _interval(a[0] - b[0], a[1], a[2], replicates, seed)


def _both(positive: npt.ArrayLike, negative: npt.ArrayLike) -> tuple[Floats, Floats]:
    x, y = as_numbers(positive, "positive"), as_numbers(negative, "negative")
    refuse(missing_values(positive=x, negative=y))
    return x, y


def _placements(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Share of negatives below each positive, and of positives above each negative; ties one half.

    By midranks (Sun X, Xu W. IEEE Signal Process Lett 21:1389-1393, 2014), in n log n.
    """
    ranks = scipy.stats.rankdata(np.concatenate([x, y]))
    above = (ranks[: x.size] - scipy.stats.rankdata(x)) / y.size
    below = 1 - (ranks[x.size :] - scipy.stats.rankdata(y)) / x.size
    return np.asarray(above), np.asarray(below)


def _covariance(placements: list[tuple[Floats, Floats]]) -> Floats:
    """Covariance matrix of the readers' AUCs."""
    positive, negative = (np.stack(part) for part in zip(*placements, strict=True))
    parts = [np.atleast_2d(np.cov(part)) / part.shape[1] for part in (positive, negative)]
    return np.asarray(parts[0] + parts[1])


def _wins_by_patient(scores: Scores) -> tuple[Floats, Floats, Floats]:
    """Pairs won, (patients, patients): row the positive's patient, column the negative's; and numbers of each kind."""
    names = np.concatenate([scores.positive_patients, scores.negative_patients]).astype(str)
    patients, which = np.unique(names, return_inverse=True)
    of_positive, of_negative = which[: scores.positive.size], which[scores.positive.size :]
    n = patients.size
    wins = np.zeros((n, n))
    for patient in np.unique(of_positive):
        x = np.sort(scores.positive[of_positive == patient])
        below, up_to = (np.searchsorted(x, scores.negative, side=side) for side in ("left", "right"))
        won = x.size - (below + up_to) / 2  # positives above a negative, and half of those level with it
        wins[patient] = np.bincount(of_negative, weights=won, minlength=n)
    counts = [np.bincount(part, minlength=n).astype(float) for part in (of_positive, of_negative)]
    return wins, counts[0], counts[1]


def _interval(wins: Floats, positives: Floats, negatives: Floats, replicates: int, seed: int) -> tuple[float, float]:
    n = positives.size
    checked_replicates(replicates)
    if n < MINIMUM_PATIENTS:
        return UNKNOWN
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=replicates).astype(float)
    pairs = (weights @ positives) * (weights @ negatives)
    won = np.einsum("rp,rp->r", weights @ wins, weights)
    values = won[pairs > 0] / pairs[pairs > 0]
    if values.size < 0.9 * replicates:
        return UNKNOWN
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)


def roc_curve(scores: Scores) -> tuple[Floats, Floats]:
    """Share of false candidates and of lesions with a score at or above each threshold, from (0, 0) to (1, 1).

    Examples
    --------
    >>> patients = np.array(["a", "b"])
    >>> false, found = roc_curve(Scores(np.array([0.9, 0.4]), np.array([0.5, 0.1]), patients, patients))
    >>> list(zip(false.tolist(), found.tolist(), strict=True))
    [(0.0, 0.0), (0.0, 0.5), (0.5, 0.5), (0.5, 1.0), (1.0, 1.0)]
    """
    thresholds = np.unique(np.concatenate([scores.positive, scores.negative]))[::-1]
    x, y = np.sort(scores.negative), np.sort(scores.positive)
    share = [1 - np.searchsorted(part, thresholds, side="left") / part.size for part in (x, y)]
    return np.concatenate([[0.0], share[0]]), np.concatenate([[0.0], share[1]])
