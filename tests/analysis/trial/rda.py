"""A reader of data frames in R's .rda files (XDR, versions 2 and 3), just large enough for a test."""

import bz2
import gzip
import lzma
import struct

import numpy as np
import pandas as pd

NA_INTEGER = -(2**31)


def read_rda(path):
    """Return name -> data frame; factors as text, dates as days."""
    raw = path.read_bytes()
    for start, module in ((b"\x1f\x8b", gzip), (b"BZh", bz2), (b"\xfd7zXZ", lzma)):
        if raw.startswith(start):
            raw = module.decompress(raw)
    assert raw[:5] in (b"RDX2\n", b"RDX3\n")
    reader = Reader(raw, 7)  # "RDX3\nX\n"
    version = reader.integer()
    reader.at += 8
    if version == 3:
        reader.at += 4 + reader.peek()
    return {k: frame(v) for k, v in reader.item().items()}


def frame(value):
    items, attributes = value
    return pd.DataFrame({name: column(v) for name, v in zip(attributes["names"][0], items, strict=True)})


def column(value):
    data, attributes = value
    if "levels" in attributes:
        levels = attributes["levels"][0]
        return [None if code == NA_INTEGER else levels[code - 1] for code in data]
    return [None if v == NA_INTEGER else v for v in data] if data and isinstance(data[0], int) else data


class Reader:
    """Walks the items of a serialised stream."""

    def __init__(self, raw, at):
        self.raw, self.at, self.symbols = raw, at, []

    def integer(self):
        self.at += 4
        return struct.unpack(">i", self.raw[self.at - 4 : self.at])[0]

    def peek(self):
        return struct.unpack(">i", self.raw[self.at : self.at + 4])[0]

    def numbers(self, kind, size):
        n = self.integer()
        self.at += n * size
        return np.frombuffer(self.raw, kind, n, self.at - n * size).tolist()

    def item(self):
        flags = self.integer()
        kind, has_attributes, has_tag = flags & 255, bool(flags & 512), bool(flags & 1024)
        if kind == 254:  # NULL
            return {}
        if kind == 255:  # a symbol seen before
            return self.symbols[(flags >> 8) - 1]
        if kind == 1:
            self.symbols.append(self.item())
            return self.symbols[-1]
        if kind == 2:
            return self.pairs(has_attributes, has_tag)
        if kind == 9:
            n = self.integer()
            self.at += max(n, 0)
            return None if n < 0 else self.raw[self.at - n : self.at].decode("latin-1")
        if kind == 238:  # ALTREP: compact or wrapped vector
            info, state, _ = self.item(), self.item(), self.item()
            name = next(iter(info.values())) if isinstance(info, dict) else info
            if "compact" in str(name):
                n, first, step = state[0]
                return [first + step * i for i in range(int(n))], {}
            return state[0] if isinstance(state, tuple) and isinstance(state[0][0], tuple) else state
        data = {
            10: lambda: self.numbers(">i4", 4),
            13: lambda: self.numbers(">i4", 4),
            14: lambda: self.numbers(">f8", 8),
            16: lambda: [self.item() for _ in range(self.integer())],
            19: lambda: [self.item() for _ in range(self.integer())],
        }[kind]()
        return data, self.item() if has_attributes else {}

    def pairs(self, has_attributes, has_tag):
        if has_attributes:
            self.item()
        tag = self.item() if has_tag else f"_{self.at}"
        value = self.item()
        rest = self.item()
        return {tag: value, **rest}
