import numpy as np
import pytest
from lifelines import CoxPHFitter, KaplanMeierFitter
from lifelines.statistics import logrank_test

from nnunet_ms.analysis.endpoints.progression_by_t2_volume import (
    km_curves,
    outcome_audit,
    progression_data,
    progression_statistics,
)
from nnunet_ms.analysis.endpoints.recipe import compute_endpoints
from nnunet_ms.analysis.endpoints.statistic_rows import select, to_frame, value_of
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.settings import read_settings
from nnunet_ms.errors import SettingsError
from tests.analysis.synthetic_trial import SETTINGS, patients, visits, write_trial


def compute(tmp_path, settings=SETTINGS, **changed):
    return compute_endpoints(read_trial(read_settings(write_trial(tmp_path, settings, **changed))))


@pytest.fixture(scope="module")
def data(trial):
    return progression_data(trial, "cdp24")


@pytest.fixture(scope="module")
def rows(trial, data):
    return to_frame(progression_statistics(trial, data))


@pytest.fixture(scope="module")
def table(data):
    """The outcome beside the baseline volumes of the table itself."""
    first = visits(patients()).query("week == 0").pivot_table(index="patient_id", columns="rater", values="volume_ml")
    return data.audit.join(first, on="patient_id")


@pytest.mark.parametrize("rater", ["reference", "model"])
def test_ratio_of_the_log_volume_against_lifelines(rows, table, rater):
    frame = table[["time_weeks", "event"]].assign(x=np.log(table[rater]))
    fit = CoxPHFitter().fit(frame, "time_weeks", "event", fit_options={"precision": 1e-10})
    keys = {"analysis": "cox_univariable", "rater": rater, "term": "log_tlv"}
    found = [value_of(rows, stat_name=s, **keys) for s in ("n", "events", "coefficient", "se", "p")]
    expected = [60, frame["event"].sum(), fit.params_["x"], fit.standard_errors_["x"], fit.summary["p"]["x"]]
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("rater", ["reference", "model"])
def test_halves_are_those_at_the_median_of_all_arms(trial, data, rows, table, rater):
    # Oracle: pandas' median, lifelines for curves and test.
    median = table[rater].median()
    assert value_of(rows, rater=rater, term="median", stat_name="tlv") == pytest.approx(median)
    for arm in ("placebo", "active"):
        of_arm = table[table["arm"] == arm]
        halves = {"tlv <= median": of_arm[of_arm[rater] <= median], "tlv > median": of_arm[of_arm[rater] > median]}
        for term, half in halves.items():
            keys = {"analysis": "km_at_median_tlv", "rater": rater, "arm": arm, "term": term}
            curve = KaplanMeierFitter().fit(half["time_weeks"], half["event"])
            assert [value_of(rows, visit="", stat_name=s, **keys) for s in ("n", "events")] == [
                len(half),
                half["event"].sum(),
            ]
            for week in (24, 48, 96):
                at = {**keys, "visit": str(week)}
                assert value_of(rows, stat_name="survival", **at) == pytest.approx(curve.predict(week))
                assert value_of(rows, stat_name="n_risk", **at) == (half["time_weeks"] >= week).sum()
            steps = select(km_curves(trial, data), rater=rater, arm=arm, term=term)
            assert steps["survival"].to_numpy() == pytest.approx(curve.predict(steps["week"]).to_numpy())
            assert set(steps["outcome"]) == {"cdp24"}
        low, high = halves.values()
        test = logrank_test(low["time_weeks"], high["time_weeks"], low["event"], high["event"])
        keys = {"analysis": "km_at_median_tlv", "rater": rater, "arm": arm, "term": "logrank", "stat_name": "p"}
        assert value_of(rows, **keys) == pytest.approx(test.p_value)


@pytest.mark.parametrize(("link", "shown"), [(0.0, 0), (3.0, 1)])
def test_halves_are_shown_only_where_the_volume_tells_something(tmp_path, link, shown):
    # Oracle: the rule, on outcomes that do not depend on the volume, and that do.
    trial = read_trial(read_settings(write_trial(tmp_path)))
    found = progression_data(trial, "cdp24")
    rng = np.random.default_rng(8)
    week = rng.exponential(60 * np.exp(-link * (np.log(found.volumes["model"].to_numpy()) - 1.8)))
    found.table["time_weeks"], found.table["event"] = week, True
    rows = to_frame(progression_statistics(trial, found))
    p = select(rows, analysis="cox_univariable", stat_name="p")["stat"]
    assert value_of(rows, term="shown", stat_name="shown") == shown == float((p < 0.1).any())


def test_an_outcome_needs_assessments(tmp_path):
    text = SETTINGS.replace('assessments = "assessments.csv"\n', "")
    trial = read_trial(read_settings(write_trial(tmp_path, text)))
    with pytest.raises(SettingsError, match=r"cdp24 needs \[tables\] assessments\. Name the table"):
        outcome_audit(trial, "cdp24")


def zero_baseline():
    masks = visits(patients())
    chosen = (masks["patient_id"] == "P005") & (masks["week"] == 0) & (masks["rater"] == "model")
    return masks.assign(volume_ml=masks["volume_ml"].mask(chosen, 0.0))


def test_zero_volume_must_be_decided(tmp_path):
    without = SETTINGS.replace('zero_volume = "exclude"\n', "")
    with pytest.raises(SettingsError, match=r"1 patients have a baseline volume of 0 ml \(first: P005\)"):
        compute(tmp_path, without, visits=zero_baseline())


@pytest.mark.parametrize(("how", "n"), [("exclude", 59), ("half_smallest_positive", 60)])
def test_zero_volume_before_the_logarithm(tmp_path, how, n):
    found = compute(tmp_path, SETTINGS.replace("exclude", how), visits=zero_baseline())
    counts = select(found.endpoints, analysis="cox_univariable", stat_name="n")["stat"]
    assert counts.tolist() == [n, n]
    reasons = found.exclusions.set_index("analysis")["reason"].to_dict()
    assert "no percent change" in reasons["t2_volume_percent_change"]
    assert ("cdp24" in reasons) == (how == "exclude")
