"""The true statistics against lifelines, against Monte Carlo and against the analysis of simulated EDSS values."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from nnunet_ms.simulation import cohort
from nnunet_ms.simulation.streams import Step, stream
from nnunet_ms.simulation.trial_presets import DEMO
from nnunet_ms.simulation.truth import mean_percent_change, observed_progression, outcomes, truth_rows

N = 4000


@pytest.fixture(scope="module")
def rows():
    return pd.DataFrame(truth_rows(DEMO))


@pytest.fixture(scope="module")
def population():
    """One large draw of the generating model, as a trial would record it: arm, baseline, onset, EDSS."""
    rng = np.random.default_rng(11)
    arm = cohort.draw_arms(DEMO, N, rng)
    baseline = cohort.draw_baseline(DEMO, N, rng)
    ratio = cohort.log_hazard_ratio(DEMO, DEMO.edss, arm, baseline)
    onset = cohort.draw_onset(DEMO.edss.per_year, ratio, rng)
    return arm, baseline, onset, cohort.draw_edss(DEMO, baseline.edss, onset, rng)


def naive_cdp24(weeks, edss):
    """Week and flag of confirmed progression by the definition: every value of 24 weeks at or above the threshold."""
    threshold = edss[0] + (1.0 if edss[0] <= 5.5 else 0.5)
    for i, start in enumerate(weeks):
        later = [j for j in range(i, len(weeks)) if weeks[j] <= start + 24]
        if weeks[-1] >= start + 24 and all(edss[j] >= threshold for j in later):
            return start, True
    return weeks[-1], False  # censored at the last assessment


def test_edss_shows_exactly_the_simulated_progressions(population):
    # Oracle: the definition of confirmed progression applied to the EDSS values, patient by patient.
    _, baseline, onset, edss = population
    time, event = observed_progression(DEMO, onset, baseline.discontinued_week, 24)
    weeks = np.array(DEMO.assessment_weeks)
    for i in range(600):
        attended = weeks[weeks <= baseline.discontinued_week[i]]
        assert naive_cdp24(attended, edss[i]) == (time[i], event[i])


def test_edss_fluctuates_without_confirming_and_stays_on_the_scale(population):
    _, baseline, onset, edss = population
    stable = onset > 200
    assert (edss[stable] - baseline.edss[stable, None] >= 1).any()
    assert set(np.unique(edss)) <= {0.0, *np.arange(1, 10.5, 0.5)}
    np.testing.assert_array_equal(edss[:, 0], baseline.edss)


def test_hazard_ratio_is_recovered_from_an_independent_draw(population, rows):
    from lifelines import CoxPHFitter

    _, baseline, onset, _ = population
    time, event = observed_progression(DEMO, onset, baseline.discontinued_week, 24)
    fit = CoxPHFitter().fit(pd.DataFrame({"time": time, "event": event, "x": baseline.log_tlv}), "time", "event")
    truth = np.log(rows.loc[(rows.analysis == "cox_univariable") & (rows.endpoint == "cdp24"), "stat"].item())
    assert abs(fit.params_["x"] - truth) < 3 * fit.standard_errors_["x"]


def test_survival_is_recovered_by_kaplan_meier(population, rows):
    from lifelines import KaplanMeierFitter

    arm, baseline, onset, _ = population
    time, event = observed_progression(DEMO, onset, baseline.discontinued_week, 24)
    low = baseline.log_tlv <= np.median(baseline.log_tlv)
    truth = rows[(rows.analysis == "km_at_median_tlv") & (rows.endpoint == "cdp24")].set_index(["arm", "term"])["stat"]
    for index, name in enumerate(("placebo", "active")):
        for term, half in (("tlv <= median", low), ("tlv > median", ~low)):
            group = half & (arm == index)
            survival = KaplanMeierFitter().fit(time[group], event[group]).predict(96)
            error = np.sqrt(survival * (1 - survival) / group.sum())
            assert abs(survival - truth[name, term]) < 4 * error


def test_percent_change_and_separation_are_recovered(rows):
    # Oracle: means of simulated volumes, within four Monte Carlo standard errors.
    rng = np.random.default_rng(2)
    arm = cohort.draw_arms(DEMO, 40 * N, rng)
    log_tlv = cohort.draw_log_tlv(DEMO, arm, np.zeros(arm.size), rng)
    change = 100 * np.expm1(log_tlv - log_tlv[:, :1])
    error = change.std(axis=0) / np.sqrt(arm.size / 2)
    for k, week in enumerate(DEMO.mri_weeks[1:], start=1):
        means = [change[arm == a, k].mean() for a in (0, 1)]
        assert means == pytest.approx([mean_percent_change(DEMO, a, week) for a in (0, 1)], abs=4 * error[k])
        at_week = rows[(rows.stat_name == "separation") & (rows.visit == str(week))]
        assert at_week.stat.item() == pytest.approx(means[1] - means[0], abs=6 * error[k])


def test_no_effect_means_no_separation():
    same = replace(DEMO.arms[0], name="active")
    rows = truth_rows(replace(DEMO, arms=(DEMO.arms[0], same)))
    assert [row["stat"] for row in rows if row["stat_name"] in ("separation", "difference")] == [0, 0, 0]


def test_rows_use_the_vocabulary_of_the_endpoints(rows):
    found = set(zip(rows.endpoint, rows.analysis, rows.stat_name, strict=True))
    expected = {
        ("t2_volume_percent_change", "by_visit", "mean"),
        ("t2_volume_percent_change", "by_visit", "separation"),
        ("t2_volume_percent_change", "ancova", "difference"),
    }
    for name in ("enhancing_lesions", "new_t1_lesions", "new_t2_lesions"):
        expected.add((name, "negative_binomial", "rate_ratio"))
    for name in ("cdp12", "cdp24", "t25fw12", "t25fw24", "9hpt12", "9hpt24", "ccdp12", "ccdp24"):
        expected |= {(name, "cox_univariable", "hazard_ratio"), (name, "cox_by_arm", "hazard_ratio")}
        expected.add((name, "km_at_median_tlv", "survival"))
    assert found == expected
    assert {outcome.name for outcome in outcomes(DEMO)} <= {name for name, _, _ in found}
    assert set(rows.contrast) == {"", "active - placebo"}
    assert set(rows.visit) == {"", "24", "96"}
    assert rows.how.str.len().min() > 20


def test_timed_test_worsens_by_more_than_a_fifth_after_its_onset():
    onset = np.array([30.0, np.inf])
    seconds = cohort.draw_timed_test(DEMO, DEMO.t25fw, onset, np.random.default_rng(0))
    ratio = seconds / seconds[:, :1]
    assert (ratio[0, 3:] > 1.2).all()
    assert (ratio[1] < 1.2).all()


def test_blocks_balance_the_arms():
    arms = cohort.draw_arms(DEMO, 42, stream(5, Step.ALLOCATION))
    assert np.bincount(arms[:40]).tolist() == [20, 20]
    np.testing.assert_array_equal(arms[:7], cohort.draw_arms(DEMO, 7, stream(5, Step.ALLOCATION)))
