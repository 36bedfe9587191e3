"""Quality-control picture of a pair of visits: baseline, follow-up, subtraction, and outlines of what changed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nnunet_ms.images.volumes import Grid
from nnunet_ms.plotting.slices import grey, mark_sides, most, outline, show, view_of
from nnunet_ms.plotting.style import COLOURS, footnote, headline, save_picture, style

ENDINGS = ("baseline", "follow-up", "subtraction")
SLICES, AXIAL, TEXT_SIZE = 4, 2, 9
WIDEST = 99.5  # percentile of the absolute difference at which the subtraction is white or black
OUTLINES = tuple(COLOURS[number] for number in (5, 4, 3, 1))  # as many as kinds of change; bright on grey
HOW = "Subtraction: follow-up minus baseline; grey is no change, white is brighter at the follow-up."
NO_VISITS = "The model's channels hold the subtraction alone: neither visit is shown."


def draw_pair(
    path: Path,
    channels: Mapping[str, npt.NDArray[Any]],
    labels: npt.NDArray[np.uint8],
    kinds: Sequence[tuple[str, int]],
    grid: Grid,
    title: str,
) -> None:
    """Write the picture of `pair_figure` as a PNG file."""
    save_picture(pair_figure(channels, labels, kinds, grid, title), path, dpi=110, text_size=TEXT_SIZE)


def pair_figure(
    channels: Mapping[str, npt.NDArray[Any]],
    labels: npt.NDArray[np.uint8],
    kinds: Sequence[tuple[str, int]],
    grid: Grid,
    title: str,
) -> Figure:
    """Draw axial slices with most change: a row each for baseline, follow-up and subtraction of the first sequence.

    Parameters
    ----------
    channels : mapping
        Name (`flair_baseline`, `flair_followup`, `flair_subtraction`) -> (X, Y, Z) array, in SD of the brain.
    labels : (X, Y, Z) uint8 array
        What changed.
    kinds : sequence of (str, int)
        Kind of change and its label.
    grid : Grid
        Of the arrays; slices are in radiological order (left of the picture = patient's right).
    title : str
        First line.

    Examples
    --------
    >>> shown = {"flair_subtraction": np.random.default_rng(0).normal(size=(8, 9, 5))}
    >>> figure = pair_figure(shown, np.zeros((8, 9, 5), np.uint8), [("new", 1)], Grid((8, 9, 5), np.eye(4)), "P1")
    >>> len(figure.axes), "neither visit is shown" in figure.get_supxlabel()
    (4, True)
    """
    view = view_of(grid, AXIAL)
    rows = {name: view.turned(data) for name, data in visits_of(channels).items()}
    turned = view.turned(labels)
    chosen = sorted(most((turned > 0).sum(axis=(0, 1)), SLICES, apart=2))
    base = {name: _shades(data, signed=name == ENDINGS[2]) for name, data in rows.items()}
    with style(TEXT_SIZE):
        figure = Figure(figsize=(2.3 * len(chosen) + 0.6, 2.5 * len(rows) + 1.2), facecolor="white")
        axes = figure.subplots(len(rows), len(chosen), squeeze=False)
        for number, (name, data) in enumerate(base.items()):
            for column, z in enumerate(chosen):
                ax = axes[number, column]
                show(ax, view.picture(data, z), view)
                mark_sides(ax, view)
                height = (view.grid.affine @ [0, 0, z, 1])[2]
                ax.set_title(f"{name}, z = {height:.0f} mm", fontsize=8, loc="center")
                for (_, value), colour in zip(kinds, OUTLINES, strict=False):
                    outline(ax, view.picture(turned == value, z), view, colour)
        headline(figure, title, size=10)
        _name_kinds(figure, labels, kinds, grid)
        footnote(figure, HOW if len(rows) > 1 else f"{HOW} {NO_VISITS}")
    return figure


def visits_of(channels: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """What the channels show of the first sequence, in the order of `ENDINGS`; both visits give the subtraction.

    Examples
    --------
    >>> list(visits_of({"flair_baseline": np.zeros(1), "flair_followup": np.ones(1), "t1_baseline": np.zeros(1)}))
    ['baseline', 'follow-up', 'subtraction']
    """
    sequence = next(iter(channels)).rpartition("_")[0]
    named = {ending: channels.get(f"{sequence}_{ending.replace('-', '')}") for ending in ENDINGS}
    first, second, difference = named.values()
    if difference is None and first is not None and second is not None:
        named[ENDINGS[2]] = second - first
    return {ending: data for ending, data in named.items() if data is not None}


def _shades(data: npt.NDArray[Any], *, signed: bool) -> npt.NDArray[np.float64]:
    """Grey values 0..1; of a subtraction no change is the middle, brighter at the follow-up is white."""
    if not signed:  # 0 outside of the brain, which is the median inside
        return np.where(data == 0, 0, grey(np.where(data == 0, data.min(), data)))
    values = np.abs(data[data != 0])
    widest = float(np.percentile(values, WIDEST)) if values.size else 1.0
    return np.asarray(np.clip(0.5 + data.astype(np.float64) / (2 * widest), 0, 1))


def _name_kinds(figure: Figure, labels: npt.NDArray[np.uint8], kinds: Sequence[tuple[str, int]], grid: Grid) -> None:
    """The legend: each kind's colour and volume."""
    lines = [
        Line2D([], [], color=colour, label=f"{name}: {(labels == value).sum() * grid.voxel_volume_ml:.2f} ml")
        for (name, value), colour in zip(kinds, OUTLINES, strict=False)
    ]
    figure.legend(handles=lines, loc="outside upper right", ncols=len(lines), fontsize=8)
