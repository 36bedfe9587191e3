import numpy as np
import pytest
import scipy.stats
import statsmodels.api as sm

from nnunet_ms.statistics.negative_binomial import fit_negative_binomial, fit_poisson, overdispersion_score
from tests.statistics.test_count_model import trial


def test_likelihood_against_scipy():
    # Oracle: scipy.stats.nbinom, and statsmodels' joint maximum likelihood.
    from statsmodels.discrete.discrete_model import NegativeBinomial

    frame = trial()
    y, X = frame["lesions"].to_numpy(float), np.column_stack([np.ones(200), frame["arm"] == "active"]).astype(float)
    offset = np.log(frame["scans"].to_numpy(float))
    fit = fit_negative_binomial(y, X, offset)
    mu = np.exp(X @ fit.beta + offset)
    r = 1 / fit.alpha
    assert fit.log_likelihood == pytest.approx(scipy.stats.nbinom.logpmf(y, r, r / (r + mu)).sum(), rel=1e-10)
    peer = NegativeBinomial(y, X, offset=offset).fit(method="newton", disp=False, maxiter=200, tol=1e-12)
    assert np.append(fit.beta, fit.alpha) == pytest.approx(peer.params, rel=1e-5)
    assert np.sqrt(np.diag(fit.observed)) == pytest.approx(peer.bse[:2], rel=1e-4)


def test_weights_are_patients_drawn_more_than_once():
    # Oracle: the fit of the data with the rows repeated.
    frame = trial()
    y, X = frame["lesions"].to_numpy(float), np.column_stack([np.ones(200), frame["arm"] == "active"]).astype(float)
    count = np.random.default_rng(2).multinomial(200, np.full(200, 1 / 200))
    rows = np.repeat(np.arange(200), count)
    drawn = fit_negative_binomial(y, X, np.zeros(200), count.astype(float))
    plain = fit_negative_binomial(y[rows], X[rows], np.zeros(200))
    assert np.append(drawn.beta, drawn.alpha) == pytest.approx(np.append(plain.beta, plain.alpha), rel=1e-7)


def test_poisson_by_its_score():
    y, X = np.array([0.0, 1, 3, 4]), np.ones((4, 1))
    assert np.exp(fit_poisson(y, X, np.zeros(4)).beta[0]) == pytest.approx(2)


def data(n=120, seed=3):
    rng = np.random.default_rng(seed)
    X = np.column_stack([np.ones(n), np.arange(n) % 2, rng.normal(size=n)])
    offset = np.log(rng.integers(1, 4, n))
    y = rng.poisson(np.exp(X @ [0.2, -0.7, 0.3] + offset) * rng.gamma(1.5, 1 / 1.5, n)).astype(float)
    return y, X, offset


def test_poisson_against_statsmodels():
    # Oracle: statsmodels GLM; frequency weights are rows drawn more than once.
    y, X, offset = data()
    weights = np.random.default_rng(1).integers(0, 4, len(y)).astype(float)
    for w in (None, weights):
        found = fit_poisson(y, X, offset, w)
        times = np.ones(len(y)) if w is None else w
        peer = sm.GLM(y, X, family=sm.families.Poisson(), offset=offset, freq_weights=times).fit(tol=1e-13)
        assert found.beta == pytest.approx(peer.params, rel=1e-8)
        assert found.log_likelihood == pytest.approx(peer.llf, rel=1e-10)
        assert np.diag(found.expected) == pytest.approx(np.diag(peer.cov_params()), rel=1e-7)
        assert (found.alpha, found.is_poisson, found.converged) == (0, True, True)


def test_expected_covariance_holds_the_dispersion_fixed():
    # Oracle: statsmodels GLM with the dispersion given, as glm.nb's summary.
    y, X, offset = data()
    found = fit_negative_binomial(y, X, offset)
    family = sm.families.NegativeBinomial(alpha=found.alpha)
    peer = sm.GLM(y, X, family=family, offset=offset).fit(tol=1e-13)
    assert found.beta == pytest.approx(peer.params, rel=1e-7)
    assert found.expected == pytest.approx(peer.cov_params(), rel=1e-5)
    assert not found.is_poisson


def test_observed_covariance_is_the_curvature_of_the_likelihood():
    # Oracle: second differences of scipy's log-likelihood in (beta, log alpha).
    y, X, offset = data()
    found = fit_negative_binomial(y, X, offset)

    def value(theta):
        r, mu = np.exp(-theta[-1]), np.exp(X @ theta[:-1] + offset)
        return scipy.stats.nbinom.logpmf(y, r, r / (r + mu)).sum()

    at, h = np.append(found.beta, np.log(found.alpha)), 1e-3
    steps = np.eye(4) * h
    curvature = [
        [value(at + a + b) - value(at + a - b) - value(at - a + b) + value(at - a - b) for a in steps] for b in steps
    ]
    assert found.observed == pytest.approx(np.linalg.inv(-np.array(curvature) / (4 * h * h))[:3, :3], rel=1e-4)
    assert value(at) == pytest.approx(found.log_likelihood)


def test_a_start_close_by_or_far_away_leads_to_the_same_maximum():
    y, X, offset = data()
    cold = fit_negative_binomial(y, X, offset)
    for start in ([0, 0, 0, 0], [1, 1, 1, 2.0], [*cold.beta, np.log(cold.alpha)]):
        warm = fit_negative_binomial(y, X, offset, start=np.array(start, float))
        assert np.append(warm.beta, warm.alpha) == pytest.approx(np.append(cold.beta, cold.alpha), rel=1e-6)


@pytest.mark.parametrize("start", [None, [0.0, -0.5]])
def test_counts_that_spread_less_than_poisson_end_at_poisson(start):
    # Oracle: the mean; variance 1/4 at a mean of 1.5 leaves nothing for alpha.
    y, X = np.tile([1.0, 2.0], 20), np.ones((40, 1))
    found = fit_negative_binomial(y, X, np.zeros(40), start=None if start is None else np.array(start))
    assert (found.alpha, found.is_poisson) == (0, True)
    assert np.exp(found.beta[0]) == pytest.approx(1.5)


def test_the_score_for_overdispersion_is_the_slope_of_the_likelihood_at_alpha_0():
    # Oracle: scipy's negative binomial close to alpha = 0, against its Poisson limit.
    y, mu = np.array([0.0, 3, 1, 7, 2]), np.array([1.0, 2, 1.5, 4, 3])
    weights = np.array([1.0, 0, 2, 1, 3])
    for w in (None, weights):
        w_or_one = np.ones(5) if w is None else w
        r = 1e5
        slope = (scipy.stats.nbinom.logpmf(y, r, r / (r + mu)) - scipy.stats.poisson.logpmf(y, mu)) * r
        assert overdispersion_score(y, mu, w) == pytest.approx(w_or_one @ slope, rel=2e-3)


def test_a_column_nonzero_only_where_counts_are_0_does_not_converge_to_a_number():
    y, X = np.array([0.0, 0, 2, 3, 5, 1]), np.column_stack([np.ones(6), [1, 1, 0, 0, 0, 0]]).astype(float)
    found = fit_negative_binomial(y, X, np.zeros(6))
    assert np.exp(found.beta[1]) < 1e-6 or not found.converged


def test_a_climb_that_does_not_arrive_says_so(monkeypatch):
    y, X, offset = data()
    monkeypatch.setattr("nnunet_ms.statistics.negative_binomial.MAXIMUM_STEPS", 1)
    assert not fit_negative_binomial(y, X, offset, start=np.zeros(4)).converged
    assert not fit_poisson(y, X, offset).converged


def test_arms_orders_of_magnitude_apart_are_reached_in_short_steps():
    # Oracle: closed form of a saturated model, the means. A whole Newton step from the common mean would leap by 500.
    X = np.column_stack([np.ones(200), np.arange(200) < 2]).astype(float)
    y = np.where(X[:, 1] == 1, 1e5, np.arange(200) % 3)
    found = fit_poisson(y, X, np.zeros(200))
    assert found.converged
    low = y[2:].mean()
    assert found.beta == pytest.approx([np.log(low), np.log(1e5 / low)], rel=1e-8, abs=1e-9)
