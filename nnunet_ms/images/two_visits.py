"""Two visits on one grid: normalised inside the brain that both show, subtracted, and how much they are alike.

Source of the subtraction: Wahlig et al., Front Neurosci 2023;17:1188336: register, z-score, follow-up minus baseline.
Median and interquartile range (ours) stand for its mean and standard deviation, because lesions are outliers.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nnunet_ms.arrays import Bools, Matrix, SingleFloats
from nnunet_ms.errors import ImageError
from nnunet_ms.images.appearance import COARSE_MM, DEPTH_MM
from nnunet_ms.images.volumes import Grid, open_image

IQR_PER_SD = 1.349  # of a normal distribution
LEAST_VOXELS = 100  # inside the common brain: below it nothing can be said
HEAD_LEVEL = 0.15  # of the 98th percentile, as in `appearance`: what is brighter belongs to the head


def robust_z(image: npt.NDArray[np.floating], inside: Bools, shown: Bools | None = None) -> SingleFloats:
    """Image (X, Y, Z) minus its median inside a mask, in units of 1/1.349 of the interquartile range there.

    It is 0 outside of `shown`, which is the mask itself if it is not given.

    Raises
    ------
    ImageError
        If the mask has fewer than 100 voxels, or the image has one value in it.

    Examples
    --------
    >>> image = np.arange(1000.0).reshape(10, 10, 10)
    >>> found = robust_z(image, image >= 0)
    >>> [round(float(value), 2) for value in np.percentile(found, [25, 50, 75])]
    [-0.67, 0.0, 0.67]
    """
    seen = image[inside]
    if seen.size < LEAST_VOXELS:
        raise ImageError(
            f"expected a brain that both visits show, found {seen.size} common voxels. Check that both show one head, "
            "and the brain masks."
        )
    low, middle, high = np.percentile(seen, [25, 50, 75])
    if not high > low:
        raise ImageError(
            f"expected different grey values inside the brain, found {middle:g} for half of it. Check the image and "
            "the brain mask."
        )
    return np.where(inside if shown is None else shown, (image - middle) * (IQR_PER_SD / (high - low)), 0).astype(
        np.float32
    )


def likeness(first: npt.NDArray[np.floating], second: npt.NDArray[np.floating], inside: Bools) -> float:
    """Pearson correlation of two images (X, Y, Z) inside a mask; NaN where it is empty or one of them is constant.

    Examples
    --------
    >>> image = np.arange(1000.0).reshape(10, 10, 10)
    >>> round(likeness(image, 3 - 2 * image, image > 4), 6)
    -1.0
    """
    x, y = (image[inside].astype(np.float64) for image in (first, second))
    if x.size < 2:
        return float("nan")
    x, y = x - x.mean(), y - y.mean()
    size = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / size if size > 0 else float("nan")


def head_in(image: npt.NDArray[np.floating], grid: Grid) -> Bools:
    """The head, (X, Y, Z), or the brain where the skull is removed: bright voxels, small gaps closed, holes filled.

    Stands for a brain mask where there is none.

    Examples
    --------
    >>> axes = np.indices((50, 50, 50)) - 25
    >>> shell = (axes**2).sum(axis=0)
    >>> found = head_in((100.0 * ((shell < 400) & (shell > 200))), Grid((50, 50, 50), np.eye(4)))
    >>> bool(found[25, 25, 25]), bool(found[0, 0, 0])
    (True, False)
    """
    bright = image[image > image.min()]
    if not bright.size:
        return np.zeros(image.shape, dtype=np.bool_)
    head = image > HEAD_LEVEL * np.percentile(bright, 98)
    reach = [max(1, round(COARSE_MM / edge)) for edge in grid.spacing]
    closed = ndimage.grey_closing(np.pad(head, 4).astype(np.uint8), size=[2 * n + 1 for n in reach])[4:-4, 4:-4, 4:-4]
    parts, number = ndimage.label(closed | head)
    if not number:
        return np.zeros(image.shape, dtype=np.bool_)
    largest = parts == np.argmax(np.bincount(parts.ravel())[1:]) + 1
    return np.asarray(ndimage.binary_fill_holes(largest), dtype=np.bool_)


def deep_in(head: Bools, grid: Grid) -> Bools:
    """What lies deeper than 15 mm in the head: brain, where there is no mask of it; the deeper half in a small object.

    Measured on two persons' FLAIRs: their whole heads correlate by .66 to .73, because both have bright fat and skin;
    what is deep in them by .31 to .40.

    Examples
    --------
    >>> found = deep_in(np.ones((50, 50, 50), bool), Grid((50, 50, 50), np.eye(4)))
    >>> bool(found[25, 25, 25]), bool(found[25, 25, 10])
    (True, False)
    """
    depth = ndimage.distance_transform_edt(np.pad(head, 1), sampling=grid.spacing)[1:-1, 1:-1, 1:-1]
    return np.asarray(depth > min(DEPTH_MM, 0.5 * float(depth.max())), dtype=np.bool_)


def half_of(matrix: Matrix) -> Matrix:
    """The motion that, done twice, is `matrix` (4, 4).

    Raises
    ------
    ImageError
        If there is none: a mirror image, or half a turn.

    Examples
    --------
    >>> quarter = np.array([[0.0, -1.0, 0.0, 8.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    >>> bool(np.allclose(half_of(quarter) @ half_of(quarter), quarter))
    True
    """
    from scipy.linalg import sqrtm

    half = np.asarray(sqrtm(matrix))
    if (np.iscomplexobj(half) and np.abs(half.imag).max() > 1e-8) or not np.isfinite(half).all():
        raise ImageError("expected a motion of the head, found a mirror image or half a turn. Check the headers.")
    return np.ascontiguousarray(half.real, dtype=np.float64)


def half_way_grid(grid: Grid, half: Matrix) -> Grid:
    """The baseline's grid, its middle moved by half the motion: neither visit lies on it."""
    middle = grid.affine @ [*((np.array(grid.shape) - 1) / 2), 1.0]
    affine = grid.affine.copy()
    affine[:3, 3] += (half @ middle - middle)[:3]
    return Grid(grid.shape, affine)


def header_words(path: str | Path) -> str:
    """What a header says of its image: shape, edges, and what converters leave in the fields for words."""
    image = open_image(path)
    zooms = "x".join(f"{edge:.3g}" for edge in image.header.get_zooms()[:3])
    words = [
        bytes(image.header[name]).split(b"\0")[0].decode("latin-1").strip()
        for name in ("descrip", "db_name")
        if name in image.header
    ]
    return " ".join(
        [f"{'x'.join(map(str, image.shape[:3]))} voxels of {zooms} mm", *(f"{word!r}" for word in words if word)]
    )
