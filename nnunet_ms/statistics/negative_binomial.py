"""Negative binomial regression by joint maximum likelihood, with both covariances that programs print.

Written here because statsmodels can answer NaN with `converged=True` when counts have no overdispersion, and because a
bootstrap needs thousands of fits with a warm start. Variance of a count: mu + alpha * mu^2 (NB2).
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, polygamma, psi

from nnunet_ms.arrays import Floats
from nnunet_ms.statistics.input_checks import equally_long, missing_values, refuse
from nnunet_ms.statistics.linear_systems import inverse_or_nan, solve_or_none

MAXIMUM_STEPS = 100
SCORE_TOLERANCE = 1e-9
SMALLEST_LOG_ALPHA = -12.0  # alpha below 6e-6: nothing left beside the Poisson variance


@dataclass(frozen=True)
class CountFit:
    """A fitted model.

    `beta` (k,) on the log scale; `alpha` 0 for Poisson; `expected`: (k, k) covariance at fixed alpha with the expected
    information (R `glm.nb`); `observed`: (k, k) block of the inverse observed information of all parameters (SAS
    GENMOD). `converged` False: nothing may be reported.
    """

    beta: Floats
    alpha: float
    log_likelihood: float
    expected: Floats
    observed: Floats
    converged: bool

    @property
    def is_poisson(self) -> bool:
        """Whether there is no overdispersion."""
        return self.alpha == 0.0


def fit_poisson(y: Floats, X: Floats, offset: Floats, weights: Floats | None = None) -> CountFit:
    """Fit log E(y) = X beta + offset by Newton's method.

    Parameters
    ----------
    y : (n,) float array
        Counts, >= 0.
    X : (n, k) float array
        Of full rank; no column may be nonzero only where counts are 0.
    offset : (n,) float array
        Log of the exposure.
    weights : (n,) float array, optional
        How often each row counts (a bootstrap draw).

    Raises
    ------
    StatisticsError
        If lengths differ or a value is missing.

    Examples
    --------
    The rate of 8 events in 4 patients who were seen once each:

    >>> fit = fit_poisson(np.array([0.0, 1.0, 3.0, 4.0]), np.ones((4, 1)), np.zeros(4))
    >>> round(float(np.exp(fit.beta[0])), 6)
    2.0
    """
    _check(y, X, offset, weights)
    w = np.ones(len(y)) if weights is None else weights
    beta = _first_guess(y, X, offset, w)
    converged = False
    for _ in range(MAXIMUM_STEPS):
        mu = np.exp(np.clip(X @ beta + offset, -30, 30))
        score = X.T @ (w * (y - mu))
        converged = bool(np.abs(score).max() < SCORE_TOLERANCE * max(1.0, float(w @ y)))
        information = (X * (w * mu)[:, None]).T @ X
        step = solve_or_none(information, score)
        if converged or step is None:
            break
        beta = beta + step * min(1.0, 4.0 / max(float(np.abs(step).max()), 1e-300))
    mu = np.exp(np.clip(X @ beta + offset, -30, 30))
    covariance = inverse_or_nan((X * (w * mu)[:, None]).T @ X)
    log_likelihood = float(w @ (y * np.log(mu) - mu - gammaln(y + 1)))
    return CountFit(beta, 0.0, log_likelihood, covariance, covariance, converged)


def overdispersion_score(y: Floats, mu: Floats, weights: Floats | None = None) -> float:
    """Return the derivative of the log-likelihood in alpha at alpha = 0; <= 0: Poisson is the maximum [1]_.

    References
    ----------
    .. [1] Dean C, Lawless JF. J Am Stat Assoc 84:467-472, 1989.
    """
    w = np.ones(len(y)) if weights is None else weights
    return float(0.5 * w @ ((y - mu) ** 2 - y))


def fit_negative_binomial(
    y: Floats, X: Floats, offset: Floats, weights: Floats | None = None, start: Floats | None = None
) -> CountFit:
    """Fit the NB2 model by Newton's method in (beta, log alpha); Poisson where counts show no overdispersion.

    Parameters
    ----------
    y, X, offset, weights
        As for `fit_poisson`.
    start : (k + 1,) float array, optional
        beta and log alpha to start from.

    Raises
    ------
    StatisticsError
        If lengths differ or a value is missing.
    """
    _check(y, X, offset, weights)
    w = np.ones(len(y)) if weights is None else weights
    if start is None:
        poisson = fit_poisson(y, X, offset, w)
        mu = np.exp(np.clip(X @ poisson.beta + offset, -30, 30))
        if not poisson.converged or overdispersion_score(y, mu, w) <= 0:
            return poisson
        moment = float(w @ ((y - mu) ** 2 - y)) / float(w @ mu**2)
        start = np.append(poisson.beta, np.log(max(moment, 1e-3)))
    theta, converged = _climb(y, X, offset, w, start)
    if converged and theta[-1] <= SMALLEST_LOG_ALPHA:
        return fit_poisson(y, X, offset, w)
    value, _, hessian = _derivatives(y, X, offset, w, theta)
    alpha, k = float(np.exp(theta[-1])), X.shape[1]
    mu = np.exp(np.clip(X @ theta[:-1] + offset, -30, 30))
    expected = inverse_or_nan((X * (w * mu / (1 + alpha * mu))[:, None]).T @ X)
    observed = inverse_or_nan(-hessian)[:k, :k]
    return CountFit(theta[:-1], alpha, value, expected, observed, converged)


def _check(y: Floats, X: Floats, offset: Floats, weights: Floats | None) -> None:
    equally_long(counts=y, design=X, offset=offset, weights=weights)
    refuse(missing_values(counts=y, design=X, offset=offset, weights=weights))


def _climb(y: Floats, X: Floats, offset: Floats, w: Floats, theta: Floats) -> tuple[Floats, bool]:
    value, score, hessian = _derivatives(y, X, offset, w, theta)
    scale = max(1.0, float(w @ y))
    for _ in range(MAXIMUM_STEPS):
        if np.abs(score).max() < SCORE_TOLERANCE * scale or theta[-1] <= SMALLEST_LOG_ALPHA:
            return theta, True
        step = _uphill(hessian, score)
        for _ in range(30):
            tried = theta + step
            tried[-1] = np.clip(tried[-1], SMALLEST_LOG_ALPHA, 8.0)
            new = _derivatives(y, X, offset, w, tried)
            if new[0] >= value - 1e-10 * abs(value):
                break
            step = step / 2
        else:
            return theta, False
        theta, (value, score, hessian) = tried, new
    return theta, False


def _derivatives(y: Floats, X: Floats, offset: Floats, w: Floats, theta: Floats) -> tuple[float, Floats, Floats]:
    """Return log-likelihood, score (k + 1,) and Hessian (k + 1, k + 1) in (beta, log alpha)."""
    r = float(np.exp(-theta[-1]))
    mu = np.exp(np.clip(X @ theta[:-1] + offset, -30, 30))
    total = r + mu
    value = float(w @ (gammaln(y + r) - gammaln(r) - gammaln(y + 1) + r * np.log(r / total) + y * np.log(mu / total)))
    d_eta = w * (y - mu) * r / total
    d_eta2 = -w * mu * r * (y + r) / total**2
    d_r = float(w @ (psi(y + r) - psi(r) + np.log(r / total) + 1 - (y + r) / total))
    d_r2 = float(w @ (polygamma(1, y + r) - polygamma(1, r) + 1 / r - 1 / total - (mu - y) / total**2))
    d_eta_r = w * mu * (y - mu) / total**2
    k = X.shape[1]
    score = np.append(X.T @ d_eta, -r * d_r)  # d r / d log alpha = -r
    hessian = np.empty((k + 1, k + 1))
    hessian[:k, :k] = (X * d_eta2[:, None]).T @ X
    hessian[:k, k] = hessian[k, :k] = -r * (X.T @ d_eta_r)
    hessian[k, k] = r * r * d_r2 + r * d_r
    return value, score, hessian


def _uphill(hessian: Floats, score: Floats) -> Floats:
    """Return Newton's step, made an ascent direction where the likelihood is not concave."""
    values, vectors = np.linalg.eigh(-hessian)
    values = np.maximum(np.abs(values), 1e-8 * np.abs(values).max())
    step = np.asarray(vectors @ ((vectors.T @ score) / values))
    return step * min(1.0, 3.0 / max(float(np.abs(step).max()), 1e-300))


def _first_guess(y: Floats, X: Floats, offset: Floats, w: Floats) -> Floats:
    """Return beta of a constant rate: the intercept's column is the first."""
    beta = np.zeros(X.shape[1])
    beta[0] = np.log(max(float(w @ y), 0.5) / float(w @ np.exp(offset)))
    return beta
