import numpy as np
import pandas as pd
import pytest
import scipy.stats
import statsmodels.api as sm

from nnunet_ms.statistics.count_model import count_model, exact_rate_bound, exact_rate_ratio, rank_sum_p

ARMS = ["placebo", "active"]


def trial(alpha=1.0, ratio=0.3, n=200, seed=1):
    rng = np.random.default_rng(seed)
    arm = np.where(np.arange(n) % 2 == 0, "placebo", "active")
    scans = rng.integers(1, 4, n)
    mu = np.where(arm == "active", ratio, 1.0) * scans * 0.8
    frailty = rng.gamma(1 / alpha, alpha, n) if alpha else 1.0
    return pd.DataFrame(
        {"arm": arm, "lesions": rng.poisson(mu * frailty), "scans": scans, "region": rng.choice(["ROW", "US"], n)}
    )


def test_counts_without_overdispersion_become_poisson_and_say_so():
    # Binomial counts have less variance than Poisson: alpha is at its boundary. Oracle: ratio of means for saturated X.
    frame = trial(n=100)
    frame["lesions"] = np.where(np.arange(100) % 4 < 2, 1, 2)
    frame["scans"] = 1
    found = count_model(frame, "lesions", "scans", ARMS)
    assert (found.family, found.alpha) == ("Poisson", 0)
    assert "no overdispersion" in found.notes[0]
    means = frame.groupby("arm")["lesions"].mean()
    assert found.ratios[0].estimate == pytest.approx(means["active"] / means["placebo"])
    assert found.ratios[0].log_se == pytest.approx(np.sqrt((1 / frame.groupby("arm")["lesions"].sum()).sum()))


@pytest.mark.parametrize("empty", ["active", "placebo"])
def test_an_arm_without_lesions_gets_exact_bounds(empty):
    frame = trial()
    frame.loc[frame["arm"] == empty, "lesions"] = 0
    found = count_model(frame, "lesions", "scans", ARMS, factors=["region"])
    rate = {r.arm: r for r in found.rates}[empty]
    scans = frame.loc[frame["arm"] == empty, "scans"].sum()
    assert (rate.estimate, rate.high) == (0, pytest.approx(-np.log(0.05) / scans))  # by definition: exp(-rate t) = .05
    assert f"no lesion in arm {empty}" in found.notes[0]
    if empty == "active":
        assert found.ratios[0].estimate == 0
        assert 0 < found.ratios[0].high < 1
    else:
        assert "no upper bound" in found.ratios[0].problem
    assert found.problem == ""


def test_what_cannot_be_estimated_says_why():
    frame = trial()
    assert count_model(frame.assign(lesions=0), "lesions", "scans", ARMS).problem == "no lesion in any arm"
    assert "1 patient in arm active" in count_model(frame.iloc[:4:1].iloc[[0, 1, 2]], "lesions", "scans", ARMS).problem
    confounded = frame.assign(region=frame["arm"])
    assert "confounded" in count_model(confounded, "lesions", "scans", ARMS, factors=["region"]).problem


def test_a_region_without_lesions_is_named():
    frame = trial()
    frame.loc[frame["region"] == "US", "lesions"] = 0
    found = count_model(frame, "lesions", "scans", ARMS, factors=["region"])
    assert found.notes[0] == "region left out (no lesion in US)"
    assert np.isfinite(found.ratios[0].p)


def test_exact_rate_ratio_against_printed_example():
    # Oracle: R 4, ?poisson.test: poisson.test(c(11, 6+8+7), c(800, 1083+1050+878)).
    found = exact_rate_ratio(11, 800, 21, 3011)
    assert (found.estimate, found.low, found.high) == pytest.approx((1.971488, 0.8584264, 4.2772659), abs=5e-7)
    assert found.p == pytest.approx(0.07967, abs=5e-6)
    assert "no lesion" in exact_rate_ratio(0, 1, 0, 1).problem


def test_exact_bound():
    assert exact_rate_bound(0, 10) == pytest.approx(0.2995732, abs=1e-7)  # -log(0.05) / 10, the rule of three


def test_rank_sum_by_definition():
    # Oracle: the definition with ties and continuity correction, as R's wilcox.test(exact = FALSE).
    a, b = np.array([0, 0, 1, 2, 5]), np.array([1, 1, 3, 4, 5, 7])
    ranks = scipy.stats.rankdata(np.concatenate([a, b]))
    w = ranks[:5].sum() - 15
    ties = np.unique(ranks, return_counts=True)[1]
    sigma = np.sqrt(5 * 6 / 12 * (12 - (ties**3 - ties).sum() / (11 * 10)))
    z = (abs(w - 15) - 0.5) / sigma
    assert rank_sum_p(a, b) == pytest.approx(2 * scipy.stats.norm.sf(z))
    assert np.isnan(rank_sum_p([1, 1], [1]))


@pytest.mark.parametrize("weights", ["equal", "proportional"])
def test_rates_and_ratios_against_statsmodels(weights):
    # Oracle: statsmodels GLM at our dispersion, whose t_test takes the points of emmeans' reference grid.
    frame = trial().assign(age=np.linspace(-1, 2, 200))
    found = count_model(frame, "lesions", "scans", ARMS, ["age"], ["region"], "expected", weights, confidence=0.9)
    us, active = (frame["region"] == "US").to_numpy(float), (frame["arm"] == "active").to_numpy(float)
    X = np.column_stack([np.ones(200), active, frame["age"], us])
    family = sm.families.NegativeBinomial(alpha=found.alpha)
    peer = sm.GLM(frame["lesions"].to_numpy(), X, family=family, exposure=frame["scans"].to_numpy()).fit(tol=1e-13)
    share = 0.5 if weights == "equal" else us.mean()
    points = [[1, arm, frame["age"].mean(), share] for arm in (0, 1)]
    limits = np.exp(peer.t_test(points).conf_int(alpha=0.1))
    for rate, (low, high) in zip(found.rates, limits, strict=True):
        assert (rate.low, rate.high) == pytest.approx((low, high), rel=1e-5)
        assert rate.estimate == pytest.approx(np.sqrt(low * high), rel=1e-5)
    ratio, (low, high) = found.ratios[0], np.exp(peer.conf_int(alpha=0.1)[1])
    assert (ratio.low, ratio.high) == pytest.approx((low, high), rel=1e-5)
    assert ratio.p == pytest.approx(peer.pvalues[1], rel=1e-4)
    assert found.n == 200


def test_three_arms_of_which_one_has_no_lesion():
    # Oracle: the model of the other two arms alone; exact bounds of the third.
    frame = trial(n=210)
    third = np.arange(210) % 3 == 2
    frame = frame.assign(arm=np.where(third, "high", frame["arm"]), lesions=frame["lesions"].mask(third, 0))
    found = count_model(frame, "lesions", "scans", [*ARMS, "high"], confidence=0.9)
    alone = count_model(frame[~third], "lesions", "scans", ARMS, confidence=0.9)
    assert found.ratios[0] == alone.ratios[0]
    assert found.rates[:2] == alone.rates
    scans = frame.groupby("arm")["scans"].sum()
    assert found.rates[2].high == pytest.approx(-np.log(0.1) / scans["high"])
    exact = exact_rate_ratio(
        0, scans["high"], frame.loc[frame["arm"] == "placebo", "lesions"].sum(), scans["placebo"], 0.9
    )
    assert (found.ratios[1].arm, found.ratios[1].estimate) == ("high", 0)
    assert (found.ratios[1].low, found.ratios[1].high) == (exact.low, exact.high)
    two = frame[frame["arm"].isin(["placebo", "high"])]
    table = pd.crosstab(two["arm"], two["lesions"] > 0)
    assert found.ratios[1].p == pytest.approx(scipy.stats.fisher_exact(table).pvalue)
    assert (found.n, found.family) == (210, "negative binomial")


def test_no_more_patients_than_coefficients_is_too_few():
    frame = trial().iloc[[0, 1, 2, 3]].assign(lesions=[1, 2, 3, 1], age=[1.0, 5.0, 2.0, 9.0], dose=[0.0, 3.0, 1.0, 1.0])
    found = count_model(frame, "lesions", "scans", ARMS, ["age", "dose"])
    assert found.problem == "too few patients"
    assert (found.n, found.ratios) == (4, ())


def test_without_a_lesion_in_the_reference_arm_there_is_a_lower_limit_only():
    # Oracle: the exact interval (R's poisson.test), whose upper end is infinite.
    frame = trial()
    frame.loc[frame["arm"] == "placebo", "lesions"] = 0
    ratio = count_model(frame, "lesions", "scans", ARMS).ratios[0]
    sums = frame.groupby("arm")[["lesions", "scans"]].sum()
    exact = exact_rate_ratio(
        sums.loc["active", "lesions"], sums.loc["active", "scans"], 0, sums.loc["placebo", "scans"]
    )
    assert (exact.estimate, exact.high) == (np.inf, np.inf)
    assert np.isnan([ratio.estimate, ratio.high]).all()
    assert ratio.low == exact.low
    assert ratio.p == pytest.approx(scipy.stats.fisher_exact(pd.crosstab(frame["arm"], frame["lesions"] > 0)).pvalue)
