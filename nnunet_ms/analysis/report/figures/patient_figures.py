"""Figures of the patients: the CONSORT flow, and the visits that every rater read, by arm."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from nnunet_ms.analysis.endpoints import disposition, progression_by_arm, t2_volume
from nnunet_ms.analysis.endpoints.statistic_rows import select, value_of
from nnunet_ms.analysis.report.figures.drawing import SMALL, Drawing, new_figure
from nnunet_ms.analysis.report.wording import joined
from nnunet_ms.analysis.trial.keys import week_text
from nnunet_ms.analysis.trial.settings import TrialSettings
from nnunet_ms.plotting.style import COLOURS, LINES, MARKERS, style

ARM_INCHES = 4.7
MAIN_INCHES, SIDE_INCHES = 2.5, 1.85  # widths of the boxes of a column: followed, and left out beside it
LINE_INCHES, PAD_INCHES, GAP_INCHES = 0.17, 0.2, 0.34
_ARROW: dict[str, Any] = {"arrowstyle": "-|>", "color": "black", "linewidth": 0.9, "shrinkA": 0, "shrinkB": 0}


@dataclass(frozen=True)
class _Column:
    """The boxes of one arm, from above: texts, and what leaves beside the arrow after each ("" = nobody is named)."""

    boxes: tuple[str, ...]
    leaving: tuple[str, ...]


def flow_figure(rows: pd.DataFrame, settings: TrialSettings, outcomes: Sequence[str]) -> Drawing:
    """Draw the flow of patients as CONSORT does: all, by arm, left out, followed up, analysed.

    Parameters
    ----------
    rows : pandas.DataFrame
        Rows of `disposition`, and those whose numbers of patients stand in the last boxes.
    settings : TrialSettings
        Gives arms and weeks.
    outcomes : sequence of str
        Outcomes with rows; their numbers of patients and events stand in the last boxes.
    """
    arms = settings.arms
    total = sum(_count(select(rows, endpoint=disposition.ENDPOINT), arm, disposition.IN_TABLE) for arm in arms)
    columns = [_column(rows, settings, arm, outcomes) for arm in arms]
    width, top = ARM_INCHES * len(arms), _height(f"Randomised\nn = {total:.0f}")
    height = max(_column_height(column) for column in columns) + top + 2 * GAP_INCHES + 0.4
    with style():
        figure = new_figure(width, height, settings)
        figure.set_layout_engine("none")
        axes = figure.add_axes((0, 0, 1, 1))  # one unit is one inch, so that boxes and letters fit each other
        axes.set_axis_off()
        axes.set(xlim=(0, width), ylim=(height, 0))
        centres = [ARM_INCHES * i + 0.15 + MAIN_INCHES / 2 for i in range(len(arms))]
        middle = (centres[0] + centres[-1]) / 2
        _box(axes, middle, 0.3, MAIN_INCHES, f"Randomised\nn = {total:.0f}", "bold")
        fork = 0.3 + top + GAP_INCHES / 2
        axes.plot([middle, middle], [0.3 + top, fork], color="black", linewidth=0.9)
        axes.plot([centres[0], centres[-1]], [fork, fork], color="black", linewidth=0.9)
        for x, column in zip(centres, columns, strict=True):
            _draw_column(axes, x, fork, column)
    masks = (
        " Masks: of every rater. A patient may miss one visit and be there at the next; outcomes need assessments, not "
        "masks."
    )
    caption = f"Flow of patients.{masks * _has_volumes(rows)} n = {total:.0f} patients."
    alt = f"CONSORT flow diagram with numbers: {total:.0f} patients to {joined(arms)}, left out, followed up, analysed."
    return Drawing("patient_flow", figure, caption, alt)


def completeness_figure(rows: pd.DataFrame, settings: TrialSettings) -> Drawing:
    """Draw the percentage of patients with masks of every rater at each visit, one line per arm."""
    counts = select(rows, endpoint=disposition.ENDPOINT, term=disposition.AT_VISIT)
    weeks = [settings.baseline_week, *settings.weeks]
    with style():
        figure = new_figure(6.6, 3.2, settings)
        axes = figure.subplots()
        for i, arm in enumerate(settings.arms):
            percent = [value_of(counts, arm=arm, visit=week_text(w), stat_name="percent") for w in weeks]
            n = value_of(counts, arm=arm, visit=week_text(weeks[0]), stat_name="n")
            look: dict[str, Any] = {"color": COLOURS[i % 6], "linestyle": LINES[i % 4], "marker": MARKERS[i % 6]}
            axes.plot(weeks, percent, label=f"{arm} (n = {n:.0f})", clip_on=False, **look)
        axes.set(ylim=(0, 100), xlabel="week", ylabel="patients with masks\nof every rater (%)")
        axes.set_xticks(weeks, [week_text(w) for w in weeks])
        axes.legend(loc="lower left")
    total = sum(np.nan_to_num(value_of(counts, arm=a, visit=week_text(weeks[0]), stat_name="n")) for a in settings.arms)
    caption = f"Visits with masks of every rater, percent of patients with a baseline. n = {total:.0f} patients."
    alt = f"Line plot of the percentage of patients of {joined(settings.arms)} with masks at each visit."
    return Drawing("visit_completeness", figure, caption, alt)


def _column(rows: pd.DataFrame, settings: TrialSettings, arm: str, outcomes: Sequence[str]) -> _Column:
    counts = select(rows, endpoint=disposition.ENDPOINT)
    with_baseline = _count(counts, arm, disposition.WITH_BASELINE)
    stopped = _count(counts, arm, disposition.DISCONTINUED)
    left = f"Discontinued treatment: {stopped:.0f}" if np.isfinite(stopped) else ""
    if np.isnan(with_baseline):  # no lesion table
        n = _count(counts, arm, disposition.IN_TABLE)
        return _Column((f"{arm}\nn = {n:.0f}", _analysed_text(rows, settings, arm, outcomes)), (left,))
    return _Column(
        (
            f"{arm}\nn = {_count(counts, arm, disposition.IN_TABLE):.0f}",
            f"Baseline masks\nn = {with_baseline:.0f}",
            _visit_text(counts, settings, arm),
            _analysed_text(rows, settings, arm, outcomes),
        ),
        (
            _excluded_text(counts, arm),
            left,
            "",
        ),
    )


def _height(text: str) -> float:
    return LINE_INCHES * (text.count("\n") + 1) + PAD_INCHES


def _column_height(column: _Column) -> float:
    between = [max(GAP_INCHES, _height(text) + 0.16 if text else 0.0) for text in column.leaving]
    return sum(_height(text) for text in column.boxes) + sum(between)


def _draw_column(axes: Axes, x: float, fork: float, column: _Column) -> None:
    top, start = fork + GAP_INCHES / 2, fork
    for text, leaving in zip(column.boxes, (*column.leaving, ""), strict=True):
        axes.annotate("", (x, top), (x, start), arrowprops=_ARROW)
        _box(axes, x, top, MAIN_INCHES, text, "bold" if text == column.boxes[0] else "normal")
        start = top + _height(text)
        gap = max(GAP_INCHES, _height(leaving) + 0.16 if leaving else 0.0)
        if leaving:
            side = x + 0.28 + SIDE_INCHES / 2
            axes.annotate("", (side - SIDE_INCHES / 2, start + gap / 2), (x, start + gap / 2), arrowprops=_ARROW)
            _box(axes, side, start + 0.08, SIDE_INCHES, leaving, size=SMALL)
        top = start + gap


def _excluded_text(counts: pd.DataFrame, arm: str) -> str:
    left = [(term, _count(counts, arm, term)) for term in (disposition.NO_MASK, disposition.NO_BASELINE)]
    lines = [f"{term.removeprefix('excluded: ').replace(' of every rater', '')}: {n:.0f}" for term, n in left if n > 0]
    return "\n".join([f"No baseline masks: {_count(counts, arm, disposition.EXCLUDED):.0f}", *lines])


def _visit_text(counts: pd.DataFrame, settings: TrialSettings, arm: str) -> str:
    lines = []
    for week in (week_text(w) for w in settings.weeks):
        keys = {"arm": arm, "term": disposition.AT_VISIT, "visit": week}
        n, share = (value_of(counts, stat_name=name, **keys) for name in ("n", "percent"))
        lines.append(f"Masks at week {week}: {n:.0f}" + (f" ({share:.1f} %)" if np.isfinite(share) else ""))
    return "\n".join(lines)


def _analysed_text(rows: pd.DataFrame, settings: TrialSettings, arm: str, outcomes: Sequence[str]) -> str:
    week = week_text(settings.weeks[-1])
    volume = select(rows, endpoint=t2_volume.ENDPOINT, analysis=t2_volume.BY_VISIT, arm=arm, visit=week, stat_name="n")
    lines = ["Analysed"]
    if _has_volumes(rows):
        lines.append(f"T2 volume, week {week}: {volume['stat'].iloc[0] if len(volume) else 0:.0f}")
    for outcome in outcomes:
        keys = {"endpoint": outcome, "analysis": progression_by_arm.KM, "arm": arm}
        n, events = (value_of(rows, stat_name=name, **keys) for name in ("n", "events"))
        lines.append(f"{outcome.upper()}: {n:.0f}, {events:.0f} with event")
    return "\n".join(lines)


def _has_volumes(rows: pd.DataFrame) -> bool:
    """Whether T2 volumes were analysed: not without a lesion table, nor with one of counts of change alone."""
    return bool((rows["endpoint"] == t2_volume.ENDPOINT).any())


def _count(counts: pd.DataFrame, arm: str, term: str) -> float:
    return value_of(counts, arm=arm, term=term, visit="", stat_name="n")


def _box(axes: Axes, x: float, top: float, width: float, text: str, weight: str = "normal", size: float = 9) -> None:
    height = _height(text)
    axes.add_patch(Rectangle((x - width / 2, top), width, height, facecolor="white", edgecolor="black", linewidth=0.9))
    look: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": size, "fontweight": weight, "linespacing": 1.3}
    axes.text(x, top + height / 2, text, **look)
