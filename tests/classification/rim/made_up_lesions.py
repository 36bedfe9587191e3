"""Lesions made up of whole numbers, alike on every machine, for the comparison with PyRadiomics."""

import numpy as np

STEPS = 64  # values are multiples of 1/64 ppb


def noise(shape, seed, spread_ppb):
    """Uniform from -spread to spread, of a linear congruential generator (Numerical Recipes) in whole numbers."""
    state, values = seed, []
    for _ in range(int(np.prod(shape))):
        state = (1664525 * state + 1013904223) % 2**32
        values.append(state >> 16)
    return np.round((np.array(values).reshape(shape) / 2**15 - 1) * spread_ppb * STEPS) / STEPS


def ball(shape, radii, spacing, centre=None):
    """Squared distance from the centre in units of the radii, in mm; the lesion is where it is at most 1."""
    middle = [(n - 1) / 2 for n in shape] if centre is None else centre
    axes = np.meshgrid(*[(np.arange(n) - m) * s for n, m, s in zip(shape, middle, spacing, strict=True)], indexing="ij")
    return sum((axis / radius) ** 2 for axis, radius in zip(axes, radii, strict=True))


def rim(distance, seed):
    """A bright rim around a grey core, in noise."""
    values = np.where(distance > 0.4, 80.0, 20.0) * (distance <= 1) - 10.0
    return values + noise(distance.shape, seed, 15)


def made_up_lesions():
    """Name of each lesion -> QSM in ppb (X, Y, Z), mask, spacing in mm."""
    found = {}
    one, thick = (1.0, 1.0, 1.0), (0.75, 0.75, 3.0)
    distance = ball((22, 22, 22), (5, 5, 5), one)
    found["ball"] = rim(distance, 1), distance <= 1, one
    distance = ball((25, 23, 13), (5.5, 4, 7), thick)
    found["thick_slices_odd"] = rim(distance, 2), distance <= 1, thick
    mask = np.zeros((15, 16, 17), dtype=bool)
    mask[7, 7, 8] = mask[8, 7, 8] = mask[8, 8, 8] = mask[8, 8, 9] = True
    found["four_voxels"] = noise(mask.shape, 3, 60), mask, one
    distance = ball((18, 18, 18), (3, 4, 3), one)
    found["constant"] = np.full(distance.shape, 60.0), distance <= 1, one
    found["constant_inside"] = np.where(distance <= 1, 60.0, noise(distance.shape, 4, 50)), distance <= 1, one
    distance = ball((13, 12, 11), (4, 4, 5), (1.0, 1.2, 0.9), centre=(1, 10, 5))
    found["at_border"] = rim(distance, 5), distance <= 1, (1.0, 1.2, 0.9)
    distance = ball((24, 24, 9), (4, 6, 2.9), thick)
    found["one_slice"] = rim(distance, 6), distance <= 1, thick
    distance = ball((46, 42, 44), (14, 12, 13), one)
    found["big"] = rim(distance, 7), distance <= 1, one
    shape = (14, 15, 16)
    inside = np.pad(np.ones((6, 7, 8), dtype=bool), 4) & (noise(shape, 8, 1) > -0.1)
    found["full_of_holes"] = noise(shape, 9, 200), inside, (0.8, 0.9, 2.0)
    inside = np.pad(np.ones((5, 5, 6), dtype=bool), ((4, 5),) * 3) & (noise((14, 14, 15), 10, 1) > 0.5)
    found["scattered"] = noise((14, 14, 15), 11, 120), inside, (1.0, 1.0, 2.0)
    mask = np.zeros((16, 16, 16), dtype=bool)
    mask[5:8, 5:8, 6:8] = mask[8:10, 8:11, 8:10] = True
    found["two_at_a_corner"] = noise(mask.shape, 12, 90), mask, one
    inside = np.pad(noise((14, 14, 14), 13, 1) > 0, 3)  # has each of the 256 cubes of the mesh
    found["every_cube"] = noise(inside.shape, 14, 60), inside, (0.7, 1.0, 1.9)
    return found
