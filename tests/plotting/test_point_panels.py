import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from nnunet_ms.plotting.point_panels import draw_points


def points():
    rows = [("b", "one", 0.5, 0.4, 0.7), ("a", "one", 0.2, np.nan, np.nan), ("a", "two", np.nan, np.nan, np.nan),
            ("b", "two", 0.9, 0.8, 0.95)]  # fmt: skip
    return pd.DataFrame(rows, columns=["group", "series", "value", "low", "high"])


@pytest.mark.parametrize("lying", [False, True])
def test_points_stand_in_the_order_of_the_groups_with_their_limits(lying):
    axes = Figure().subplots()
    draw_points(axes, points(), ["a", "b", "c"], ["one", "two"], lying=lying)
    first, second = (container.lines for container in axes.containers)
    values = [line[0].get_xdata() if lying else line[0].get_ydata() for line in (first, second)]
    assert values[0] == pytest.approx([0.2, 0.5, np.nan], nan_ok=True)
    assert values[1] == pytest.approx([np.nan, 0.9, np.nan], nan_ok=True)
    bars = first[2][0].get_segments()
    ends = [segment[:, 0 if lying else 1] for segment in bars if len(segment) and not np.isnan(segment).any()]
    assert [list(pair) for pair in ends] == [pytest.approx([0.4, 0.7])]  # a point without limits has no bar
    places = [line[0].get_ydata() if lying else line[0].get_xdata() for line in (first, second)]
    assert (np.asarray(places[0]) < np.asarray(places[1])).all()  # series beside each other
    assert np.asarray(places).mean(axis=0) == pytest.approx([0, 1, 2])
    ticks = axes.get_yticklabels() if lying else axes.get_xticklabels()
    assert [text.get_text() for text in ticks] == ["a", "b", "c"]
