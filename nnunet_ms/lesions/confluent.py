"""Confluent lesions taken apart: one lesion per centre, where connected components see one.

A lesion's depth, the distance to its border, has a hill for every lesion that has grown into the others. Hills that
rise high enough above the saddles between them are centres, and each voxel goes to the centre that the watershed of
the depth gives it. APRL [1]_ finds centres by the eigenvalues of the Hessian of a probability map [2]_; a mask has no
such map, and depth is what it has.

References
----------
.. [1] Lou et al., NeuroImage Clin 2021;32:102796. doi:10.1016/j.nicl.2021.102796
.. [2] Dworkin et al., AJNR 2018;39:626-633. doi:10.3174/ajnr.A5556
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nnunet_ms.arrays import Bools, Floats, Ints
from nnunet_ms.errors import OptionError
from nnunet_ms.lesions.components import Connectivity, find_components

Labels = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Splitting:
    """When a component counts as several lesions.

    Attributes
    ----------
    smooth_mm : float
        Standard deviation of the Gaussian that takes the steps of voxels out of the depth; 0 for none.
    prominence_mm : float
        What a hill of the smoothed depth must rise above the saddle to a higher one.
    minimum_voxels : int
        No part is smaller: the smallest centre that leaves such a part is given up, and its voxels go to others.
    connectivity : {6, 18, 26}
        Of the components that are looked at.
    """

    smooth_mm: float = 1.0
    prominence_mm: float = 0.5
    minimum_voxels: int = 30
    connectivity: Connectivity = 18

    def __post_init__(self) -> None:
        for name, least in (("smooth_mm", 0.0), ("prominence_mm", 0.0), ("minimum_voxels", 1)):
            value = getattr(self, name)
            if not (np.isfinite(value) and value >= least):
                raise OptionError(f"{name}: expected a number >= {least:g}, found {value}. Correct it.")


DEFAULT = Splitting()


def split_confluent(
    mask: npt.NDArray[np.generic], spacing_mm: tuple[float, float, float], splitting: Splitting = DEFAULT
) -> Labels:
    """Number the lesions of a mask, confluent ones apart.

    Parameters
    ----------
    mask : (X, Y, Z) array
        Every non-zero voxel is lesion.
    spacing_mm : (3,) floats
        Voxel edges in mm.
    splitting : Splitting, optional
        When a component counts as several.

    Returns
    -------
    (X, Y, Z) int32 array
        1 .. L in each lesion, 0 elsewhere; exactly the voxels of the mask are numbered, none is dropped. Components
        come in the order of `find_components`, the parts of one in that of their first voxels. The same input gives
        the same numbers on every machine. Zeros for a mask without a lesion.

    Raises
    ------
    OptionError
        If the mask is not 3-D, or `spacing_mm` is not three edges > 0.

    Examples
    --------
    Two balls of 5 voxels' radius whose centres lie 8 voxels apart are one component, and two lesions:

    >>> x, y, z = np.ogrid[:24, :16, :16]
    >>> balls = [(x - c) ** 2 + (y - 8) ** 2 + (z - 8) ** 2 <= 25 for c in (8, 16)]
    >>> labels = split_confluent(balls[0] | balls[1], (1.0, 1.0, 1.0))
    >>> int(labels.max()), int(labels[8, 8, 8]), int(labels[16, 8, 8])
    (2, 1, 2)
    """
    spacing = np.asarray(spacing_mm, dtype=float)
    if np.ndim(mask) != 3 or spacing.shape != (3,) or not (np.isfinite(spacing) & (spacing > 0)).all():
        raise OptionError(
            f"split_confluent: expected a 3-D mask and three edges > 0 in mm, found shape {np.shape(mask)} and "
            f"{spacing_mm}. Correct them."
        )
    components = find_components(np.asarray(mask), splitting.connectivity)
    numbered = components.painted(np.arange(1, components.count + 1, dtype=np.int32))
    labels = np.zeros(numbered.shape, dtype=np.int32)
    total = 0
    for number, box in enumerate(ndimage.find_objects(numbered), start=1):
        here = numbered[box] == number
        parts = _parts(here, spacing, splitting)
        labels[box][here] = parts[here] + total
        total += int(parts.max())
    return labels


def _parts(component: Bools, spacing: Floats, splitting: Splitting) -> Labels:
    """One component in its box -> 1 .. parts in it, 0 elsewhere."""
    if int(component.sum()) < 2 * splitting.minimum_voxels:
        return component.astype(np.int32)
    from skimage.segmentation import watershed  # takes a moment; not for --help

    padded = np.pad(component, 1)
    depth = _depth(padded, spacing, splitting.smooth_mm)
    centres = _centres(depth, padded, splitting.prominence_mm)
    while True:
        if centres.max() <= 1:
            return component.astype(np.int32)
        # in whole thousandths of a mm: what rounding in the last digits decides would differ from machine to machine
        parts = watershed(-np.rint(1000 * depth), centres, mask=padded)
        sizes = np.bincount(parts.ravel(), minlength=int(centres.max()) + 1)[1:]
        smallest = int(np.argmin(sizes))
        if sizes[smallest] >= splitting.minimum_voxels:
            break
        centres = np.where(centres == smallest + 1, 0, centres - (centres > smallest + 1))
    return _in_scan_order(parts[1:-1, 1:-1, 1:-1])


def _depth(component: Bools, spacing: Floats, smooth_mm: float) -> Floats:
    """Distance to the border in mm, as if the component had no holes: a rim drawn alone has its centre in its core."""
    filled = ndimage.binary_fill_holes(component)
    depth = ndimage.distance_transform_edt(filled, sampling=spacing)
    return np.asarray(ndimage.gaussian_filter(depth, smooth_mm / spacing) if smooth_mm else depth, dtype=np.float64)


def _centres(depth: Floats, component: Bools, prominence_mm: float) -> Ints:
    """Number the hills of `depth` that rise by `prominence_mm` above the saddle to a higher one, at their tops."""
    from skimage.morphology import local_maxima, reconstruction

    rounded = np.rint(1000 * depth)
    lowered = rounded - max(round(1000 * prominence_mm), 1)
    flattened = reconstruction(lowered, rounded, method="dilation")
    tops = local_maxima(flattened, connectivity=3) & (flattened < rounded)
    numbers, _ = ndimage.label(tops, np.ones((3, 3, 3)))
    # in a ring the top may lie in the hole, where the watershed of the ring's voxels does not begin
    return _onto(numbers, component)


def _onto(numbers: Ints, component: Bools) -> Ints:
    """Move each centre outside the component to the voxel of it that is nearest."""
    outside = (numbers > 0) & ~component
    centres = np.where(component, numbers, 0).astype(np.int64)
    if not outside.any():
        return centres
    places = np.argwhere(component)
    for number in np.setdiff1d(np.unique(numbers[outside]), np.unique(centres)):
        middle = np.argwhere(numbers == number).mean(axis=0)
        nearest = places[int(np.argmin(((places - middle) ** 2).sum(axis=1)))]
        if centres[tuple(nearest)] == 0:
            centres[tuple(nearest)] = number
    _, renumbered = np.unique(centres, return_inverse=True)
    return np.asarray(renumbered.reshape(centres.shape), dtype=np.int64)


def _in_scan_order(parts: npt.NDArray[np.integer]) -> Labels:
    """Renumber parts by their first voxel where the last axis runs fastest."""
    found, first = np.unique(parts, return_index=True)
    order = found[found > 0][np.argsort(first[found > 0])]
    numbers = np.zeros(int(parts.max()) + 1, dtype=np.int32)
    numbers[order] = np.arange(1, order.size + 1)
    return numbers[parts]
