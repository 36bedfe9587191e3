"""Read a file, packed by gzip or not, of which is known how long it must be: no more memory than that is ever taken.

A few megabytes of gzip can hold gigabytes, and the length at the end of a gzip file counts modulo 4 GiB. Whether a file
is packed is seen from its first bytes: names say `.gz`, `.GZ` or nothing, and are wrong at times.
"""

import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import deflate

_LARGEST_RATIO = 1032  # deflate cannot compress further: a longer file is damaged
_LARGEST_GROWTH = 1.01  # what deflate cannot compress becomes longer by a few bytes per 16 KiB
_SLACK = 1 << 16  # bytes: names, comments, many members
_PIECE, _READ = 1 << 20, 1 << 16
_HEAD = 1 << 12
_GZIP = 31  # zlib's window bits for a gzip member
_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ": "xz"}


def packing_of(path: Path) -> str:
    """The program that packed a file, `gzip`, `bzip2`, `zstd` or `xz`, by its first bytes; blank for none.

    Raises
    ------
    OSError
        If it cannot be read.

    Examples
    --------
    >>> packing_of(Path("flair.nii.gz"))
    'gzip'
    """
    with path.open("rb") as stream:
        start = stream.read(8)
    return next((program for magic, program in _MAGIC.items() if start.startswith(magic)), "")


def read_promised(path: Path, promised: int) -> bytes | bytearray:
    """Content of a file, unpacked if it is packed by gzip, all checksums verified.

    Parameters
    ----------
    path : Path
        The file.
    promised : int
        Bytes that it must hold, unpacked.

    Raises
    ------
    ValueError
        If it holds less or more; nothing longer than promised is kept in memory.
    EOFError, zlib.error
        If it is truncated or damaged.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import gzip
    >>> _ = Path("zeros.gz").write_bytes(gzip.compress(bytes(10_000)))
    >>> len(read_promised(Path("zeros.gz"), 10_000))
    10000
    >>> read_promised(Path("zeros.gz"), 352)
    Traceback (most recent call last):
        ...
    ValueError: the header promises 352 bytes, the file holds more
    """
    size = path.stat().st_size
    if packing_of(path) != "gzip":
        if size != promised:
            raise ValueError(_differs(promised, f"{size}"))
        return path.read_bytes()
    if size > promised * _LARGEST_GROWTH + _SLACK:
        raise ValueError(_differs(promised, f"more (packed {size})"))
    if promised > size * _LARGEST_RATIO:
        raise ValueError(_differs(promised, f"at most {size * _LARGEST_RATIO} (packed {size})"))
    packed = path.read_bytes()
    if int.from_bytes(packed[-4:], "little") == promised:  # nearly always: one member
        try:
            return deflate.gzip_decompress(packed, promised)  # several times faster; writes no further than promised
        except deflate.DeflateError:
            pass  # several members, or damage, which the slow way names
    return _unpack(BytesIO(packed), promised)


def _unpack(packed: BinaryIO, promised: int) -> bytes:
    pieces, found = [], 0
    for piece in unpacked(packed):
        pieces.append(piece)
        found += len(piece)
        if found > promised:
            raise ValueError(_differs(promised, "more"))
    if found < promised:
        raise ValueError(_differs(promised, f"{found}"))
    return b"".join(pieces)


def unpacked(packed: BinaryIO) -> Iterator[bytes]:
    """Yield the content of all members of a gzip file in pieces of at most a mebibyte; zeros may follow them.

    Raises
    ------
    EOFError, zlib.error
        If it is truncated or damaged.

    Examples
    --------
    >>> import gzip
    >>> sum(len(piece) for piece in unpacked(BytesIO(gzip.compress(bytes(1_500_000)))))
    1500000
    """
    rest = packed.read(_READ)
    while rest:
        member = zlib.decompressobj(wbits=_GZIP)
        while not member.eof:
            yield member.decompress(rest, _PIECE)
            rest = member.unconsumed_tail or (b"" if member.eof else packed.read(_READ))
            if not rest and not member.eof:
                raise EOFError("it ends in the middle of the packed bytes")
        rest = member.unused_data.lstrip(b"\0")
        while not rest and (more := packed.read(_READ)):
            rest = more.lstrip(b"\0")


def first_bytes(path: Path, number: int) -> bytes:
    """The first bytes of a file, unpacked if it is packed by gzip; fewer if there are no more.

    Examples
    --------
    >>> len(first_bytes(Path("flair.nii.gz"), 348))
    348
    """
    is_packed = packing_of(path) == "gzip"
    with path.open("rb") as stream:
        if not is_packed:
            return stream.read(number)
        member, content = zlib.decompressobj(wbits=_GZIP), b""
        while len(content) < number and not member.eof:
            packed = member.unconsumed_tail or stream.read(_HEAD)
            if not packed:
                break
            content += member.decompress(packed, number - len(content))
        return content


def _differs(promised: int, found: str) -> str:
    return f"the header promises {promised} bytes, the file holds {found}"
