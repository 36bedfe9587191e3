"""A simulated trial whose treatment works in one stratum of a predicted risk.

Oracles: the ratios that it was made with, and lifelines' Cox regression.
"""

import lifelines
import numpy as np
import pandas as pd
import pytest

from nnunet_ms.analysis.endpoints.progression_by_disability_risk import disability_statistics
from nnunet_ms.analysis.endpoints.progression_by_t2_volume import outcome_audit
from nnunet_ms.analysis.endpoints.progression_subgroups import subgroup_statistics
from nnunet_ms.analysis.endpoints.statistic_rows import to_frame
from nnunet_ms.analysis.report.blocks.progression_by_rims import risk_tables
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.settings import read_settings
from nnunet_ms.errors import SettingsError, TableError
from nnunet_ms.simulation.simulate import simulate

OUTCOME, ARM = "ccdp24", "active - placebo"
BELOW, ABOVE = 1.0, 0.3  # hazard ratios of the treatment in the strata


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A trial of 500 patients; the risk tells who the treatment works for: those with a rim lesion."""
    home = tmp_path_factory.mktemp("risk") / "trial"
    simulate(home, patients=500, seed=5, prl_hazard_ratios=(BELOW, ABOVE, ABOVE))
    table = pd.read_csv(home / "patients.csv")
    spread = 0.004 * (np.arange(len(table)) % 50)
    risk = np.where(table["prl_count"] > 0, 0.6 + spread, 0.2 + spread)
    table.drop(columns="prl_count").assign(disability_risk=risk).to_csv(home / "patients.csv", index=False)
    visits = pd.read_csv(home / "visits.csv")
    visits.drop(columns="prl_count").to_csv(home / "visits.csv", index=False)
    text = (home / "trial.toml").read_text().replace('"prl_stratum"', '"disability_stratum"')
    (home / "trial.toml").write_text(text)
    return home


@pytest.fixture(scope="module")
def trial(folder):
    return read_trial(read_settings(folder / "trial.toml"))


@pytest.fixture(scope="module")
def frame(trial):
    audit = outcome_audit(trial, OUTCOME)
    return to_frame([*disability_statistics(trial, OUTCOME, audit), *subgroup_statistics(trial, OUTCOME, audit)])


def stat(frame, name, **keys):
    chosen = frame[(frame["stat_name"] == name) & (frame[list(keys)] == pd.Series(keys)).all(axis=1)]
    assert len(chosen) == 1, (keys, name, len(chosen))
    return float(chosen["stat"].iloc[0])


def test_the_stratum_in_which_the_treatment_works_is_found(frame):
    for stratum, true in (("< 0.5", BELOW), (">= 0.5", ABOVE)):
        keys = {"analysis": "subgroup", "term": f"disability_stratum: {stratum}"}
        assert stat(frame, "low", **keys) <= true <= stat(frame, "high", **keys)
    assert stat(frame, "p", term="disability_stratum: interaction") < 0.01
    keys = {"analysis": "cox_by_disability_stratum", "term": "arm:disability_stratum: >= 0.5", "contrast": ARM}
    assert stat(frame, "low", **keys) <= ABOVE / BELOW <= stat(frame, "high", **keys) < 1


def lifelines_ratios(trial, columns):
    audit = outcome_audit(trial, OUTCOME)
    table = audit[audit["time_weeks"].notna()].merge(trial.patients[["patient_id", "disability_risk"]], on="patient_id")
    arm, risk = (table["arm"] == "active").astype(float), table["disability_risk"]
    data = pd.DataFrame({"t": table["time_weeks"], "e": table["event"].astype(int), **columns(arm, risk)})
    return lifelines.CoxPHFitter().fit(data, "t", "e", fit_options={"precision": 1e-10}).hazard_ratios_


def test_every_ratio_is_that_of_lifelines(trial, frame):
    expected = lifelines_ratios(trial, lambda arm, risk: {"a": arm, "s": risk >= 0.5, "as": arm * (risk >= 0.5)})
    names = {"a": "arm", "s": "disability_stratum: >= 0.5", "as": "arm:disability_stratum: >= 0.5"}
    for short, term in names.items():
        found = stat(frame, "hazard_ratio", analysis="cox_by_disability_stratum", term=term)
        assert found == pytest.approx(expected[short], rel=1e-5)


def test_the_risk_is_a_covariate_too(trial, frame):
    expected = lifelines_ratios(trial, lambda arm, risk: {"a": arm, "r": 10 * risk})
    for short, term in (("a", "arm"), ("r", "disability_risk per 0.1")):
        found = stat(frame, "hazard_ratio", analysis="cox_with_disability_risk", term=term)
        assert found == pytest.approx(expected[short], rel=1e-5)


def test_tables_of_the_report(trial, frame):
    tables = risk_tables(trial, frame.assign(endpoint=OUTCOME), OUTCOME)
    assert [table.stem for table in tables] == [f"{OUTCOME}_by_disability_stratum", f"{OUTCOME}_with_disability_risk"]


def edited(folder, tmp_path, how, line=""):
    import shutil

    home = shutil.copytree(folder, tmp_path / "edited")
    table = pd.read_csv(home / "patients.csv")
    how(table).to_csv(home / "patients.csv", index=False)
    (home / "trial.toml").write_text((home / "trial.toml").read_text() + line)
    return read_trial(read_settings(home / "trial.toml"))


@pytest.mark.parametrize("threshold", [0.3, 0.65])
def test_the_threshold_is_a_setting(folder, tmp_path, threshold):
    found = edited(folder, tmp_path, lambda t: t, f"disability_threshold = {threshold}\n").groups("disability_stratum")
    risk = pd.read_csv(folder / "patients.csv").set_index("patient_id")["disability_risk"]
    expected = np.where(risk >= threshold, f">= {threshold}", f"< {threshold}")
    assert found.loc[risk.index].tolist() == expected.tolist()


def test_a_stratum_of_the_stratified_test(folder, tmp_path):
    found = edited(folder, tmp_path, lambda t: t)
    assert set(found.groups("disability_stratum")) == {"< 0.5", ">= 0.5"}


def test_patients_without_a_risk_are_in_no_model_and_it_is_said(folder, tmp_path):
    found = edited(folder, tmp_path, lambda t: t.assign(disability_risk=t["disability_risk"].where(t.index % 5 != 0)))
    audit = outcome_audit(found, OUTCOME)
    table = to_frame([*disability_statistics(found, OUTCOME, audit), *subgroup_statistics(found, OUTCOME, audit)])
    for analysis in ("cox_by_disability_stratum", "cox_with_disability_risk"):
        assert table.loc[table["analysis"] == analysis, "method"].str.contains("left out").all()
        assert stat(table, "n", analysis=analysis, term="arm") <= 400
    method = table.loc[table["term"] == "disability_stratum: interaction", "method"].iloc[0]
    assert "patients without a predicted risk of disability left out" in method


def test_a_trial_without_risks_has_no_such_rows(folder, tmp_path):
    with pytest.raises(SettingsError, match="disability_stratum"):
        edited(folder, tmp_path, lambda t: t.drop(columns="disability_risk"))


def test_blank_risks_of_everybody_are_none(folder, tmp_path):
    found = edited(folder, tmp_path, lambda t: t.assign(disability_risk=np.nan))
    assert list(disability_statistics(found, OUTCOME, outcome_audit(found, OUTCOME))) == []


@pytest.mark.parametrize(
    ("how", "line", "error", "message"),
    [
        (lambda t: t.assign(disability_risk=1.5), "", TableError, "disability_risk"),
        (lambda t: t.assign(disability_risk="high"), "", TableError, "disability_risk"),
        (lambda t: t, "disability_threshold = 1\n", SettingsError, "disability_threshold: expected a probability"),
        (lambda t: t, 'disability_threshold = "half"\n', SettingsError, "disability_threshold"),
    ],
)
def test_what_cannot_be_meant(folder, tmp_path, how, line, error, message):
    with pytest.raises(error, match=message):
        edited(folder, tmp_path, how, line)
