import numpy as np
import pytest

from nnunet_ms.images.volumes import Volume, read_mask
from nnunet_ms.lesions.distance import distance_to_lesions
from nnunet_ms.lesions.features import distance_to_region, locate, mean_of_map, region_of
from nnunet_ms.lesions.labelling import find_lesions
from nnunet_ms.lesions.overlap import count_overlap
from tests.lesions.naive_matching import lesions_of, random_pair, volume

AFFINE = np.array([[-0.9, 0, 0, 5], [0, 1.1, 0, -3], [0, 0, 3, 1], [0, 0, 0, 1.0]])


def millimetres(mask):
    return np.argwhere(mask) @ AFFINE[:3, :3].T + AFFINE[:3, 3]


def nearest(first, second):
    """Smallest distance of all pairs of voxels."""
    return np.sqrt(((first[:, None] - second[None]) ** 2).sum(axis=2)).min()


@pytest.mark.parametrize("seed", range(12))
def test_distances_and_means_against_all_pairs(seed):
    # Oracle: every pair of voxels, one boolean volume per lesion.
    reference, prediction = random_pair(seed)
    first, second = (find_lesions(volume(mask, AFFINE), 18, 3) for mask in (reference, prediction))
    values = np.random.default_rng(seed).random(reference.shape)
    distance = distance_to_lesions(first, second, count_overlap(first, second).shared_voxels > 0)
    region = distance_to_region(first, volume(prediction, AFFINE))
    mean = mean_of_map(first, Volume(values, first.grid, "map"))
    others = lesions_of(prediction)
    for row, lesion in enumerate(lesions_of(reference)):
        expected = min((nearest(millimetres(lesion), millimetres(other)) for other in others), default=np.nan)
        assert distance[row] == pytest.approx(expected, nan_ok=True)
        whole = nearest(millimetres(lesion), millimetres(prediction)) if prediction.any() else np.nan
        assert region[row] == pytest.approx(whole, nan_ok=True)
        assert mean[row] == pytest.approx(values[lesion].mean())


def bar(x, length=4):
    data = np.zeros((40, 9, 9))
    data[x : x + length, 4, 4] = 1
    return data


def test_location_classes():
    # By hand, 1 mm voxels: ventricle at x = 0..3, cortex at 30..33, infratentorial from 36 on.
    regions = {
        "ventricles": volume(bar(0)),
        "cortex": volume(bar(30)),
        "infratentorial": volume(np.arange(40)[:, None, None] * np.ones((40, 9, 9)) >= 36),
    }
    lesions = find_lesions(volume(bar(6) + bar(14) + bar(24) + bar(35)))
    columns = locate(lesions, regions)
    expected = ["periventricular", "deep_white_matter", "juxtacortical", "infratentorial"]
    assert columns["location"].tolist() == expected
    assert columns["ventricles_mm"].tolist() == [3, 11, 21, 32]
    assert columns["cortex_mm"].tolist() == [21, 13, 3, 2]
    assert columns["infratentorial_share"].tolist() == [0, 0, 0, 0.75]


def test_without_regions_or_lesions():
    lesions, none = find_lesions(volume(bar(6))), find_lesions(volume(np.zeros((40, 9, 9))))
    assert locate(lesions, {})["location"].tolist() == ["deep_white_matter"]
    assert np.isnan(distance_to_lesions(lesions, none, np.array([False]))).all()
    assert np.isnan(distance_to_region(lesions, volume(np.zeros((40, 9, 9))))).all()
    assert locate(none, {"ventricles": volume(bar(0))})["location"].size == 0


def test_lesions_of_real_patients_by_their_ventricles(shared_data):
    # Oracle: the definition with SciPy's distance transform, on lesions and ventricles of a real patient.
    from scipy import ndimage

    folder = shared_data / "ms3seg" / "104252"
    mask, ventricles = read_mask(folder / "lesion.nii.gz"), read_mask(folder / "ventricles.nii.gz")
    lesions = find_lesions(mask, 18, 3)
    columns = locate(lesions, {"ventricles": ventricles})
    field = ndimage.distance_transform_edt(ventricles.data == 0, sampling=ventricles.grid.spacing)
    at_voxel = field.ravel(order="F")[lesions.voxel_index]
    expected = [at_voxel[lesions.lesion_of_voxel == row].min() for row in range(lesions.count)]
    assert columns["ventricles_mm"] == pytest.approx(expected, rel=1e-5)
    near = columns["location"] == "periventricular"
    assert near.tolist() == [value <= 3.0 for value in expected]
    assert 0 < near.sum() < lesions.count


@pytest.mark.parametrize("seed", range(6))
def test_regions_against_counting_voxel_by_voxel(seed):
    # Oracle: one lesion, one voxel at a time; two labels share a name, one has none, ties go to the name that is first.
    mask, _ = random_pair(seed)
    rng = np.random.default_rng(seed)
    blocks = rng.choice([0, 3, 7, 70000, 5], size=tuple(-(-n // 2) for n in mask.shape))
    labels = blocks.repeat(2, 0).repeat(2, 1).repeat(2, 2)[tuple(slice(n) for n in mask.shape)].astype(np.int32)
    names = {7: "parietal", 3: "frontal", 70000: "frontal"}
    lesions = find_lesions(volume(mask), 18, 1)
    found = region_of(lesions, Volume(labels, volume(mask).grid, None), names)
    for i in range(lesions.count):
        at = labels[tuple(axis[lesions.lesion_of_voxel == i] for axis in lesions.voxel_axes)]
        counts = {name: sum(names.get(int(v)) == name for v in at) for name in ("parietal", "frontal")}
        best = max(counts, key=counts.get)  # the first of equals
        assert found["brain_region"][i] == (best if counts[best] else "")
        assert found["brain_region_share"][i] == pytest.approx(counts[best] / len(at))


def test_regions_of_no_lesion_and_of_no_name():
    mask, _ = random_pair(0)
    nothing = find_lesions(volume(np.zeros_like(mask)))
    labels = Volume(np.ones_like(mask), volume(mask).grid, None)
    assert [len(values) for values in region_of(nothing, labels, {1: "all"}).values()] == [0, 0]
    lesions = find_lesions(volume(mask), 18, 1)
    assert set(region_of(lesions, labels, {})["brain_region"]) == {""}
