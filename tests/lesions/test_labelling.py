import numpy as np
import pandas as pd
import pytest

from nnunet_ms.images.volumes import read_mask
from nnunet_ms.lesions.labelling import find_all_lesions, find_lesions, lesions_of_labels, without_small
from tests.lesions.naive_matching import lesions_of, random_pair, volume


@pytest.mark.parametrize("seed", range(30))
def test_sizes_and_places_against_scipy(seed):
    # Oracle: scipy.ndimage.label, one boolean volume per lesion, mean of np.argwhere. Both number in scan order.
    mask = random_pair(seed)[0]
    lesions = find_lesions(volume(mask), 18, 3)
    expected = lesions_of(mask)
    assert lesions.voxels.tolist() == [int(lesion.sum()) for lesion in expected]
    for centroid, lesion in zip(lesions.centroid_mm, expected, strict=True):
        assert centroid == pytest.approx(np.argwhere(lesion).mean(axis=0))
    for row, lesion in enumerate(expected):
        index = lesions.voxel_index[lesions.lesion_of_voxel == row]
        assert index.tolist() == np.flatnonzero(lesion.ravel(order="F")).tolist()


def test_centroid_uses_the_whole_affine():
    # By hand: voxels (1, 2, 3) and (3, 2, 3), mean (2, 2, 3); x flipped, 2 mm slices in z, shifted by (10, 20, 30).
    data = np.zeros((5, 5, 5))
    data[1:4, 2, 3] = 1
    affine = np.array([[-1, 0, 0, 10], [0, 1, 0, 20], [0, 0, 2, 30], [0, 0, 0, 1]], dtype=float)
    lesions = find_lesions(volume(data, affine))
    assert lesions.centroid_mm.tolist() == [[8, 22, 36]]
    assert lesions.volumes_ml == pytest.approx([0.006])
    assert lesions.position_mm().tolist() == [[9, 22, 36], [8, 22, 36], [7, 22, 36]]


def test_lesions_at_the_corners_of_the_grid():
    data = np.zeros((4, 5, 6))
    data[0, 0, 0] = data[3, 4, 5] = 1
    lesions = find_lesions(volume(data))
    assert lesions.centroid_mm.tolist() == [[0, 0, 0], [3, 4, 5]]
    assert lesions.voxel_index.tolist() == [0, 119]


@pytest.mark.parametrize(("connectivity", "count"), [(6, 3), (18, 2), (26, 1)])
def test_connectivity(connectivity, count):
    # By hand: the second voxel touches the first by an edge, the third the second by a corner.
    data = np.zeros((4, 4, 4))
    data[0, 0, 0] = data[1, 1, 0] = data[2, 2, 1] = 1
    assert find_lesions(volume(data), connectivity).count == count


@pytest.mark.parametrize("axis", range(3))
def test_thin_boxes(axis):
    # By hand; cc3d 4.1.1 alone fails on this box of 1x1x3 voxels at connectivity 26.
    data = np.zeros((5, 5, 5))
    data[1, 1, 1] = data[tuple(1 + 2 * (axis == other) for other in range(3))] = 1
    assert [find_lesions(volume(data), connectivity).count for connectivity in (6, 18, 26)] == [2, 2, 2]


def test_filter_keeps_three_voxels_and_drops_two():
    data = np.zeros((3, 9, 3))
    data[1, 0:3, 1] = 1
    data[1, 5:7, 1] = 1
    lesions = find_lesions(volume(data), minimum_voxels=3)
    assert (lesions.voxels.tolist(), lesions.mask_voxels, lesions.volume_ml) == ([3], 5, pytest.approx(0.003))


@pytest.mark.parametrize("data", [np.zeros((4, 4, 4)), np.eye(4)[:, :, None] * np.eye(4)[0]])
def test_no_lesion_left(data):
    lesions = find_lesions(volume(data), connectivity=6, minimum_voxels=3)
    assert (lesions.count, lesions.volume_ml, lesions.volumes_ml.size) == (0, 0, 0)
    assert lesions.centroid_mm.shape == lesions.first_voxel.shape == lesions.last_voxel.shape == (0, 3)


def test_dropping_twice_is_dropping_once():
    # By hand: lesions of 1, 3, 2 and 5 voxels in scan order; positions of what is left, by the names of their voxels.
    data = np.zeros((9, 9, 9))
    for row, size in enumerate((1, 3, 2, 5)):
        data[2 * row, 1, 2 : 2 + size] = 1
    lesions = find_lesions(volume(data))
    twice = without_small(without_small(lesions, 2), 3)
    assert twice.voxels.tolist() == without_small(lesions, 3).voxels.tolist() == [3, 5]
    for dropped in (twice, find_lesions(volume(data), minimum_voxels=3)):
        x, _, z = dropped.voxel_axes
        assert sorted(zip(dropped.lesion_of_voxel, x, z, strict=True)) == [
            *((0, 2, z) for z in (2, 3, 4)),
            *((1, 6, z) for z in (2, 3, 4, 5, 6)),
        ]
        assert dropped.mask_voxels == 11
        assert dropped.is_surface.all()


def test_labels_are_lesions_whatever_touches_them():
    # By hand: labels 2 and 7 touch, 5 has two parts; centroids in mm with slices of 3 mm.
    data = np.zeros((6, 6, 6))
    data[0:2, 0, 0], data[2:4, 0, 0] = 7, 2
    data[0, 5, [1, 5]] = 5
    names, lesions = lesions_of_labels(volume(data, np.diag([1.0, 1.0, 3.0, 1.0])))
    assert names.tolist() == [2, 5, 7]
    assert lesions.voxels.tolist() == [2, 2, 2]
    assert lesions.centroid_mm.tolist() == [[2.5, 0, 0], [0, 5, 9], [0.5, 0, 0]]
    assert lesions.is_surface.tolist() == [True] * 6
    none = lesions_of_labels(volume(np.zeros((2, 2, 2))))
    assert (none[0].size, none[1].count) == (0, 0)


@pytest.mark.parametrize("asked", [(6, 18, 26), (26,)])
def test_all_connectivities_are_those_of_single_ones(asked):
    mask = volume(random_pair(7)[0])
    together = find_all_lesions(mask, asked)
    assert list(together) == list(asked)
    for connectivity in asked:
        alone = find_lesions(mask, connectivity)
        assert together[connectivity].voxels.tolist() == alone.voxels.tolist()
        assert together[connectivity].lesion_of_voxel.tolist() == alone.lesion_of_voxel.tolist()


def test_memory_order_does_not_change_the_numbering():
    mask = random_pair(5)[0].astype(np.uint8)
    rows = [find_lesions(volume(order(mask)), 18, 3) for order in (np.ascontiguousarray, np.asfortranarray)]
    assert rows[0].voxels.tolist() == rows[1].voxels.tolist()
    assert rows[0].voxel_index.tolist() == rows[1].voxel_index.tolist()


def test_counts_and_volumes_of_real_masks(shared_data):
    # Oracle: counts (18-connected, >= 3 voxels) and whole-mask volumes measured with SciPy, in the folder's CSV.
    folder = shared_data / "open_ms_masks"
    expected = pd.read_csv(folder / "lesion_counts_expected.csv").set_index("p")
    paths = sorted(folder.glob("*_lesion.nii.gz"))
    assert len(paths) == 29
    for path in paths:
        patient = path.name.removesuffix("_lesion.nii.gz")
        lesions, row = find_lesions(read_mask(path), 18, 3), expected.loc[patient]
        assert lesions.count == row["mni_n_ge3"], patient
        assert lesions.mask_voxels * lesions.voxel_volume_ml == pytest.approx(row["mni_vol_ml"], abs=1e-3), patient
