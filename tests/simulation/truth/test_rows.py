"""The true statistics against lifelines, against Monte Carlo and against the analysis of simulated EDSS values."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from nnunet_ms.simulation.model import cohort
from nnunet_ms.simulation.model.table_reader import read_volumes
from nnunet_ms.simulation.model.trial_presets import DEMO, PRESETS
from nnunet_ms.simulation.truth.expected_cox import expected_events, limit_of_cox
from nnunet_ms.simulation.truth.population import observed_progression, outcomes
from nnunet_ms.simulation.truth.progression import multivariable_covariates
from nnunet_ms.simulation.truth.rows import mean_percent_change, truth_rows

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
    volume = [row for row in rows if str(row["analysis"]) in ("by_visit", "ancova", "mmrm", "t2_volume_separation")]
    gaps = [row["stat"] for row in volume if row["stat_name"] in ("separation", "difference", "geometric_mean_ratio")]
    assert gaps == [0, 0, 0, 1, 1, 0]


def test_geometric_means_are_recovered(rows):
    # Oracle: means of simulated log volumes, within four Monte Carlo standard errors.
    rng = np.random.default_rng(8)
    arm = cohort.draw_arms(DEMO, 10 * N, rng)
    log_tlv = cohort.draw_log_tlv(DEMO, arm, np.zeros(arm.size), rng)
    for k, week in enumerate(DEMO.mri_weeks[1:], start=1):
        gap = log_tlv[arm == 1, k].mean() - log_tlv[arm == 0, k].mean()
        truth = rows[(rows.analysis == "mmrm") & (rows.visit == str(week))]["stat"].item()
        assert np.log(truth) == pytest.approx(gap, abs=4 * 2 * log_tlv[:, k].std() / np.sqrt(arm.size))


@pytest.fixture(scope="module")
def cdp24(population):
    """Week, event, arm and covariates of the large draw."""
    arm, baseline, onset, _ = population
    time, event = observed_progression(DEMO, onset, baseline.discontinued_week, 24)
    X, names = multivariable_covariates(arm, baseline)
    return pd.DataFrame(X, columns=list(names)).assign(
        time=time, event=event, region=baseline.us.astype(int), edss=baseline.edss
    )


def test_multivariable_model_is_recovered(cdp24, rows):
    from lifelines import CoxPHFitter

    fit = CoxPHFitter().fit(cdp24.drop(columns=["region", "edss"]), "time", "event")
    truth = rows[(rows.analysis == "cox_multivariable") & (rows.endpoint == "cdp24")].set_index("term")["stat"]
    assert set(truth.index) == set(fit.params_.index)
    for term, ratio in truth.items():
        assert abs(fit.params_[term] - np.log(ratio)) < 3.5 * fit.standard_errors_[term]


def test_stratified_and_subgroup_ratios_are_recovered(cdp24, rows):
    from lifelines import CoxPHFitter

    ratios = rows[(rows.endpoint == "cdp24") & (rows.contrast != "")]
    truth = dict(zip(zip(ratios.analysis, ratios.term, strict=True), ratios.stat, strict=True))
    stratified = CoxPHFitter().fit(cdp24[["time", "event", "arm", "region"]], "time", "event", strata=["region"])
    low = cdp24[cdp24.edss < 4][["time", "event", "arm"]]
    within = CoxPHFitter().fit(low, "time", "event")
    for fit, key in ((stratified, ("cox_by_arm_stratified", "arm")), (within, ("subgroup", "edss_stratum: < 4"))):
        assert abs(fit.params_["arm"] - np.log(truth[key])) < 3.5 * fit.standard_errors_["arm"]


def test_strata_with_hazards_of_their_own_change_the_limit():
    # Oracle: lifelines on a large draw in which one stratum progresses four times as fast as the other.
    from lifelines import CoxPHFitter

    rng, n = np.random.default_rng(4), 40_000
    arm, stratum = rng.integers(0, 2, n).astype(float), rng.random(n) < 0.5
    rate = 0.3 * np.exp(0.7 * arm + np.log(4) * stratum)
    onset = cohort.draw_onset(1.0, np.log(rate), rng)
    preset = replace(DEMO, discontinuations_per_year=1e-9)
    time, event = observed_progression(preset, onset, np.full(n, np.inf), 24)
    frame = pd.DataFrame({"time": time, "event": event, "arm": arm, "stratum": stratum.astype(int)})
    fit = CoxPHFitter().fit(frame, "time", "event", strata=["stratum"])
    expected = expected_events(preset, rate, 24)
    within, without = limit_of_cox(expected, arm, stratum), limit_of_cox(expected, arm)
    assert within == pytest.approx(fit.params_["arm"], abs=3.5 * fit.standard_errors_["arm"])
    assert without < within - 0.03


def test_mean_time_and_survival_by_arm_are_recovered(population, rows):
    from lifelines import KaplanMeierFitter
    from lifelines.utils import restricted_mean_survival_time

    arm, baseline, onset, _ = population
    time, event = observed_progression(DEMO, onset, baseline.discontinued_week, 24)
    for index, name in enumerate(("placebo", "active")):
        of_arm = arm == index
        curve = KaplanMeierFitter().fit(time[of_arm], event[of_arm])
        found = rows[(rows.endpoint == "cdp24") & (rows.arm == name) & (rows.term == "")]
        truth = dict(zip(zip(found.analysis, found.visit, strict=True), found.stat, strict=True))
        mean, variance = restricted_mean_survival_time(curve, t=96, return_variance=True)
        assert abs(truth["rmst", ""] - mean) < 4 * np.sqrt(variance / of_arm.sum())
        for week in (24, 96):
            survival = curve.predict(week)
            error = np.sqrt(survival * (1 - survival) / of_arm.sum())
            assert abs(truth["km_by_arm", str(week)] - survival) < 4 * error


def test_rater_difference_of_cox_is_recovered(rows):
    # Oracle: lifelines on one large draw, the same events with the true and with the read volumes.
    from lifelines import CoxPHFitter

    rng, n = np.random.default_rng(6), 30_000
    arm = cohort.draw_arms(DEMO, n, rng)
    baseline = cohort.draw_baseline(DEMO, n, rng)
    onset = cohort.draw_onset(DEMO.edss.per_year, cohort.log_hazard_ratio(DEMO, DEMO.edss, arm, baseline), rng)
    time, event = observed_progression(DEMO, onset, baseline.discontinued_week, 24)
    noisy = replace(DEMO, reader=replace(DEMO.reader, patient_log_sd=0.4))
    read = np.log(read_volumes(noisy.reader, np.exp(baseline.log_tlv)[:, None], rng)[:, 0])
    frame = pd.DataFrame({"time": time, "event": event})
    fits = [CoxPHFitter().fit(frame.assign(x=x), "time", "event").params_["x"] for x in (baseline.log_tlv, read)]
    truth = pd.DataFrame(truth_rows(noisy)).query("endpoint == 'cdp24' and analysis == 'effect_agreement'")
    assert truth["stat"].item() == pytest.approx(fits[1] - fits[0], abs=0.02)
    assert fits[1] - fits[0] < -0.05


COUNTS = ("enhancing_lesions", "new_t1_lesions")


@pytest.mark.parametrize("preset", PRESETS.values(), ids=lambda preset: preset.name)
def test_rate_ratios_of_the_three_counts_of_t2_lesions(preset):
    # By hand: ratios of the arms' rates per year, of which no two are the same in any preset.
    found = pd.DataFrame(truth_rows(preset)).query("analysis == 'negative_binomial'").set_index("endpoint")["stat"]
    b, a = preset.arms
    assert found["new_t2_lesions"] == pytest.approx(a.new_lesions / b.new_lesions)
    assert found["enlarging_t2_lesions"] == pytest.approx(a.enlarging / b.enlarging)
    both = (a.new_lesions + a.enlarging) / (b.new_lesions + b.enlarging)
    assert found["new_or_enlarging_t2_lesions"] == pytest.approx(both)
    assert found.nunique() == len(found) == 5


@pytest.mark.parametrize(
    ("name", "reference", "compared", "weeks", "scans"),
    [("opera1", 1.413, 0.323, 96, 3), ("opera2", 1.904, 0.325, 96, 3), ("oratorio", 3.88, 0.31, 120, 1)],
)
def test_new_or_enlarging_lesions_are_those_of_the_trial(name, reference, compared, weeks, scans):
    # Hauser et al. 2017: per scan at weeks 24, 48, 96; Montalban et al. 2017: by week 120.
    years = weeks * 7 / 365.25
    for arm, printed in zip(PRESETS[name].arms, (reference, compared), strict=True):
        assert (arm.new_lesions + arm.enlarging) * years / scans == pytest.approx(printed)


def test_rows_use_the_vocabulary_of_the_endpoints(rows):
    found = set(zip(rows.endpoint, rows.analysis, rows.stat_name, strict=True))
    expected = {
        ("t2_volume_percent_change", "by_visit", "mean"),
        ("t2_volume_percent_change", "by_visit", "separation"),
        ("t2_volume_percent_change", "ancova", "difference"),
        ("t2_volume_percent_change", "mmrm", "geometric_mean_ratio"),
        ("effect_agreement", "t2_volume_separation", "difference"),
        ("effect_agreement", "t2_volume_ancova", "difference"),
    }
    for name in (*COUNTS, "new_t2_lesions", "enlarging_t2_lesions", "new_or_enlarging_t2_lesions"):
        expected.add((name, "negative_binomial", "rate_ratio"))
    for name in ("cdp12", "cdp24", "t25fw12", "t25fw24", "9hpt12", "9hpt24", "ccdp12", "ccdp24"):
        for analysis in (
            "cox_univariable",
            "cox_univariable_count",
            "cox_by_arm",
            "cox_by_arm_stratified",
            "cox_multivariable",
            "subgroup",
        ):
            expected.add((name, analysis, "hazard_ratio"))
        expected |= {(name, "km_at_median_tlv", "survival"), (name, "km_by_arm", "survival")}
        expected |= {(name, "rmst", "mean_time"), (name, "rmst", "difference")}
        expected.add((name, "effect_agreement", "difference"))
    assert found == expected
    assert {outcome.name for outcome in outcomes(DEMO)} <= {name for name, _, _ in found}
    assert set(rows.contrast) == {"", "active - placebo"}
