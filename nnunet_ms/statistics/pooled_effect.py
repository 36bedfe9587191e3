"""One effect over several trials: common-effect and random-effects meta-analysis of estimates with standard errors."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import chi2, norm

from nnunet_ms.arrays import Floats
from nnunet_ms.errors import StatisticsError
from nnunet_ms.statistics import input_checks

Model = Literal["common effect", "random effects"]


@dataclass(frozen=True)
class PooledEffect:
    """A pooled estimate on the scale of the estimates, with normal limits.

    `q`, `q_p`: Cochran's test of equal effects, chi-squared on k - 1 degrees of freedom. `i_squared`: share of the
    spread that is not chance, 0 where `q` is below its degrees of freedom.
    """

    model: Model
    estimate: float
    se: float
    low: float
    high: float
    q: float
    q_p: float
    i_squared: float


def pooled_effect(estimates: Floats, errors: Floats, confidence: float = 0.95) -> tuple[PooledEffect, PooledEffect]:
    """Pool the estimates of k trials, weighted by the inverse of their variances [1]_ [2]_.

    Parameters
    ----------
    estimates, errors : (k,) float arrays
        On a scale on which they are about normal, such as log hazard ratios, and their standard errors, > 0; k >= 2.
    confidence : float, optional
        Level of the limits, in (0, 1).

    Returns
    -------
    tuple of PooledEffect
        Under one effect for all trials, and under effects that vary between them (DerSimonian and Laird's variance,
        without Hartung and Knapp's correction: with a few trials its limits are too narrow).

    Raises
    ------
    StatisticsError
        If there are fewer than two trials, or a number is not finite or a standard error not above 0.

    References
    ----------
    .. [1] Borenstein M, Hedges LV, Higgins JPT, Rothstein HR. Introduction to Meta-Analysis, chapters 11, 12 and 16.
       Wiley, 2009.
    .. [2] DerSimonian R, Laird N. Control Clin Trials 7:177-188, 1986. doi:10.1016/0197-2456(86)90046-2

    Examples
    --------
    >>> common, random = pooled_effect(np.log([0.60, 0.76]), np.array([0.15, 0.13]))
    >>> round(float(np.exp(common.estimate)), 2), round(float(np.exp(random.high)), 2)
    (0.69, 0.86)
    """
    values, se = np.asarray(estimates, dtype=float), np.asarray(errors, dtype=float)
    if len(values) < 2 or len(values) != len(se) or not np.isfinite([*values, *se]).all() or (se <= 0).any():
        raise StatisticsError(
            f"estimates, errors: expected finite estimates of at least two trials and standard errors > 0, found "
            f"{values.tolist()} and {se.tolist()}. Leave out what is not estimable."
        )
    z = float(norm.ppf((1 + input_checks.level(confidence)) / 2))
    # statsmodels' combine_effects does not cut a negative variance between trials at 0, and has NaN there
    weights, df = se**-2, len(values) - 1
    common = _weighted(values, weights)
    q = float(weights @ (values - common[0]) ** 2)
    between = max(0.0, (q - df) / float(weights.sum() - (weights**2).sum() / weights.sum()))
    share = max(0.0, (q - df) / q) if q > 0 else 0.0

    def pooled(model: Model, estimate: float, error: float) -> PooledEffect:
        limits = estimate - z * error, estimate + z * error
        return PooledEffect(model, estimate, error, *limits, q, float(chi2.sf(q, df)), share)

    random = _weighted(values, 1 / (se**2 + between))
    return pooled("common effect", *common), pooled("random effects", *random)


def _weighted(values: Floats, weights: Floats) -> tuple[float, float]:
    """Weighted mean, and its standard error where weights are inverse variances."""
    return float(weights @ values / weights.sum()), float(weights.sum() ** -0.5)
