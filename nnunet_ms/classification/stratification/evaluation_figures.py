"""Figures of models of disability: ROC, calibration, decision curve, and a forest of strategies and baselines."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnunet_ms.classification.stratification.evaluation_tables import (
    AT_HALF,
    POOLED,
    WITHIN_FIELD,
    scores_of,
)
from nnunet_ms.classification.stratification.judged_scans import JudgedScans, Model
from nnunet_ms.plotting.style import COLOURS, LINES, MARKERS, footnote, headline, style
from nnunet_ms.statistics.roc import roc_curve

CONSTANT = "majority"  # one probability: no curve
_FOREST = (
    (POOLED, AT_HALF, "balanced_accuracy", "balanced accuracy at .5", 0.5),
    (POOLED, "", "roc_auc", "ROC AUC", 0.5),
    (WITHIN_FIELD, "", "roc_auc", "ROC AUC within field strength", 0.5),
)
WIDE = "95 % intervals over patients, widened where models were trained in folds on them."


def evaluation_figures(
    judged: JudgedScans, results: pd.DataFrame, groups: pd.DataFrame, benefit: pd.DataFrame, data_note: str
) -> dict[str, Figure]:
    """Draw all figures, by the name of their files; each says what data it is of, and of how many.

    Parameters
    ----------
    judged : JudgedScans
    results, groups, benefit : pandas.DataFrame
        `evaluation_tables.RESULTS`, `CURVE` and `BENEFIT` of them.
    data_note : str
        What the data are, such as "simulated"; blank is shown as "data of unknown kind".

    Returns
    -------
    dict
        `strategies`, `roc`, `calibration`, `decision_curve`.
    """
    curves = [model for model in judged.models if model.name != CONSTANT]
    with style():
        return {
            "strategies": _forest(judged, results, data_note),
            "roc": _roc(judged, curves, results, data_note),
            "calibration": _calibration(judged, curves, groups, data_note),
            "decision_curve": _decision_curve(judged, curves, benefit, data_note),
        }


def whose(judged: JudgedScans, data_note: str) -> str:
    """One line of what data it is: kind, patients, scans, how many disabled.

    Examples
    --------
    >>> rows = pd.DataFrame({"patient_id": ["a", "b"], "visit": "x", "truth": [0, 1]})
    >>> whose(JudgedScans(rows, (), rows), "simulated")
    'simulated data, 2 patients, 2 scans, 1 with EDSS >= 3.0 (50.0 %)'
    """
    n, positive = len(judged.rows), int(judged.truth.sum())
    kind = f"{data_note} data" if data_note else "data of unknown kind"
    patients = judged.rows["patient_id"].nunique()
    return f"{kind}, {patients} patients, {n} scans, {positive} with EDSS >= 3.0 ({100 * positive / n:.1f} %)"


def value_of(results: pd.DataFrame, model: str, measure: str, scope: str = POOLED, decision: str = "") -> str:
    """Estimate with its interval as text; a dash where there is none."""
    row = row_of(results, model, measure, scope, decision)
    if row is None or pd.isna(row["estimate"]):
        return "–"
    interval = "" if pd.isna(row["low"]) else f" ({row['low']:.2f} to {row['high']:.2f})"
    return f"{row['estimate']:.2f}{interval}"


def row_of(
    results: pd.DataFrame, model: str, measure: str, scope: str = POOLED, decision: str = ""
) -> dict[str, Any] | None:
    """Row of `evaluation_tables.RESULTS`; None where there is none."""
    found = results[(results["model"] == model) & (results["measure"] == measure) & (results["scope"] == scope)]
    found = found[found["decision"] == decision]
    return None if found.empty else dict(found.iloc[0])


def _looks(models: Sequence[Model]) -> dict[str, dict[str, Any]]:
    """Colour and line of each model: networks in colours and whole lines first, baselines after them."""
    return {
        model.name: {"color": COLOURS[k % len(COLOURS)], "linestyle": LINES[(k // len(COLOURS)) % len(LINES)]}
        for k, model in enumerate(models)
    }


def _one_panel(data: str, title: str, note: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(9.4, 5.4))
    axes = figure.subplots()
    headline(figure, title)
    footnote(figure, f"{data}.\n{note}")
    return figure, axes


def _roc(judged: JudgedScans, models: Sequence[Model], results: pd.DataFrame, data_note: str) -> Figure:
    figure, axes = _one_panel(whose(judged, data_note), "Disability from MRI: ROC", f"Legend: area. {WIDE}")
    axes.plot([0, 1], [0, 1], color="0.5", linestyle=":", linewidth=1)
    for model in models:
        x, y = roc_curve(scores_of(judged, model))
        label = f"{model.name}\n  {value_of(results, model.name, 'roc_auc')}"
        axes.plot(x, y, label=label, **_looks(models)[model.name])
    axes.set(xlim=(-0.01, 1), ylim=(0, 1.01), xlabel="1 - specificity", ylabel="sensitivity")
    figure.legend(loc="outside right upper", fontsize=7.5)
    return figure


def _calibration(judged: JudgedScans, models: Sequence[Model], groups: pd.DataFrame, data_note: str) -> Figure:
    across = min(len(models), 4)
    down = -(-len(models) // across)
    figure = Figure(figsize=(0.6 + 2.7 * across, 1.2 + 2.6 * down))
    panels = list(np.ravel(figure.subplots(down, across, squeeze=False)))
    for empty in panels[len(models) :]:
        empty.remove()
    for number, (axes, model) in enumerate(zip(panels, models, strict=False)):
        rows = groups[groups["model"] == model.name]
        x, y = rows["mean_probability"].to_numpy(float), rows["observed"].to_numpy(float)
        reach = np.stack([y - rows["observed_low"].to_numpy(float), rows["observed_high"].to_numpy(float) - y])
        look: dict[str, Any] = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)]}
        axes.errorbar(x, y, yerr=np.maximum(reach, 0), capsize=2, linewidth=1, markersize=4, **look)
        axes.plot([0, 1], [0, 1], color="0.5", linestyle=":", linewidth=1)
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axes.set_title(model.name, fontsize=9)
        axes.tick_params(labelsize=7.5)
        axes.set_xlabel("mean probability", fontsize=8)
        axes.set_ylabel("share with EDSS >= 3.0", fontsize=8)
    headline(figure, "Disability from MRI: calibration")
    note = "Up to ten groups of equal size; bars: Wilson's 95 % intervals, scans taken as independent."
    footnote(figure, f"{whose(judged, data_note)}.\n{note}")
    return figure


def _decision_curve(judged: JudgedScans, models: Sequence[Model], benefit: pd.DataFrame, data_note: str) -> Figure:
    note = "Net benefit: true positives less false positives weighed by the threshold's odds, per scan."
    figure, axes = _one_panel(whose(judged, data_note), "Disability from MRI: decision curve", note)
    one = benefit[benefit["model"] == models[0].name]
    axes.plot(one["threshold"], one["treat_all"], color="0.3", linewidth=1, label="everybody")
    axes.axhline(0, color="0.3", linewidth=1, linestyle=":", label="nobody")
    for model in models:
        rows = benefit[benefit["model"] == model.name]
        axes.plot(rows["threshold"], rows["net_benefit"], label=model.name, **_looks(models)[model.name])
    top = max(float(benefit["net_benefit"].max()), float(judged.truth.mean()))
    axes.set(xlim=(0, 1), ylim=(-0.3 * top, 1.1 * top), xlabel="probability from which one acts", ylabel="net benefit")
    figure.legend(loc="outside right upper", fontsize=7.5)
    return figure


def _forest(judged: JudgedScans, results: pd.DataFrame, data_note: str) -> Figure:
    shown = [one for one in _FOREST if ((results["scope"] == one[0]) & (results["measure"] == one[2])).any()]
    names = [model.name for model in judged.models]
    figure = Figure(figsize=(2.8 + 3.1 * len(shown), 1.6 + 0.3 * len(names)))
    panels = list(np.ravel(figure.subplots(1, len(shown), squeeze=False, sharey=True)))
    for axes, (scope, decision, measure, title, chance) in zip(panels, shown, strict=True):
        axes.axvline(chance, color="0.5", linestyle=":", linewidth=1)
        for place, model in enumerate(judged.models):
            row = row_of(results, model.name, measure, scope, decision)
            if row is None or pd.isna(row["estimate"]):
                continue
            colour, marker = (COLOURS[1], "s") if model.is_baseline else (COLOURS[0], "o")
            if not pd.isna(row["low"]):
                axes.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=1.2)
            axes.plot(row["estimate"], place, marker, color=colour, markersize=5)
        axes.set(title=title, xlim=(0.2, 1.0))
        axes.set_title(title, fontsize=9.5)
    panels[0].set_yticks(range(len(names)), names, fontsize=9)
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    headline(figure, "Disability from MRI: networks (circles) and baselines (squares)")
    footnote(figure, f"{whose(judged, data_note)}.\n{WIDE} Dotted: chance.")
    return figure
