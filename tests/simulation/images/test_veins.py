"""Tubes: their volume, their course, and what happens at the image's border."""

import numpy as np
import pytest

from nnunet_ms.images.volumes import Grid
from nnunet_ms.simulation.images.veins import STEP_MM, add_tube, draw_course, draw_ring

GRID = Grid((60, 60, 30), np.diag([0.75, 0.75, 2.0, 1.0]))


@pytest.mark.parametrize("radius", [0.3, 0.7])
def test_a_tube_has_its_volume(radius):
    image = np.zeros(GRID.shape, np.float32)
    points = draw_course(np.array([22.0, 22.0, 30.0]), np.array([1.0, 0.4, 0.2]), 15.0, np.random.default_rng(0))
    add_tube(image, points, radius, GRID, 1.0)
    length = len(points) * STEP_MM
    assert image.sum() * GRID.voxel_volume_ml * 1000 == pytest.approx(np.pi * radius**2 * length, rel=1e-3)


def test_a_course_passes_through_its_middle_in_steps_of_one_length():
    start = np.array([10.0, 11.0, 12.0])
    points = draw_course(start, np.array([0.0, 0.0, 2.0]), 12.0, np.random.default_rng(1))
    assert np.linalg.norm(points - start, axis=1).min() == 0
    np.testing.assert_allclose(np.linalg.norm(np.diff(points, axis=0), axis=1), STEP_MM)


def test_a_ring_keeps_its_distance():
    points = draw_ring(np.array([5.0, 6.0, 7.0]), 4.0, np.random.default_rng(2))
    np.testing.assert_allclose(np.linalg.norm(points - [5, 6, 7], axis=1), 4.0)


def test_what_lies_outside_the_image_is_cut_off():
    image = np.zeros(GRID.shape, np.float32)
    add_tube(image, np.full((10, 3), -50.0), 0.5, GRID, 1.0)
    assert not image.any()
