"""Oracle: patients whose hazard is known, so that it is known which model is right and which is worthless."""

import json

import numpy as np
import pandas as pd
import pytest

from nnunet_ms.classification.stratification.survival_evaluation import PAGE, RESULTS, evaluate_survival, verdicts
from nnunet_ms.classification.stratification.survival_results import (
    SURVIVAL_RESULTS,
    SurvivalResampling,
    calibration_at,
    networks_of,
    reference_of,
    survival_results,
)
from nnunet_ms.classification.stratification.survival_tables import curve_rows, read_survival
from nnunet_ms.classification.stratify_cli import main
from nnunet_ms.errors import OptionError
from nnunet_ms.statistics.cox import fit_cox
from nnunet_ms.tables import read_table

AT = np.array([24.0, 48, 72, 96])
N = 240


def cohort():
    """Part of what drives the hazard is in age, the larger part in what only the network sees."""
    generator = np.random.default_rng(5)
    age, seen = generator.normal(size=N), generator.normal(size=N)
    rate = 0.008 * np.exp(0.7 * age + 1.1 * seen)
    progression, end = generator.exponential(1 / rate), generator.uniform(60, 140, N)
    names = [f"P{k:03d}" for k in range(N)]
    patients = pd.DataFrame(
        {
            "case_id": names,
            "patient_id": names,
            "visit": "base",
            "fold": np.arange(N) % 4,
            "time_weeks": np.minimum(progression, end),
            "event": (progression <= end).astype(int),
            "age_years": 40 + 10 * age,
            "edss_baseline": generator.choice([1.5, 2.0, 3.0], N),
            "lesion_volume_ml": generator.lognormal(1.5, 0.7, N),
        }
    )
    by_age = 0.012 * np.exp(0.6 * age)
    rates = {"global": rate, "wm": np.roll(rate, 7), "cox": by_age, "kaplan-meier": np.full(N, 0.009)}
    return patients, {name: np.exp(-np.outer(values, AT)) for name, values in rates.items()}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    patients, curves = cohort()
    path = tmp_path_factory.mktemp("curves") / "cross_validation.csv"
    pd.concat([curve_rows(name, patients, values, AT) for name, values in curves.items()]).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def evaluated(table, tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluated") / "out"
    results = evaluate_survival(table, folder, horizon_weeks=72, data_note="simulated", replicates=40)
    return results, folder


def row(results, model, measure, versus="", week=72):
    chosen = (results["model"] == model) & (results["measure"] == measure) & (results["versus"] == versus)
    return results[chosen & (results["week"] == week)].iloc[0]


def test_the_model_that_knows_the_hazard_beats_cox_and_the_one_of_other_patients_does_not(evaluated):
    results, _ = evaluated
    assert row(results, "global", "concordance_antolini", "cox")["low"] > 0
    assert row(results, "global", "brier_integrated", "cox")["high"] < 0
    assert row(results, "wm", "concordance_antolini", "cox")["high"] < 0
    sentences = verdicts(results)
    assert sentences[0].startswith("global beats cox in both respects: concordance +0.")
    assert any(one.startswith("wm does not beat cox; it is worse: concordance -0.") for one in sentences)


def test_what_is_added_to_cox_is_what_was_put_in(evaluated):
    results, _ = evaluated
    base = "age_years + edss_baseline + log_lesion_volume"
    true, other = (row(results, name, "hazard_ratio_per_sd", base) for name in ("global", "wm"))
    assert true["p"] < 1e-6
    assert true["low"] > 1
    assert other["p"] > 0.01
    assert other["low"] < 1 < other["high"]
    assert (true["patients"], true["events"]) == (N, int(cohort()[0]["event"].sum()))


def test_the_true_hazard_is_calibrated(evaluated):
    results, _ = evaluated
    slope, ratio = row(results, "global", "calibration_slope"), row(results, "global", "observed_expected")
    assert slope["low"] < 1 < slope["high"]
    assert ratio["low"] < 1 < ratio["high"]
    assert row(results, "wm", "calibration_slope")["high"] < 1
    assert (
        row(results, "kaplan-meier", "calibration_slope")["problem"] == "predicts the same for all patients of a fold"
    )


def test_calibration_slope_is_the_coefficient_of_the_log_hazard(evaluated, table):
    results, _ = evaluated
    predicted = read_survival([table])
    log_rate = np.log(-np.log(predicted.curves["global"][:, 2]))
    weeks = np.minimum(predicted.weeks, 72)
    fit = fit_cox(weeks, predicted.event & (predicted.weeks <= 72), log_rate[:, None], ["x"], "efron")
    assert row(results, "global", "calibration_slope")["estimate"] == pytest.approx(fit.beta[0], rel=1e-3)


def test_groups_of_calibration_hold_all_patients_once_from_low_to_high_risk(table):
    groups = calibration_at(read_survival([table]), "global", 72.0)
    assert sum(one.n for one in groups) == N
    assert [one.n for one in groups] == [60] * 4
    assert sorted(one.predicted for one in groups) == [one.predicted for one in groups]
    assert all(one.low <= one.observed <= one.high for one in groups)
    assert len(calibration_at(read_survival([table]), "kaplan-meier", 72.0)) == 1


def test_what_is_written(evaluated):
    results, folder = evaluated
    assert read_table(folder / RESULTS, SURVIVAL_RESULTS)["estimate"].to_numpy() == pytest.approx(
        results["estimate"].to_numpy(float), nan_ok=True
    )
    names = {path.name for path in folder.iterdir()}
    assert {"risk_groups.png", "brier_over_time.svg", "calibration.png", "left_out.csv"} <= names
    page = (folder / PAGE).read_text()
    for words in (f"simulated data, {N} patients", "Horizon: 72 weeks", "global beats cox", "wm does not beat cox"):
        assert words in page
    assert json.loads((folder / "settings.json").read_text())["horizon_weeks"] == 72


def test_without_cox_everybody_alike_is_the_reference(table, tmp_path):
    frame = pd.read_csv(table)
    path = tmp_path / "cross_validation.csv"
    frame[frame["model"].isin(["wm", "kaplan-meier"])].to_csv(path, index=False)
    predicted = read_survival([path])
    assert (networks_of(predicted), reference_of(predicted)) == (["wm"], "kaplan-meier")
    results = survival_results(predicted, 72.0, SurvivalResampling(replicates=20))
    assert set(results["versus"]) == {"", "kaplan-meier", "age_years + edss_baseline + log_lesion_volume"}


def test_a_network_alone_is_judged_without_a_comparison(table, tmp_path):
    frame = pd.read_csv(table)
    path = tmp_path / "cross_validation.csv"
    blank = {"age_years": np.nan, "edss_baseline": np.nan, "lesion_volume_ml": np.nan}
    frame[frame["model"] == "global"].assign(**blank).to_csv(path, index=False)
    results = survival_results(read_survival([path]), 72.0, SurvivalResampling(replicates=20))
    alone = row(results, "global", "hazard_ratio_per_sd")
    assert alone["problem"] == "no covariate: the network alone"
    assert alone["p"] < 1e-6


def test_the_command_knows_survival_tables_by_their_header(table, tmp_path, capsys):
    code = main(
        ["evaluate", str(table), "-o", str(tmp_path / "out"), "--replicates", "5", "--models", "cox,kaplan-meier"]
    )
    assert code == 0
    assert f"2 models on {N} patients" in capsys.readouterr().out
    other = tmp_path / "disability.csv"
    other.write_text("patient_id,visit,model,fold,truth,probability,threshold\n")
    assert main(["evaluate", str(table), str(other), "-o", str(tmp_path / "mixed")]) == 2
    assert "expected all of --task survival or none" in capsys.readouterr().err
    assert main(["evaluate", str(table), "-o", str(tmp_path / "x"), "--scans", str(other)]) == 2
    assert main(["evaluate", str(table), "-o", str(tmp_path / "x"), "--models", "resnet"]) == 2
    assert "resnet" in capsys.readouterr().err


def test_a_horizon_between_the_weeks_is_refused(table, tmp_path):
    with pytest.raises(OptionError, match=r"expected a week of the curves \(24, 48, 72, 96\), found 50"):
        evaluate_survival(table, tmp_path / "out", horizon_weeks=50)
