"""Oracle: R's `anova` of two `coxph`; see `discrete_hazards.R`."""

import numpy as np
import pytest
import scipy.stats

from nnunet_ms.errors import StatisticsError
from nnunet_ms.statistics.cox_increment import cox_increment
from tests.statistics.hazard_oracle import TABLE, column

TIME, EVENT, AGE, SCORE = (column(name) for name in ("time", "event", "age", "score"))
NOTHING = np.zeros((len(TIME), 0))


def of_r(what, ties):
    return TABLE[(TABLE["what"] == what) & (TABLE["model"] == ties)]["value"].item()


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_test_equals_r(ties):
    found = cox_increment(TIME, EVENT, AGE[:, None], SCORE[:, None], ties)
    assert found.statistic == pytest.approx(of_r("statistic", ties), rel=1e-6)
    assert found.p == pytest.approx(of_r("p", ties), rel=1e-6)
    assert np.log(found.hazard_ratio) == pytest.approx(of_r("coefficient", ties) * SCORE.std(ddof=1), rel=1e-6)
    assert found.low < found.hazard_ratio < found.high
    assert (found.n, found.events, found.df, found.problem) == (14, 8, 1, "")


def test_with_nothing_before_it_is_the_test_of_the_whole_model():
    age = cox_increment(TIME, EVENT, NOTHING, AGE[:, None])
    score = cox_increment(TIME, EVENT, AGE[:, None], SCORE[:, None])
    both = cox_increment(TIME, EVENT, NOTHING, np.column_stack([AGE, SCORE]))
    assert both.statistic == pytest.approx(age.statistic + score.statistic)
    assert both.p == pytest.approx(scipy.stats.chi2.sf(both.statistic, 2))
    assert np.isnan(both.hazard_ratio)


def test_under_the_null_p_is_uniform():
    generator = np.random.default_rng(0)
    age = generator.normal(size=(60, 1))
    time = generator.exponential(np.exp(-0.5 * age[:, 0]))
    found = [cox_increment(time, np.ones(60), age, generator.normal(size=(60, 1))).p for _ in range(200)]
    assert scipy.stats.kstest(found, "uniform").pvalue > 0.05


def test_what_is_already_in_the_model_has_no_test():
    found = cox_increment(TIME, EVENT, AGE[:, None], 2 * AGE[:, None] + 1)
    assert (np.isnan(found.p), found.problem) == (True, "covariates are confounded")


def test_nothing_to_add_is_refused():
    with pytest.raises(StatisticsError, match="added: expected one predictor or more, found none"):
        cox_increment(TIME, EVENT, AGE[:, None], NOTHING)


def test_a_problem_names_the_predictors():
    time, other = np.arange(1, 21.0), np.random.default_rng(0).normal(size=(20, 1))
    found = cox_increment(time, np.ones(20), other, time[:, None], names=["age", "net"])
    assert found.problem.startswith("the likelihood has no maximum in")
    assert "net" in found.problem
