import numpy as np
import pandas as pd
import pytest

from nnunet_ms.errors import StatisticsError
from nnunet_ms.statistics.cox import cox_univariable, fit_cox, maximise, risk_sets
from tests.statistics.naive_cox import by_hand, cohort


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


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_units_do_not_matter(ties):
    # Oracle: a covariate in other units has its coefficient in the inverse of them.
    time, event, X, _ = cohort()
    one = fit_cox(time, event, X, ["arm", "x"], ties)
    other = fit_cox(time, event, X * [1e7, 1e-2], ["arm", "x"], ties)
    assert other.problem == ""
    assert other.beta == pytest.approx(one.beta * [1e-7, 100], rel=1e-6)
    assert other.term("x").p == pytest.approx(one.term("x").p, rel=1e-6)


def test_concordance_is_the_share_of_pairs_in_the_right_order():
    # Oracle: Harrell's definition, pair by pair within strata: an event and somebody who stayed longer.
    time, event, X, strata = cohort(n=80)
    for within in (None, strata):
        found = fit_cox(time, event, X, ["arm", "x"], "efron", within)
        risk, agree, pairs = np.round(X @ found.beta, 9), 0.0, 0
        for i in np.flatnonzero(event):
            for j in range(80):
                longer = time[j] > time[i] or (time[j] == time[i] and not event[j])
                if longer and (within is None or within[i] == within[j]):
                    agree += (risk[i] > risk[j]) + 0.5 * (risk[i] == risk[j])
                    pairs += 1
        assert found.concordance == pytest.approx(agree / pairs)


def test_a_model_without_an_estimate_has_none_for_any_combination():
    time, event, X, _ = cohort()
    found = fit_cox(time, event & (X[:, 0] == 0), X, ["arm", "x"], "efron")
    at = found.combination(np.array([1.0, 0.5]))
    assert (at.problem, at.n, at.events) == (found.problem, 150, found.events)
    assert np.isnan([at.hazard_ratio, at.low, at.p]).all()


def test_a_climb_that_does_not_arrive_says_so(monkeypatch):
    monkeypatch.setattr("nnunet_ms.statistics.cox.MAXIMUM_STEPS", 1)
    time, event, X, _ = cohort()
    assert fit_cox(time, event, X, ["arm", "x"], "efron").problem == "the likelihood has no maximum in arm, x"


def test_one_number_is_no_column_of_covariates():
    with pytest.raises(StatisticsError, match=r"covariates: expected an array with 1 axes, found shape \(\)"):
        fit_cox([1, 2], [1, 0], 3.0, ["x"], "efron")


def test_concordance_without_a_pair_is_nan():
    # Every event is the last of its stratum, so nobody stayed longer than anybody with an event.
    found = fit_cox([5, 5, 7, 7], [1, 1, 1, 1], [0.0, 1.0, 3.0, 0.0], ["x"], "breslow", [0, 0, 1, 1])
    assert found.problem == ""
    assert np.isnan(found.concordance)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("events", [np.ones(50), np.arange(50) % 2.0])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e2, 1e6])
@pytest.mark.parametrize("power", [1, 2, -1])
def test_a_covariate_that_orders_all_events_is_named_without_an_overflow(ties, events, scale, power):
    # warnings are errors here: steps on the way to infinity overflowed exp
    time, noise = np.arange(1, 51.0), np.random.default_rng(0).normal(size=50)
    X = np.column_stack([scale * time**power + 0.01 * scale * noise, -(time**2)])
    found = fit_cox(time, events, X, ["order", "square"], ties)
    assert found.problem.startswith("the likelihood has no maximum in ")
    assert np.isnan(found.beta).all()
