from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from nnunet_ms.statistics.survival import (
    MeanTime,
    above_median,
    kaplan_meier,
    logrank,
    mean_time_difference,
    median_time,
    restricted_mean,
    survival_at,
)


@pytest.fixture
def cohort(oracle_folder):
    folder = oracle_folder
    return pd.read_csv(folder / "patients.csv").merge(pd.read_csv(folder / "tte.csv"))


@pytest.fixture
def oracle(oracle_folder):
    frame = pd.read_csv(oracle_folder / "oracles.csv")
    return {(r.analysis, r.term, r.stat): r.value for r in frame.itertuples()}


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


def test_logrank_without_an_estimate_says_why():
    assert "1 group" in logrank([1, 2], [1, 1], ["a", "a"]).problem
    assert "no events" in logrank([1, 2], [0, 0], ["a", "b"]).problem
    assert "only one group" in logrank([1, 2, 3], [0, 1, 1], ["a", "b", "b"]).problem


def test_ties_with_the_median_are_not_above_it():
    median, high = above_median([1.0, 2.0, 2.0, 3.0])
    assert median == 2
    assert high.tolist() == [False, False, False, True]


def test_restricted_mean_against_the_area_and_lifelines():
    # Oracle: lifelines 0.30 for the area; Greenwood's plug-in variance, written as the sum over events by hand.
    from lifelines import KaplanMeierFitter
    from lifelines.utils import restricted_mean_survival_time

    rng = np.random.default_rng(2)
    time, event = rng.integers(1, 30, 80).astype(float), rng.random(80) < 0.6
    found = restricted_mean(time, event, 24)
    fitter = KaplanMeierFitter().fit(time, event)
    assert found.estimate == pytest.approx(restricted_mean_survival_time(fitter, t=24), rel=1e-9)
    grid = np.arange(0, 24, 0.001) + 0.0005
    height = np.array([fitter.predict(g) for g in np.arange(0, 24) + 0.5]).repeat(1000)
    variance = sum(
        (height[grid > t].sum() * 0.001) ** 2 * d / (n * (n - d))
        for t in np.unique(time[event])
        if t < 24 and (d := ((time == t) & event).sum()) and (n := (time >= t).sum())
    )
    assert found.se == pytest.approx(np.sqrt(variance), rel=1e-6)
    gap = mean_time_difference(found, restricted_mean(time, event, 24))
    assert (gap.estimate, gap.p) == (0, 1)
    assert "nobody was followed to week 99" in restricted_mean(time, [*event[:-1], False], 99).problem


def test_median_time_of_a_flat_step():
    # Oracle: R, quantile.survfit: the middle of the step at exactly one half. 4 patients, events at 1, 2, 5, 6.
    curve = kaplan_meier([1, 2, 5, 6], [1, 1, 1, 1], "log")
    assert (median_time(curve), median_time(curve, "first")) == (3.5, 2)
    assert np.isnan(median_time(kaplan_meier([1, 2], [0, 0], "log")))


def test_one_stratum_is_no_stratum_and_three_groups_against_statsmodels():
    from statsmodels.duration.survfunc import survdiff

    rng = np.random.default_rng(3)
    time, event, group, strata = rng.integers(1, 12, 90), rng.random(90) < 0.5, np.arange(90) % 3, np.arange(90) // 30
    assert logrank(time, event, group, np.zeros(90)) == logrank(time, event, group)
    assert logrank(time, event, group).chisq == pytest.approx(survdiff(time, event.astype(int), group)[0], rel=1e-9)
    found = logrank(time, event, group, strata)
    peer = survdiff(time, event.astype(int), group, strata=strata)
    assert (found.chisq, found.p) == pytest.approx(peer, rel=1e-9)


def test_restricted_mean_and_median_equal_rs():
    # Oracle: R 4.2.2, survival 3.5.3; script and versions in restricted_mean.R and .csv beside this file.
    i = np.arange(40)
    time, event, group = (i * i * 3 + 5 * i) % 29 + 1.0, (i * 7) % 5 < 3, i % 2
    expected = pd.read_csv(Path(__file__).with_name("restricted_mean.csv"))
    assert len(expected) == 6
    for row in expected.itertuples():
        of = group == row.group
        found = restricted_mean(time[of], event[of], row.horizon)
        assert (found.estimate, found.se) == pytest.approx((row.mean, row.se), rel=1e-12)
        half = scipy.stats.norm.ppf(0.975) * row.se
        assert (found.low, found.high) == pytest.approx((row.mean - half, row.mean + half))
        assert median_time(kaplan_meier(time[of], event[of], "log")) == row.median


def test_difference_of_restricted_means_by_hand():
    # Oracle: Wald's interval of two independent estimates, 3 and 4 making 5.
    a, b = MeanTime(24, 20.0, 3.0), MeanTime(24, 13.0, 4.0)
    found = mean_time_difference(a, b, confidence=0.9)
    z = scipy.stats.norm.ppf(0.95)
    assert (found.estimate, found.se) == (7, 5)
    assert (found.low, found.high) == pytest.approx((7 - 5 * z, 7 + 5 * z))
    assert found.p == pytest.approx(2 * scipy.stats.norm.sf(7 / 5))
    assert mean_time_difference(MeanTime(24, 24.0, 0.0), MeanTime(24, 24.0, 0.0)).problem == "no events"


def test_logrank_of_two_groups_on_paper():
    # By hand. a: 1, 3, 5+; b: 2, 4+, 6. At 1, 2, 3 and 6 the risk sets are 3 + 3, 2 + 3, 2 + 2 and 0 + 1:
    # E(a) = 1/2 + 2/5 + 1/2, variance 1/4 + 6/25 + 1/4.
    found = logrank([1, 3, 5, 2, 4, 6], [1, 1, 0, 1, 0, 1], list("aaabbb"))
    assert (found.chisq, found.df) == pytest.approx((0.6**2 / 0.74, 1))
    assert found.p == pytest.approx(scipy.stats.chi2.sf(0.36 / 0.74, 1))


def test_survival_at_the_last_patients_week_and_beyond():
    # Oracle: R's summary(survfit, times = ...): at week 9 one patient is at risk, at week 10 nobody.
    weeks, event = [2, 5, 9], [1, 0, 0]
    curve = kaplan_meier(weeks, event, "plain")
    assert survival_at(curve, weeks, 9)[:2] == (1, pytest.approx(2 / 3))
    nobody = survival_at(curve, weeks, 10)
    assert nobody[0] == 0
    assert np.isnan(nobody[1:]).all()
