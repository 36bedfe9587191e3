"""Lesions of one mask: connected components with their size and place.

Only foreground voxels are kept, so that everything after the labelling costs time and memory by lesion volume and
not by image volume.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from nnunet_ms.arrays import Bools, Floats, Ints
from nnunet_ms.images.volumes import Grid, Volume
from nnunet_ms.lesions.components import Connectivity, coordinates, foreground, label_voxels


@dataclass(frozen=True)
class _Mask:
    """All voxels of a mask: flat index, component and whether a neighbour by face is missing, each (M,)."""

    index: Ints
    component: Ints
    is_surface: Bools


@dataclass(frozen=True)
class Lesions:
    """The L lesions of one mask, made of V voxels together; dropped components are not among them.

    Made by `find_lesions` and `find_all_lesions`. Arrays over voxels are made when they are asked for: a rule that
    only drops small lesions and counts the others never needs its own.

    Attributes
    ----------
    voxels : (L,) int64 array
        Size of each lesion in voxels.
    grid : Grid
        Of the mask.
    """

    _mask: _Mask
    _kept: Bools  # (components,)
    voxels: Ints
    grid: Grid

    @cached_property
    def voxel_index(self) -> Ints:
        """Ascending flat index (x fastest, as NIfTI stores voxels) of each lesion voxel on the mask's grid, (V,)."""
        return self._mask.index[self._kept_voxels]

    @cached_property
    def lesion_of_voxel(self) -> Ints:
        """The lesion, 0 .. L - 1, that each of these voxels belongs to, (V,)."""
        component = self._mask.component[self._kept_voxels]
        return component if self._kept.all() else new_numbers(self._kept)[component]

    @cached_property
    def is_surface(self) -> Bools:
        """Whether a neighbour of each voxel by face is not in the mask, (V,)."""
        return self._mask.is_surface[self._kept_voxels]

    @property
    def mask_voxels(self) -> int:
        """Voxels of the whole mask, dropped components included."""
        return int(self._mask.index.size)

    @cached_property
    def _kept_voxels(self) -> Bools | slice:
        return slice(None) if self._kept.all() else self._kept[self._mask.component]

    @property
    def count(self) -> int:
        """Number of lesions, L."""
        return int(self.voxels.size)

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in ml."""
        return self.grid.voxel_volume_ml

    @property
    def volumes_ml(self) -> Floats:
        """Volume of each lesion in ml, (L,)."""
        return np.asarray(self.voxels * self.voxel_volume_ml, dtype=np.float64)

    @property
    def volume_ml(self) -> float:
        """Volume of all lesions together in ml; 0 without lesions."""
        return float(self.voxels.sum()) * self.voxel_volume_ml

    @property
    def centroid_mm(self) -> Floats:
        """Mean voxel position of each lesion in world coordinates (the affine's, RAS+ in NIfTI), (L, 3), mm."""
        return self.grid.to_world(self._places.sums / self.voxels[:, None])

    @property
    def first_voxel(self) -> Ints:
        """Lower corner of each lesion's bounding box: its smallest voxel index along each axis, (L, 3)."""
        return self._places.first

    @property
    def last_voxel(self) -> Ints:
        """Upper corner of each lesion's bounding box, inside: its largest voxel index along each axis, (L, 3)."""
        return self._places.last

    def position_mm(self, chosen: Bools | Ints | slice = slice(None)) -> Floats:
        """World coordinates of the centres of chosen lesion voxels, all by default, (chosen, 3), mm."""
        return self.grid.to_world(np.stack([axis[chosen] for axis in self.voxel_axes], axis=1))

    @cached_property
    def voxel_axes(self) -> tuple[Ints, Ints, Ints]:
        """Voxel indices of the lesion voxels along x, y and z, (V,) each."""
        return coordinates(self.voxel_index, self.grid.shape)

    @cached_property
    def _places(self) -> "_Places":
        if not self.count:
            empty = np.zeros((0, 3), dtype=np.int64)
            return _Places(empty, empty, empty)
        short = self.lesion_of_voxel.astype(np.uint16) if self.count <= _SHORT else self.lesion_of_voxel
        order = np.argsort(short, kind="stable")  # of 16-bit numbers in linear time
        starts = np.cumsum(self.voxels) - self.voxels
        axes = [axis[order] for axis in self.voxel_axes]
        first, last, sums = ([how.reduceat(axis, starts) for axis in axes] for how in _REDUCTIONS)
        return _Places(*(np.stack(part, axis=1) for part in (first, last, sums)))


@dataclass(frozen=True)
class _Places:
    """Smallest and largest voxel index of each lesion along each axis, and the sum over its voxels, (L, 3) each."""

    first: Ints
    last: Ints
    sums: Ints


_REDUCTIONS = (np.minimum, np.maximum, np.add)
_SHORT = 1 << 16


def find_lesions(mask: Volume, connectivity: Connectivity = 18, minimum_voxels: int = 1) -> Lesions:
    """Label the connected components of a mask.

    Parameters
    ----------
    mask : Volume
        `data` (X, Y, Z); every non-zero voxel is lesion.
    connectivity : {6, 18, 26}
        Neighbours of a voxel: by face; also by edge; also by corner.
    minimum_voxels : int, optional
        Smaller components are dropped and count as background.

    Returns
    -------
    Lesions
        In the order of each lesion's first voxel where z runs fastest, so the numbering is the same on every machine.
        An empty mask, or one whose components are all too small, gives arrays of length 0.

    Examples
    --------
    >>> from nnunet_ms.images.volumes import read_mask
    >>> lesions = find_lesions(read_mask(Path("reference.nii.gz")), connectivity=18, minimum_voxels=3)
    >>> lesions.count, lesions.voxels.tolist(), round(lesions.volume_ml, 3)
    (3, [32, 4, 144], 0.54)
    >>> lesions.centroid_mm[0].tolist()
    [5.5, 5.5, 10.5]
    """
    return without_small(find_all_lesions(mask, [connectivity])[connectivity], minimum_voxels)


def find_all_lesions(mask: Volume, connectivities: Sequence[Connectivity]) -> dict[Connectivity, Lesions]:
    """Label a mask by several connectivities as `find_lesions` does, in one pass over the image; no size filter.

    Examples
    --------
    >>> from nnunet_ms.images.volumes import Grid, Volume
    >>> mask = np.zeros((4, 4, 4), dtype=bool)
    >>> mask[0, 0, 0] = mask[1, 1, 0] = True
    >>> found = find_all_lesions(Volume(mask, Grid(mask.shape, np.eye(4)), Path("mask")), [6, 18])
    >>> found[6].count, found[18].count
    (2, 1)
    """
    index = foreground(mask.data)
    components, surface = label_voxels(index, mask.grid.shape, connectivities)
    lesions = {}
    for connectivity, component in components.items():
        voxels = np.bincount(component).astype(np.int64)
        kept = np.ones(voxels.size, dtype=np.bool_)
        lesions[connectivity] = Lesions(_Mask(index, component, surface), kept, voxels, mask.grid)
    return lesions


def lesions_of_labels(labels: Volume) -> tuple[Ints, Lesions]:
    """Take every label of an image for one lesion, whatever touches it.

    Parameters
    ----------
    labels : Volume
        `data` (X, Y, Z) whole numbers; 0 is background.

    Returns
    -------
    names : (L,) array
        The labels, ascending.
    lesions : Lesions
        In that order.
    """
    index = foreground(labels.data)
    names, lesion = np.unique(labels.data[coordinates(index, labels.grid.shape)], return_inverse=True)
    surface = label_voxels(index, labels.grid.shape, [6])[1]
    kept = np.ones(names.size, dtype=np.bool_)
    voxels = np.bincount(lesion, minlength=names.size).astype(np.int64)
    return names, Lesions(_Mask(index, lesion.astype(np.int64), surface), kept, voxels, labels.grid)


def without_small(lesions: Lesions, minimum_voxels: int) -> Lesions:
    """The same lesions without those below a size, renumbered; `mask_voxels` stays.

    Examples
    --------
    >>> from nnunet_ms.images.volumes import read_mask
    >>> lesions = find_lesions(read_mask(Path("reference.nii.gz")))
    >>> lesions.voxels.tolist(), without_small(lesions, 10).voxels.tolist()
    ([32, 4, 144], [32, 144])
    """
    large = lesions.voxels >= minimum_voxels
    if large.all():
        return lesions
    kept = lesions._kept.copy()
    kept[kept] = large
    return replace(lesions, _kept=kept, voxels=lesions.voxels[large])


def new_numbers(kept: Bools) -> Ints:
    """Row of each kept lesion after the others are removed, (L,); meaningless for those removed."""
    return np.asarray(np.cumsum(kept) - 1, dtype=np.int64)
