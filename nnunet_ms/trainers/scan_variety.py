"""What scans differ in beyond the patient, as transforms of training patches: sequences, slices, scanner, head.

Ranges are ours. A network that has seen one protocol fails on the next one; randomised acquisition is what SynthSeg
[1]_ and its followers train on. Patches are z-scored and 0 outside of the brain, and stay 0 there (but see
`brain_leftovers`).

References
----------
.. [1] Billot et al., SynthSeg. Med Image Anal 86:102789, 2023. doi:10.1016/j.media.2023.102789
"""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import ImageOnlyTransform
from scipy import ndimage

from nnunet_ms.errors import OptionError

Range = tuple[float, float]


def checked_probability(value: float) -> float:
    """The value, if it is a probability.

    Raises
    ------
    OptionError
        Else.

    Examples
    --------
    >>> checked_probability(0.3)
    0.3
    """
    if not 0 <= value <= 1:
        raise OptionError(f"probability: expected a number from 0 to 1, found {value!r}. Correct it.")
    return value


class OnEachChannel(ImageOnlyTransform):
    """Apply `change` to each channel that is there, each with its own probability and its own draw.

    An absent channel (all zeros) stays absent.

    Parameters
    ----------
    probability : float
        That a channel is changed, in [0, 1].
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = checked_probability(probability)

    def _apply_to_image(self, img: torch.Tensor, **_: Any) -> torch.Tensor:
        for number in range(img.shape[0]):
            if np.random.uniform() < self.probability and bool(img[number].any()):  # noqa: NPY002 - as nnU-Net
                img[number] = self.change(img[number])
        return img

    def change(self, image: torch.Tensor) -> torch.Tensor:
        """Map one channel (Z, Y, X) to another of the same shape."""
        raise NotImplementedError(f"{type(self).__name__} changes nothing")


class DropSequences(ImageOnlyTransform):
    """Set channels to 0 as if their sequences had not been acquired; one of `needed` stays.

    Parameters
    ----------
    channels : int
        How many there are.
    needed : sequence of int
        Channels of which one at least is kept: a lesion is not seen on the others alone.
    keep_all : float
        Probability that all are kept; the other subsets share the rest equally.

    Raises
    ------
    OptionError
        If no channel is needed, or one is not there.

    Examples
    --------
    >>> len(DropSequences(3, needed=(0, 1)).subsets)
    6
    """

    def __init__(self, channels: int, needed: Sequence[int], keep_all: float = 0.4) -> None:
        super().__init__()
        if not needed or not set(needed) <= set(range(channels)) or not 0 <= keep_all <= 1:
            raise OptionError(
                f"needed: expected channels out of 0 to {channels - 1} and keep_all from 0 to 1, found {needed!r} and "
                f"{keep_all!r}. Correct them."
            )
        self.needed = frozenset(needed)
        every = [one for size in range(1, channels + 1) for one in combinations(range(channels), size)]
        self.subsets = [one for one in every if set(one) & set(needed)]
        self.keep_all = keep_all

    def _apply_to_image(self, img: torch.Tensor, **_: Any) -> torch.Tensor:
        # of a case that lacks sequences already: one of those that it needs is among what it has
        there = {n for n in range(img.shape[0]) if bool(img[n].any())} & self.needed
        some = [one for one in self.subsets if len(one) < img.shape[0] and there & set(one)]
        if not some or np.random.uniform() < self.keep_all:  # noqa: NPY002 - as nnU-Net
            return img
        kept = some[np.random.randint(len(some))]  # noqa: NPY002
        for number in set(range(img.shape[0])) - set(kept):
            img[number] = 0
        return img


class RandomSlices(OnEachChannel):
    """Thick slices: blur along an axis by the slice's profile, keep one plane per slice, interpolate between them.

    Parameters
    ----------
    spacing : sequence of float
        Of the patch's voxels, mm (z, y, x).
    thickness : tuple of float
        Of slices, mm; one that is not thicker than the voxels changes nothing.
    probability : float
        That a channel is changed.

    Notes
    -----
    The profile is a Gaussian whose full width at half maximum is the thickness, less that of the voxels which are
    there already (variances add).

    Examples
    --------
    >>> thick = RandomSlices((1.0, 1.0, 1.0), thickness=(4.0, 4.0), probability=1.0)
    >>> tuple(thick(image=torch.randn(1, 8, 16, 16))["image"].shape)
    (1, 8, 16, 16)
    """

    def __init__(self, spacing: Sequence[float], thickness: Range = (1.0, 7.0), probability: float = 0.5) -> None:
        super().__init__(probability)
        self.spacing, self.thickness = tuple(float(one) for one in spacing), thickness

    def change(self, image: torch.Tensor) -> torch.Tensor:
        """See `OnEachChannel`."""
        axis = int(np.random.randint(3))  # noqa: NPY002 - as nnU-Net
        return self.sliced(image, axis, float(np.random.uniform(*self.thickness)))  # noqa: NPY002

    def sliced(self, image: torch.Tensor, axis: int, thickness_mm: float) -> torch.Tensor:
        """One channel (Z, Y, X) as slices of `thickness_mm` along `axis` would show it."""
        voxel = self.spacing[axis]
        if thickness_mm <= voxel * 1.01 or image.shape[axis] < 2:
            return image
        there = image != 0
        sigma = np.sqrt(thickness_mm**2 - voxel**2) / np.sqrt(8 * np.log(2)) / voxel
        blurred = ndimage.gaussian_filter1d(image.numpy(), sigma, axis=axis, mode="nearest")
        length, step = image.shape[axis], thickness_mm / voxel
        first = np.random.uniform(0, min(step, length - 1))  # noqa: NPY002 - where a slice lies is chance
        centres = np.arange(first, length, step)
        at = np.arange(length)
        planes = _planes_at(blurred, centres, axis)
        place = np.clip((at - first) / step, 0, len(centres) - 1)
        found = torch.from_numpy(_planes_at(planes, place, axis).astype(np.float32))
        return torch.where(there, not_zero(found), torch.zeros_like(image))


def _planes_at(image: Any, places: Any, axis: int) -> Any:
    """Planes at fractional places along an axis, linear in between."""
    low = np.clip(np.floor(places).astype(int), 0, image.shape[axis] - 1)
    high = np.minimum(low + 1, image.shape[axis] - 1)
    share = np.expand_dims(places - low, [n for n in range(image.ndim) if n != axis])
    return np.take(image, low, axis) * (1 - share) + np.take(image, high, axis) * share


class RandomContrast(OnEachChannel):
    """Another contrast between tissues: the brain's intensities to a power, then its mean and spread again.

    nnU-Net's own transform takes statistics over the whole patch, which would move the 0 outside of the brain.

    Parameters
    ----------
    power : tuple of float
        Of the intensities, scaled to 0 to 1.

    Examples
    --------
    >>> image = torch.randn(1, 8, 8, 8)
    >>> changed = RandomContrast(power=(2.0, 2.0), probability=1.0)(image=image.clone())["image"]
    >>> bool((changed.flatten().argsort() == image.flatten().argsort()).all())
    True
    """

    def __init__(self, power: Range = (0.7, 1.5), probability: float = 0.3) -> None:
        super().__init__(probability)
        self.power = power

    def change(self, image: torch.Tensor) -> torch.Tensor:
        """See `OnEachChannel`."""
        inside = image[image != 0]
        low, high, mean, spread = inside.min(), inside.max(), inside.mean(), inside.std(unbiased=False)
        if high <= low:
            return image
        bent = ((image - low) / (high - low)).clamp(0, 1) ** float(np.random.uniform(*self.power))  # noqa: NPY002
        there = bent[image != 0]
        scale = spread / there.std(unbiased=False).clamp(min=1e-6)
        return _inside(image, lambda _: (bent - there.mean()) * scale + mean)


class RandomBias(OnEachChannel):
    """A smooth multiplicative field: the exponential of a polynomial of low order in the place of a voxel.

    Z-scores have no zero intensity: 0 is the brain's mean. So the mean is given the height `level` above no signal, the
    field multiplies that, and the result is a z-score again.

    Parameters
    ----------
    strength : float
        Largest coefficient of the polynomial of order 3.
    level : float
        Mean intensity of a brain in units of its standard deviation: 3 to 6 on T1, T2 and FLAIR.

    Examples
    --------
    >>> flat = torch.full((1, 8, 8, 8), 0.5)
    >>> bool((RandomBias(probability=1.0)(image=flat.clone())["image"] != flat).any())
    True
    """

    def __init__(self, strength: float = 0.3, level: float = 4.0, probability: float = 0.5) -> None:
        super().__init__(probability)
        self.strength, self.level = strength, level

    def change(self, image: torch.Tensor) -> torch.Tensor:
        """See `OnEachChannel`."""
        axes = [torch.linspace(-1, 1, n) for n in image.shape]
        z, y, x = torch.meshgrid(*axes, indexing="ij")
        field = torch.zeros_like(image)
        for i, j, k in _POWERS:
            field += float(np.random.uniform(-self.strength, self.strength)) * z**i * y**j * x**k  # noqa: NPY002
        return _inside(image, lambda one: (one + self.level) * torch.exp(field) - self.level)


class RandomTissueContrast(ImageOnlyTransform):
    """Another order of the tissues: a smooth bump of one sequence's intensity is added to another sequence.

    Grey matter on FLAIR is as bright as white matter on one scanner and as bright as lesions on the next. T1 tells
    where it is, so what lies in some range of T1 becomes brighter or darker on FLAIR, and likewise for each pair.

    Parameters
    ----------
    height : float
        Standard deviation of the bump's height, in units of the brain's.
    width : tuple of float
        Of the bump's standard deviation, in the same units of the other sequence.
    probability : float
        That a channel is changed, in [0, 1].

    Examples
    --------
    >>> image = torch.randn(2, 8, 8, 8)
    >>> image[:, 0] = 0
    >>> changed = RandomTissueContrast(probability=1.0)(image=image.clone())["image"]
    >>> bool((changed != image).any()), bool((changed[:, 0] == 0).all())
    (True, True)
    """

    def __init__(self, height: float = 0.6, width: Range = (0.25, 0.8), probability: float = 0.4) -> None:
        super().__init__()
        if not 0 <= probability <= 1:
            raise OptionError(f"probability: expected a number from 0 to 1, found {probability!r}. Correct it.")
        self.height, self.width, self.probability = height, width, probability

    def _apply_to_image(self, img: torch.Tensor, **_: Any) -> torch.Tensor:
        there = [number for number in range(img.shape[0]) if bool(img[number].any())]
        before = img.clone()
        for number in there:
            others = [one for one in there if one != number]
            if others and np.random.uniform() < self.probability:  # noqa: NPY002 - as nnU-Net
                img[number] = self.moved(img[number], before[others[np.random.randint(len(others))]])  # noqa: NPY002
        return img

    def moved(self, image: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """One channel (Z, Y, X) with a bump where `other` has some intensity."""
        centre, width = np.random.uniform(-1.5, 1.5), np.random.uniform(*self.width)  # noqa: NPY002
        bump = float(np.random.normal(0, self.height)) * torch.exp(-0.5 * ((other - centre) / width) ** 2)  # noqa: NPY002
        return _inside(image, lambda one: one + torch.where(other != 0, bump, torch.zeros_like(bump)))


_POWERS = [(i, j, k) for i in range(4) for j in range(4) for k in range(4) if 0 < i + j + k <= 3]


class RandomRicianNoise(OnEachChannel):
    """Noise of magnitude images: two Gaussian channels, of which the length is taken.

    batchgeneratorsv2's own one takes the patch's darkest voxel for no signal, and changes what is outside of the brain.

    Parameters
    ----------
    spread : tuple of float
        Standard deviation of each, in units of the brain's.
    level : float
        As `RandomBias`.

    References
    ----------
    Gudbjartsson & Patz, Magn Reson Med 34:910-914, 1995. doi:10.1002/mrm.1910340618

    Examples
    --------
    >>> noisy = RandomRicianNoise(spread=(0.2, 0.2), probability=1.0)(image=torch.full((1, 24, 24, 24), 1.0))["image"]
    >>> 0.18 < float(noisy.std()) < 0.22
    True
    """

    def __init__(self, spread: Range = (0.0, 0.25), level: float = 4.0, probability: float = 0.5) -> None:
        super().__init__(probability)
        self.spread, self.level = spread, level

    def change(self, image: torch.Tensor) -> torch.Tensor:
        """See `OnEachChannel`."""
        spread = float(np.random.uniform(*self.spread))  # noqa: NPY002 - as nnU-Net
        real, imaginary = (spread * torch.randn(image.shape) for _ in range(2))
        return _inside(image, lambda one: torch.hypot(one + self.level + real, imaginary) - self.level)


class RandomMotion(OnEachChannel):
    """The head moves during the scan: part of k-space is that of the shifted image, which gives ghosts and blur.

    Parameters
    ----------
    shift : float
        Largest shift, voxels.
    share : tuple of float
        Of the lines of k-space that are acquired after the movement; never its centre.

    Examples
    --------
    >>> moved = RandomMotion(probability=1.0)(image=torch.randn(1, 8, 16, 16))["image"]
    >>> tuple(moved.shape), bool(torch.isfinite(moved).all())
    ((1, 8, 16, 16), True)
    """

    def __init__(self, shift: float = 2.0, share: Range = (0.05, 0.3), probability: float = 0.1) -> None:
        super().__init__(probability)
        self.shift, self.share = shift, share

    def change(self, image: torch.Tensor) -> torch.Tensor:
        """See `OnEachChannel`."""
        axis = int(np.random.randint(3))  # noqa: NPY002 - as nnU-Net
        spectrum = torch.fft.fftn(image)
        frequency = torch.fft.fftfreq(image.shape[axis])
        moved = spectrum * _along(torch.exp(-2j * torch.pi * frequency * self._drawn_shift()), axis)
        share = float(np.random.uniform(*self.share))  # noqa: NPY002
        late = frequency.abs() > 0.5 * (1 - share)  # the outer lines, so that the contrast stays
        together = torch.where(_along(late, axis), moved, spectrum)
        return _inside(image, lambda _: torch.fft.ifftn(together).real)

    def _drawn_shift(self) -> float:
        return float(np.random.uniform(-self.shift, self.shift))  # noqa: NPY002


def _along(values: torch.Tensor, axis: int) -> torch.Tensor:
    """A vector, shaped to act along one of three axes."""
    shape = [1, 1, 1]
    shape[axis] = -1
    return values.reshape(shape)


def _inside(image: torch.Tensor, change: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """The changed image in the brain, 0 outside of it."""
    return torch.where(image != 0, not_zero(change(image)), torch.zeros_like(image))


def not_zero(image: torch.Tensor) -> torch.Tensor:
    """The image without exact zeros, which would say that nothing is there.

    Examples
    --------
    >>> not_zero(torch.tensor([0.0, 2.0])).tolist()[1], bool((not_zero(torch.zeros(3)) != 0).all())
    (2.0, True)
    """
    return torch.where(image == 0, torch.full_like(image, 1e-6), image)
