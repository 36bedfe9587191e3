"""How well a lesion mask fits an image: contrast to its surroundings, share outside the head, its mirror image."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nnunet_ms.arrays import Bools
from nnunet_ms.images.appearance import Coarse
from nnunet_ms.images.volumes import Volume

GAP_MM, SHELL_MM = 1.5, 6.5  # what is nearer is mixed with lesion; what is further is another tissue
MINIMUM_VOXELS = 20


@dataclass(frozen=True)
class MaskFit:
    """A mask on an image; NaN where there are too few voxels for a number.

    Attributes
    ----------
    volume_ml : float
        Of the mask.
    outside : float
        Share of its voxels outside the head or brain.
    contrast : float
        Median inside less median of a shell 1.5 to 6.5 mm around, in standard deviations of the shell: 1.6 to 2.6 for
        ten expert masks on FLAIR of two scanners, up to 0.6 for their mirror images, up to 0.2 on T1.
    mirrored : float
        The largest contrast of the mask turned round along one axis of the image, and `axis` which.
    brighter_around : float
        Voxels of the head outside the mask that are brighter than nearly all in it (its 2nd percentile), per voxel of
        the mask: 0 for a mask that is a threshold of the image.
    """

    volume_ml: float
    outside: float
    contrast: float
    mirrored: float
    axis: int
    brighter_around: float


def fit_of(mask: Bools, image: Volume, coarse: Coarse, brain: Bools | None = None) -> MaskFit:
    """Measure a mask (X, Y, Z) on an image of the same grid.

    Parameters
    ----------
    mask : (X, Y, Z) bool array
        Lesions; not empty.
    image : Volume
        Where lesions are brighter than what is around them.
    coarse : Coarse
        Of the image.
    brain : (X, Y, Z) bool array, optional
        Where the brain is; else the head that `coarse` shows counts.

    Examples
    --------
    >>> from nnunet_ms.images.appearance import coarse_of
    >>> from nnunet_ms.images.volumes import Grid
    >>> rng, mask = np.random.default_rng(0), np.zeros((60, 70, 50), bool)
    >>> mask[12:20, 30:40, 20:26] = True
    >>> data = (rng.normal(100, 10, mask.shape) + 25 * mask).astype(np.float32)
    >>> flair = Volume(data, Grid(mask.shape, np.diag([1.0, 1.0, 1.0, 1.0])), Path("flair"))
    >>> right, wrong = (fit_of(one, flair, coarse_of(flair)) for one in (mask, mask[::-1]))
    >>> round(right.contrast, 1), round(wrong.contrast, 1), round(wrong.mirrored, 1), wrong.axis
    (2.4, 0.1, 2.4, 0)
    """
    head = _fine(coarse, image.grid.shape) if brain is None else brain
    contrast = contrast_of(mask, image)
    flips = [contrast_of(np.flip(mask, axis), image) for axis in range(3)] if not contrast >= 1 else [math.nan] * 3
    best = max(range(3), key=lambda axis: -math.inf if math.isnan(flips[axis]) else flips[axis])
    data: npt.NDArray[Any] = image.data  # of any kind of number
    brighter = int(np.count_nonzero((data > np.percentile(data[mask], 2)) & head & ~mask))
    return MaskFit(
        volume_ml=float(mask.sum() * image.grid.voxel_volume_ml),
        outside=float(1 - np.count_nonzero(mask & head) / np.count_nonzero(mask)),
        contrast=contrast,
        mirrored=flips[best],
        axis=best,
        brighter_around=brighter / int(mask.sum()),
    )


def contrast_of(mask: Bools, image: Volume) -> float:
    """Contrast of a mask to the shell around it, see `MaskFit`; NaN where either has too few voxels."""
    spacing = np.array(image.grid.spacing)
    near, far = (np.floor(mm / spacing + 1e-6).astype(int) for mm in (GAP_MM, SHELL_MM))
    box = _box(mask, np.maximum(far, 1))
    if box is None:
        return math.nan
    here, data = mask[box], image.data[box].astype(np.float32)
    shell = _grown(here, np.maximum(far, near + 1)) & ~_grown(here, near) & (data != 0)
    if min(np.count_nonzero(here), np.count_nonzero(shell)) < MINIMUM_VOXELS:
        return math.nan
    around = data[shell].astype(np.float64)
    spread = float(around.std())
    return float(np.median(data[here]) - np.median(around)) / spread if spread > 0 else math.nan


def _box(mask: Bools, margin: npt.NDArray[np.int64]) -> tuple[slice, ...] | None:
    found = ndimage.find_objects(mask.view(np.uint8), max_label=1)
    if not found or found[0] is None:
        return None
    return tuple(
        slice(max(0, part.start - int(more)), part.stop + int(more))
        for part, more in zip(found[0], margin, strict=True)
    )


def _grown(mask: Bools, reach: npt.NDArray[np.int64]) -> Bools:
    grown = mask.view(np.uint8)
    for axis, number in enumerate(reach):
        if number:
            grown = ndimage.maximum_filter1d(grown, 2 * int(number) + 1, axis=axis, mode="constant")
    return grown.view(np.bool_)


def _fine(coarse: Coarse, shape: tuple[int, ...]) -> Bools:
    """The head on all voxels, by the nearest coarse one and its neighbours."""
    head = ndimage.binary_dilation(coarse.head)
    index = [np.minimum(np.arange(n) * m // n, m - 1) for n, m in zip(shape, head.shape, strict=True)]
    return np.asarray(head[np.ix_(*index)], dtype=bool)
