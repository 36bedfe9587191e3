"""The rule of one place, against rotations drawn at random and written by nibabel."""

import nibabel as nib
import numpy as np
import pytest

from nnunet_ms.images.forms import at_right_angles, forms_of, largest_cosine, largest_distance, one_place, tolerance_mm

SHAPE = (256, 256, 180)
SIGNS = [(x, y, z) for x in (1, -1) for y in (1, -1) for z in (1, -1)]


def tilted(rng, signs, largest_degrees):
    angles = np.deg2rad(rng.uniform(-largest_degrees, largest_degrees, 3))
    affine = np.eye(4)
    affine[:3, :3] = nib.eulerangles.euler2mat(*angles) @ np.diag(signs) @ np.diag([0.94, 0.94, 1.2])
    affine[:3, 3] = rng.uniform(-120, 120, 3)
    return affine


@pytest.mark.parametrize("signs", SIGNS)
@pytest.mark.parametrize("largest_degrees", [0.1, 2, 180])
def test_what_nibabel_writes_from_one_affine_is_one_place(signs, largest_degrees):
    rng, header = np.random.default_rng(0), nib.Nifti1Header()
    for _ in range(100):
        affine = tilted(rng, signs, largest_degrees)
        header.set_sform(affine, 1)
        header.set_qform(affine, 1)
        sform, qform = forms_of(header)
        assert one_place(SHAPE, sform, qform, by_quaternion=True)


@pytest.mark.parametrize("signs", SIGNS)
def test_another_place_is_none_though_a_quaternion_was_read(signs):
    rng = np.random.default_rng(1)
    for _ in range(50):
        affine, moved = (tilted(rng, signs, 20) for _ in range(2))
        assert not one_place(SHAPE, affine, moved, by_quaternion=True)
        moved = affine.copy()
        moved[rng.integers(3), 3] += 0.2
        assert not one_place(SHAPE, affine, moved, by_quaternion=True)
        turn = np.eye(4)
        turn[:3, :3] = nib.eulerangles.euler2mat(*np.deg2rad(rng.choice([-0.3, 0.3], 3)))
        assert not one_place(SHAPE, affine, turn @ affine, by_quaternion=True)


@pytest.mark.parametrize("cosine", [2e-5, 8e-5, 3e-4])
def test_straight_axes_are_the_nearest(cosine):
    # Oracle: none of many other rotations around the same centre comes nearer, and noise of float32 is left alone.
    rng = np.random.default_rng(2)
    affine = tilted(rng, (1, 1, 1), 10)
    affine[:3, 0] += cosine * affine[:3, 1]
    straight = at_right_angles(SHAPE, affine)
    middle, apart = np.array([*SHAPE, 2]) / 2, largest_distance(SHAPE, affine, straight)
    assert largest_cosine(straight) < 1e-12
    assert apart <= tolerance_mm(affine)
    np.testing.assert_allclose(affine @ middle, straight @ middle, atol=1e-9)
    worst = np.linalg.norm(affine[:3, :3] - straight[:3, :3])
    for _ in range(200):
        other = nib.eulerangles.euler2mat(*rng.normal(0, cosine, 3)) @ straight[:3, :3]
        assert np.linalg.norm(affine[:3, :3] - other) >= worst * (1 - 1e-3)
    noisy = straight.astype(np.float32).astype(np.float64)
    assert at_right_angles(SHAPE, noisy) is noisy
