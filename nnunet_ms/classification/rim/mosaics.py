"""Pictures of single lesions, QSM and FLAIR side by side: those that a model is most and least certain of."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnunet_ms.arrays import Bools, SingleFloats
from nnunet_ms.images.volumes import Grid
from nnunet_ms.plotting.slices import View, mark_sides, most, outline, show, view_of
from nnunet_ms.plotting.style import COLOURS, footnote, headline, save_picture, style

WINDOW_PPB = 150.0
WINDOW_FLAIR = (-2.0, 4.0)  # standard deviations in the brain
MARGIN_MM = 10.0
COLUMNS = 4  # lesions beside each other


@dataclass(frozen=True)
class Portrait:
    """What is drawn of a lesion: QSM in ppb, z-scored FLAIR or None, and its mask, (X, Y, Z) each on `grid`; words."""

    grid: Grid
    qsm_ppb: SingleFloats
    flair: SingleFloats | None
    mask: Bools
    caption: str


def portrait_of(grid: Grid, qsm_ppb: SingleFloats, flair: SingleFloats | None, mask: Bools, caption: str) -> Portrait:
    """Cut what is drawn of a lesion out of the images of its visit, (X, Y, Z) each.

    Examples
    --------
    >>> grid = Grid((40, 40, 20), np.diag([1.0, 1.0, 2.0, 1.0]))
    >>> mask = np.zeros(grid.shape, dtype=bool)
    >>> mask[20, 20, 10] = True
    >>> portrait = portrait_of(grid, np.zeros(grid.shape, np.float32), None, mask, "a lesion")
    >>> portrait.mask.shape, portrait.grid.affine[:3, 3].tolist()
    ((21, 21, 11), [10.0, 10.0, 10.0])
    """
    margins = [math.ceil(MARGIN_MM / edge) for edge in grid.spacing]
    ends = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))[[0, -1]] for axis in range(3)]
    box = tuple(
        slice(max(int(first) - margin, 0), int(last) + margin + 1)
        for (first, last), margin in zip(ends, margins, strict=True)
    )
    affine = grid.affine.copy()
    affine[:3, 3] = grid.to_world(np.array([[part.start for part in box]]))[0]
    small = mask[box].copy()
    cut = None if flair is None else flair[box].copy()
    return Portrait(Grid(small.shape, affine), qsm_ppb[box].copy(), cut, small, caption)


def certain(rows: pd.DataFrame, count: int) -> tuple[list[int], list[int]]:
    """Which rows a model is most and least certain of.

    Parameters
    ----------
    rows : pandas.DataFrame
        With `probability` and `threshold`.
    count : int
        How many of each.

    Returns
    -------
    most, least : lists of int
        Places. The most certain are half those of the highest and half those of the lowest probability, the least
        certain those nearest to the threshold; fewer where there are fewer rows.

    Examples
    --------
    >>> rows = pd.DataFrame({"probability": [0.9, 0.1, 0.45, 0.6, 0.2], "threshold": 0.5})
    >>> certain(rows, 2)
    ([0, 1], [2, 3])
    """
    probability = rows["probability"].to_numpy(np.float64)
    falling = np.argsort(-probability, kind="stable").tolist()
    high = falling[: (count + 1) // 2]
    low = [place for place in falling[::-1] if place not in high][: count // 2]
    distance = np.abs(probability - rows["threshold"].to_numpy(np.float64))
    return high + low, np.argsort(distance, kind="stable")[:count].tolist()


def caption_of(row: pd.Series) -> str:
    """Write patient, visit and lesion, probability and decision, and the label where one is known.

    Examples
    --------
    >>> row = {"patient_id": "P1", "visit": "base", "lesion_id": 3, "probability": 0.871, "rim": 1, "label": 0.0}
    >>> print(caption_of(pd.Series(row)))
    P1 base, lesion 3
    p 0.87: rim+ (label rim-)
    """
    label = row.get("label")
    known = "no label" if label is None or pd.isna(label) else f"label {'rim+' if label == 1 else 'rim-'}"
    called = "rim+" if row["rim"] == 1 else "rim-"
    return (
        f"{row['patient_id']} {row['visit']}, lesion {row['lesion_id']}\np {row['probability']:.2f}: {called} ({known})"
    )


def draw_mosaic(portraits: Sequence[Portrait], title: str, path: str | Path) -> None:
    """Draw lesions in rows of four, each as QSM and FLAIR in the slice that has most of it, outlined.

    Parameters
    ----------
    portraits : sequence of Portrait
        At least one.
    title : str
        What they are.
    path : str or Path
        PNG.
    """
    rows = -(-len(portraits) // COLUMNS)
    with style(text_size=7):
        figure = Figure(figsize=(11, 0.7 + 1.85 * rows))
        panels = figure.subplots(rows, 2 * COLUMNS, squeeze=False)
        for axes in panels.flat:
            axes.set_axis_off()
        for place, portrait in enumerate(portraits):
            row, column = divmod(place, COLUMNS)
            _draw(panels[row, 2 * column], panels[row, 2 * column + 1], portrait)
        headline(figure, title)
        footnote(
            figure,
            f"Left of each pair QSM in grey from -{WINDOW_PPB:g} to {WINDOW_PPB:g} ppb, right FLAIR "
            "from -2 to 4 standard deviations of the brain; the lesion is outlined. One slice, through the most of it.",
        )
    save_picture(figure, path)


def _draw(left: Axes, right: Axes, portrait: Portrait) -> None:
    view = view_of(portrait.grid)
    mask = view.turned(portrait.mask)
    number = most(view.amount(mask), 1)[0]
    _panel(left, view.turned(portrait.qsm_ppb), mask, view, number, (-WINDOW_PPB, WINDOW_PPB))
    mark_sides(left, view)
    left.set_title(portrait.caption, fontsize=6.5)
    if portrait.flair is None:
        right.text(0.5, 0.5, "no FLAIR", ha="center", va="center", transform=right.transAxes)
        return
    _panel(right, view.turned(portrait.flair), mask, view, number, WINDOW_FLAIR)


def _panel(
    axes: Axes, image: npt.NDArray[Any], mask: Bools, view: View, number: int, window: tuple[float, float]
) -> None:
    show(axes, view.picture(image, number), view, vmin=window[0], vmax=window[1])
    outline(axes, view.picture(mask, number), view, COLOURS[4], linewidth=0.7)
