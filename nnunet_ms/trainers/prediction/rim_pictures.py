"""Picture of the lesions most like a rim+ one: QSM in grey at +-150 ppb, FLAIR beside, lesion and rim outlined."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nnunet_ms.images.volumes import Grid
from nnunet_ms.lesions.rims import RIM, RimDecision
from nnunet_ms.plotting.slices import View, grey, mark_sides, outline, show, view_of
from nnunet_ms.plotting.style import COLOURS, footnote, headline, save_picture, style

WINDOW_PPB = 150.0
LESIONS, HALF_MM, AXIAL, TEXT_SIZE = 6, 14.0, 2, 9
LESION_LINE, RIM_LINE = COLOURS[5], COLOURS[1]
NAMES = {"qsm": "QSM", "flair": "FLAIR"}


def draw_rim_lesions(
    path: Path,
    channels: Mapping[str, npt.NDArray[Any]],
    labels: npt.NDArray[np.uint8],
    lesions: pd.DataFrame,
    grid: Grid,
    title: str,
    decision: RimDecision,
) -> None:
    """Write the picture of `rim_figure` as a PNG file."""
    figure = rim_figure(channels, labels, lesions, grid, title, decision)
    save_picture(figure, path, dpi=110, text_size=TEXT_SIZE)


def rim_figure(
    channels: Mapping[str, npt.NDArray[Any]],
    labels: npt.NDArray[np.uint8],
    lesions: pd.DataFrame,
    grid: Grid,
    title: str,
    decision: RimDecision,
) -> Figure:
    """Draw the lesions with the highest scores, a column each, in an axial slice through their centre.

    Parameters
    ----------
    channels : mapping
        Sequence -> (X, Y, Z) array; "qsm" in ppb and "flair" are shown, those that there are.
    labels : (X, Y, Z) uint8 array
        1 core, 2 rim.
    lesions : DataFrame
        `x_mm`, `y_mm`, `z_mm`, `rim_score` and `rim` of each lesion; may be empty: the middle slice is shown then.
    grid : Grid
        Of the arrays; slices are in radiological order (left of the picture = patient's right).
    title : str
        First line.
    decision : RimDecision
        Its threshold stands below.

    Examples
    --------
    >>> lesions = pd.DataFrame({"x_mm": [4.0], "y_mm": [4.0], "z_mm": [2.0], "rim_score": [0.8], "rim": [1]})
    >>> shown = {"qsm": np.zeros((9, 9, 5))}
    >>> grid = Grid((9, 9, 5), np.eye(4))
    >>> figure = rim_figure(shown, np.zeros((9, 9, 5), np.uint8), lesions, grid, "P1", RimDecision())
    >>> [axes.get_title() for axes in figure.axes]
    ['rim+, score 0.80']
    """
    view = view_of(grid, AXIAL)
    rows = {name: view.turned(_shades(name, channels[name])) for name in NAMES if name in channels}
    mask, chosen = view.turned(labels), lesions.nlargest(LESIONS, "rim_score") if len(lesions) else lesions
    places = _places(chosen, view) or [(0, 0, mask.shape[AXIAL] // 2)]
    with style(TEXT_SIZE):
        figure = Figure(figsize=(1.9 * max(len(places), 3) + 0.3, 2.2 * len(rows) + 1.3), facecolor="white")
        axes = figure.subplots(len(rows), len(places), squeeze=False)
        for column, place in enumerate(places):
            here = _around(view, place) if len(chosen) else view
            for row, name in enumerate(rows):
                _panel(axes[row, column], here, rows[name], mask, place[AXIAL])
            if len(chosen):
                found = chosen.iloc[column]
                sign = "rim+" if found["rim"] else "rim-"
                axes[0, column].set_title(f"{sign}, score {found['rim_score']:.2f}", fontsize=8, loc="center")
        headline(figure, f"{title}\n{_counts(lesions)}", size=10)
        lines = [Line2D([], [], color=c, label=t) for c, t in ((LESION_LINE, "lesion"), (RIM_LINE, "segmented rim"))]
        figure.legend(handles=lines, loc="outside upper right", ncols=2, fontsize=8)
        told = " above, ".join(_told(name) for name in rows)
        footnote(figure, f"{told}. Score: mean rim probability in the outer {decision.shell_mm:g} mm; rim+ from "
                         f"{decision.threshold:g}. Highest scores first.")  # fmt: skip
    return figure


def _panel(ax: Axes, view: View, shades: npt.NDArray[Any], mask: npt.NDArray[np.uint8], z: int) -> None:
    show(ax, view.picture(shades, z), view)
    mark_sides(ax, view)
    outline(ax, view.picture(mask > 0, z), view, LESION_LINE, 0.6)
    outline(ax, view.picture(mask == RIM, z), view, RIM_LINE)


def _shades(name: str, data: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    if name != "qsm":
        return grey(data)
    return np.asarray(np.clip(0.5 + data.astype(np.float64) / (2 * WINDOW_PPB), 0, 1))


def _told(name: str) -> str:
    return f"QSM in grey from -{WINDOW_PPB:g} to {WINDOW_PPB:g} ppb" if name == "qsm" else NAMES[name]


def _places(lesions: pd.DataFrame, view: View) -> list[tuple[int, int, int]]:
    """Turned voxels of the centres."""
    if lesions.empty:
        return []
    world = np.c_[lesions[["x_mm", "y_mm", "z_mm"]].to_numpy(float), np.ones(len(lesions))]
    voxels = np.rint((world @ np.linalg.inv(view.grid.affine).T)[:, :3]).astype(int)
    return [(int(x), int(y), int(z)) for x, y, z in np.clip(voxels, 0, np.array(view.grid.shape) - 1)]


def _around(view: View, place: tuple[int, int, int]) -> View:
    """The same view in a square around a place, as wide where the image ends."""
    box = []
    for middle, mm, size in zip(place, view.grid.spacing, view.grid.shape, strict=True):
        half = max(round(HALF_MM / mm), 1)
        start = min(max(middle - half, 0), max(size - 2 * half - 1, 0))
        box.append(slice(start, min(start + 2 * half + 1, size)))
    return replace(view, box=(box[0], box[1], box[2]))


def _counts(lesions: pd.DataFrame) -> str:
    return f"{len(lesions)} lesions, {int(lesions['rim'].sum()) if len(lesions) else 0} rim+"
