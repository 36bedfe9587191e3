"""Figures of treatment effects, drawn from tidy numbers: forest plot, counts, effect along TLV."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from nnunet_ms.analysis.endpoints import (
    effect_agreement,
    lesion_counts,
    progression_multivariable,
    progression_subgroups,
)
from nnunet_ms.analysis.endpoints.statistic_rows import select, value_of
from nnunet_ms.analysis.report.effect_names import effect_text
from nnunet_ms.analysis.report.figures.drawing import (
    GREY,
    SMALL,
    Drawing,
    by_week,
    new_figure,
)
from nnunet_ms.analysis.report.wording import interval, over, p_text, term_text
from nnunet_ms.analysis.trial.keys import contrast_text, week_text
from nnunet_ms.analysis.trial.settings import TrialSettings
from nnunet_ms.disability.confirmed_progression import OUTCOMES
from nnunet_ms.plotting.style import COLOURS, LINES, MARKERS, style


def forest_figure(rows: pd.DataFrame, settings: TrialSettings, outcome: str, arm: str) -> Drawing:
    """Draw the hazard ratio of one compared arm in all patients and subgroups; square size by events."""
    contrast = contrast_text(arm, settings.reference_arm)
    found = select(rows, endpoint=outcome, analysis=progression_subgroups.ANALYSIS, contrast=contrast)
    terms = [t for t in found["term"].drop_duplicates() if not t.endswith(": interaction")]
    most = max([value_of(found, term=t, stat_name="events") for t in terms] + [1.0])
    with style():
        figure = new_figure(9.4, 1.7 + 0.36 * len(terms), settings)
        axes = figure.subplots()
        for position, term in enumerate(terms):
            _forest_line(axes, found, term, position, most)
        axes.axvline(1, color=GREY, linewidth=0.8, zorder=0)
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xticks([0.125, 0.25, 0.5, 1, 2, 4, 8], ["0.125", "0.25", "0.5", "1", "2", "4", "8"])
        axes.set_xlim(0.1, 10)
        axes.set_yticks(range(len(terms)), [term_text(t) for t in terms])
        axes.set_ylim(len(terms) - 0.4, -1.1)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        level = settings.analysis.level
        for place, text in zip(COLUMNS, ("events / n", f"hazard ratio ({level} CI)", "interaction"), strict=True):
            _side(axes, place, -0.8, text, weight="bold")
        axes.set_xlabel(f"hazard ratio of {outcome.upper()} (log axis, {level} interval){_favours(outcome, arm)}")
    n = value_of(found, term=progression_subgroups.ALL, stat_name="n")
    number = settings.compared_arms.index(arm) + 1
    caption = (
        f"Hazard ratio of {contrast.replace(' - ', ' against ')} in subgroups; squares grow with events; arrows: the "
        f"interval leaves the axis; interaction: likelihood-ratio test, penalised where a ratio is 0 or infinite. "
        f"n = {n:.0f} patients."
    )
    alt = f"Forest plot of the hazard ratio of {outcome.upper()}, {contrast.replace(' - ', ' against ')}, by subgroup."
    return Drawing(f"forest_{outcome}" + f"_{number}" * (number > 1), figure, caption, alt)


def _favours(outcome: str, arm: str) -> str:
    """Say which side of 1 is good; of an outcome that ADTTE has under its own name nobody knows."""
    if outcome not in OUTCOMES:
        return ""
    return f": {'above' if OUTCOMES[outcome].improvement else 'below'} 1 favours {arm}"


COLUMNS = (10, 78, 190)  # points right of the axis


def _side(axes: Axes, place: float, position: float, text: str, **look: Any) -> None:
    where: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "va": "center"}
    axes.annotate(text, (1, position), (place, 0), annotation_clip=False, fontsize=SMALL, **where, **look)


def _forest_line(axes: Axes, found: pd.DataFrame, term: str, position: int, most: float) -> None:
    ratio, low, high, events, n = (
        value_of(found, term=term, stat_name=s) for s in ("hazard_ratio", "low", "high", "events", "n")
    )
    text = "not estimable"
    if np.isfinite(ratio):
        colour = "black" if term == progression_subgroups.ALL else COLOURS[0]
        left, right = max(low, 0.1), min(high, 10.0)
        axes.plot([left, right], [position] * 2, color=colour, linewidth=1.3)
        for edge, limit, marker in ((left, low, "<"), (right, high, ">")):
            if edge != limit:
                axes.plot([edge], [position], marker, color=colour, markersize=5, clip_on=False)
        if 0.1 <= ratio <= 10:
            axes.scatter([ratio], [position], s=18 + 90 * events / most, marker="s", color=colour, zorder=3)
        text = interval(ratio, low, high, 2)
    _side(axes, COLUMNS[0], position, f"{events:.0f} / {n:.0f}")
    _side(axes, COLUMNS[1], position, text)
    tests = select(found, term=f"{term.split(': ')[0]}: interaction")
    penalised = value_of(tests, stat_name="p_penalised")
    p = value_of(tests, stat_name="p") if np.isnan(penalised) else penalised
    if np.isfinite(p) and _is_first_level(found, term):
        _side(axes, COLUMNS[2], position, p_text(p))


def _is_first_level(found: pd.DataFrame, term: str) -> bool:
    factor = f"{term.split(': ')[0]}: "
    return next((t for t in found["term"] if t.startswith(factor)), "") == term


def count_figure(
    rows: pd.DataFrame, settings: TrialSettings, raters: Sequence[str], endpoint: lesion_counts.CountEndpoint
) -> Drawing:
    """Draw mean lesions per visit by arm and week, one panel per rater that has such counts."""
    found = select(rows, endpoint=endpoint.name, analysis=lesion_counts.BY_VISIT)
    raters = [rater for rater in raters if (found["rater"] == rater).any()]
    weeks = list(settings.weeks)
    with style():
        figure = new_figure(4.4 * len(raters) + 0.6, 3.9, settings)
        panels = figure.subplots(1, len(raters), sharey=True, squeeze=False)[0]
        width = 0.8 / len(settings.arms)
        for axes, rater in zip(panels, raters, strict=True):
            for i, arm in enumerate(settings.arms):
                of_arm = select(found, rater=rater, arm=arm)
                means = by_week(of_arm, "mean", weeks)
                x = np.arange(len(weeks)) + (i - (len(settings.arms) - 1) / 2) * width
                hatch = ("", "//", "..", "xx")[i % 4]  # told apart in grey too
                axes.bar(x, means, width, label=arm, color=COLOURS[i % len(COLOURS)], hatch=hatch, edgecolor="white")
                for place, mean in zip(x, means, strict=True):
                    if np.isfinite(mean):
                        axes.annotate(f"{mean:.2f}", (place, mean), ha="center", va="bottom", fontsize=SMALL)
            axes.set_xticks(range(len(weeks)), [week_text(w) for w in weeks])
            axes.set(title=rater, xlabel="week")
        panels[0].set_ylabel(f"{endpoint.phrase}\nper visit, mean")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=len(labels), fontsize=SMALL)
    visits = sum(
        value_of(found, rater=raters[0], arm=arm, visit=lesion_counts.ALL_VISITS, stat_name="visits")
        for arm in settings.arms
    )
    caption = f"{endpoint.title}: mean per visit by arm. n = {visits:.0f} follow-up visits, the same for every rater."
    return Drawing(f"{endpoint.name}_by_visit", figure, caption, f"Bars of mean {endpoint.phrase} by arm and week.")


def along_figure(
    rows: pd.DataFrame, curves: pd.DataFrame, settings: TrialSettings, raters: Sequence[str], outcome: str
) -> Drawing:
    """Draw the hazard ratio of each compared arm along baseline TLV, one line per rater."""
    with style():
        figure = new_figure(7.0, 4.0, settings)
        axes = figure.subplots()
        for rater in raters:
            for j, arm in enumerate(settings.compared_arms):
                curve = select(curves, rater=rater, arm=arm)
                label = rater if len(settings.compared_arms) == 1 else f"{rater}, {arm}"
                i = raters.index(rater) * len(settings.compared_arms) + j  # every line has a colour and a dash
                colour = COLOURS[i % len(COLOURS)]
                axes.plot(
                    curve["tlv_ml"], curve["hazard_ratio"], color=colour, linestyle=LINES[i % len(LINES)], label=label
                )
                axes.fill_between(curve["tlv_ml"], curve["low"], curve["high"], color=colour, alpha=0.15, linewidth=0)
        axes.axhline(1, color=GREY, linewidth=0.8)
        axes.set(xscale="log", yscale="log", xlabel="baseline T2 lesion volume (ml, log axis)")
        for axis, subs in ((axes.xaxis, (1, 2, 5)), (axes.yaxis, (1, 2, 5))):
            axis.set_major_locator(LogLocator(subs=subs))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())
        arms = settings.compared_arms
        ratio = over(contrast_text(arms[0], settings.reference_arm)) if len(arms) == 1 else "of arm"
        axes.set_ylabel(f"hazard ratio {ratio},\n{outcome.upper()} (log axis, {settings.analysis.level} band)")
        axes.legend(fontsize=SMALL)
    keys = {
        "endpoint": outcome,
        "analysis": progression_multivariable.MULTIVARIABLE,
        "term": "log_tlv",
        "rater": raters[0],
    }
    n, events = (value_of(rows, stat_name=name, **keys) for name in ("n", "events"))
    caption = (
        "Hazard ratio of arm along baseline T2 lesion volume (5th to 95th percentile), multivariable Cox model. "
        f"n = {n:.0f} patients, {events:.0f} with event."
    )
    return Drawing(f"arm_along_tlv_{outcome}", figure, caption, f"Hazard ratio of arm for {outcome} by lesion volume.")


def agreement_figure(rows: pd.DataFrame, settings: TrialSettings) -> Drawing:
    """Draw the differences of effects between model and reference, in units of their bootstrap standard error."""
    found = select(rows, endpoint=effect_agreement.ENDPOINT)
    keys = found[["rater", "analysis", "contrast", "visit", "term"]].drop_duplicates().to_dict("records")
    with style():
        figure = new_figure(8.6, 1.5 + 0.32 * len(keys), settings)
        axes = figure.subplots()
        labels = []
        for position, key in enumerate(keys):
            gap, low, high, se = (value_of(found, **key, stat_name=s) for s in ("difference", "low", "high", "se"))
            labels.append(f"{key['rater']}: {effect_text(key, with_contrast=len(settings.compared_arms) > 1)}")
            if np.isfinite(se) and se > 0:
                error = [[max(gap - low, 0) / se], [max(high - gap, 0) / se]]
                axes.errorbar([gap / se], [position], xerr=error, color=COLOURS[0], marker=MARKERS[0], capsize=3)
            else:
                place: dict[str, Any] = {
                    "xycoords": ("axes fraction", "data"),
                    "ha": "center",
                    "va": "center",
                    "fontsize": SMALL,
                }
                axes.annotate("not estimable", (0.5, position), **place)
        axes.axvline(0, color=GREY, linewidth=0.8)
        axes.set_yticks(range(len(keys)), labels, fontsize=SMALL)
        axes.set_ylim(len(keys) - 0.4, -0.6)
        axes.set_xlabel("effect by model minus effect by reference\n(in bootstrap standard errors)")
    caption = (
        f"Model against reference: difference of the same treatment effect, {settings.analysis.level} paired bootstrap "
        f"intervals. n = {len(keys)} effects."
    )
    return Drawing(
        effect_agreement.ENDPOINT, figure, caption, "Interval plot of differences of effects between raters."
    )
