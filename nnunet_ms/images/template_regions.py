"""Regions of the MNI152 brain in which lesions are told apart: lateral ventricles, cortex, infratentorial brain.

Tissue is that of the template's own maps, as nilearn ships them. The border of the infratentorial region is a surface
of the second order, fitted (logistic regression) to the voxels of the cerebellum and brain stem in NiftySeg's atlas
(BSD-3): Dice .98 with them in the tissue below z = 30 mm.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nnunet_ms.arrays import Bools, Floats, SingleFloats
from nnunet_ms.images.template import mni152, mni152_brain
from nnunet_ms.images.volumes import Grid

LEAST_VENTRICLE = 500  # voxels of 1 mm3: smaller parts are fluid between gyri
AROUND_MM = 24  # of the ventricles, within which distances to them are known
EVERY = 2  # voxels of 1 mm: the step of distances to the cortex
DEEP_GREY_MM = (34.0, (-42.0, 28.0), (-26.0, 24.0))  # box of the nuclei, |x|, y, z: grey matter in it is no cortex
# constant, z, z2, y, yz, y2, x, xz, xy, x2 of x = |x| / 50, y = (y + 50) / 50, z = (z + 30) / 50, in mm MNI
TENTORIUM = (20.8, -24.5, -10.8, 0.2, 19.4, -15.9, -18.1, -24.5, -25.7, -3.4)
LOWEST_TENTORIUM_MM = 30.0  # above, nothing is infratentorial


@dataclass(frozen=True)
class Distances:
    """Distance to a region in MNI space (X, Y, Z), mm, on a `grid`; less than 0 inside of it."""

    data: SingleFloats
    grid: Grid

    def at(self, points: Floats) -> SingleFloats:
        """At points (N, 3) of MNI space, (N,), mm; outside of the grid as at its border."""
        inverse = np.linalg.inv(self.grid.affine)
        index = inverse[:3, :3] @ points.T + inverse[:3, 3:]
        return np.asarray(ndimage.map_coordinates(self.data, index, order=1, mode="nearest"), dtype=np.float32)


def is_infratentorial(points: Floats) -> Bools:
    """Whether points (N, 3) of MNI space, mm, lie below the tentorium: in cerebellum, brain stem or beside them.

    Examples
    --------
    >>> places = {"pons": (0, -28, -34), "cerebellum": (30, -65, -40), "temporal": (50, -20, -25), "V1": (8, -85, 9)}
    >>> dict(zip(places, is_infratentorial(np.array(list(places.values()), dtype=float)).tolist()))
    {'pons': True, 'cerebellum': True, 'temporal': False, 'V1': False}
    """
    x, y, z = np.abs(points[:, 0]) / 50, (points[:, 1] + 50) / 50, (points[:, 2] + 30) / 50
    terms = (np.ones_like(x), z, z * z, y, y * z, y * y, x, x * z, x * y, x * x)
    inside = np.sum([number * term for number, term in zip(TENTORIUM, terms, strict=True)], axis=0) > 0
    return np.asarray(inside & (points[:, 2] < LOWEST_TENTORIUM_MM), dtype=bool)


def deep_fluid(fluid: Bools, places: list[npt.NDArray[np.float64]]) -> tuple[Bools, Bools, Bools]:
    """Ventricles among the template's fluid: all deep parts, and the boxes of the lateral and of the third ones.

    Cisterns and the cleft between the hemispheres are left out.

    Parameters
    ----------
    fluid : (X, Y, Z) bool array
        At 1 mm.
    places : list of three arrays
        MNI coordinates along each axis, mm, that broadcast to (X, Y, Z).
    """
    side, y, z = np.abs(places[0]), places[1], places[2]
    lateral = (side >= np.where(y < -38, 12, 4)) & (side < 42) & (y > -75) & (y < 42) & (z > -18) & (z < 36)
    lateral = lateral & ~((side < 15) & (z < -2))
    third = (side < 6) & (y > -34) & (y < 8) & (z > -12) & (z < 12)
    parts, count = ndimage.label(fluid & (lateral | third))
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    deep = (sizes[parts] >= LEAST_VENTRICLE) & (parts > 0)
    return np.asarray(deep), np.asarray(lateral), np.asarray(third)


@lru_cache(maxsize=1)
def ventricles_mm() -> Distances:
    """Distance to the lateral ventricles, up to `AROUND_MM` beyond their box.

    Examples
    --------
    >>> found = ventricles_mm().at(np.array([[14.0, -20.0, 22.0], [26.0, -20.0, 40.0]]))
    >>> bool(found[0] < 0), bool(8 < found[1] < 20)
    (True, True)
    """
    maps = _maps()
    fluid = maps.brain & (1 - maps.grey - maps.white > np.maximum(maps.grey, maps.white))
    deep, lateral, third = deep_fluid(fluid, _axes(maps.grid))
    ventricles = deep & (lateral | ~third)
    box = ndimage.find_objects(ventricles.astype(np.uint8))[0]
    box = tuple(slice(max(part.start - AROUND_MM, 0), part.stop + AROUND_MM) for part in box)
    here = ventricles[box]
    inside, outside = ndimage.distance_transform_edt(here), ndimage.distance_transform_edt(~here)
    affine = maps.grid.affine.copy()
    affine[:3, 3] = maps.grid.to_world(np.array([[part.start for part in box]]))[0]
    return Distances((outside - inside).astype(np.float32), Grid(here.shape, affine))


@lru_cache(maxsize=1)
def cortex_mm() -> Distances:
    """Distance to the cortex of the cerebrum: grey matter but for the nuclei, at 2 mm.

    Examples
    --------
    >>> found = cortex_mm().at(np.array([[0.0, -85.0, 10.0], [25.0, -15.0, 30.0]]))  # cuneus; white matter
    >>> bool(found[0] < 2 < found[1])
    True
    """
    maps = _maps()
    x, y, z = _axes(maps.grid)
    side, front, up = DEEP_GREY_MM
    nuclei = (np.abs(x) < side) & (y > front[0]) & (y < front[1]) & (z > up[0]) & (z < up[1])
    cortex = (maps.brain & (maps.grey > np.maximum(maps.white, 0.5)) & ~nuclei)[::EVERY, ::EVERY, ::EVERY]
    index = np.argwhere(cortex)
    below = is_infratentorial(maps.grid.to_world(EVERY * index))
    cortex[tuple(index[below].T)] = False
    affine = maps.grid.affine @ np.diag([EVERY, EVERY, EVERY, 1.0])
    far = ndimage.distance_transform_edt(~cortex, sampling=(EVERY,) * 3)
    return Distances(far.astype(np.float32), Grid(cortex.shape, affine))


@lru_cache(maxsize=1)
def brain_mm() -> Distances:
    """Distance to the brain, at 2 mm.

    Examples
    --------
    >>> found = brain_mm().at(np.array([[14.0, -20.0, 22.0], [0.0, 40.0, -60.0]]))  # white matter; the mouth
    >>> bool(found[0] == 0), bool(found[1] > 15)
    (True, True)
    """
    grid = mni152().grid
    brain = ndimage.binary_fill_holes(mni152_brain())[::EVERY, ::EVERY, ::EVERY]
    far = ndimage.distance_transform_edt(~brain, sampling=(EVERY,) * 3)
    affine = grid.affine @ np.diag([EVERY, EVERY, EVERY, 1.0])
    return Distances(far.astype(np.float32), Grid(brain.shape, affine))


@dataclass(frozen=True)
class _Maps:
    grey: SingleFloats
    white: SingleFloats
    brain: Bools
    grid: Grid


def _maps() -> _Maps:
    from nilearn import datasets  # imports scikit-learn: seconds, so not before it is needed

    white = datasets.load_mni152_wm_template(resolution=1)
    grey = datasets.load_mni152_gm_template(resolution=1)
    grid = Grid(tuple(int(n) for n in white.shape), np.asarray(white.affine, dtype=np.float64))
    shares = [np.asarray(one.dataobj, dtype=np.float32) for one in (grey, white)]
    return _Maps(shares[0], shares[1], ndimage.binary_fill_holes(mni152_brain()), grid)


def _axes(grid: Grid) -> list[npt.NDArray[np.float64]]:
    """Coordinates along each axis of a grid without rotation, mm."""
    return [
        (grid.affine[axis, 3] + grid.affine[axis, axis] * np.arange(n)).reshape(
            [-1 if other == axis else 1 for other in range(3)]
        )
        for axis, n in enumerate(grid.shape)
    ]
