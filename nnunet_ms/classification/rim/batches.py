"""Batches of lesions to train on: rim+ ones in each, patches turned and flipped, features on one scale."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import affine_grid, grid_sample

from nnunet_ms.arrays import Bools, Floats, Indices, SingleFloats
from nnunet_ms.errors import SettingsError
from nnunet_ms.options import chosen

CLIP = 5.0  # standard deviations; one lesion of a strange shape is not to rule a feature
BRIGHTNESS = 0.1  # intensities are multiplied by 1 +- this
# RimNet's authors move a patch of 28 cells by up to 3 and turn it by up to 5 degrees (public code)
SHIFT, TURN = 3 / 28, 5.0  # of the patch's edge; degrees
Augmentation = Literal["none", "flips", "moves"]


def stratified_batches(
    rim: Bools, generator: np.random.Generator, size: int = 32, least_rim: int = 4
) -> Iterator[Indices]:
    """Batches that hold rim+ lesions each; one pass over all rim- lesions.

    The oversampling layer needs three rim+ lesions in a batch. Where four lesions of a hundred have a rim, a random
    batch of 32 has them once in seven. The paper does not tell how its batches were composed.

    Parameters
    ----------
    rim : (n,) bool array
        Which lesions are rim+.
    generator : numpy.random.Generator
        Of the order.
    size : int, optional
        Lesions in a batch; the last ones of a pass may be smaller by one batch's remainder.
    least_rim : int, optional
        Rim+ lesions in each; more where their share of all lesions asks for more.

    Yields
    ------
    (m,) int array
        Places. All rim- lesions come once. Rim+ ones come in turn, again and again, so that no two of them differ by
        more than one in how often; where there are fewer than `least_rim`, one stands in a batch more than once.

    Raises
    ------
    SettingsError
        If fewer than two lesions are rim+, or none is rim-.

    Examples
    --------
    >>> rim = np.arange(100) < 4
    >>> batches = list(stratified_batches(rim, np.random.default_rng(0)))
    >>> [len(batch) for batch in batches], [int(rim[batch].sum()) for batch in batches]
    ([32, 32, 32, 16], [4, 4, 4, 4])
    """
    few, many = np.flatnonzero(rim), np.flatnonzero(~rim)
    if len(few) < 2 or not len(many):
        raise SettingsError(
            f"training set: expected 2 rim+ lesions or more, and rim- ones, found {len(few)} rim+ and {len(many)} "
            "rim-. Add labelled patients, or ask for other folds: from one rim+ lesion nothing general is learned."
        )
    share = min(max(least_rim, round(size * len(few) / len(rim))), size - 1)
    many = generator.permutation(many)
    turns = -(-len(many) // (size - share))
    rounds = -(-turns * share // len(few))
    queue = np.concatenate([generator.permutation(few) for _ in range(rounds)])
    for turn in range(turns):
        others = many[turn * (size - share) : (turn + 1) * (size - share)]
        yield generator.permutation(np.concatenate([queue[turn * share : (turn + 1) * share], others]))


def augmented(
    patches: SingleFloats, generator: np.random.Generator, augmentation: Augmentation = "flips"
) -> SingleFloats:
    """Patches flipped along their axes, turned by quarters in the plane, and up to a tenth brighter or darker.

    Parameters
    ----------
    patches : (n, 2, D, H, W) float32 array
        Turned only where H is W. Both channels of a patch are moved alike; each has a brightness of its own.
    generator : numpy.random.Generator
    augmentation : {"none", "flips", "moves"}, optional
        "moves": then also `moved`. "none": as they are.

    Returns
    -------
    (n, 2, D, H, W) float32 array
        New; the given one is as it was.

    Raises
    ------
    OptionError
        If the word is unknown.

    Examples
    --------
    >>> patches = np.ones((3, 2, 8, 32, 32), dtype=np.float32)
    >>> new = augmented(patches, np.random.default_rng(0))
    >>> new.shape, bool(np.all((new >= 0.9) & (new <= 1.1)))
    ((3, 2, 8, 32, 32), True)
    """
    chosen(augmentation, get_args(Augmentation), "augmentation")
    if augmentation == "none":
        return patches.copy()
    flips = generator.random((len(patches), 3)) < 0.5
    turns = generator.integers(0, 4, len(patches)) if patches.shape[3] == patches.shape[4] else [0] * len(patches)
    brightness = generator.uniform(1 - BRIGHTNESS, 1 + BRIGHTNESS, (len(patches), patches.shape[1], 1, 1, 1))
    new = np.empty_like(patches)
    for place, patch in enumerate(patches):
        flipped = np.flip(patch, tuple(np.flatnonzero(flips[place]) + 1))
        new[place] = np.rot90(flipped, turns[place], axes=(2, 3))
    new = new * brightness.astype(np.float32)
    return moved(new, generator) if augmentation == "moves" else new


def moved(patches: SingleFloats, generator: np.random.Generator) -> SingleFloats:
    """Patches shifted by up to 3/28 of their edge along each axis and turned by up to 5 degrees about each.

    A patch is a cube, whatever its cells; values between them are linear ones, beyond the border that of the border.

    Examples
    --------
    >>> patches = np.full((2, 2, 8, 16, 16), 3.0, dtype=np.float32)
    >>> bool(np.allclose(moved(patches, np.random.default_rng(0)), 3))
    True
    """
    angles = np.radians(generator.uniform(-TURN, TURN, (len(patches), 3)))
    shifts = generator.uniform(-SHIFT, SHIFT, (len(patches), 3)) * 2  # torch's cube goes from -1 to 1
    frames = np.stack([np.column_stack([_turned(*its), by]) for its, by in zip(angles, shifts, strict=True)])
    grid = affine_grid(torch.from_numpy(frames.astype(np.float32)), list(patches.shape), align_corners=False)
    found = grid_sample(torch.from_numpy(patches), grid, padding_mode="border", align_corners=False)
    return np.asarray(found.numpy(), dtype=np.float32)


def _turned(first: float, second: float, third: float) -> Floats:
    """(3, 3) turn about each axis, one after the other."""
    matrix = np.eye(3)
    for (i, j), angle in zip(((0, 1), (0, 2), (1, 2)), (first, second, third), strict=True):
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    return matrix


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation of each feature on the training lesions; (F,) each."""

    mean: Floats
    sd: Floats

    def __call__(self, features: Floats) -> SingleFloats:
        """Standard deviations from the mean, clipped at 5; 0 for a feature that was the same in all lesions."""
        varies = self.sd > 0
        scaled = (features - self.mean) / np.where(varies, self.sd, 1.0)
        return np.where(varies, np.clip(scaled, -CLIP, CLIP), 0.0).astype(np.float32)


def scale_of(features: npt.NDArray[np.floating]) -> Scale:
    """Scale of the lesions of a training set, (n, F).

    Examples
    --------
    >>> scale = scale_of(np.array([[1.0, 7.0], [3.0, 7.0]]))
    >>> scale(np.array([[3.0, 8.0], [100.0, 7.0]])).tolist()
    [[1.0, 0.0], [5.0, 0.0]]
    """
    values = np.asarray(features, dtype=np.float64)
    sd = values.std(axis=0)
    # a constant whose sum is rounded has a deviation of some digits' end
    sd[sd <= 1e-12 * np.abs(values).max(axis=0, initial=0)] = 0.0
    return Scale(values.mean(axis=0), sd)
