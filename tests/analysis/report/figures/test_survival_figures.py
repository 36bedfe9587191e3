"""Kaplan-Meier figures are read back. Oracle: curves made in the test. Steps and ticks: test_treatment_figures.py."""

from dataclasses import replace

import matplotlib.collections
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from nnunet_ms.analysis.report.figures.survival_figures import km_by_arm_figure
from nnunet_ms.analysis.trial.report_settings import ReportSettings
from nnunet_ms.analysis.trial.settings import read_settings
from tests.analysis.report.figures.test_treatment_figures import rows_of
from tests.analysis.synthetic_trial import write_trial

WEEKS = [12.0, 24.0, 60.0]


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return read_settings(write_trial(tmp_path_factory.mktemp("survival")))


def drawn(settings, placebo, active, medians=(np.nan, np.nan)):
    curves = pd.concat(
        pd.DataFrame(
            {"arm": arm, "week": WEEKS, "n_risk": [30, 25, 20], "n_event": [2, 1, 0], "survival": survival}
        ).assign(low=lambda frame: frame["survival"] - 0.1, high=lambda frame: (frame["survival"] + 0.1).clip(upper=1))
        for arm, survival in (("placebo", placebo), ("active", active))
    )
    entries = [
        ({"arm": arm}, {"n": 30, "events": 3, "median": median})
        for arm, median in zip(("placebo", "active"), medians, strict=True)
    ]
    entries += [
        ({"arm": arm, "visit": week}, {"n_risk": 9})
        for arm in ("placebo", "active")
        for week in ("0", "24", "48", "96")
    ]
    rows = rows_of("cdp24", "km_by_arm", *entries, ({"term": "logrank"}, {"p": 0.03}))
    return km_by_arm_figure(rows, curves, settings, "cdp24")


HIGH, LOW, EDGE = [0.98, 0.95, 0.91], [0.6, 0.4, 0.1], [0.9, 0.7, 0.45]


@pytest.mark.parametrize(
    ("lower", "bands", "begins"), [(HIGH, False, 80), (HIGH, True, 60), (EDGE, False, 40), (LOW, False, 0)]
)
def test_the_axis_begins_below_all_that_is_drawn_and_the_caption_says_where(settings, lower, bands, begins):
    drawing = drawn(replace(settings, report=ReportSettings(km_bands=bands)), lower, HIGH)
    assert drawing.figure.axes[0].get_ylim()[0] == begins
    assert (f"The axis begins at {begins} %." in drawing.caption) == (begins > 0)


def test_medians_are_dotted_down_to_their_week(settings):
    drawing = drawn(settings, LOW, HIGH, medians=(24.0, np.nan))
    dotted = [line for line in drawing.figure.axes[0].lines if line.get_linestyle() == ":"]
    assert [list(line.get_xdata()) for line in dotted] == [[0, 24, 24]]
    assert [list(line.get_ydata()) for line in dotted] == [[50, 50, 0]]
    assert [text.get_text() for text in drawing.figure.axes[0].texts][:1] == ["24"]


def test_bands_only_on_request(settings):
    def bands(one):
        found = drawn(one, EDGE, HIGH).figure.axes[0].collections
        return [band for band in found if isinstance(band, matplotlib.collections.PolyCollection)]

    assert bands(settings) == []
    first, _ = bands(replace(settings, report=ReportSettings(km_bands=True)))
    heights = first.get_paths()[0].vertices[:, 1]
    assert heights.min() == pytest.approx(35)
    assert heights.max() == pytest.approx(100)


@pytest.mark.parametrize("lower", [HIGH, EDGE, LOW])
def test_the_legend_covers_no_curve(settings, lower):
    figure = drawn(settings, lower, HIGH).figure
    FigureCanvasAgg(figure).draw()
    axes = figure.axes[0]
    assert axes.get_legend().get_window_extent().y0 >= axes.get_window_extent().y1
