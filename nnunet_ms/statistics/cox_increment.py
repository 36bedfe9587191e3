"""What predictors add to others in a Cox model: the likelihood-ratio test of nested models."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.stats

from nnunet_ms.arrays import Floats
from nnunet_ms.errors import StatisticsError
from nnunet_ms.statistics.cox import Cox, CoxModel, Ties, derivatives, fit_cox, risk_sets
from nnunet_ms.statistics.input_checks import as_numbers, equally_long, level

NAN = float("nan")


@dataclass(frozen=True)
class CoxIncrement:
    """Twice the gain of the partial log-likelihood is chi-squared on `df` degrees of freedom.

    Attributes
    ----------
    statistic, df, p : float, int, float
        NaN where undefined.
    hazard_ratio, low, high : float
        Per standard deviation of the added predictor, with the others in the model; NaN with more than one.
    concordance_base, concordance_full : float
        Harrell's, of the same patients that the models are fitted on.
    n, events : int
    problem : str
        Blank, or why there is no test.
    """

    statistic: float
    df: int
    p: float
    hazard_ratio: float
    low: float
    high: float
    concordance_base: float
    concordance_full: float
    n: int
    events: int
    problem: str = ""


def cox_increment(
    weeks: npt.ArrayLike,
    event: npt.ArrayLike,
    base: npt.ArrayLike,
    added: npt.ArrayLike,
    ties: Ties = "efron",
    confidence: float = 0.95,
    names: Sequence[str] | None = None,
) -> CoxIncrement:
    """Test what predictors add (R: `anova(coxph(s ~ base), coxph(s ~ base + added))`).

    Parameters
    ----------
    weeks, event : (n,) arrays
        Time, >= 0, and 1 where it ended with the event.
    base : (n, k) array
        Predictors of both models; k may be 0.
    added : (n, m) array
        Those of the larger model only. Of a network take its log hazard for patients that it was not trained on.
    ties : {"efron", "breslow"}, optional
    confidence : float, optional
        Of the interval of the hazard ratio.
    names : sequence of str, optional
        Of the k + m predictors, for messages.

    Returns
    -------
    CoxIncrement

    Raises
    ------
    StatisticsError
        If lengths differ or a value is no number.
    OptionError
        If a word or level does not exist.

    Examples
    --------
    R (`lung`): `anova(coxph(s ~ age, lung), coxph(s ~ age + sex, lung))` prints Chisq 9.8822 and p 0.00167.

    >>> from lifelines.datasets import load_lung
    >>> lung = load_lung()
    >>> found = cox_increment(lung["time"], lung["status"], lung[["age"]], lung[["sex"]])
    >>> round(found.statistic, 4), round(found.p, 5)
    (9.8822, 0.00167)
    """
    level(confidence)
    first, second = as_numbers(base, "base", 2), as_numbers(added, "added", 2)
    equally_long(weeks=weeks, base=first, added=second)
    if not second.shape[1]:
        raise StatisticsError("added: expected one predictor or more, found none. Name one.")
    k, m = first.shape[1], second.shape[1]
    told = [*(f"base{i}" for i in range(k)), *(f"added{i}" for i in range(m))] if names is None else list(names)
    full = fit_cox(weeks, event, np.hstack([first, second]), told, ties)
    small = fit_cox(weeks, event, first, told[:k], ties) if k else None
    below = _empty_likelihood(weeks, event, second, ties) if small is None else small.log_likelihood
    problem = full.problem or (small.problem if small else "")
    if problem:
        return CoxIncrement(NAN, m, NAN, NAN, NAN, NAN, NAN, NAN, full.n, full.events, problem)
    statistic = max(2 * (full.log_likelihood - below), 0.0)
    p = float(scipy.stats.chi2.sf(statistic, m))
    ratio = _per_sd(full, second, confidence)
    concordance = 0.5 if small is None else small.concordance
    numbers = (ratio.hazard_ratio, ratio.low, ratio.high, concordance, full.concordance)
    return CoxIncrement(statistic, m, p, *numbers, full.n, full.events)


def _per_sd(model: CoxModel, added: Floats, confidence: float) -> Cox:
    if added.shape[1] > 1:
        return Cox(model.n, model.events, problem="several predictors are added")
    point = np.zeros(len(model.names))
    point[-1] = added[:, 0].std(ddof=1)
    return model.combination(point, confidence)


def _empty_likelihood(weeks: npt.ArrayLike, event: npt.ArrayLike, X: Floats, ties: Ties) -> float:
    """Partial log-likelihood without a predictor: of equal hazards, whatever X holds."""
    sets = risk_sets(weeks, event, X)
    return derivatives(sets, np.zeros(X.shape[1]), ties, np.ones(len(X)))[0]
