"""Times by which a share of patients has had the event, and differences of survival at a landmark.

Written here, because statsmodels has quantiles without the scale of the interval or the middle of a flat step, and
neither it nor lifelines has the difference at a landmark.
"""

from dataclasses import dataclass
from typing import get_args

import numpy as np
import pandas as pd
import scipy.stats

from nnunet_ms.errors import StatisticsError
from nnunet_ms.options import chosen
from nnunet_ms.statistics.input_checks import level
from nnunet_ms.statistics.survival import FlatStep, WaldDifference, falls_to, wald_difference


@dataclass(frozen=True)
class Quantile:
    """A time with its limits, in weeks; NaN where a curve does not fall that far."""

    estimate: float
    low: float
    high: float


def quantile_time(curve: pd.DataFrame, share: float, flat_step: FlatStep = "midpoint") -> Quantile:
    """Return when `share` of the patients have had the event, with the interval of Brookmeyer and Crowley [1]_.

    Parameters
    ----------
    curve : pandas.DataFrame
        From `survival.kaplan_meier`; its limits give those of the time, on their scale and at their level.
    share : float
        In (0, 1): 0.5 is the median.
    flat_step : {"midpoint", "between_events", "first"}, optional
        As in `survival.median_time`. Limits of survival that rise again at the end of a curve: with "midpoint" the
        time of the largest limit that is not above the share, as R, else the first time that is reached.

    Raises
    ------
    OptionError, StatisticsError
        If there is no such `flat_step`, or the share is not between 0 and 1.

    References
    ----------
    .. [1] Brookmeyer R, Crowley J. Biometrics 38:29-41, 1982. doi:10.2307/2530286

    Examples
    --------
    R: `quantile(survfit(Surv(1:12) ~ 1, conf.type = "log-log"), 0.5)` gives 6.5, limits 2 and 10.

    >>> from nnunet_ms.statistics.survival import kaplan_meier
    >>> quantile_time(kaplan_meier(range(1, 13), [1] * 12, "log-log"), 0.5)
    Quantile(estimate=6.5, low=2.0, high=10.0)
    """
    chosen(flat_step, get_args(FlatStep), "flat_step")
    if not 0 < share < 1:
        raise StatisticsError(f"share: expected a number between 0 and 1, found {share:g}")
    week = curve["week"].to_numpy(float)
    times = (falls_to(week, curve[name].to_numpy(float), 1 - share, flat_step) for name in ("survival", "low", "high"))
    return Quantile(*times)


def survival_difference(
    curve: pd.DataFrame, reference: pd.DataFrame, week: float, confidence: float = 0.95
) -> WaldDifference:
    """Compare the shares free of the event at a time fixed in advance, by Greenwood's variances [1]_.

    Parameters
    ----------
    curve, reference : pandas.DataFrame
        From `survival.kaplan_meier`.
    week : float
        The landmark.
    confidence : float, optional
        Level of the two-sided Wald interval.

    Returns
    -------
    WaldDifference
        `curve` minus `reference`. Where nobody of a group was followed that long: nothing. Without a variance in
        either group (no event until then): the difference alone.

    Raises
    ------
    OptionError
        If there is no such level.

    References
    ----------
    .. [1] Klein JP, Logan B, Harhoff M, Andersen PK. Stat Med 26:4505-4519, 2007, eq. 2. doi:10.1002/sim.2864

    Examples
    --------
    By hand: 1/2 - 3/4, variances 1/16 and 3/64.

    >>> from nnunet_ms.statistics.survival import kaplan_meier
    >>> gap = survival_difference(
    ...     kaplan_meier([1, 2, 9, 9], [1, 1, 0, 0], "log"), kaplan_meier([1, 8, 9, 9], [1, 0, 0, 0], "log"), 5
    ... )
    >>> round(gap.estimate, 12), round(gap.se**2 - 1 / 16 - 3 / 64, 12)
    (-0.25, 0.0)
    """
    z = float(scipy.stats.norm.ppf(0.5 + level(confidence) / 2))
    found = [_at(frame, week) for frame in (curve, reference)]
    if any(at is None for at in found):
        return WaldDifference(problem=f"nobody of an arm was followed to week {week:g}")
    (a, va), (b, vb) = (at for at in found if at is not None)
    gap, se = a - b, float(np.sqrt(va + vb))
    if se == 0:
        return WaldDifference(gap, problem="no event, or nobody left, in either arm: no variance")
    return wald_difference(gap, se, z)


def _at(curve: pd.DataFrame, week: float) -> tuple[float, float] | None:
    """Return survival and Greenwood's variance at a time; None where nobody was followed that long."""
    if curve.empty or curve["week"].iloc[-1] < week:
        return None
    before = curve[curve["week"] <= week]
    risk, died = before["n_risk"].to_numpy(float), before["n_event"].to_numpy(float)
    if before.empty:
        return 1.0, 0.0
    survival = float(before["survival"].iloc[-1])
    left = risk - died
    terms = np.divide(died, risk * left, out=np.zeros_like(died), where=left > 0)
    return survival, survival**2 * float(terms.sum())
