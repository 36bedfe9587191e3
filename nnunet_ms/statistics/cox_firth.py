"""Cox regression with Firth's penalised likelihood, for arms without an event, where Wald intervals have no end.

Written here, because neither lifelines nor statsmodels has it (lifelines' penalties are ridge and lasso).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy.optimize
import scipy.stats

from nnunet_ms.arrays import Floats
from nnunet_ms.options import chosen
from nnunet_ms.statistics.cox import TIES, Cox, RiskSets, Ties, derivatives, risk_set_sums, risk_sets
from nnunet_ms.statistics.input_checks import as_numbers, equally_long, level, missing_values, time_to_event
from nnunet_ms.statistics.linear_systems import solve_or_none

NAN = float("nan")
MAXIMUM_STEPS, HALVINGS, LONGEST_STEP = 200, 40, 2.0
GRADIENT = 1e-9
WIDEST = 40.0  # log hazard ratios beyond this are not searched


def firth_cox(
    weeks: npt.ArrayLike,
    event: npt.ArrayLike,
    X: npt.ArrayLike,
    names: Sequence[str],
    term: str,
    ties: Ties = "breslow",
    strata: npt.ArrayLike | None = None,
    confidence: float = 0.95,
) -> Cox:
    """Maximise log L(beta) + log |I(beta)| / 2 and return one hazard ratio with its profile interval [1]_.

    Parameters
    ----------
    weeks, event, X, names, ties, strata
        As for `cox.fit_cox`. (R's `coxphf` uses Breslow ties.)
    term : str
        The name whose ratio is wanted; the interval is that of the penalised profile likelihood.
    confidence : float, optional
        Level of the interval; p is that of the penalised likelihood-ratio test.

    Returns
    -------
    Cox
        `se` is the Wald standard error of the penalised estimate, for information. Without events, with columns
        that cannot be told apart, or values that cannot be analysed, `problem` is set.

    Raises
    ------
    OptionError
        If there are no such ties, no such term, or no such level.
    StatisticsError
        If lengths differ or a value is no number.

    References
    ----------
    .. [1] Heinze G, Schemper M. Biometrics 57:114-119, 2001. doi:10.1111/j.0006-341X.2001.00114.x

    Examples
    --------
    >>> weeks, event = [10, 20, 30, 40, 50, 60], [1, 0, 1, 0, 0, 0]
    >>> arm = [[0], [0], [0], [1], [1], [1]]
    >>> found = firth_cox(weeks, event, arm, ["active"], "active")
    >>> bool(0 < found.hazard_ratio < 1), bool(np.isfinite(found.high))
    (True, True)
    """
    chosen(term, names, "term")
    return firth_model(weeks, event, X, names, ties, strata, confidence, [term])[term]


def firth_model(
    weeks: npt.ArrayLike,
    event: npt.ArrayLike,
    X: npt.ArrayLike,
    names: Sequence[str],
    ties: Ties,
    strata: npt.ArrayLike | None = None,
    confidence: float = 0.95,
    terms: Sequence[str] | None = None,
) -> dict[str, Cox]:
    """Maximise the penalised likelihood once and return the hazard ratio of every term with its profile interval.

    Parameters
    ----------
    weeks, event, X, names, ties, strata, confidence
        As for `firth_cox`.
    terms : sequence of str, optional
        Those wanted, which take the time; None: all of `names`.

    Returns
    -------
    dict of Cox
        By term; `problem` as for `firth_cox`.

    Raises
    ------
    OptionError, StatisticsError
        As for `firth_cox`.

    Examples
    --------
    >>> weeks, event, arm = [10, 20, 20, 40, 50, 60], [1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]
    >>> X = [[a, age] for a, age in zip(arm, [30, 50, 40, 45, 35, 55])]
    >>> found = firth_model(weeks, event, X, ["active", "age"], "efron")
    >>> [term for term, ratio in found.items() if ratio.low < 1 < ratio.high]
    ['age']
    """
    chosen(ties, TIES, "ties")
    drop = float(scipy.stats.chi2.ppf(level(confidence), 1)) / 2
    wanted = list(names) if terms is None else [chosen(term, names, "term") for term in terms]
    columns = as_numbers(X, "covariates", 2)
    time, happened, problem = time_to_event(weeks, event)
    equally_long(time=time, covariates=columns, strata=strata)
    counts = (len(columns), int(happened.sum()))
    problem = problem or missing_values(covariates=columns, strata=strata) or ("" if happened.any() else "no events")
    problem = problem or _constant(columns)
    if problem:
        return {term: Cox(*counts, problem=problem) for term in wanted}
    scale = columns.std(axis=0)
    sets = risk_sets(time, happened, columns / scale, strata)
    if not np.isfinite(penalised_log_likelihood(sets, np.zeros(columns.shape[1]), ties)):
        problem = "at no event are patients of both groups at risk"
    beta, best = _maximum(sets, ties, np.zeros(columns.shape[1])) if not problem else (scale, -np.inf)
    if not np.isfinite(best):
        problem = problem or "the penalised likelihood has no maximum"
        return {term: Cox(*counts, problem=problem) for term in wanted}
    covariance = np.linalg.inv(derivatives(sets, beta, ties, np.ones(len(columns)))[2])
    found = {}
    for term in wanted:
        k = list(names).index(term)
        low, high = (_limit(sets, ties, k, beta, best - drop, sign) / scale[k] for sign in (-1, 1))
        p = float(scipy.stats.chi2.sf(max(2 * (best - _profile(sets, ties, k, 0.0, beta)[1]), 0.0), 1))
        b, se = float(beta[k] / scale[k]), float(np.sqrt(covariance[k, k]) / scale[k])
        ratio, lower, upper = (float(np.exp(v)) if np.isfinite(v) else NAN for v in (b, low, high))
        # the information is that of the columns as they came, not as they were scaled
        found[term] = Cox(*counts, b, se, ratio, lower, upper, p, best + float(np.log(scale).sum()))
    return found


def penalised_test(
    weeks: npt.ArrayLike, event: npt.ArrayLike, X: npt.ArrayLike, tested: Sequence[int], ties: Ties
) -> float:
    """Return p of the penalised likelihood-ratio test that the coefficients of some columns are 0 [1]_.

    Parameters
    ----------
    weeks, event, X, ties
        As for `firth_cox`.
    tested : sequence of int
        Places of the columns.

    Returns
    -------
    float
        NaN where the penalised likelihood has no maximum.

    Raises
    ------
    OptionError, StatisticsError
        As for `firth_cox`.

    References
    ----------
    .. [1] Heinze G, Schemper M. Biometrics 57:114-119, 2001. doi:10.1111/j.0006-341X.2001.00114.x

    Examples
    --------
    One column: the p of `firth_cox`.

    >>> weeks, event, arm = [10, 20, 30, 40, 50, 60], [1, 0, 1, 0, 0, 0], [[0], [0], [0], [1], [1], [1]]
    >>> found = firth_cox(weeks, event, arm, ["arm"], "arm", "efron")
    >>> round(penalised_test(weeks, event, arm, [0], "efron") - found.p, 9)
    0.0
    """
    chosen(ties, TIES, "ties")
    columns = as_numbers(X, "covariates", 2)
    time, happened, problem = time_to_event(weeks, event)
    equally_long(time=time, covariates=columns)
    if problem or missing_values(covariates=columns) or not happened.any() or _constant(columns):
        return NAN
    sets = risk_sets(time, happened, columns / columns.std(axis=0))
    beta, best = _maximum(sets, ties, np.zeros(columns.shape[1]))
    begin = beta.copy()
    begin[list(tested)] = 0.0
    _, null = _maximum(sets, ties, begin, held=tested)
    if not np.isfinite([best, null]).all():
        return NAN
    return float(scipy.stats.chi2.sf(max(2 * (best - null), 0.0), len(tested)))


def _constant(columns: Floats) -> str:
    centred = columns - columns.mean(axis=0)
    norm = np.linalg.norm(centred, axis=0)
    if (norm == 0).any() or np.linalg.matrix_rank(centred / norm) < columns.shape[1]:
        return "covariates are constant or confounded"
    return ""


def penalised_log_likelihood(sets: RiskSets, beta: Floats, ties: Ties) -> float:
    """Return log L + log |I| / 2; minus infinity where the information has no determinant."""
    value, _, information = derivatives(sets, beta, ties, np.ones(len(sets.X)))
    sign, log_determinant = np.linalg.slogdet(information)
    return value + log_determinant / 2 if sign > 0 and np.isfinite(value) else -np.inf


def _score(sets: RiskSets, beta: Floats, ties: Ties) -> tuple[float, Floats, Floats]:
    """Return the penalised log-likelihood, its gradient (k,) and the information (k, k).

    The gradient is that of log L plus tr(I^-1 dI / d beta) / 2; the derivative of the information is the sum of the
    third central moments of X in the risk sets of the events.
    """
    count, k = np.ones(len(sets.X)), sets.X.shape[1]
    value, score, information = derivatives(sets, beta, ties, count)
    sign, log_determinant = np.linalg.slogdet(information)
    if sign <= 0 or not np.isfinite(value):
        return -np.inf, score, information
    X = sets.X
    second, third = X[:, :, None] * X[:, None, :], X[:, :, None, None] * X[:, None, :, None] * X[:, None, None, :]
    moments = np.concatenate(
        [np.ones((len(X), 1)), X, second.reshape(len(X), -1), third.reshape(len(X), -1)], axis=1
    ) * np.exp(np.clip(X @ beta, -700, 700))[:, None]  # fmt: skip
    sums, each, _ = risk_set_sums(sets, moments, ties, sets.event)
    mean = sums[:, 1 : k + 1] / sums[:, :1]
    m2 = (sums[:, k + 1 : k + 1 + k * k] / sums[:, :1]).reshape(-1, k, k)
    m3 = (sums[:, k + 1 + k * k :] / sums[:, :1]).reshape(-1, k, k, k)
    pairs = np.einsum("eab,ec->eabc", m2, mean)
    cubes = np.einsum("ea,eb,ec->eabc", mean, mean, mean)
    central = m3 - pairs - pairs.transpose(0, 1, 3, 2) - pairs.transpose(0, 3, 1, 2) + 2 * cubes
    slope = np.einsum("e,eabc->abc", each, central)
    penalty = 0.5 * np.einsum("ab,abc->c", np.linalg.inv(information), slope)
    return value + log_determinant / 2, score + penalty, information


def _maximum(sets: RiskSets, ties: Ties, start: Floats, held: Sequence[int] = ()) -> tuple[Floats, float]:
    """Climb from `start` by Fisher scoring with halved steps, with some coefficients held where they are.

    Returns beta and the penalised log-likelihood; minus infinity where it did not arrive.
    """
    free = np.array([k for k in range(len(start)) if k not in held], dtype=int)
    beta = start
    value, gradient, information = _score(sets, beta, ties)
    for _ in range(MAXIMUM_STEPS):
        if not len(free) or (np.isfinite(value) and np.abs(gradient[free]).max() < GRADIENT):
            return beta, value
        step = solve_or_none(information[np.ix_(free, free)], gradient[free])
        if step is None or not np.isfinite(step).all():
            return beta, -np.inf
        step = step * min(1.0, LONGEST_STEP / max(float(np.abs(step).max()), 1e-300))
        for _ in range(HALVINGS):
            tried = beta.copy()
            tried[free] += step
            new = _score(sets, tried, ties)
            if new[0] >= value - 1e-12 * max(1.0, abs(value)):
                break
            step = step / 2
        else:
            return beta, value  # nowhere higher, to the last digit
        beta, (value, gradient, information) = tried, new
    return beta, value if np.abs(gradient[free]).max() < 1e-4 else -np.inf


def _profile(sets: RiskSets, ties: Ties, index: int, value: float, start: Floats) -> tuple[Floats, float]:
    """Return where the others are best, with the coefficient at `index` held at `value`, and the maximum there."""
    begin = start.copy()
    begin[index] = value
    return _maximum(sets, ties, begin, held=[index])


def _limit(sets: RiskSets, ties: Ties, index: int, beta: Floats, target: float, sign: int) -> float:
    """Return where the profile falls to `target`, on the side of `sign`; infinite if it never does."""
    last = beta

    def above(value: float) -> float:
        nonlocal last
        found, height = _profile(sets, ties, index, value, last)
        if np.isfinite(height):
            last = found  # the next value is near: fewer steps from here
        return max(height - target, -1e9)

    centre, width, inner = float(beta[index]), 0.5, 0.0
    while above(centre + sign * width) > 0:
        inner, width = width, width * 2
        if width > WIDEST:
            return sign * float("inf")
    low, high = sorted((centre + sign * inner, centre + sign * width))
    return float(scipy.optimize.brentq(above, low, high, xtol=1e-9))
