"""Forest plot of the ratios of several trials: one line per endpoint, rater and trial, side by side, none pooled."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from nnunet_ms.analysis.report.figures.drawing import GREY, SMALL, Drawing
from nnunet_ms.analysis.report.figures.main_estimates import Effect, effect_line, ratio_limits
from nnunet_ms.analysis.report.wording import over
from nnunet_ms.comparison.compared_trial import ComparedTrial
from nnunet_ms.comparison.effects import RATIOS
from nnunet_ms.comparison.trial_tables import NAMES, heading
from nnunet_ms.plotting.style import style

STEM = "forest"
_HEAD, _GAP = 1.0, 0.4  # heights of an endpoint's heading and of the space above it, in lines


def forest(trials: Sequence[ComparedTrial], effects: pd.DataFrame, pooled: pd.DataFrame) -> Drawing | None:
    """Draw the ratios with their intervals; None where nothing is estimable.

    Parameters
    ----------
    trials : sequence of ComparedTrial
        Their order gives colours and markers.
    effects : pandas.DataFrame
        Columns of `effects.EFFECTS`.
    pooled : pandas.DataFrame
        Columns of `effects.POOLED`; without rows unless it was asked for.
    """
    groups = [(title, lines) for title, lines in _groups(trials, effects, pooled) if lines]
    if not groups:
        return None
    everything = [effect for _, lines in groups for effect in lines]
    height = sum(_HEAD + _GAP + len(lines) for _, lines in groups)
    with style():
        figure = Figure(figsize=(9.6, 1.4 + 0.27 * height))
        axes = figure.subplots()
        place, ticks, headings = 0.0, [], []
        for title, lines in groups:
            place += _GAP
            ticks.append((place, title))
            headings.append(title)
            place += _HEAD
            for effect in lines:
                effect_line(axes, effect, place)
                ticks.append((place, effect.label))
                place += 1
        axes.axvline(1, color=GREY, linewidth=0.8, zorder=0)
        axes.set_xscale("log")
        ratio_limits(axes, everything)
        axes.set_yticks([at for at, _ in ticks], [label for _, label in ticks], fontsize=SMALL)
        for label in axes.get_yticklabels():
            label.set_fontweight("bold" if label.get_text() in headings else "normal")
        axes.set_ylim(place - 0.4, -0.4)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        level = f"{100 * float(trials[0].settings['level']):.6g} %"
        axes.set_xlabel(f"ratio, compared / reference arm (log axis, {level} intervals)")
        if any(trial.settings["simulated"] for trial in trials):
            figure.suptitle("SIMULATED DATA", x=0.995, ha="right", fontsize=SMALL, fontweight="bold", color="#9A4A00")
    return Drawing(STEM, figure, _caption(trials, pooled), "Forest plot: ratios of each endpoint, one line per trial.")


def _groups(
    trials: Sequence[ComparedTrial], effects: pd.DataFrame, pooled: pd.DataFrame
) -> Iterator[tuple[str, list[Effect]]]:
    ratios = effects[effects["stat_name"].isin(RATIOS) & effects["estimate"].notna()]
    number = {trial.name: i for i, trial in enumerate(trials)}
    heads = {trial.name: trial.head for trial in trials}
    for (endpoint, rater, name), found in ratios.groupby(["endpoint", "rater", "stat_name"], sort=False):
        by = f" by {rater}" if rater else ""
        lines = []
        for row in found.to_dict("records"):
            week = f", week {row['visit']}" if row["visit"] else ""
            label = f"{heads[row['trial']]}: {over(row['contrast'])}{week}"
            numbers = (row["estimate"], row["low"], row["high"], row["p"])
            lines.append(Effect(label, *numbers, number[row["trial"]]))
        together = pooled[(pooled["endpoint"] == endpoint) & (pooled["rater"] == rater)]
        for row in together.to_dict("records"):
            numbers = (row["estimate"], row["low"], row["high"], np.nan)
            lines.append(Effect(f"pooled, {row['model']}", *numbers, len(trials)))
        yield f"{heading(trials, str(endpoint), short=True)}{by}, {NAMES[str(name)]}", lines


def _caption(trials: Sequence[ComparedTrial], pooled: pd.DataFrame) -> str:
    text = (
        "Main effects of treatment that are ratios, as each trial's own output has them: of geometric mean T2 volume "
        "at its last visit (MMRM), of lesion rates (negative binomial), of hazards (stratified Cox where the trial has "
        "strata)."
    )
    odd = {trial.name for trial in trials if not trial.settings["simulated"]}
    if 0 < len(odd) < len(trials):
        text += " Simulated trials stand beside real ones."
    return text + (" Pooled estimates were asked for." if len(pooled) else f" {NO_POOLING}")


NO_POOLING = "No estimate is pooled over the trials."
