import numpy as np
import pandas as pd
import pytest

from nnunet_ms.images.volumes import read_mask
from nnunet_ms.lesions.labelling import find_lesions, lesion_table
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
    row = lesion_table(find_lesions(volume(data, affine))).iloc[0]
    assert row[["x_mm", "y_mm", "z_mm"]].tolist() == [8, 22, 36]
    assert row["volume_ml"] == pytest.approx(0.006)
    assert row["lesion_id"] == 1


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
    table = lesion_table(lesions)
    assert (lesions.count, lesions.volume_ml, len(table)) == (0, 0, 0)
    assert lesions.centroid_mm.shape == (0, 3)


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
