"""One file in the place of another is named, in every case that it may belong to."""

from pathlib import Path

import numpy as np
import pytest

from nnunet_ms.dataset_conversion.checks.misplaced_files import check_different, check_grey_values, content_of
from nnunet_ms.errors import ImageError
from tests.dataset_conversion.damage import T1, convert_damaged, lines_of, make


def test_one_image_in_two_patients_is_named_in_both(tmp_path, capsys):
    manifest = make(tmp_path / "study", {}, ["A", "B", "C", "D"])
    (tmp_path / "study" / "B" / T1).write_bytes((tmp_path / "study" / "A" / T1).read_bytes())
    assert convert_damaged(manifest, tmp_path / "raw") == 1
    lines = lines_of(capsys.readouterr().err)
    assert set(lines) == {"A_v", "B_v"}
    assert f"study/A/{T1}: expected an image of its own, found the voxels of " in lines["A_v"]


def test_contents_are_the_same_for_the_same_voxels_only():
    data = np.random.default_rng(0).integers(0, 900, (5, 6, 7)).astype(np.int16)
    other = data.copy()
    other[4, 5, 6] += 1
    assert content_of(data) == content_of(np.asfortranarray(data)) == content_of(data.copy())
    assert content_of(data) != content_of(other)
    assert content_of(data) != content_of(data[::-1])


def test_two_channels_with_one_content_are_named_and_unknown_contents_are_not():
    paths = {name: Path(f"{name}.nii.gz") for name in ("flair", "t1", "t2")}
    check_different({"flair": (1, 9), "t1": (2, 9), "t2": None}, paths)
    check_different({"flair": None, "t1": None, "t2": None}, paths)  # files without a checksum tell nothing
    with pytest.raises(ImageError, match=r"t2\.nii\.gz: expected t2, found the voxels of t1 \(t1\.nii\.gz\)"):
        check_different({"flair": (1, 9), "t1": (2, 9), "t2": (2, 9)}, paths)


def test_images_with_one_or_two_values_are_refused_however_few_others_would_do():
    data = np.zeros((20, 20, 20), np.float32)
    with pytest.raises(ImageError, match=r"x\.nii: expected an image, found 0 in every voxel"):
        check_grey_values(data, Path("x.nii"))
    data[3, 4, 5] = 2
    with pytest.raises(ImageError, match=r"expected an image, found only 0 and 2: a mask\?"):
        check_grey_values(data, Path("x.nii"))
    data[3, 4, 6] = 1.5  # one grey voxel, and not among the first that are looked at
    check_grey_values(data, Path("x.nii"))


def regions(number: int, voxels: int, seed: int = 0) -> np.ndarray:
    """A map of labels: cubes of so many voxels, each with one of so many labels, and 0 around."""
    drawn = np.random.default_rng(seed).integers(1, number + 1, (6, 6, 6)).astype(np.int16)
    return np.pad(np.kron(drawn, np.ones((voxels,) * 3, np.int16)), 8)


@pytest.mark.parametrize(
    "labels",
    [
        regions(3, 5),
        regions(40, 4),
        regions(200, 6),
        regions(40, 4).astype(np.float32) * 10,
        regions(30, 5).repeat(4, axis=2)[:, :, ::8],  # slices of two voxels: neighbours along them differ
        regions(2, 3),
    ],
)
def test_maps_of_labels_are_no_images(labels):
    with pytest.raises(ImageError, match=r"expected an image, found \d+ whole numbers, .* map of labels"):
        check_grey_values(labels, Path("flair.nii.gz"))


def test_noise_of_a_few_levels_is_an_image():
    check_grey_values(np.random.default_rng(1).integers(1, 5, (20, 20, 20)), Path("flair.nii.gz"))


@pytest.mark.parametrize("levels", [60, 255, 4000])
def test_images_of_few_levels_are_images(levels):
    smooth = regions(40, 4).astype(np.float32) / 40
    noisy = np.where(smooth > 0, smooth + np.random.default_rng(2).normal(0, 0.05, smooth.shape), 0)
    check_grey_values(np.clip(np.round(noisy * levels), 0, None).astype(np.int16), Path("flair.nii.gz"))
