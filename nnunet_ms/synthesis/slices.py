"""Thick slices: where they lie on a grid of 1 mm, images and labels on them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nnunet_ms.arrays import SingleFloats
from nnunet_ms.images.volumes import Grid

THIN_MM = 1.01  # slices up to this are the grid's own planes


@dataclass(frozen=True)
class Slices:
    """Slices of an image: `axis`, `thickness_mm`, and where the first one's middle lies, `first` in voxels."""

    axis: int
    thickness_mm: float
    first: float

    def middles(self, shape: tuple[int, ...]) -> SingleFloats:
        """Places of the slices' middles along the axis, in planes of the grid.

        Examples
        --------
        >>> Slices(2, 4.0, 1.5).middles((8, 8, 12)).tolist()
        [1.5, 5.5, 9.5]
        """
        if self.thickness_mm <= THIN_MM:
            return np.arange(shape[self.axis], dtype=np.float32)
        return np.arange(self.first, shape[self.axis], self.thickness_mm, dtype=np.float32)


def planes_of(slices: Slices, shape: tuple[int, ...]) -> SingleFloats:
    """Where each plane of the grid lies among the slices."""
    at = np.arange(shape[slices.axis], dtype=np.float32)
    if slices.thickness_mm <= THIN_MM:
        return at
    last = len(slices.middles(shape)) - 1
    return np.clip((at - slices.first) / slices.thickness_mm, 0, last).astype(np.float32)


def at_planes(image: SingleFloats, places: SingleFloats, axis: int) -> SingleFloats:
    """Planes at fractional places along an axis, linear in between.

    Examples
    --------
    >>> line = np.arange(4, dtype=np.float32).reshape(1, 1, 4)
    >>> at_planes(line, np.array([0.5, 2.0], np.float32), 2).ravel().tolist()
    [0.5, 2.0]
    """
    if len(places) == image.shape[axis] and np.array_equal(places, np.arange(len(places))):
        return image
    low = np.clip(np.floor(places).astype(int), 0, image.shape[axis] - 1)
    high = np.minimum(low + 1, image.shape[axis] - 1)
    share = np.expand_dims((places - low).astype(np.float32), [n for n in range(3) if n != axis])
    return np.asarray(np.take(image, low, axis) * (1 - share) + np.take(image, high, axis) * share)


def sliced_labels(labels: npt.NDArray[np.uint8], slices: Slices) -> npt.NDArray[np.uint8]:
    """Labels on slices: where half of a slice's thickness or more is labelled, the label that most of that has.

    Examples
    --------
    >>> labels = np.array([0, 1, 1, 0, 0, 0, 2, 0], np.uint8).reshape(1, 1, 8)
    >>> sliced_labels(labels, Slices(2, 4.0, 1.5)).ravel().tolist()
    [1, 0]
    """
    if slices.thickness_mm <= THIN_MM:
        return labels
    width = max(1, round(slices.thickness_mm))
    middles = slices.middles(labels.shape)
    numbers = [int(one) for one in np.unique(labels) if one]
    shape = list(labels.shape)
    shape[slices.axis] = len(middles)
    best, total = (np.zeros(shape, dtype=np.float32) for _ in range(2))
    out = np.zeros(shape, dtype=np.uint8)
    for number in numbers:
        share = ndimage.uniform_filter1d((labels == number).astype(np.float32), width, slices.axis, mode="constant")
        here = at_planes(share, middles, slices.axis)
        out[here > best] = number
        best, total = np.maximum(best, here), total + here
    return np.where(total >= 0.5 - 1e-6, out, 0).astype(np.uint8)


def nearest_planes(labels: npt.NDArray[np.uint8], slices: Slices) -> npt.NDArray[np.uint8]:
    """Labels of the plane in the middle of each slice."""
    middles = np.rint(slices.middles(labels.shape)).astype(np.intp)
    return np.take(labels, np.minimum(middles, labels.shape[slices.axis] - 1), slices.axis)


def sliced_grid(grid: Grid, slices: Slices) -> Grid:
    """The grid of the slices.

    Examples
    --------
    >>> thick = sliced_grid(Grid((8, 8, 12), np.eye(4)), Slices(2, 4.0, 1.5))
    >>> thick.shape, thick.spacing, float(thick.affine[2, 3])
    ((8, 8, 3), (1.0, 1.0, 4.0), 1.5)
    """
    if slices.thickness_mm <= THIN_MM:
        return grid
    shape = list(grid.shape)
    shape[slices.axis] = len(slices.middles(grid.shape))
    affine = grid.affine.copy()
    affine[:3, 3] += grid.affine[:3, slices.axis] * slices.first
    affine[:3, slices.axis] *= slices.thickness_mm
    return Grid(tuple(shape), affine)
