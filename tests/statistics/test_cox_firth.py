from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.optimize
import scipy.stats

from nnunet_ms.statistics.cox import fit_cox, risk_sets
from nnunet_ms.statistics.cox_firth import _score, firth_cox, firth_model, penalised_log_likelihood
from tests.statistics.naive_cox import by_hand, cohort


def test_firth_maximises_the_penalised_likelihood():
    # Oracle: the definition log L + log |I| / 2, I by second differences of log L by hand, on a grid.
    time, event, X, _ = cohort(n=60)
    event = event & (X[:, 0] == 0)
    x = X[:, :1]
    found = firth_cox(time, event, x, ["arm"], "arm")

    def penalised(b, h=1e-4):
        values = [by_hand(np.array([b + s]), time, event, x, np.zeros(len(time)), "breslow") for s in (-h, 0, h)]
        return values[1] + 0.5 * np.log(-(values[0] - 2 * values[1] + values[2]) / h**2)

    grid = found.coefficient + np.array([-0.05, 0, 0.05])
    values = [penalised(b) for b in grid]
    assert values[1] > max(values[0], values[2])
    assert penalised(np.log(found.high)) == pytest.approx(penalised(found.coefficient) - 1.920729, abs=1e-4)
    assert found.hazard_ratio < 1
    assert np.isfinite([found.low, found.high, found.p]).all()


def test_firth_is_close_to_the_plain_fit_with_many_events():
    time, event, X, _ = cohort(n=400)
    plain = fit_cox(time, event, X, ["arm", "x"], "breslow").term("x")
    found = firth_cox(time, event, X, ["arm", "x"], "x")
    assert found.coefficient == pytest.approx(plain.coefficient, rel=0.02)
    sets = risk_sets(time, event, X)
    assert penalised_log_likelihood(sets, np.zeros(2), "breslow") < found.log_likelihood + 20
    assert firth_cox(time, np.zeros(400), X, ["arm", "x"], "x").problem == "no events"


def penalised_by_hand(beta, time, event, X, strata, ties, h=1e-3):
    """log L + log |I| / 2 with I from second differences of the partial likelihood's definition."""

    def value(at):
        return by_hand(at, time, event, X, strata, ties)

    steps = np.eye(len(beta)) * h
    curvature = [
        [value(beta + a + b) - value(beta + a - b) - value(beta - a + b) + value(beta - a - b) for a in steps]
        for b in steps
    ]
    return value(beta) + 0.5 * np.linalg.slogdet(-np.array(curvature) / (4 * h * h))[1]


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_estimate_limits_and_p_are_those_of_the_penalised_profile(ties):
    # Oracle: Heinze & Schemper 2001 by the definition, maximised by a simplex that knows no derivative.
    time, event, X, strata = cohort(n=24)
    event = event & (X[:, 0] == 0)  # no event in one arm: Wald's interval has no end
    X = X * [1.0, 40.0]  # a covariate in other units

    def profile(arm):
        free = scipy.optimize.minimize(
            lambda x: -penalised_by_hand(np.array([arm, x[0]]), time, event, X, strata, ties), [0.0],
            method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-9, "initial_simplex": [[0.0], [0.02]]},
        )  # fmt: skip
        return -free.fun

    found = firth_cox(time, event, X, ["arm", "x"], "arm", ties, strata, confidence=0.9)
    best = profile(found.coefficient)
    assert all(profile(found.coefficient + step) < best for step in (-0.01, 0.01))
    drop = scipy.stats.chi2.ppf(0.9, 1) / 2
    for limit in (found.low, found.high):
        assert profile(np.log(limit)) == pytest.approx(best - drop, abs=1e-4)
    assert found.p == pytest.approx(scipy.stats.chi2.sf(2 * (best - profile(0.0)), 1), rel=1e-3)
    assert found.low < found.hazard_ratio < found.high


def test_units_do_not_matter():
    # Oracle: a covariate in other units has its coefficient in the inverse of them.
    time, event, X, _ = cohort(n=60)
    one = firth_cox(time, event, X, ["arm", "x"], "x")
    other = firth_cox(time, event, X * [1e7, 1e-2], ["arm", "x"], "x")
    assert other.problem == ""
    assert (other.coefficient, other.se) == pytest.approx((100 * one.coefficient, 100 * one.se), rel=1e-4)
    assert other.p == pytest.approx(one.p, rel=1e-4)


def test_what_cannot_be_estimated_says_why():
    time, event, X, _ = cohort(n=60)
    doubled = np.column_stack([X, 2 * X[:, 1]])
    for columns in (doubled, X * [1, 0]):
        names = [str(i) for i in range(columns.shape[1])]
        assert firth_cox(time, event, columns, names, "0").problem == "covariates are constant or confounded"
    # the only event comes when its patient is alone
    found = firth_cox([1.0, 2, 3], [False, False, True], [[0.0], [1], [1]], ["arm"], "arm")
    assert found.problem == "at no event are patients of both groups at risk"
    assert (found.n, found.events) == (3, 1)


def test_firth_equals_rs_likelihood_maximised_in_r():
    # Oracle: firth.R, which names R's and survival's versions in the table: coxph's likelihood and information, optim.
    i = np.arange(60)
    sets = {
        "empty": ((i * i * 3 + 5 * i) % 17 + 1, ((i * 7) % 5 < 3) & (i % 2 == 0), i % 2, (i * 13) % 31 / 10),
        "few": ((i * 7) % 12 + 1, (i * 11) % 13 < 3, i % 3 == 0, (i * i) % 23 / 10),
    }
    table = pd.read_csv(Path(__file__).parent / "firth.csv", skipinitialspace=True)
    for (name, ties), rows in table.groupby(["set", "ties"]):
        time, event, arm, age = sets[name]
        found = firth_model(time, event, np.column_stack([arm, age]).astype(float), ["arm", "age"], ties)
        for row in rows.itertuples():
            ratio = found[row.term]
            ours = (ratio.coefficient, np.log(ratio.low), np.log(ratio.high), ratio.p, ratio.log_likelihood)
            expected = (row.coefficient, row.low, row.high, row.p, row.log_likelihood)
            assert ours == pytest.approx(expected, rel=1e-4, abs=1e-5), row


def test_the_gradient_is_that_of_the_penalised_likelihood():
    # Oracle: central differences; with ties, strata and three covariates.
    rng = np.random.default_rng(6)
    time, event, strata = rng.integers(1, 9, 50), rng.random(50) < 0.5, rng.integers(0, 2, 50)
    sets = risk_sets(time, event, rng.normal(size=(50, 3)), strata)
    beta = np.array([0.4, -0.3, 0.2])
    for ties in ("efron", "breslow"):
        numeric = scipy.optimize.approx_fprime(beta, lambda b, t=ties: penalised_log_likelihood(sets, b, t), 1e-6)
        assert _score(sets, beta, ties)[1] == pytest.approx(numeric, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_the_likelihood_converges_where_a_coefficient_does_not(ties):
    # Oracle: the likelihood at a coefficient far out, by its definition; with R: coxph's "loglik converged before".
    time, event, X, _ = cohort(n=60)
    event = event & (X[:, 0] == 0)
    fit = fit_cox(time, event, X, ["arm", "x"], ties)
    assert "no maximum in arm" in fit.problem
    assert np.isnan(fit.log_likelihood)
    far = scipy.optimize.minimize_scalar(
        lambda b: -by_hand(np.array([-30.0, b]), time, event, X, np.zeros(60), ties), bracket=(-1, 1)
    )
    assert fit.supremum == pytest.approx(-far.fun, abs=1e-6)
