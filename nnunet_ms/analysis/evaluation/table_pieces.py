"""Long tables by way of pieces on disk, so that memory does not grow with the number of visits.

Whoever computes the rows of some cases, in whatever process, writes them as CSV text into a file of its own and hands
back where each case's rows lie in it; in the end the pieces are copied below each other, in the order of the cases.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from nnunet_ms.outputs import whole_file
from nnunet_ms.tables import csv_text


@dataclass(frozen=True)
class Piece:
    """Rows of one case: `size` bytes from `start` in the file `path`."""

    case_id: str
    path: Path
    start: int
    size: int


def write_pieces(frames: Mapping[str, pd.DataFrame], path: Path) -> list[Piece]:
    """Write each case's rows, without header, one after the other; the file is left out when there is no row at all."""
    pieces = []
    start = 0
    texts = {case_id: csv_text(frame, header=False).encode() for case_id, frame in frames.items() if len(frame)}
    for case_id, text in texts.items():
        pieces.append(Piece(case_id, path, start, len(text)))
        start += len(text)
    if texts:
        path.write_bytes(b"".join(texts.values()))
    return pieces


def join_pieces(columns: list[str], pieces: Iterable[Piece], target: Path) -> None:
    """Write a CSV table from its pieces, in their order, complete or not at all; only one piece is in memory."""
    with whole_file(target) as partial, partial.open("wb") as table:
        table.write(csv_text(pd.DataFrame(columns=columns)).encode())
        for piece in pieces:
            with piece.path.open("rb") as source:
                source.seek(piece.start)
                table.write(source.read(piece.size))
