"""Figures of two raters: Bland-Altman of volumes and counts, and the treatment effects of model against reference."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from nnunet_ms.analysis.endpoints import lesion_counts, progression_by_t2_volume, rater_concordance, t2_volume
from nnunet_ms.analysis.endpoints.statistic_rows import select, value_of
from nnunet_ms.analysis.report.figures.drawing import GREY, SMALL, Drawing, new_figure
from nnunet_ms.analysis.trial.keys import contrast_text, week_text
from nnunet_ms.analysis.trial.settings import TrialSettings
from nnunet_ms.plotting.concordance import Labels, concordance_figure
from nnunet_ms.plotting.style import COLOURS, MARKERS, style
from nnunet_ms.tables import REFERENCE

UNITS = {rater_concordance.VOLUME: "ml", rater_concordance.COUNT: ""}


@dataclass(frozen=True)
class Effect:
    """One effect as a model and the reference found it, each estimate with its limits: (estimate, low, high)."""

    label: str
    reference: tuple[float, float, float]
    model: tuple[float, float, float]


def concordance_drawings(pairs: pd.DataFrame, settings: TrialSettings) -> list[Drawing]:
    """Draw identity and Bland-Altman plots (difference, ratio) of each model and quantity.

    Parameters
    ----------
    pairs : pandas.DataFrame
        From `rater_concordance.rater_pairs`.
    settings : TrialSettings
        Says whether data are simulated.
    """
    drawings: list[Drawing] = []
    models = list(pairs["rater"].drop_duplicates())
    for (rater, quantity), rows in pairs.groupby(["rater", "quantity"], sort=False):
        title = rater_concordance.QUANTITIES[quantity]
        labels = Labels(
            title, UNITS[quantity], rater, REFERENCE, "SIMULATED" if settings.simulated else "", "One point per visit."
        )
        figure = concordance_figure(rows["reference"].to_numpy(float), rows["prediction"].to_numpy(float), labels)
        caption = (
            f"{title}, {rater} against {REFERENCE}: identity plot, Bland-Altman plots of difference and ratio with "
            f"bias and 95 % limits of agreement. n = {len(rows)} visits of {rows['patient_id'].nunique()} patients."
        )
        alt = f"Scatter plot and two Bland-Altman plots of {title} of {rater} against {REFERENCE}."
        drawings.append(Drawing(f"concordance_{quantity}_{models.index(rater) + 1}", figure, caption, alt))
    return drawings


def effects_figure(rows: pd.DataFrame, settings: TrialSettings, raters: Sequence[str]) -> Drawing:
    """Draw every treatment effect found with a model's masks against that with the reference's, with both intervals.

    Three panels: T2 volume (percentage points), lesion rate ratios, hazard ratios of log TLV. On the diagonal both
    raters tell the same.
    """
    models = [r for r in raters if r != REFERENCE]
    panels = (
        ("T2 volume", "percentage points", False, _volume_effects),
        ("Lesion counts", "rate ratio", True, _count_effects),
        ("Outcomes", "hazard ratio of log TLV", True, _hazard_effects),
    )
    several = len(models) > 1
    found = [[e for model in models for e in find(rows, settings, model, several)] for *_, find in panels]
    height = 4.4 + 0.2 * max(len(effects) for effects in found)  # the legends stand below
    with style():
        figure = new_figure(3.9 * len(panels), height, settings)
        axes_row = figure.subplots(1, len(panels))
        for axes, (title, unit, is_ratio, _), effects in zip(axes_row, panels, found, strict=True):
            axes.set_title(title)
            axes.set(xlabel=f"{REFERENCE}: {unit}", ylabel=f"{'model' if several else models[0]}: {unit}")
            _effects_panel(axes, effects, is_ratio)
        figure.draw_without_rendering()  # square panels move their legends: the layout needs a second pass
    effects_drawn = sum(map(len, found))
    caption = (
        "Treatment effects from the model's masks against the same effects from the reference's, with "
        f"{settings.analysis.level} intervals; dotted: the same effect. n = {effects_drawn} effects; those without an "
        "interval are not drawn."
    )
    alt = f"Three scatter plots of treatment effects: {', '.join(models)} against {REFERENCE}, with intervals."
    return Drawing("effects_by_rater", figure, caption, alt)


def _volume_effects(rows: pd.DataFrame, settings: TrialSettings, model: str, named: bool) -> list[Effect]:
    effects = []
    several = len(settings.compared_arms) > 1
    for arm in settings.compared_arms:
        suffix = f", {arm}" * several + f", {model}" * named
        keys = {"endpoint": t2_volume.ENDPOINT, "contrast": contrast_text(arm, settings.reference_arm)}
        for week in (week_text(w) for w in settings.weeks):
            at = {**keys, "analysis": t2_volume.BY_VISIT, "visit": week}
            effects.append(_effect(rows, f"separation, week {week}{suffix}", "separation", model, at))
        last = {**keys, "analysis": t2_volume.ANCOVA, "term": "arm"}
        effects.append(_effect(rows, f"ANCOVA{suffix}", "difference", model, last))
    return effects


def _count_effects(rows: pd.DataFrame, settings: TrialSettings, model: str, named: bool) -> list[Effect]:
    effects = []
    several = len(settings.compared_arms) > 1
    for endpoint in lesion_counts.ENDPOINTS:
        for arm in settings.compared_arms:
            keys = {
                "endpoint": endpoint.name, "analysis": lesion_counts.NEGATIVE_BINOMIAL, "term": "arm",
                "contrast": contrast_text(arm, settings.reference_arm),
            }  # fmt: skip
            label = endpoint.phrase + f", {arm}" * several + f", {model}" * named
            effects.append(_effect(rows, label, "rate_ratio", model, keys))
    return effects


def _hazard_effects(rows: pd.DataFrame, settings: TrialSettings, model: str, named: bool) -> list[Effect]:
    return [
        _effect(
            rows, outcome.upper() + f", {model}" * named, "hazard_ratio", model,
            {"endpoint": outcome, "analysis": progression_by_t2_volume.COX},
        )
        for outcome in settings.outcomes
    ]  # fmt: skip


def _effect(rows: pd.DataFrame, label: str, stat: str, model: str, keys: dict[str, str]) -> Effect:
    def of(rater: str) -> tuple[float, float, float]:
        found = select(rows, rater=rater, **keys)
        estimate, low, high = (value_of(found, stat_name=name) for name in (stat, "low", "high"))
        return estimate, low, high

    return Effect(label, of(REFERENCE), of(model))


def _effects_panel(axes: Axes, effects: Sequence[Effect], is_ratio: bool) -> None:
    known = [e for e in effects if np.isfinite([*e.reference, *e.model]).all() and (not is_ratio or _positive(e))]
    if not known:
        axes.text(0.5, 0.5, "no effect with intervals\nfrom both raters", transform=axes.transAxes, ha="center")
        return
    values = np.array([[*e.reference, *e.model] for e in known])
    for i, effect in enumerate(known):
        (x, *xs), (y, *ys) = effect.reference, effect.model
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        axes.errorbar(
            [x], [y], xerr=[[x - xs[0]], [xs[1] - x]], yerr=[[y - ys[0]], [ys[1] - y]], color=colour, marker=marker,
            markersize=6, linewidth=1, label=effect.label, linestyle="none",
        )  # fmt: skip
    low, high = float(values.min()), float(values.max())
    edges = (low / 1.1, high * 1.1) if is_ratio else (low - 0.05 * (high - low), high + 0.05 * (high - low))
    axes.plot(edges, edges, color=GREY, linestyle=":", linewidth=1, zorder=0)
    if is_ratio:
        axes.set(xscale="log", yscale="log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low > 4 else (1, 1.2, 1.5, 2, 3, 5, 7, 8, 9)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())
    axes.set(xlim=edges, ylim=edges, box_aspect=1)
    axes.legend(fontsize=SMALL, loc="upper left", bbox_to_anchor=(-0.05, -0.2), borderaxespad=0)


def _positive(effect: Effect) -> bool:
    return min(*effect.reference, *effect.model) > 0
