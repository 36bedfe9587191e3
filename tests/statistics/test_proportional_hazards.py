import numpy as np
import pytest
import scipy.stats

from nnunet_ms.statistics.cox import fit_cox
from nnunet_ms.statistics.proportional_hazards import proportional_hazards_test
from tests.statistics.naive_cox import cohort


def test_proportional_hazards_test_of_a_factor_has_its_columns_together():
    # Oracle: GLOBAL of a model with that term alone is the test of the term.
    time, event, _, strata = cohort()
    design = np.column_stack([strata == 1, strata == 2]).astype(float)
    term, whole = proportional_hazards_test(time, event, design, {"site": [0, 1]}, "breslow", "rank")
    assert (term.df, term.chisq) == (whole.df, whole.chisq) == (2, pytest.approx(whole.chisq))


def scales(time, event):
    """g(t) of the three transforms, by their names: before t, or the mean rank of t."""

    def km(t):
        alive = 1.0
        for u in np.unique(time[event]):
            alive *= 1 - ((time == u) & event).sum() / (time >= u).sum() if u < t else 1
        return 1 - alive

    return {
        "identity": lambda t: t,
        "rank": lambda t: (time < t).sum() + ((time == t).sum() + 1) / 2,
        "km": km,
    }


def likelihood_with_time(theta, g, time, event, X, strata, ties):
    """Partial log-likelihood of x'(beta + gamma g(t)) from the definition, one risk set after the other."""
    k, value = X.shape[1], 0.0
    for t, s in {(t, s) for t, s, e in zip(time, strata, event, strict=True) if e}:
        risk, dying = (time >= t) & (strata == s), (time == t) & (strata == s) & event
        hazard = np.exp(X @ (theta[:k] + theta[k:] * g(t)))
        value += np.log(hazard[dying]).sum()
        d = int(dying.sum())
        value -= sum(
            np.log(hazard[risk].sum() - (j / d * hazard[dying].sum() if ties == "efron" else 0)) for j in range(d)
        )
    return value


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("transform", ["identity", "rank", "km"])
def test_it_is_the_score_test_of_coefficients_that_change_with_time(transform, ties):
    # Oracle: score and information of gamma at 0 by differences of the likelihood's definition, beta profiled out.
    time, event, X, strata = cohort(n=60)
    g, k = scales(time, event)[transform], 2
    beta = fit_cox(time, event, X, ["arm", "x"], ties, strata).beta
    width = max(abs(g(t)) for t in time[event])
    steps = np.diag([1e-3] * k + [1e-3 / width] * k)

    def value(step):
        return likelihood_with_time(np.append(beta, np.zeros(k)) + step, g, time, event, X, strata, ties)

    score = np.array([value(a) - value(-a) for a in steps]) / 2
    curvature = [[value(a + b) - value(a - b) - value(b - a) + value(-a - b) for a in steps] for b in steps]
    information = -np.array(curvature) / 4
    terms = {"arm": [0], "x": [1]}
    found = proportional_hazards_test(time, event, X, terms, ties, transform, strata)
    assert [row.term for row in found] == ["arm", "x", "GLOBAL"]
    for row, which in zip(found, ([0], [1], [0, 1]), strict=True):
        chosen = [0, 1, *(k + i for i in which)]
        u = np.append(np.zeros(k), score[[k + i for i in which]])
        expected = u @ np.linalg.solve(information[np.ix_(chosen, chosen)], u)
        assert row.chisq == pytest.approx(expected, rel=1e-3)
        assert row.df == len(which)
        assert row.p == pytest.approx(scipy.stats.chi2.sf(row.chisq, row.df))
