"""The dipole against the closed form of a ball's field, and the inversion against what was put in."""

import numpy as np
import pytest

from nnunet_ms.simulation.images.dipole import forward, invert, make_dipole

RADIUS = 6


def ball(shape, spacing):
    axes = [(np.arange(n) - n // 2) * mm for n, mm in zip(shape, spacing, strict=True)]
    places = np.stack(np.meshgrid(*axes, indexing="ij"))
    return places, (np.sqrt((places**2).sum(axis=0)) <= RADIUS).astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "spacing", "field"),
    [
        ((64, 64, 64), (1.0, 1.0, 1.0), (0, 0, 1)),
        ((64, 64, 64), (1.0, 1.0, 1.0), (1, 0, 0)),
        ((64, 60, 64), (1.0, 1.0, 1.0), (0.3, 0.2, 1)),
        ((80, 80, 40), (0.75, 0.75, 1.5), (0, 0, 1)),
    ],
)
def test_field_of_a_ball_is_that_of_the_textbook(shape, spacing, field):
    # Oracle: outside a ball of radius a the field is chi/3 (a/r)^3 (3 cos^2 - 1), inside 0 (Lorentz sphere).
    places, chi = ball(shape, spacing)
    found = forward(chi, make_dipole(shape, spacing, field))
    r = np.sqrt((places**2).sum(axis=0))
    along = np.tensordot(np.asarray(field) / np.linalg.norm(field), places, 1) / np.maximum(r, 1e-9)
    a3 = chi.sum() * np.prod(spacing) * 3 / (4 * np.pi)  # of the ball of voxels
    expected = a3 / (3 * np.maximum(r, 1) ** 3) * (3 * along**2 - 1)
    near = (r > RADIUS + 2) & (r < RADIUS + 9)
    np.testing.assert_allclose(found[near], expected[near], atol=0.04)
    assert abs(found[near] - expected[near]).mean() < 0.005
    assert abs(found[r < RADIUS - 2].mean()) < 0.02


def test_inversion_gives_a_ball_back():
    _, chi = ball((64, 64, 32), (1.0, 1.0, 2.0))
    dipole = make_dipole(chi.shape, (1.0, 1.0, 2.0))
    found = invert(forward(chi, dipole), dipole, 0.002)
    inside = found[chi > 0].mean() - found[chi == 0].mean()
    assert 0.7 < inside < 1.05
    assert np.corrcoef(found.ravel(), chi.ravel())[0, 1] > 0.85
    stronger = invert(forward(chi, dipole), dipole, 0.2)
    assert stronger[chi > 0].mean() < found[chi > 0].mean()  # more regularised, lower contrast
