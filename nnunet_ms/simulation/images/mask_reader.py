"""A simulated second reader: the reference mask with the disagreements that readers show.

Small lesions are missed or invented, borders are drawn a little wider or tighter. For exercising comparisons
of raters before any network is trained.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from nnunet_ms.arrays import Bools
from nnunet_ms.lesions.components import Components, find_components


@dataclass(frozen=True)
class Reader:
    """How a reader disagrees. `small_voxels` divides lesions that are easily missed from the others."""

    small_voxels: int = 10
    miss_small: float = 0.25
    miss_large: float = 0.03
    invented_share: float = 0.1  # mean number of invented small lesions over that of the true lesions
    border_sd_mm: float = 0.4  # of the border's place, along the border
    bias_mm: float = 0.0  # > 0: draws wider


def read_again(
    mask: Bools,
    tissue: Bools,
    spacing_mm: tuple[float, float, float],
    rng: np.random.Generator,
    reader: Reader | None = None,
) -> Bools:
    """Mask of a second reader.

    Parameters
    ----------
    mask : (X, Y, Z) bool array
        The reference; components are 18-connected.
    tissue : (X, Y, Z) bool array
        Where lesions can be: the result is never outside.
    spacing_mm : tuple of float
        Voxel edges.
    rng : numpy.random.Generator
    reader : Reader, optional
        Default `Reader()`.

    Returns
    -------
    (X, Y, Z) bool array
        All false where the reference is empty.

    Examples
    --------
    >>> mask = np.zeros((30, 30, 10), dtype=bool)
    >>> mask[8:16, 8:16, 3:7] = True
    >>> again = read_again(mask, np.ones_like(mask), (1.0, 1.0, 3.0), np.random.default_rng(0))
    >>> dice = 2 * (mask & again).sum() / (mask.sum() + again.sum())
    >>> bool(0.6 < dice < 1)
    True
    """
    reader = Reader() if reader is None else reader
    lesions = find_components(mask)
    kept = _drop_lesions(lesions, reader, rng)
    invented = _invent_lesions(mask, tissue, rng.poisson(reader.invented_share * lesions.count), reader, rng)
    return (_move_border(kept, spacing_mm, reader, rng) | invented) & tissue


def _drop_lesions(lesions: Components, reader: Reader, rng: np.random.Generator) -> Bools:
    chance = np.where(lesions.voxels <= reader.small_voxels, reader.miss_small, reader.miss_large)
    drawn = rng.random(lesions.count + 1)[1:]  # the first number is the background's: a seed keeps its reader
    return lesions.painted(drawn >= chance)


def _move_border(
    mask: Bools, spacing_mm: tuple[float, float, float], reader: Reader, rng: np.random.Generator
) -> Bools:
    if not mask.any():
        return mask
    distance = ndimage.distance_transform_edt(mask, sampling=spacing_mm)
    distance -= ndimage.distance_transform_edt(~mask, sampling=spacing_mm)
    # voxel centres lie half a voxel from the border on either side; without this only steps of a voxel would move it
    distance -= np.sign(distance) * min(spacing_mm) / 2
    noise = ndimage.gaussian_filter(rng.standard_normal(mask.shape), 1.5)
    return np.asarray(distance + reader.bias_mm + reader.border_sd_mm * noise / noise.std() > 0)


def _invent_lesions(mask: Bools, tissue: Bools, count: int, reader: Reader, rng: np.random.Generator) -> Bools:
    """Blobs of 3 to `small_voxels` voxels away from true lesions."""
    invented = np.zeros_like(mask)
    places = np.argwhere(tissue & ~ndimage.binary_dilation(mask, iterations=3))
    for centre in places[rng.integers(len(places), size=count)] if len(places) else []:
        size = int(rng.integers(3, reader.small_voxels + 1))
        box = tuple(slice(max(c - 1, 0), c + 2) for c in centre)
        patch = np.zeros_like(invented[box])
        patch.flat[rng.permutation(patch.size)[:size]] = True
        patch[tuple(int(c) - b.start for c, b in zip(centre, box, strict=True))] = True
        invented[box] |= patch
    return invented
