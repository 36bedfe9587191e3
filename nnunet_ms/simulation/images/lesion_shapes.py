"""Irregular lesions that grow, shrink and appear, on a voxel grid.

Every lesion is a level function: distance from its centre in an ellipsoid's metric, disturbed by smooth noise and
stretched where there is no white matter, in units in which its border at birth lies at 1. A visit's lesions are the
voxels below one common threshold, chosen so that their volume is the wanted one; so the same function gives the
mask and, through its distance to the threshold, the partial volume of the intensities.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nnunet_ms.arrays import Bools, SingleFloats
from nnunet_ms.lesions.components import find_components
from nnunet_ms.simulation.images.anatomy import Anatomy
from nnunet_ms.simulation.model.presets import LesionSizes

REACH = 1.9  # levels are kept up to this multiple of a lesion's radius: room to grow, and the soft edge
AXIS_LOG_SD = 0.25  # of the three semi-axes around a sphere
NOISE_LOG_SD = 0.3  # irregularity of the border
NOISE_MM = 2.5  # correlation of the border's noise
GROWTH_LOG_SD = 0.06  # change of one lesion's radius from visit to visit, beside the patient's trend
NEVER = 10_000  # a visit that does not come
FAR = 1e6  # a level or a depth in mm that no lesion reaches
PLACES_TRIED = 6  # before a lesion is allowed to touch another one


@dataclass(frozen=True)
class Lesion:
    """One lesion from birth on.

    Attributes
    ----------
    box : tuple of slice
        Where `level` lies in the grid.
    level : (x, y, z) float32 array
        1 on the border at birth, `FAR` where no lesion can be.
    radius_mm : float
        Level 1 in mm: what turns levels into distances.
    born : int
        Index of the visit at which it is first seen.
    growth : (visits,) float array
        Factor of the radius per visit, 0 before birth.
    strength : float
        Contrast over that of a typical lesion.
    hole_from, enhancing_at
        Index of the visit from which it is T1-unenhancing, and of the one at which it enhances (`NEVER`).
    rim
        Whether QSM shows a rim around it.
    """

    box: tuple[slice, ...]
    level: SingleFloats
    radius_mm: float
    born: int
    growth: npt.NDArray[np.float64]
    strength: float
    hole_from: int
    enhancing_at: int
    rim: bool = False


@dataclass(frozen=True)
class LesionMap:
    """The lesions of one visit: `depth_mm` (X, Y, Z) below the border (negative outside), and whose voxel it is.

    `owner` holds the index in the patient's list of lesions, -1 where no lesion is near.
    """

    mask: Bools
    depth_mm: SingleFloats
    owner: npt.NDArray[np.int32]


def draw_sizes(count: int, sizes: LesionSizes, voxel_mm3: float, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draw the voxel numbers of `count` lesions: log-normal volumes within the limits, redrawn outside them.

    Examples
    --------
    >>> from nnunet_ms.simulation.model.presets import GRIDS
    >>> voxels = draw_sizes(5, GRIDS["demo"].sizes, 3.0, np.random.default_rng(0))
    >>> bool(voxels.min() >= GRIDS["demo"].sizes.smallest_voxels)
    True
    """
    low, high = (sizes.smallest_voxels - 0.5) * voxel_mm3, sizes.largest_mm3
    volumes = np.empty(0)
    while volumes.size < count:
        drawn = sizes.median_mm3 * np.exp(sizes.log_sd * rng.standard_normal(2 * count + 8))
        volumes = np.append(volumes, drawn[(drawn >= low) & (drawn <= high)])
    return np.rint(volumes[:count] / voxel_mm3).astype(np.int64)


def draw_sizes_up_to(
    voxels: int, sizes: LesionSizes, voxel_mm3: float, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Draw lesions until they hold about `voxels` voxels; at least one, the largest first."""
    drawn = draw_sizes(max(8, 4 * voxels // (sizes.smallest_voxels * 2)), sizes, voxel_mm3, rng)
    count = int(np.argmin(np.abs(np.cumsum(drawn) - voxels))) + 1
    return np.sort(np.minimum(drawn[:count], max(voxels, sizes.smallest_voxels)))[::-1]


def smooth_noise(anatomy: Anatomy, width_mm: float, rng: np.random.Generator) -> SingleFloats:
    """Return (X, Y, Z) white noise smoothed by a Gaussian of SD `width_mm`, scaled to SD 1."""
    white = rng.standard_normal(anatomy.grid.shape, dtype=np.float32)
    smooth = ndimage.gaussian_filter(white, [width_mm / mm for mm in anatomy.grid.spacing])
    return np.asarray(smooth / smooth.std(), dtype=np.float32)


def draw_centres(
    voxels: Sequence[int], anatomy: Anatomy, taken: npt.NDArray[np.float64], rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Draw (lesions, 3) centre voxels by the anatomy's seed weights, apart from each other where there is room.

    Parameters
    ----------
    voxels : sequence of int
        Sizes of the lesions, in order of placing.
    taken : (n, 4) float array
        Lesions that are there already: centre (mm from voxel 0) and radius (mm).
    """
    spacing = np.array(anatomy.grid.spacing)
    cumulative = np.cumsum(anatomy.seeds, dtype=np.float64).ravel()
    tries = rng.random((len(voxels), PLACES_TRIED)) * cumulative[-1]
    places = np.stack(np.unravel_index(np.searchsorted(cumulative, tries), anatomy.grid.shape), axis=-1)
    chosen = np.empty((len(voxels), 3), dtype=np.int64)
    for i, count in enumerate(voxels):
        radius = sphere_radius(count * float(np.prod(spacing)))
        free = [not _touches(place * spacing, radius, taken) for place in places[i]]
        chosen[i] = places[i][int(np.argmax(free))]
        taken = np.vstack([taken, [*(chosen[i] * spacing), radius]])
    return chosen


def sphere_radius(volume_mm3: float) -> float:
    """Radius in mm of the sphere of this volume."""
    return float(np.cbrt(volume_mm3 * 3 / (4 * np.pi)))


def shape_level(
    centre: npt.NDArray[np.int64], voxels: int, anatomy: Anatomy, noise: SingleFloats, rng: np.random.Generator
) -> tuple[tuple[slice, ...], SingleFloats, float]:
    """Level function of one lesion of `voxels` voxels around the voxel `centre`.

    Returns
    -------
    box : tuple of slice
    level : (x, y, z) float32 array
        At most 1 in exactly `voxels` voxels (fewer where the box holds less tissue); `FAR` outside tissue.
    radius_mm : float
        Level 1 in mm.
    """
    spacing = np.array(anatomy.grid.spacing)
    reach = np.ceil((REACH * 1.4 * sphere_radius(voxels * float(np.prod(spacing))) + spacing) / spacing)
    low, high = np.maximum(centre - reach, 0), np.minimum(centre + reach + 1, anatomy.grid.shape)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    offsets = [spacing[i] * (np.arange(box[i].start, box[i].stop) - centre[i]) for i in range(3)]
    distance = _ellipsoid_distance(offsets, rng) * np.exp(NOISE_LOG_SD * noise[box])
    distance *= 1.0 + 1.5 * (1.0 - anatomy.white[box])  # lesions follow the white matter
    tissue = anatomy.brain[box] & (anatomy.csf[box] < 0.5)
    radius = _smallest(distance[tissue], voxels)
    return box, np.where(tissue, distance / radius, FAR).astype(np.float32), radius


def visit_map(lesions: Sequence[Lesion], visit: int, voxels: int, anatomy: Anatomy, smallest: int) -> LesionMap:
    """Lesions of one visit with `voxels` voxels in all; components below `smallest` (18-connected) are removed.

    Returns
    -------
    LesionMap
        Its mask misses the wanted volume by a few voxels: small components come and go with the threshold.
    """
    level, owner = _lowest(lesions, visit, anatomy)
    threshold, small = _threshold(level, voxels, smallest)
    mask = level <= threshold
    radius = np.array([lesion.radius_mm * lesion.growth[visit] for lesion in lesions] or [0.0])
    depth = np.where((level < FAR) & ~small, (threshold - level) * radius[owner], -FAR)
    return LesionMap(mask & ~small, depth.astype(np.float32), owner)


def small_components(mask: Bools, smallest: int) -> Bools:
    """Return the 18-connected components of `mask` that have fewer than `smallest` voxels, as (X, Y, Z) bool."""
    parts = find_components(mask)
    return parts.painted(parts.voxels < smallest)


def _threshold(level: SingleFloats, voxels: int, smallest: int) -> tuple[float, Bools]:
    """Level whose mask without small components is closest to `voxels` in eight rounds, and those components."""
    wanted, best = voxels, (np.inf, 1.0, np.zeros(level.shape, dtype=bool))
    for _ in range(8):
        threshold = _smallest(level[level < FAR], wanted)
        mask = level <= threshold
        small = small_components(mask, smallest)
        shortage = voxels - int(mask.sum() - small.sum())
        best = min(best, (abs(shortage), threshold, small), key=lambda trial: trial[0])
        if abs(shortage) < smallest:
            break
        wanted += shortage
    return best[1:]


def _touches(centre: npt.NDArray[np.float64], radius: float, taken: npt.NDArray[np.float64]) -> bool:
    gap_mm = 2.5
    distances = np.linalg.norm(taken[:, :3] - centre, axis=1)
    return bool(np.any(distances < 1.15 * (taken[:, 3] + radius) + gap_mm))


def _ellipsoid_distance(offsets: list[npt.NDArray[np.float64]], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Distance from the centre in the metric of a randomly turned ellipsoid of the unit sphere's volume."""
    axes = np.exp(AXIS_LOG_SD * rng.standard_normal(3))
    axes /= np.cbrt(np.prod(axes))
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    x, y, z = offsets[0][:, None, None], offsets[1][None, :, None], offsets[2][None, None, :]
    squares = ((turn[k, 0] * x + turn[k, 1] * y + turn[k, 2] * z) ** 2 / axes[k] ** 2 for k in range(3))
    return np.asarray(np.sqrt(sum(squares)) + 0.3)  # 0.3 mm: no voxel has distance 0, so noise acts on all of them


def _smallest(values: npt.NDArray[np.floating], rank: int) -> float:
    """Return the `rank`-th smallest value (from 1); the largest where there are fewer."""
    if values.size == 0:
        return 1.0
    index = min(max(rank, 1), values.size) - 1
    return float(np.partition(values, index)[index])


def _lowest(lesions: Sequence[Lesion], visit: int, anatomy: Anatomy) -> tuple[SingleFloats, npt.NDArray[np.int32]]:
    level = np.full(anatomy.grid.shape, FAR, dtype=np.float32)
    owner = np.full(anatomy.grid.shape, -1, dtype=np.int32)
    for index, lesion in enumerate(lesions):
        if lesion.growth[visit] > 0:
            here = np.where(lesion.level < FAR, lesion.level / np.float32(lesion.growth[visit]), np.float32(FAR))
            nearer = here < level[lesion.box]
            level[lesion.box][nearer] = here[nearer]
            owner[lesion.box][nearer] = index
    return level, owner
