"""Uncertainty of a lesion and of a patient, from samples that are functions: every sample has lesions of its own.

- Lesion structural uncertainty, LSU = 1 - mean over samples of max over the sample's lesions of
  IoU(lesion, that) [1]_.
- Patient structural uncertainty, PSU = 1 - mean over samples of IoU(mask, the sample's mask) [1]_.
- LSU+ and PSU+: the same with a threshold for each member of the ensemble, here each fold, fitted elsewhere [1]_.
- For each voxel measure: its mean over the lesion, the mean of its logarithm, and the sum of its logarithm [2]_. The
  sum grows with the lesion's size. Logarithms are of max(|value|, 1e-12).

Ours where the papers are silent: a sample's lesions are not filtered by size.

References
----------
.. [1] Molchanova N et al. Structural-based uncertainty in deep learning across anatomical scales. 2023.
   arXiv:2311.08931
.. [2] Nair T et al. Med Image Anal 59:101557, 2020. doi:10.1016/j.media.2019.101557
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cc3d
import numpy as np
import numpy.typing as npt
import pandas as pd

from nnunet_ms.images.volumes import Grid

CONNECTIVITY, MINIMUM_VOXELS = 18, 3  # the lesions of rule krishnan2023, so that lesion_id means the same there
SMALLEST = 1e-12

BoolArray = npt.NDArray[np.bool_]
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LabelledLesions:
    """Lesions of one mask in scan order: `labels` (X, Y, Z) int, 0 background, 1 .. L; `voxels` (L,)."""

    labels: npt.NDArray[np.int64]
    voxels: npt.NDArray[np.int64]


def label_lesions(mask: BoolArray, minimum_voxels: int = MINIMUM_VOXELS) -> LabelledLesions:
    """Label 18-connected lesions of at least `minimum_voxels`, in the order of their first voxel (C order).

    Examples
    --------
    >>> mask = np.zeros((10, 10, 4), dtype=bool)
    >>> mask[1:4, 1:4, 1:3] = mask[7:9, 7:9, 0] = mask[9, 0, 0] = True
    >>> label_lesions(mask).voxels
    array([18,  4])
    """
    found = _components(mask)
    names, first, voxels = np.unique(found, return_index=True, return_counts=True)
    large = (names > 0) & (voxels >= minimum_voxels)
    order = np.flatnonzero(large)[np.argsort(first[large])]
    rows = np.zeros(int(names.max()) + 1, dtype=np.int64)
    rows[names[order]] = np.arange(1, order.size + 1)
    return LabelledLesions(rows[found], voxels[order].astype(np.int64))


def best_overlap(lesions: LabelledLesions, sample: BoolArray) -> Array:
    """Greatest IoU of each lesion with a component of another mask, (L,); 0 where none touches it."""
    others = _components(sample)
    sizes = np.bincount(others.ravel())
    shared = (lesions.labels > 0) & (others > 0)
    pairs, counts = np.unique(lesions.labels[shared] * sizes.size + others[shared], return_counts=True)
    lesion, other = np.divmod(pairs, sizes.size)
    iou = counts / (lesions.voxels[lesion - 1] + sizes[other] - counts)
    best = np.zeros(lesions.voxels.size)
    np.maximum.at(best, lesion - 1, iou)
    return best


def lesion_structural_uncertainty(lesions: LabelledLesions, samples: Sequence[BoolArray]) -> Array:
    """LSU of each lesion, (L,) in [0, 1]; NaN with fewer than two samples, which cannot disagree.

    Examples
    --------
    >>> mask, other = np.zeros((2, 10, 10, 4), dtype=bool)
    >>> mask[1:4, 1:4, 1:3] = mask[7:9, 7:9, 0:2] = other[1:4, 1:4, 1:3] = True
    >>> lesion_structural_uncertainty(label_lesions(mask), [mask, other])
    array([0. , 0.5])
    """
    if len(samples) < 2:
        return np.full(lesions.voxels.size, np.nan)
    overlaps = np.zeros(lesions.voxels.size)
    for sample in samples:
        overlaps += best_overlap(lesions, sample)
    return np.asarray(1 - overlaps / len(samples))


def patient_structural_uncertainty(mask: BoolArray, samples: Sequence[BoolArray]) -> float:
    """PSU in [0, 1]; two empty masks agree; NaN with fewer than two samples.

    Examples
    --------
    >>> mask, other = np.zeros((2, 4, 4, 4), dtype=bool)
    >>> mask[:2], other[:1] = True, True
    >>> patient_structural_uncertainty(mask, [mask, other])
    0.25
    """
    if len(samples) < 2:
        return float("nan")
    return float(1 - np.mean([_iou(mask, sample) for sample in samples]))


def structural_uncertainty(
    lesions: LabelledLesions, samples: Sequence[BoolArray], minimum_voxels: int = MINIMUM_VOXELS
) -> tuple[Array, float]:
    """LSU of each lesion (L,), and PSU with every sample's mask under the size filter of the mask.

    With samples binarised at thresholds of their own, these are LSU+ and PSU+ of [1]_.
    """
    sizeable = [label_lesions(sample, minimum_voxels).labels > 0 for sample in samples]
    psu = patient_structural_uncertainty(lesions.labels > 0, sizeable)
    return lesion_structural_uncertainty(lesions, samples), psu


def lesion_rows(
    lesions: LabelledLesions,
    samples: Sequence[BoolArray],
    probability: npt.NDArray[np.float32],
    measures: Mapping[str, npt.NDArray[np.float32]],
    grid: Grid,
) -> pd.DataFrame:
    """One row per lesion.

    Parameters
    ----------
    lesions : LabelledLesions
        On `grid`.
    samples : sequence of (X, Y, Z) bool arrays
        Masks of the samples, at the threshold of the mask.
    probability : (X, Y, Z) float array
        Mean probability.
    measures : mapping of (X, Y, Z) float arrays
        See `voxel_uncertainty.MEASURES`.
    grid : Grid
        For volumes and places.

    Returns
    -------
    pandas.DataFrame
        `lesion_id` (from 1), `voxels`, `volume_ml`, `x_mm`, `y_mm`, `z_mm`, `uncertainty` (LSU), `mean_probability`,
        and per measure `<name>_mean`, `<name>_log_mean`, `<name>_log_sum`. No rows without lesions.
    """
    count = lesions.voxels.size
    inside = np.nonzero(lesions.labels)
    which = lesions.labels[inside] - 1
    sums = [np.bincount(which, weights=axis, minlength=count) for axis in inside]
    centroid = np.stack(sums, axis=1) / np.maximum(lesions.voxels, 1)[:, None]
    x, y, z = (centroid @ grid.affine[:3, :3].T + grid.affine[:3, 3]).T
    columns = {
        "lesion_id": np.arange(1, count + 1),
        "voxels": lesions.voxels,
        "volume_ml": lesions.voxels * grid.voxel_volume_ml,
        "x_mm": x,
        "y_mm": y,
        "z_mm": z,
        "uncertainty": lesion_structural_uncertainty(lesions, samples),
        "mean_probability": _mean(probability[inside], which, lesions.voxels),
    }
    for name, values in measures.items():
        here = values[inside].astype(np.float64)
        log_mean = _mean(np.log(np.maximum(np.abs(here), SMALLEST)), which, lesions.voxels)
        columns[f"{name}_mean"] = _mean(here, which, lesions.voxels)
        columns[f"{name}_log_mean"] = log_mean
        columns[f"{name}_log_sum"] = log_mean * lesions.voxels
    return pd.DataFrame(columns)


def patient_row(
    lesions: LabelledLesions,
    samples: Sequence[BoolArray],
    probability: npt.NDArray[np.float32],
    measures: Mapping[str, npt.NDArray[np.float32]],
    content: BoolArray,
    grid: Grid,
    minimum_voxels: int = MINIMUM_VOXELS,
) -> dict[str, float]:
    """One case's numbers: lesions, volume, PSU, mean LSU, what the samples say of volume and count, mean measures.

    `content` (X, Y, Z) marks voxels in which any channel is not 0, the brain of skull-stripped scans; the measures are
    averaged over it. `volume_ml` is of the lesions; `expected_volume_ml` is the sum of probabilities over all voxels.
    """
    mask = lesions.labels > 0
    lsu = lesion_structural_uncertainty(lesions, samples)
    # every mask of a sample gets the size filter of the mask, so that counts and volumes compare
    sampled = [label_lesions(sample, minimum_voxels) for sample in samples]
    volumes = np.array([one.voxels.sum() for one in sampled]) * grid.voxel_volume_ml
    counts = np.array([one.voxels.size for one in sampled], dtype=float)
    spread = len(samples) > 1
    row = {
        "lesion_count": float(lesions.voxels.size),
        "volume_ml": float(lesions.voxels.sum()) * grid.voxel_volume_ml,
        "expected_volume_ml": float(probability.sum(dtype=np.float64)) * grid.voxel_volume_ml,
        "psu": patient_structural_uncertainty(mask, [one.labels > 0 for one in sampled]),
        "mean_lsu": float(lsu.mean()) if lsu.size else float("nan"),
        "volume_ml_sd": float(volumes.std(ddof=1)) if spread else float("nan"),
        "volume_ml_low": float(np.percentile(volumes, 2.5)) if spread else float("nan"),
        "volume_ml_high": float(np.percentile(volumes, 97.5)) if spread else float("nan"),
        "lesion_count_sd": float(counts.std(ddof=1)) if spread else float("nan"),
        "content_voxels": float(content.sum()),
    }
    for name, values in measures.items():
        row[f"{name}_mean"] = float(values[content].mean(dtype=np.float64)) if content.any() else float("nan")
    return row


def _components(mask: BoolArray) -> npt.NDArray[np.int64]:
    found = cc3d.connected_components(  # type: ignore[call-overload]  # its stub lists no bool arrays
        np.ascontiguousarray(mask), connectivity=CONNECTIVITY
    )
    return np.asarray(found, dtype=np.int64)


def _iou(first: BoolArray, second: BoolArray) -> float:
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else 1.0


def _mean(values: npt.NDArray[np.floating], which: npt.NDArray[np.int64], voxels: npt.NDArray[np.int64]) -> Array:
    return np.bincount(which, weights=values, minlength=voxels.size) / np.maximum(voxels, 1)
