"""What the report's figures share: a drawing with its caption, sizes of text, a table under an axis."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnunet_ms.analysis.endpoints.statistic_rows import value_of
from nnunet_ms.analysis.trial.keys import week_text
from nnunet_ms.analysis.trial.settings import TrialSettings

PANEL_INCHES = 4.4
SMALL = 8
GREY = "0.35"


@dataclass(frozen=True)
class Drawing:
    """A figure with its file stem, a caption, and a text for those who cannot see it."""

    stem: str
    figure: Figure
    caption: str
    alt: str


@dataclass(frozen=True)
class TableRow:
    """One line of the small table under an axis: a label, its colour, and one text per week."""

    label: str
    texts: list[str]
    colour: str = "black"


def new_figure(width: float, height: float, settings: TrialSettings) -> Figure:
    """Return an empty figure, marked where data are simulated; width and height in inches."""
    figure = Figure(figsize=(width, height))  # not pyplot's, which keeps every figure in memory and needs a display
    if settings.simulated:
        figure.suptitle("SIMULATED DATA", x=0.995, ha="right", fontsize=SMALL, fontweight="bold", color="#9A4A00")
    return figure


def by_week(rows: pd.DataFrame, name: str, weeks: Sequence[float]) -> list[float]:
    """Return a statistic at each week; NaN where it is absent."""
    return [value_of(rows, stat_name=name, visit=week_text(week)) for week in weeks]


def under_axis(axes: Axes, weeks: Sequence[float], rows: Sequence[TableRow], show_labels: bool) -> None:
    """Write a table whose columns stand under their weeks (the axis's ticks become these weeks)."""
    axes.set_xticks(list(weeks), [f"{week:g}" for week in weeks])
    below = axes.get_xaxis_transform()
    for line, row in enumerate(rows):
        offset = (0, -34 - 11 * line)  # points: under tick labels and axis label, whatever the panel's size
        for week, text in zip(weeks, row.texts, strict=True):
            axes.annotate(
                text, (week, 0), xycoords=below, xytext=offset, textcoords="offset points",
                ha="center", va="top", fontsize=SMALL, color=row.colour, annotation_clip=False,
            )  # fmt: skip
        if show_labels:
            axes.annotate(
                row.label, (0, 0), xycoords="axes fraction", xytext=(-14, offset[1]), textcoords="offset points",
                ha="right", va="top", fontsize=SMALL, color=row.colour, annotation_clip=False,
            )  # fmt: skip


def km_line(axes: Axes, curve: pd.DataFrame, colour: str, line: str, label: str) -> None:
    """Draw one Kaplan-Meier step line in percent, with ticks where patients are censored."""
    weeks = np.array([0.0, *curve["week"]])
    percent = 100 * np.array([1.0, *curve["survival"]])
    axes.step(weeks, percent, where="post", color=colour, linestyle=line, label=label)
    leaving = -np.diff([*curve["n_risk"], 0])
    censored = curve[leaving > curve["n_event"]] if len(curve) else curve
    axes.plot(censored["week"], 100 * censored["survival"], "|", color=colour, markersize=5)
