"""Platt's scaling of voxels: log-odds z become a + b z, by maximum likelihood over volumes in bins of log-odds.

References
----------
.. [1] Platt J. Probabilistic outputs for support vector machines. Advances in Large Margin Classifiers, 61-74, 1999.
"""

import numpy as np

from nnunet_ms.arrays import Floats

WIDTH, END = 0.02, 20.0  # of bins of log-odds; below -20 a million voxels hold 0.002 of one
LOG_ODDS: Floats = np.arange(-END, END, WIDTH) + WIDTH / 2  # middles of the bins, (B,)
_GENTLE = 1e-4  # penalty of the parameters, as a share of the lesion volume: perfect predictions have no optimum


def fit_platt(volumes: Floats, lesions: Floats, start: tuple[float, float] = (0.0, 1.0)) -> tuple[float, float]:
    """Maximum-likelihood (a, b) of P(lesion) = 1 / (1 + exp(-(a + b z))), by Newton's method.

    Parameters
    ----------
    volumes, lesions : (B,) float arrays
        Volume of all voxels, and of lesion, in each bin of log-odds z.
    start : (float, float), optional

    Examples
    --------
    Log-odds that are twice what they should be:

    >>> volumes = np.ones_like(LOG_ODDS)
    >>> a, b = fit_platt(volumes, volumes / (1 + np.exp(-(LOG_ODDS / 2 - 1))))
    >>> round(a, 2), round(b, 2)
    (-1.0, 0.5)
    """
    design = np.stack([np.ones_like(LOG_ODDS), LOG_ODDS])
    prior, gentle = np.array([0.0, 1.0]), _GENTLE * float(lesions.sum()) + 1e-12

    def loss(at: Floats) -> float:
        z = at @ design
        likely = float(volumes @ np.logaddexp(0, z) - lesions @ z)
        return likely + gentle / 2 * float(((at - prior) ** 2).sum())

    at = np.array(start)
    now = loss(at)
    for _ in range(100):
        p = logistic(at @ design)
        slope = design @ (volumes * p - lesions) + gentle * (at - prior)
        curvature = (design * (volumes * p * (1 - p))) @ design.T + gentle * np.eye(2)
        step = np.linalg.solve(curvature, slope)
        size = 1.0
        while loss(at - size * step) > now and size > 1e-6:
            size /= 2
        at, before = at - size * step, now
        now = loss(at)
        if abs(before - now) <= 1e-12 * (1 + abs(now)):
            break
    return float(at[0]), float(at[1])


def logistic(z: Floats) -> Floats:
    """1 / (1 + exp(-z)), without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(z / 2)), dtype=np.float64)
