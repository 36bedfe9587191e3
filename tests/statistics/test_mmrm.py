import numpy as np
import pytest
import scipy.stats

from nnunet_ms.statistics.ancova import ancova
from nnunet_ms.statistics.mmrm import fit_mmrm


def repeated(n=60, m=3, missing=0.2, seed=1):
    rng = np.random.default_rng(seed)
    root = np.tril(rng.normal(size=(m, m))) * 0.4 + np.eye(m)
    arm = np.arange(n) % 2
    errors = rng.normal(size=(n, m)) @ root.T
    rows = [(i, j) for i in range(n) for j in range(m) if j == 0 or rng.random() > missing]
    who, when = (np.array(c) for c in zip(*rows, strict=True))
    visits = [(when == j).astype(float) for j in range(m)]
    X = np.column_stack([*visits, *(arm[who] * v for v in visits)])
    y = errors[who, when] + 0.5 * when + arm[who] * 0.3 * when
    names = [f"visit{j}" for j in range(m)] + [f"arm:visit{j}" for j in range(m)]
    return y, X, who, when, names


def restricted_log_likelihood(sigma, y, X, who, when):
    """From the definition, with one big block-diagonal matrix."""
    V = np.where(who[:, None] == who[None, :], sigma[when[:, None], when[None, :]], 0.0)
    W = np.linalg.inv(V)
    A = X.T @ W @ X
    r = y - X @ np.linalg.solve(A, X.T @ W @ y)
    logs = np.linalg.slogdet(V)[1] + np.linalg.slogdet(A)[1]
    return -0.5 * ((len(y) - X.shape[1]) * np.log(2 * np.pi) + logs + r @ W @ r)


def test_fit_is_the_maximum_of_the_definition():
    y, X, who, when, names = repeated()
    found = fit_mmrm(y, X, who, when, names)
    best = restricted_log_likelihood(found.sigma, y, X, who, when)
    assert found.log_likelihood == pytest.approx(best, rel=1e-10)
    rng = np.random.default_rng(0)
    for _ in range(20):
        bend = rng.normal(size=(3, 3)) * 0.02
        assert restricted_log_likelihood(found.sigma + bend + bend.T, y, X, who, when) < best


def test_satterthwaite_against_the_definition_in_other_parameters():
    # Oracle: df = 2 v^2 / (g' H^-1 g), all derivatives by differences in the entries of sigma, not its Cholesky root.
    y, X, who, when, names = repeated()
    found = fit_mmrm(y, X, who, when, names)
    point = np.array([0, 0, 0, 0, 0, 1.0])
    index = np.tril_indices(3)

    def sigma_of(theta):
        sigma = np.zeros((3, 3))
        sigma[index] = theta
        return np.tril(sigma) + np.tril(sigma, -1).T

    def variance(theta):
        V = np.where(who[:, None] == who[None, :], sigma_of(theta)[when[:, None], when[None, :]], 0.0)
        return point @ np.linalg.inv(X.T @ np.linalg.inv(V) @ X) @ point

    theta, h, q = found.sigma[index], 2e-3, 6
    eye = np.eye(q) * h
    gradient = np.array([(variance(theta + e) - variance(theta - e)) / (2 * h) for e in eye])

    def like(t):
        return restricted_log_likelihood(sigma_of(t), y, X, who, when)

    hessian = np.array(
        [[(like(theta + a + b) - like(theta + a - b) - like(theta - a + b) + like(theta - a - b)) / (4 * h * h)
          for b in eye] for a in eye]
    )  # fmt: skip
    df = 2 * variance(theta) ** 2 / (gradient @ np.linalg.inv(-hessian) @ gradient)
    assert found.contrast(point).df == pytest.approx(df, rel=1e-3)


def test_one_visit_is_ordinary_least_squares():
    # Oracle: the t test of least squares: REML and Satterthwaite are exact there.
    y, X, who, when, names = repeated(m=1)
    found = fit_mmrm(y, X, who, when, names).contrast(np.array([0.0, 1.0]))
    peer = scipy.stats.ttest_ind(y[X[:, 1] == 1], y[X[:, 1] == 0])
    assert (found.t, found.df, found.p) == pytest.approx((peer.statistic, peer.df, peer.pvalue), rel=1e-6)


def test_complete_data_give_each_visits_own_comparison():
    # With complete data and everything crossed with visit, MMRM is the ANCOVA of each visit (Mallinckrodt 2001).
    import pandas as pd

    y, X, who, when, names = repeated(missing=0.0)
    found = fit_mmrm(y, X, who, when, names)
    for visit in range(3):
        chosen = when == visit
        frame = pd.DataFrame({"arm": np.where(X[chosen][:, 3 + visit] == 1, "b", "a"), "y": y[chosen]})
        peer = ancova(frame, "y", ["a", "b"]).contrasts[0]
        mine = found.contrast(np.eye(6)[3 + visit])
        assert (mine.estimate, mine.se, mine.df) == pytest.approx((peer.estimate, peer.se, peer.df), rel=1e-5)


def test_coefficients_scale_with_the_response():
    y, X, who, when, names = repeated()
    one, thousand = fit_mmrm(y, X, who, when, names), fit_mmrm(1000 * y, X, who, when, names)
    assert thousand.beta == pytest.approx(1000 * one.beta, rel=1e-6)
    assert thousand.contrast(np.eye(6)[3]).p == pytest.approx(one.contrast(np.eye(6)[3]).p, rel=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda y, X, who, when: (y[:4], X[:4], who[:4], when[:4]), "4 values for 6 coefficients"),
        (lambda y, X, who, when: (y, np.column_stack([X[:, :5], X[:, 0]]), who, when), "confounded"),
        (lambda *data: tuple(np.concatenate([part, part[-1:]]) for part in data), "two values at one visit"),
        (lambda y, X, who, when: (y * 0, X, who, when), "constant"),
        (lambda y, X, who, when: (y, X, np.arange(len(y)), when), "shared by fewer than two"),
    ],
)  # fmt: skip
def test_what_cannot_be_fitted_says_why(change, message):
    *data, names = repeated()
    found = fit_mmrm(*change(*data), names)
    assert message in found.problem
    assert found.contrast(np.eye(6)[0]).problem == found.problem


def test_covariance_of_complete_data_is_the_pooled_one_to_the_last_digits():
    # Oracle: closed form. With every visit read and a mean per arm and visit, REML is the pooled covariance, n - 2.
    y, X, who, when, names = repeated(n=30, missing=-1)
    table, arm = y.reshape(30, 3), np.arange(30) % 2
    centred = table - np.stack([table[arm == a].mean(axis=0) for a in (0, 1)])[arm]
    found = fit_mmrm(y, X, who, when, names)
    np.testing.assert_allclose(found.sigma, centred.T @ centred / 28, rtol=1e-9)
    np.testing.assert_allclose(found.beta[3:], table[arm == 1].mean(axis=0) - table[arm == 0].mean(axis=0), rtol=1e-9)


def test_a_contrast_has_students_limits_and_p():
    # Oracle: scipy's t distribution at the contrast's own degrees of freedom.
    y, X, who, when, names = repeated()
    found = fit_mmrm(y, X, who, when, names)
    point = np.array([0, 0, 0, 0, 0, 1.0])
    c = found.contrast(point, confidence=0.8)
    assert (c.estimate, c.se) == pytest.approx((found.beta[5], np.sqrt(found.covariance[5, 5])))
    half = scipy.stats.t.ppf(0.9, c.df) * c.se
    assert (c.low, c.high) == pytest.approx((c.estimate - half, c.estimate + half))
    assert (c.t, c.p) == pytest.approx((c.estimate / c.se, 2 * scipy.stats.t.sf(abs(c.estimate / c.se), c.df)))


def test_a_climb_that_does_not_arrive_gives_nothing(monkeypatch):
    monkeypatch.setattr("nnunet_ms.statistics.mmrm.GRADIENT_TOLERANCE", 0.0)
    y, X, who, when, names = repeated()
    found = fit_mmrm(y, X, who, when, names)
    assert found.problem == "the restricted likelihood has no maximum"
    assert np.isnan(found.beta).all()
    assert found.contrast(np.ones(6)).problem == found.problem
