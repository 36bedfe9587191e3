"""Copy a file and take its checksum in one pass: each byte is read from the disk once."""

import gzip
import hashlib
from pathlib import Path
from typing import BinaryIO, cast

from nnunet_ms.images.packed import packing_of

PIECE = 1 << 17  # bytes: stays in the cache between reading, checksum and writing; 1 MiB takes twice as long


def copy_with_checksum(source: Path, target: Path) -> str:
    """Copy `source` to `target`, compressed if it is not; return the SHA-256 of the source as hexadecimal text.

    Examples
    --------
    >>> copy_with_checksum(Path("flair.nii.gz"), Path("copy.nii.gz")) == checksum(Path("copy.nii.gz"))
    True
    """
    digest, buffer = hashlib.sha256(), memoryview(bytearray(PIECE))
    packs = packing_of(source) != "gzip"
    with source.open("rb", buffering=0) as stream, target.open("wb", buffering=PIECE) as raw:
        # no time stamp and no name, so that the same voxels give the same bytes
        out = cast("BinaryIO", gzip.GzipFile("", "wb", 6, raw, mtime=0)) if packs else raw
        with out:
            while number := stream.readinto(buffer):
                digest.update(buffer[:number])
                out.write(buffer[:number])
    return digest.hexdigest()


def checksum(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal text.

    Examples
    --------
    >>> _ = Path("letter.txt").write_text("abc")
    >>> checksum(Path("letter.txt"))[:8]  # of FIPS 180-2, appendix B.1
    'ba7816bf'
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
