"""Cubes of images whose values are known functions of place."""

import numpy as np
import pytest

from nnunet_ms.classification.rim.patches import cutter
from nnunet_ms.images.volumes import Grid

SHAPE, SPACING = (50, 60, 24), (0.9, 0.8, 2.5)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("geometry", [(8, 32, 32), (32, 32, 32)])
def test_linear_images_are_resampled_exactly(axis, geometry):
    places = [np.arange(n) * mm for n, mm in zip(SHAPE, SPACING, strict=True)]
    image = np.broadcast_to(places[axis].reshape([-1 if i == axis else 1 for i in range(3)]), SHAPE)
    centre = np.array([24.3, 31.2, 11.6])
    cube = cutter(Grid(SHAPE, np.diag([*SPACING, 1.0])), centre, 24.0, geometry)
    cells = geometry[2 - axis]
    expected = centre[axis] * SPACING[axis] + 24 / cells * (np.arange(cells) - (cells - 1) / 2)
    found = np.moveaxis(cube.cut(image), 2 - axis, 0)
    wide = 24 / cells > SPACING[axis]  # a triangle over a lattice is exact for lines only where it is symmetric
    np.testing.assert_allclose(found.mean(axis=(1, 2)), expected, atol=0.25 if wide else 1e-3)


def test_a_constant_stays_constant_inside_and_becomes_zero_outside():
    cube = cutter(Grid(SHAPE, np.diag([*SPACING, 1.0])), np.array([0.0, 31.0, 12.0]), 24.0, (8, 32, 32))
    patch = cube.cut(np.full(SHAPE, 5.0))
    assert patch[4, 16, 16:].tolist() == pytest.approx([5.0] * 16, rel=1e-5)
    assert (patch[:, :, :13] == 0).all()
    assert cube.padded_share == pytest.approx(1 - (12 + 0.45) / 24, abs=1e-6)


def test_a_cube_far_outside_is_empty():
    cube = cutter(Grid(SHAPE, np.diag([*SPACING, 1.0])), np.array([-100.0, 0.0, 0.0]), 24.0, (8, 32, 32))
    assert (cube.cut(np.ones(SHAPE)) == 0).all()
    assert cube.padded_share == 1


def test_values_are_clipped_before_they_are_averaged():
    image = np.zeros(SHAPE)
    image[25, 30, 12] = 1e6
    cube = cutter(Grid(SHAPE, np.diag([*SPACING, 1.0])), np.array([25.0, 30.0, 12.0]), 24.0, (8, 32, 32))
    assert cube.cut(image, 300.0).max() <= 300
