"""Oracle: statsmodels' proportional hazards on tables put together by pandas alone."""

import numpy as np
import pandas as pd
import pytest
from statsmodels.duration.hazard_regression import PHReg

from nnunet_ms.analysis.endpoints.recipe import compute_endpoints
from nnunet_ms.analysis.endpoints.statistic_rows import select, value_of
from nnunet_ms.analysis.report.blocks.progression_by_t1_volume import t1_volume_block
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.settings import read_settings
from tests.analysis.synthetic_trial import SETTINGS, patients, visits, write_trial

KEYS = {"endpoint": "cdp24", "analysis": "cox_unenhancing", "term": "log_unenhancing_tlv"}


def with_unenhancing(zeros=0):
    """T2 rows, and unenhancing rows of a third of their volume, some baselines 0 for the model."""
    t2 = visits(patients())
    rng = np.random.default_rng(3)
    t1 = t2.assign(lesion_type="t1_unenhancing", volume_ml=t2["volume_ml"] * rng.uniform(0.1, 0.6, len(t2)))
    first = sorted(t1["patient_id"].unique())[:zeros]
    t1.loc[t1["patient_id"].isin(first) & (t1["rater"] == "model") & (t1["week"] == 0), "volume_ml"] = 0.0
    return pd.concat([t2, t1], ignore_index=True)


def run(tmp_path, table, settings=SETTINGS):
    trial = read_trial(read_settings(write_trial(tmp_path, settings, visits=table)))
    return trial, compute_endpoints(trial)


def volumes_of(table, rater):
    rows = table[(table["lesion_type"] == "t1_unenhancing") & (table["week"] == 0) & (table["rater"] == rater)]
    return rows.set_index("patient_id")["volume_ml"]


def by_statsmodels(results, volumes, ties):
    audit = results.audit["cdp24"].dropna(subset="time_weeks").set_index("patient_id")
    audit = audit.join(volumes.rename("tlv"), how="inner")
    log_tlv = np.log(audit["tlv"].to_numpy(float))[:, None]
    return PHReg(audit["time_weeks"].to_numpy(float), log_tlv, audit["event"].to_numpy(int), ties=ties).fit()


@pytest.mark.parametrize("rater", ["reference", "model"])
def test_hazard_ratio_equals_statsmodels(tmp_path, rater):
    table = with_unenhancing()
    trial, results = run(tmp_path, table)
    expected = by_statsmodels(results, volumes_of(table, rater), trial.settings.conventions.ties)
    for name, value in (
        ("coefficient", expected.params[0]),
        ("se", expected.bse[0]),
        ("hazard_ratio", np.exp(expected.params[0])),
        ("p", expected.pvalues[0]),
    ):
        assert value_of(results.endpoints, rater=rater, stat_name=name, **KEYS) == pytest.approx(value, rel=1e-4), name


def test_without_unenhancing_rows_there_is_nothing(tmp_path):
    _, results = run(tmp_path, visits(patients()))
    assert select(results.endpoints, analysis="cox_unenhancing").empty


def with_setting(how):
    return SETTINGS.replace('zero_volume = "exclude"', f'zero_volume = "{how}"' if how else "")


def test_zeros_without_a_setting_are_not_estimated_and_say_why(tmp_path):
    _, results = run(tmp_path, with_unenhancing(zeros=2), with_setting(""))
    rows = select(results.endpoints, rater="reference", stat_name="hazard_ratio", **KEYS)
    assert np.isnan(rows["stat"].item())
    assert "2 patients have 0 ml, which has no logarithm: set [lesions] zero_volume" in rows["method"].item()


@pytest.mark.parametrize(
    ("how", "lost"),
    [("exclude", 2), ("half_smallest_positive", 0), ("add_half_smallest_positive", 0)],
)
def test_zeros_are_treated_as_the_settings_say(tmp_path, how, lost):
    (tmp_path / "whole").mkdir()
    (tmp_path / "zeros").mkdir()
    whole, zeros = with_unenhancing(), with_unenhancing(zeros=2)
    n = [
        value_of(run(tmp_path / name, table, with_setting(how))[1].endpoints, rater="model", stat_name="n", **KEYS)
        for name, table in (("whole", whole), ("zeros", zeros))
    ]
    assert n[0] - n[1] == lost
    if how != "exclude":
        trial, results = run(tmp_path / "zeros", zeros, with_setting(how))
        volumes = volumes_of(zeros, "model")
        half = volumes[volumes > 0].min() / 2
        filled = volumes.where(volumes > 0, half) if how == "half_smallest_positive" else volumes + half
        expected = by_statsmodels(results, filled, trial.settings.conventions.ties).params[0]
        found = value_of(results.endpoints, rater="model", stat_name="coefficient", **KEYS)
        assert found == pytest.approx(expected, rel=1e-4)


def test_block_shows_both_raters_and_the_published_ratio_in_a_note(tmp_path):
    trial, results = run(tmp_path, with_unenhancing())  # its preset is opera2
    (block,) = t1_volume_block(trial, results.endpoints)
    assert block.tables[0].head[1:3] == ["reference", "model"]
    assert any("1.12, p .02 (manual); 1.11, p .03 (model)" in note for note in block.notes)
