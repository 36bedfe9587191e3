"""Logistic regression, and what a predictor adds to others: the likelihood-ratio test of nested models.

The fit is statsmodels'. Whether a maximum of the likelihood exists at all is asked first, by a linear programme: where
a combination of the predictors separates the classes, estimates run to infinity, and other programs print large
numbers with a warning.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.optimize
import scipy.special
import scipy.stats
import statsmodels.genmod.families
import statsmodels.genmod.generalized_linear_model

from nnunet_ms.arrays import Floats
from nnunet_ms.statistics.input_checks import as_numbers, equally_long, missing_values, two_classes

NAN = float("nan")


SCORE_LEFT = 1e-5  # of the largest sum of (y - p) x, x of mean square 1, at a maximum: it is 0 there


@dataclass(frozen=True)
class LogisticFit:
    """Coefficients (log odds) with standard errors, and the log-likelihood; blank arrays where `problem` says why."""

    estimates: Floats
    se: Floats
    log_likelihood: float
    n: int
    events: int
    problem: str = ""


@dataclass(frozen=True)
class LikelihoodRatioTest:
    """Test of nested logistic models: twice the gain of the log-likelihood is chi-squared on `df` degrees of freedom.

    Attributes
    ----------
    statistic, df, p : float, int, float
        NaN where undefined.
    log_likelihood_base, log_likelihood_full : float
        Without and with the added predictors.
    n, events : int
        Rows, and rows with the event.
    problem : str
        Blank, or why there is no test.
    """

    statistic: float
    df: int
    p: float
    log_likelihood_base: float
    log_likelihood_full: float
    n: int
    events: int
    problem: str = ""


def fit_logistic(truth: npt.ArrayLike, predictors: npt.ArrayLike, offset: npt.ArrayLike | None = None) -> LogisticFit:
    """Logistic regression by maximum likelihood (R: `glm(y ~ 0 + X + offset(o), binomial)`).

    Parameters
    ----------
    truth : (n,) array
        1 with the event, 0 without.
    predictors : (n, k) floats
        With a column of ones where an intercept is wanted.
    offset : (n,) floats, optional
        Known log odds.

    Returns
    -------
    LogisticFit
        With a `problem` where values are missing, there is one class only, columns depend on each other, or the
        predictors separate the classes.

    Raises
    ------
    StatisticsError
        If lengths differ, or a value is no number.

    Examples
    --------
    >>> y, x = [0, 0, 1, 0, 1, 1], np.arange(6.0)
    >>> fit_logistic(y, np.column_stack([np.ones(6), x])).estimates.round(3).tolist()
    [-3.035, 1.214]
    >>> fit_logistic([0, 0, 0, 1, 1, 1], np.column_stack([np.ones(6), x])).problem
    'the predictors separate the classes: coefficients would be infinite'
    """
    (event,), problem = two_classes(truth=truth)
    X = as_numbers(predictors, "predictors", 2)
    known = np.zeros(event.size) if offset is None else as_numbers(offset, "offset")
    equally_long(truth=event, predictors=X, offset=known)
    y = event.astype(float)
    problem = problem or missing_values(predictors=X, offset=known) or _not_estimable(y, X)
    if problem:
        return LogisticFit(np.zeros(0), np.zeros(0), NAN, y.size, int(y.sum()), problem)
    scale = np.sqrt((X**2).mean(axis=0))  # columns of very unlike size cost digits
    family = statsmodels.genmod.families.Binomial()
    model = statsmodels.genmod.generalized_linear_model.GLM(y, X / scale, family=family, offset=known)
    with np.errstate(over="ignore"):  # of weights of rows that are certain
        fit = model.fit(tol=1e-13, maxiter=200)
        # Full steps from 0 overshoot where known log odds are large, and may end far away, as if converged.
        if not np.abs((X / scale).T @ (y - fit.fittedvalues)).max() < SCORE_LEFT:
            fit = model.fit(start_params=_damped_newton(y, X / scale, known), tol=1e-13, maxiter=200)
        if not np.abs((X / scale).T @ (y - fit.fittedvalues)).max() < SCORE_LEFT:
            return LogisticFit(np.zeros(0), np.zeros(0), NAN, y.size, int(y.sum()), "the fit does not converge")
        return LogisticFit(
            np.asarray(fit.params) / scale, np.asarray(fit.bse) / scale, float(fit.llf), y.size, int(y.sum())
        )


def likelihood_ratio_test(truth: npt.ArrayLike, base: npt.ArrayLike, added: npt.ArrayLike) -> LikelihoodRatioTest:
    """What `added` predictors add to those of `base` (R: `anova(glm_base, glm_full, test = "LRT")`).

    Parameters
    ----------
    truth : (n,) array
        1 with the event, 0 without.
    base : (n, k) floats
        Predictors without an intercept, which is added; k may be 0.
    added : (n, m) floats
        Further predictors. Take those of a model that has not been trained on these rows: the log odds that a network
        gives to its own training patients pass any test.

    Returns
    -------
    LikelihoodRatioTest
        With a `problem` as of `fit_logistic`.

    Raises
    ------
    StatisticsError
        If lengths differ, or a value is no number.

    Examples
    --------
    R prints a deviance of 0.47188 and p = 0.4921.

    >>> y, x = [0, 0, 1, 0, 1, 1, 0, 1], np.arange(8.0)
    >>> test = likelihood_ratio_test(y, x[:, None], (x % 4)[:, None])
    >>> test.df, round(test.statistic, 3), round(test.p, 3)
    (1, 0.472, 0.492)
    """
    one, more = as_numbers(base, "base", 2), as_numbers(added, "added", 2)
    equally_long(truth=truth, base=one, added=more)
    ones = np.ones((len(one), 1))
    full = fit_logistic(truth, np.concatenate([ones, one, more], axis=1))
    small = fit_logistic(truth, np.concatenate([ones, one], axis=1))
    df, sizes = more.shape[1], (full.n, full.events)
    problem = small.problem or full.problem or ("no predictor is added" if not df else "")
    if problem:
        return LikelihoodRatioTest(NAN, df, NAN, small.log_likelihood, full.log_likelihood, *sizes, problem)
    statistic = max(2 * (full.log_likelihood - small.log_likelihood), 0.0)
    p = float(scipy.stats.chi2.sf(statistic, df))
    return LikelihoodRatioTest(statistic, df, p, small.log_likelihood, full.log_likelihood, *sizes)


def _damped_newton(y: Floats, X: Floats, offset: Floats) -> Floats:
    """Maximum of the log-likelihood, which is concave, by steps that are halved until each of them improves it."""

    def log_likelihood(beta: Floats) -> float:
        signed = np.where(y == 1, -1.0, 1.0) * (X @ beta + offset)
        return -float(np.logaddexp(0, signed).sum())

    beta = np.zeros(X.shape[1])
    for _ in range(200):
        p = scipy.special.expit(X @ beta + offset)
        gradient, curvature = X.T @ (y - p), (X.T * (p * (1 - p))) @ X
        step = np.linalg.lstsq(curvature, gradient, rcond=None)[0]
        while log_likelihood(beta + step) < log_likelihood(beta) and np.abs(step).max() > 1e-12:
            step = step / 2
        beta = beta + step
        if np.abs(step).max() < 1e-10:
            break
    return beta


def _not_estimable(y: Floats, X: Floats) -> str:
    if not 0 < y.sum() < y.size:
        return f"{int(y.sum())} of {y.size} rows have the event, needs both classes"
    unit = X / np.maximum(np.sqrt((X**2).mean(axis=0)), 1e-300)
    if X.shape[1] > y.size or np.linalg.matrix_rank(unit) < X.shape[1]:
        return f"{X.shape[1]} predictors depend on each other, or are more than the {y.size} rows can tell apart"
    if _separated(y, unit):
        return "the predictors separate the classes: coefficients would be infinite"
    return ""


def _separated(y: Floats, X: Floats) -> bool:
    """Whether some combination of the columns is never on the wrong side, and somewhere not level (Konis 2007)."""
    signed = (2 * y - 1)[:, None] * X
    found = scipy.optimize.linprog(-signed.sum(axis=0), A_ub=-signed, b_ub=np.zeros(y.size), bounds=(-1, 1))
    return bool(found.success and -found.fun > 1e-7)
