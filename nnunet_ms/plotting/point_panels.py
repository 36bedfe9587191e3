"""Points with intervals for a few groups and several series beside each other, upright or lying."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from nnunet_ms.plotting.style import COLOURS, MARKERS

SPREAD = 0.6  # width that the series of one group share, where groups are 1 apart


def draw_points(
    axes: Axes, points: pd.DataFrame, groups: Sequence[str], series: Sequence[str] = ("",), *, lying: bool = False
) -> None:
    """Draw one point with its interval per group and series.

    Parameters
    ----------
    axes : Axes
        To draw on; its ticks become the groups.
    points : pandas.DataFrame
        `group`, `series`, `value`, `low`, `high`; what is NaN is not drawn, a point without limits has no bar.
    groups : sequence of str
        In their order from the left, or from the top.
    series : sequence of str, optional
        In their order within a group; each has its colour and marker.
    lying : bool, optional
        Groups below each other, values from left to right.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> points = pd.DataFrame({"group": ["a", "b"], "series": "", "value": [0.5, 0.7], "low": [0.4, np.nan],
    ...                        "high": [0.6, np.nan]})
    >>> axes = Figure().subplots()
    >>> draw_points(axes, points, ["a", "b"])
    >>> [label.get_text() for label in axes.get_xticklabels()]
    ['a', 'b']
    """
    place = np.arange(len(groups), dtype=float)
    for number, name in enumerate(series):
        own = points[points["series"] == name].set_index("group").reindex(list(groups))
        value = own["value"].to_numpy(float)
        reach = np.abs(np.stack([value - own["low"].to_numpy(float), own["high"].to_numpy(float) - value]))
        offset = SPREAD * ((number + 0.5) / len(series) - 0.5)
        axes.errorbar(
            value if lying else place + offset,
            place + offset if lying else value,
            **{"xerr" if lying else "yerr": reach},  # NaN draws no bar; 0 would draw one that claims certainty
            fmt=MARKERS[(number + number // len(COLOURS)) % len(MARKERS)],  # a colour comes back with another marker
            color=COLOURS[number % len(COLOURS)],
            capsize=3,
            markersize=4.5,
            label=name,
        )
    _ticks(axes, place, groups, lying=lying)


def _ticks(axes: Axes, place: np.ndarray, groups: Sequence[str], *, lying: bool) -> None:
    ends = (-0.5, len(groups) - 0.5)
    if lying:
        axes.set_yticks(place, list(groups))
        axes.set_ylim(ends[::-1])
    else:
        axes.set_xticks(place, list(groups))
        axes.set_xlim(ends)
