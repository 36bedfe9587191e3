"""Figures of rim classifiers: ROC with its beginning, precision and recall, counts per visit, calibration."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nnunet_ms.classification.rim.evaluation_tables import POOLED, scores_of
from nnunet_ms.classification.rim.scored_lesions import ScoredLesions
from nnunet_ms.plotting.style import COLOURS, LINES, MARKERS, footnote, headline, style
from nnunet_ms.statistics.calibration import calibration_groups
from nnunet_ms.statistics.ranked_areas import UP_TO, precision_recall_curve
from nnunet_ms.statistics.roc import roc_curve

_INTERVALS = "Intervals: 95 %, resampled patients."


def evaluation_figures(
    scored: ScoredLesions, results: pd.DataFrame, counts: pd.DataFrame, data_note: str
) -> dict[str, Figure]:
    """Draw all figures, by the name of their files; each says what data it is of, and of how many.

    Parameters
    ----------
    scored : ScoredLesions
    results, counts : pandas.DataFrame
        `evaluation_tables.RESULTS` and `COUNTS` of them.
    data_note : str
        What the data are, such as "simulated"; blank is shown as "data of unknown kind".

    Returns
    -------
    dict
        `roc`, `precision_recall`, `calibration`; `counts` where a model decides.
    """
    drawn: dict[str, Callable[[], Figure]] = {
        "roc": lambda: _roc(scored, results, data_note),
        "precision_recall": lambda: _precision_recall(scored, results, data_note),
        "calibration": lambda: _calibration(scored, data_note),
    }
    if len(counts):
        drawn["counts"] = lambda: _counts(results, counts, data_note)
    with style():
        return {name: draw() for name, draw in drawn.items()}


def whose(scored: ScoredLesions, data_note: str) -> str:
    """One line of what data it is: kind, patients, lesions, prevalence.

    Examples
    --------
    >>> rows = pd.DataFrame({"patient_id": ["a", "b"], "visit": "x", "lesion_id": 1, "label": [0.0, 1.0]})
    >>> whose(ScoredLesions(rows, (), rows), "simulated")
    'simulated data, 2 patients, 2 lesions, 1 rim+ (50.0 %)'
    """
    n, rim = len(scored.rows), int(scored.rim.sum())
    kind = f"{data_note} data" if data_note else "data of unknown kind"
    return f"{kind}, {scored.rows['patient_id'].nunique()} patients, {n} lesions, {rim} rim+ ({100 * rim / n:.1f} %)"


def value_of(results: pd.DataFrame, model: str, measure: str) -> str:
    """Estimate with its interval as text; a dash where there is none."""
    rows = results[(results["model"] == model) & (results["versus"] == "") & (results["scope"] == POOLED)]
    rows = rows[rows["measure"] == measure]
    if rows.empty or pd.isna(rows["estimate"].iloc[0]):
        return "–"
    row = rows.iloc[0]
    interval = "" if pd.isna(row["low"]) else f" ({row['low']:.2f} to {row['high']:.2f})"
    return f"{row['estimate']:.2f}{interval}"


def _look(number: int) -> dict[str, Any]:
    """Colour and line of a model; after the sixth the same colours with other lines."""
    again = number // len(COLOURS)
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": LINES[(number + again) % len(LINES)]}


def _panels(count: int, columns: int = 2, side: float = 4.9) -> tuple[Figure, list[Axes]]:
    across, down = min(count, columns), -(-count // columns)
    figure = Figure(figsize=(0.4 + side * across, 0.6 + (side - 0.5) * down))
    panels = list(np.ravel(figure.subplots(down, across, squeeze=False)))
    for empty in panels[count:]:
        empty.remove()
    return figure, panels[:count]


def _legend(axes: Axes, place: Any) -> None:
    axes.legend(loc=place, fontsize=7.5)


def _roc(scored: ScoredLesions, results: pd.DataFrame, data_note: str) -> Figure:
    figure, (whole, start) = _panels(2)
    figure.set_figwidth(13.2)  # the legend stands beside: in the panels it would hide curves
    for axes, right in ((whole, 1.0), (start, UP_TO)):
        axes.axvspan(0, UP_TO, color="0.93", zorder=0)
        axes.plot([0, 1], [0, 1], color="0.5", linestyle=":", linewidth=1)
        axes.set(xlim=(0, right), ylim=(0, 1.02), xlabel="false-positive rate", ylabel="sensitivity")
    for number, model in enumerate(scored.models):
        scores = scores_of(scored, model)
        x, y = roc_curve(scores) if scores.is_defined else (np.zeros(0), np.zeros(0))
        areas = [value_of(results, model.name, measure) for measure in ("roc_auc", "proc_auc")]
        whole.plot(x, y, label=f"{model.name}\n  {areas[0]}, beginning {areas[1]}", **_look(number))
        start.plot(x, y, **_look(number))
    whole.set_title("ROC")
    start.set_title(f"its beginning (grey), whose area is divided by {UP_TO:g}")
    figure.legend(loc="outside right upper", fontsize=7.5)
    headline(figure, "Rim+ lesions: ROC")
    footnote(figure, f"{whose(scored, data_note)}. {_INTERVALS}\nDotted: worthless ranking, {UP_TO / 2:g} in the grey.")
    return figure


def _precision_recall(scored: ScoredLesions, results: pd.DataFrame, data_note: str) -> Figure:
    figure, (axes,) = _panels(1, side=7.0)
    figure.set_figheight(4.9)
    prevalence = float(scored.rim.mean())
    axes.axhline(prevalence, color="0.5", linestyle=":", linewidth=1, label=f"prevalence {prevalence:.3f}")
    for number, model in enumerate(scored.models):
        scores = scores_of(scored, model)
        if scores.is_defined:
            recall, precision = precision_recall_curve(scores)
            value = value_of(results, model.name, "pr_auc_average_precision")
            axes.plot(recall, precision, drawstyle="steps-pre", label=f"{model.name} {value}", **_look(number))
    axes.set(xlim=(0, 1.01), ylim=(0, 1.02), xlabel="recall (sensitivity)", ylabel="precision (PPV)")
    figure.legend(loc="outside right upper", fontsize=7.5)
    headline(figure, "Rim+ lesions: precision and recall")
    footnote(figure, f"{whose(scored, data_note)}.\nNumbers: average precision. {_INTERVALS}")
    return figure


def _counts(results: pd.DataFrame, counts: pd.DataFrame, data_note: str) -> Figure:
    models = list(dict.fromkeys(counts["model"]))
    figure, panels = _panels(len(models), 4, 3.6)
    top = float(max(counts["counted"].max(), counts["predicted"].max(), 1)) * 1.08
    for number, (axes, model) in enumerate(zip(panels, models, strict=True)):
        rows = counts[counts["model"] == model]
        same = rows.groupby(["counted", "predicted"]).size().reset_index(name="n")
        axes.plot([0, top], [0, top], color="0.5", linestyle=":", linewidth=1)
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        axes.scatter(same["counted"], same["predicted"], s=14 * np.sqrt(same["n"]) + 8, color=colour, marker=marker,
                     alpha=0.6, linewidths=0)  # fmt: skip
        lines = [
            f"{word} {value_of(results, model, f'prl_count_{name}')}"
            for word, name in (("MSE", "mse"), ("r", "r"), ("CCC", "ccc"))
        ]
        axes.text(0.03, 0.98, "\n".join(lines), transform=axes.transAxes, va="top", fontsize=8)
        axes.set(title=model, xlim=(-0.04 * top, top), ylim=(-0.04 * top, top), xlabel="rim+ lesions counted")
        axes.set_ylabel("predicted")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    headline(figure, "Rim+ lesions per visit")
    one = counts[counts["model"] == models[0]]
    kind = f"{data_note} data" if data_note else "data of unknown kind"
    footnote(
        figure,
        f"{kind}, {one['patient_id'].nunique()} patients, {len(one)} visits, {one['counted'].sum()} rim+ of "
        f"{one['lesions'].sum()} lesions.\nSize of a point: number of visits there. Visits without a lesion are not "
        "in it.\nIntervals, 95 %: MSE over resampled patients, r Fisher's, CCC Lin's.",
    )
    return figure


def _calibration(scored: ScoredLesions, data_note: str) -> Figure:
    figure, (axes, near) = _panels(2)
    top = 0.02
    for number, model in enumerate(scored.models):
        groups = calibration_groups(scored.rim, model.probability)
        x, y = [group.mean_probability for group in groups], [group.observed for group in groups]
        reach = [
            [group.observed - group.observed_low for group in groups],
            [group.observed_high - group.observed for group in groups],
        ]
        look: dict[str, Any] = {**_look(number), "marker": MARKERS[number % len(MARKERS)], "markersize": 4}
        for one in (axes, near):
            one.errorbar(x, y, yerr=np.maximum(reach, 0), capsize=2, linewidth=1.2, label=model.name, **look)
        top = max(top, *(value for value in (*x[:-1], *y[:-1])), 0.02) if len(groups) > 1 else 1.0
    for one, right in ((axes, 1.0), (near, min(1.1 * top, 1.0))):
        one.plot([0, 1], [0, 1], color="0.5", linestyle=":", linewidth=1)
        one.set(xlim=(0, right), ylim=(0, right), xlabel="mean probability of a group", ylabel="share of rim+")
    axes.set_title("calibration")
    near.set_title("the same, enlarged: all but the highest groups")
    _legend(axes, "upper left")
    headline(figure, "Rim+ lesions: calibration")
    footnote(
        figure,
        f"{whose(scored, data_note)}.\nTen groups of equal size; equal probabilities stay together. Bars: Wilson's "
        "95 % intervals, lesions taken as independent.",
    )
    return figure
