"""Change of lesion volume from baseline: per patient, per arm and visit, and between arms (Welch's, by statsmodels)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from nnunet_ms.arrays import Floats
from nnunet_ms.statistics.input_checks import columns_there, level, missing_values, refuse


@dataclass(frozen=True)
class MeanChange:
    """Mean, standard deviation (n - 1) and standard error of a sample; NaN where `n` is too small for them."""

    n: int
    mean: float
    sd: float
    se: float


@dataclass(frozen=True)
class Separation:
    """A difference of two means with its confidence limits; `problem` says why it is NaN."""

    estimate: float
    se: float
    low: float
    high: float
    problem: str = ""


def percent_change(volumes: pd.DataFrame, baseline_week: float, weeks: Sequence[float]) -> pd.DataFrame:
    """Return 100 * (volume / baseline - 1) for every patient, rater and follow-up week.

    Parameters
    ----------
    volumes : pandas.DataFrame
        `patient_id, arm, rater, week, volume_ml`, one row each; baselines > 0.
    baseline_week : float
        The week divided by.
    weeks : sequence of float
        The follow-up weeks wanted; what a patient lacks is left out.

    Returns
    -------
    pandas.DataFrame
        `patient_id, arm, rater, week, baseline_ml, volume_ml, percent_change`.

    Raises
    ------
    StatisticsError
        If a column is not there, or a baseline is not > 0.

    Examples
    --------
    >>> rows = [("p1", "a", "reference", 0, 2.0), ("p1", "a", "reference", 24, 3.0)]
    >>> volumes = pd.DataFrame(rows, columns=["patient_id", "arm", "rater", "week", "volume_ml"])
    >>> percent_change(volumes, 0, [24])["percent_change"].tolist()
    [50.0]
    """
    columns_there(volumes, ["patient_id", "arm", "rater", "week", "volume_ml"])
    keys = ["patient_id", "rater"]
    baseline = volumes[volumes["week"] == baseline_week].set_index(keys)["volume_ml"].rename("baseline_ml")
    none = int((~(baseline > 0)).sum())
    refuse(f"volume_ml: expected baselines > 0, found {none} that are not" if none else "")
    later = volumes[volumes["week"].isin(list(weeks))].join(baseline, on=keys, how="inner")
    later = later.assign(percent_change=100 * (later["volume_ml"] / later["baseline_ml"] - 1))
    columns = ["patient_id", "arm", "rater", "week", "baseline_ml", "volume_ml", "percent_change"]
    return later[columns].reset_index(drop=True)


def mean_change(values: Floats) -> MeanChange:
    """Summarise one arm at one visit; an empty sample gives NaN, one patient a mean without SD.

    Raises
    ------
    StatisticsError
        If a value is missing.

    Examples
    --------
    >>> found = mean_change(np.array([1.0, 3.0]))
    >>> found.mean, round(found.sd, 4), found.se
    (2.0, 1.4142, 1.0)
    """
    refuse(missing_values(values=values))
    n = len(values)
    mean = float(values.mean()) if n else float("nan")
    sd = float(values.std(ddof=1)) if n > 1 else float("nan")
    return MeanChange(n, mean, sd, sd / float(np.sqrt(n)) if n else float("nan"))


def separation(values: Floats, reference: Floats, confidence: float = 0.95) -> Separation:
    """Return mean(values) - mean(reference) with Welch's interval (R: `t.test(values, reference)`).

    Parameters
    ----------
    values, reference : (n,) and (m,) float arrays
        In the same unit.
    confidence : float, optional
        Level of the two-sided interval, in (0, 1).

    Returns
    -------
    Separation
        Without two patients in each arm, or without any spread, the limits are NaN and `problem` says why.

    Raises
    ------
    OptionError, StatisticsError
        If there is no such level, or a value is missing.

    Examples
    --------
    R: `t.test(extra ~ group, sleep)` prints limits of -3.3655 and 0.2055 for group 1 - group 2 (`sleep`, Student 1908).

    >>> first = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
    >>> second = np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])
    >>> found = separation(first, second)
    >>> round(found.low, 4), round(found.high, 4)
    (-3.3655, 0.2055)
    """
    level(confidence)
    a, b = mean_change(values), mean_change(reference)
    estimate = a.mean - b.mean
    nan = float("nan")
    if min(a.n, b.n) < 2:
        return Separation(estimate, nan, nan, nan, f"{min(a.n, b.n)} patients in an arm, needs 2")
    if a.sd == b.sd == 0:
        return Separation(estimate, nan, nan, nan, "no spread in either arm")
    arms = CompareMeans(DescrStatsW(values), DescrStatsW(reference))
    low, high = arms.tconfint_diff(1 - confidence, usevar="unequal")
    return Separation(estimate, float(arms.std_meandiff_separatevar), float(low), float(high))
