"""Analysis of covariance with least-squares means, as R's `lm` and `emmeans` give them.

The fit is statsmodels'; least-squares means are written here, because it has none, and so are the robust standard
errors' degrees of freedom (`robust_covariance.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import scipy.stats
import statsmodels.regression.linear_model

from nnunet_ms.arrays import Floats
from nnunet_ms.options import chosen
from nnunet_ms.statistics.design_matrix import ARM, WEIGHTS, Design, Weights, arm_design, arms_problem
from nnunet_ms.statistics.input_checks import as_numbers, level, missing_columns
from nnunet_ms.statistics.robust_covariance import RobustEstimate, RobustFit, robust_fit


@dataclass(frozen=True)
class Coefficient:
    """One estimate of a linear model with its two-sided confidence limits; in the unit of the response."""

    term: str
    estimate: float
    se: float
    t: float
    df: float
    p: float
    low: float
    high: float


@dataclass(frozen=True)
class Mean:
    """A least-squares mean of one arm; `n` patients of that arm."""

    arm: str
    estimate: float
    se: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Ancova:
    """A fitted model. `problem` says why it is empty; `dropped` names covariates left out because they are constant.

    `contrasts_robust` and `means_robust` repeat the estimates with standard errors that hold where arms differ in
    variance (`robust_covariance.py`); empty, with `robust_problem`, where those do not exist.
    """

    contrasts: tuple[Coefficient, ...] = ()
    covariates: tuple[Coefficient, ...] = ()
    means: tuple[Mean, ...] = ()
    n: int = 0
    dropped: tuple[str, ...] = ()
    problem: str = ""
    intercept: Coefficient | None = None
    contrasts_robust: tuple[Coefficient, ...] = ()
    means_robust: tuple[Mean, ...] = ()
    robust_problem: str = ""


def ancova(
    frame: pd.DataFrame,
    response: str,
    arms: Sequence[str],
    numbers: Sequence[str] = (),
    factors: Sequence[str] = (),
    weights: Weights = "equal",
    confidence: float = 0.95,
    products: Sequence[tuple[str, str]] = (),
    references: Mapping[str, object] | None = None,
) -> Ancova:
    """Fit response ~ arm + covariates by ordinary least squares.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per patient, columns `arm`, `response` and the covariates.
    response : str
        The dependent column.
    arms : sequence of str
        The reference arm first.
    numbers, factors : sequence of str, optional
        Numeric covariates, and factors; a factor's first level in sorted order is its reference.
    weights : {"equal", "proportional"}, optional
        Least-squares means weigh the levels of every factor equally, or as often as the data hold them [1]_;
        numeric covariates are at their mean.
    confidence : float, optional
        Level of the two-sided intervals, in (0, 1).
    products : sequence of (str, str), optional
        Interactions, such as ("arm", "baseline"); then a contrast is that of the arms where its covariate is 0.
    references : mapping, optional
        Factor -> its reference level, where that is not the first in sorted order.

    Returns
    -------
    Ancova
        `contrasts`: each further arm minus the reference. With missing values, too few patients, patients in none of
        the arms, or a design in which arms and covariates cannot be told apart, `problem` says so and nothing is
        estimated.

    Raises
    ------
    OptionError
        If there are no such weights, or no such level.
    StatisticsError
        If a column is not there.

    References
    ----------
    .. [1] Lenth RV. emmeans, `weights` of `emmeans()`; Searle SR, Speed FM, Milliken GA. Am Stat 34:216-221, 1980.

    Examples
    --------
    >>> frame = pd.DataFrame({"arm": ["a"] * 3 + ["b"] * 3, "change": [1.0, 2.0, 3.0, 4.0, 6.0, 8.0]})
    >>> effect = ancova(frame, "change", ["a", "b"]).contrasts[0]
    >>> round(effect.estimate, 6), effect.df
    (4.0, 4.0)
    """
    chosen(weights, WEIGHTS, "weights")
    level(confidence)
    problem = missing_columns(frame, [response, ARM, *numbers, *factors]) or arms_problem(frame, arms)
    if problem:
        return Ancova(n=len(frame), problem=problem)
    design = arm_design(frame, arms, numbers, factors, weights, products, references)
    y = as_numbers(frame[response], response)
    problem = _problem(design, y)
    if problem:
        return Ancova(n=len(frame), dropped=design.dropped, problem=problem)
    fit = statsmodels.regression.linear_model.OLS(y, design.X).fit()
    quantile = float(scipy.stats.t.ppf(0.5 + confidence / 2, fit.df_resid))
    table = [_coefficient(fit, i, name, quantile) for i, name in enumerate(design.names)]
    last = len(arms)
    means = tuple(_mean(fit, design, arm, frame, quantile) for arm in arms)
    found = Ancova(tuple(table[1:last]), tuple(table[last:]), means, len(frame), design.dropped, "", table[0])
    return _with_robust(found, robust_fit(y, design.X), design, confidence)


def ranked_ancova(
    frame: pd.DataFrame,
    response: str,
    arms: Sequence[str],
    baseline: str,
    numbers: Sequence[str] = (),
    factors: Sequence[str] = (),
) -> Ancova:
    """Fit the analysis of covariance of ranks [1]_: response and baseline are ranked, ties share their mean rank.

    Parameters
    ----------
    frame, response, arms, numbers, factors
        As for `ancova`.
    baseline : str
        The covariate that is ranked too.

    Returns
    -------
    Ancova
        Estimates are in ranks and only the p values are of interest. Missing values: as `ancova`.

    Raises
    ------
    StatisticsError
        If a column is not there.

    References
    ----------
    .. [1] Conover WJ, Iman RL. Biometrics 38:715-724, 1982.

    Examples
    --------
    >>> frame = pd.DataFrame({"arm": ["placebo"] * 5 + ["active"] * 5})
    >>> frame["baseline"] = [3, 5, 2, 8, 6, 4, 7, 1, 9, 5.5]
    >>> frame["change"] = [1, 2, 1.5, 3, 2.5, -1, -2, 0, -3, 0.5]
    >>> fit = ranked_ancova(frame, "change", ["placebo", "active"], "baseline")
    >>> bool(fit.contrasts[0].p < 0.01)
    True
    """
    problem = missing_columns(frame, [response, baseline])
    if problem:
        return Ancova(n=len(frame), problem=problem)
    ranked = frame.assign(
        **{name: scipy.stats.rankdata(as_numbers(frame[name], name)) for name in (response, baseline)}
    )
    return ancova(ranked, response, arms, [baseline, *numbers], factors)


def _problem(design: Design, y: Floats) -> str:
    if len(y) <= design.X.shape[1]:
        return f"{len(y)} patients for {design.X.shape[1]} coefficients"
    if np.ptp(y) == 0:
        return "the response is constant"
    return design.rank_problem()


def _coefficient(
    fit: statsmodels.regression.linear_model.RegressionResults, i: int, name: str, q: float
) -> Coefficient:
    estimate, se = float(fit.params[i]), float(fit.bse[i])
    low, high = estimate - q * se, estimate + q * se
    return Coefficient(name, estimate, se, float(fit.tvalues[i]), float(fit.df_resid), float(fit.pvalues[i]), low, high)


def _mean(
    fit: statsmodels.regression.linear_model.RegressionResults,
    design: Design,
    arm: str,
    frame: pd.DataFrame,
    quantile: float,
) -> Mean:
    point = design.arm_point(arm)
    estimate = float(point @ fit.params)
    se = float(np.sqrt(point @ fit.cov_params() @ point))
    n = int((frame["arm"] == arm).sum())
    return Mean(arm, estimate, se, estimate - quantile * se, estimate + quantile * se, n)


def _with_robust(found: Ancova, fit: RobustFit, design: Design, confidence: float) -> Ancova:
    points = [np.eye(design.X.shape[1])[i] for i in range(1, len(design.arms))]
    points += [design.arm_point(mean.arm) for mean in found.means]
    estimates = [fit.combination(point) for point in points]
    problem = next((e.problem for e in estimates if e.problem), "")
    if problem:
        return replace(found, robust_problem=problem)
    table = [_robust_coefficient(e, c.term, confidence) for e, c in zip(estimates, found.contrasts, strict=False)]
    rest = [
        _robust_coefficient(e, m.arm, confidence) for e, m in zip(estimates[len(table) :], found.means, strict=True)
    ]
    means = (Mean(c.term, c.estimate, c.se, c.low, c.high, m.n) for c, m in zip(rest, found.means, strict=True))
    return replace(found, contrasts_robust=tuple(table), means_robust=tuple(means))


def _robust_coefficient(found: RobustEstimate, name: str, confidence: float) -> Coefficient:
    t = found.estimate / found.se
    half = float(scipy.stats.t.ppf(0.5 + confidence / 2, found.df)) * found.se
    p = 2 * float(scipy.stats.t.sf(abs(t), found.df))
    return Coefficient(name, found.estimate, found.se, t, found.df, p, found.estimate - half, found.estimate + half)
