"""What the network of a strategy sees of each scan, and how that is changed a little in training.

A strategy shows one region and a voxel around it; what lies outside is 0, which is the brain's mean. Augmentation is
by MONAI (extra `classification`): the head is mirrored, turned, moved and scaled a little, and the scanner's part
(shading, contrast, noise) is changed inside what is shown, so that 0 stays 0 outside.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from nnunet_ms.arrays import SingleFloats
from nnunet_ms.classification.stratification.networks import monai
from nnunet_ms.classification.stratification.preparation import PreparedScan
from nnunet_ms.classification.stratification.regions import Strategy, strategy_input
from nnunet_ms.errors import ImageError, OptionError
from nnunet_ms.outputs import whole_file

TURN_DEGREES, MOVE_MM, SCALE = 5.0, 4.0, 0.05
BIAS, NOISE, GAMMA = 0.3, 0.1, (0.8, 1.25)  # of MONAI's transforms; ours, as the papers tell none
CHANCE = 0.5  # of each change, in each look at a scan


def network_input(scan: PreparedScan, strategy: Strategy, coarser: int = 1, name: str = "scan") -> SingleFloats:
    """Images of a scan as the network of a strategy takes them.

    Parameters
    ----------
    scan : PreparedScan
    strategy : {"global", "wm", "gm", "sgm", "ventricles", "brainstem"}
    coarser : int, optional
        Blocks of so many voxels along each axis become one, their mean: 2 makes 4 mm of 2 mm.
    name : str, optional
        What the scan is called in messages.

    Returns
    -------
    (2, X / coarser, Y / coarser, Z / coarser) float32 array

    Raises
    ------
    ImageError
        If the region has no voxel, the images hold values that are no numbers, or do not divide into blocks.

    Examples
    --------
    >>> brain = np.ones((4, 4, 4), bool)
    >>> scan = PreparedScan(np.ones((2, 4, 4, 4), np.float32), brain, {}, {}, "", 0.9, np.eye(4))
    >>> network_input(scan, "global", coarser=2).shape
    (2, 2, 2, 2)
    >>> network_input(scan, "wm")
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.ImageError: scan: wm: expected voxels of the region, found none. ...
    """
    strange = int((~np.isfinite(scan.images)).sum())
    if strange:
        raise ImageError(
            f"{name}: expected images of numbers, found {strange} values that are none (NaN or infinite). Remove its "
            "file in the scans folder, run nnunet-ms-stratify prepare again; look at T1 and FLAIR if they come back."
        )
    masks = {region: mask for region, mask in scan.regions.items() if mask.any()}
    if strategy != "global" and strategy not in masks:
        raise ImageError(
            f"{name}: {strategy}: expected voxels of the region, found none. Look at the label map; leave the scan out "
            "of this strategy."
        )
    return coarsened(strategy_input(scan.images, scan.brain, masks, strategy), coarser, name)


def coarsened(images: SingleFloats, coarser: int, name: str = "images") -> SingleFloats:
    """Means of blocks of `coarser` voxels along each of the last three axes.

    Raises
    ------
    OptionError
        If `coarser` is no whole number above 0.
    ImageError
        If the images do not divide into such blocks.

    Examples
    --------
    >>> coarsened(np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2), 2).tolist()
    [[[[3.5]]]]
    """
    if isinstance(coarser, bool) or not isinstance(coarser, int) or coarser < 1:
        raise OptionError(f"coarser: expected a whole number >= 1, found {coarser!r}. 1 leaves the voxels as they are.")
    if coarser == 1:
        return images
    shape = images.shape[-3:]
    if any(n % coarser for n in shape):
        raise ImageError(
            f"{name}: expected images that divide into blocks of {coarser} voxels, found {shape}. Take another number, "
            "or prepare the scans with larger voxels (--edge-mm)."
        )
    blocks = [size for n in shape for size in (n // coarser, coarser)]
    return np.asarray(images.reshape(images.shape[0], *blocks).mean(axis=(2, 4, 6)), dtype=np.float32)


@dataclass(frozen=True)
class Augmentation:
    """Small changes of a scan's images that leave the patient the same.

    Each with a chance of a half: mirrored left to right; turned by up to 5 degrees about each axis, moved by up to 4 mm
    and scaled by up to 5 % along it; shaded by a smooth field; with noise of a tenth of the brain's standard deviation;
    with contrast of a gamma of .8 to 1.25 at the same mean and standard deviation.

    Attributes
    ----------
    edge_mm : float
        Of the voxels of the images that are changed.
    """

    edge_mm: float = 2.0

    def __post_init__(self) -> None:
        if not 0.5 <= self.edge_mm <= 64:
            raise OptionError(f"edge_mm: expected the edge of a voxel in mm, found {self.edge_mm!r}. Correct it.")

    def __call__(self, images: torch.Tensor, seeds: Sequence[int]) -> torch.Tensor:
        """(B, C, X, Y, Z) changed images on the same device; image k as its seed k tells, whatever is beside it.

        Examples
        --------
        >>> images = torch.ones(2, 1, 8, 8, 8)
        >>> changed = Augmentation()(images, [3, 3])
        >>> torch.equal(changed[0], changed[1]), torch.equal(changed, images)
        (True, False)
        """
        place, look = self._transforms(images.device)
        return torch.stack([self._changed(one, seed, place, look) for one, seed in zip(images, seeds, strict=True)])

    def _transforms(self, device: torch.device) -> tuple[Any, Any]:
        parts = monai("transforms")
        angle, move = float(np.deg2rad(TURN_DEGREES)), MOVE_MM / self.edge_mm
        place = parts.Compose(
            [
                parts.RandFlip(prob=CHANCE, spatial_axis=0),
                parts.RandAffine(
                    prob=CHANCE,
                    rotate_range=(angle,) * 3,
                    translate_range=(move,) * 3,
                    scale_range=(SCALE,) * 3,
                    padding_mode="zeros",
                    device=device,
                ),
            ]
        )
        look = parts.Compose(
            [
                parts.RandBiasField(prob=CHANCE, coeff_range=(0.0, BIAS)),
                parts.RandAdjustContrast(prob=CHANCE, gamma=GAMMA, retain_stats=True),
                parts.RandGaussianNoise(prob=CHANCE, std=NOISE),
            ]
        )
        return place, look

    def _changed(self, images: torch.Tensor, seed: int, place: Any, look: Any) -> torch.Tensor:
        place.set_random_state(seed=seed)
        look.set_random_state(seed=seed)
        moved = _plain(place(images))
        shown = (moved != 0).any(dim=0)
        return torch.where(shown, _plain(look(moved)), torch.zeros((), device=images.device)).to(images.dtype)


def _plain(images: Any) -> torch.Tensor:
    """Without MONAI's notes on where the voxels lie, which nothing here reads."""
    return images.as_tensor() if hasattr(images, "as_tensor") else torch.as_tensor(images)


def seeds_of(seed: int, epoch: int, places: Sequence[int] | npt.NDArray[np.integer]) -> list[int]:
    """One seed per scan of an epoch, for `Augmentation`; it does not depend on the other scans of the batch.

    Examples
    --------
    >>> seeds_of(0, 1, [5, 7])[1] == seeds_of(0, 1, [7])[0], seeds_of(0, 1, [5]) == seeds_of(0, 2, [5])
    (True, False)
    """
    return [int(np.random.SeedSequence([seed, epoch, int(place)]).generate_state(1)[0]) for place in places]


def write_inputs(path: str | Path, count: int, images: Iterable[SingleFloats]) -> None:
    """Store the images of scans one by one, so that a cohort need not fit into memory; whole or not at all.

    Parameters
    ----------
    path : str or Path
        `.npy`; `open_inputs` opens it.
    count : int
        Number of scans.
    images : iterable of (2, X, Y, Z) float32 arrays
        As many, of one shape.

    Raises
    ------
    ImageError
        If shapes differ.

    Examples
    --------
    >>> write_inputs("inputs.npy", 4, (np.full((2, 3, 3, 3), k, np.float32) for k in range(4)))
    >>> open_inputs("inputs.npy")[:, 0, 0, 0, 0].tolist()
    [0.0, 1.0, 2.0, 3.0]
    """
    stored: np.memmap[Any, np.dtype[np.float32]] | None = None
    with whole_file(path) as partial:
        for place, one in enumerate(images):
            if stored is None:
                stored = np.lib.format.open_memmap(partial, "w+", np.float32, (count, *one.shape))
            if one.shape != stored.shape[1:]:
                raise ImageError(
                    f"{path}: expected scans of one grid, found {stored.shape[1:]} and then {one.shape} in scan "
                    f"{place + 1}. Prepare all scans into one folder with one --edge-mm."
                )
            stored[place] = one
        if stored is not None:
            stored.flush()
            del stored


def open_inputs(path: str | Path) -> npt.NDArray[np.float32]:
    """Images that `write_inputs` stored, (n, 2, X, Y, Z), read from the disk as they are needed.

    Examples
    --------
    >>> write_inputs("inputs.npy", 2, [np.ones((2, 3, 3, 3), np.float32)] * 2)
    >>> open_inputs("inputs.npy").shape
    (2, 2, 3, 3, 3)
    """
    found: npt.NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
    return found
