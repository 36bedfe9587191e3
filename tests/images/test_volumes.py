import gzip
import logging
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from nnunet_ms.errors import ImageError
from nnunet_ms.images.volumes import (
    Grid,
    check_same_grid,
    read_grid,
    read_mask,
    read_volume,
    same_grid,
    without_remarks,
    write_volume,
)

MASK = np.zeros((4, 5, 6), np.uint8)
MASK[1:3, 1:3, 1:3] = 1


def test_spacing_and_volume_come_from_the_affine(write_nifti):
    # Oracle: nibabel's own zooms, for a rotated and anisotropic grid.
    angle = np.deg2rad(20)
    rotation = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag([0.9, 1.1, 6.5])
    path = write_nifti("a.nii.gz", MASK, affine=affine)
    grid = read_grid(path)
    assert grid.spacing == pytest.approx(nib.load(path).header.get_zooms(), rel=1e-6)
    assert grid.voxel_volume_ml == pytest.approx(0.9 * 1.1 * 6.5 / 1000)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
def test_masks_of_any_type_read_as_uint8(write_nifti, dtype):
    mask = read_mask(write_nifti("m.nii.gz", MASK.astype(dtype)))
    assert mask.data.dtype == np.uint8
    np.testing.assert_array_equal(mask.data, MASK)


def with_a_fault_that_nibabel_remarks_on(path):
    """An sform_code that NIfTI does not know."""
    nib.save(nib.Nifti1Image(MASK.astype(np.float32), np.eye(4)), path)
    content = bytearray(path.read_bytes())
    content[254:256] = struct.pack("<h", 77)
    path.write_bytes(content)
    return path


class Heard(logging.Handler):
    def __init__(self):
        super().__init__()
        self.messages = []

    def emit(self, record):
        self.messages.append(record.getMessage())


@pytest.fixture
def heard():
    """What nibabel says in its log."""
    log, handler = logging.getLogger("nibabel.global"), Heard()
    log.addHandler(handler)
    yield handler.messages
    log.removeHandler(handler)


def test_nibabels_remarks_are_kept_from_the_log_here_and_nowhere_else(tmp_path, heard):
    path = with_a_fault_that_nibabel_remarks_on(tmp_path / "odd.nii")
    read_grid(path)
    read_volume(path)
    assert heard == []
    nib.load(path)
    assert heard == ["sform_code 77 not valid; setting to 0"]


def test_what_another_thread_reads_meanwhile_is_said(tmp_path, heard):
    path = with_a_fault_that_nibabel_remarks_on(tmp_path / "odd.nii")
    with without_remarks():
        nib.load(path)
        with ThreadPoolExecutor(1) as thread:
            thread.submit(nib.load, path).result()
    assert len(heard) == 1


@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_is_a_path_or_its_text(tmp_path, kind):
    path = kind(tmp_path / "m.nii.gz")
    write_volume(path, MASK, np.eye(4))
    for read in (read_mask, read_volume):
        volume = read(path)
        np.testing.assert_array_equal(volume.data, MASK)
        assert volume.path == tmp_path / "m.nii.gz"
    assert read_grid(path).shape == MASK.shape
    with pytest.raises(ImageError, match=r"missing\.nii: no such file"):
        read_mask(kind(tmp_path / "missing.nii"))


def damaged(tmp_path, how):
    path = tmp_path / "image.nii.gz"
    nib.save(nib.Nifti1Image(np.random.default_rng(0).random((20, 20, 20)).astype(np.float32), np.eye(4)), path)
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif how == "corrupt":
        path.write_bytes(content[:2000] + b"\xff" * 500 + content[2500:])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "short":
        path.write_bytes(gzip.compress(gzip.decompress(content)[:5000]))
    else:
        path.write_bytes(b"this is a letter, not a scan" * 100)
    return path


@pytest.mark.parametrize("how", ["missing", "truncated", "corrupt", "empty", "short", "text"])
def test_damaged_files_are_one_clear_error(tmp_path, how):
    path = damaged(tmp_path, how)
    with pytest.raises(ImageError, match=r"image\.nii\.gz: .*(no such file|Copy)"):
        read_volume(path)


def test_four_dimensions(write_nifti):
    with pytest.raises(ImageError, match=r"expected a 3-D image, found shape \(4, 5, 6, 2\)"):
        read_volume(write_nifti("x.nii.gz", np.zeros((4, 5, 6, 2), np.float32)))


def test_nan(write_nifti):
    data = MASK.astype(np.float32)
    data[0, 0, :2] = [np.nan, np.inf]
    with pytest.raises(ImageError, match="found 2 NaN or infinite of 120"):
        read_volume(write_nifti("x.nii.gz", data))


@pytest.mark.parametrize(("value", "shown"), [(2, "2"), (0.999, "0.999"), (293, "293")])
def test_other_labels_than_0_and_1(write_nifti, value, shown):
    data = MASK.astype(np.float32)
    data[0, 0, 0] = value
    with pytest.raises(ImageError, match=rf"expected a mask with values \[0, 1\], found {shown}"):
        read_mask(write_nifti("x.nii.gz", data))


def test_negative_labels_of_integer_masks(write_nifti):
    with pytest.raises(ImageError, match="found -1"):
        read_mask(write_nifti("x.nii.gz", MASK.astype(np.int16) - 1))


def test_grids_differ_by_affine_and_not_only_by_shape():
    first = Grid((10, 10, 10), np.diag([1.0, 1.0, 3.0, 1.0]))
    shifted = first.affine.copy()
    shifted[0, 3] = 0.5
    assert same_grid(first, Grid((10, 10, 10), first.affine + 1e-6))
    with pytest.raises(ImageError, match=r"mask\.nii: expected the grid of image\.nii .*found shape"):
        check_same_grid(first, Grid((10, 10, 10), shifted), "image.nii", "mask.nii")


def test_a_small_rotation_counts_at_the_far_corner():
    first = Grid((200, 200, 60), np.eye(4))
    turned = np.eye(4)
    turned[0, 1] = 1e-4  # 0.02 mm at 200 voxels of 1 mm: no voxel changes its place
    assert same_grid(first, Grid((200, 200, 60), turned))
    turned[0, 1] = 1e-3
    assert not same_grid(first, Grid((200, 200, 60), turned))


def test_written_volumes_read_back_and_are_the_same_bytes_each_time(tmp_path: Path):
    affine = np.diag([2.0, 2.0, 4.0, 1.0])
    for name in ("a.nii.gz", "b.nii.gz"):
        write_volume(tmp_path / name, MASK, affine)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    back = read_mask(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(back.data, MASK)
    np.testing.assert_array_equal(back.grid.affine, affine)


def test_gzip_files_of_several_members(tmp_path):
    # Oracle: the gzip format allows members one after the other (bgzip, pigz); nibabel reads them.
    path = tmp_path / "m.nii.gz"
    nib.save(nib.Nifti1Image(MASK, np.eye(4)), path)
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(b"".join(gzip.compress(content[i : i + 100]) for i in range(0, len(content), 100)))
    np.testing.assert_array_equal(read_mask(path).data, np.asanyarray(nib.load(path).dataobj))


def scaled(image):
    image.header.set_slope_inter(1, 2)


def with_comment(image):
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"a note before the voxels"))


def without_codes(image):
    image.set_sform(None, 0)
    image.set_qform(None, 0)


@pytest.mark.parametrize("name", ["m.nii.gz", "m.nii"])
@pytest.mark.parametrize("dtype", ["u1", "i1", "<i2", ">i2", "<u2", "<i4", "<i8", "<f4", ">f8"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("change", [None, scaled, with_comment, without_codes])
def test_masks_are_read_as_nibabel_reads_them(tmp_path, name, dtype, kind, change):
    # Oracle: nibabel. Most of these are read by a way of our own.
    image = kind(MASK.astype(dtype), np.diag([-0.9, 1.1, 3, 1]), dtype=np.dtype(dtype))
    image.header.set_data_dtype(dtype)
    if change:
        change(image)
    nib.save(image, tmp_path / name)
    expected = nib.load(tmp_path / name)
    mask = read_mask(tmp_path / name, (0, 1, 2, 3))
    np.testing.assert_array_equal(mask.data, np.asanyarray(expected.dataobj))
    np.testing.assert_array_equal(mask.grid.affine, expected.affine)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_an_empty_mask_holds_no_label(write_nifti, dtype):
    path = write_nifti("m.nii.gz", np.zeros((4, 5, 6), dtype))
    assert not read_mask(path, (0, 2)).data.any()


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_labels_that_are_not_asked_for(write_nifti, dtype):
    data = MASK.astype(dtype)
    data[0, 0, :3] = [2, 3, 3]
    with pytest.raises(ImageError, match=r"expected a mask with values \[1, 2\], found 3\. Is"):
        read_mask(write_nifti("x.nii.gz", data), (1, 2))


def test_a_byte_too_few(write_nifti):
    path = write_nifti("x.nii.gz", MASK)
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content[:-1]))
    with pytest.raises(ImageError, match="truncated or damaged"):
        read_mask(path)
