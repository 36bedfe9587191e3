import numpy as np
import pytest
import statsmodels.api as sm

from nnunet_ms.statistics.bootstrap_estimates import mixed_model_effect, rate_effect
from nnunet_ms.statistics.linear_systems import solve_each
from nnunet_ms.statistics.mmrm import fit_mmrm
from nnunet_ms.statistics.negative_binomial import fit_negative_binomial


def draws(n, count, seed=2):
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), count).astype(float)


def test_solve_each_leaves_singular_ones_out():
    found = solve_each(np.array([[[2.0, 0], [0, 1e-9]], [[1, 1], [1, 1]], [[0, 0], [0, 1]]]), np.ones((3, 2)))
    np.testing.assert_allclose(found[0], [0.5, 1e9])
    assert np.isnan(found[1:]).all()


def test_rate_ratio_against_statsmodels_on_the_drawn_rows():
    # Oracle: statsmodels GLM with a fixed dispersion, on the drawn rows.
    rng = np.random.default_rng(4)
    X = np.column_stack([np.ones(80), np.arange(80) % 2, rng.normal(size=80)])
    offset = np.log(rng.integers(1, 4, 80))
    y = rng.poisson(np.exp(X @ [0.5, -0.6, 0.3] + offset) * rng.gamma(1.5, 1 / 1.5, 80)).astype(float)
    fit = fit_negative_binomial(y, X, offset)
    weights = draws(80, 6)
    found = rate_effect(y, X, offset, fit.alpha, fit.beta, 1)(weights)
    for value, draw in zip(found, weights, strict=True):
        rows = np.repeat(np.arange(80), draw.astype(int))
        family = sm.families.NegativeBinomial(alpha=fit.alpha)
        one = sm.GLM(y[rows], X[rows], family=family, offset=offset[rows]).fit(tol=1e-12)
        assert value == pytest.approx(one.params[1], rel=1e-7)
    assert rate_effect(y, X, offset, fit.alpha, fit.beta, 1)(np.ones((1, 80)))[0] == pytest.approx(fit.beta[1])


def test_a_draw_without_lesions_in_an_arm_is_nan():
    X = np.column_stack([np.ones(4), [0, 0, 1, 1]]).astype(float)
    effect = rate_effect(np.array([2.0, 1, 0, 3]), X, np.zeros(4), 0.5, np.zeros(2), 1)
    assert np.isnan(effect(np.array([[1.0, 1, 2, 0]]))[0])


def test_mixed_model_against_statsmodels_with_the_block_covariance():
    # Oracle: statsmodels GLS with the covariance written out; and the REML fit itself at weights of one.
    rng = np.random.default_rng(7)
    patient, visit = np.repeat(np.arange(40), 3), np.tile(np.arange(3), 40)
    keep = rng.random(120) > 0.15
    patient, visit = patient[keep], visit[keep]
    X = np.column_stack([(visit == v).astype(float) for v in range(3)] + [(patient % 2) * (visit == 2)])
    y = rng.normal(size=40)[patient] + rng.normal(size=len(patient)) + X @ [0, 0.2, 0.4, -0.5]
    fit = fit_mmrm(y, X, patient, visit, ["v0", "v1", "v2", "arm"])
    who = np.unique(patient, return_inverse=True)[1]
    effect = mixed_model_effect(y, X, who, visit, fit.sigma, 3)
    n = who.max() + 1
    assert effect(np.ones((1, n)))[0] == pytest.approx(fit.beta[3], rel=1e-6)
    draw = draws(n, 1)[0]
    drawn = [np.flatnonzero(who == i) for i in np.repeat(np.arange(n), draw.astype(int))]
    rows = np.concatenate(drawn)
    block = np.repeat(np.arange(len(drawn)), [len(r) for r in drawn])
    V = np.where(block[:, None] == block[None, :], fit.sigma[np.ix_(visit[rows], visit[rows])], 0)
    assert effect(draw[None])[0] == pytest.approx(sm.GLS(y[rows], X[rows], sigma=V).fit().params[3], rel=1e-8)
