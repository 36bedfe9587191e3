"""Heat maps of several raters: agreement of every pair, and detection by lesion size against the majority."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnunet_ms.analysis.evaluation.cohort_metrics import ALL_SIZES
from nnunet_ms.analysis.evaluation.matching import Rule
from nnunet_ms.arrays import Floats
from nnunet_ms.plotting.style import footnote, headline, style

SHOWN = ("dice", "ltpr", "lfpr", "sensl", "ppvl", "f1", "lesion_f1", "lppv", "ndsc")  # at most three of them
LOW_IS_GOOD = ("lfpr",)
_DARK = 0.6  # share of the colour scale above which text is white


def shown_metrics(rule: Rule) -> list[str]:
    """The metrics of a rule that its heat map shows: Dice and detection where it has them."""
    return [name for name in SHOWN if name in rule.metrics][:3]


def matrix_figure(matrix: pd.DataFrame, rule: Rule, readers: Sequence[str], columns: Sequence[str]) -> Figure:
    """Draw one heat map per metric: who reads in the rows, whom he is compared with in the columns.

    Parameters
    ----------
    matrix : pandas.DataFrame
        Rows of `rater_tables.RATER_MATRIX` of one lesion type and rule.
    rule : Rule
        For the title, and which metrics are drawn.
    readers, columns : sequence of str
        Order of rows and columns.

    Returns
    -------
    Figure
        Each cell the mean over cases that both have, two decimals; where that is not the number of cases in most
        cells, n below it. Dark is good in every panel.
    """
    metrics = shown_metrics(rule)
    first = matrix.iloc[0]
    with style():
        figure = Figure(figsize=(2.2 + 0.66 * len(columns), 1.9 + len(metrics) * (0.5 + 0.4 * len(readers))))
        panels = np.ravel(figure.subplots(len(metrics), 1, sharex=True))
        for axes, metric in zip(panels, metrics, strict=True):
            rows = matrix[matrix["metric"] == metric]
            values, counts = (_grid(rows, name, readers, columns) for name in ("mean", "n_cases"))
            _heat(axes, values, metric in LOW_IS_GOOD, _cells(values, counts))
            axes.set(title=metric.upper() if metric != "dice" else "Dice")
            axes.set_yticks(range(len(readers)), readers)
        panels[-1].set_xticks(range(len(columns)), [_words(name) for name in columns], rotation=45, ha="right")
        panels[-1].set_xlabel("against")
        note = f" ({first['data_note']} data)" if first["data_note"] else ""
        title = f"{first['lesion_type']}: raters against each other and against their consensus{note}"
        headline(figure, f"{title}\nrule {rule.name}: {rule.description}")
        footnote(figure, _footer(matrix))
    return figure


def sizes_figure(sizes: pd.DataFrame, rule: Rule, readers: Sequence[str], versus: str) -> Figure:
    """Draw LTPR and LFPR by lesion size of every reader against one consensus.

    Parameters
    ----------
    sizes : pandas.DataFrame
        Rows of `rater_tables.RATER_SIZES` of one lesion type, rule and `versus`.
    rule : Rule
        For the title.
    readers : sequence of str
        Order of the rows.
    versus : str
        The consensus.

    Returns
    -------
    Figure
        Lesions pooled over cases, their number below each rate.
    """
    first = sizes.iloc[0]
    bins = list(dict.fromkeys([*(name for name in sizes["size_bin"] if name != ALL_SIZES), ALL_SIZES]))
    panels = {"ltpr": "reference_lesions", "lfpr": "predicted_lesions"}
    with style():
        figure = Figure(figsize=(2.6 + 1.6 * len(bins), 2.1 + 0.42 * len(readers)))
        for axes, (metric, count) in zip(np.ravel(figure.subplots(1, 2)), panels.items(), strict=True):
            values, counts = (_grid(sizes, name, readers, bins, "size_bin") for name in (metric, count))
            texts = [[_rate(v, n) for v, n in zip(*rows, strict=True)] for rows in zip(values, counts, strict=True)]
            _heat(axes, values, metric in LOW_IS_GOOD, texts)
            axes.set(title=metric.upper(), xlabel="lesion size (voxels)")
            axes.set_xticks(range(len(bins)), bins)
            axes.set_yticks(range(len(readers)), readers)
        note = f" ({first['data_note']} data)" if first["data_note"] else ""
        headline(
            figure,
            f"{first['lesion_type']}: by lesion size, against {_words(versus)}{note}\nrule {rule.name}: "
            f"{rule.description}",
        )
        footnote(
            figure,
            "Below each rate the number of lesions, pooled over cases. LTPR by size in the consensus, LFPR "
            "by size in the rater's mask.",
        )
    return figure


def _grid(
    rows: pd.DataFrame, name: str, readers: Sequence[str], columns: Sequence[str], across: str = "versus"
) -> Floats:
    table = rows.pivot_table(index="rater", columns=across, values=name, aggfunc="first")
    return table.reindex(index=list(readers), columns=list(columns)).to_numpy(np.float64)


def _heat(axes: Axes, values: Floats, low_is_good: bool, texts: Sequence[Sequence[str]]) -> None:
    shade = np.where(np.isnan(values), 0.0, 1 - values if low_is_good else values)
    axes.imshow(
        np.ma.masked_invalid(np.where(np.isnan(values), np.nan, shade)), cmap="Blues", vmin=0, vmax=1.25, aspect="auto"
    )
    for (row, column), value in np.ndenumerate(shade):
        colour = "white" if value > _DARK * 1.25 else "black"
        axes.text(column, row, texts[row][column], ha="center", va="center", fontsize=7.5, color=colour)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(length=0)


def _cells(values: Floats, counts: Floats) -> list[list[str]]:
    known = counts[~np.isnan(counts)]
    usual = float(np.median(known)) if known.size else 0.0
    return [
        [_cell(value, n, usual) for value, n in zip(*rows, strict=True)] for rows in zip(values, counts, strict=True)
    ]


def _cell(value: float, n: float, usual: float) -> str:
    if np.isnan(n):
        return ""
    return ("–" if np.isnan(value) else f"{value:.2f}") + ("" if n == usual else f"\nn={n:.0f}")


def _rate(value: float, n: float) -> str:
    return "" if np.isnan(n) else f"{'–' if np.isnan(value) else f'{value:.2f}'}\n{n:.0f}"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _footer(matrix: pd.DataFrame) -> str:
    counts = matrix["n_cases"]
    usual = int(counts.median())
    text = f"Means over the cases that both have, n = {usual}"
    if counts.min() < counts.max():
        text += f" where no other n stands (from {counts.min()} to {counts.max()})"
    return f"{text}. Dark is good.\nMajority and STAPLE contain the rater's own mask, majority of others does not."
