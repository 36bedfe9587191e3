"""One mask out of several raters' masks: the majority, and STAPLE.

STAPLE [1]_ is SimpleITK's. It estimates each rater's sensitivity and specificity together with the probability of every
voxel; the mask is where that exceeds 0.5. Its prior is the mean share of lesion voxels, so it depends on how much
healthy tissue is counted: the whole image, or the voxels of a brain mask.

References
----------
.. [1] Warfield SK, Zou KH, Wells WM. IEEE Trans Med Imaging 23:903-921, 2004. doi:10.1109/TMI.2004.828354
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import SimpleITK

from nnunet_ms.arrays import Bools
from nnunet_ms.images.volumes import Volume

MAJORITY, STAPLE, OTHERS = "majority", "staple", "majority_of_others"
CONSENSUS = (MAJORITY, STAPLE, OTHERS)
MINIMUM_RATERS = 2  # of a consensus


def majority(masks: Mapping[str, Volume]) -> Volume:
    """Voxels that more than half of the raters have marked; with an even number of raters a tie is no lesion.

    Parameters
    ----------
    masks : mapping
        Rater -> mask (X, Y, Z) of zeros and ones, all on one grid; one at least.

    Examples
    --------
    >>> from nnunet_ms.images.volumes import read_mask
    >>> masks = {name: read_mask(f"{name}.nii.gz") for name in ("reference", "prediction")}
    >>> both = majority(masks)  # of two raters: where both have a lesion
    >>> bool((both.data == masks["reference"].data * masks["prediction"].data).all())
    True
    """
    first = next(iter(masks.values()))
    votes = np.zeros(first.data.shape, dtype=np.int64)
    for mask in masks.values():
        votes += mask.data != 0
    return replace(first, data=(2 * votes > len(masks)).astype(np.uint8))


@dataclass(frozen=True)
class Staple:
    """STAPLE's mask, and each rater's estimated sensitivity and specificity.

    Both are NaN where nobody has marked a voxel, specificity where everybody has marked every voxel.
    """

    mask: Volume
    sensitivity: dict[str, float]
    specificity: dict[str, float]


def staple(masks: Mapping[str, Volume], inside: Bools | None = None) -> Staple:
    """Estimate truth and raters' performance together.

    Parameters
    ----------
    masks : mapping
        Rater -> mask (X, Y, Z) of zeros and ones, all on one grid; two at least.
    inside : (X, Y, Z) bool array, optional
        Voxels that count, such as the brain's; all of them when not given. What was marked outside is no lesion.

    Examples
    --------
    >>> from nnunet_ms.images.volumes import read_mask
    >>> masks = {name: read_mask(f"{name}.nii.gz") for name in ("reference", "prediction")}
    >>> found = staple({**masks, "again": masks["reference"]})
    >>> {rater: round(value, 3) for rater, value in found.sensitivity.items()}
    {'reference': 1.0, 'prediction': 0.933, 'again': 1.0}
    """
    first = next(iter(masks.values()))
    where = np.ones(first.data.shape, dtype=np.bool_) if inside is None else inside
    # STAPLE looks at each voxel by itself, so those that count can stand in a row
    rows = {rater: (mask.data[where] != 0).astype(np.uint8) for rater, mask in masks.items()}
    if not any(row.any() for row in rows.values()):
        nothing = dict.fromkeys(rows, float("nan"))  # SimpleITK divides 0 by 0
        return Staple(replace(first, data=np.zeros(first.data.shape, np.uint8)), nothing, dict(nothing))
    if all(row.all() for row in rows.values()):  # and here too: its prior leaves no healthy tissue
        found, unknown = dict.fromkeys(rows, 1.0), dict.fromkeys(rows, float("nan"))
        return Staple(replace(first, data=where.astype(np.uint8)), found, unknown)
    estimator = SimpleITK.STAPLEImageFilter()
    estimator.SetForegroundValue(1)
    probability = estimator.Execute([SimpleITK.GetImageFromArray(row.reshape(1, 1, -1)) for row in rows.values()])
    data = np.zeros(first.data.shape, dtype=np.uint8)
    data[where] = SimpleITK.GetArrayViewFromImage(probability).ravel() > 0.5
    rates = (estimator.GetSensitivity(), estimator.GetSpecificity())
    sensitivity, specificity = ({rater: float(value) for rater, value in zip(rows, one, strict=True)} for one in rates)
    return Staple(replace(first, data=data), sensitivity, specificity)
