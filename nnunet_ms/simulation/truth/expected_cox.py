"""The limits of Cox regression and Kaplan-Meier in an endless trial, computed from probabilities instead of events.

A trial sees progression at visits, and only where a later visit confirms it. For every patient the probabilities of
an event at a visit and of being at risk there have closed forms; the partial likelihood's expected score, set to
zero, gives the value that estimates tend to, without the noise of simulated events.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nnunet_ms.arrays import Floats
from nnunet_ms.simulation.model.presets import TrialPreset
from nnunet_ms.simulation.model.trial_presets import WEEKS_PER_YEAR

NODES, WEIGHTS = np.polynomial.legendre.leggauss(8)
NODES, WEIGHTS = (NODES + 1) / 2, WEIGHTS / 2  # on [0, 1]


@dataclass(frozen=True)
class Expected:
    """Probabilities per patient and visit after baseline, (n, visits): `event` there, `at_risk` just before it.

    Multiplied by a weight per patient, where patients stand for different shares of a trial.
    """

    event: Floats
    at_risk: Floats

    def of(self, chosen: npt.NDArray[np.bool_]) -> "Expected":
        """Return the rows of some patients."""
        return Expected(self.event[chosen], self.at_risk[chosen])


def expected_events(preset: TrialPreset, hazard_per_year: Floats, confirmation_weeks: float) -> Expected:
    """Return the probabilities of confirmed progression and of being at risk, visit by visit.

    Parameters
    ----------
    preset : TrialPreset
        Gives the assessment weeks and the rate of discontinuation.
    hazard_per_year : (n,) float array
        Of each patient's exponential onset.
    confirmation_weeks : float
        Least distance of the visits that show and confirm.

    Notes
    -----
    With p_j the probability that visit j is the first at or after the onset, h_j the first visit that could confirm
    it and G(w) the probability of attending week w: event_j = p_j G(h_j), and at_risk_j = G(w_j) minus, over the
    earlier visits i, p_i G(max(w_j, h_i)). Who progressed unconfirmed stays at risk until the last visit.

    Examples
    --------
    >>> from nnunet_ms.simulation.model.trial_presets import DEMO
    >>> expected = expected_events(DEMO, np.array([0.35]), confirmation_weeks=24)
    >>> expected.event.shape, round(float(expected.at_risk[0, 0]), 3)
    ((1, 10), 0.983)
    """
    weeks = np.array(preset.assessment_weeks, dtype=float)
    survival = np.exp(-hazard_per_year[:, None] * weeks / WEEKS_PER_YEAR)
    shown = survival[:, :-1] - survival[:, 1:]
    weeks = weeks[1:]
    first = np.searchsorted(weeks, weeks + confirmation_weeks)
    confirming = np.append(weeks, np.inf)[first]
    at_risk = np.empty_like(shown)
    for j, week in enumerate(weeks):
        lost = shown[:, :j] @ _attending(preset, np.maximum(week, confirming[:j]))
        at_risk[:, j] = _attending(preset, np.array([week]))[0] - lost
    return Expected(shown * _attending(preset, confirming), at_risk)


def limits_of_cox(expected: Expected, X: Floats, strata: npt.NDArray[np.generic] | None = None) -> Floats:
    """Coefficients, (k,), that Cox regression with Efron's ties tends to [1]_; Newton's method.

    Parameters
    ----------
    expected : Expected
    X : (n, k) float array
        Covariates.
    strata : (n,) array, optional
        Each value has a baseline hazard of its own.

    References
    ----------
    .. [1] Lin DY, Wei LJ. J Am Stat Assoc 84:1074-1078, 1989 (the limit of a Cox model that need not hold).

    Examples
    --------
    >>> from nnunet_ms.simulation.model.trial_presets import DEMO
    >>> expected = expected_events(DEMO, np.array([0.4, 0.2, 0.2, 0.1]), confirmation_weeks=24)
    >>> limits_of_cox(expected, np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])).round(2)
    array([-0.69, -0.69])
    """
    X = X - X.mean(axis=0)
    values = np.zeros(len(X)) if strata is None else strata
    groups = [values == value for value in np.unique(values)]
    parts = [(expected.of(group), X[group], moments(X[group])) for group in groups]
    beta = np.zeros(X.shape[1])
    for _ in range(30):
        found = [_score(*part, beta) for part in parts]
        step = np.linalg.solve(sum(f[1] for f in found), sum(f[0] for f in found))
        beta += step
        if np.abs(step).max() < 1e-10:
            break
    return beta


def limit_of_cox(expected: Expected, x: Floats, strata: npt.NDArray[np.generic] | None = None) -> float:
    """Coefficient of one covariate (n,), as `limits_of_cox`.

    Examples
    --------
    >>> from nnunet_ms.simulation.model.trial_presets import DEMO
    >>> expected = expected_events(DEMO, np.array([0.20, 0.10]), confirmation_weeks=24)
    >>> ratio = np.exp(limit_of_cox(expected, np.array([0.0, 1.0])))
    >>> round(float(ratio), 2)
    0.5
    """
    return float(limits_of_cox(expected, x[:, None], strata)[0])


def limit_of_kaplan_meier(expected: Expected, visit: int) -> float:
    """Survival after the `visit`-th visit after baseline that the Kaplan-Meier estimate tends to.

    Examples
    --------
    >>> from nnunet_ms.simulation.model.trial_presets import DEMO
    >>> expected = expected_events(DEMO, np.array([0.35]), confirmation_weeks=24)
    >>> round(limit_of_kaplan_meier(expected, 0), 3), round(limit_of_kaplan_meier(expected, 8), 3)
    (1.0, 0.539)
    """
    return float(survival_steps(expected)[visit])


def survival_steps(expected: Expected) -> Floats:
    """Survival that the Kaplan-Meier estimate tends to, (1 + visits,): 1 at baseline, then after every visit."""
    hazard = expected.event.sum(axis=0) / expected.at_risk.sum(axis=0)
    return np.concatenate([[1.0], np.cumprod(1 - hazard)])


def moments(X: Floats) -> Floats:
    """Return 1, every covariate and every product of two, (n, 1 + k + k * k)."""
    return np.hstack([np.ones((len(X), 1)), X, (X[:, :, None] * X[:, None, :]).reshape(len(X), -1)])


def _attending(preset: TrialPreset, weeks: Floats) -> Floats:
    """Probability of not having discontinued before `weeks` (`cohort.draw_baseline`); 0 where infinite."""
    before = np.maximum(weeks - 1, 0) / WEEKS_PER_YEAR
    return np.asarray(np.exp(-preset.discontinuations_per_year * before) * np.isfinite(weeks))


def _score(expected: Expected, X: Floats, powers: Floats, beta: Floats) -> tuple[Floats, Floats]:
    """Expected score and information; Efron's thinning of tied risk sets becomes an integral over [0, 1]."""
    k = len(beta)
    risk = np.exp(X @ beta)[:, None]
    score, information = np.zeros(k), np.zeros((k, k))
    at_risk, dying = ((weight * risk).T @ powers for weight in (expected.at_risk, expected.event))
    deaths, sums = expected.event.sum(axis=0), expected.event.T @ X
    for j in np.flatnonzero(deaths > 0):
        score += sums[j]
        for node, weight in zip(NODES, WEIGHTS, strict=True):
            left = at_risk[j] - node * dying[j]
            mean = left[1 : k + 1] / left[0]
            score -= deaths[j] * weight * mean
            information += deaths[j] * weight * (left[k + 1 :].reshape(k, k) / left[0] - np.outer(mean, mean))
    return score, information
