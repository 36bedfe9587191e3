"""Analysis of covariance with least-squares means, as R's `lm` and `emmeans` give them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.stats
import statsmodels.regression.linear_model

Floats = npt.NDArray[np.float64]

WEIGHTS = ("equal", "proportional")


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
    """A fitted model. `problem` says why it is empty; `dropped` names covariates left out because they are constant."""

    contrasts: tuple[Coefficient, ...] = ()
    covariates: tuple[Coefficient, ...] = ()
    means: tuple[Mean, ...] = ()
    n: int = 0
    dropped: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class _Design:
    """`X` (n, k) with one name, and one value in the reference grid, per column."""

    X: Floats
    names: list[str] = field(default_factory=list)
    grid: list[float] = field(default_factory=list)


def ancova(
    frame: pd.DataFrame,
    response: str,
    arms: Sequence[str],
    numbers: Sequence[str] = (),
    factors: Sequence[str] = (),
    weights: str = "equal",
    confidence: float = 0.95,
) -> Ancova:
    """Fit response ~ arm + covariates by ordinary least squares.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per patient, columns `arm`, `response` and the covariates, without missing values.
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

    Returns
    -------
    Ancova
        `contrasts`: each further arm minus the reference. With too few patients, or a design in which arms and
        covariates cannot be told apart, `problem` says so and nothing is estimated.

    References
    ----------
    .. [1] Lenth RV. emmeans, `weights` of `emmeans()`; Searle SR, Speed FM, Milliken GA. Am Stat 34:216-221, 1980.
    """
    kept_numbers, kept_factors, dropped = _varying(frame, numbers, factors)
    design = _design(frame, arms[1:], kept_numbers, kept_factors, weights)
    y = frame[response].to_numpy(float)
    problem = _problem(frame, design, y, arms)
    if problem:
        return Ancova(n=len(frame), dropped=dropped, problem=problem)
    fit = statsmodels.regression.linear_model.OLS(y, design.X).fit()
    quantile = float(scipy.stats.t.ppf(0.5 + confidence / 2, fit.df_resid))
    table = [_coefficient(fit, i, name, quantile) for i, name in enumerate(design.names)]
    last = len(arms)
    means = tuple(_mean(fit, design, i, arm, frame, quantile) for i, arm in enumerate(arms))
    return Ancova(tuple(table[1:last]), tuple(table[last:]), means, len(frame), dropped)


def _varying(
    frame: pd.DataFrame, numbers: Sequence[str], factors: Sequence[str]
) -> tuple[list[str], list[str], tuple[str, ...]]:
    constant = [name for name in (*numbers, *factors) if frame[name].nunique() < 2]
    return (
        [name for name in numbers if name not in constant],
        [name for name in factors if name not in constant],
        tuple(constant),
    )


def _design(
    frame: pd.DataFrame, compared: Sequence[str], numbers: Sequence[str], factors: Sequence[str], weights: str
) -> _Design:
    """Columns: intercept, one per compared arm (0 in the grid: arms are set later), numbers, factor levels."""
    columns: list[Floats] = [np.ones(len(frame))]
    names, grid = ["intercept"], [1.0]
    for arm in compared:
        columns.append((frame["arm"] == arm).to_numpy(float))
        names.append(arm)
        grid.append(0.0)
    for name in numbers:
        columns.append(frame[name].to_numpy(float))
        names.append(name)
        grid.append(float(columns[-1].mean()) if len(frame) else 0.0)
    for name in factors:
        levels = sorted(frame[name].unique())
        for level in levels[1:]:
            columns.append((frame[name] == level).to_numpy(float))
            names.append(f"{name}: {level}")
            # no interactions, so weights by the cells' frequencies are the levels' frequencies
            grid.append(1 / len(levels) if weights == "equal" else float(columns[-1].mean()))
    return _Design(np.column_stack(columns), names, grid)


def _problem(frame: pd.DataFrame, design: _Design, y: Floats, arms: Sequence[str]) -> str:
    for arm in arms:
        count = int((frame["arm"] == arm).sum())
        if count < 2:
            return f"{count} patient{'s' * (count != 1)} in arm {arm}, needs 2"
    if len(y) <= design.X.shape[1]:
        return f"{len(y)} patients for {design.X.shape[1]} coefficients"
    if np.ptp(y) == 0:
        return "the response is constant"
    # columns of unit length, because a volume in ml and a flag differ by orders of magnitude
    if np.linalg.matrix_rank(design.X / np.linalg.norm(design.X, axis=0)) < design.X.shape[1]:
        return "arm and covariates are confounded"
    return ""


def _coefficient(
    fit: statsmodels.regression.linear_model.RegressionResults, i: int, name: str, q: float
) -> Coefficient:
    estimate, se = float(fit.params[i]), float(fit.bse[i])
    low, high = estimate - q * se, estimate + q * se
    return Coefficient(name, estimate, se, float(fit.tvalues[i]), float(fit.df_resid), float(fit.pvalues[i]), low, high)


def _mean(
    fit: statsmodels.regression.linear_model.RegressionResults,
    design: _Design,
    index: int,
    arm: str,
    frame: pd.DataFrame,
    quantile: float,
) -> Mean:
    point = np.array(design.grid)
    if index:
        point[index] = 1.0
    estimate = float(point @ fit.params)
    se = float(np.sqrt(point @ fit.cov_params() @ point))
    n = int((frame["arm"] == arm).sum())
    return Mean(arm, estimate, se, estimate - quantile * se, estimate + quantile * se, n)
