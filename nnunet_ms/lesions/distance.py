"""Distance from each lesion of one mask to the nearest lesion of another.

Nearly every lesion that the other rater has not drawn lies within millimetres of one that he has. So the voxels around
its surface are looked at in the order of their distance, first a few for all lesions, then more for those that are
left. A k-d tree of the other mask, which costs more to build than to ask, is for what is far from everything.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from nnunet_ms.arrays import Bools, Floats, Ints
from nnunet_ms.lesions.components import flat_place
from nnunet_ms.lesions.labelling import Lesions

_SHELLS = (64, 256, 1024, 4096, 16384)  # voxels within each reach, about
_PLACES = 32  # from or to so few all distances are computed sooner than a tree is built
_FEW = 2000  # voxels whose tree is built sooner than a shell is looked at
_PER_VOXEL = 16  # so many looked at take as long as one put into a tree


def distance_to_lesions(lesions: Lesions, others: Lesions, touching: Bools) -> Floats:
    """Distance from each lesion to the nearest lesion of the other mask, (L,), mm between voxel centres.

    Parameters
    ----------
    lesions, others : Lesions
        Of two masks on one grid.
    touching : (L,) bool array
        Which lesions share a voxel with `others`: their distance is 0.

    Returns
    -------
    (L,) float array
        NaN when the other mask has no lesion.

    Examples
    --------
    >>> from nnunet_ms.images.volumes import Grid, Volume
    >>> from nnunet_ms.lesions.labelling import find_lesions
    >>> first, second = np.zeros((2, 10, 10, 10), dtype=np.uint8)
    >>> first[2, 2, 2] = first[8, 8, 8] = second[2, 2, 4] = second[8, 8, 8] = 1
    >>> grid = Grid(first.shape, np.diag([1.0, 1.0, 3.0, 1.0]))
    >>> here, there = (find_lesions(Volume(mask, grid, Path("mask"))) for mask in (first, second))
    >>> distance_to_lesions(here, there, np.array([False, True])).tolist()
    [6.0, 0.0]
    """
    if others.count == 0:
        return np.full(lesions.count, np.nan)
    distance = np.where(touching, 0.0, np.inf)
    apart = np.flatnonzero(~touching[lesions.lesion_of_voxel] & may_be_nearest(lesions))
    if apart.size and others.voxel_index.size > _FEW:
        apart = _look_around(distance, lesions, others, apart)
    if apart.size:
        there = others.position_mm(may_be_nearest(others))
        np.minimum.at(distance, lesions.lesion_of_voxel[apart], nearest_mm(there, lesions.position_mm(apart)))
    return distance


def may_be_nearest(lesions: Lesions) -> Bools:
    """Which voxels can be the nearest to a place outside the mask: between orthogonal axes those of the surface."""
    return lesions.is_surface if lesions.grid.is_orthogonal else np.ones(lesions.voxel_index.size, dtype=np.bool_)


def nearest_mm(there_mm: Floats, from_mm: Floats) -> Floats:
    """Distance from each of N places (N, 3) to the nearest of M others (M, 3), (N,), mm."""
    if min(len(there_mm), len(from_mm)) <= _PLACES:
        return np.asarray(cdist(from_mm, there_mm).min(axis=1), dtype=np.float64)
    distance, _ = cKDTree(there_mm, leafsize=128, balanced_tree=False, compact_nodes=False).query(from_mm)
    return np.asarray(distance, dtype=np.float64)


def _look_around(distance: Floats, lesions: Lesions, others: Lesions, apart: Ints) -> Ints:
    """Fill in the distances of lesions that have another near by; return the voxels of those that have none."""
    around = _around(lesions.grid.affine[:3, :3].tobytes())
    lesion = lesions.lesion_of_voxel[apart]
    inside, place, strides = _box(lesions, apart, others, around.edge)
    for start, end in pairwise((0, *around.ends)):
        if (end - start) * max(place.size, _PER_VOXEL) > _PER_VOXEL * others.voxel_index.size:
            break
        hit = inside[place[:, None] + around.steps[start:end] @ strides]
        first = hit.argmax(axis=1)
        found = np.flatnonzero(hit[np.arange(place.size), first])
        np.minimum.at(distance, lesion[found], around.mm[start + first[found]])
        left = np.flatnonzero(np.isinf(distance[lesion]))  # what is found within a reach is the nearest
        apart, lesion, place = apart[left], lesion[left], place[left]
    return apart


def _box(lesions: Lesions, chosen: Ints, others: Lesions, margin: tuple[int, ...]) -> tuple[Bools, Ints, Ints]:
    """Flat image of the others' voxels with a margin around all, places of chosen lesion voxels in it, its strides."""
    both = (lesions, others)
    starts = (np.min([mask.first_voxel.min(axis=0) for mask in both], axis=0) - margin).tolist()
    ends = (np.max([mask.last_voxel.max(axis=0) for mask in both], axis=0) + margin + 1).tolist()
    sizes = [end - start for start, end in zip(starts, ends, strict=True)]
    inside = np.zeros(math.prod(sizes), dtype=np.bool_)
    inside[flat_place(others.voxel_axes, starts, sizes)] = True
    place = flat_place([axis[chosen] for axis in lesions.voxel_axes], starts, sizes)
    return inside, place, np.array([1, sizes[0], sizes[0] * sizes[1]])


@dataclass(frozen=True)
class _Around:
    """Steps (N, 3) from a voxel to those around it by distance, mm (N,); where shells end; largest step by axis."""

    steps: Ints
    mm: Floats
    ends: tuple[int, ...]
    edge: tuple[int, ...]


@lru_cache(maxsize=16)
def _around(axes: bytes) -> _Around:
    """From the voxels' three axes in mm, (3, 3) float64."""
    to_mm = np.frombuffer(axes).reshape(3, 3)
    reach = np.cbrt(np.array(_SHELLS) * abs(np.linalg.det(to_mm)) * 3 / (4 * np.pi))  # radius of a ball of that volume
    edge = tuple(int(reach[-1] * length) for length in np.linalg.norm(np.linalg.inv(to_mm), axis=1))
    steps = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in edge), indexing="ij"), axis=-1).reshape(-1, 3)
    mm = np.linalg.norm(steps @ to_mm.T, axis=1)
    order = np.argsort(mm, kind="stable")[: np.count_nonzero(mm <= reach[-1])]
    ends = np.searchsorted(mm[order], reach, side="right")
    return _Around(steps[order], mm[order], tuple(int(end) for end in ends), edge)
