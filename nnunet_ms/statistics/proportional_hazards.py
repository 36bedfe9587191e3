"""Test of proportional hazards: the score test of R's `cox.zph` (survival >= 3), per term and GLOBAL.

Written here, because lifelines' `proportional_hazard_test` approximates it and does not give the same numbers, and
statsmodels has none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import scipy.stats

from nnunet_ms.arrays import Bools, Floats
from nnunet_ms.options import chosen
from nnunet_ms.statistics.cox import TIES, Ties, event_terms, maximise, risk_sets
from nnunet_ms.statistics.input_checks import as_numbers, equally_long, missing_values, refuse, time_to_event
from nnunet_ms.statistics.linear_systems import solve_or_none

Transform = Literal["km", "rank", "identity"]
TRANSFORMS = get_args(Transform)
GLOBAL = "GLOBAL"


@dataclass(frozen=True)
class PhTest:
    """One line of the test: whether the effect of `term` changes with time."""

    term: str
    chisq: float
    df: int
    p: float


def proportional_hazards_test(
    weeks: npt.ArrayLike,
    event: npt.ArrayLike,
    X: npt.ArrayLike,
    terms: Mapping[str, Sequence[int]],
    ties: Ties,
    transform: Transform = "km",
    strata: npt.ArrayLike | None = None,
) -> tuple[PhTest, ...]:
    """Test each term's coefficient against beta + gamma * g(time), by the score at gamma = 0 [1]_.

    Parameters
    ----------
    weeks, event, X, ties, strata
        As for `cox.fit_cox`; the model must have a maximum.
    terms : mapping
        Term -> its columns in X; a factor of three levels has two.
    transform : {"km", "rank", "identity"}, optional
        g: 1 - Kaplan-Meier just before the time (R's default), the rank of the time, or the time itself.
    strata : (n,) array, optional
        As for `cox.fit_cox`.

    Returns
    -------
    tuple of PhTest
        One per term, then GLOBAL.

    Raises
    ------
    OptionError
        If there are no such ties, or there is no such transform.
    StatisticsError
        If lengths differ, a value is missing or no number, a time is negative, or an event is neither 0 nor 1.

    References
    ----------
    .. [1] Grambsch PM, Therneau TM. Biometrika 81:515-526, 1994; computed as score test, as `cox.zph` does.

    Examples
    --------
    A hazard ratio of x that grows with time: the test sees it, p is small.

    >>> x = [0.0] * 10 + [1.0] * 10
    >>> weeks = [1, 2, 3, 4, 30, 31, 32, 33, 34, 35, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]
    >>> test = proportional_hazards_test(weeks, [1] * 20, [[v] for v in x], {"x": [0]}, "efron")
    >>> [(line.term, line.df, line.p < 0.05) for line in test]
    [('x', 1, True), ('GLOBAL', 1, True)]
    """
    chosen(ties, TIES, "ties")
    chosen(transform, TRANSFORMS, "transform")
    columns = as_numbers(X, "covariates", 2)
    time, happened, problem = time_to_event(weeks, event)
    equally_long(time=time, covariates=columns, strata=strata)
    refuse(problem or missing_values(covariates=columns, strata=strata))
    sets = risk_sets(time, happened, columns, strata)
    count = np.ones(len(columns))
    beta, *_ = maximise(sets, ties)
    _, deaths_x, mean, variance, group = event_terms(sets, beta, ties, count)
    g = _scale(time, happened, sets.time, transform)
    score = g @ deaths_x - g[group] @ mean
    ge, k = g[group], columns.shape[1]
    information = np.empty((2 * k, 2 * k))
    information[:k, :k] = variance.sum(axis=0)
    information[:k, k:] = information[k:, :k] = np.tensordot(ge, variance, 1)
    information[k:, k:] = np.tensordot(ge**2, variance, 1)
    rows = [_line(name, list(which), score, information) for name, which in terms.items()]
    return (*rows, _line(GLOBAL, list(range(k)), score, information))


def _line(name: str, which: list[int], score: Floats, information: Floats) -> PhTest:
    k = len(score)
    chosen = [*range(k), *(k + i for i in which)]
    u = np.concatenate([np.zeros(k), score[which]])
    solved = solve_or_none(information[np.ix_(chosen, chosen)], u)  # None: the term does not vary at any event
    chisq = float("nan") if solved is None else float(u @ solved)
    return PhTest(name, chisq, len(which), float(scipy.stats.chi2.sf(chisq, len(which))))


def _scale(time: Floats, happened: Bools, at: Floats, transform: Transform) -> Floats:
    """Return g at the times `at`, centred at its mean over the events."""
    if transform == "identity":
        of = time
    elif transform == "rank":
        of = scipy.stats.rankdata(time)
    else:
        of = _events_before(time, happened)
    value = dict(zip(time, of, strict=True))
    return np.array([value[t] for t in at]) - float(of[happened].mean())


def _events_before(time: Floats, happened: Bools) -> Floats:
    distinct = np.unique(time)
    at_risk = np.array([(time >= t).sum() for t in distinct])
    died = np.array([(time[happened] == t).sum() for t in distinct])
    before = np.concatenate([[1.0], np.cumprod(1 - died / at_risk)[:-1]])
    return 1 - before[np.searchsorted(distinct, time)]
