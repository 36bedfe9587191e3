"""Oracle: R's `survfit(coxph(...), newdata)`; see `discrete_hazards.R`."""

import numpy as np
import pytest

from nnunet_ms.errors import StatisticsError
from nnunet_ms.statistics.cox_curves import cox_curves
from tests.statistics.hazard_oracle import column, survival

TIME, EVENT, AGE = column("time"), column("event"), column("age")[:, None]


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_curves_equal_r(ties):
    expected = survival(ties)
    found = cox_curves(TIME, EVENT, AGE, np.array([[age] for age in expected.index]), list(expected.columns), ties)
    assert found == pytest.approx(expected.to_numpy(), rel=1e-7)


def test_the_unit_of_a_covariate_changes_nothing():
    one = cox_curves(TIME, EVENT, AGE, [[40.0]], [12, 30])
    other = cox_curves(TIME, EVENT, 7 - AGE / 365, [[7 - 40.0 / 365]], [12, 30])
    assert one == pytest.approx(other, rel=1e-8)


@pytest.mark.parametrize(
    ("patients", "event", "message"),
    [
        ([[40.0, 1.0]], EVENT, "expected the 1 covariates of the model, found 2"),
        ([[np.nan]], EVENT, "1 of 1 values of patients are missing"),
        ([[40.0]], np.zeros(len(TIME)), "Cox regression: no events"),
    ],
)
def test_what_has_no_curve_is_refused(patients, event, message):
    with pytest.raises(StatisticsError, match=message):
        cox_curves(TIME, event, AGE, patients, [12])


def test_a_regression_without_a_solution_names_its_covariates():
    time = np.arange(1, 21.0)
    with pytest.raises(StatisticsError, match="no maximum in age"):
        cox_curves(time, np.ones(20), time[:, None], [[3.0]], [2.0], names=["age"])
