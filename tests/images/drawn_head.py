"""A head drawn from ellipsoids, as FLAIR, T1, T2 and T1 after contrast agent; of nobody."""

from functools import cache

import numpy as np

SHAPE, SPACING = (56, 67, 48), (3.0, 3.0, 3.0)
AFFINE = np.diag([*SPACING, 1.0])
AFFINE[:3, 3] = -84, -100, -72
#                        air, skull, fluid, grey, white, lesion, vessel
LEVELS = {
    "flair": (0, 90, 20, 110, 90, 160, 30),
    "t1": (0, 120, 25, 80, 120, 90, 60),
    "t2": (0, 120, 420, 130, 100, 180, 60),
    "t1post": (0, 120, 25, 82, 120, 92, 400),
}


@cache
def tissues(seed=0, skull=True):
    """Numbers of tissues (X, Y, Z) in the order of `LEVELS`, and the lesions; `seed` draws another patient's."""
    rng = np.random.default_rng(seed)
    x, y, z = (axis * 3.0 - centre for axis, centre in zip(np.indices(SHAPE), (84, 100, 72), strict=True))
    depth = 1 - np.sqrt((x / 68) ** 2 + (y / 84) ** 2 + (z / 62) ** 2)  # 1 in the middle, 0 on the brain's surface
    waves = rng.uniform(-1, 1, (24, 4)) * (0.35, 0.35, 0.35, 9)
    folds = sum(np.sin(x * a + y * b + z * c + phase) for a, b, c, phase in waves)
    label = np.where(depth > 0, 3, 0)
    label[(depth > 0.05) & (folds > -1)] = 4
    for side in (-1, 1):
        tilt = rng.uniform(-6, 6)
        label[((x - 16 * side) / 9) ** 2 + ((y - tilt) / 36) ** 2 + ((z - 8) / 14) ** 2 < 1] = 2
    for _ in range(40):
        place = rng.uniform((-45, -55, -35), (45, 55, 35))
        label[(x - place[0]) ** 2 + (y - place[1]) ** 2 + 0.02 * (z - place[2]) ** 2 < 5] = 6
    if skull:
        label[(depth < -0.05) & (depth > -0.2)] = 1
    lesions = np.zeros(SHAPE, bool)
    for _ in range(9):  # all on one side
        place = rng.uniform((22, -45, -25), (48, 45, 30))
        lesions |= (x - place[0]) ** 2 + (y - place[1]) ** 2 + (z - place[2]) ** 2 < rng.uniform(4, 7) ** 2
    label[lesions] = 5
    return label, lesions


def image(sequence, label, seed=0, noise=4.0):
    """One sequence (X, Y, Z) float32; air is 0 where there is no skull, and noise where there is."""
    rng = np.random.default_rng([seed, len(sequence), ord(sequence[-1])])
    data = np.abs(np.array(LEVELS[sequence], dtype=float)[label] + rng.normal(0, noise, SHAPE))
    return np.where((label == 0) & ~(label == 1).any(), 0, data).astype(np.float32)
