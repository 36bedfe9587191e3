"""The design matrix that all models of this room share: intercept, arms, numeric covariates, factors.

Columns and their coding are R's `contr.treatment`; the reference grid is that of `emmeans`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from nnunet_ms.arrays import Floats

WEIGHTS = ("equal", "proportional")
INTERCEPT = "intercept"


@dataclass(frozen=True)
class Design:
    """A model matrix and the point at which least-squares means are taken.

    Parameters
    ----------
    X : (n, k) float array
        First the intercept, then one column per compared arm, then numbers, then factor levels.
    names : tuple of str
        One per column; a factor's level as "factor: level".
    grid : (k,) float array
        Value of each column in the reference grid; 0 for arms, which are set by `arm_point`.
    arms : tuple of str
        The reference first.
    dropped : tuple of str
        Covariates left out because they are constant in these data.
    """

    X: Floats
    names: tuple[str, ...]
    grid: Floats
    arms: tuple[str, ...]
    dropped: tuple[str, ...] = ()

    def arm_point(self, arm: str) -> Floats:
        """Return the (k,) row of the reference grid for one arm."""
        point = self.grid.copy()
        index = self.arms.index(arm)
        if index:
            point[index] = 1.0
        return point

    def rank_problem(self) -> str:
        """Say why the columns cannot be told apart; blank text if they can."""
        if len(self.X) == 0:
            return "no patients"
        length = np.linalg.norm(self.X, axis=0)
        if (length == 0).any():
            return "nobody in " + ", ".join(n for n, v in zip(self.names, length, strict=True) if v == 0)
        # columns of unit length, because a volume in ml and a flag differ by orders of magnitude
        if np.linalg.matrix_rank(self.X / length) < self.X.shape[1]:
            return "arm and covariates are confounded"
        return ""


def arm_design(
    frame: pd.DataFrame,
    arms: Sequence[str],
    numbers: Sequence[str] = (),
    factors: Sequence[str] = (),
    weights: str = "equal",
) -> Design:
    """Return the design of: intercept + arm + numbers + factors.

    Parameters
    ----------
    frame : pandas.DataFrame
        Columns `arm` and the covariates, without missing values.
    arms : sequence of str
        The reference arm first.
    numbers, factors : sequence of str, optional
        Numeric covariates, and factors; a factor's first level in sorted order is its reference. Constant ones are
        left out and named in `dropped`.
    weights : {"equal", "proportional"}, optional
        How the reference grid weighs the levels of a factor; numeric covariates are at their mean.
    """
    constant = tuple(name for name in (*numbers, *factors) if frame[name].nunique() < 2)
    columns: list[Floats] = [np.ones(len(frame))]
    names, grid = [INTERCEPT], [1.0]
    for arm in arms[1:]:
        columns.append((frame["arm"] == arm).to_numpy(float))
        names.append(arm)
        grid.append(0.0)
    for name in (n for n in numbers if n not in constant):
        columns.append(frame[name].to_numpy(float))
        names.append(name)
        grid.append(float(columns[-1].mean()))
    for name in (n for n in factors if n not in constant):
        levels = sorted(frame[name].unique())
        for level in levels[1:]:
            columns.append((frame[name] == level).to_numpy(float))
            names.append(f"{name}: {level}")
            # no interactions, so weights by the cells' frequencies are the levels' frequencies
            grid.append(1 / len(levels) if weights == "equal" else float(columns[-1].mean()))
    return Design(np.column_stack(columns), tuple(names), np.array(grid), tuple(arms), constant)


def few_in_an_arm(frame: pd.DataFrame, arms: Sequence[str], needed: int = 2) -> str:
    """Say which arm has fewer than `needed` patients; blank text if none has."""
    for arm in arms:
        count = int((frame["arm"] == arm).sum())
        if count < needed:
            return f"{count} patient{'s' * (count != 1)} in arm {arm}, needs {needed}"
    return ""
