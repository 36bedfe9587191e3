"""The report's figures, drawn from tidy numbers; nothing is estimated here.

Colours are safe for colour-blind readers and every line also has its own dash and marker, so that print in grey works.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from nnunet_ms.analysis.endpoints import progression_by_t2_volume, t2_volume
from nnunet_ms.analysis.endpoints.statistic_rows import select, value_of
from nnunet_ms.analysis.report.figures.drawing import (
    GREY,
    PANEL_INCHES,
    SMALL,
    Drawing,
    TableRow,
    by_week,
    km_line,
    new_figure,
    under_axis,
)
from nnunet_ms.analysis.report.wording import joined, minus, number, p_text
from nnunet_ms.analysis.trial.keys import contrast_text, week_text
from nnunet_ms.analysis.trial.settings import TrialSettings
from nnunet_ms.plotting.style import COLOURS, LINES, MARKERS, style

HALVES = {progression_by_t2_volume.LOW: "TLV ≤ median", progression_by_t2_volume.HIGH: "TLV > median"}


def volume_figure(endpoints: pd.DataFrame, settings: TrialSettings, raters: Sequence[str]) -> Drawing:
    """Draw mean ± SE percent change of T2 volume by arm and visit, one panel per rater.

    Parameters
    ----------
    endpoints : pandas.DataFrame
        Rows of `t2_volume`.
    settings : TrialSettings
        Gives arms, weeks, and whether data are simulated.
    raters : sequence of str
        One panel each, in this order.
    """
    with style():
        figure = new_figure(PANEL_INCHES * len(raters) + 0.6, 4.1 + 0.16 * len(settings.arms), settings)
        panels = figure.subplots(1, len(raters), sharey=True, squeeze=False)[0]
        for axes, rater in zip(panels, raters, strict=True):
            _volume_panel(axes, endpoints, settings, rater, is_first=axes is panels[0])
        panels[0].set_ylabel("T2 lesion volume, change from baseline (%)\nmean ± SE")
    last = week_text(settings.weeks[-1])
    keys = {"endpoint": t2_volume.ENDPOINT, "analysis": t2_volume.BY_VISIT, "rater": raters[0], "visit": last}
    counts = [f"{value_of(endpoints, arm=arm, stat_name='n', **keys):.0f} {arm}" for arm in settings.arms]
    caption = (
        "Percent change of T2 lesion volume from baseline, mean ± standard error, observed cases. Under each axis: "
        "patients per arm and the separation of arms (difference of means, percentage points). "
        f"At week {last}: n = {', '.join(counts)}."
    )
    alt = f"Line plot of mean percent change of T2 lesion volume by week for {joined(settings.arms)}, one panel each "
    return Drawing("t2_volume_percent_change", figure, caption, alt + f"for {joined(raters)}.")


def effect_figure(
    endpoints: pd.DataFrame, settings: TrialSettings, raters: Sequence[str], truth: pd.DataFrame | None
) -> Drawing:
    """Draw the ANCOVA difference of arms with its interval for every rater, and the simulated truth where known."""
    week = week_text(settings.weeks[-1])
    lines, level = [(arm, rater) for arm in settings.compared_arms for rater in raters], settings.analysis.level
    with style():
        figure = new_figure(2 * PANEL_INCHES + 0.6, 1.4 + 0.42 * len(lines), settings)
        axes = figure.subplots()
        for position, (arm, rater) in enumerate(lines):
            contrast = contrast_text(arm, settings.reference_arm)
            look = raters.index(rater) if len(settings.compared_arms) == 1 else settings.compared_arms.index(arm)
            _effect_line(axes, endpoints, position, rater, contrast, look)
            if truth is not None:
                keys = {"endpoint": t2_volume.ENDPOINT, "analysis": t2_volume.ANCOVA, "stat_name": "difference"}
                _truth_mark(axes, value_of(truth, contrast=contrast, visit=week, **keys), position)
        axes.axvline(0, color=GREY, linewidth=0.8)
        labels = [f"{rater}: {minus(contrast_text(arm, settings.reference_arm))}" for arm, rater in lines]
        axes.set_yticks(range(len(lines)), labels)
        axes.set_ylim(len(lines) - 0.5, -0.5)
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(f"adjusted difference in percent change at week {week} (percentage points, {level} interval)")
        if axes.get_legend_handles_labels()[0]:
            figure.legend(loc="outside upper left", fontsize=SMALL)
    keys = {"endpoint": t2_volume.ENDPOINT, "analysis": t2_volume.ANCOVA, "term": "model", "stat_name": "n"}
    n = value_of(endpoints, rater=raters[0], **keys)
    caption = (
        f"Treatment effect at week {week} from each rater's masks (ANCOVA), {level} intervals; n = {n:.0f} patients."
    )
    alt = f"Interval plot of the ANCOVA difference of arms at week {week} for {joined(raters)}."
    return Drawing("t2_volume_effect_by_rater", figure, caption, alt)


def km_figure(
    endpoints: pd.DataFrame, curves: pd.DataFrame, settings: TrialSettings, raters: Sequence[str], outcome: str
) -> Drawing:
    """Draw Kaplan-Meier curves of both halves of baseline TLV, one row of panels per rater, one column per arm.

    Parameters
    ----------
    endpoints : pandas.DataFrame
        Rows of `progression`.
    curves : pandas.DataFrame
        From `progression_by_t2_volume.km_curves`.
    settings : TrialSettings
        Gives arms and weeks.
    raters : sequence of str
        In order.
    outcome : str
        Such as "cdp24".
    """
    with style():
        columns = len(settings.arms)
        figure = new_figure(PANEL_INCHES * columns + 0.6, 3.5 * len(raters) + 0.4, settings)
        panels = figure.subplots(len(raters), columns, sharey=True, squeeze=False)
        for row, rater in zip(panels, raters, strict=True):
            for axes, arm in zip(row, settings.arms, strict=True):
                _km_panel(axes, endpoints, curves, settings, (outcome, rater, arm), is_first=axes is row[0])
            row[0].set_ylabel(f"free of {outcome.upper()} (%)")
    keys = {"endpoint": outcome, "analysis": progression_by_t2_volume.COX, "rater": raters[0]}
    n, events = (value_of(endpoints, stat_name=name, **keys) for name in ("n", "events"))
    caption = (
        f"Kaplan-Meier estimate of patients free of {outcome.upper()} in each arm, split at the median baseline T2 "
        "lesion volume of all arms; vertical ticks: censored. Under each axis: patients at risk. "
        f"n = {n:.0f} patients, {events:.0f} events."
    )
    alt = f"Kaplan-Meier curves for {joined(settings.arms)} by half of baseline T2 volume, for {joined(raters)}."
    return Drawing(f"km_{outcome}_at_median_tlv", figure, caption, alt)


def _volume_panel(axes: Axes, endpoints: pd.DataFrame, settings: TrialSettings, rater: str, is_first: bool) -> None:
    rows = select(endpoints, endpoint=t2_volume.ENDPOINT, analysis=t2_volume.BY_VISIT, rater=rater)
    weeks = (settings.baseline_week, *settings.weeks)
    table = []
    for i, arm in enumerate(settings.arms):
        of_arm = select(rows, arm=arm, contrast="")
        mean, se, n = (by_week(of_arm, name, settings.weeks) for name in ("mean", "se", "n"))
        shift = (i - (len(settings.arms) - 1) / 2) * 0.012 * (weeks[-1] - weeks[0])  # so that error bars stay apart
        look: dict[str, Any] = {
            "color": COLOURS[i],
            "linestyle": LINES[i],
            "marker": MARKERS[i],
            "markersize": 5,
            "capsize": 3,
        }
        x = np.array([weeks[0], *(np.array(weeks[1:]) + shift)])
        axes.errorbar(x, [0, *mean], yerr=[0, *np.nan_to_num(se)], label=arm, **look)
        table.append(TableRow(f"n {arm}", ["", *(f"{v:.0f}" for v in n)], COLOURS[i]))
    axes.axhline(0, color=GREY, linewidth=0.8, zorder=0)
    if is_first:
        axes.legend(loc="best")
    axes.set_title(rater)
    axes.set_xlabel("week")
    for arm in settings.compared_arms:
        gap = by_week(select(rows, contrast=contrast_text(arm, settings.reference_arm)), "separation", settings.weeks)
        label = "separation" if len(settings.compared_arms) == 1 else f"separation, {arm}"
        table.append(TableRow(label, ["", *(number(v, signed=True) for v in gap)]))
    under_axis(axes, weeks, table, show_labels=is_first)


def _effect_line(axes: Axes, endpoints: pd.DataFrame, position: int, rater: str, contrast: str, index: int) -> None:
    keys = {"endpoint": t2_volume.ENDPOINT, "analysis": t2_volume.ANCOVA, "rater": rater, "contrast": contrast}
    estimate, low, high = (value_of(endpoints, stat_name=name, **keys) for name in ("difference", "low", "high"))
    if np.isnan(estimate):
        axes.annotate("not estimable", (0.5, position), xycoords=("axes fraction", "data"), ha="center", va="center")
        return
    axes.errorbar(
        [estimate], [position], xerr=[[estimate - low], [high - estimate]],
        color=COLOURS[index % len(COLOURS)], marker=MARKERS[index % len(MARKERS)], markersize=6, capsize=4,
    )  # fmt: skip
    text = f"{number(estimate, signed=True)} ({number(low, signed=True)} to {number(high, signed=True)})"
    axes.annotate(text, (1.03, position), xycoords=("axes fraction", "data"), va="center", annotation_clip=False)


def _truth_mark(axes: Axes, value: float, position: int) -> None:
    if not np.isnan(value):
        label = "simulated truth" if position == 0 else None
        axes.plot([value] * 2, [position - 0.35, position + 0.35], color="black", linestyle=":", label=label)


def _km_panel(
    axes: Axes,
    endpoints: pd.DataFrame,
    curves: pd.DataFrame,
    settings: TrialSettings,
    keys: tuple[str, str, str],
    is_first: bool,
) -> None:
    outcome, rater, arm = keys
    rows = select(endpoints, endpoint=outcome, analysis=progression_by_t2_volume.KM, rater=rater, arm=arm)
    weeks = [0.0, *(w for w in settings.weeks if w > 0)]
    table = [TableRow("patients at risk", [""] * len(weeks))]
    for i, (term, name) in enumerate(HALVES.items()):
        of_half = select(rows, term=term)
        n, events = value_of(of_half, stat_name="n"), value_of(of_half, stat_name="events")
        curve = select(curves, rater=rater, arm=arm, term=term)
        label = f"{name} (n = {n:.0f}, {events:.0f} event{'s' * (events != 1)})"
        km_line(axes, curve, COLOURS[i], LINES[i], label)
        at_risk = by_week(of_half, "n_risk", weeks)
        table.append(TableRow(name, [f"{v:.0f}" for v in at_risk], COLOURS[i]))
    axes.set_ylim(0, 103)
    axes.set_xlim(left=0)
    axes.set_title(f"{rater}: {arm}")
    axes.set_xlabel("week")
    axes.yaxis.set_major_locator(MaxNLocator(5))
    p = value_of(rows, term=progression_by_t2_volume.LOGRANK, stat_name="p")
    test = "log-rank not estimable" if np.isnan(p) else f"log-rank {p_text(p)}"
    axes.legend(loc="lower left", fontsize=SMALL, title=test, title_fontsize=SMALL, alignment="left")
    under_axis(axes, weeks, table, show_labels=is_first)
