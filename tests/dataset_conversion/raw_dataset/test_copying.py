"""Copies and their checksums, against hashlib and gzip on the whole file."""

import gzip
import hashlib

import numpy as np
import pytest

from nnunet_ms.dataset_conversion.raw_dataset.copying import PIECE, checksum, copy_with_checksum


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 7])
def test_a_packed_file_is_copied_byte_by_byte(tmp_path, size):
    content = b"\x1f\x8b" + np.random.default_rng(size).bytes(size)  # by these two bytes it is known
    (tmp_path / "a.nii.gz").write_bytes(content)
    found = copy_with_checksum(tmp_path / "a.nii.gz", tmp_path / "b.nii.gz")
    assert (tmp_path / "b.nii.gz").read_bytes() == content
    assert found == hashlib.sha256(content).hexdigest() == checksum(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("size", [0, 1, PIECE, 3 * PIECE + 7])
def test_a_plain_file_is_packed_always_the_same_and_the_checksum_is_the_sources(tmp_path, size):
    content = np.random.default_rng(size).bytes(size)
    (tmp_path / "a.nii").write_bytes(content)
    for name in ("b.nii.gz", "c.nii.gz"):
        assert copy_with_checksum(tmp_path / "a.nii", tmp_path / name) == hashlib.sha256(content).hexdigest()
    packed = (tmp_path / "b.nii.gz").read_bytes()
    assert gzip.decompress(packed) == content
    assert packed == (tmp_path / "c.nii.gz").read_bytes()
    assert packed[4:8] == bytes(4)  # RFC 1952: no time stamp
    assert packed[3] == 0  # and no name
