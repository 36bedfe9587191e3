"""Areas under the ROC curve's beginning and under the precision-recall curve, with intervals over resampled patients.

For rare lesions, such as rims (4 %), the whole ROC area says little: it averages over false-positive rates that nobody
would accept. Written here, because scipy and statsmodels have none of it, and no library resamples whole patients.

A curve has one point per distinct score: what is tied is found together. All areas come from the same two counts, true
and false positives at or above each score, so that thousands of resamples are a few array operations.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nnunet_ms.arrays import Floats
from nnunet_ms.errors import OptionError, StatisticsError
from nnunet_ms.statistics.bootstrap_interval import LEVEL, MINIMUM_PATIENTS, REPLICATES, checked_replicates
from nnunet_ms.statistics.input_checks import as_numbers, missing_values, refuse
from nnunet_ms.statistics.input_checks import level as checked_level
from nnunet_ms.statistics.roc import Scores

UP_TO = 0.1  # false-positive rate at which the partial area ends
MEASURES = ("roc_auc", "proc_auc", "proc_auc_mcclish", "pr_auc_average_precision", "pr_auc_trapezoid")
_AT_ONCE = 2_000_000  # numbers per array of resamples: 16 MB
NAN = float("nan")


@dataclass(frozen=True)
class Area:
    """An area with its percentile interval over resampled patients; NaN where undefined, and `problem` says why.

    Attributes
    ----------
    measure : str
        One of `MEASURES`.
    estimate, low, high, level : float
        Of all lesions; interval at `level`.
    patients, positive, negative : int
        Numbers of patients, of lesions with and of those without what is looked for.
    undefined : int
        Resamples without lesions of one kind; more than a tenth leaves no interval.
    replicates : int
        Resamples in all; 0 where the interval was not computed.
    problem : str
        Blank, or why there is no estimate or no interval.
    """

    measure: str
    estimate: float
    low: float
    high: float
    level: float
    patients: int
    positive: int
    negative: int
    undefined: int
    replicates: int
    problem: str = ""


def partial_auc(positive: npt.ArrayLike, negative: npt.ArrayLike, up_to: float = UP_TO) -> float:
    """Mean sensitivity over false-positive rates from 0 to `up_to`: the area there, divided by `up_to`.

    A perfect ranking has 1, a worthless one `up_to / 2`. Trapezoids; sensitivity is interpolated at `up_to`. R:
    `pROC::auc(roc, partial.auc = c(1, 1 - up_to)) / up_to`.

    Parameters
    ----------
    positive, negative : (n,) floats
        Scores of lesions with and without what is looked for; higher means more like it.
    up_to : float, optional
        False-positive rate, in (0, 1].

    Returns
    -------
    float
        NaN when one kind is absent.

    Raises
    ------
    OptionError, StatisticsError
        If `up_to` is no such rate, or a score is missing or no number.

    Examples
    --------
    One of ten negatives ranks above the second positive: sensitivity is 0.5 up to a rate of 0.1.

    >>> partial_auc([0.9, 0.5], [0.6, *[0.1] * 9])
    0.5
    """
    return _one("proc_auc", positive, negative, up_to)


def mcclish_auc(positive: npt.ArrayLike, negative: npt.ArrayLike, up_to: float = UP_TO) -> float:
    """Partial area on McClish's scale, where a worthless ranking has 0.5 and a perfect one 1 [1]_.

    R: `pROC::auc(roc, partial.auc = c(1, 1 - up_to), partial.auc.correct = TRUE)`, which answers NA below 0.5; here the
    formula goes on. Parameters and errors as of `partial_auc`.

    References
    ----------
    .. [1] McClish DK. Med Decis Making 9:190-195, 1989. doi:10.1177/0272989X8900900307

    Examples
    --------
    >>> round(mcclish_auc([0.9, 0.5], [0.6, *[0.1] * 9]), 4)
    0.7368
    """
    return _one("proc_auc_mcclish", positive, negative, up_to)


def average_precision(positive: npt.ArrayLike, negative: npt.ArrayLike) -> float:
    """Precision at each score, weighted by the gain of sensitivity there; a worthless ranking has the prevalence.

    No interpolation between scores. NaN when one kind is absent (without negatives every ranking would be perfect).
    Errors as of `partial_auc`.

    Examples
    --------
    The first lesion of two is found at precision 1, the second at 2/3:

    >>> round(average_precision([0.9, 0.5], [0.6, 0.1]), 4)
    0.8333
    """
    return _one("pr_auc_average_precision", positive, negative, UP_TO)


def pr_auc_trapezoid(positive: npt.ArrayLike, negative: npt.ArrayLike) -> float:
    """Area under straight lines between the points of the precision-recall curve, which begins at (0, 1).

    Usual in programs. Below average precision where no scores are tied, above it with long ties: there straight lines
    promise precision that no threshold has (Davis J, Goadrich M. ICML 2006:233-240). NaN and errors as of
    `average_precision`.

    Examples
    --------
    >>> round(pr_auc_trapezoid([0.9, 0.5], [0.6, 0.1]), 4)
    0.7917
    """
    return _one("pr_auc_trapezoid", positive, negative, UP_TO)


def precision_recall_curve(scores: Scores) -> tuple[Floats, Floats]:
    """Recall and precision at or above each distinct score, from the highest down; it begins at (0, 1).

    Examples
    --------
    >>> patients = np.array(["a", "b"])
    >>> recall, precision = precision_recall_curve(
    ...     Scores(np.array([0.9, 0.5]), np.array([0.6, 0.1]), patients, patients)
    ... )
    >>> recall.tolist(), precision.round(2).tolist()
    ([0.0, 0.5, 0.5, 1.0, 1.0], [1.0, 1.0, 0.5, 0.67, 0.5])
    """
    ranking = _Ranking.of(scores)
    true, false = ranking.counts(np.ones((1, ranking.patients)))
    return true[0] / max(float(true[0, -1]), 1.0), _precision(true, false)[0]


def areas(
    scores: Scores, up_to: float = UP_TO, replicates: int = REPLICATES, seed: int = 0, level: float = LEVEL
) -> tuple[Area, ...]:
    """All `MEASURES` with percentile intervals over resampled patients.

    Parameters
    ----------
    scores : Scores
        Of all lesions, with the patient of each.
    up_to : float, optional
        False-positive rate at which the partial area ends, in (0, 1].
    replicates, seed : int, optional
        Number of resamples, and the generator's seed.
    level : float, optional
        Of the two-sided intervals.

    Returns
    -------
    tuple of Area
        In the order of `MEASURES`.

    Raises
    ------
    OptionError
        If there is no such level or rate, or there are no replicates.

    Examples
    --------
    >>> patients = np.array([f"p{k}" for k in range(12)])
    >>> found = areas(Scores(np.linspace(0.3, 0.9, 12), np.linspace(0.1, 0.6, 12), patients, patients))
    >>> [(area.measure, round(area.estimate, 3)) for area in found][1:3]
    [('proc_auc', 0.514), ('proc_auc_mcclish', 0.744)]
    """
    return _areas([scores], up_to, replicates, seed, level)


def area_differences(
    first: Scores,
    second: Scores,
    up_to: float = UP_TO,
    replicates: int = REPLICATES,
    seed: int = 0,
    level: float = LEVEL,
) -> tuple[Area, ...]:
    """All `MEASURES` of the first model less those of the second, on the same lesions, with intervals over patients.

    Parameters
    ----------
    first, second : Scores
        Entry i of both is the same lesion of the same patient.
    up_to, replicates, seed, level
        As of `areas`; both models are resampled together.

    Raises
    ------
    OptionError
        As of `areas`.
    StatisticsError
        If the models have not scored the same numbers of lesions of the same patients.

    Examples
    --------
    >>> patients = np.array([f"p{k}" for k in range(12)])
    >>> scores = Scores(np.linspace(0.3, 0.9, 12), np.linspace(0.1, 0.6, 12), patients, patients)
    >>> difference = area_differences(scores, scores)[0]
    >>> difference.estimate, difference.low, difference.high
    (0.0, 0.0, 0.0)
    """
    for kind in ("positive", "negative"):
        one, other = (getattr(scores, f"{kind}_patients").astype(str) for scores in (first, second))
        if one.size != other.size or (one != other).any():
            raise StatisticsError(
                f"expected both models to score the same {kind} lesions in the same order, found {one.size} and "
                f"{other.size} of patients that differ. Keep the lesions that both have scored."
            )
    return _areas([first, second], up_to, replicates, seed, level)


@dataclass(frozen=True)
class _Ranking:
    """Lesions from the highest score down: patient of each, whether it is positive, and where a run of ties ends."""

    patient: npt.NDArray[np.intp]
    is_positive: npt.NDArray[np.bool_]
    last_of_ties: npt.NDArray[np.intp]
    patients: int

    @staticmethod
    def of(scores: Scores) -> "_Ranking":
        """Order the lesions."""
        names = np.concatenate([scores.positive_patients, scores.negative_patients]).astype(str)
        unique, which = np.unique(names, return_inverse=True)
        values = np.concatenate([scores.positive, scores.negative])
        order = np.argsort(-values, kind="stable")
        falling = values[order]
        last = np.flatnonzero(np.append(falling[1:] != falling[:-1], True)) if falling.size else np.zeros(0, np.intp)
        return _Ranking(which[order], order < scores.positive.size, last, unique.size)

    def counts(self, weights: Floats) -> tuple[Floats, Floats]:
        """True and false positives at or above each score, (resamples, scores + 1); weights: (resamples, patients)."""
        drawn = weights[:, self.patient]
        both = []
        for kind in (self.is_positive, ~self.is_positive):
            running = np.cumsum(drawn * kind, axis=1)[:, self.last_of_ties]
            both.append(np.concatenate([np.zeros((len(weights), 1)), running], axis=1))
        return both[0], both[1]


def _one(measure: str, positive: npt.ArrayLike, negative: npt.ArrayLike, up_to: float) -> float:
    x, y = as_numbers(positive, "positive"), as_numbers(negative, "negative")
    refuse(missing_values(positive=x, negative=y))
    nobody = [np.full(part.size, "") for part in (x, y)]
    ranking = _Ranking.of(Scores(x, y, nobody[0], nobody[1]))
    return float(_measured(*ranking.counts(np.ones((1, max(ranking.patients, 1)))), _rate(up_to))[measure][0])


def _rate(up_to: float) -> float:
    if not (isinstance(up_to, float | int | np.number) and 0 < up_to <= 1):
        raise OptionError(
            f"up_to: expected a false-positive rate above 0 and at most 1, found {up_to!r}. 0.1 is usual."
        )
    return float(up_to)


def _precision(true: Floats, false: Floats) -> Floats:
    found = true + false
    return np.asarray(np.where(found > 0, true / np.maximum(found, 1e-300), 1.0))


def _measured(true: Floats, false: Floats, up_to: float) -> dict[str, Floats]:
    """Every measure of each resample; NaN where one kind is absent. Both arrays: (resamples, scores + 1)."""
    all_true, all_false = true[:, -1], false[:, -1]
    defined = (all_true > 0) & (all_false > 0)
    recall = true / np.maximum(all_true, 1e-300)[:, None]
    rate = false / np.maximum(all_false, 1e-300)[:, None]
    precision = _precision(true, false)
    gain = np.diff(recall, axis=1)
    partial = _area_up_to(rate, recall, up_to)
    chance = up_to**2 / 2
    found = {
        "roc_auc": _area_up_to(rate, recall, 1.0),
        "proc_auc": partial / up_to,
        "proc_auc_mcclish": (1 + (partial - chance) / (up_to - chance)) / 2,
        "pr_auc_average_precision": (gain * precision[:, 1:]).sum(axis=1),
        "pr_auc_trapezoid": (gain * (precision[:, 1:] + precision[:, :-1])).sum(axis=1) / 2,
    }
    return {name: np.where(defined, value, np.nan) for name, value in found.items()}


def _area_up_to(rate: Floats, recall: Floats, up_to: float) -> Floats:
    """Area under straight lines from 0 to `up_to`, where the line is cut."""
    left, right = rate[:, :-1], rate[:, 1:]
    width = right - left
    inside = np.minimum(right, up_to) - np.minimum(left, up_to)
    share = np.where(width > 0, inside / np.maximum(width, 1e-300), 0.0)
    low = recall[:, :-1]
    return np.asarray((inside * (low + (recall[:, 1:] - low) * share / 2)).sum(axis=1))


def _areas(models: list[Scores], up_to: float, replicates: int, seed: int, level: float) -> tuple[Area, ...]:
    checked_level(level, "level")
    checked_replicates(replicates)
    rankings = [_Ranking.of(scores) for scores in models]
    point = _contrast(rankings, np.ones((1, rankings[0].patients)), _rate(up_to))
    problem = _why_not(models[0], rankings[0].patients)
    draws = (
        {name: np.full(0, NAN) for name in MEASURES} if problem else _drawn(rankings, _rate(up_to), replicates, seed)
    )
    return tuple(_area(name, float(point[name][0]), draws[name], level, models[0], problem) for name in MEASURES)


def _why_not(scores: Scores, patients: int) -> str:
    if not scores.is_defined:
        return f"{scores.positive.size} positive and {scores.negative.size} negative lesions, needs both kinds"
    if patients < MINIMUM_PATIENTS:
        return f"{patients} patients, needs {MINIMUM_PATIENTS} for an interval over patients"
    return ""


def _contrast(rankings: list[_Ranking], weights: Floats, up_to: float) -> dict[str, Floats]:
    measured = [_measured(*ranking.counts(weights), up_to) for ranking in rankings]
    return measured[0] if len(measured) == 1 else {name: measured[0][name] - measured[1][name] for name in MEASURES}


def _drawn(rankings: list[_Ranking], up_to: float, replicates: int, seed: int) -> dict[str, Floats]:
    n = rankings[0].patients
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=replicates).astype(float)
    parts = [_contrast(rankings, part, up_to) for part in _chunks(weights, rankings[0].patient.size)]
    return {name: np.concatenate([part[name] for part in parts]) for name in MEASURES}


def _chunks(weights: Floats, lesions: int) -> Iterator[Floats]:
    step = max(_AT_ONCE // max(lesions, 1), 1)
    for start in range(0, len(weights), step):
        yield weights[start : start + step]


def _area(measure: str, estimate: float, draws: Floats, level: float, scores: Scores, problem: str) -> Area:
    values = draws[~np.isnan(draws)]
    low = high = NAN
    if draws.size and values.size < 0.9 * draws.size:
        problem = f"{draws.size - values.size} of {draws.size} resamples lack lesions of one kind"
    elif draws.size:
        tail = 50 * (1 - level)
        low, high = (float(limit) for limit in np.percentile(values, [tail, 100 - tail]))
    names = np.concatenate([scores.positive_patients, scores.negative_patients]).astype(str)
    sizes = np.unique(names).size, scores.positive.size, scores.negative.size
    return Area(measure, estimate, low, high, level, *sizes, draws.size - values.size, draws.size, problem)
