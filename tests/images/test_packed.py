"""No reader takes more memory than the header promises plus a little, whatever the file holds."""

import gzip
import io
import tracemalloc
import zlib

import nibabel as nib
import numpy as np
import pytest

from nnunet_ms.errors import ImageError
from nnunet_ms.images.headers import check_header
from nnunet_ms.images.packed import first_bytes, read_promised, unpacked
from nnunet_ms.images.volumes import read_mask, read_volume

VOXELS = np.arange(8 * 9 * 10).reshape(8, 9, 10).astype(np.int16)
BOMB = 64 << 20  # bytes, of zeros: 64 kB packed


SMALL = nib.Nifti1Image(VOXELS, np.eye(4)).to_bytes()


def with_tail(packed, length):
    """The same gzip file with another length at its end."""
    return packed[:-4] + (length % 2**32).to_bytes(4, "little")


def zeros(number):
    return gzip.compress(bytes(number))


def promising(shape):
    """A file whose header promises many more voxels than it holds."""
    return SMALL[:42] + np.array(shape, "<i2").tobytes() + SMALL[48:]  # dim[1:4] of the NIfTI-1 header


HOSTILE = {
    "64 MB after the voxels": ("m.nii.gz", gzip.compress(SMALL + bytes(BOMB))),
    "64 MB in a second member": ("m.nii.gz", gzip.compress(SMALL) + zeros(BOMB)),
    "64 MB, and the length of a small file": ("m.nii.gz", with_tail(gzip.compress(SMALL + bytes(BOMB)), len(SMALL))),
    "64 MB, then a member as long as promised": ("m.nii.gz", gzip.compress(SMALL + bytes(BOMB)) + gzip.compress(SMALL)),
    "a packed file much longer than its content": ("m.nii.gz", gzip.compress(SMALL) + bytes(BOMB)),
    "64 MB after the voxels, not packed": ("m.nii", SMALL + bytes(BOMB)),
    "one byte too many": ("m.nii", SMALL + b"\0"),
    "one byte too many, packed": ("m.nii.gz", gzip.compress(SMALL + b"\0")),
    "one byte too few": ("m.nii", SMALL[:-1]),
    "one byte too few, packed": ("m.nii.gz", gzip.compress(SMALL[:-1])),
    "a promise of 60 GB": ("m.nii", promising((3000, 3000, 3000))),
    "a promise of 60 GB, packed": ("m.nii.gz", gzip.compress(promising((3000, 3000, 3000)))),
    "a promise of 60 GB, and their length": (
        "m.nii.gz",
        with_tail(gzip.compress(promising((3000, 3000, 3000))), 352 + 2 * 3000**3),
    ),
    "a length of 4 GB": ("m.nii.gz", with_tail(gzip.compress(SMALL), 2**32 - 1)),
}
LIES_AT_ITS_END = {
    "64 MB, and the length of a small file",
    "64 MB, then a member as long as promised",
    "a packed file much longer than its content",
    "a promise of 60 GB, and their length",
}


# Oracle: Python's own count of the memory it gives out; the packed files themselves are at most 64 MB, of zeros.
@pytest.mark.parametrize("read", [read_volume, read_mask, check_header])
@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_sizes_are_named_and_take_no_memory(tmp_path, kind, read):
    if read is check_header and kind in LIES_AT_ITS_END:
        return  # it reads the header and the last bytes only, and `read_volume` follows it
    name, content = HOSTILE[kind]
    (tmp_path / name).write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(
            ImageError, match=r"m\.nii.*(promises \d+ bytes, the file holds (more|at most )?\d*|damaged)"
        ):
            read(tmp_path / name)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("number", [0, 1, 65_535, 65_536, 3 << 20])
@pytest.mark.parametrize("members", [1, 3])
def test_members_are_unpacked_as_gzip_does_it(tmp_path, number, members):
    # Oracle: Python's gzip module.
    content = np.random.default_rng(number).bytes(number)
    packed = b"".join(gzip.compress(content, 1) for _ in range(members)) + bytes(100)
    assert b"".join(unpacked(io.BytesIO(packed))) == gzip.decompress(packed)
    (tmp_path / "x.gz").write_bytes(packed)
    assert bytes(read_promised(tmp_path / "x.gz", number * members)) == gzip.decompress(packed)
    assert first_bytes(tmp_path / "x.gz", 100) == gzip.decompress(packed)[:100] or members > 1


def test_damage_is_an_error():
    packed = gzip.compress(np.random.default_rng(0).bytes(200_000))
    with pytest.raises(EOFError, match="in the middle"):
        list(unpacked(io.BytesIO(packed[:-20])))
    with pytest.raises(zlib.error, match="incorrect"):
        list(unpacked(io.BytesIO(packed[:-8] + b"\1" * 8)))
    with pytest.raises(zlib.error, match="incorrect header"):
        list(unpacked(io.BytesIO(packed + b"garbage")))
