"""Another head out of one: turned, scaled, sheared, mirrored, warped, with ventricles of its own width."""

from dataclasses import dataclass

import numpy as np

from nnunet_ms.arrays import Floats, Matrix, SingleFloats
from nnunet_ms.images.volumes import Grid
from nnunet_ms.synthesis.fields import spread

VENTRICLE_CENTRE_MM = (0.0, -18.0, 14.0)  # MNI
VENTRICLE_RADIUS_MM = 26.0
POINT_MM = 9.0  # distance of the control points


@dataclass(frozen=True)
class Deformation:
    """How far heads are deformed; standard deviations unless said otherwise.

    Attributes
    ----------
    rotation_degrees, scale, shear : float
    warp_mm : float
        Of points about 35 mm apart, drawn from 0 to this for each head.
    fold_mm : float
        The same of points about 15 mm apart.
    ventricles : (float, float)
        Range of the pull that widens the ventricles; 0.3 widens them by about 40 %.
    mirrored : float
        Probability of left-right mirroring.
    """

    rotation_degrees: float = 5.0
    scale: float = 0.05
    shear: float = 0.03
    warp_mm: float = 3.5
    fold_mm: float = 0.9
    ventricles: tuple[float, float] = (-0.12, 0.35)
    mirrored: float = 0.5


def draw_points(grid: Grid, from_mni: Matrix, rng: np.random.Generator, how: Deformation | None = None) -> SingleFloats:
    """Draw where each voxel of a new head, on the same grid, lies in the old one.

    Parameters
    ----------
    grid : Grid
        Of the label map, 1 mm, axes right, anterior, superior.
    from_mni : (4, 4) float array
        From MNI space to the label map.
    rng : Generator
    how : Deformation, optional

    Returns
    -------
    (3, X, Y, Z) float32 array
        Voxels of the label map.
    """
    how = Deformation() if how is None else how
    small = tuple(max(4, round(n / POINT_MM)) for n in grid.shape)
    places = _places(grid.shape, small)
    centre = ((np.array(grid.shape) - 1) / 2)[:, None, None, None]
    linear = _linear(how, rng)
    away = np.einsum("ij,jxyz->ixyz", linear, places - centre)
    warp = _warp(small, 35.0 / POINT_MM, rng) * rng.uniform(0, how.warp_mm)
    warp = warp + _warp(small, 15.0 / POINT_MM, rng) * rng.uniform(0, how.fold_mm)
    points = away + centre + warp
    middle = np.linalg.inv(grid.affine) @ from_mni @ np.array([*VENTRICLE_CENTRE_MM, 1.0])
    from_middle = points - middle[:3, None, None, None]
    pull = rng.uniform(*how.ventricles) * np.exp(-np.sum(from_middle**2, axis=0) / (2 * VENTRICLE_RADIUS_MM**2))
    points = points - pull * from_middle
    # the shift is splined, not the place, which runs straight on at the borders where splines do not
    shift = spread((points - places).astype(np.float32), grid.shape)
    for axis, n in enumerate(grid.shape):
        shift[axis] += np.arange(n, dtype=np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
    if rng.random() < how.mirrored:
        shift = np.ascontiguousarray(shift[:, ::-1])
    return shift


def _places(shape: tuple[int, ...], small: tuple[int, ...]) -> Floats:
    """Voxels at which the control points of `spread` lie, (3, a, b, c)."""
    axes = [np.linspace(0, n - 1, points) for n, points in zip(shape, small, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"))


def _linear(how: Deformation, rng: np.random.Generator) -> Floats:
    x, y, z = np.deg2rad(rng.normal(0, how.rotation_degrees, 3))
    turn_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    turn_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    turn_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    # one scale for the head and a little more for each axis; a map voxel per new voxel, so above 1 the head shrinks
    scale = np.exp(rng.normal(0, how.scale) + rng.normal(0, how.scale / 2, 3))
    shear = np.eye(3) + np.triu(rng.normal(0, how.shear, (3, 3)), 1)
    return np.asarray(turn_x @ turn_y @ turn_z @ shear @ np.diag(np.maximum(scale, 0.93)))


def _warp(small: tuple[int, ...], every: float, rng: np.random.Generator) -> SingleFloats:
    coarse = [max(4, round(n / every) + 1) for n in small]
    return spread(rng.standard_normal((3, *coarse), dtype=np.float32), small)
