"""Figures of survival models: curves by group of risk, Brier score over time, calibration at the horizon."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnunet_ms.classification.stratification.survival_baselines import COX
from nnunet_ms.classification.stratification.survival_results import calibration_at, networks_of, risk_at
from nnunet_ms.classification.stratification.survival_tables import PredictedSurvival
from nnunet_ms.plotting.style import COLOURS, LINES, MARKERS, footnote, headline, style
from nnunet_ms.statistics.survival import kaplan_meier, logrank

THIRDS = ("lowest third", "middle third", "highest third")
PANELS = 4  # models with a panel of their own


def survival_figures(
    predicted: PredictedSurvival, results: pd.DataFrame, horizon: float, data_note: str
) -> dict[str, Figure]:
    """Draw `risk_groups`, `brier_over_time` and `calibration`, by the names of their files.

    Parameters
    ----------
    predicted : PredictedSurvival
    results : pandas.DataFrame
        `survival_results.SURVIVAL_RESULTS` of them.
    horizon : float
        Weeks.
    data_note : str
        What the data are; blank is shown as "data of unknown kind".
    """
    with style():
        return {
            "risk_groups": _risk_groups(predicted, horizon, data_note),
            "brier_over_time": _brier(predicted, results, horizon, data_note),
            "calibration": _calibration(predicted, horizon, data_note),
        }


def told(predicted: PredictedSurvival, horizon: float, data_note: str) -> str:
    """One line of what data it is: kind, patients, events."""
    kind = f"{data_note} data" if data_note else "data of unknown kind"
    events = int(predicted.event.sum())
    inside = int((predicted.event & (predicted.weeks <= horizon)).sum())
    return f"{kind}, {len(predicted.patients)} patients, {events} with progression, {inside} of them up to the horizon"


def _look(number: int) -> dict[str, Any]:
    again = number // len(COLOURS)
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": LINES[(number + again) % len(LINES)]}


def _risk_groups(predicted: PredictedSurvival, horizon: float, data_note: str) -> Figure:
    drawn = [*networks_of(predicted), *([COX] if COX in predicted.curves else [])][:PANELS] or list(predicted.curves)[
        :1
    ]
    figure = Figure(figsize=(0.6 + 4.2 * len(drawn), 4.6))
    panels = np.ravel(figure.subplots(1, len(drawn), sharey=True, squeeze=False))
    for axes, model in zip(panels, drawn, strict=True):
        _thirds(axes, predicted, model, horizon)
    panels[0].set_ylabel("percent without confirmed progression")
    panels[0].legend(loc="lower left", fontsize=8)
    headline(figure, "Confirmed progression by third of predicted risk")
    footnote(
        figure,
        f"{told(predicted, horizon, data_note)}.\nSteps: Kaplan-Meier, ticks: censored; points: mean of the predicted "
        "curves of the same patients. Risk: out of fold, "
        f"up to week {horizon:g} (dotted line).",
    )
    return figure


def _thirds(axes: Axes, predicted: PredictedSurvival, model: str, horizon: float) -> None:
    risk = risk_at(predicted, model, horizon)
    order = np.argsort(np.argsort(risk, kind="stable"), kind="stable")  # ties of risk: by the order of patients
    group = order * len(THIRDS) // len(risk)
    for number, words in enumerate(THIRDS):
        inside = group == number
        curve = kaplan_meier(predicted.weeks[inside], predicted.event[inside], "log")
        look = _look(number)
        weeks, percent = np.array([0.0, *curve["week"]]), 100 * np.array([1.0, *curve["survival"]])
        axes.step(weeks, percent, where="post", label=f"{words}, n = {int(inside.sum())}", **look)
        censored = curve[-np.diff([*curve["n_risk"], 0]) > curve["n_event"]]
        axes.plot(censored["week"], 100 * censored["survival"], "|", color=look["color"], markersize=5)
        mean = 100 * predicted.curves[model][inside].mean(axis=0)
        axes.plot(predicted.at, mean, MARKERS[number], color=look["color"], markersize=3)
    found = logrank(predicted.weeks, predicted.event, group)
    p = f"log-rank p = {found.p:.2g}" if not found.problem else "no log-rank test"
    axes.axvline(horizon, color="0.5", linestyle=":", linewidth=1)
    axes.set(title=f"{model}, {p}", xlabel="weeks since the scan", ylim=(0, 102), xlim=(0, None))


def _brier(predicted: PredictedSurvival, results: pd.DataFrame, horizon: float, data_note: str) -> Figure:
    figure = Figure(figsize=(7.4, 4.8))
    axes = figure.subplots()
    for number, model in enumerate(predicted.curves):
        rows = results[(results["model"] == model) & (results["versus"] == "") & (results["measure"] == "brier")]
        rows = rows.sort_values("week")
        look = _look(number)
        axes.plot(
            rows["week"], rows["estimate"], marker=MARKERS[number % len(MARKERS)], markersize=3, label=model, **look
        )
        axes.fill_between(
            rows["week"],
            rows["low"].astype(float),
            rows["high"].astype(float),
            color=look["color"],
            alpha=0.08,
            linewidth=0,
        )
    axes.set(xlabel="weeks since the scan", ylabel="Brier score (lower is better)", ylim=(0, None))
    figure.legend(loc="outside right upper", fontsize=8)
    headline(figure, "Brier score over time")
    footnote(
        figure,
        f"{told(predicted, horizon, data_note)}.\nWeighted for censoring. Bands: 95 %, resampled patients. "
        "kaplan-meier predicts the same for everybody.",
    )
    return figure


def _calibration(predicted: PredictedSurvival, horizon: float, data_note: str) -> Figure:
    figure = Figure(figsize=(6.6, 5.0))
    axes = figure.subplots()
    for number, model in enumerate(predicted.curves):
        groups = [one for one in calibration_at(predicted, model, horizon) if not np.isnan(one.observed)]
        x, y = [one.predicted for one in groups], [one.observed for one in groups]
        reach = [[one.observed - one.low for one in groups], [one.high - one.observed for one in groups]]
        look = {**_look(number), "marker": MARKERS[number % len(MARKERS)], "markersize": 4}
        axes.errorbar(x, y, yerr=np.nan_to_num(np.maximum(reach, 0)), capsize=2, linewidth=1.2, label=model, **look)
    axes.plot([0, 1], [0, 1], color="0.5", linestyle=":", linewidth=1)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="mean predicted risk of a group", ylabel="observed risk (Kaplan-Meier)")
    figure.legend(loc="outside right upper", fontsize=8)
    headline(figure, f"Calibration of the risk of progression up to week {horizon:g}")
    footnote(figure, f"{told(predicted, horizon, data_note)}.\nFour groups by predicted risk. Bars: 95 % intervals.")
    return figure
