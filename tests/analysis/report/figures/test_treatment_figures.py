"""Figures of treatment effects are read back. Oracle: small tables made in the test, whose numbers must be drawn."""

import matplotlib.collections
import numpy as np
import pandas as pd
import pytest

from nnunet_ms.analysis.endpoints.lesion_counts import ENDPOINTS
from nnunet_ms.analysis.endpoints.statistic_rows import Statistic, spread, to_frame
from nnunet_ms.analysis.report.figures import survival_figures, treatment_figures
from nnunet_ms.analysis.trial.settings import read_settings
from tests.analysis.report.figures.test_t2_volume_figures import bars, lines_below
from tests.analysis.synthetic_trial import write_trial

RATERS = ("reference", "model")
CONTRAST = "active - placebo"


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return read_settings(write_trial(tmp_path_factory.mktemp("trial")))


def rows_of(endpoint, analysis, *entries):
    """Rows of (keys, {statistic: value})."""
    base = {"endpoint": endpoint, "analysis": analysis}
    rows = []
    for keys, values in entries:
        rows += spread(Statistic(**base, **keys), {name: (value, "") for name, value in values.items()})
    return to_frame(rows)


def beside(axes, column=None):
    """Texts right of the axis by their line: {line: text} of one column (points from the axis)."""
    notes = [note for note in axes.texts if note.xy[0] == 1]
    return {note.xy[1]: note.get_text() for note in notes if column is None or note.get_position()[0] == column}


def test_kaplan_meier_by_arm(settings):
    curves = pd.concat([
        pd.DataFrame({"arm": arm, "week": [12.0, 24, 60], "n_risk": [n, n - 3, n - 4], "n_event": [2, 1, 0],
                      "survival": survival, "low": np.nan, "high": np.nan})
        for arm, n, survival in (("placebo", 30, [0.9, 0.8, 0.8]), ("active", 28, [0.95, 0.91, 0.91]))
    ])  # fmt: skip
    at_risk = {"placebo": (30, 27, 26, 5), "active": (28, 25, 24, 7)}
    entries = [({"arm": arm}, {"n": n[0], "events": 3}) for arm, n in at_risk.items()]
    entries += [({"arm": arm, "visit": week}, {"n_risk": value}) for arm, n in at_risk.items()
                for week, value in zip(("0", "24", "48", "96"), n, strict=True)]  # fmt: skip
    entries += [({"term": "logrank"}, {"p": 0.0304})]
    drawing = survival_figures.km_by_arm_figure(rows_of("cdp24", "km_by_arm", *entries), curves, settings, "cdp24")
    (axes,) = drawing.figure.axes
    for step, ticks, arm in zip(axes.lines[::2], axes.lines[1::2], at_risk, strict=True):
        curve = curves[curves["arm"] == arm]
        assert step.get_xdata().tolist() == [0, 12, 24, 60]
        assert step.get_ydata() == pytest.approx([100, *(100 * curve["survival"])])
        assert step.get_label() == f"{arm} (n = {at_risk[arm][0]}, 3 events)"
        assert ticks.get_xdata().tolist() == [12, 60]  # 3 left after 12, of whom 2 with event; all 24 left at the end
    below = lines_below(axes)
    assert below[1:] == [dict(zip((0, 24, 48, 96), map(str, n), strict=True)) for n in at_risk.values()]
    assert axes.get_legend().get_title().get_text() == "log-rank p .030"
    assert "n = 58." in drawing.caption


def test_forest_draws_ratios_intervals_and_who_they_are_of(settings):
    levels = {
        "all patients": (0.61, 0.40, 0.92, 50, 120), "sex: F": (0.5, 0.02, 0.9, 25, 70),
        "sex: M": (0.8, 0.3, 40.0, 25, 50), "age_group: > 45": (np.nan, np.nan, np.nan, 2, 20),
    }  # fmt: skip
    names = ("hazard_ratio", "low", "high", "events", "n")
    entries = [({"contrast": CONTRAST, "term": t}, dict(zip(names, v, strict=True))) for t, v in levels.items()]
    entries += [({"contrast": CONTRAST, "term": "sex: interaction"}, {"p": 0.0451})]
    other = [({"contrast": "other - placebo", "term": "all patients"}, {"hazard_ratio": 9.0, "n": 1, "events": 1})]
    rows = rows_of("cdp24", "subgroup", *entries, *other)
    drawing = treatment_figures.forest_figure(rows, settings, "cdp24", "active")
    (axes,) = drawing.figure.axes
    assert [t.get_text() for t in axes.get_yticklabels()] == ["all patients", "sex: F", "sex: M", "age group: > 45"]
    lines = {float(line.get_ydata()[0]): line.get_xdata().tolist() for line in axes.lines if len(line.get_xdata()) == 2
             and line.get_ydata()[0] == line.get_ydata()[1]}  # fmt: skip
    assert lines == {0: [0.40, 0.92], 1: [0.1, 0.9], 2: [0.3, 10.0]}
    arrows = {
        (line.get_marker(), line.get_xdata()[0], line.get_ydata()[0])
        for line in axes.lines
        if len(line.get_xdata()) == 1
    }
    assert arrows == {("<", 0.1, 1), (">", 10.0, 2)}  # where the interval leaves the axis
    squares = [c for c in axes.collections if isinstance(c, matplotlib.collections.PathCollection)]
    assert [tuple(s.get_offsets()[0]) for s in squares] == [(0.61, 0), (0.5, 1), (0.8, 2)]
    assert squares[0].get_sizes()[0] > squares[1].get_sizes()[0] == squares[2].get_sizes()[0]
    counts, ratios, tests = treatment_figures.COLUMNS
    assert beside(axes, counts) == {-0.8: "events / n", 0: "50 / 120", 1: "25 / 70", 2: "25 / 50", 3: "2 / 20"}
    assert beside(axes, ratios) == {-0.8: "hazard ratio (95 % CI)", 0: "0.61 (0.40 to 0.92)", 1: "0.50 (0.02 to 0.90)",
                                    2: "0.80 (0.30 to 40.00)", 3: "not estimable"}  # fmt: skip
    assert beside(axes, tests) == {-0.8: "interaction", 1: "p .045"}  # once, beside the first level
    assert "below 1 favours active" in axes.get_xlabel()
    assert "n = 120 patients" in drawing.caption
    improvement = treatment_figures.forest_figure(rows.assign(endpoint="cdi12"), settings, "cdi12", "active")
    assert "above 1 favours active" in improvement.figure.axes[0].get_xlabel()


def test_bars_are_means_per_visit(settings):
    means = {("reference", "placebo"): (1.5, 1.25, np.nan), ("reference", "active"): (0.5, 0.25, 0.75),
             ("model", "placebo"): (2.5, 2.25, 2.0), ("model", "active"): (3.5, 3.25, 3.0)}  # fmt: skip
    entries = [({"rater": r, "arm": a, "visit": w}, {"mean": v}) for (r, a), values in means.items()
               for w, v in zip(("24", "48", "96"), values, strict=True)]  # fmt: skip
    entries += [({"rater": r, "arm": a, "visit": "all"}, {"visits": 90}) for r, a in means]
    rows = rows_of("new_t2_lesions", "by_visit", *entries)
    drawing = treatment_figures.count_figure(rows, settings, RATERS, ENDPOINTS[2])
    for axes, rater in zip(drawing.figure.axes, RATERS, strict=True):
        assert axes.get_title(loc="left") == rater
        assert [t.get_text() for t in axes.get_xticklabels()] == ["24", "48", "96"]
        for container, arm in zip(axes.containers, ("placebo", "active"), strict=True):
            assert container.get_label() == arm
            assert [bar.get_height() for bar in container] == pytest.approx(list(means[rater, arm]), nan_ok=True)
        shown = [f"{v:.2f}" for arm in ("placebo", "active") for v in means[rater, arm] if np.isfinite(v)]
        assert [note.get_text() for note in axes.texts] == shown
    assert "n = 180 follow-up visits" in drawing.caption


def test_effect_along_the_volume(settings):
    volume = [1.0, 4.0, 20.0]
    ratios = {"reference": [0.9, 0.6, 0.4], "model": [0.8, 0.5, 0.3]}
    curves = pd.concat([
        pd.DataFrame({"rater": r, "arm": "active", "tlv_ml": volume, "hazard_ratio": v, "low": np.divide(v, 2),
                      "high": np.multiply(v, 2)}) for r, v in ratios.items()
    ])  # fmt: skip
    rows = rows_of("cdp24", "cox_multivariable", ({"rater": "reference", "term": "log_tlv"}, {"n": 60, "events": 21}))
    drawing = treatment_figures.along_figure(rows, curves, settings, RATERS, "cdp24")
    (axes,) = drawing.figure.axes
    for line, band, rater in zip(axes.lines, axes.collections, RATERS, strict=False):
        assert (line.get_label(), line.get_xdata().tolist()) == (rater, volume)
        assert line.get_ydata().tolist() == ratios[rater]
        edges = {(x, y) for x, y in band.get_paths()[0].vertices}
        assert {(x, y / 2) for x, y in zip(volume, ratios[rater], strict=True)} <= edges
        assert {(x, y * 2) for x, y in zip(volume, ratios[rater], strict=True)} <= edges
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert "n = 60 patients, 21 with event" in drawing.caption


def test_agreement_is_in_units_of_its_standard_error(settings):
    keys = {"rater": "model", "contrast": CONTRAST}
    rows = rows_of(
        "effect_agreement", "t2_volume_separation",
        ({**keys, "visit": "24"}, {"difference": 1.0, "low": -3.0, "high": 4.0, "se": 2.0}),
        ({**keys, "visit": "96"}, {"difference": -6.0, "low": -7.0, "high": -4.0, "se": 0.5}),
        ({**keys, "visit": "48"}, {"difference": np.nan, "low": np.nan, "high": np.nan, "se": np.nan}),
    )  # fmt: skip
    (axes,) = treatment_figures.agreement_figure(rows, settings).figure.axes
    for container, place, (low, middle, high) in zip(
        axes.containers, (0, 1), ((-1.5, 0.5, 2), (-14, -12, -8)), strict=True
    ):
        x, y, ends = bars(container)
        assert (x.tolist(), y.tolist()) == ([middle], [place])
        assert ends[0, :, 0] == pytest.approx([low, high])
    assert [t.get_text() for t in axes.get_yticklabels()] == [
        f"model: T2 volume, separation, week {week}" for week in (24, 96, 48)
    ]
    assert [(note.get_text(), note.xy[1]) for note in axes.texts] == [("not estimable", 2)]
