import numpy as np
import pytest
import scipy.stats

from nnunet_ms.errors import StatisticsError
from nnunet_ms.statistics.kenward_roger import kenward_roger
from nnunet_ms.statistics.mmrm import fit_mmrm


def trial(seed, n=24, visits=3, missing=0.2):
    """Rows of patients with correlated values at visits, some of them missing; arm x visit and a covariate."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(visits, visits)) + 2 * np.eye(visits)
    y = rng.normal(size=(n, visits)) @ root.T
    who, when = (part.ravel() for part in np.meshgrid(range(n), range(visits), indexing="ij"))
    kept = rng.random(n * visits) >= missing
    arm, age = who % 2, np.repeat(rng.normal(size=n), visits)
    flags = [when == v for v in range(visits)]
    X = np.column_stack([*flags, *(flag * arm for flag in flags), age]).astype(float)
    return y.ravel()[kept], X[kept], who[kept], when[kept]


def dense(fit, X, who, when, point):
    """The paper's formulas with whole matrices: covariance of all rows, one derivative per parameter; R_ij is 0."""
    n, m = len(X), len(fit.sigma)
    same = who[:, None] == who[None, :]
    V = np.where(same, fit.sigma[np.ix_(when, when)], 0.0)
    slopes = []
    for i in range(m):
        for j in range(i, m):
            unit = np.zeros((m, m))
            unit[i, j] = unit[j, i] = 1
            slopes.append(np.where(same, unit[np.ix_(when, when)], 0.0))
    inverse = np.linalg.inv(V)
    phi = np.linalg.inv(X.T @ inverse @ X)
    P = [-X.T @ inverse @ s @ inverse @ X for s in slopes]
    q = len(slopes)
    Q = [[X.T @ inverse @ a @ inverse @ b @ inverse @ X for b in slopes] for a in slopes]
    information = np.zeros((q, q))
    for i in range(q):
        for j in range(q):
            information[i, j] = 0.5 * np.trace(inverse @ slopes[i] @ inverse @ slopes[j])
            information[i, j] -= 0.5 * np.trace(2 * phi @ Q[i][j] - phi @ P[i] @ phi @ P[j])
    W = np.linalg.inv(information)
    inner = sum(W[i, j] * (Q[i][j] - P[i] @ phi @ P[j]) for i in range(q) for j in range(q))
    adjusted = phi + 2 * phi @ inner @ phi
    theta = np.outer(point, point) / (point @ phi @ point)
    parts = [theta @ phi @ P[i] @ phi for i in range(q)]
    A1 = sum(W[i, j] * np.trace(parts[i]) * np.trace(parts[j]) for i in range(q) for j in range(q))
    A2 = sum(W[i, j] * np.trace(parts[i] @ parts[j]) for i in range(q) for j in range(q))
    B, g = (A1 + 6 * A2) / 2, (2 * A1 - 5 * A2) / (3 * A2)
    c = np.array([g, 1 - g, 3 - g]) / (3 + 2 * (1 - g))
    E, spread = 1 / (1 - A2), 2 * (1 + c[0] * B) / ((1 - c[1] * B) ** 2 * (1 - c[2] * B))
    rho = spread / (2 * E**2)
    df = 4 + 3 / (rho - 1)
    scale = df / (E * (df - 2))
    F = scale * (point @ fit.beta) ** 2 / (point @ adjusted @ point)
    assert n > len(point)
    return np.sqrt(point @ adjusted @ point), df, scipy.stats.f.sf(F, 1, df)


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_against_the_papers_formulas_with_whole_matrices(seed):
    # Oracle: Kenward & Roger 1997, equations 4 to 8, in matrices of all rows; F with its scale.
    y, X, who, when = trial(seed, visits=2 + seed % 2)
    fit = fit_mmrm(y, X, who, when, [str(i) for i in range(X.shape[1])])
    point = np.zeros(X.shape[1])
    point[-2] = 1.0  # the arm at the last visit
    found = kenward_roger(fit, X, who, when).contrast(point)
    se, df, p = dense(fit, X, who, when, point)
    assert (found.se, found.df, found.p) == pytest.approx((se, df, p), rel=1e-7)
    assert found.se > fit.contrast(point).se
    assert found.estimate == fit.contrast(point).estimate


def test_complete_data_without_covariates_give_the_t_test_of_each_visit():
    # By theory: with arm x visit alone and nobody missing, the model is one t test per visit, on n - 2.
    y, X, who, when = trial(7, missing=0.0)
    X = X[:, :-1]
    adjusted = kenward_roger(fit_mmrm(y, X, who, when, list("abcdef")), X, who, when)
    for visit in range(3):
        point = np.eye(6)[3 + visit]
        values = y[when == visit]
        peer = scipy.stats.ttest_ind(values[1::2], values[::2])
        found = adjusted.contrast(point, 0.9)
        assert (found.t, found.df, found.p) == pytest.approx((peer.statistic, 22, peer.pvalue), rel=1e-5)
        assert (found.low, found.high) == pytest.approx(tuple(peer.confidence_interval(0.9)), rel=1e-5)


def test_what_cannot_be_says_why():
    y, X, who, when = trial(1)
    nothing = fit_mmrm(y, X * 0, who, when, [str(i) for i in range(X.shape[1])])
    assert kenward_roger(nothing, X, who, when).contrast(np.zeros(X.shape[1])).problem == nothing.problem != ""
    fit = fit_mmrm(y, X, who, when, [str(i) for i in range(X.shape[1])])
    with pytest.raises(StatisticsError, match="point: expected 7 weights"):
        kenward_roger(fit, X, who, when).contrast(np.zeros(2))
