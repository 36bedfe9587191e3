"""Where 0 lies in an image: an image is 0 where nothing is, and nowhere below, unless somebody standardised it.

Two kinds are common. An image without skull that was standardised as a whole, or stored with an offset, has one value
all around that is not 0: less that value it is as it was, but for its scale. One that was standardised inside of the
brain (or a whole head with its noise) has no such value: its tissues can be told apart, but no ratio of two of them.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nnunet_ms.arrays import SingleFloats
from nnunet_ms.images.volumes import Volume, read_volume

SIDES_SHARE = 0.8  # of the voxels on the six sides; of 40 real images without skull 93 % and more are 0 there
BELOW_ZERO = 0.05  # of the 98th percentile: resampling leaves less below 0, standardising 0.3 and more
DARKEST = 0.1  # percentile that stands for 0 where no value does


def level_outside(data: npt.NDArray[np.generic]) -> float:
    """The one value around what an image (X, Y, Z) shows; 0 also where there is not one, as around a whole head.

    Examples
    --------
    >>> image = np.full((9, 9, 9), -1.5)
    >>> image[3:6, 3:6, 3:6] = 2
    >>> level_outside(image), level_outside(image + 1.5), level_outside(np.arange(729.0).reshape(9, 9, 9))
    (-1.5, 0.0, 0.0)
    """
    corners = data[tuple(slice(None, None, max(1, size - 1)) for size in data.shape)].ravel().tolist()
    level = max(corners, key=corners.count)
    if level == 0:
        return 0.0
    sides = [np.take(data, place, axis) for axis in range(3) for place in (0, -1)]
    same = sum(int(np.count_nonzero(side == level)) for side in sides)
    return float(level) if same >= SIDES_SHARE * sum(side.size for side in sides) else 0.0


def with_zero_outside(volume: Volume) -> Volume:
    """The same image less the value around it, as float32; itself where that is 0.

    Examples
    --------
    >>> from nnunet_ms.images.volumes import Grid
    >>> image = np.full((9, 9, 9), -1.5)
    >>> image[3:6, 3:6, 3:6] = 2
    >>> moved = with_zero_outside(Volume(image, Grid(image.shape, np.eye(4)), Path("t1.nii.gz")))
    >>> float(moved.data[0, 0, 0]), float(moved.data[4, 4, 4])
    (0.0, 3.5)
    """
    level = level_outside(volume.data)
    return replace(volume, data=volume.data.astype(np.float32) - np.float32(level)) if level else volume


def read_image(path: str | Path) -> Volume:
    """Read an image with 0 around what it shows, see `with_zero_outside`.

    Raises
    ------
    ImageError
        As `volumes.read_volume`.

    Examples
    --------
    >>> read_image("flair.nii.gz").data.shape
    (24, 24, 12)
    """
    return with_zero_outside(read_volume(path))


def outside_words(level: float) -> str:
    """What is told of an image that is not 0 outside.

    Examples
    --------
    >>> outside_words(-1.5)
    'around the head it is -1.5 and not 0 (standardised, or an offset): subtracted in every voxel'
    """
    return f"around the head it is {level:.6g} and not 0 (standardised, or an offset): subtracted in every voxel"


def is_standardised(data: npt.NDArray[np.generic]) -> bool:
    """Whether a part of what an image shows is well below 0, so that ratios of its values mean nothing.

    Examples
    --------
    >>> values = np.linspace(50, 150, 1000).reshape(10, 10, 10)
    >>> is_standardised(values), is_standardised((values - values.mean()) / values.std())
    (False, True)
    """
    shown = np.asarray(data[data != 0], dtype=np.float32)
    if not shown.size or shown.min() >= 0:
        return False
    return bool(np.percentile(shown, 10) < -BELOW_ZERO * np.percentile(np.abs(shown), 98))


def from_zero(data: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """The image (X, Y, Z) as it is measured: of one that is standardised the darkest tissue is 0, as what is around it.

    Examples
    --------
    >>> values = np.linspace(50, 150, 1000).reshape(10, 10, 10)
    >>> round(float(from_zero(values).min())), round(float(from_zero(values - 100).min()))
    (50, 0)
    """
    if not is_standardised(data):
        return data
    lowest = np.percentile(data[data != 0], DARKEST)
    above = np.maximum(data - lowest, np.finfo(np.float32).eps)  # not 0, which is outside
    moved: SingleFloats = np.where(data == 0, 0, above).astype(np.float32)
    return moved
