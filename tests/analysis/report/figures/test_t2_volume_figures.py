"""The figures are read back, line by line and number by number. Oracle: the table `endpoints.csv` that they draw."""

import matplotlib.text
import numpy as np
import pytest

from nnunet_ms.analysis.endpoints.recipe import compute_endpoints
from nnunet_ms.analysis.report.figures import t2_volume_figures
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.settings import read_settings
from nnunet_ms.plotting.style import save_figure
from tests.analysis.synthetic_trial import SETTINGS, WEEKS, patients, truth, visits, write_trial

ARMS, RATERS = ("placebo", "active"), ("reference", "model")
VOLUME = "t2_volume_percent_change"


def drawings(tmp_path, settings=SETTINGS, **changed):
    trial = read_trial(read_settings(write_trial(tmp_path, settings, **changed)))
    found = compute_endpoints(trial)
    s, raters = trial.settings, trial.raters
    return [
        t2_volume_figures.volume_figure(found.endpoints, s, raters),
        t2_volume_figures.effect_figure(found.endpoints, s, raters, trial.truth),
        t2_volume_figures.km_figure(found.endpoints, found.curves["km_curves_cdp24"], s, raters, "cdp24"),
    ], found


@pytest.fixture(scope="module")
def drawn_once(tmp_path_factory):
    return drawings(tmp_path_factory.mktemp("figures"))


def texts(figure):
    return [t.get_text() for t in figure.findobj(matplotlib.text.Text)]


def numbers(rows, name, **keys):
    """The statistics of a name as the table holds them, weeks rising; and as many as there are."""
    chosen = rows[rows["stat_name"] == name]
    for column, value in keys.items():
        chosen = chosen[chosen[column] == value]
    return chosen["stat"].tolist()


def curve_of(found, rater, arm, term):
    """One curve of the written table of curves."""
    curves = found.curves["km_curves_cdp24"]
    chosen = (curves["rater"] == rater) & (curves["arm"] == arm) & (curves["term"] == term)
    return curves[chosen].reset_index(drop=True)


def signed(value):
    """A number of a figure: one digit, a sign, and the true minus."""
    return f"{value:+.1f}".replace("-", "\N{MINUS SIGN}")


def lines_below(axes):
    """The lines of the small table under an axis, from the top down: {place on the axis: text}."""
    lines = {}
    for note in axes.texts:
        if note.anncoords == "offset points" and note.get_position()[0] == 0:
            lines.setdefault(note.get_position()[1], {})[note.xy[0]] = note.get_text()
    return [lines[place] for place in sorted(lines, reverse=True)]


def bars(container):
    """Points of an error bar, and both ends of their bars along the last drawn direction."""
    line, _, (sticks,) = container
    ends = np.array([stick.vertices if hasattr(stick, "vertices") else stick for stick in sticks.get_segments()])
    return np.asarray(line.get_xdata()), np.asarray(line.get_ydata()), ends


def test_volume_panels_draw_the_means_and_standard_errors_of_the_table(drawn_once):
    (volume, *_), found = drawn_once
    panels = volume.figure.axes
    assert [axes.get_title(loc="left") for axes in panels] == list(RATERS)
    for axes, rater in zip(panels, RATERS, strict=True):
        keys = {"endpoint": VOLUME, "analysis": "by_visit", "rater": rater}
        assert [container.get_label() for container in axes.containers] == list(ARMS)
        below = lines_below(axes)
        for container, arm, line in zip(axes.containers, ARMS, below, strict=False):
            mean, se, n = (numbers(found.endpoints, name, arm=arm, **keys) for name in ("mean", "se", "n"))
            x, y, ends = bars(container)
            assert y.tolist() == pytest.approx([0, *mean])
            assert x[0] == 0
            assert x[1:] == pytest.approx(WEEKS, abs=2)  # moved aside a little, so that the bars stay apart
            assert ends[1:, :, 1] == pytest.approx(np.transpose([np.subtract(mean, se), np.add(mean, se)]))
            assert line == {0: "", **{week: f"{count:.0f}" for week, count in zip(WEEKS, n, strict=True)}}
        gap = numbers(found.endpoints, "separation", **keys)
        assert below[2] == {0: "", **{week: signed(value) for week, value in zip(WEEKS, gap, strict=True)}}
    assert [text.get_text() for text in panels[0].get_legend().get_texts()] == list(ARMS)


def test_effect_lines_draw_the_adjusted_difference_its_interval_and_the_truth(drawn_once):
    (_, effect, _), found = drawn_once
    (axes,) = effect.figure.axes
    assert [t.get_text() for t in axes.get_yticklabels()] == [f"{r}: active \N{MINUS SIGN} placebo" for r in RATERS]
    beside = {note.xy[1]: note.get_text() for note in axes.texts}
    for place, (container, rater) in enumerate(zip(axes.containers, RATERS, strict=True)):
        keys = {"endpoint": VOLUME, "analysis": "ancova", "rater": rater, "contrast": "active - placebo"}
        estimate, low, high = (numbers(found.endpoints, name, **keys)[0] for name in ("difference", "low", "high"))
        x, y, ends = bars(container)
        assert (x.tolist(), y.tolist()) == ([estimate], [place])
        assert ends[0, :, 0] == pytest.approx([low, high])
        assert beside[place] == f"{signed(estimate)} ({signed(low)} to {signed(high)})"
    true = next(row["stat"] for row in truth()["truth"] if row["analysis"] == "ancova")
    marks = [line.get_xydata().tolist() for line in axes.lines if line.get_linestyle() == ":"]
    assert marks == [[[true, place - 0.35], [true, place + 0.35]] for place in (0, 1)]
    assert [text.get_text() for text in effect.figure.legends[0].get_texts()] == ["simulated truth"]


def test_kaplan_meier_panels_draw_the_curves_of_their_rater_arm_and_half(drawn_once):
    (*_, km), found = drawn_once
    places = [(rater, arm) for rater in RATERS for arm in ARMS]
    assert [axes.get_title(loc="left") for axes in km.figure.axes] == [f"{rater}: {arm}" for rater, arm in places]
    drawn = []
    for axes, (rater, arm) in zip(km.figure.axes, places, strict=True):
        keys = {"endpoint": "cdp24", "analysis": "km_at_median_tlv", "rater": rater, "arm": arm}
        below = lines_below(axes)[1:]
        for step, term, line in zip(axes.lines[::2], ("tlv <= median", "tlv > median"), below, strict=True):
            curve = curve_of(found, rater, arm, term)
            drawn.append(curve["survival"].tolist())
            assert step.get_xdata().tolist() == [0, *curve["week"]]
            assert step.get_ydata() == pytest.approx([100, *(100 * curve["survival"])])
            assert step.get_drawstyle() == "steps-post"
            n, events = (numbers(found.endpoints, name, term=term, **keys)[0] for name in ("n", "events"))
            half = term.replace("tlv <=", "TLV ≤").replace("tlv", "TLV")
            assert step.get_label() == f"{half} (n = {n:.0f}, {events:.0f} event{'' if events == 1 else 's'})"
            at_risk = numbers(found.endpoints, "n_risk", term=term, **keys)
            assert line == {week: f"{v:.0f}" for week, v in zip((0, *WEEKS), at_risk, strict=True)}
        p = numbers(found.endpoints, "p", term="logrank", **keys)[0]
        assert axes.get_legend().get_title().get_text() == f"log-rank p {p:.3f}".replace("0.", ".", 1)
    assert len({tuple(curve) for curve in drawn}) > 4  # panels are not copies of each other


def test_ticks_stand_where_patients_are_censored(drawn_once):
    # Oracle: the curve itself; more patients leave at a week than have the event.
    (*_, km), found = drawn_once
    counted = 0
    places = [(rater, arm) for rater in RATERS for arm in ARMS]
    for axes, (rater, arm) in zip(km.figure.axes, places, strict=True):
        for ticks, term in zip(axes.lines[1::2], ("tlv <= median", "tlv > median"), strict=True):
            rows = curve_of(found, rater, arm, term)
            next_at_risk = [*rows["n_risk"][1:], 0]
            censored = [row for row, after in zip(rows.itertuples(), next_at_risk, strict=True)
                        if row.n_risk - after > row.n_event]  # fmt: skip
            assert ticks.get_marker() == "|"
            assert ticks.get_xdata().tolist() == [row.week for row in censored]
            assert ticks.get_ydata() == pytest.approx([100 * row.survival for row in censored])
            counted += len(censored)
    assert counted > 4


def test_simulated_is_written_into_every_figure(tmp_path):
    for drawing in drawings(tmp_path)[0]:
        assert "SIMULATED DATA" in texts(drawing.figure)
    real = SETTINGS.replace("simulated = true", "simulated = false").replace('truth = "truth.json"\n', "")
    for drawing in drawings(tmp_path / "real", real)[0]:
        assert "SIMULATED DATA" not in texts(drawing.figure)


def test_captions_give_n_and_alt_texts_exist(tmp_path):
    for drawing in drawings(tmp_path)[0]:
        assert "n = " in drawing.caption
        assert len(drawing.alt) > 40


def test_names_with_dollar_signs_are_no_formulas(tmp_path):
    table = patients()
    table["arm"] = table["arm"].replace("active", "50 $\\frac$ mg")
    text = SETTINGS.replace('["active"]', "['50 $\\frac$ mg']")
    masks = visits(table)
    for drawing in drawings(tmp_path, text, patients=table, visits=masks)[0]:
        save_figure(drawing.figure, tmp_path / "figures", drawing.stem)
