"""Patch arithmetic shared by the planner and the small trainers; axes are (z, y, x), the coarsest first."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Stride = tuple[int, int, int]

ANISOTROPIC_STRIDES: tuple[Stride, ...] = ((1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2))
ISOTROPIC_STRIDES: tuple[Stride, ...] = ((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2))
ANISOTROPIC_PATCH = (32, 96, 96)  # the paper's, at about 3x1x1 mm
ISOTROPIC_PATCH = (64, 64, 64)  # ours: the nearest cube of whole bottleneck voxels

# Between 1 and the paper's 3:1:1; from 1.5 on the in-plane resolution is halved once more than the through-plane one.
ANISOTROPY = 1.5


def is_anisotropic(spacing: npt.ArrayLike) -> bool:
    """Whether the coarsest voxel edge is at least 1.5 times the finest.

    Examples
    --------
    >>> is_anisotropic([3.0, 1.0, 1.0]), is_anisotropic([1.0, 1.0, 1.0])
    (True, False)
    """
    edges = np.asarray(spacing, dtype=float)
    return bool(edges.max() / edges.min() >= ANISOTROPY)


def strides_for(spacing: npt.ArrayLike) -> tuple[Stride, ...]:
    """Strides on entering the four levels.

    Examples
    --------
    >>> strides_for([3.0, 1.0, 1.0])
    ((1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2))
    """
    return ANISOTROPIC_STRIDES if is_anisotropic(spacing) else ISOTROPIC_STRIDES


def divisors(strides: Sequence[Stride]) -> tuple[int, int, int]:
    """Numbers that the patch edges must be multiples of.

    Examples
    --------
    >>> divisors(strides_for([3.0, 1.0, 1.0]))
    (4, 8, 8)
    """
    z, y, x = (int(n) for n in np.prod(strides, axis=0))
    return z, y, x


def clip_to_shape(patch: Sequence[int], shape: Sequence[float], divisor: Sequence[int]) -> tuple[int, ...]:
    """No edge longer than the image, rounded up to what the network divides.

    Examples
    --------
    >>> clip_to_shape((32, 96, 96), (60, 70, 200), (4, 8, 8))
    (32, 72, 96)
    """
    whole = [int(np.ceil(n / d)) * d for n, d in zip(shape, divisor, strict=True)]
    return tuple(min(p, w) for p, w in zip(patch, whole, strict=True))


def shrink_until(
    fits: Callable[[tuple[int, ...]], bool],
    patch: Sequence[int],
    spacing: Sequence[float],
    divisor: Sequence[int],
) -> tuple[int, ...]:
    """Shorten the physically longest edge, step by step, until `fits` or every edge has two bottleneck voxels.

    Examples
    --------
    >>> shrink_until(lambda patch: patch[1] * patch[2] <= 5000, (32, 96, 96), (3.0, 1.0, 1.0), (4, 8, 8))
    (20, 64, 72)
    """
    edges = list(patch)
    while not fits(tuple(edges)):
        can_shrink = [axis for axis in range(3) if edges[axis] > 2 * divisor[axis]]
        if not can_shrink:
            break
        longest = max(can_shrink, key=lambda axis: edges[axis] * spacing[axis])
        edges[longest] -= divisor[longest]
    return tuple(edges)
