"""The two-panel figure: what stands in it, taken back out of it."""

import numpy as np
import pytest

from nnunet_ms.learning.curve_figure import curve_figure
from nnunet_ms.learning.curve_tables import curve_table
from nnunet_ms.plotting.style import save_figure
from tests.learning.made_up import scores, tables


def test_two_panels_hold_means_errors_lines_and_stars():
    _, means, comparisons = tables()
    figure = curve_figure(means, comparisons, "made-up data")
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Lesion-wise sensitivity", "Lesion-wise PPV"]
    for axes, metric in zip(figure.axes, ("sensitivity", "ppv"), strict=True):
        for container, arm in zip(axes.containers, ("FT", "DN"), strict=True):
            rows = means[(means["metric"] == metric) & (means["arm"] == arm)]
            line, _, (bars,) = container.lines
            assert np.allclose(line.get_ydata(), rows["mean"])
            lengths = [end[1] - start[1] for start, end in bars.get_segments()]
            assert np.allclose(lengths, 2 * rows["se"])
        horizontal = [line.get_ydata()[0] for line in axes.lines if list(line.get_xdata()) == [0, 1]]
        once = means[(means["metric"] == metric) & means["arm"].isin(["default", "grader"])]
        assert horizontal == once["mean"].tolist()
        starred = comparisons[(comparisons["metric"] == metric) & comparisons["starred"].fillna(False)]  # noqa: FBT003
        stars = sum(text.get_text() == "*" for text in axes.texts)
        daggers = "".join(text.get_text() for text in axes.texts)
        assert stars == (starred["family"] == "arms").sum()
        assert daggers.count("†") == (starred["family"] == "default").sum()
        assert daggers.count("‡") == (starred["family"] == "grader").sum()
    assert (comparisons["starred"].fillna(False) & (comparisons["family"] == "arms")).sum() >= 1  # noqa: FBT003


def test_the_foot_says_n_rule_and_what_is_left_out():
    _, means, comparisons = tables((("DN", 10, 2), ("DN", 10, 5)))
    figure = curve_figure(means, comparisons, "made-up data")
    foot = " ".join(figure.get_supxlabel().split())
    assert "over 12 studies per point (default model 4, second grader 4)" in foot
    assert "Rule wahlig2023" in foot
    assert (
        "In no mean, of all models together: PPV of 2 studies without any prediction, sensitivity of 0 without" in foot
    )


def test_points_of_one_size_stand_beside_each_other_under_their_star():
    _, means, comparisons = tables()
    figure = curve_figure(means[(means["size"] == 10) | means["size"].isna()], comparisons, "made-up data")
    for axes in figure.axes:
        x = [container.lines[0].get_xdata()[0] for container in axes.containers]
        low, high = axes.get_xlim()
        assert abs(x[1] - x[0]) < 0.1 * (high - low)
        assert (x[0] + x[1]) / 2 == pytest.approx((low + high) / 2)


@pytest.mark.parametrize(
    "keep",
    [
        lambda t: t["arm"] == "FT",
        lambda t: (t["arm"] == "DN") & (t["size"] == 10),
        lambda t: t["arm"].isin(["FT", "DN"]) & (t["subset"] == 0),
        lambda t: (t["arm"] == "grader") | (t["arm"] == "FT"),
    ],
    ids=["one arm", "one point", "one subset", "no default"],
)
def test_parts_of_a_curve_are_drawn_too(tmp_path, keep):
    table = scores()
    means = curve_table(table[keep(table)], 12, 4)
    figure = curve_figure(means, tables()[2].iloc[:0], "made-up data")
    assert all(path.stat().st_size for path in save_figure(figure, tmp_path, "curve"))
