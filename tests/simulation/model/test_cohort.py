"""Each drawing against the distribution that its words name; Monte Carlo limits are four or five standard errors."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.stats

from nnunet_ms.simulation.model import cohort
from nnunet_ms.simulation.model.presets import Covariates, Hazard
from nnunet_ms.simulation.model.trial_presets import DEMO
from tests.simulation.model.test_trial_presets import N

YEAR = 365.25 / 7


def rng(seed=0):
    return np.random.default_rng(seed)


def alike(values, distribution):
    """Whether Kolmogorov and Smirnov see no difference; seeds are fixed, so this is no game of chance."""
    return scipy.stats.kstest(values, distribution.cdf).pvalue > 0.001


@pytest.fixture(scope="module")
def baseline():
    return cohort.draw_baseline(DEMO, N, rng())


def test_volumes_and_ages_are_truncated_normal(baseline):
    cut = DEMO.tlv_truncation_sd
    volume = scipy.stats.truncnorm(-cut, cut, np.log(DEMO.tlv_median_ml), DEMO.tlv_log_sd)
    assert alike(baseline.log_tlv, volume)
    low, high = ((limit - DEMO.age_mean) / DEMO.age_sd for limit in DEMO.age_limits)
    age = scipy.stats.truncnorm(low, high, DEMO.age_mean, DEMO.age_sd)
    assert baseline.age_years.mean() == pytest.approx(age.mean(), abs=4 * age.std() / np.sqrt(N))
    assert baseline.age_years.std() == pytest.approx(age.std(), rel=0.02)
    assert (baseline.age_years.min(), baseline.age_years.max()) == pytest.approx(DEMO.age_limits, abs=0.05)
    assert baseline.age_years == pytest.approx(np.round(baseline.age_years, 1), abs=1e-12)


def test_shares_of_sex_region_and_edss_are_the_presets(baseline):
    weights = np.array(DEMO.edss_weights) / sum(DEMO.edss_weights)
    wanted = [(baseline.female, DEMO.female_share), (baseline.us, DEMO.us_share)]
    wanted += [(baseline.edss == level, weight) for level, weight in zip(DEMO.edss_levels, weights, strict=True)]
    for flags, share in wanted:
        assert flags.mean() == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / N))
    assert set(baseline.edss) == set(DEMO.edss_levels)


def test_patients_stop_at_a_constant_rate_in_whole_weeks_before_the_last_assessment(baseline):
    week, last = baseline.discontinued_week, DEMO.assessment_weeks[-1]
    stopped = np.isfinite(week)
    share = -np.expm1(-DEMO.discontinuations_per_year * (last - 1) / YEAR)  # a stop in the last week is none
    assert stopped.mean() == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / N))
    assert (week[stopped] % 1 == 0).all()
    assert (week[stopped].min(), week[stopped].max()) == (1, last - 1)


def test_lesions_at_baseline_are_the_volume_over_the_mean_size_and_at_least_one():
    # By hand: a log-normal of median 300 mm3 and log SD .95 has the mean 300 exp(.95^2 / 2) = 471 mm3.
    found = cohort.baseline_lesions(DEMO, np.array([0.01, 0.47, 0.7, 0.71, 8.0]))
    assert found.tolist() == [1, 1, 1, 2, 17]


def test_log_volume_is_a_line_per_patient_with_noise_at_every_visit_but_the_first():
    # Oracle: mean and covariance of a random slope and independent noise.
    arm, start = np.arange(N) % 2, np.linspace(0, 3, N)
    found = cohort.draw_log_tlv(DEMO, arm, start, rng()) - start[:, None]
    assert (np.abs(found[:, 0]) < 1e-12).all()
    years = np.array(DEMO.mri_weeks[1:]) / YEAR
    for index, wanted in enumerate(DEMO.arms):
        later = found[arm == index, 1:]
        assert later.mean(axis=0) == pytest.approx(wanted.log_tlv_slope * years, abs=0.005)
        covariance = DEMO.tlv_slope_sd**2 * np.outer(years, years) + DEMO.tlv_visit_sd**2 * np.eye(len(years))
        assert np.cov(later.T) == pytest.approx(covariance, rel=0.05)


def one_patient(**changed):
    values = {"age_years": 42.0, "female": True, "us": False, "edss": 4.0, "log_tlv": np.log(8.0)}
    return cohort.Baseline(
        **{name: np.array([value]) for name, value in {**values, **changed}.items()},
        discontinued_week=np.array([np.inf]),
        prl_count=np.array([0]),
    )


@pytest.mark.parametrize(
    ("arm", "changed", "expected"),
    [
        (0, {}, 0.0),  # the reference: median volume, mean age, a woman outside the US with EDSS 4
        (1, {}, -0.5),
        (0, {"log_tlv": np.log(8.0) + 2}, 0.8),
        (1, {"log_tlv": np.log(8.0) + 2}, -0.5 + 1.2),
        (0, {"female": False}, 0.3),
        (0, {"us": True}, -0.2),
        (0, {"edss": 3.5}, 0.7),
        (0, {"age_years": 52.0}, 0.1),
        (1, {"age_years": 32.0, "female": False, "us": True, "edss": 2.0}, -0.5 - 0.1 + 0.3 - 0.2 + 0.7),
    ],
)
def test_hazards_are_proportional_in_arm_volume_and_covariates(arm, changed, expected):
    preset = replace(DEMO, covariates=Covariates(male=0.3, us=-0.2, edss_below_4=0.7, age_per_year=0.01))
    hazard = Hazard(0.35, log_ratio=(0.0, -0.5), per_log_tlv=(0.4, 0.6))
    assert cohort.log_hazard_ratio(preset, hazard, np.array([arm]), one_patient(**changed)) == pytest.approx([expected])


def test_onset_is_exponential():
    found = cohort.draw_onset(0.5, np.full(N, np.log(3.0)), rng())
    assert alike(found / YEAR, scipy.stats.expon(scale=1 / 1.5))


def test_edss_fluctuates_by_half_points_and_never_confirms_before_the_onset():
    # Oracle: the definition of confirmation, value by value: two in a row at or above the threshold.
    base = np.repeat([0.0, 3.0, 5.5, 6.0, 9.5], N // 50)
    onset = np.where(np.arange(base.size) % 2, 60.0, np.inf)
    found = cohort.draw_edss(DEMO, base, onset, rng())
    weeks = np.array(DEMO.assessment_weeks)
    step = np.where(base <= 5.5, 1.0, 0.5)
    up = found >= (base + step)[:, None]
    for row, week in zip(up, onset, strict=True):
        before = row[weeks < week]
        assert not (before[1:] & before[:-1]).any()
        assert row[weeks >= week].all()
        if np.isfinite(week):
            assert not before[-1]  # the onset is the first assessment that reaches the threshold for good
    never = found[np.isinf(onset) & (base == 3.0), 1:] - 3.0
    assert set(np.unique(never)) == {-0.5, 0.0, 0.5, 1.0}
    # half of the fluctuations go up, half go down; a spike replaces them
    share = DEMO.edss_fluctuation / 2
    for side in (-0.5, 0.5):
        assert (never == side).mean() == pytest.approx(share, abs=0.015)
    assert 0.6 * DEMO.edss_spikes < (never == 1).mean() < DEMO.edss_spikes
    assert set(np.unique(found)) <= {0.0, *np.arange(1, 10.5, 0.5)}
    np.testing.assert_array_equal(found[:, 0], base)


def test_timed_tests_worsen_by_their_factor_at_the_onset():
    test = replace(DEMO.t25fw, noise_log_sd=0.0)
    found = cohort.draw_timed_test(DEMO, test, np.array([np.inf, 24.0, 25.0]), rng())
    weeks = np.array(DEMO.assessment_weeks)
    assert (np.ptp(found[0]), found[1, weeks < 24].std()) == (0, 0)
    for row, first in ((1, 24), (2, 36)):
        worse = found[row, weeks >= first] / found[row, 0]
        assert worse == pytest.approx(np.full(len(worse), 1.4), abs=0.002)  # both are rounded to hundredths
        assert (found[row, weeks < first] == found[row, 0]).all()
    assert found == pytest.approx(np.round(found, 2), abs=1e-12)
    many = np.log(cohort.draw_timed_test(DEMO, DEMO.t25fw, np.full(N // 10, np.inf), rng()))
    assert np.median(many) == pytest.approx(np.log(test.median_s), abs=0.02)
    assert many.mean(axis=1).std() == pytest.approx(test.log_sd, rel=0.05)
    assert many.std(axis=1, ddof=1).mean() == pytest.approx(DEMO.t25fw.noise_log_sd, rel=0.05)


@pytest.mark.parametrize("arm", [0, 1])
def test_relapses_are_a_poisson_process_in_whole_weeks(arm):
    generator, last = rng(arm), 100.0
    drawn = [cohort.draw_relapses(DEMO, arm, last, generator) for _ in range(4000)]
    counts, weeks = np.array([len(d) for d in drawn]), np.concatenate(drawn)
    mean = DEMO.arms[arm].relapses * last / YEAR
    assert counts.mean() == pytest.approx(mean, abs=4 * np.sqrt(mean / 4000))
    assert counts.var() == pytest.approx(mean, rel=0.1)
    assert (weeks.min(), weeks.max()) == (1, 100)
    assert weeks.mean() == pytest.approx(50.5, abs=4 * 29 / np.sqrt(len(weeks)))
    assert all(d == sorted(d) for d in drawn)


def test_counts_are_negative_binomial_with_the_presets_dispersion():
    # Oracle: mean m and variance m + dispersion m^2; lesions of a patient's visits share a frailty.
    arm = np.arange(N) % 2
    drawn = cohort.draw_activity(DEMO, arm, rng())
    years = np.diff(DEMO.mri_weeks) / YEAR
    assert (drawn.new_t2[:, 0] == 0).all()
    assert (drawn.enlarging_t2[:, 0] == 0).all()
    assert (drawn.new_t1[:, 0] == 0).all()
    assert (drawn.enhancing[:, 1:] <= drawn.new_t2[:, 1:]).all()
    for index, wanted in enumerate(DEMO.arms):
        here = arm == index
        expected = [(drawn.new_t2[here, k + 1], wanted.new_lesions * y) for k, y in enumerate(years)]
        grown, total = drawn.enlarging_t2, drawn.new_t2 + drawn.enlarging_t2
        expected += [(grown[here, k + 1], wanted.enlarging * y) for k, y in enumerate(years)]
        expected += [(total[here, k + 1], (wanted.new_lesions + wanted.enlarging) * y) for k, y in enumerate(years)]
        expected += [(drawn.enhancing[here, k + 1], wanted.enhancing) for k in range(len(years))]
        expected += [(drawn.new_t1[here, k + 1], wanted.new_t1 * y) for k, y in enumerate(years)]
        expected += [(drawn.enhancing[here, 0], DEMO.enhancing_at_baseline)]
        for values, mean in expected:
            variance = mean + DEMO.new_lesion_dispersion * mean**2
            assert values.mean() == pytest.approx(mean, abs=5 * np.sqrt(variance / here.sum()))
            assert values.var() == pytest.approx(variance, rel=0.12)
        together = np.cov(drawn.new_t2[here, 1], drawn.new_t2[here, 2])[0, 1]
        means = wanted.new_lesions * years
        assert together == pytest.approx(DEMO.new_lesion_dispersion * means.prod(), rel=0.2)


def test_share_of_new_lesions_that_enhance():
    # By hand: intervals of 24 and 72 weeks.
    found = cohort.enhancing_share(DEMO)
    years = np.array([24, 72]) / YEAR
    assert found == pytest.approx(np.array([0.7 / (2.0 * years), 0.1 / (0.3 * years)]))
    none = replace(DEMO.arms[1], new_lesions=0.0, enhancing=0.0)
    impossible = replace(none, enhancing=0.1)
    assert cohort.enhancing_share(replace(DEMO, arms=(DEMO.arms[0], none)))[1].tolist() == [0, 0]
    assert np.isinf(cohort.enhancing_share(replace(DEMO, arms=(DEMO.arms[0], impossible)))[1]).all()


def test_arms_come_in_permuted_blocks_and_the_first_do_not_depend_on_how_many_follow():
    found = cohort.draw_arms(DEMO, 402, rng(3))
    assert found.size == 402
    blocks = found[:400].reshape(100, 4)
    assert (blocks.sum(axis=1) == 2).all()
    assert len({tuple(block) for block in blocks}) == 6  # every order of two and two
    np.testing.assert_array_equal(cohort.draw_arms(DEMO, 10, rng(3)), found[:10])
