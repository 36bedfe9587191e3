"""Pictures of slices: which way up, against world coordinates; which slices and which colours, by hand."""

from itertools import permutations, product

import numpy as np
import pytest
from matplotlib.figure import Figure

from nnunet_ms.images.volumes import Grid
from nnunet_ms.plotting.slices import cropped, grey, most, outline, show, tinted, view_of

SIZE_MM = np.array([1.0, 1.5, 3.0])  # of voxels from left to right, back to front, foot to head
SHAPE = np.array([12, 10, 8])
STORAGE = [(order, flips) for order in permutations(range(3)) for flips in product((1, -1), repeat=3)]


def stored(order, flips):
    """A volume in some order and direction of its axes, and its grid: the voxel at world (0, 0, 0) is 1.

    The field of view goes from 4 to the left to 7 to the right, 3 back to 6 front, 2 below to 5 above, in voxels.
    """
    first = np.array([-4, -3, -2]) * SIZE_MM
    affine = np.eye(4)
    affine[:3, :3] = 0
    origin = first.copy()
    for axis, (body, flip) in enumerate(zip(order, flips, strict=True)):
        affine[body, axis] = flip * SIZE_MM[body]
        if flip < 0:
            origin[body] += (SHAPE[body] - 1) * SIZE_MM[body]
    affine[:3, 3] = origin
    data = np.zeros(SHAPE[list(order)], np.float32)
    data[tuple(np.rint(np.linalg.solve(affine, [0, 0, 0, 1])[:3]).astype(int))] = 1
    return data, Grid(data.shape, affine)


@pytest.mark.parametrize(("order", "flips"), STORAGE)
@pytest.mark.parametrize(
    ("across", "shape", "voxel", "name"),
    [
        # the patient's right is on the left: 7 voxels of it, and then the one at 0; of the front 6, of the head 5
        (2, (10, 12), (6, 7), "axial slice 2"),
        (1, (8, 12), (5, 7), "coronal slice 3"),
        (0, (8, 10), (5, 3), "sagittal slice 4"),  # the face looks to the right
    ],
)
def test_pictures_are_radiological_however_the_volume_is_stored(order, flips, across, shape, voxel, name):
    # Oracle: world coordinates, counted by hand.
    data, grid = stored(order, flips)
    view = view_of(grid, across)
    number = (4, 3, 2)[across]
    picture = view.picture(view.turned(data), number)
    assert picture.shape == shape
    assert np.argwhere(picture).tolist() == [list(voxel)]
    assert view.name(number) == name
    np.testing.assert_allclose(view.places(np.array([[4, 3, 2]])), [(np.array(voxel[::-1]) + 0.5) * view.pixel_mm])


def test_slices_are_across_the_thickest_voxels():
    data, grid = stored((1, 2, 0), (1, -1, 1))
    view = view_of(grid)
    assert (view.across, view.pixel_mm) == (2, pytest.approx((1.0, 1.5)))
    assert view.amount(view.turned(data)).tolist() == [0, 0, 1, 0, 0, 0, 0, 0]
    assert view_of(Grid((9, 9, 9), np.diag([4.0, 1.0, 1.0, 1.0]))).across == 0
    assert view_of(Grid((9, 9, 9), np.diag([1.1, 1.0, 1.0, 1.0]))).across == 2  # nearly isotropic: axial


def test_a_box_around_what_is_visible():
    view = view_of(Grid((20, 20, 9), np.diag([-1.0, 1.0, 3.0, 1.0])))
    data = np.zeros((20, 20, 9), bool)
    data[8:11, 2, 4] = True
    inside = cropped(view, data, margin=3)
    assert inside.box == (slice(5, 14), slice(0, 6), slice(1, 8))
    assert inside.picture(data, 4).shape == (6, 9)
    ((x, y),) = inside.places(np.array([[8.0, 2.0, 4.0]]))
    row, column = np.argwhere(inside.picture(data, 4))[-1]  # the rightmost voxel of the picture is the leftmost
    assert (x, y) == (column + 0.5, row + 0.5)
    assert cropped(view, np.zeros_like(data), margin=3) == view


@pytest.mark.parametrize(
    ("amount", "count", "apart", "expected"),
    [
        ([0, 5, 9, 8, 1], 3, 1, [2, 3, 1]),
        ([0, 5, 9, 8, 1], 3, 2, [2, 4, 0]),
        ([0, 5, 9, 8, 1], 4, 2, [2, 4, 0, 3]),  # no choice is left
        ([1, 1, 1], 2, 1, [0, 1]),  # the first of equals
        ([3, 2], 5, 1, [0, 1]),
    ],
)
def test_slices_with_most(amount, count, apart, expected):
    assert most(np.array(amount), count, apart) == expected


def test_grey_between_percentiles_of_what_is_no_background():
    # Oracle: for 0, 1 ... 1000 without the 0, the 1st percentile is 10.99 and the 99.5th 995.005.
    values = grey(np.arange(1001))
    assert values[0] == values[10] == 0
    assert values[996] == 1
    assert values[500] == pytest.approx((500 - 10.99) / (995.005 - 10.99))
    assert grey(np.full((2, 2), 7)).tolist() == [[0, 0], [0, 0]]


def test_colours_and_outlines_lie_where_the_mask_is():
    mask = np.zeros((6, 8), bool)
    mask[1:3, 4:6] = True
    rgb = tinted(np.full((6, 8, 3), 0.2), mask, (1.0, 0.0, 0.5), strength=0.5)
    assert rgb[2, 5] == pytest.approx((0.6, 0.1, 0.35))
    assert rgb[3, 5].tolist() == [0.2, 0.2, 0.2]
    view = view_of(Grid((8, 6, 4), np.diag([1.0, 2.0, 5.0, 1.0])))
    axes = Figure().subplots()
    show(axes, rgb, view)
    outline(axes, mask, view, "red")
    outline(axes, np.zeros_like(mask), view, "red")  # draws nothing, and does not warn
    assert (axes.get_xlim(), axes.get_ylim()) == ((0, 8), (12, 0))
    (line,) = axes.collections
    low, high = (getattr(line.get_paths()[0].vertices, end)(axis=0).tolist() for end in ("min", "max"))
    assert (low, high) == ([4, 2], [6, 6])
