"""One plotting style: colour-blind safe, readable in grey by line style and marker, deterministic files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.style
from matplotlib.figure import Figure

from nnunet_ms.outputs import whole_file

# Okabe M, Ito K. Color Universal Design, 2008; ordered by falling contrast on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LINES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 3)))  # as many as colours
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
def style(text_size: float = 10) -> Iterator[None]:
    """Draw inside this block in the house style, without touching the caller's settings.

    It begins from matplotlib's own defaults: a user's matplotlibrc, and nnU-Net, which makes every label of the process
    2.5 times as large when it plots a training's progress, change no figure of ours.

    Parameters
    ----------
    text_size : float, optional
        Of what has no size of its own, in points.

    Examples
    --------
    >>> before = mpl.rcParams["font.size"]
    >>> with style():
    ...     mpl.rcParams["svg.hashsalt"]
    'nnunet_ms'
    >>> mpl.rcParams["font.size"] == before
    True
    """
    with mpl.style.context(["default", {**_STYLE, "font.size": text_size}]):
        yield


def headline(figure: Figure, text: str, size: float = 11) -> None:
    """Write what a figure shows above it, from the left, in bold; `size` in points.

    Examples
    --------
    >>> figure = Figure()
    >>> headline(figure, "Lesion volume, simulated data, n = 40")
    >>> figure.get_suptitle()
    'Lesion volume, simulated data, n = 40'
    """
    figure.suptitle(text, x=0.01, ha="left", fontsize=size, fontweight="bold")


def footnote(figure: Figure, text: str) -> None:
    """Write what a reader needs to know below a figure, from the left, small.

    Examples
    --------
    >>> figure = Figure()
    >>> footnote(figure, "Bars: 95 % intervals.")
    >>> figure.get_supxlabel()
    'Bars: 95 % intervals.'
    """
    figure.supxlabel(text, x=0.01, ha="left", fontsize=8)


def save_picture(figure: Figure, path: str | Path, dpi: float = 150, text_size: float = 10) -> None:
    """Write a PNG, complete or absent and free of time stamps; `dpi` are pixels per inch, `text_size` as in `style`.

    Examples
    --------
    >>> save_picture(Figure(figsize=(2, 1)), "empty.png", dpi=50)
    >>> Path("empty.png").is_file()
    True
    """
    with style(text_size), whole_file(path) as partial:  # what is drawn late, such as ticks, has the style too
        figure.savefig(partial, metadata={"Software": None}, dpi=dpi)


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
