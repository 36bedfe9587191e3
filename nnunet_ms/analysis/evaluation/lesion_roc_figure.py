"""ROC curves of lesions: a panel per lesion type and size, a line per model."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnunet_ms.analysis.evaluation.lesion_candidates import OWN, SIZES, SMALL_ML, scores_of
from nnunet_ms.analysis.evaluation.matching import Rule
from nnunet_ms.plotting.style import COLOURS, LINES, footnote, headline, style
from nnunet_ms.statistics.roc import auc, roc_curve

_TITLES = {"all": "all sizes", "small": f"up to {SMALL_ML:g} ml", "large": f"above {SMALL_ML:g} ml"}


def roc_figure(candidates: pd.DataFrame, rule: Rule, note: str = "") -> Figure:
    """Draw the curves of every model on its own candidates."""
    types = list(dict.fromkeys(candidates["lesion_type"]))
    with style():
        figure = Figure(figsize=(3.4 * len(SIZES), 0.9 + 3.5 * max(len(types), 1)))
        panels = figure.subplots(max(len(types), 1), len(SIZES), squeeze=False)
        for line, lesion_type in zip(panels, types, strict=False):
            for axes, (size, (above, up_to)) in zip(line, SIZES.items(), strict=True):
                rows = candidates[(candidates["lesion_type"] == lesion_type) & candidates["volume_ml"].gt(above)]
                _panel(axes, rows[rows["volume_ml"] <= up_to])
                axes.set_title(f"{lesion_type}, {_TITLES[size]}")
        of_data = f", {note} data" if note else ""
        headline(figure, f"ROC of lesions{of_data}")
        footnote(
            figure,
            f"Rule {rule.name}: {rule.description}. Components: {candidates['components'].iloc[0]}.\n"
            "Score: mean probability of the component; a lesion that is not found scores 0. "
            f"False candidates are each model's own.\n{candidates['case_id'].nunique()} cases, "
            f"{candidates['patient_id'].nunique()} patients.",
        )
    return figure


def _panel(axes: Axes, rows: pd.DataFrame) -> None:
    axes.plot([0, 1], [0, 1], color="0.6", linestyle=":", linewidth=1)
    for series, rater in enumerate(dict.fromkeys(rows["rater"])):
        scores = scores_of(rows, str(rater), OWN)
        if not scores.is_defined:
            axes.plot([], [], color=COLOURS[series % 6], label=f"{rater}: undefined, {scores.negative.size} false")
            continue
        x, y = roc_curve(scores)
        label = f"{rater} {auc(scores.positive, scores.negative):.3f} ({scores.negative.size} false)"
        axes.plot(x, y, color=COLOURS[series % 6], linestyle=LINES[series % 4], label=label)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel="share of false candidates", ylabel="share of lesions")
    axes.legend(loc="lower right", fontsize=7.5)
