import numpy as np
import pandas as pd
import pytest

from nnunet_ms.statistics.cox import cox_univariable, fit_cox, maximise, risk_sets
from nnunet_ms.statistics.cox_firth import firth_cox, penalised_log_likelihood
from nnunet_ms.statistics.proportional_hazards import proportional_hazards_test


def cohort(seed=4, n=150):
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.integers(0, 2, n), rng.normal(size=n)]).astype(float)
    time = np.ceil(rng.exponential(20 / np.exp(0.5 * X[:, 0] + 0.4 * X[:, 1])))
    end = rng.integers(5, 40, n)
    return np.minimum(time, end).astype(float), time <= end, X, rng.integers(0, 3, n)


def by_hand(beta, time, event, X, strata, ties):
    """Partial log-likelihood from the definition, one risk set after the other."""
    value = 0.0
    for t, s in {(t, s) for t, s, e in zip(time, strata, event, strict=True) if e}:
        risk = (time >= t) & (strata == s)
        dying = (time == t) & (strata == s) & event
        eta = X @ beta
        value += eta[dying].sum()
        d = int(dying.sum())
        for j in range(d):
            minus = j / d * np.exp(eta[dying]).sum() if ties == "efron" else 0.0
            value -= np.log(np.exp(eta[risk]).sum() - minus)
    return value


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_stratified_fit_is_the_maximum_of_the_definition(ties):
    # Oracle: the definition of the partial likelihood, and its curvature by differences.
    time, event, X, strata = cohort()
    found = fit_cox(time, event, X, ["arm", "x"], ties, strata)
    centred = X - X.mean(axis=0)
    assert found.log_likelihood == pytest.approx(by_hand(found.beta, time, event, centred, strata, ties), rel=1e-12)
    h = 1e-4
    for i in range(2):
        step = np.eye(2)[i] * h
        up, down = (by_hand(found.beta + s, time, event, centred, strata, ties) for s in (step, -step))
        assert (up - down) / (2 * h) == pytest.approx(0, abs=1e-5)


def test_against_lifelines_and_statsmodels():
    # Oracle: lifelines 0.30 (Efron, strata) and statsmodels 0.15 (Breslow).
    from lifelines import CoxPHFitter
    from statsmodels.duration.hazard_regression import PHReg

    time, event, X, strata = cohort()
    frame = pd.DataFrame({"week": time, "event": event.astype(int), "arm": X[:, 0], "x": X[:, 1], "s": strata})
    fitter = CoxPHFitter().fit(frame, "week", "event", strata=["s"], fit_options={"precision": 1e-10})
    found = fit_cox(time, event, X, ["arm", "x"], "efron", strata)
    assert found.beta == pytest.approx(fitter.params_[["arm", "x"]].to_numpy(), rel=1e-5)
    assert found.term("x").se == pytest.approx(fitter.standard_errors_["x"], rel=1e-5)
    peer = PHReg(time, X, status=event.astype(int), ties="breslow").fit(method="newton", tol=1e-12, disp=False)
    assert fit_cox(time, event, X, ["arm", "x"], "breslow").beta == pytest.approx(peer.params, rel=1e-6)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_weights_are_patients_drawn_more_than_once(ties):
    # Oracle: the fit of the data with the rows repeated.
    time, event, X, _ = cohort()
    count = np.random.default_rng(1).multinomial(len(time), np.full(len(time), 1 / len(time)))
    beta, *_ = maximise(risk_sets(time, event, X), ties, count)
    rows = np.repeat(np.arange(len(time)), count)
    assert beta == pytest.approx(fit_cox(time[rows], event[rows], X[rows], ["arm", "x"], ties).beta, rel=1e-9)


def test_combination_is_the_effect_of_an_arm_at_a_covariate():
    time, event, X, _ = cohort()
    design = np.column_stack([X, X[:, 0] * X[:, 1]])
    found = fit_cox(time, event, design, ["arm", "x", "arm:x"], "efron")
    shifted = np.column_stack([X[:, 0], X[:, 1], X[:, 0] * (X[:, 1] - 0.7)])
    direct = fit_cox(time, event, shifted, ["arm", "x", "arm:x"], "efron").term("arm")
    at = found.combination(np.array([1.0, 0.0, 0.7]))
    assert (at.hazard_ratio, at.low, at.p) == pytest.approx((direct.hazard_ratio, direct.low, direct.p), rel=1e-8)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize(
    ("weeks", "event", "covariate", "message"),
    [
        ([], [], [], "0 patients"),
        ([5], [1], [1.0], "1 patients"),
        ([5, 6], [0, 0], [1.0, 2.0], "no events"),
        ([5, 6], [1, 1], [1.0, 1.0], "constant"),
        ([5, 6, 7], [1, 0, 0], [9.0, 1.0, 2.0], "separates"),
        ([5, 6, 7], [1, 0, 0], [0.0, 1.0, 2.0], "separates"),
        ([5, 6, 7], [0, 1, 1], [0.0, 1.0, 1.0], "does not vary"),
    ],
)
def test_without_an_estimate_it_says_why(weeks, event, covariate, message, ties):
    found = cox_univariable(weeks, event, covariate, ties)
    assert message in found.problem
    assert np.isnan(found.hazard_ratio)


def test_arm_without_an_event_is_refused_by_name():
    time, event, X, _ = cohort()
    found = fit_cox(time, event & (X[:, 0] == 0), X, ["arm", "x"], "efron")
    assert found.problem == "the likelihood has no maximum in arm"
    assert np.isnan(found.term("x").p)


def test_confounded_and_too_few_events():
    time, event, X, _ = cohort()
    doubled = np.column_stack([X, 2 * X[:, 1] + 1])
    assert "confounded" in fit_cox(time, event, doubled, ["a", "b", "c"], "efron").problem
    one = np.zeros(len(time), bool)
    one[3] = True
    assert "1 events for 2 coefficients" in fit_cox(time, one, X, ["a", "b"], "efron").problem


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


def test_proportional_hazards_test_of_a_factor_has_its_columns_together():
    # Oracle: GLOBAL of a model with that term alone is the test of the term.
    time, event, _, strata = cohort()
    design = np.column_stack([strata == 1, strata == 2]).astype(float)
    term, whole = proportional_hazards_test(time, event, design, {"site": [0, 1]}, "breslow", "rank")
    assert (term.df, term.chisq) == (whole.df, whole.chisq) == (2, pytest.approx(whole.chisq))
