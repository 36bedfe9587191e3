"""Oracle: all pairs of voxels, on masks large enough that shells, single lesions and the tree all have their turn."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from nnunet_ms.lesions import distance
from nnunet_ms.lesions.labelling import find_lesions
from nnunet_ms.lesions.overlap import count_overlap
from tests.lesions.naive_matching import volume

SHAPE = (60, 50, 30)
AFFINES = {
    "anisotropic": np.diag([1.0, 1.0, 3.0, 1.0]),
    "flipped": np.array([[-0.9, 0, 0, 5], [0, 1.1, 0, -3], [0, 0, 2.5, 1], [0, 0, 0, 1.0]]),
    "fine": np.diag([0.4, 0.5, 0.6, 1.0]),
    "oblique axes": np.array([[1.0, 0.3, 0, 0], [0, 1.0, 0.2, 0], [0.1, 0, 2.0, 0], [0, 0, 0, 1.0]]),
}


def masks(seed, far):
    """A mask of 3 to 4 thousand voxels to one side, and small lesions near it, at the borders and, if `far`, remote."""
    generator = np.random.default_rng(seed)
    other = np.zeros(SHAPE, dtype=bool)
    other[2:22, 5:40, 4:24] = generator.random((20, 35, 20)) < 0.3
    here = np.zeros(SHAPE, dtype=bool)
    corners = generator.integers(0, np.array([30, 48, 28]), size=(25, 3))
    if far:
        corners = np.vstack([corners, generator.integers([50, 0, 0], np.array(SHAPE) - 2, size=(far, 3))])
    for x, y, z in corners:
        here[x : x + 2, y : y + 2, z : z + 1] = True
    return here, other


@pytest.mark.parametrize("name", AFFINES)
@pytest.mark.parametrize(("seed", "far"), [(0, 0), (1, 2), (2, 30)])
def test_distance_to_the_nearest_lesion(name, seed, far):
    first, second = (find_lesions(volume(mask, AFFINES[name]), 18, 3) for mask in masks(seed, far))
    assert second.voxel_index.size > distance._FEW
    touching = count_overlap(first, second).shared_voxels > 0
    found_mm = distance.distance_to_lesions(first, second, touching)
    there = second.position_mm()
    expected = [cdist(first.position_mm(first.lesion_of_voxel == n), there).min() for n in range(first.count)]
    np.testing.assert_allclose(found_mm, expected, rtol=1e-12)
    assert (found_mm > 0).sum() >= 5


def test_a_lesion_too_large_to_look_around_goes_to_the_tree():
    here, other = np.zeros((80, 80, 30), dtype=bool), np.zeros((80, 80, 30), dtype=bool)
    here[:20], other[60:] = True, True
    first, second = (find_lesions(volume(mask)) for mask in (here, other))
    assert distance.distance_to_lesions(first, second, np.array([False])).tolist() == [41.0]


def test_tree_and_all_pairs_agree():
    there, here = (np.random.default_rng(n).normal(size=(size, 3)) for n, size in ((0, 300), (1, 200)))
    expected = cdist(here, there).min(axis=1)
    np.testing.assert_allclose(distance.nearest_mm(there, here), expected)
    np.testing.assert_allclose(distance.nearest_mm(there, here[:9]), expected[:9])


@pytest.mark.parametrize("name", AFFINES)
def test_steps_around_a_voxel_are_all_within_reach_the_nearest_first(name):
    # Oracle: every step of a cube that is larger than the reach, a ball of the largest shell's volume.
    axes = AFFINES[name][:3, :3]
    around = distance._around(axes.tobytes())
    reach = np.cbrt(3 * np.array(distance._SHELLS) * abs(np.linalg.det(axes)) / (4 * np.pi))
    cube = np.array(list(np.ndindex(73, 73, 73))) - 36
    mm = np.linalg.norm(cube @ axes.T, axis=1)
    assert np.abs(cube[mm <= reach[-1]]).max() < 36
    assert sorted(map(tuple, around.steps.tolist())) == sorted(map(tuple, cube[mm <= reach[-1]].tolist()))
    np.testing.assert_allclose(around.mm, np.sort(mm[mm <= reach[-1]]), atol=1e-9)
    np.testing.assert_allclose(around.mm, np.linalg.norm(around.steps @ axes.T, axis=1))
    assert list(around.ends) == [int((mm <= radius).sum()) for radius in reach]
    assert list(around.edge) == np.abs(around.steps).max(axis=0).tolist()
