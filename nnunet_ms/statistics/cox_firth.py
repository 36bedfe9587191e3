"""Cox regression with Firth's penalised likelihood, for arms without an event, where Wald intervals have no end.

Written here, because neither lifelines nor statsmodels has it (lifelines' penalties are ridge and lasso).
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import scipy.optimize
import scipy.stats

from nnunet_ms.arrays import Floats
from nnunet_ms.options import chosen
from nnunet_ms.statistics.cox import TIES, Cox, RiskSets, Ties, derivatives, risk_sets
from nnunet_ms.statistics.input_checks import as_numbers, equally_long, level, missing_values, time_to_event

NAN = float("nan")
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
    chosen(ties, TIES, "ties")
    drop = float(scipy.stats.chi2.ppf(level(confidence), 1)) / 2
    index = list(names).index(chosen(term, names, "term"))
    columns = as_numbers(X, "covariates", 2)
    time, happened, problem = time_to_event(weeks, event)
    equally_long(time=time, covariates=columns, strata=strata)
    counts = (len(columns), int(happened.sum()))
    problem = problem or missing_values(covariates=columns, strata=strata) or ("" if happened.any() else "no events")
    if problem:
        return Cox(*counts, problem=problem)
    centred = columns - columns.mean(axis=0)
    norm = np.linalg.norm(centred, axis=0)
    if (norm == 0).any() or np.linalg.matrix_rank(centred / norm) < columns.shape[1]:
        return Cox(*counts, problem="covariates are constant or confounded")
    scale = columns.std(axis=0)
    sets = risk_sets(time, happened, columns / scale, strata)
    if not np.isfinite(penalised_log_likelihood(sets, np.zeros(columns.shape[1]), ties)):
        return Cox(*counts, problem="at no event are patients of both groups at risk")
    beta, best = _best(sets, ties)
    if not np.isfinite(best):
        return Cox(*counts, problem="the penalised likelihood has no maximum")
    low, high = (_limit(sets, ties, index, beta, best - drop, sign) / scale[index] for sign in (-1, 1))
    null = _profile(sets, ties, index, 0.0, beta)[0]
    p = float(scipy.stats.chi2.sf(max(2 * (best - null), 0.0), 1))
    se = float(np.sqrt(np.linalg.inv(derivatives(sets, beta, ties, np.ones(len(columns)))[2])[index, index]))
    b = float(beta[index] / scale[index])
    ratio, lower, upper = (float(np.exp(v)) if np.isfinite(v) else NAN for v in (b, low, high))
    return Cox(*counts, b, se / float(scale[index]), ratio, lower, upper, p, best)


def penalised_log_likelihood(sets: RiskSets, beta: Floats, ties: Ties) -> float:
    """Return log L + log |I| / 2; minus infinity where the information has no determinant."""
    value, _, information = derivatives(sets, beta, ties, np.ones(len(sets.X)))
    sign, log_determinant = np.linalg.slogdet(information)
    return value + log_determinant / 2 if sign > 0 and np.isfinite(value) else -np.inf


def _best(sets: RiskSets, ties: Ties) -> tuple[Floats, float]:
    return _maximum(lambda b: penalised_log_likelihood(sets, b, ties), np.zeros(sets.X.shape[1]))


def _profile(sets: RiskSets, ties: Ties, index: int, value: float, start: Floats) -> tuple[float, Floats]:
    """Return the maximum over the other coefficients with the one at `index` held at `value`, and where it is."""
    others = np.delete(start, index)

    def at(free: Floats) -> float:
        return penalised_log_likelihood(sets, np.insert(free, index, value), ties)

    if len(others) == 0:
        return at(others), np.array([value])
    free, best = _maximum(at, others)
    return best, np.insert(free, index, value)


def _maximum(function: Callable[[Floats], float], start: Floats) -> tuple[Floats, float]:
    found = scipy.optimize.minimize(lambda b: -function(b), start, method="BFGS", options={"gtol": 1e-7})
    return np.asarray(found.x), -float(found.fun)


def _limit(sets: RiskSets, ties: Ties, index: int, beta: Floats, target: float, sign: int) -> float:
    """Return where the profile falls to `target`, on the side of `sign`; infinite if it never does."""

    def above(value: float) -> float:
        return _profile(sets, ties, index, value, beta)[0] - target

    centre, width = float(beta[index]), 0.5
    while above(centre + sign * width) > 0:
        width *= 2
        if width > WIDEST:
            return sign * float("inf")
    inner, outer = sorted((centre, centre + sign * width))
    return float(scipy.optimize.brentq(above, inner, outer, xtol=1e-9))
