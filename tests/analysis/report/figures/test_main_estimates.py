"""Oracle: small tables made in the test, whose numbers must be drawn."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from nnunet_ms.analysis.report.figures.main_estimates import main_estimates_figure
from nnunet_ms.analysis.trial.settings import read_settings
from tests.analysis.report.figures.test_treatment_figures import rows_of
from tests.analysis.synthetic_trial import write_trial

RATERS, GEOMETRIC = ("reference", "model"), "geometric_mean_ratio"


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return read_settings(write_trial(tmp_path_factory.mktemp("main_estimates")))


def ratio(name, value, arm="active", rater="", **keys):
    stats = {name: value, "low": value / 2, "high": value * 2, "p": 0.0321}
    return {"contrast": f"{arm} - placebo", "rater": rater, **keys}, stats


def effects(settings, arms=("active",)):
    volume = {"visit": f"{settings.weeks[-1]:g}"}
    frames = []
    for arm in arms:
        frames += [
            rows_of("t2_volume_percent_change", "mmrm", ratio(GEOMETRIC, 0.9, arm, "reference", **volume)),
            rows_of("t2_volume_percent_change", "mmrm", ratio(GEOMETRIC, 0.5, arm, "model", **volume)),
            rows_of("enhancing_lesions", "negative_binomial", ratio("rate_ratio", 0.1, arm, "reference", term="arm")),
            rows_of("cdp24", "cox_by_arm", ratio("hazard_ratio", 0.75, arm, term="arm")),
            rows_of("cdp24", "cox_by_arm_stratified", ratio("hazard_ratio", 0.7, arm, term="arm")),
        ]
    return pd.concat(frames, ignore_index=True)


def shown(drawing):
    axes = drawing.figure.axes[0]
    points = [line.get_xdata()[0] for line in axes.lines if line.get_marker() not in ("None", "", None)]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    return labels, points, [text.get_text() for text in axes.texts]


def test_one_line_per_endpoint_of_the_first_rater_and_the_stratified_model(settings):
    labels, points, texts = shown(main_estimates_figure(effects(settings), settings, RATERS))
    assert labels == ["T2 volume", "Enhancing lesions", "CDP24"]
    assert points == [0.9, 0.1, 0.7]
    assert texts[1] == "0.10 (0.05 to 0.20)   p .032"


def test_contrasts_are_told_apart_by_name_colour_and_marker(settings):
    three = replace(settings, compared_arms=("low", "high"))
    drawing = main_estimates_figure(effects(settings, ("low", "high")), three, RATERS)
    labels, _, _ = shown(drawing)
    assert labels[:2] == ["T2 volume, low / placebo", "T2 volume, high / placebo"]
    points = [line for line in drawing.figure.axes[0].lines if line.get_marker() not in ("None", "", None)]
    assert points[0].get_color() != points[1].get_color()
    assert points[0].get_marker() != points[1].get_marker()


def test_what_is_not_estimable_has_no_line_and_nothing_no_figure(settings):
    rows = effects(settings)
    rows.loc[rows["endpoint"] != "cdp24", "stat"] = np.nan
    labels, _, _ = shown(main_estimates_figure(rows, settings, RATERS))
    assert labels == ["CDP24"]
    rows["stat"] = np.nan
    assert main_estimates_figure(rows, settings, RATERS) is None


@pytest.mark.parametrize("high", [np.inf, np.nan, 1e9])
def test_limits_far_away_leave_the_estimates_legible(settings, high):
    rows = effects(settings)
    rows.loc[(rows["endpoint"] == "enhancing_lesions") & (rows["stat_name"] == "high"), "stat"] = high
    axes = main_estimates_figure(rows, settings, RATERS).figure.axes[0]
    assert axes.get_xlim()[1] < 10


def test_an_arm_without_lesions_stands_at_the_edge_with_its_numbers(settings):
    rows = effects(settings)
    lesions = rows["endpoint"] == "enhancing_lesions"
    rows.loc[lesions & rows["stat_name"].isin(["rate_ratio", "low"]), "stat"] = 0.0
    drawing = main_estimates_figure(rows, settings, RATERS)
    _, points, texts = shown(drawing)
    assert points == [0.9, 0.01, 0.7]  # of the axis: at its left edge
    assert texts[1].startswith("0.00 (0.00 to 0.20)")
    assert drawing.figure.axes[0].get_xlim()[0] > 0.01
