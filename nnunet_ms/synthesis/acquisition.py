"""What a scanner adds to the signal: partial volume of its slices, coil profile, noise, ghosts, a moved head."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from nnunet_ms.arrays import SingleFloats
from nnunet_ms.synthesis.fields import smooth_field

FWHM = float(np.sqrt(8 * np.log(2)))


@dataclass(frozen=True)
class Scanner:
    """Ranges that an image's acquisition is drawn from.

    Attributes
    ----------
    noise : (float, float)
        Standard deviation of each channel of the noise, in units of the signal of white matter.
    bias : float
        Largest standard deviation of the logarithm of the coil profile.
    blur_mm : (float, float)
        Full width at half maximum of the point spread within slices.
    slices_mm : (float, float)
        Thickness of slices; 1 is the grid's.
    slice_axis : int or None
        Of the slices; None draws it, superior-inferior in seven of ten.
    thick : float
        Probability of slices thicker than 1 mm.
    ghost : float
        Standard deviation of a ghost's share.
    """

    noise: tuple[float, float] = (0.01, 0.05)
    bias: float = 0.12
    blur_mm: tuple[float, float] = (0.8, 1.6)
    slices_mm: tuple[float, float] = (1.0, 7.0)
    slice_axis: int | None = None
    thick: float = 0.5
    ghost: float = 0.01


@dataclass(frozen=True)
class Slices:
    """Slices of an image: `axis`, `thickness_mm`, and where the first one's middle lies, `first` in voxels."""

    axis: int
    thickness_mm: float
    first: float


def draw_slices(scanner: Scanner, rng: np.random.Generator) -> Slices:
    """Draw how an image is cut into slices."""
    axis = scanner.slice_axis if scanner.slice_axis is not None else int(rng.choice(3, p=(0.15, 0.15, 0.7)))
    low, high = scanner.slices_mm
    is_thick = rng.random() < scanner.thick or low > 1
    thickness = float(rng.uniform(low, high)) if is_thick else 1.0
    return Slices(axis, max(1.0, thickness), float(rng.uniform(0, max(1.0, thickness))))


def acquire(
    signal: SingleFloats, white: float, slices: Slices, scanner: Scanner, rng: np.random.Generator
) -> SingleFloats:
    """The magnitude image of a signal, on the same grid of 1 mm.

    Parameters
    ----------
    signal : (X, Y, Z) float32 array
    white : float
        Signal of white matter, of which the noise is a share.
    slices : Slices
    scanner : Scanner
    rng : Generator
    """
    blur = rng.uniform(*scanner.blur_mm) / FWHM
    sigma = [blur, blur, blur]
    sigma[slices.axis] = max(blur, np.sqrt(max(slices.thickness_mm**2 - 1, 0)) / FWHM)
    seen = ndimage.gaussian_filter(signal, sigma, truncate=2.5)
    seen *= np.exp(np.float32(rng.uniform(0, scanner.bias)) * smooth_field(signal.shape, 70.0, rng))
    if rng.random() < 0.3:
        seen += np.float32(scanner.ghost * rng.standard_normal()) * np.roll(seen, seen.shape[1] // 2, axis=1)
    planes, place = _planes(seen, slices)
    spread = np.float32(np.exp(rng.uniform(*np.log(scanner.noise))) * white)
    real, imaginary = (spread * rng.standard_normal(planes.shape, dtype=np.float32) for _ in range(2))
    return _between(np.hypot(planes + real, imaginary), place, slices.axis)


def _planes(image: SingleFloats, slices: Slices) -> tuple[SingleFloats, SingleFloats]:
    """Planes at the middles of the slices, and where each plane of the grid lies among them."""
    length, step = image.shape[slices.axis], slices.thickness_mm
    at = np.arange(length, dtype=np.float32)
    if step <= 1.01:
        return image, at
    middles = np.arange(slices.first, length, step, dtype=np.float32)
    return _between(image, middles, slices.axis), np.clip((at - slices.first) / step, 0, len(middles) - 1)


def _between(image: SingleFloats, places: SingleFloats, axis: int) -> SingleFloats:
    """Planes at fractional places along an axis, linear in between."""
    if len(places) == image.shape[axis] and np.array_equal(places, np.arange(len(places))):
        return image
    low = np.clip(np.floor(places).astype(int), 0, image.shape[axis] - 1)
    high = np.minimum(low + 1, image.shape[axis] - 1)
    share = np.expand_dims((places - low).astype(np.float32), [n for n in range(3) if n != axis])
    return np.asarray(np.take(image, low, axis) * (1 - share) + np.take(image, high, axis) * share)
