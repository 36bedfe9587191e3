import numpy as np
import pandas as pd
import pytest

from nnunet_ms.analysis.survival import above_median, cox_univariable, kaplan_meier, logrank, survival_at


@pytest.fixture
def cohort(shared):
    folder = shared / "oracles" / "endpoints"
    return pd.read_csv(folder / "patients.csv").merge(pd.read_csv(folder / "tte.csv"))


@pytest.fixture
def oracle(shared):
    frame = pd.read_csv(shared / "oracles" / "endpoints" / "oracles.csv")
    return {(r.analysis, r.term, r.stat): r.value for r in frame.itertuples()}


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_cox_against_r(cohort, oracle, ties):
    # Oracle: R 4.2.2, survival 3.5.3, coxph(Surv(weeks, event) ~ log_tlv, ties = ties); oracles.R.
    found = cox_univariable(cohort["weeks"], cohort["event"], np.log(cohort["t2_tlv_ml_baseline"]), ties)
    values = {
        "coef": found.coefficient,
        "se": found.se,
        "p": found.p,
        "hr": found.hazard_ratio,
        "hr_low": found.low,
        "hr_high": found.high,
    }
    name = f"cox_uni_log_tlv_{ties}"
    for stat, value in values.items():
        assert value == pytest.approx(float(oracle[name, "log_tlv", stat]), rel=1e-6), stat
    assert found.log_likelihood == pytest.approx(float(oracle[name, "model", "loglik"]), rel=1e-9)
    assert (found.n, found.events) == (360, 98)


def test_logrank_against_r(cohort, oracle):
    # Oracle: R 4.2.2, survival 3.5.3, survdiff; oracles.R.
    _, high = above_median(cohort["t2_tlv_ml_baseline"])
    cases = {"logrank_arm": (cohort, cohort["arm"])}
    for arm in ("control", "active"):
        chosen = (cohort["arm"] == arm).to_numpy()
        cases[f"logrank_tlv_median_in_{arm}"] = (cohort[chosen], high[chosen])
    for name, (frame, group) in cases.items():
        found = logrank(frame["weeks"], frame["event"], group)
        for stat in ("chisq", "df", "p"):
            assert getattr(found, stat) == pytest.approx(float(oracle[name, "model", stat]), rel=1e-6), (name, stat)


@pytest.mark.parametrize("interval", ["log", "log-log", "plain"])
def test_kaplan_meier_against_r(cohort, oracle, interval):
    # Oracle: R 4.2.2, survival 3.5.3, summary(survfit(..., conf.type = interval), times = ...); oracles.R.
    for arm in ("control", "active"):
        of_arm = cohort[cohort["arm"] == arm]
        curve = kaplan_meier(of_arm["weeks"], of_arm["event"], interval)
        for week in (24, 48, 96, 120):
            found = survival_at(curve, of_arm["weeks"], week)
            for stat, value in zip(("n_risk", "survival", "low", "high"), found, strict=True):
                expected = float(oracle[f"km_{interval}", f"{arm}@{week}", stat])
                assert value == pytest.approx(expected, rel=1e-6), (arm, week, stat)


def test_kaplan_meier_on_paper():
    # Oracle: by hand. 4 patients: event at 1, censored at 2, event at 3, event at 3: S = 3/4, 3/4, 0.
    curve = kaplan_meier([1, 2, 3, 3], [1, 0, 1, 1], "log")
    assert curve["survival"].tolist() == [0.75, 0.75, 0]
    assert curve["n_risk"].tolist() == [4, 3, 2]
    assert curve[["low", "high"]].iloc[-1].isna().all()
    assert survival_at(curve, [1, 2, 3, 3], 0.5) == (4, 1.0, 1.0, 1.0)
    assert survival_at(curve, [1, 2, 3, 3], 4)[0] == 0


@pytest.mark.parametrize("interval", ["log", "log-log", "plain"])
def test_limits_stay_between_0_and_1(interval):
    rng = np.random.default_rng(5)
    curve = kaplan_meier(rng.integers(1, 9, 12), rng.random(12) < 0.8, interval)
    inside = curve[curve["survival"] > 0]
    assert ((inside["low"] >= 0) & (inside["low"] <= inside["survival"])).all()
    assert ((inside["high"] <= 1) & (inside["high"] >= inside["survival"])).all()


def test_no_event_leaves_survival_at_1():
    assert kaplan_meier([3, 5], [0, 0], "log-log")[["survival", "low", "high"]].to_numpy().tolist() == [[1, 1, 1]] * 2


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize(
    ("weeks", "event", "covariate", "message"),
    [
        ([], [], [], "0 patients"),
        ([5], [1], [1.0], "1 patients"),
        ([5, 6], [0, 0], [1.0, 2.0], "no events"),
        ([5, 6], [1, 1], [1.0, 1.0], "constant"),
        ([5, 6, 7], [1, 0, 0], [9.0, 1.0, 2.0], "separates"),
        ([5, 6, 7], [1, 0, 0], [0.0, 1.0, 2.0], "separates"),
        ([5, 6, 7], [0, 1, 1], [0.0, 1.0, 1.0], "does not vary"),
    ],
)
def test_cox_without_an_estimate_says_why(weeks, event, covariate, message, ties):
    found = cox_univariable(weeks, event, covariate, ties)
    assert message in found.problem
    assert np.isnan(found.hazard_ratio)


def test_logrank_without_an_estimate_says_why():
    assert "1 group" in logrank([1, 2], [1, 1], ["a", "a"]).problem
    assert "no events" in logrank([1, 2], [0, 0], ["a", "b"]).problem
    assert "only one group" in logrank([1, 2, 3], [0, 1, 1], ["a", "b", "b"]).problem


def test_ties_with_the_median_are_not_above_it():
    median, high = above_median([1.0, 2.0, 2.0, 3.0])
    assert median == 2
    assert high.tolist() == [False, False, False, True]
