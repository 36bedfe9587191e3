"""Figure of the concordance of two raters: identity plot and Bland-Altman plots on both scales."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from nnunet_ms.arrays import Floats
from nnunet_ms.plotting.style import COLOURS, footnote, headline, style
from nnunet_ms.statistics.concordance import (
    Coefficient,
    Limits,
    Values,
    bland_altman,
    bland_altman_ratio,
    concordance_correlation,
    intraclass_correlation,
    pearson_correlation,
)

MANY = 500  # points from which they go into a vector file as a picture, so that it stays small
MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Labels:
    """What a concordance figure is of.

    `quantity` such as "T2 lesion volume", `unit` such as "ml" (blank for counts), the two raters' names, `data` such
    as "simulated" or "real" (may be blank), and one line such as the rule and what a point is.
    """

    quantity: str
    unit: str
    rater: str
    reference: str = "reference"
    data: str = ""
    footer: str = "One point per case."


def concordance_figure(reference: Values, prediction: Values, labels: Labels) -> Figure:
    """Draw both raters against each other, and their difference and ratio against their mean.

    Parameters
    ----------
    reference, prediction : (n,) floats
        One value per case and rater, in the same order; finite and >= 0.
    labels : Labels
        Stand in the title and at the axes.

    Returns
    -------
    Figure
        Left: identity plot with Pearson's r, Lin's coefficient and ICC(2,1). Middle: difference against mean. Right:
        ratio against geometric mean, on logarithmic axes; pairs with a 0 are not in it and are counted. Bands are the
        intervals of bias and limits. Without a case the panels stay empty and say so.

    Examples
    --------
    >>> labels = Labels("T2 lesion volume", "ml", "model", data="simulated")
    >>> figure = concordance_figure([4.0, 8.1, 2.2, 12.5], [4.4, 7.6, 2.0, 13.1], labels)
    >>> len(figure.axes)
    3
    """
    x, y = np.asarray(reference, dtype=np.float64), np.asarray(prediction, dtype=np.float64)
    with style():
        figure = Figure(figsize=(11.4, 4.3))
        panels = figure.subplots(1, 3)
        _identity(panels[0], x, y, labels)
        _difference(panels[1], x, y, labels)
        _ratio(panels[2], x, y, labels)
        data = f" ({labels.data} data)" if labels.data else ""
        headline(
            figure,
            f"{labels.quantity}: {labels.rater} against {labels.reference}{data}, n = {x.size}",
        )
        bands = "Bands: 95 % intervals of bias and limits, cases taken as independent."
        footnote(figure, f"{labels.footer} {bands}")
    return figure


def _identity(axes: Axes, x: Floats, y: Floats, labels: Labels) -> None:
    unit = f" ({labels.unit})" if labels.unit else ""
    axes.set(title="Agreement", xlabel=f"{labels.reference}{unit}", ylabel=f"{labels.rater}{unit}")
    if x.size == 0:
        _nothing(axes)
        return
    top = 1.06 * max(float(x.max()), float(y.max()), 1e-9)
    axes.plot([0, top], [0, top], color="0.5", linestyle=":", linewidth=1)
    axes.scatter(x, y, s=16, color=COLOURS[0], alpha=0.6, linewidths=0, rasterized=x.size > MANY)
    axes.set(xlim=(0, top), ylim=(0, top), aspect="equal")
    coefficients = {
        "r": pearson_correlation(x, y),
        "CCC": concordance_correlation(x, y),
        "ICC(2,1)": intraclass_correlation(np.column_stack([x, y])),
    }
    lines = [f"{name} {_with_interval(value)}" for name, value in coefficients.items()]
    axes.text(0.03, 0.98, "\n".join(lines), transform=axes.transAxes, va="top", fontsize=8)


def _difference(axes: Axes, x: Floats, y: Floats, labels: Labels) -> None:
    unit = f" ({labels.unit})" if labels.unit else ""
    axes.set(
        title="Bland-Altman, difference",
        xlabel=f"mean of both{unit}",
        ylabel=f"{labels.rater} {MINUS} {labels.reference}{unit}",
    )
    if x.size == 0:
        _nothing(axes)
        return
    axes.scatter((x + y) / 2, y - x, s=16, color=COLOURS[0], alpha=0.6, linewidths=0, rasterized=x.size > MANY)
    _draw_limits(axes, bland_altman(x, y), 0.0)


def _ratio(axes: Axes, x: Floats, y: Floats, labels: Labels) -> None:
    unit = f" ({labels.unit})" if labels.unit else ""
    both = (x > 0) & (y > 0)
    left_out = f", {np.count_nonzero(~both)} with a 0 left out" if not both.all() else ""
    axes.set(
        title=f"Bland-Altman, ratio{left_out}",
        xlabel=f"geometric mean of both{unit}",
        ylabel=f"{labels.rater} / {labels.reference}",
    )
    if not both.any():
        _nothing(axes)
        return
    axes.set(xscale="log", yscale="log")
    axes.scatter(
        np.sqrt(x[both] * y[both]),
        y[both] / x[both],
        s=16,
        color=COLOURS[0],
        alpha=0.6,
        linewidths=0,
        rasterized=x.size > MANY,
    )
    _draw_limits(axes, bland_altman_ratio(x, y), 1.0)
    spread = float(np.ptp(np.log(y[both] / x[both])))
    fine = (1.0, 2.0, 5.0) if spread > np.log(4) else (1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 7.0, 8.0, 9.0)
    for axis, steps in ((axes.xaxis, (1.0,)), (axes.yaxis, fine)):
        axis.set_major_locator(LogLocator(subs=steps, numticks=9))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())


def _draw_limits(axes: Axes, limits: Limits, agreement: float) -> None:
    axes.axhline(agreement, color="0.5", linestyle=":", linewidth=1)
    if np.isnan(limits.bias):
        return
    for name, line in (("bias", "-"), ("lower", "--"), ("upper", "--")):
        value = getattr(limits, name)
        axes.axhline(value, color=COLOURS[1], linestyle=line, linewidth=1.2)
        axes.axhspan(
            getattr(limits, f"{name}_low"), getattr(limits, f"{name}_high"), color=COLOURS[1], alpha=0.12, linewidth=0
        )
        axes.annotate(
            _short(value),
            (1.0, value),
            xycoords=("axes fraction", "data"),
            xytext=(-2, 2),
            textcoords="offset points",
            ha="right",
            va="bottom",
            fontsize=8,
            bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.5},
        )


def _nothing(axes: Axes) -> None:
    axes.text(0.5, 0.5, "no case", transform=axes.transAxes, ha="center", va="center", color="0.4")


def _with_interval(value: Coefficient) -> str:
    if np.isnan(value.estimate):
        return "undefined"
    interval = "" if np.isnan(value.low) else f" ({_short(value.low, 3)} to {_short(value.high, 3)})"
    return f"{_short(value.estimate, 3)}{interval}"


def _short(value: float, digits: int | None = None) -> str:
    text = f"{value:.{digits}f}" if digits is not None else f"{value:.3g}"
    return text.replace("-", MINUS)
