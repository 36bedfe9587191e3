"""Smooth random fields and fast resampling: what deforms a head, shades a coil and makes tissue uneven."""

import numpy as np
from scipy import ndimage

from nnunet_ms.arrays import Matrix, SingleFloats


def smooth_field(shape: tuple[int, ...], length_mm: float, rng: np.random.Generator) -> SingleFloats:
    """A field of mean 0 and standard deviation 1, drawn at points `length_mm` apart and splined between them.

    Parameters
    ----------
    shape : tuple of int
        Of the grid of 1 mm.
    length_mm : float
        Distance of the points, mm.
    rng : Generator

    Examples
    --------
    >>> field = smooth_field((30, 40, 20), 10.0, np.random.default_rng(0))
    >>> field.shape, round(float(field.std()), 3)
    ((30, 40, 20), 1.0)
    """
    points = [max(4, round(n / length_mm) + 1) for n in shape]
    field = spread(rng.standard_normal((1, *points), dtype=np.float32), shape)[0]
    field -= field.mean()
    field /= max(float(field.std()), 1e-6)
    return field


def spread(control: SingleFloats, shape: tuple[int, ...]) -> SingleFloats:
    """Control points (C, a, b, c) splined onto a grid: (C, X, Y, Z).

    Cubic splines are separable: one small matrix per axis is ten times faster than zooming the volume.
    """
    x, y, z = (
        ndimage.zoom(np.eye(points), (n / points, 1), order=3, mode="nearest").astype(np.float32)
        for n, points in zip(shape, control.shape[1:], strict=True)
    )
    first = np.einsum("zc,dabc->dabz", z, control)
    second = np.einsum("yb,dabz->dayz", y, first)
    out = x @ second.reshape(len(control), second.shape[1], -1)
    return np.asarray(out.reshape(len(control), *shape), dtype=np.float32)


def sample(volume: SingleFloats, points: SingleFloats, *, nearest: bool = False) -> SingleFloats:
    """Values of one or several volumes at points in voxels; the border's value outside.

    Parameters
    ----------
    volume : (C, X, Y, Z) float32 array
    points : (3, X', Y', Z') float32 array
        In voxels of the volume.
    nearest : bool, optional
        Of the nearest voxel, not linear between voxels.

    Returns
    -------
    (C, X', Y', Z') float32 array

    Examples
    --------
    >>> line = np.arange(8, dtype=np.float32).reshape(1, 8, 1, 1) * np.ones((1, 1, 2, 2), np.float32)
    >>> float(sample(line, np.array([2.5, 0, 0], np.float32).reshape(3, 1, 1, 1))[0, 0, 0, 0])
    2.5
    """
    import torch  # seconds, so not before it is needed

    unit = np.empty((*points.shape[1:], 3), dtype=np.float32)
    for axis, size in enumerate(volume.shape[1:]):
        np.multiply(points[axis], np.float32(2 / max(size - 1, 1)), out=unit[..., 2 - axis])
    unit -= 1
    places = torch.from_numpy(unit)[None]
    found = torch.nn.functional.grid_sample(
        torch.from_numpy(np.ascontiguousarray(volume))[None],
        places,
        mode="nearest" if nearest else "bilinear",
        padding_mode="border",
        align_corners=True,
    )
    return np.asarray(found[0].numpy())


def moved(points: SingleFloats, matrix: Matrix) -> SingleFloats:
    """Points (3, X, Y, Z) by a matrix (4, 4)."""
    flat = matrix[:3, :3].astype(np.float32) @ points.reshape(3, -1)
    flat += matrix[:3, 3].astype(np.float32)[:, None]
    return np.asarray(flat.reshape(points.shape))
