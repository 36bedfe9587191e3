"""The record of a trial's settings: plain JSON, nothing of this machine, everything that numbers depend on."""

import json
from dataclasses import fields, replace

import pytest

from nnunet_ms.analysis.trial.settings import Analysis, TrialSettings, read_settings
from nnunet_ms.analysis.trial.settings_record import LEFT_OUT, LEFT_OUT_OF_ANALYSIS, settings_record
from tests.analysis.synthetic_trial import SETTINGS


@pytest.fixture
def settings(tmp_path):
    path = tmp_path / "trial.toml"
    path.write_text(SETTINGS, encoding="utf-8")
    return read_settings(path)


def test_the_record_is_json_without_a_path(settings, tmp_path):
    record = settings_record(settings)
    assert str(tmp_path) not in json.dumps(record)
    assert (record["name"], record["reference_arm"], record["compared_arms"]) == (
        "Synthetic trial",
        "placebo",
        ["active"],
    )
    assert (record["level"], record["conventions"]["ties"]) == (0.95, "efron")
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["rule"]["edss_steps"] == [[5.5, 1.0], [None, 0.5]]  # 1 point up to 5.5, half a point above


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"analysis": Analysis(strata=())}, "analysis"),
        ({"analysis": Analysis(alpha=0.1)}, "level"),
        ({"baseline_week": 12.0}, "baseline_week"),
        ({"zero_volume": None}, "zero_volume"),
        ({"rule": None}, "rule"),
    ],
)
def test_a_setting_that_changes_numbers_changes_the_record(settings, change, key):
    one, other = settings_record(settings), settings_record(replace(settings, **change))
    assert [name for name in one if one[name] != other[name]] == [key]


def test_the_seed_and_the_draws_change_nothing(settings):
    fewer = replace(settings, analysis=replace(settings.analysis, seed=1, bootstrap_draws=7))
    assert settings_record(fewer) == settings_record(settings)


def test_every_setting_is_in_the_record_or_left_out_on_purpose(settings):
    record = settings_record(settings)
    named = {"populations": "population", "analysis": "analysis", "name": "name"}
    for field in fields(TrialSettings):
        assert named.get(field.name, field.name) in record or field.name in LEFT_OUT
    assert {field.name for field in fields(Analysis)} == {*record["analysis"], *LEFT_OUT_OF_ANALYSIS}
    assert all(isinstance(value, str | int | float | bool | list | dict | None) for value in record.values())
