"""The paper's figure: sensitivity and PPV against the number of training studies, fine-tuned and de novo."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnunet_ms.learning.published import PPV, SENSITIVITY
from nnunet_ms.plotting.style import COLOURS, LINES, MARKERS, footnote, headline, style

PANELS = {SENSITIVITY: "Lesion-wise sensitivity", PPV: "Lesion-wise PPV"}
_ARMS = {"FT": "fine-tuned", "DN": "de novo"}
_ONCE = {"default": "default model", "grader": "second grader"}
ALONE = 10  # width of the axis where there is one size, in studies
_MARKS = {"arms": "*", "default": "†", "grader": "‡"}
_WORDS = {
    "arms": "* fine-tuned differs from de novo",
    "default": "† differs from the default model",
    "grader": "‡ differs from the second grader",
}


def curve_figure(means: pd.DataFrame, comparisons: pd.DataFrame, title: str) -> Figure:
    """Draw a learning curve.

    Parameters
    ----------
    means : DataFrame
        `curve_tables.CURVE` of one task.
    comparisons : DataFrame
        `curve_tables.COMPARISONS` of it, whose stars are marked.
    title : str
        What it is of: data set, task, real or simulated.

    Returns
    -------
    Figure
        Two panels; bars are standard errors over studies.
    """
    with style():
        figure = Figure(figsize=(9.0, 4.4))
        panels: Any = figure.subplots(1, 2, sharex=True, sharey=True)
        for axes, (metric, name) in zip(panels, PANELS.items(), strict=True):
            _panel(axes, means[means["metric"] == metric], comparisons[comparisons["metric"] == metric])
            axes.set(title=name, xlabel="training studies, N", ylim=(0, 1.08))
        panels[0].set_ylabel("mean over studies")
        handles, names = panels[0].get_legend_handles_labels()
        order = sorted(range(len(names)), key=lambda i: [*_ARMS.values(), *_ONCE.values()].index(names[i]))
        panels[0].legend([handles[i] for i in order], [names[i] for i in order], loc="best", fontsize=8)
        headline(figure, title)
        footnote(figure, _foot(means, comparisons))
    return figure


def _panel(axes: Axes, means: pd.DataFrame, comparisons: pd.DataFrame) -> None:
    starred = comparisons[comparisons["starred"].fillna(value=False).astype(bool)]
    marks = {(family, first) for family, first in zip(starred["family"], starred["first"], strict=True)}
    sizes = sorted({int(size) for size in means["size"].dropna()})
    step = min(b - a for a, b in pairwise(sizes)) if len(sizes) > 1 else ALONE
    apart = 0.02 * step
    for number, (arm, name) in enumerate(_ARMS.items()):
        rows = means[means["arm"] == arm].sort_values("size")
        if rows.empty:
            continue
        x = rows["size"].astype(float) + (number - 0.5) * 2 * apart
        look = {"color": COLOURS[number], "marker": MARKERS[number], "linestyle": LINES[number]}
        axes.errorbar(x, rows["mean"], rows["se"].fillna(0.0), capsize=3, label=name, **look)
        _mark(axes, arm, rows.assign(x=x), marks)
    for number, (arm, name) in enumerate(_ONCE.items(), start=2):
        for mean in means.loc[means["arm"] == arm, "mean"].dropna():
            axes.axhline(mean, color=COLOURS[number], linestyle=LINES[number], linewidth=1.2, label=name)
    _stars(axes, means, sizes, marks)
    axes.set_xticks(sizes)
    if sizes:
        axes.set_xlim(sizes[0] - 0.3 * step, sizes[-1] + 0.3 * step)


def _mark(axes: Axes, arm: str, rows: pd.DataFrame, marks: set[tuple[str, str]]) -> None:
    """Write daggers beside the points that differ from what was scored once."""
    for x, size, mean in zip(rows["x"], rows["size"], rows["mean"], strict=True):
        text = "".join(_MARKS[family] for family in _ONCE if (family, f"{arm} {size}") in marks)
        if text and pd.notna(mean):
            side = -1 if arm == "FT" else 1
            shown = axes.annotate(text, (x, mean), xytext=(4 * side, -11), textcoords="offset points", fontsize=8)
            shown.set_horizontalalignment("right" if side < 0 else "left")


def _stars(axes: Axes, means: pd.DataFrame, sizes: list[int], marks: set[tuple[str, str]]) -> None:
    """Write a star above each size at which the arms differ."""
    tops: Mapping[Any, float] = (means["mean"] + means["se"].fillna(0.0)).groupby(means["size"]).max()
    for size in sizes:
        if ("arms", f"FT {size}") in marks:
            axes.text(size, tops[size] + 0.01, _MARKS["arms"], ha="center", va="bottom", fontsize=13, fontweight="bold")


def _foot(means: pd.DataFrame, comparisons: pd.DataFrame) -> str:
    trained = means[means["arm"].isin(list(_ARMS))]
    families = [words for family, words in _WORDS.items() if (comparisons["family"] == family).any()]
    undefined = means.groupby("metric")["n_undefined"].sum()
    studies = _range(trained["n"] + trained["n_undefined"])
    once = means[~means["arm"].isin(list(_ARMS)) & (means["metric"] == SENSITIVITY)]
    beside = f" ({', '.join(f'{_ONCE[arm]} {n}' for arm, n in zip(once['arm'], once['n'], strict=True))})"
    return (
        f"Mean and standard error over {studies} studies per point{beside if len(once) else ''}. Rule wahlig2023: "
        f"26-connected, any shared voxel.\n{'; '.join(families)}: t tests, Bonferroni within each family, below .05.\n"
        f"In no mean, of all models together: PPV of {int(undefined.get(PPV, 0))} studies without any prediction, "
        f"sensitivity of {int(undefined.get(SENSITIVITY, 0))} without any lesion."
    )


def _range(counts: pd.Series) -> str:
    low, high = (int(counts.min()), int(counts.max())) if len(counts) else (0, 0)
    return str(low) if low == high else f"{low} to {high}"
