"""Kaplan-Meier curves by arm, drawn from tidy numbers."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from nnunet_ms.analysis.endpoints import progression_by_arm
from nnunet_ms.analysis.endpoints.statistic_rows import select, value_of
from nnunet_ms.analysis.report.figures.drawing import (
    GREY,
    SMALL,
    Drawing,
    TableRow,
    by_week,
    km_line,
    new_figure,
    under_axis,
)
from nnunet_ms.analysis.report.wording import over, p_text
from nnunet_ms.analysis.trial.settings import TrialSettings
from nnunet_ms.plotting.style import COLOURS, LINES, style

STEP = 20  # percent: the axis begins at a multiple of it
ROOM = 5  # percent below the lowest curve


def km_by_arm_figure(rows: pd.DataFrame, curves: pd.DataFrame, settings: TrialSettings, outcome: str) -> Drawing:
    """Draw Kaplan-Meier curves of the arms with medians, numbers at risk and the log-rank p.

    The legend stands above the axes, so that it covers no curve. Where all curves stay high the axis begins above 0 %,
    and the caption says so. `[report] km_bands` adds the pointwise intervals.
    """
    of_outcome = select(rows, endpoint=outcome, analysis=progression_by_arm.KM)
    weeks = [0.0, *(w for w in settings.weeks if w > 0)]
    with style():
        figure = new_figure(7.6, 5.0, settings)
        axes = figure.subplots()
        table = [TableRow("patients at risk", [""] * len(weeks))]
        for i, arm in enumerate(settings.arms):
            colour, of_arm, curve = COLOURS[i % len(COLOURS)], select(of_outcome, arm=arm), select(curves, arm=arm)
            n, events = value_of(of_arm, stat_name="n"), value_of(of_arm, stat_name="events")
            km_line(axes, curve, colour, LINES[i % len(LINES)], f"{arm} (n = {n:.0f}, {events:.0f} events)")
            if settings.report.km_bands:
                _band(axes, curve, colour)
            _median_lines(axes, value_of(of_arm, stat_name="median"), colour)
            table.append(TableRow(arm, [f"{v:.0f}" for v in by_week(of_arm, "n_risk", weeks)], colour))
        lowest = _lowest(curves, with_bands=settings.report.km_bands)
        axes.set(ylim=(lowest, 103 if lowest == 0 else 100 + 0.03 * (100 - lowest)), xlabel="week")
        axes.set_ylabel(f"free of {outcome.upper()} (%)")
        axes.set_xlim(left=0)
        title = "\n".join(_logrank_texts(of_outcome, settings))
        axes.legend(
            loc="lower left", bbox_to_anchor=(0, 1.01), fontsize=SMALL, title=title, title_fontsize=SMALL,
            alignment="left", borderaxespad=0, ncols=2,
        )  # fmt: skip
        under_axis(axes, weeks, table, show_labels=True)
    total = sum(value_of(select(of_outcome, arm=arm), stat_name="n") for arm in settings.arms)
    alt = f"Kaplan-Meier curves of {outcome.upper()}, one per arm, with numbers at risk below."
    return Drawing(f"km_by_arm_{outcome}", figure, _caption(settings, outcome, total, lowest), alt)


def _caption(settings: TrialSettings, outcome: str, total: float, lowest: float) -> str:
    bands = f"; bands: pointwise {settings.analysis.level} intervals" if settings.report.km_bands else ""
    start = f" The axis begins at {lowest:.0f} %." if lowest else ""
    return (
        f"Patients free of {outcome.upper()} by arm, Kaplan-Meier; vertical ticks: censored; dotted: median{bands}. "
        f"n = {total:.0f}.{start}"
    )


def _lowest(curves: pd.DataFrame, *, with_bands: bool) -> float:
    """Percent at which the axis begins: 0 unless everything that is drawn stays well above."""
    columns = ["survival", *(["low"] if with_bands else [])]
    least = 100 * float(np.nanmin([1.0, *curves[columns].to_numpy().ravel()]))
    return float(max(0, (least - ROOM) // STEP * STEP))


def _band(axes: Axes, curve: pd.DataFrame, colour: str) -> None:
    known = curve[curve["low"].notna()]
    low, high = (100 * known[name].to_numpy() for name in ("low", "high"))
    axes.fill_between(known["week"], low, high, step="post", color=colour, alpha=0.15, linewidth=0)


def _median_lines(axes: Axes, median: float, colour: str) -> None:
    """From the axis at one half to the median and down; nothing where the curve does not reach it."""
    if np.isfinite(median):
        axes.plot([0, median, median], [50, 50, 0], linestyle=":", linewidth=0.9, color=colour)
        axes.annotate(
            f"{median:.0f}", (median, 50), xytext=(3, 3), textcoords="offset points", fontsize=SMALL, color=GREY
        )


def _logrank_texts(rows: pd.DataFrame, settings: TrialSettings) -> list[str]:
    """Return the test of each compared arm with the reference; of several arms that of all, too, by its name."""
    tests = select(rows, term=progression_by_arm.LOGRANK, stat_name="p")
    texts = []
    for contrast, p in zip(tests["contrast"], tests["stat"], strict=True):
        which = f", {over(contrast)}" if contrast else f", all {len(settings.arms)} arms"
        which *= len(settings.compared_arms) > 1
        texts.append(f"log-rank{which}: not estimable" if np.isnan(p) else f"log-rank{which} {p_text(p)}")
    return texts
