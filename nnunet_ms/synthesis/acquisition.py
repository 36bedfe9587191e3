"""What a scanner adds to the signal: partial volume of its slices, coil profile, noise, ghosts, a moved head."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from nnunet_ms.arrays import SingleFloats
from nnunet_ms.synthesis.fields import smooth_field
from nnunet_ms.synthesis.slices import Slices, at_planes, planes_of

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


def draw_slices(scanner: Scanner, rng: np.random.Generator) -> Slices:
    """Draw how an image is cut into slices."""
    axis = scanner.slice_axis if scanner.slice_axis is not None else int(rng.choice(3, p=(0.15, 0.15, 0.7)))
    low, high = scanner.slices_mm
    is_thick = rng.random() < scanner.thick or low > 1
    thickness = float(rng.uniform(low, high)) if is_thick else 1.0
    return Slices(axis, max(1.0, thickness), float(rng.uniform(0, max(1.0, thickness))))


def acquire(
    signal: SingleFloats,
    white: float,
    slices: Slices,
    scanner: Scanner,
    rng: np.random.Generator,
    *,
    own_grid: bool = False,
) -> SingleFloats:
    """The magnitude image of a signal: on the same grid of 1 mm, or one plane per slice.

    Parameters
    ----------
    signal : (X, Y, Z) float32 array
    white : float
        Signal of white matter, of which the noise is a share.
    slices : Slices
    scanner : Scanner
    rng : Generator
    own_grid : bool, optional
        Give the slices themselves, not what is interpolated between them.

    Returns
    -------
    (X, Y, Z) or, with `own_grid`, fewer planes along the slices' axis, float32 array
    """
    blur = rng.uniform(*scanner.blur_mm) / FWHM
    sigma = [blur, blur, blur]
    sigma[slices.axis] = max(blur, np.sqrt(max(slices.thickness_mm**2 - 1, 0)) / FWHM)
    seen = ndimage.gaussian_filter(signal, sigma, truncate=2.5)
    seen *= np.exp(np.float32(rng.uniform(0, scanner.bias)) * smooth_field(signal.shape, 70.0, rng))
    if rng.random() < 0.3:
        seen += np.float32(scanner.ghost * rng.standard_normal()) * np.roll(seen, seen.shape[1] // 2, axis=1)
    planes = at_planes(seen, slices.middles(seen.shape), slices.axis)
    spread = np.float32(np.exp(rng.uniform(*np.log(scanner.noise))) * white)
    real, imaginary = (spread * rng.standard_normal(planes.shape, dtype=np.float32) for _ in range(2))
    image = np.hypot(planes + real, imaginary)
    return image if own_grid else at_planes(image, planes_of(slices, seen.shape), slices.axis)
