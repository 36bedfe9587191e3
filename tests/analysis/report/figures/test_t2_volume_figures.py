import pytest

from nnunet_ms.analysis.endpoints.recipe import compute_endpoints
from nnunet_ms.analysis.report.figures import t2_volume_figures
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.settings import read_settings
from nnunet_ms.plotting.style import save_figure
from tests.analysis.synthetic_trial import SETTINGS, patients, visits, write_trial


def drawings(tmp_path, settings=SETTINGS, **changed):
    trial = read_trial(read_settings(write_trial(tmp_path, settings, **changed)))
    found = compute_endpoints(trial)
    s, raters = trial.settings, trial.raters
    return [
        t2_volume_figures.volume_figure(found.endpoints, s, raters),
        t2_volume_figures.effect_figure(found.endpoints, s, raters, trial.truth),
        t2_volume_figures.km_figure(found.endpoints, found.curves["km_curves_cdp24"], s, raters, "cdp24"),
    ], found


def texts(figure):
    import matplotlib.text

    return [t.get_text() for t in figure.findobj(matplotlib.text.Text)]


def test_figures_show_the_tidy_numbers(tmp_path):
    (volume, effect, km), found = drawings(tmp_path)
    rows = found.endpoints
    gap = rows[(rows["stat_name"] == "separation") & (rows["visit"] == "96") & (rows["rater"] == "model")]["stat"].iloc[
        0
    ]
    assert f"{gap:+.1f}".replace("-", "−") in texts(volume.figure)
    placebo = volume.figure.axes[0].containers[0].lines[0]
    means = rows[
        (rows["stat_name"] == "mean")
        & (rows["analysis"] == "by_visit")
        & (rows["arm"] == "placebo")
        & (rows["rater"] == "reference")
    ]["stat"]
    assert placebo.get_ydata()[1:] == pytest.approx(means.to_numpy())
    assert "simulated truth" in texts(effect.figure) or effect.figure.legends
    assert len(km.figure.axes) == 4
    at_risk = (
        rows[(rows["analysis"] == "km_at_median_tlv") & (rows["stat_name"] == "n_risk") & (rows["visit"] == "48")][
            "stat"
        ]
        .astype(int)
        .astype(str)
    )
    assert set(at_risk) <= set(texts(km.figure))


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
