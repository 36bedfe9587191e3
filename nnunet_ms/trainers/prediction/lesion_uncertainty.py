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
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from nnunet_ms.arrays import Bools, Floats, Ints
from nnunet_ms.images.volumes import Grid, Volume
from nnunet_ms.lesions.components import Connectivity
from nnunet_ms.lesions.labelling import Lesions, find_lesions, without_small
from nnunet_ms.lesions.overlap import best_iou, count_overlap
from nnunet_ms.lesions.rows import lesion_columns

# the lesions of rule krishnan2023, so that lesion_id means the same there
CONNECTIVITY: Connectivity = 18
MINIMUM_VOXELS = 3
SMALLEST = 1e-12

Maps = Mapping[str, npt.NDArray[np.float32]]


def label_sample(mask: Bools, grid: Grid) -> Lesions:
    """Label all 18-connected components of a mask (X, Y, Z), whatever their size.

    Examples
    --------
    >>> mask = np.zeros((10, 10, 4), dtype=bool)
    >>> mask[1:4, 1:4, 1:3] = mask[7:9, 7:9, 0] = True
    >>> label_sample(mask, Grid(mask.shape, np.eye(4))).voxels
    array([18,  4])
    """
    return find_lesions(Volume(mask, grid, Path()), CONNECTIVITY)


def lesion_structural_uncertainty(lesions: Lesions, samples: Sequence[Lesions]) -> Floats:
    """LSU of each lesion, (L,) in [0, 1]; NaN with fewer than two samples, which cannot disagree.

    Examples
    --------
    >>> mask, other = np.zeros((2, 10, 10, 4), dtype=bool)
    >>> mask[1:4, 1:4, 1:3] = mask[7:9, 7:9, 0:2] = other[1:4, 1:4, 1:3] = True
    >>> samples = [label_sample(one, Grid(mask.shape, np.eye(4))) for one in (mask, other)]
    >>> lesion_structural_uncertainty(samples[0], samples)
    array([0. , 0.5])
    """
    if len(samples) < 2:
        return np.full(lesions.count, np.nan)
    overlaps = np.zeros(lesions.count)
    for sample in samples:
        overlaps += best_iou(count_overlap(lesions, sample))
    return np.asarray(1 - overlaps / len(samples))


def patient_structural_uncertainty(lesions: Lesions, samples: Sequence[Lesions]) -> float:
    """PSU in [0, 1]; two empty masks agree; NaN with fewer than two samples.

    Examples
    --------
    >>> mask, other = np.zeros((2, 4, 4, 4), dtype=bool)
    >>> mask[:2], other[:1] = True, True
    >>> samples = [label_sample(one, Grid(mask.shape, np.eye(4))) for one in (mask, other)]
    >>> patient_structural_uncertainty(samples[0], samples)
    0.25
    """
    if len(samples) < 2:
        return float("nan")
    return float(1 - np.mean([_iou(lesions, sample) for sample in samples]))


def structural_uncertainty(
    lesions: Lesions, samples: Sequence[Lesions], minimum_voxels: int = MINIMUM_VOXELS
) -> tuple[Floats, float]:
    """LSU of each lesion (L,), and PSU with every sample's mask under the size filter of the mask.

    With samples binarised at thresholds of their own, these are LSU+ and PSU+ of [1]_.
    """
    sizeable = [without_small(sample, minimum_voxels) for sample in samples]
    return lesion_structural_uncertainty(lesions, samples), patient_structural_uncertainty(lesions, sizeable)


def lesion_rows(
    lesions: Lesions, samples: Sequence[Lesions], probability: npt.NDArray[np.float32], measures: Maps
) -> pd.DataFrame:
    """One row per lesion.

    Parameters
    ----------
    lesions : Lesions
        Of the mask, with its size filter.
    samples : sequence of Lesions
        See `label_sample`; of the samples' masks, at the threshold of the mask.
    probability : (X, Y, Z) float array
        Mean probability.
    measures : mapping of (X, Y, Z) float arrays
        See `voxel_uncertainty.MEASURES`.

    Returns
    -------
    pandas.DataFrame
        `lesion_id` (from 1), `voxels`, `volume_ml`, `x_mm`, `y_mm`, `z_mm`, `uncertainty` (LSU), `mean_probability`,
        and per measure `<name>_mean`, `<name>_log_mean`, `<name>_log_sum`. No rows without lesions.
    """
    # z fastest: sums of floats keep the last digit that they have when read from an array in C order
    order = np.lexsort(lesions.voxel_axes[::-1])
    inside, which = tuple(axis[order] for axis in lesions.voxel_axes), lesions.lesion_of_voxel[order]
    columns = {
        **lesion_columns(lesions),
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
    lesions: Lesions,
    samples: Sequence[Lesions],
    probability: npt.NDArray[np.float32],
    measures: Maps,
    content: Bools,
    minimum_voxels: int = MINIMUM_VOXELS,
) -> dict[str, float]:
    """One case's numbers: lesions, volume, PSU, mean LSU, what the samples say of volume and count, mean measures.

    `content` (X, Y, Z) marks voxels in which any channel is not 0, the brain of skull-stripped scans; the measures are
    averaged over it. `volume_ml` is of the lesions; `expected_volume_ml` is the sum of probabilities over all voxels.
    """
    lsu = lesion_structural_uncertainty(lesions, samples)
    # every mask of a sample gets the size filter of the mask, so that counts and volumes compare
    sizeable = [without_small(sample, minimum_voxels) for sample in samples]
    volumes = np.array([sample.volume_ml for sample in sizeable])
    counts = np.array([sample.count for sample in sizeable], dtype=float)
    spread = len(samples) > 1
    row = {
        "lesion_count": float(lesions.count),
        "volume_ml": lesions.volume_ml,
        "expected_volume_ml": float(probability.sum(dtype=np.float64)) * lesions.voxel_volume_ml,
        "psu": patient_structural_uncertainty(lesions, sizeable),
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


def _iou(first: Lesions, second: Lesions) -> float:
    """Intersection over union of all lesions of one mask with all of another."""
    shared = int(count_overlap(first, second).shared.sum())
    union = int(first.voxels.sum()) + int(second.voxels.sum()) - shared
    return shared / union if union else 1.0


def _mean(values: npt.NDArray[np.floating], which: Ints, voxels: Ints) -> Floats:
    return np.bincount(which, weights=values, minlength=voxels.size) / np.maximum(voxels, 1)
