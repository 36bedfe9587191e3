"""Calibration of probabilities with intervals over resampled patients: the lesions, or scans, of one patient are alike.

The intervals of `calibration.calibration` take rows as independent and are too narrow where a patient has several. Here
whole patients are drawn, and intercept, slope and Brier scores are computed again in each resample.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.special

from nnunet_ms.arrays import Floats, Indices
from nnunet_ms.statistics.bootstrap_interval import (
    LEVEL,
    MINIMUM_PATIENTS,
    REPLICATES,
    checked_replicates,
)
from nnunet_ms.statistics.calibration import Calibration, calibration
from nnunet_ms.statistics.input_checks import equally_long, missing_values, refuse

NAN = float("nan")
MEASURES = ("intercept", "slope", "brier", "brier_scaled")
_STEPS, _SMALL, _LONGEST, _FAR = 100, 1e-9, 1.0, 50.0  # of Newton's method; beyond `_FAR` there is no maximum
_AT_ONCE = 2_000_000  # weights of resamples at a time


@dataclass(frozen=True)
class CalibrationMeasure:
    """One measure of calibration with its interval over patients; NaN where undefined, and `problem` says why.

    Attributes
    ----------
    measure : str
        One of `MEASURES`; see `calibration.Calibration`.
    estimate, low, high, level : float
        Percentile interval at `level`.
    n, events, patients : int
        Rows, rows with the event, and patients.
    problem : str
        Blank, why there is no estimate or no interval, or how many resamples had none and are left out.
    """

    measure: str
    estimate: float
    low: float
    high: float
    level: float
    n: int
    events: int
    patients: int
    problem: str = ""


def calibration_measures(
    truth: npt.ArrayLike,
    probability: npt.ArrayLike,
    patients: Sequence[str],
    replicates: int = REPLICATES,
    seed: int = 0,
    level: float = LEVEL,
) -> tuple[CalibrationMeasure, ...]:
    """Calibration intercept and slope, Brier score and its scaled form, with intervals over resampled patients [1]_.

    Parameters
    ----------
    truth : (n,) array
        1 with the event, 0 without.
    probability : (n,) floats
        From 0 to 1.
    patients : (n,) sequence of str
        Whose each row is.
    replicates, seed : int, optional
        Number of resamples, and the generator's seed.
    level : float, optional
        Of the two-sided intervals.

    Returns
    -------
    tuple of CalibrationMeasure
        One for each of `MEASURES`. There is no interval with fewer than five patients, or where a tenth of the
        resamples have no such number: events or others lack, or the probabilities separate them.

    Raises
    ------
    OptionError, StatisticsError
        If there is no such level, there are no replicates, lengths differ, or a patient has no name.

    References
    ----------
    .. [1] Field CA, Welsh AH. J R Stat Soc B 69:369-390, 2007 (cluster bootstrap).
       doi:10.1111/j.1467-9868.2007.00593.x

    Examples
    --------
    >>> truth = [0, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1]
    >>> p = [0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.1, 0.9, 0.5, 0.3, 0.2, 0.4, 0.6, 0.7]
    >>> brier = calibration_measures(truth, p, list("aabbccddeeffgg"))[2]
    >>> round(brier.estimate, 3), brier.low < brier.estimate < brier.high
    (0.156, True)
    """
    checked_replicates(replicates)
    equally_long(truth=truth, patients=patients)
    names = np.asarray(patients, dtype=object)
    refuse(missing_values(patients=names))
    found = calibration(truth, probability, level)
    _, which = np.unique(names.astype(str), return_inverse=True)
    count = int(which.max()) + 1 if which.size else 0
    drawn = (
        {} if found.problem and np.isnan(found.brier) else _drawn(truth, probability, which, count, replicates, seed)
    )
    return tuple(_measure(name, found, drawn.get(name), count, level) for name in MEASURES)


def _drawn(
    truth: npt.ArrayLike, probability: npt.ArrayLike, which: Indices, count: int, replicates: int, seed: int
) -> dict[str, Floats]:
    """Every measure in every resample, (replicates,) each; none with too few patients."""
    if count < MINIMUM_PATIENTS:
        return {}
    y, p = np.asarray(truth, dtype=np.float64), np.asarray(probability, dtype=np.float64)
    often = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=replicates).astype(float)
    parts = np.array_split(often, min(replicates, 1 + replicates * y.size // _AT_ONCE))
    found = [_in_resamples(y, p, part[:, which]) for part in parts]
    return {name: np.concatenate([part[name] for part in found]) for name in MEASURES}


def _in_resamples(y: Floats, p: Floats, weights: Floats) -> dict[str, Floats]:
    """Measures of rows with weights, (resamples, n)."""
    total = weights.sum(axis=1)
    share, brier = weights @ y / total, weights @ (p - y) ** 2 / total
    spread = share * (1 - share)
    found = {"brier": brier, "brier_scaled": np.where(spread > 0, 1 - brier / np.where(spread > 0, spread, 1), NAN)}
    if ((p == 0) | (p == 1)).any():
        return found | {name: np.full(len(total), NAN) for name in ("intercept", "slope")}
    odds = scipy.special.logit(p)
    return found | {
        "intercept": _fitted(y, odds, weights, sloped=False),
        "slope": _fitted(y, odds, weights, sloped=True),
    }


def _fitted(y: Floats, odds: Floats, weights: Floats, *, sloped: bool) -> Floats:
    """Intercept with the slope held at 1, or the slope, of a weighted logistic regression in each row of weights.

    Newton's method for all rows at once, each until it stands still; NaN where it finds no maximum.
    """
    line = np.tile([0.0, 0.0 if sloped else 1.0], (len(weights), 1))
    found = np.full(len(weights), NAN)
    left = np.arange(len(weights))
    for _ in range(_STEPS):
        step = _step(y, odds, weights[left], line[left], sloped=sloped)
        line[left] += np.clip(step, -_LONGEST, _LONGEST)
        moved = np.abs(step).max(axis=1)
        still = left[moved <= _SMALL]
        found[still] = line[still, int(sloped)]
        left = left[(moved > _SMALL) & (np.abs(line[left]).max(axis=1) < _FAR)]  # NaN goes too
        if not left.size:
            break
    return found


def _step(y: Floats, odds: Floats, weights: Floats, line: Floats, *, sloped: bool) -> Floats:
    """Newton's step of intercept and slope, (resamples, 2)."""
    mean = scipy.special.expit(line[:, :1] + line[:, 1:] * odds)
    rest, spread = weights * (y - mean), weights * mean * (1 - mean)
    first, a = rest.sum(axis=1), spread.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if not sloped:
            return np.stack([first / a, np.zeros(len(a))], axis=1)
        second, b, c = rest @ odds, spread @ odds, spread @ odds**2
        determinant = a * c - b * b
        return np.stack([c * first - b * second, a * second - b * first], axis=1) / determinant[:, None]


def _measure(name: str, found: Calibration, values: Floats | None, patients: int, level: float) -> CalibrationMeasure:
    estimate = float(getattr(found, name))
    low = high = NAN
    # the line's problem is none of the Brier score's, unless there is no number at all
    problem = found.problem if np.isnan(estimate) else ""
    if not problem and values is None:
        problem = f"{patients} patients, needs {MINIMUM_PATIENTS} for an interval over patients"
    elif not problem and values is not None:
        defined = values[~np.isnan(values)]
        lacking = values.size - defined.size
        problem = f"{lacking} of {values.size} resamples have no such number and are left out" if lacking else ""
        if defined.size >= 0.9 * values.size:
            tail = 50 * (1 - level)
            low, high = (float(limit) for limit in np.percentile(defined, [tail, 100 - tail]))
        else:
            problem = f"{lacking} of {values.size} resamples have no such number: no interval"
    return CalibrationMeasure(name, estimate, low, high, level, found.n, found.events, patients, problem)
