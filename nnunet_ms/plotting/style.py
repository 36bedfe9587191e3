"""One plotting style: colour-blind safe, readable in grey by line style and marker, deterministic files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from nnunet_ms.outputs import whole_file

# Okabe M, Ito K. Color Universal Design, 2008; ordered by falling contrast on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LINES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P")

_STYLE: Any = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "savefig.dpi": 150,
    "svg.fonttype": "path",
    "text.parse_math": False,  # an arm called "$50" is no formula
    "svg.hashsalt": "nnunet_ms",  # the same figure gives the same bytes
}


@contextmanager
def style() -> Iterator[None]:
    """Draw inside this block in the house style, without touching the caller's settings.

    Examples
    --------
    >>> before = mpl.rcParams["font.size"]
    >>> with style():
    ...     mpl.rcParams["svg.hashsalt"]
    'nnunet_ms'
    >>> mpl.rcParams["font.size"] == before
    True
    """
    with mpl.rc_context(_STYLE):
        yield


def save_figure(figure: Figure, folder: str | Path, stem: str) -> list[Path]:
    """Write `stem`.svg and `stem`.png, each complete or absent and free of time stamps.

    Examples
    --------
    >>> with style():
    ...     figure = Figure(figsize=(2, 2))
    ...     _ = figure.subplots().plot([0, 1], [0, 1])
    >>> [path.name for path in save_figure(figure, Path(), "line")]
    ['line.svg', 'line.png']
    """
    paths = [Path(folder) / f"{stem}{suffix}" for suffix in (".svg", ".png")]
    for path, metadata in zip(paths, ({"Date": None}, {"Software": None}), strict=True):
        with style(), whole_file(path) as partial:
            figure.savefig(partial, metadata=metadata)
        figure.set_layout_engine("none")  # laid out once: it costs as much as drawing
    return paths
