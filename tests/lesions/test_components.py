import numpy as np
import pytest
from scipy import ndimage

from nnunet_ms.lesions.components import coordinates, find_components, foreground, label_voxels

CONNECTIVITIES = {6: 1, 18: 2, 26: 3}
SHAPES = [(9, 8, 7), (1, 1, 3), (1, 7, 5), (6, 1, 1), (1, 1, 1), (2, 13, 3)]


def random_masks():
    for seed in range(40):
        generator = np.random.default_rng(seed)
        shape = SHAPES[seed % len(SHAPES)]
        yield np.asfortranarray(generator.random(shape) < generator.choice([0.05, 0.15, 0.3, 0.6, 1.0]))


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.float32])
@pytest.mark.parametrize("order", ["F", "C"])
def test_foreground(dtype, order):
    # Oracle: NumPy, also where the number of voxels is no multiple of eight and where there is none.
    for mask in random_masks():
        data = np.array(mask, dtype=dtype, order=order) * dtype(1 if dtype is bool else 5)
        assert foreground(data).tolist() == np.flatnonzero(mask.ravel(order="F")).tolist()
    assert foreground(np.zeros((3, 0, 2), dtype=dtype)).size == 0


def test_coordinates():
    index = np.array([0, 1, 5, 34, 59])
    expected = np.unravel_index(index, (3, 4, 5), order="F")
    np.testing.assert_array_equal(coordinates(index, (3, 4, 5)), expected)


def numbered(mask, rank):
    """SciPy's components of each voxel (x fastest), numbered by their first voxel where z runs fastest."""
    labels, count = ndimage.label(mask, ndimage.generate_binary_structure(3, rank))
    first = [np.flatnonzero(labels.ravel(order="C") == label)[0] for label in range(1, count + 1)]
    number = np.empty(count + 1, dtype=int)
    number[1 + np.argsort(first)] = np.arange(count)
    return number[labels.ravel(order="F")[mask.ravel(order="F")]]


@pytest.mark.parametrize("asked", [(6,), (18,), (26,), (18, 6), (26, 18), (6, 26), (26, 18, 6)])
def test_components_of_several_connectivities_at_once(asked):
    # Oracle: scipy.ndimage.label, one connectivity at a time.
    for mask in random_masks():
        index = foreground(mask)
        components, _ = label_voxels(index, mask.shape, asked)
        assert set(components) == set(asked)
        for connectivity in asked:
            assert components[connectivity].tolist() == numbered(mask, CONNECTIVITIES[connectivity]).tolist()


def test_long_chain_of_corners():
    # By hand: a diagonal is one component by corners, and as many as it has voxels by faces or edges.
    mask = np.asfortranarray(np.zeros((60, 60, 60), dtype=bool))
    mask[np.arange(60), np.arange(60)[::-1], np.arange(60)] = True
    components, surface = label_voxels(foreground(mask), mask.shape, (6, 18, 26))
    assert [components[c].max() + 1 for c in (6, 18, 26)] == [60, 60, 1]
    assert surface.all()


def test_surface():
    # Oracle: what SciPy's erosion by the six neighbours removes; voxels at the border of the image are surface.
    for mask in random_masks():
        _, surface = label_voxels(foreground(mask), mask.shape, (6,))
        expected = mask & ~ndimage.binary_erosion(mask)
        assert surface.tolist() == expected.ravel(order="F")[mask.ravel(order="F")].tolist()


@pytest.mark.parametrize("connectivity", [6, 18, 26])
def test_painted_sizes_against_scipy(connectivity):
    # Oracle: scipy.ndimage.label and a sum per label; random masks in both memory orders.
    structure = ndimage.generate_binary_structure(3, CONNECTIVITIES[connectivity])
    for number, mask in enumerate(random_masks()):
        data = np.ascontiguousarray(mask) if number % 2 else mask
        labels, count = ndimage.label(mask, structure)
        sizes = np.concatenate([[0], ndimage.sum_labels(mask, labels, range(1, count + 1))]) if count else np.zeros(1)
        parts = find_components(data, connectivity)
        assert parts.count == count
        painted = parts.painted(parts.voxels)
        assert painted.dtype == np.int64
        np.testing.assert_array_equal(painted, sizes[labels])


def test_painted_is_zero_outside_in_the_type_of_the_values():
    data = np.zeros((3, 3, 3), dtype=np.uint8)
    data[0, 0, 0], data[2, 2, 2] = 1, 9
    parts = find_components(data)
    assert (parts.count, parts.voxels.tolist(), parts.shape) == (2, [1, 1], (3, 3, 3))
    painted = parts.painted(np.array([5, 7], dtype=np.int16))
    assert (painted.dtype, painted[0, 0, 0], painted[2, 2, 2], int(painted.sum())) == (np.int16, 5, 7, 12)
    none = find_components(np.zeros((3, 3, 3)))
    assert (none.count, none.painted(np.zeros(0, dtype=bool)).any()) == (0, False)


def test_eighteen_neighbours_unless_told_otherwise():
    # By hand: two voxels that touch by an edge and a third by a corner.
    data = np.zeros((4, 4, 4))
    data[0, 0, 0] = data[1, 1, 0] = data[2, 2, 1] = 1
    assert find_components(data).voxels.tolist() == [2, 1]
