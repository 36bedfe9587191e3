import numpy as np
import pytest

from nnunet_ms.plotting.concordance import Labels, concordance_figure
from nnunet_ms.plotting.style import save_figure
from nnunet_ms.statistics.concordance import bland_altman, bland_altman_ratio

LABELS = Labels("T2 lesion volume", "ml", "net", data="simulated")


def pair(n=40):
    generator = np.random.default_rng(0)
    x = generator.gamma(1.2, 8, size=n)
    return x, x * np.exp(generator.normal(0.1, 0.3, size=n))


def test_title_says_what_the_figure_is():
    title = concordance_figure(*pair(), LABELS).get_suptitle()
    assert title == "T2 lesion volume: net against reference (simulated data), n = 40"


def test_points_and_lines_are_those_of_the_statistics():
    x, y = pair()
    figure = concordance_figure(x, y, LABELS)
    _, difference, ratio = figure.axes
    for axes, limits in ((difference, bland_altman(x, y)), (ratio, bland_altman_ratio(x, y))):
        drawn = sorted(float(line.get_ydata()[0]) for line in axes.get_lines())
        agreement = 1.0 if limits.is_ratio else 0.0
        assert drawn == pytest.approx(sorted([agreement, limits.bias, limits.lower, limits.upper]))
    assert np.asarray(difference.collections[0].get_offsets())[:, 1] == pytest.approx(y - x)


def test_zeros_are_counted_and_not_drawn_as_ratios():
    x, y = pair()
    x[:3] = 0
    figure = concordance_figure(x, y, LABELS)
    assert "3 with a 0 left out" in figure.axes[2].get_title(loc="left")
    assert len(figure.axes[2].collections[0].get_offsets()) == 37


@pytest.mark.parametrize("n", [0, 1, 2])
def test_hardly_any_case(n, tmp_path):
    x, y = pair(n)
    paths = save_figure(concordance_figure(x, y, LABELS), tmp_path, "figure")
    assert all(path.stat().st_size > 1000 for path in paths)


def test_the_same_numbers_give_the_same_bytes(tmp_path):
    contents = []
    for name in ("first", "second"):
        paths = save_figure(concordance_figure(*pair(), LABELS), tmp_path / name, "figure")
        contents.append([path.read_bytes() for path in paths])
    assert contents[0] == contents[1]
