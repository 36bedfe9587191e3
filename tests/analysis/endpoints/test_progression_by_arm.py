from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter, KaplanMeierFitter
from lifelines.statistics import logrank_test
from lifelines.utils import restricted_mean_survival_time
from statsmodels.duration.survfunc import survdiff

from nnunet_ms.analysis.endpoints.progression_by_arm import curves_by_arm, hazard_ratio, strata_of, treatment_statistics
from nnunet_ms.analysis.endpoints.statistic_rows import reason_of, select, to_frame, value_of
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.settings import read_settings
from tests.analysis.synthetic_trial import SETTINGS, patients, write_trial

ARMS = ("placebo", "active")


def audit(**changed):
    """An outcome of every patient: week, event, and one patient (P059) whose outcome could not be derived."""
    rng = np.random.default_rng(12)
    table = patients()[["patient_id", "arm", "region"]]
    active = table["arm"] == "active"
    onset = np.ceil(rng.exponential(np.where(active, 160, 80)) / 12) * 12
    end = np.where(rng.random(60) < 0.3, 60.0, 108.0)
    found = table.assign(time_weeks=np.minimum(onset, end), event=onset <= end, outcome="cdp24", reason="")
    found.loc[59, "time_weeks"] = np.nan
    return found.assign(**changed)


@pytest.fixture(scope="module")
def table():
    return audit().dropna(subset=["time_weeks"])


@pytest.fixture(scope="module")
def rows(trial):
    return to_frame(treatment_statistics(trial, "cdp24", audit()))


def test_curves_by_arm_against_lifelines(trial, rows, table):
    # Oracle: lifelines for survival and median; the counts by pandas.
    for arm in ARMS:
        of_arm = table[table["arm"] == arm]
        curve = KaplanMeierFitter().fit(of_arm["time_weeks"], of_arm["event"])
        keys = {"analysis": "km_by_arm", "arm": arm}
        found = [value_of(rows, visit="", stat_name=name, **keys) for name in ("n", "events")]
        assert found == [len(of_arm), of_arm["event"].sum()]
        for week in (0, 24, 48, 96):
            at = {**keys, "visit": str(week)}
            assert value_of(rows, stat_name="n_risk", **at) == (of_arm["time_weeks"] >= week).sum()
            assert value_of(rows, stat_name="survival", **at) == pytest.approx(curve.predict(week))
        steps = select(curves_by_arm(trial, audit()), arm=arm)
        assert steps["week"].tolist() == sorted(of_arm["time_weeks"].unique())
        assert steps["survival"].to_numpy() == pytest.approx(curve.predict(steps["week"]).to_numpy())
    placebo = select(curves_by_arm(trial, audit()), arm="placebo")
    first = placebo.loc[placebo["survival"] <= 0.5, "week"].iloc[0]
    assert value_of(rows, analysis="km_by_arm", arm="placebo", stat_name="median") == first
    quiet = audit(event=np.arange(60) % 9 == 0)
    above = to_frame(treatment_statistics(trial, "cdp24", quiet))
    why = reason_of(above, analysis="km_by_arm", arm="active", stat_name="median")
    assert why == "not estimable (survival stays above one half)"


def test_logrank_tests_plain_and_stratified(rows, table):
    # Oracle: lifelines, and statsmodels with strata.
    a, b = (table[table["arm"] == arm] for arm in ARMS)
    plain = logrank_test(a["time_weeks"], b["time_weeks"], a["event"], b["event"])
    keys = {"analysis": "km_by_arm", "stat_name": "p"}
    assert value_of(rows, term="logrank", **keys) == pytest.approx(plain.p_value)
    peer = survdiff(table["time_weeks"], table["event"].astype(int), table["arm"], strata=table["region"])
    assert value_of(rows, term="logrank_stratified", **keys) == pytest.approx(peer[1])
    assert value_of(rows, term="logrank_stratified", analysis="km_by_arm", stat_name="df") == 1
    assert select(rows, term="logrank_stratified")["method"].str.endswith("strata: region").all()


def test_hazard_ratios_plain_and_stratified(rows, table):
    # Oracle: lifelines, Efron's ties as its default.
    frame = table[["time_weeks", "event"]].assign(arm=(table["arm"] == "active") * 1.0, region=table["region"])
    for analysis, strata in (("cox_by_arm", None), ("cox_by_arm_stratified", ["region"])):
        data = frame if strata else frame.drop(columns="region")
        fit = CoxPHFitter().fit(data, "time_weeks", "event", strata=strata, fit_options={"precision": 1e-10})
        keys = {"analysis": analysis, "term": "arm", "contrast": "active - placebo"}
        found = [value_of(rows, stat_name=s, **keys) for s in ("coefficient", "se", "p", "n", "events")]
        expected = [fit.params_["arm"], fit.standard_errors_["arm"], fit.summary["p"]["arm"], 59, table["event"].sum()]
        assert found == pytest.approx(expected, rel=1e-4)


def test_mean_time_up_to_the_last_week_that_every_arm_reaches(trial, rows, table):
    # Oracle: lifelines' area; weeks by hand: the last visit is 96; where one arm ends at week 60, all do.
    for frame, found, horizon in (
        (table, rows, 96),
        (cut := table.assign(time_weeks=table["time_weeks"].mask(table["arm"] == "active", 60.0)),
         to_frame(treatment_statistics(trial, "cdp24", cut)), 60),
    ):  # fmt: skip
        means = {}
        for arm in ARMS:
            of_arm = frame[frame["arm"] == arm]
            curve = KaplanMeierFitter().fit(of_arm["time_weeks"], of_arm["event"])
            means[arm] = restricted_mean_survival_time(curve, t=horizon)
            at = {"analysis": "rmst", "arm": arm, "stat_name": "mean_time"}
            assert value_of(found, **at) == pytest.approx(means[arm])
            assert f"up to week {horizon}," in select(found, **at)["method"].iloc[0]
        gap = value_of(found, analysis="rmst", contrast="active - placebo", stat_name="difference")
        assert gap == pytest.approx(means["active"] - means["placebo"])


@pytest.mark.parametrize(("lacking", "ratio_is"), [("active", "< 1"), ("placebo", "> 1")])
def test_an_arm_without_an_event_is_estimated_by_firth(lacking, ratio_is, table):
    quiet = table.assign(event=table["event"] & (table["arm"] != lacking))
    found, method = hazard_ratio(quiet, "active", "placebo", "efron")
    assert method == f"Firth's penalised likelihood, Efron ties, profile interval (no event in arm {lacking})"
    assert (found.hazard_ratio < 1) == (ratio_is == "< 1")
    assert np.isfinite([found.low, found.high, found.p]).all()


def test_only_the_two_arms_compared_take_part(table):
    # Oracle: the fit without the third arm's patients.
    third = table["patient_id"].isin([f"P{i:03d}" for i in range(0, 60, 4)])
    three = table.assign(arm=table["arm"].mask(third, "third"))
    strata = three["region"].to_numpy()
    found, method = hazard_ratio(three, "active", "placebo", "breslow", strata, 0.9)
    alone, _ = hazard_ratio(three[~third], "active", "placebo", "breslow", strata[~third], 0.9)
    assert found == alone
    assert found.n == (~third).sum()
    assert method == "Cox regression, Breslow ties, Wald interval"


def test_strata_are_crossed_and_none_is_none(trial, tmp_path, table):
    assert strata_of(trial, table).tolist() == table["region"].tolist()
    path = write_trial(tmp_path, SETTINGS + 'strata = ["region", "sex"]\n')
    both = read_trial(read_settings(path))
    sex = patients().set_index("patient_id")["sex"]
    expected = [f"{region} / {sex[p]}" for p, region in zip(table["patient_id"], table["region"], strict=True)]
    assert strata_of(both, table).tolist() == expected
    analysis = replace(both.settings.analysis, strata=())
    plain = replace(both, settings=replace(both.settings, analysis=analysis))
    assert strata_of(plain, table) is None
    rows = to_frame(treatment_statistics(plain, "cdp24", audit()))
    assert not (rows["analysis"] + rows["term"]).str.contains("stratified").any()


def test_nobody_with_an_outcome_is_no_crash(trial):
    empty = to_frame(treatment_statistics(trial, "cdp24", audit(time_weeks=np.nan)))
    blank = empty[empty["stat"].isna()]
    assert blank["method"].str.contains(r"not estimable \(.+\)").all()
    assert set(pd.unique(empty.loc[empty["stat_name"] == "n", "stat"])) == {0.0}
