"""Mathematics of `uncertainty_evaluation`: calibration sums, retention curves, rank correlation. Sources there."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import spearmanr

from nnunet_ms.arrays import Bools, Floats, Ints

BINS = 15
LESION_SHARE = 0.001  # r of the nDSC
SHARES = np.linspace(0, 1, 101)  # of what is kept
MINIMUM = 3  # pairs for a rank correlation


def calibration_bins(probability: npt.NDArray[np.floating], truth: Bools, bins: int = BINS) -> Floats:
    """Sums per bin of equal width: voxels, sum of probabilities, lesion voxels, squared differences: (bins, 4).

    Examples
    --------
    >>> probability, truth = np.array([0.1, 0.1, 0.9, 0.9]), np.array([False, False, True, False])
    >>> calibration_bins(probability, truth, bins=2)[:, :3]
    array([[2. , 0.2, 0. ],
           [2. , 1.8, 1. ]])
    """
    p = probability.astype(np.float64)
    which = np.minimum((p * bins).astype(np.int64), bins - 1)
    weights = (None, p, truth.astype(float), (p - truth) ** 2)
    return np.stack([np.bincount(which, weights=weight, minlength=bins).astype(float) for weight in weights], axis=1)


def calibration_errors(sums: Floats) -> dict[str, float]:
    """ECE, MCE and Brier score of the sums of `calibration_bins`; NaN without a voxel.

    Examples
    --------
    >>> probability, truth = np.array([0.1, 0.1, 0.9, 0.9]), np.array([False, False, True, False])
    >>> errors = calibration_errors(calibration_bins(probability, truth, bins=2))
    >>> {name: round(value, 4) for name, value in errors.items()}
    {'ece': 0.25, 'mce': 0.4, 'brier': 0.21}
    """
    voxels, probability, lesion, squared = sums.T
    total = voxels.sum()
    if total == 0:
        return {"ece": np.nan, "mce": np.nan, "brier": np.nan}
    gap = np.abs(probability - lesion)[voxels > 0] / voxels[voxels > 0]
    return {
        "ece": float((gap * voxels[voxels > 0]).sum() / total),
        "mce": float(gap.max()),
        "brier": float(squared.sum() / total),
    }


def ndsc_retention(
    truth: Bools, mask: Bools, uncertainty: npt.NDArray[np.floating], content_voxels: int | None = None
) -> dict[str, Floats]:
    """Curves of nDSC against the share of voxels kept, at `SHARES`, for three orders of replacement.

    Parameters
    ----------
    truth, mask : (V,) bool arrays
        Reference and prediction.
    uncertainty : (V,) array
        The largest are replaced first.
    content_voxels : int, optional
        N of the nDSC and of the shares; the others, the most certain, are never replaced. Default V.

    Returns
    -------
    dict
        `uncertainty`, `ideal` (all errors first) and `random` (in no order, expected counts): (101,) arrays each.

    Examples
    --------
    >>> truth, mask = np.array([True, True, False, False]), np.array([True, False, True, False])
    >>> curves = ndsc_retention(truth, mask, uncertainty=np.array([0.1, 0.9, 0.8, 0.2]))
    >>> values = curves["uncertainty"]
    >>> float(values[0]), bool(values[-1] < 1)
    (1.0, True)
    """
    total = min(content_voxels or truth.size, truth.size)
    lesion, replaced = int(truth.sum()), np.rint((1 - SHARES) * total).astype(np.int64)
    order = np.argsort(-uncertainty, kind="stable")[:total]
    hit, false, missed = truth & mask, mask & ~truth, truth & ~mask
    false_left, missed_left = (_after(x[order], replaced, int(x.sum())) for x in (false, missed))
    errors = int(false.sum() + missed.sum())
    left = np.maximum(errors - replaced, 0) / max(errors, 1)
    every = SHARES  # such a share of each kind of error is left where voxels are replaced in no order
    return {
        "uncertainty": _ndsc(int(hit.sum()), false_left, missed_left, lesion, total),
        "ideal": _ndsc(int(hit.sum()), left * int(false.sum()), left * int(missed.sum()), lesion, total),
        "random": _ndsc(int(hit.sum()), every * int(false.sum()), every * int(missed.sum()), lesion, total),
    }


def area_above(curve: Floats) -> float:
    """Area between 1 and a curve over `SHARES`, trapezoidal: R-AAC.

    Examples
    --------
    >>> round(area_above(np.full(101, 0.75)), 6)
    0.25
    """
    return float(1 - np.trapezoid(curve, SHARES))


def lesion_curves(lesions: pd.DataFrame, references: int, missed: int) -> dict[str, Floats]:
    """F1 when a reader strikes out false lesions among the most uncertain share, at `SHARES`, by order.

    Parameters
    ----------
    lesions : pandas.DataFrame
        Predicted lesions: `uncertainty`, `true` (bool).
    references, missed : int
        Reference lesions, and those not found.

    Returns
    -------
    dict
        `uncertainty`, `ideal`, `random`: (101,) arrays; NaN without reference lesions.

    Examples
    --------
    >>> lesions = pd.DataFrame({"uncertainty": [0.1, 0.2, 0.9], "true": [True, True, False]})
    >>> curves = lesion_curves(lesions, references=2, missed=0)
    >>> float(curves["uncertainty"][-1]), float(curves["uncertainty"][50])
    (0.8, 1.0)
    """
    true = lesions["true"].to_numpy(bool)
    sensitivity = (references - missed) / references if references else np.nan
    shown = np.rint((1 - SHARES) * true.size).astype(np.int64)
    false = int((~true).sum())
    order = np.argsort(-lesions["uncertainty"].to_numpy(float), kind="stable")
    left = {
        "uncertainty": _after(~true[order], shown, false),
        "ideal": np.maximum(false - shown, 0).astype(float),
        "random": SHARES * false,
    }
    return {name: _f1(sensitivity, int(true.sum()), n) for name, n in left.items()}


def removal_curves(lesions: pd.DataFrame, touched: Sequence[tuple[str, ...]]) -> dict[str, Floats]:
    """LPPV and LTPR when the most uncertain share of the predicted lesions is removed, at `SHARES`.

    `touched` holds, per reference lesion, the keys (column `key`) of the predicted lesions that find it; none: missed.

    Examples
    --------
    >>> lesions = pd.DataFrame({"key": list("abc"), "uncertainty": [0.1, 0.2, 0.9], "true": [True, True, False]})
    >>> curves = removal_curves(lesions, [("a",), ("b",)])
    >>> round(float(curves["lppv"][-1]), 3), float(curves["lppv"][67])
    (0.667, 1.0)
    """
    order = np.argsort(-lesions["uncertainty"].to_numpy(float), kind="stable")
    true = lesions["true"].to_numpy(bool)[order]
    removed = np.rint((1 - SHARES) * true.size).astype(np.int64)
    kept_true = true.sum() - np.concatenate([[0], np.cumsum(true)])[removed]
    kept = true.size - removed
    rank = {key: place for place, key in enumerate(lesions["key"].to_numpy()[order])}
    last = np.array([max((rank[key] for key in keys), default=-1) for keys in touched], dtype=np.int64)
    found = (
        (last[None, :] >= removed[:, None]) & (last >= 0)[None, :] if last.size else np.zeros((removed.size, 0), bool)
    )
    with np.errstate(invalid="ignore"):
        lppv = np.where(kept > 0, kept_true / np.maximum(kept, 1), np.nan)
    return {"lppv": lppv, "ltpr": found.mean(axis=1) if last.size else np.full(removed.size, np.nan)}


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> tuple[float, int]:
    """Spearman's rho over pairs that are both known, and their number; NaN below three or when one is constant.

    Examples
    --------
    >>> rank_correlation([1.0, 2.0, 3.0, float("nan")], [10.0, 30.0, 40.0, 5.0])
    (1.0, 3)
    """
    pairs = np.array([list(first), list(second)], dtype=float)
    pairs = pairs[:, ~np.isnan(pairs).any(axis=0)]
    if pairs.shape[1] < MINIMUM or (np.ptp(pairs, axis=1) == 0).any():
        return np.nan, int(pairs.shape[1])
    return float(spearmanr(*pairs).statistic), int(pairs.shape[1])


def _after(errors: Bools, replaced: Ints, total: int) -> Floats:
    """Errors that are left after the first `replaced` of an order are put right."""
    done = np.concatenate([[0], np.cumsum(errors)])
    return np.asarray(total - done[replaced], dtype=float)


def _ndsc(hits: int, false: Floats, missed: Floats, lesion: int, total: int) -> Floats:
    """NDSC with r = 0.001 from counts; a missed voxel that is put right is a hit; 1 where nothing is left to find."""
    factor = (1 - LESION_SHARE) * lesion / (LESION_SHARE * (total - lesion)) if 0 < lesion < total else 1.0
    hit = hits + (lesion - hits - missed)
    below = factor * false + 2 * hit + missed
    return np.where(below > 0, 2 * hit / np.where(below > 0, below, 1), 1.0)


def _f1(sensitivity: float, true: int, false: Floats) -> Floats:
    if np.isnan(sensitivity):
        return np.full(false.shape, np.nan)
    both = true + false
    precision = np.where(both > 0, true / np.maximum(both, 1e-9), 1.0)
    below = sensitivity + precision
    return np.where(below > 0, 2 * sensitivity * precision / np.where(below > 0, below, 1), 0.0)
