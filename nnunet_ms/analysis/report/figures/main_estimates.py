"""The compact forest at the head of a report: every main effect of arm that is a ratio, one line each."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from nnunet_ms.analysis.endpoints import lesion_counts, progression_by_arm
from nnunet_ms.analysis.endpoints.statistic_rows import select, value_of
from nnunet_ms.analysis.report.figures.drawing import GREY, SMALL, Drawing, new_figure
from nnunet_ms.analysis.report.wording import interval, over, p_text
from nnunet_ms.analysis.trial.keys import contrast_text, week_text
from nnunet_ms.analysis.trial.settings import TrialSettings
from nnunet_ms.plotting.style import COLOURS, LINES, MARKERS, style

STEM = "main_estimates"
TEXT_PLACE = 8  # points right of the axis
_NOTHING = 1e-9  # instead of a limit of 0, far left of every axis


@dataclass(frozen=True)
class Effect:
    """One line: what it is of, which ratio, and the index of the compared arm."""

    label: str
    ratio: float
    low: float
    high: float
    p: float
    arm: int


def main_estimates_figure(rows: pd.DataFrame, settings: TrialSettings, raters: tuple[str, ...]) -> Drawing | None:
    """Draw the ratios with their intervals; None where nothing is estimable.

    Parameters
    ----------
    rows : pandas.DataFrame
        Columns of `tables.ENDPOINTS`.
    settings : TrialSettings
        Arms, visits and outcomes.
    raters : tuple of str
        The lines of lesions are of the first one.
    """
    effects = [one for one in _effects(rows, settings, raters[0] if raters else "") if np.isfinite(one.ratio)]
    if not effects:
        return None
    with style():
        figure = new_figure(8.6, 1.5 + 0.3 * len(effects), settings)
        axes = figure.subplots()
        for place, effect in enumerate(effects):
            effect_line(axes, effect, place)
        axes.axvline(1, color=GREY, linewidth=0.8, zorder=0)
        axes.set_xscale("log")
        ratio_limits(axes, effects)
        axes.set_yticks(range(len(effects)), [effect.label for effect in effects])
        axes.set_ylim(len(effects) - 0.5, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(f"ratio (log axis, {settings.analysis.level} intervals)")
    of = f" Lesions as {raters[0]} sees them." if raters else ""
    caption = (
        "Main effects of arm that are ratios: of geometric mean T2 volume at the last visit (MMRM), of lesion rates "
        "(negative binomial), of hazards (stratified Cox where there are strata); p values of these models."
        f"{of} Sizes of samples stand in the sections below."
    )
    return Drawing(STEM, figure, caption, "Forest plot of the main effects of arm, one line per endpoint and contrast.")


def _effects(rows: pd.DataFrame, settings: TrialSettings, rater: str) -> Iterator[Effect]:
    last = week_text(settings.weeks[-1])
    stratified = set(rows.loc[rows["analysis"] == progression_by_arm.COX_STRATIFIED, "endpoint"])
    wanted = [
        ("T2 volume", {"endpoint": "t2_volume_percent_change", "analysis": "mmrm", "visit": last}, rater,
         "geometric_mean_ratio"),
        *(
            (endpoint.title, {"endpoint": endpoint.name, "analysis": "negative_binomial", "term": "arm"}, rater,
             "rate_ratio")
            for endpoint in lesion_counts.ENDPOINTS
        ),
        *(
            (outcome.upper(), {"endpoint": outcome, "analysis": progression_by_arm.COX_STRATIFIED
                               if outcome in stratified else progression_by_arm.COX}, "", "hazard_ratio")
            for outcome in settings.outcomes
        ),
    ]  # fmt: skip
    for label, keys, of, name in wanted:
        for number, arm in enumerate(settings.compared_arms):
            contrast = contrast_text(arm, settings.reference_arm)
            found = select(rows, **keys, rater=of, contrast=contrast)
            ratio, low, high, p = (value_of(found, stat_name=stat) for stat in (name, "low", "high", "p"))
            several = f", {over(contrast)}" if len(settings.compared_arms) > 1 else ""
            yield Effect(f"{label}{several}", ratio, low, high, p, number)


def effect_line(axes: Axes, effect: Effect, place: float) -> None:
    """Draw one ratio with its interval on a log axis, and the numbers right of it."""
    colour, marker = COLOURS[effect.arm % len(COLOURS)], MARKERS[effect.arm % len(MARKERS)]
    if np.isfinite([effect.low, effect.high]).all():
        ends = [max(effect.low, _NOTHING), effect.high]
        axes.plot(ends, [place, place], color=colour, linestyle=LINES[effect.arm % len(LINES)])
    if effect.ratio > 0:
        axes.plot([effect.ratio], [place], marker, color=colour, markersize=5)
    else:  # nobody in the compared arm has any: at the edge of the axis, which has no 0
        axes.plot([0.01], [place], "<", color=colour, markersize=5, transform=axes.get_yaxis_transform())
    text = interval(effect.ratio, effect.low, effect.high, 2)
    if np.isfinite(effect.p):
        text += f"   {p_text(effect.p)}"
    axes.annotate(
        text, (1, place), (TEXT_PLACE, 0), xycoords=("axes fraction", "data"), textcoords="offset points", va="center",
        fontsize=SMALL, annotation_clip=False,
    )  # fmt: skip


def ratio_limits(axes: Axes, effects: list[Effect]) -> None:
    """Room for every estimate, and for intervals up to a tenth and ten times the outermost estimate."""
    ratios = np.array([effect.ratio for effect in effects if effect.ratio > 0] + [1.0])
    ends = np.array([[effect.low, effect.high] for effect in effects]).ravel()
    near = ends[np.isfinite(ends) & (ends > ratios.min() / 10) & (ends < ratios.max() * 10)]
    drawn = np.concatenate([ratios, near])
    axes.set_xlim(drawn.min() / 1.25, drawn.max() * 1.25)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
