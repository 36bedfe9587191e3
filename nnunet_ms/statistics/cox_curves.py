"""Survival curves that a Cox model predicts for patients, also for those that it was not fitted on."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import numpy.typing as npt

from nnunet_ms.arrays import Floats
from nnunet_ms.errors import StatisticsError
from nnunet_ms.statistics.cox import CoxModel, Ties, fit_cox, risk_set_sums, risk_sets
from nnunet_ms.statistics.input_checks import as_numbers, missing_values, refuse


def cox_curves(
    weeks: npt.ArrayLike,
    event: npt.ArrayLike,
    X: npt.ArrayLike,
    patients: npt.ArrayLike,
    at: npt.ArrayLike,
    ties: Ties = "efron",
    names: Sequence[str] | None = None,
) -> Floats:
    """Predicted survival of patients (R: `survfit(coxph(Surv(weeks, event) ~ X), newdata = patients)`).

    S(t | x) = exp(-H(t) exp((x - m) b)), where b is the coefficient, m the mean of X, and H the cumulative hazard of
    who has m: at each event it grows by one over the sum of exp((X - m) b) of those at risk, with Efron's shares where
    events are tied.

    Parameters
    ----------
    weeks, event : (n,) arrays
        Of the patients that the model is fitted on.
    X : (n, k) array
        Their covariates.
    patients : (m, k) array
        Covariates of those who are predicted.
    at : (t,) floats
        Times, in the unit of `weeks`.
    ties : {"efron", "breslow"}, optional
    names : sequence of str, optional
        Of the covariates, for messages.

    Returns
    -------
    (m, t) float array
        Share without the event after each time; 1 before the first event, and level after the last one.

    Raises
    ------
    StatisticsError
        If there is no such model, or shapes do not fit.
    OptionError
        If there are no such ties.

    Examples
    --------
    R (`lung`): `summary(survfit(coxph(Surv(time, status) ~ age, lung), data.frame(age = 60)), times = 365)$surv` is
    0.4297.

    >>> from lifelines.datasets import load_lung
    >>> lung = load_lung()
    >>> cox_curves(lung["time"], lung["status"], lung[["age"]], [[60]], [365]).round(4)
    array([[0.4297]])
    """
    columns, others = as_numbers(X, "covariates", 2), as_numbers(patients, "patients", 2)
    places = as_numbers(at, "at")
    if columns.shape[1] != others.shape[1]:
        raise StatisticsError(
            f"patients: expected the {columns.shape[1]} covariates of the model, found {others.shape[1]} columns."
        )
    refuse(missing_values(patients=others, at=places))
    told = [f"x{k}" for k in range(columns.shape[1])] if names is None else names
    model = fit_cox(weeks, event, columns, told, ties)
    if model.problem:
        raise StatisticsError(f"Cox regression: {model.problem}. Leave covariates out, or add patients.")
    times, hazard = _cumulative_hazard(weeks, event, columns, model, ties)
    whole = np.concatenate([[0.0], hazard])[np.searchsorted(times, places, side="right")]
    risk = np.exp((others - columns.mean(axis=0)) @ model.beta)
    return cast("Floats", np.exp(-np.outer(risk, whole)))


def _cumulative_hazard(
    weeks: npt.ArrayLike, event: npt.ArrayLike, columns: Floats, model: CoxModel, ties: Ties
) -> tuple[Floats, Floats]:
    """Rising times of events, one by one, and the cumulative hazard after each, of who has the mean covariates."""
    sets = risk_sets(weeks, event, columns)
    weights = np.exp(sets.X @ model.beta)
    sums, each, group = risk_set_sums(sets, weights[:, None], ties, sets.event)
    steps, times = (each / sums[:, 0])[::-1], sets.time[group][::-1]
    return times, np.cumsum(steps)
