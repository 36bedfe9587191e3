"""What becomes of lesions after their birth: some become T1-unenhancing, some resolve, a few keep an iron rim."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from nnunet_ms.simulation.images.lesion_shapes import NEVER, Lesion
from nnunet_ms.simulation.model.course import Course
from nnunet_ms.simulation.model.presets import Susceptibility

RESOLVING_SHARE = 0.02  # of the small lesions, per visit
HOLE_SMALLEST_VOXELS = 8  # a smaller lesion leaves no visible hole, so larger ones are taken first


def draw_fates(
    lesions: Sequence[Lesion], course: Course, small_voxels: float, rng: np.random.Generator
) -> tuple[Lesion, ...]:
    """Let lesions become T1-unenhancing as the course says, and some of the small ones resolve.

    Parameters
    ----------
    lesions : sequence of Lesion
        As born; baseline holes are set already.
    course : Course
        `new_t1` gives the number per visit; where there are too few lesions, all of them.
    small_voxels : float
        Lesions up to this size at birth may resolve.
    """
    fated = _convert(lesions, course, rng)
    sizes = [voxels_at_birth(lesion) for lesion in fated]
    largest = int(np.argmax(sizes)) if sizes else -1  # never resolves: a visit without any lesion has no volume
    return tuple(
        _resolve(lesion, rng.random(len(course.volume_ml)), sizes[i] <= small_voxels and i != largest)
        for i, lesion in enumerate(fated)
    )


def draw_rims(
    lesions: Sequence[Lesion], susceptibility: Susceptibility, voxel_mm3: float, rng: np.random.Generator
) -> tuple[Lesion, ...]:
    """Give an iron rim to a share of all lesions, chosen among those at baseline that are large and do not enhance."""
    order = rng.random(len(lesions))
    able = [
        i
        for i, lesion in enumerate(lesions)
        if lesion.born == 0
        and lesion.enhancing_at == NEVER
        and voxels_at_birth(lesion) * voxel_mm3 >= susceptibility.rim_smallest_mm3
    ]
    count = rng.binomial(len(lesions), susceptibility.rim_share)
    chosen = set(sorted(able, key=lambda i: order[i])[:count])
    return tuple(replace(lesion, rim=i in chosen) for i, lesion in enumerate(lesions))


def voxels_at_birth(lesion: Lesion) -> int:
    """Number of voxels that the lesion was made of."""
    return int((lesion.level <= 1).sum())


def _convert(lesions: Sequence[Lesion], course: Course, rng: np.random.Generator) -> list[Lesion]:
    fated, order = list(lesions), rng.random(len(lesions))
    for visit, count in enumerate(course.new_t1):
        able = [
            i
            for i, lesion in enumerate(fated)
            if visit and lesion.born <= visit and lesion.hole_from == NEVER and lesion.enhancing_at != visit
        ]
        able.sort(key=lambda i: (voxels_at_birth(fated[i]) < HOLE_SMALLEST_VOXELS, order[i]))
        for i in able[:count]:
            fated[i] = replace(fated[i], hole_from=visit)
    return fated


def _resolve(lesion: Lesion, draws: np.ndarray[tuple[int], np.dtype[np.float64]], able: bool) -> Lesion:
    later = np.flatnonzero(draws[lesion.born + 1 :] < RESOLVING_SHARE) + lesion.born + 1
    if not able or not later.size or lesion.hole_from != NEVER:
        return lesion
    growth = lesion.growth.copy()
    growth[later[0] :] = 0.0
    return replace(lesion, growth=growth)
