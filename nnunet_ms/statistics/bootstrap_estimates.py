"""Estimates of many bootstrap draws at once, where each draw's estimate solves sums over its patients.

Written here, because no library fits many weighted samples together.
"""

from collections.abc import Callable

import numpy as np

from nnunet_ms.arrays import Floats, Indices
from nnunet_ms.statistics.input_checks import equally_long
from nnunet_ms.statistics.linear_systems import solve_each

NEWTON_STEPS = 25
TOLERANCE = 1e-9
INFINITE = 30.0


def sums_effect(products: Floats, right: Floats, column: int) -> Callable[[Floats], Floats]:
    """Return the estimate that solves (sum of w A_i) b = sum of w b_i.

    Parameters
    ----------
    products, right : (n, k, k) and (n, k) arrays
        What each patient adds to both sides.
    column : int
        The coefficient wanted.

    Returns
    -------
    callable
        (draws, n) weights -> (draws,) estimates; NaN where a draw gives none.

    Raises
    ------
    StatisticsError
        If lengths differ.

    Examples
    --------
    The mean of 1 and 3, and that of a draw that has the second twice:

    >>> mean = sums_effect(np.ones((2, 1, 1)), np.array([[1.0], [3.0]]), 0)
    >>> mean(np.array([[1.0, 1.0], [0.0, 2.0]])).tolist()
    [2.0, 3.0]
    """
    equally_long(products=products, right=right)
    n, k = right.shape
    flat = products.reshape(n, k * k)
    return lambda weights: solve_each((weights @ flat).reshape(-1, k, k), weights @ right)[:, column]


def mixed_model_effect(
    y: Floats, X: Floats, patient: Indices, visit: Indices, sigma: Floats, column: int
) -> Callable[[Floats], Floats]:
    """Return a coefficient of generalised least squares with the visits' covariance held fixed.

    Parameters
    ----------
    y, X : (rows,) and (rows, k) arrays
        One row per patient and visit.
    patient, visit : (rows,) integer arrays
        0 ... n - 1 in the order of the draws' weights, and the row of `sigma`.
    sigma : (m, m) array
        Covariance of the visits, from the whole sample (`mmrm.fit_mmrm`).
    column : int
        The coefficient wanted.

    Raises
    ------
    StatisticsError
        If lengths differ.
    """
    equally_long(y=y, X=X, patient=patient, visit=visit)
    n, k = int(patient.max()) + 1, X.shape[1]
    products, right = np.zeros((n, k, k)), np.zeros((n, k))
    order = np.argsort(patient, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(patient[order])) + 1):
        inverse = np.linalg.inv(sigma[np.ix_(visit[rows], visit[rows])])
        weighted = X[rows].T @ inverse
        products[patient[rows[0]]], right[patient[rows[0]]] = weighted @ X[rows], weighted @ y[rows]
    return sums_effect(products, right, column)


def rate_effect(
    y: Floats, X: Floats, offset: Floats, alpha: float, start: Floats, column: int
) -> Callable[[Floats], Floats]:
    """Return a log rate ratio of the negative binomial model with the dispersion held fixed.

    Parameters
    ----------
    y, X, offset
        As for `negative_binomial.fit_negative_binomial`.
    alpha, start : float and (k,) array
        Dispersion and coefficients of the whole sample.
    column : int
        The coefficient wanted.

    Raises
    ------
    StatisticsError
        If lengths differ.
    """
    equally_long(y=y, X=X, offset=offset)
    n, k = X.shape
    flat = (X[:, :, None] * X[:, None, :]).reshape(n, k * k)

    def effect(weights: Floats) -> Floats:
        beta = np.tile(start, (len(weights), 1))
        open_draws = np.arange(len(weights))
        for _ in range(NEWTON_STEPS):
            w = weights[open_draws]
            mu = np.exp(np.clip(beta[open_draws] @ X.T + offset, -30, 30))
            share = w / (1 + alpha * mu)
            step = solve_each(((share * mu) @ flat).reshape(-1, k, k), (share * (y - mu)) @ X)
            size = np.abs(step).max(axis=1)
            beta[open_draws] += step * np.minimum(1.0, 3.0 / np.maximum(size, 1e-300))[:, None]
            lost = ~np.isfinite(size) | (np.abs(beta[open_draws]).max(axis=1) > INFINITE)
            beta[open_draws[lost]] = np.nan
            open_draws = open_draws[~lost & (size > TOLERANCE)]
            if not len(open_draws):
                break
        beta[open_draws] = np.nan
        return np.asarray(beta[:, column])

    return effect
