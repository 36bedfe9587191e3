"""Means of several methods on the same studies, from a mixed model with one random intercept per study.

Beside the paper's paired and unpaired tests (`repeated_measures`): one model uses every value, also of studies that
lack some methods, and compares a method that was scored on few studies within those studies.

Written here, because statsmodels' MixedLM stops or warns by the last digits where the studies hardly differ: with one
variance ratio the restricted likelihood is a curve, whose top is found without derivatives.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.optimize
import scipy.stats

from nnunet_ms.arrays import Floats, Indices
from nnunet_ms.statistics.input_checks import as_numbers, equally_long, refuse
from nnunet_ms.statistics.repeated_measures import Contrast

NAN = float("nan")


@dataclass(frozen=True)
class MixedMeans:
    """Means of the methods from a model with one random intercept per study (REML); `covariance` (k, k) of the means.

    `df`: rows - studies - methods + 1, as nlme counts them for what varies within studies.
    """

    methods: tuple[str, ...]
    means: Floats
    covariance: Floats
    study_variance: float
    residual_variance: float
    df: int
    problem: str = ""

    def contrast(self, first: str, second: str) -> Contrast:
        """Compare two methods; NaN where nothing was fitted or a method is not in the model."""
        absent = [name for name in (first, second) if name not in self.methods]
        if self.problem or absent:
            return Contrast(*(NAN,) * 5, self.problem or f"no value of {', '.join(absent)}")
        point = np.array([float(name == first) - float(name == second) for name in self.methods])
        difference, se = float(point @ self.means), float(np.sqrt(point @ self.covariance @ point))
        t = difference / se
        return Contrast(difference, se, self.df, t, 2 * float(scipy.stats.t.sf(abs(t), self.df)))


def mixed_means(studies: Sequence[object], methods: Sequence[str], values: npt.ArrayLike) -> MixedMeans:
    """Fit value = mean of the method + intercept of the study + residual, by REML.

    Parameters
    ----------
    studies : (n,) sequence
        Which study a value is of.
    methods : (n,) sequence of str
        Which method.
    values : (n,) array
        NaN is left out.

    Returns
    -------
    MixedMeans
        With too few values, or where the fit does not converge, `problem` says so.

    Raises
    ------
    StatisticsError
        If lengths differ, or a value is infinite or no number.

    Examples
    --------
    With complete data a difference is that of the means, its t the paired one.

    >>> found = mixed_means([1, 1, 2, 2, 3, 3], ["ft", "dn"] * 3, [0.5, 0.4, 0.7, 0.5, 0.9, 0.6])
    >>> contrast = found.contrast("ft", "dn")
    >>> round(contrast.difference, 4), round(contrast.t, 3), contrast.df
    (0.2, 3.464, 2)
    """
    y = as_numbers(values, "values")
    refuse(f"{np.isinf(y).sum()} of {len(y)} values are infinite" if np.isinf(y).any() else "")
    equally_long(studies=np.asarray(studies), methods=np.asarray(methods), values=y)
    known = ~np.isnan(y)
    y, who = y[known], pd.factorize(np.asarray(studies)[known])[0]
    names = tuple(sorted({str(method) for method, there in zip(methods, known, strict=True) if there}))
    X = np.array([[float(str(m) == name) for name in names] for m, there in zip(methods, known, strict=True) if there])
    n_studies = len(set(who.tolist()))
    df = len(y) - n_studies - len(names) + 1
    nothing = MixedMeans(names, np.full(len(names), NAN), np.full((len(names),) * 2, NAN), NAN, NAN, df)
    if df < 1 or n_studies < 2 or len(names) < 2:
        return replace(nothing, problem=f"{len(y)} values of {n_studies} studies for {len(names)} methods")
    if np.ptp(y - X @ np.linalg.lstsq(X, y, rcond=None)[0]) <= 1e-12 * np.abs(y).max():
        return replace(nothing, problem="no value differs from the others of its method")
    found = scipy.optimize.minimize_scalar(
        lambda share: _fit(share, y, X, who)[0], bounds=(0.0, 1 - 1e-9), method="bounded", options={"xatol": 1e-10}
    )
    share = min((0.0, float(found.x)), key=lambda one: _fit(one, y, X, who)[0])  # 0: studies do not differ
    _, means, covariance, residual = _fit(share, y, X, who)
    return MixedMeans(names, means, covariance, residual * share / (1 - share), residual, df)


def _fit(share: float, y: Floats, X: Floats, who: Indices) -> tuple[float, Floats, Floats, float]:
    """Fit with a given share of the variance between studies, in [0, 1).

    Returns minus twice the restricted log-likelihood without its constant, the means, their covariance, and the
    residual variance. The inverse covariance of a study of n rows is I - w 1 1', w = r / (1 + n r), r the ratio of the
    variances.
    """
    ratio, rows = share / (1 - share), np.bincount(who)
    weight = ratio / (1 + rows * ratio)
    both = np.column_stack([X, y])
    sums = np.zeros((len(rows), both.shape[1]))
    np.add.at(sums, who, both)
    products = both.T @ both - (sums * weight[:, None]).T @ sums
    information, right = products[:-1, :-1], products[:-1, -1]
    means = np.asarray(np.linalg.solve(information, right), np.float64)
    df = len(y) - X.shape[1]
    residual = float(products[-1, -1] - right @ means) / df
    curvature = float(np.linalg.slogdet(information)[1])
    value = df * float(np.log(residual)) + float(np.log1p(rows * ratio).sum()) + curvature
    return value, means, np.asarray(residual * np.linalg.inv(information), np.float64), residual
