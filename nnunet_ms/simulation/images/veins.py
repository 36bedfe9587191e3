"""Veins: bent tubes, by the share of each voxel that they fill."""

import numpy as np

from nnunet_ms.arrays import Floats, SingleFloats
from nnunet_ms.images.volumes import Grid

STEP_MM = 0.3
BEND = 0.06  # SD of the change of direction per step


def draw_course(start_mm: Floats, direction: Floats, length_mm: float, rng: np.random.Generator) -> Floats:
    """Points (N, 3) in mm along a bent line that passes through `start_mm` at its middle."""
    steps = max(2, round(length_mm / STEP_MM))
    turned = direction / np.linalg.norm(direction) + np.cumsum(BEND * rng.standard_normal((steps, 3)), axis=0)
    turned /= np.linalg.norm(turned, axis=1, keepdims=True)
    line = np.cumsum(turned * STEP_MM, axis=0)
    return np.asarray(start_mm + line - line[steps // 2])


def draw_ring(centre_mm: Floats, radius_mm: float, rng: np.random.Generator) -> Floats:
    """Points (N, 3) in mm along a part of a circle in a random, mostly axial plane: a vein that clings to a lesion."""
    normal = np.array([0.0, 0.0, 1.0]) + 0.3 * rng.standard_normal(3)
    first = np.cross(normal, rng.standard_normal(3))
    first /= np.linalg.norm(first)
    second = np.cross(normal / np.linalg.norm(normal), first)
    arc = rng.uniform(0.7, 1.6)  # radians
    angles = np.arange(-arc / 2, arc / 2, STEP_MM / max(radius_mm, STEP_MM))
    return np.asarray(centre_mm + radius_mm * (np.outer(np.cos(angles), first) + np.outer(np.sin(angles), second)))


def add_tube(image: SingleFloats, points_mm: Floats, radius_mm: float, grid: Grid, value: float) -> None:
    """Add `value` times the share of each voxel that a tube fills to an image, in place; what lies outside is cut off.

    `points_mm` (N, 3) in mm from the image's first voxel.
    """
    index = points_mm / np.array(grid.spacing)
    base = np.floor(index).astype(np.int64)
    rest = index - base
    area = np.pi * radius_mm**2 * STEP_MM / (grid.voxel_volume_ml * 1000)
    for corner in np.ndindex(2, 2, 2):  # each point's piece of tube is shared by the eight voxels around it
        place = base + corner
        weight = np.prod(np.where(np.array(corner) == 1, rest, 1 - rest), axis=1)
        inside = ((place >= 0) & (place < grid.shape)).all(axis=1)
        np.add.at(image, tuple(place[inside].T), np.float32(value * area) * weight[inside].astype(np.float32))
