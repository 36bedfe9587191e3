"""Oracles: scipy's paired t and Pearson's r on columns of numbers, a plain bootstrap, and visits ordered by hand."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from nnunet_ms.analysis.evaluation.agreement_by_visit import (
    ALL_FOLLOW_UP,
    BY_VISIT,
    Visits,
    agreement_by_visit,
    has_change,
    order_visits,
)
from nnunet_ms.analysis.evaluation.rules import RULES
from nnunet_ms.errors import SettingsError

WEEKS = {"base": 0.0, "w24": 24.0, "w96": 96.0}
N = 12


def cohort(rule, gone=("p3", "p7"), seed=0):
    """Metrics and totals of twelve patients; those of `gone` have no scan at w96."""
    rng = np.random.default_rng(seed)
    metrics, totals = [], []
    for i in range(N):
        quality, load = rng.uniform(0.5, 0.8), rng.gamma(2, 5)
        for number, visit in enumerate(WEEKS):
            if visit == "w96" and f"p{i}" in gone:
                continue
            case = {"case_id": f"p{i}_{visit}", "patient_id": f"p{i}", "visit": visit}
            of_cases = [metric for metric in rule.metrics if metric not in ("r_vol", "r_count", "isbi15_raw")]
            values = quality - 0.02 * number + rng.normal(0, 0.03, len(of_cases))
            metrics += [{**case, "metric": m, "value": value} for m, value in zip(of_cases, values, strict=True)]
            for rater in ("reference", "net"):
                volume = load * (1 + 0.1 * number) * rng.uniform(0.8, 1.2)
                totals.append({**case, "rater": rater, "volume_ml": volume, "lesion_count": rng.integers(3, 40)})
    return pd.DataFrame(metrics), pd.DataFrame(totals)


VISITS = Visits(WEEKS, "base")
KRISHNAN = RULES["krishnan2023"]


@pytest.fixture(scope="module")
def data():
    return cohort(KRISHNAN)


@pytest.fixture(scope="module")
def table(data):
    return agreement_by_visit(*data, KRISHNAN, VISITS).set_index(["metric", "visit"])


@pytest.mark.parametrize("metric", ["dice", "ltpr", "lfpr", "ppv"])
@pytest.mark.parametrize("visit", ["w24", "w96", ALL_FOLLOW_UP])
def test_the_change_is_scipys_paired_t_of_the_patients_with_both(data, table, metric, visit):
    wide = data[0][data[0]["metric"] == metric].pivot_table("value", "patient_id", "visit")
    wide[ALL_FOLLOW_UP] = [np.nanmean(row) for row in wide[["w24", "w96"]].to_numpy()]
    both = wide[["base", visit]].dropna()
    test = scipy.stats.ttest_rel(both[visit], both["base"])
    limits = test.confidence_interval(0.95)
    row = table.loc[(metric, visit)]
    expected = [
        (both[visit] - both["base"]).mean(),
        limits.low,
        limits.high,
        test.pvalue,
        len(both),
        both["base"].mean(),
    ]
    assert row[["difference", "low", "high", "p", "n_paired", "baseline_mean"]].tolist() == pytest.approx(expected)
    assert row["percent"] == pytest.approx(100 * (both[visit].mean() / both["base"].mean() - 1))
    assert row["percent_low"] < row["percent"] < row["percent_high"]
    assert (row["mean"], row["n_patients"]) == (pytest.approx(wide[visit].mean()), wide[visit].notna().sum())


def test_cases_weeks_and_the_row_of_the_baseline(table):
    assert table.loc["dice", "n_cases"].to_dict() == {"base": 12, "w24": 12, "w96": 10, ALL_FOLLOW_UP: 22}
    assert table.loc["dice", "week"].fillna(-1).to_dict() == {"base": 0, "w24": 24, "w96": 96, ALL_FOLLOW_UP: -1}
    base = table.loc[("dice", "base")]
    assert (base["n_paired"], base["note"]) == (0, "")
    assert np.isnan(base[["difference", "low", "high", "percent"]].astype(float)).all()


def test_a_correlation_and_its_change_equal_scipy_and_a_plain_bootstrap(data, table):
    _, totals = data
    wide = totals.pivot_table("volume_ml", "patient_id", ["visit", "rater"]).dropna()
    before, after = (wide[visit] for visit in ("base", "w96"))
    r = [scipy.stats.pearsonr(side["reference"], side["net"])[0] for side in (before, after)]
    row = table.loc[("r_vol", "w96")]
    assert [row["baseline_mean"], row["paired_mean"], row["difference"]] == pytest.approx([*r, r[1] - r[0]])
    assert row["n_paired"] == 10
    rng = np.random.default_rng(0)  # the draws of the package, each looked at by itself
    counts = rng.multinomial(10, np.full(10, 0.1), size=2000)
    gaps = []
    for draw in counts:
        chosen = np.repeat(np.arange(10), draw)
        one, two = (np.corrcoef(side.to_numpy()[chosen].T)[0, 1] for side in (before, after))
        gaps.append(two - one)
    assert [row["low"], row["high"]] == pytest.approx(np.percentile(gaps, [2.5, 97.5]), abs=1e-9)


def test_the_score_of_the_challenge_is_of_the_visits_own_values():
    rule = RULES["isbi2015"]
    table = agreement_by_visit(*cohort(rule, gone=()), rule, VISITS).set_index(["metric", "visit"])
    for column, visit in (("mean", "base"), ("mean", "w96"), ("baseline_mean", "w24"), ("paired_mean", "w24")):
        x = table.xs(visit, level="visit")[column]
        expected = x["dice"] / 8 + x["ppv"] / 8 + (1 - x["lfpr"]) / 4 + x["ltpr"] / 4 + x["r_vol"] / 4
        assert x["isbi15_raw"] == pytest.approx(expected)
    row = table.loc[("isbi15_raw", "w24")]
    assert row["note"] == "a score of the whole cohort: no interval"
    assert np.isnan([row["low"], row["high"], row["p"]]).all()


def cases(*rows):
    return pd.DataFrame(rows, columns=["visit", "week"])


@pytest.mark.parametrize(
    ("rows", "asked", "order", "baseline", "problem"),
    [
        ([("w24", 24.2), ("base", 0.1), ("w24", 23.0)], None, ["base", "w24"], "base", ""),
        ([("b", 10.0), ("a", 2.0)], None, ["a", "b"], "a", ""),
        ([("screening", -4.0), ("base", 0.0), ("w24", 24.0)], "base", ["base", "screening", "w24"], "base", ""),
        ([("one", np.nan), ("two", np.nan)], None, ["one", "two"], "", "no week is known"),
        ([("one", np.nan), ("two", np.nan)], "two", ["two", "one"], "two", ""),
        ([("a", 0.0), ("b", 0.0)], None, ["a", "b"], "", "a and b are at the same week"),
        ([("a", 0.0), ("b", np.nan)], None, ["a", "b"], "a", ""),
        ([("only", 0.0)], None, ["only"], "only", ""),
        ([("unknown", np.nan)], None, [], "", "no visit of a case is known"),
    ],
)
def test_the_earliest_visit_is_the_baseline_and_what_is_not_known_is_said(rows, asked, order, baseline, problem):
    visits = order_visits(cases(*rows), asked)
    assert list(visits.weeks) == order
    assert visits.baseline == baseline
    assert visits.problem.startswith(problem)
    assert bool(visits.problem) == bool(problem)


def test_a_baseline_that_is_no_visit_and_a_visit_called_as_a_row_are_refused():
    with pytest.raises(SettingsError, match=r"baseline_visit: expected one of \['a', 'b'\], found 'c'"):
        order_visits(cases(("a", 0.0), ("b", 1.0)), "c")
    with pytest.raises(SettingsError, match="this is the name of the row of all visits"):
        order_visits(cases((ALL_FOLLOW_UP, 0.0)))


def test_without_a_baseline_there_are_means_and_a_reason(data):
    visits = Visits(WEEKS, problem="no week is known")
    table = agreement_by_visit(*data, KRISHNAN, visits)
    assert set(table["visit"]) == set(WEEKS)
    assert table["mean"].notna().all()
    assert table["difference"].isna().all()
    assert set(table["note"]) == {"no week is known"}
    assert not has_change(table.assign(baseline_visit=""))


def test_a_patient_without_baseline_is_in_the_mean_of_the_visit_and_in_no_pair(data):
    metrics, totals = (frame[~((frame["patient_id"] == "p0") & (frame["visit"] == "base"))] for frame in data)
    row = agreement_by_visit(metrics, totals, KRISHNAN, VISITS).set_index(["metric", "visit"]).loc[("dice", "w24")]
    assert (row["n_patients"], row["n_paired"]) == (12, 11)


def test_two_scans_of_a_patient_at_a_visit_count_as_their_mean(data):
    metrics, totals = data
    twice = metrics[(metrics["patient_id"] == "p0") & (metrics["visit"] == "w24")].assign(case_id="again", value=0.0)
    table = agreement_by_visit(pd.concat([metrics, twice]), totals, KRISHNAN, VISITS).set_index(["metric", "visit"])
    values = metrics[(metrics["metric"] == "dice") & (metrics["visit"] == "w24")].set_index("patient_id")["value"]
    values["p0"] /= 2
    assert table.loc[("dice", "w24"), "mean"] == pytest.approx(values.mean())
    assert table.loc[("dice", "w24"), "n_patients"] == 12


@pytest.mark.parametrize(("patients", "note"), [(1, "one patient: no interval"), (0, "no patient has both values")])
def test_one_patient_or_none_with_both_visits_has_no_interval_and_says_why(data, patients, note):
    later = {f"p{i}" for i in range(patients)}
    metrics, totals = (frame[(frame["visit"] == "base") | frame["patient_id"].isin(later)] for frame in data)
    table = agreement_by_visit(metrics, totals, KRISHNAN, VISITS).set_index(["metric", "visit"])
    row = table.loc[("dice", "w24")]
    assert (row["n_paired"], row["note"]) == (patients, note)
    assert np.isnan([row["low"], row["high"], row["p"]]).all()
    assert "undefined" in table.loc[("r_vol", "w24"), "note"]


def test_every_column_of_the_table_is_there(table):
    made = {*table.columns, "metric", "visit", "rater", "lesion_type", "rule", "data_note"}
    assert made == set(BY_VISIT.names)
