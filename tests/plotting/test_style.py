"""The style is the house's, whatever else the process has drawn."""

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure

from nnunet_ms.plotting.style import headline, save_figure, save_picture, style

# as nnU-Net leaves them behind: seaborn.set(font_scale=2.5) before it plots a training's progress
OTHERS = {"axes.labelsize": 30, "xtick.labelsize": 27.5, "legend.fontsize": 27.5, "axes.facecolor": "#EAEAF2"}


def drawn(folder):
    with style():
        figure = Figure(figsize=(3, 2))
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], label="a line")
        axes.set(xlabel="weeks", ylabel="ml")
        axes.legend()
        headline(figure, "simulated, n = 1")
    save_picture(figure, folder / "picture.png")
    return [path.read_bytes() for path in (*save_figure(figure, folder, "figure"), folder / "picture.png")]


@pytest.mark.parametrize("settings", [OTHERS, {"font.family": "monospace"}, {"figure.constrained_layout.use": False}])
def test_a_figure_has_the_same_bytes_whatever_was_set_before(tmp_path, settings):
    alone = drawn(tmp_path)
    with mpl.rc_context(settings):
        before = dict(mpl.rcParams)
        assert drawn(tmp_path) == alone
        assert dict(mpl.rcParams) == before
