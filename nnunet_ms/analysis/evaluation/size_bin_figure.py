"""Figures of agreement between raters."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnunet_ms.analysis.evaluation.cohort_metrics import ALL_SIZES
from nnunet_ms.analysis.evaluation.matching import Rule
from nnunet_ms.plotting.style import COLOURS, MARKERS, footnote, headline, style
from nnunet_ms.statistics.bootstrap_interval import LEVEL, MINIMUM_PATIENTS
from nnunet_ms.tables import REFERENCE


def size_bin_figure(sizes: pd.DataFrame, rule: Rule) -> Figure:
    """Draw lesion-wise true-positive and false-positive rate by lesion size, lesion numbers below each bin.

    Parameters
    ----------
    sizes : pandas.DataFrame
        Rows of `cohort_metrics.SIZE_BINS` of one rater, lesion type and rule; the row of all sizes is drawn as a line.
    rule : Rule
        For the description in the title.

    Returns
    -------
    Figure
        Left: found / reference lesions by size in the reference. Right: false / predicted lesions by size in the
        prediction. Bars are the intervals of the table; a bin without lesions stays empty.
    """
    one = sizes.iloc[0]
    with style():
        figure = Figure(figsize=(8.6, 4.4))
        left, right = figure.subplots(1, 2, sharey=True)
        _draw(left, sizes, "ltpr", "reference_lesions", 0)
        left.set(title=f"{REFERENCE} lesions found by {one['rater']}", ylabel="LTPR = found / all")
        left.set_xlabel(f"size in the {REFERENCE} mask (voxels), n = lesions")
        _draw(right, sizes, "lfpr", "predicted_lesions", 1)
        right.set(title=f"lesions of {one['rater']} not in {REFERENCE}", ylabel="LFPR = false / all")
        right.set_xlabel(f"size in the mask of {one['rater']} (voxels), n = lesions")
        right.tick_params(labelleft=True)
        headline(figure, _title(one, rule))
        footnote(figure, _footer(sizes))
    return figure


def _draw(axes: Axes, sizes: pd.DataFrame, metric: str, count: str, series: int) -> None:
    bins = sizes[sizes["size_bin"] != ALL_SIZES]
    position = np.arange(len(bins))
    value = bins[metric].to_numpy(float)
    reach = np.abs(np.stack([value - bins[f"{metric}_low"].to_numpy(float), bins[f"{metric}_high"] - value]))
    axes.errorbar(
        position,
        value,
        yerr=reach,  # NaN draws no bar; 0 would draw one that claims certainty
        fmt=MARKERS[series],
        color=COLOURS[series],
        capsize=4,
        markersize=5,
    )
    whole = sizes.loc[sizes["size_bin"] == ALL_SIZES, metric].to_numpy(float)
    axes.axhline(whole[0], color="0.5", linestyle=":", linewidth=1)
    axes.set_xticks(position, [f"{name}\nn = {n}" for name, n in zip(bins["size_bin"], bins[count], strict=True)])
    axes.set(ylim=(-0.03, 1.03), xlim=(-0.5, len(bins) - 0.5))


def _title(one: pd.Series, rule: Rule) -> str:
    note = f" ({one['data_note']} data)" if one["data_note"] else ""
    return (
        f"{one['lesion_type']}: {one['rater']} against {REFERENCE}{note}, {one['n_cases']} cases of "
        f"{one['n_patients']} patients\nrule {rule.name}: {rule.description}"
    )


def _footer(sizes: pd.DataFrame) -> str:
    bars = f"Bars: {100 * LEVEL:g} % bootstrap interval over patients"
    if sizes[["ltpr_low", "lfpr_low"]].isna().to_numpy().any():
        bars += f" (none with fewer than {MINIMUM_PATIENTS} patients in a bin)"
    return f"{bars}. Dotted: all sizes. Lesions pooled over cases."
