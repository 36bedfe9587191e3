import pytest

from nnunet_ms.analysis.endpoints import disposition
from nnunet_ms.analysis.endpoints.disposition import disposition_statistics
from nnunet_ms.analysis.endpoints.statistic_rows import to_frame, value_of
from nnunet_ms.analysis.report.figures.patient_figures import completeness_figure, flow_figure
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.settings import read_settings
from tests.analysis.synthetic_trial import SETTINGS, patients, visits, write_trial


def trial_with_gaps(tmp_path):
    """P000 (placebo) has no mask, P002 (placebo) no baseline of the model, P001 (active) misses week 48."""
    table = patients()
    table["discontinued_week"] = table["discontinued_week"].astype(object)
    table.loc[[1, 3], "discontinued_week"] = 40
    masks = visits(table)
    masks = masks[masks["patient_id"] != "P000"]
    masks = masks[~((masks["patient_id"] == "P002") & (masks["week"] == 0) & (masks["rater"] == "model"))]
    masks = masks[~((masks["patient_id"] == "P001") & (masks["week"] == 48))]
    return read_trial(read_settings(write_trial(tmp_path, SETTINGS, patients=table, visits=masks)))


def test_everybody_is_counted_with_the_reason(tmp_path):
    # Oracle: counting by hand; 30 patients in each arm.
    rows = to_frame(disposition_statistics(trial_with_gaps(tmp_path)))

    def n(arm, term, visit="", stat="n"):
        return value_of(rows, arm=arm, term=term, visit=visit, stat_name=stat)

    assert [n(a, disposition.IN_TABLE) for a in ("placebo", "active")] == [30, 30]
    assert [n("placebo", t) for t in (disposition.NO_MASK, disposition.NO_BASELINE, disposition.EXCLUDED)] == [1, 1, 2]
    assert n("placebo", disposition.WITH_BASELINE) == 28
    assert n("active", disposition.AT_VISIT, "48") == 29
    assert n("active", disposition.AT_VISIT, "48", "percent") == 100 * 29 / 30
    assert n("active", disposition.EVERY_VISIT) == 29
    assert [n(a, disposition.DISCONTINUED) for a in ("placebo", "active")] == [0, 2]
    assert n("active", disposition.ASSESSED) == 30


def test_flow_and_completeness_show_these_numbers(tmp_path):
    import matplotlib.text

    trial = trial_with_gaps(tmp_path)
    rows = to_frame(disposition_statistics(trial))
    flow = flow_figure(rows, trial.settings, ())
    texts = [t.get_text() for t in flow.figure.findobj(matplotlib.text.Text)]
    assert "Randomised\nn = 60" in texts
    assert "No baseline masks: 2\nno mask at all: 1\nno baseline mask: 1" in texts
    assert "Discontinued treatment: 2" in texts
    assert any("Masks at week 48: 29 (96.7 %)" in text for text in texts)
    assert "SIMULATED DATA" in texts
    axes = completeness_figure(rows, trial.settings).figure.axes[0]
    assert list(axes.lines[1].get_ydata()) == [100, 100, 100 * 29 / 30, 100]


@pytest.mark.parametrize("column", ["discontinuation_reason", "DCSREAS", "DCREASCD", "DCTREAS"])
def test_reasons_of_stopping_are_counted_where_a_table_has_them(tmp_path, column):
    # Oracle: counting by hand; a reason of who did not stop counts nowhere.
    table = patients()
    table["discontinued_week"] = table["discontinued_week"].astype(object)
    table.loc[[0, 1, 3, 4], "discontinued_week"] = 40
    table[column] = ""
    table.loc[[0, 1, 3, 5], column] = ["adverse event", "adverse event", "lack of efficacy", "moved away"]
    rows = to_frame(disposition_statistics(read_trial(read_settings(write_trial(tmp_path, patients=table)))))
    reasons = {term for term in rows["term"] if term.startswith(disposition.REASON)}
    assert reasons == {
        f"discontinued treatment: {why}" for why in ("adverse event", "lack of efficacy", "no reason given")
    }
    for why, placebo, active in (("adverse event", 1, 1), ("lack of efficacy", 0, 1), ("no reason given", 1, 0)):
        term = f"discontinued treatment: {why}"
        assert [value_of(rows, arm=arm, term=term) for arm in ("placebo", "active")] == [placebo, active]
