import numpy as np
import pytest
import scipy.stats
import statsmodels.api as sm

from nnunet_ms.statistics.percent_reduction import crude_reduction, of_ratio


def drawn(n, mean, seed):
    rng = np.random.default_rng(seed)
    scans = rng.integers(1, 5, n)
    return rng.poisson(mean * scans * rng.gamma(1, 1, n)).astype(float), scans.astype(float)


def test_against_cluster_robust_poisson_regression():
    # Oracle: statsmodels, log rate of each arm with a sandwich covariance over patients, times n / (n - 1).
    active, reference = drawn(60, 0.4, 1), drawn(50, 1.1, 2)
    logs, variance = [], 0.0
    for lesions, scans in (active, reference):
        model = sm.GLM(lesions, np.ones(len(lesions)), family=sm.families.Poisson(), exposure=scans)
        fit = model.fit(cov_type="HC0", tol=1e-12)
        logs.append(fit.params[0])
        variance += fit.cov_params()[0, 0] * len(lesions) / (len(lesions) - 1)
    gap, reach = logs[0] - logs[1], scipy.stats.norm.ppf(0.975) * np.sqrt(variance)
    found = crude_reduction(*active, *reference)
    assert found.estimate == pytest.approx(100 * (1 - np.exp(gap)), rel=1e-8)
    assert (found.low, found.high) == pytest.approx(
        (100 * (1 - np.exp(gap + reach)), 100 * (1 - np.exp(gap - reach))), rel=1e-8
    )


def test_interval_is_that_of_patients_not_of_scans():
    # a patient's four equal scans are one patient: four times the scans of the same patients change nothing
    lesions, scans = drawn(40, 0.8, 3)
    once = crude_reduction(lesions, scans, lesions + 1, scans)
    four = crude_reduction(4 * lesions, 4 * scans, 4 * (lesions + 1), 4 * scans)
    assert (four.estimate, four.low, four.high) == pytest.approx((once.estimate, once.low, once.high))


def test_limits_of_a_ratio_change_places():
    # Oracle: arithmetic. A rate ratio of 0.2 (0.1 to 0.4) is a reduction by 80 % (60 to 90).
    found = of_ratio(0.2, 0.1, 0.4)
    assert (found.estimate, found.low, found.high) == pytest.approx((80, 60, 90))


def test_arms_without_lesions_or_patients():
    some, none, scans = np.array([1.0, 0, 2]), np.zeros(3), np.ones(3)
    full = crude_reduction(none, scans, some, scans)
    assert full.estimate == 100
    assert np.isnan([full.low, full.high]).all()
    assert "no lesion in an arm" in full.problem
    for bad, why in (
        (crude_reduction(some, scans, none, scans), "no lesion in the reference arm"),
        (crude_reduction(some, scans, none[:0], scans[:0]), "no visit in an arm"),
    ):
        assert np.isnan([bad.estimate, bad.low, bad.high]).all()
        assert bad.problem == why
    assert crude_reduction(some[:1], scans[:1], some, scans).problem == "one patient in an arm"
