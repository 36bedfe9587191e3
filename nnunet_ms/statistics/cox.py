"""Cox regression with Efron or Breslow ties, strata and any number of covariates, as R's `coxph`.

Written here, because lifelines has no Breslow ties and statsmodels no strata with Efron's; the test of proportional
hazards and the penalised likelihood need the sums over risk sets; and a bootstrap needs thousands of fits. Harrell's C
is lifelines'. Tests compare with R, lifelines and statsmodels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import scipy.stats
from lifelines.utils import concordance_index

from nnunet_ms.arrays import Bools, Floats, Indices
from nnunet_ms.errors import StatisticsError
from nnunet_ms.options import chosen
from nnunet_ms.statistics.input_checks import as_numbers, equally_long, level, missing_values, time_to_event
from nnunet_ms.statistics.linear_systems import inverse_or_nan, solve_or_none

Ties = Literal["efron", "breslow"]
TIES = get_args(Ties)
NAN = float("nan")
NO_MAXIMUM = "the likelihood has no maximum"
MAXIMUM_STEPS = 50
HIGHEST = 300.0  # log risk that exp is taken of: squares of covariates times it stay finite
INFINITE = 15.0  # |coefficient| * SD of its column beyond which no finite maximum is in sight


@dataclass(frozen=True)
class Cox:
    """A hazard ratio per unit of the covariate, Wald interval and p; `problem` says why it is NaN."""

    n: int
    events: int
    coefficient: float = NAN
    se: float = NAN
    hazard_ratio: float = NAN
    low: float = NAN
    high: float = NAN
    p: float = NAN
    log_likelihood: float = NAN
    problem: str = ""


@dataclass(frozen=True)
class CoxModel:
    """A fitted model: (k,) coefficients in the order of `names`, (k, k) covariance; `problem`: nothing is estimated.

    `supremum`: the log-likelihood, also where a coefficient grows for ever but the likelihood converges; NaN else.
    """

    n: int
    events: int
    names: tuple[str, ...]
    beta: Floats
    covariance: Floats
    log_likelihood: float = NAN
    concordance: float = NAN
    problem: str = ""
    supremum: float = NAN

    def term(self, name: str, confidence: float = 0.95) -> Cox:
        """Return one coefficient as a hazard ratio; OptionError where the model has no column of that name."""
        chosen(name, self.names, "term")
        if self.problem:
            return Cox(self.n, self.events, problem=self.problem)
        return self.combination(np.array([float(n == name) for n in self.names]), confidence)

    def combination(self, point: Floats, confidence: float = 0.95) -> Cox:
        """Return the hazard ratio of a (k,) difference of covariates, such as an arm at one lesion volume."""
        z = float(scipy.stats.norm.ppf(0.5 + level(confidence) / 2))
        if self.problem:
            return Cox(self.n, self.events, problem=self.problem)
        if not np.any(point):
            return Cox(self.n, self.events, problem="not in the model: constant in the data")
        b, se = float(point @ self.beta), float(np.sqrt(point @ self.covariance @ point))
        p = 2 * float(scipy.stats.norm.sf(abs(b / se)))
        low, high = float(np.exp(b - z * se)), float(np.exp(b + z * se))
        return Cox(self.n, self.events, b, se, float(np.exp(b)), low, high, p, self.log_likelihood)


@dataclass(frozen=True)
class RiskSets:
    """Data sorted by stratum and falling time, with the places where sums over risk sets begin.

    `X` (n, k) centred; `starts` (g,) first row of each group of equal (stratum, time); `first` (g,) the index of the
    first group of the group's stratum; `time` (g,).
    """

    X: Floats
    event: Floats
    order: Indices
    starts: Indices
    first: Indices
    time: Floats


def risk_sets(weeks: npt.ArrayLike, event: npt.ArrayLike, X: Floats, strata: npt.ArrayLike | None = None) -> RiskSets:
    """Sort once, so that many fits can share it; StatisticsError where lengths differ."""
    equally_long(time=weeks, event=event, covariates=X, strata=strata)
    time, happened = np.asarray(weeks, float), np.asarray(event, float)
    group = np.zeros(len(time), dtype=int) if strata is None else np.unique(np.asarray(strata), return_inverse=True)[1]
    order = np.lexsort((-time, group))
    time, group = time[order], group[order]
    new = np.ones(len(time), dtype=bool)
    new[1:] = (np.diff(time) != 0) | (np.diff(group) != 0)
    starts = np.flatnonzero(new)
    stratum = group[starts]
    first = np.searchsorted(stratum, stratum)
    centred = X[order] - X.mean(axis=0)  # exp must not overflow; coefficients do not change
    return RiskSets(centred, happened[order], order, starts, first, time[starts])


def fit_cox(
    weeks: npt.ArrayLike,
    event: npt.ArrayLike,
    X: npt.ArrayLike,
    names: Sequence[str],
    ties: Ties,
    strata: npt.ArrayLike | None = None,
) -> CoxModel:
    """Fit a proportional-hazards model (R: `coxph(Surv(weeks, event) ~ X + strata(...), ties = ties)`).

    Parameters
    ----------
    weeks, event : (n,) arrays
        Time, >= 0, and whether it ended with the event.
    X : (n, k) array
        Covariates.
    names : sequence of str
        One per column.
    ties : {"efron", "breslow"}
        How tied event times are handled: R's default, or SAS's.
    strata : (n,) array, optional
        Each stratum has its own baseline hazard.

    Returns
    -------
    CoxModel
        With values that cannot be analysed, too few patients or events, columns that cannot be told apart, or a
        likelihood that grows for ever, `problem` says so and nothing is estimated.

    Raises
    ------
    OptionError
        If there are no such ties.
    StatisticsError
        If lengths differ or a value is no number.

    Examples
    --------
    R: `coxph(Surv(time, status) ~ sex + age, lung)` prints hazard ratios of 0.5986 and 1.0172.

    >>> from lifelines.datasets import load_lung
    >>> lung = load_lung()
    >>> model = fit_cox(lung["time"], lung["status"], lung[["sex", "age"]], ["sex", "age"], "efron")
    >>> [round(model.term(name).hazard_ratio, 4) for name in ("sex", "age")]
    [0.5986, 1.0172]
    """
    chosen(ties, TIES, "ties")
    columns = as_numbers(X, "covariates", np.ndim(X) or 1)
    columns = columns[:, None] if columns.ndim == 1 else columns
    time, happened, problem = time_to_event(weeks, event)
    equally_long(time=time, covariates=columns, strata=strata)
    if len(names) != columns.shape[1]:
        raise StatisticsError(f"names: expected one per column, found {len(names)} for {columns.shape[1]} columns")
    n, events, k = len(columns), int(happened.sum()), columns.shape[1]
    empty = (np.full(k, np.nan), np.full((k, k), np.nan))
    problem = problem or _missing_columns(columns, names, strata) or _problem(columns, happened, names)
    if problem:
        return CoxModel(n, events, tuple(names), *empty, problem=problem)
    sets = risk_sets(time, happened, columns, strata)
    beta, value, information, converged = maximise(sets, ties)
    spread = columns.std(axis=0)
    wild = [name for name, b, s in zip(names, beta, spread, strict=True) if abs(b) * s > INFINITE]
    # a coefficient on its way to infinity keeps a standard error that grows with it
    covariance = inverse_or_nan(information)
    wide = [name for i, name in enumerate(names) if not 0 < covariance[i, i] * spread[i] ** 2 < 1e4]
    if wild or wide or not converged:
        which = ", ".join(dict.fromkeys([*wild, *wide])) or ", ".join(names)
        why = f"{NO_MAXIMUM} in {which}"
        return CoxModel(n, events, tuple(names), *empty, problem=why, supremum=_supremum(sets, ties, beta, value))
    concordance = _concordance(time, happened, columns @ beta, strata)
    return CoxModel(n, events, tuple(names), beta, covariance, value, concordance, supremum=value)


def _supremum(sets: RiskSets, ties: Ties, beta: Floats, value: float) -> float:
    """Return the log-likelihood that is approached along a coefficient without end; NaN where it still rises."""
    _, score, information = derivatives(sets, beta, ties, np.ones(len(sets.X)))
    values, vectors = np.linalg.eigh(information)
    known = values > 1e-7 * values.max()  # the others are the directions without end
    inside = vectors[:, known].T @ score
    still = float(inside @ (inside / values[known])) + float(np.abs(vectors[:, ~known].T @ score).sum())
    return value if np.isfinite(value) and still < 1e-5 * max(1.0, abs(value)) else NAN


def cox_univariable(
    weeks: npt.ArrayLike, event: npt.ArrayLike, covariate: npt.ArrayLike, ties: Ties, confidence: float = 0.95
) -> Cox:
    """Fit a proportional-hazards model with one covariate (R: `coxph(Surv(weeks, event) ~ x, ties = ties)`).

    Parameters
    ----------
    weeks, event, covariate : (n,) arrays
        Time, whether it ended with the event, and the covariate; finite.
    ties : {"efron", "breslow"}
        How tied event times are handled: R's default, or SAS's.
    confidence : float, optional
        Level of the two-sided Wald interval.

    Returns
    -------
    Cox
        Without two patients, an event, or variation, with values that cannot be analysed, or with a likelihood that
        grows for ever, `problem` is set.

    Raises
    ------
    OptionError, StatisticsError
        As `fit_cox`.

    Examples
    --------
    R: `coxph(Surv(time, status) ~ sex, lung)` prints a hazard ratio of 0.588, p = 0.00149.

    >>> from lifelines.datasets import load_lung
    >>> lung = load_lung()
    >>> found = cox_univariable(lung["time"], lung["status"], lung["sex"], "efron")
    >>> round(found.hazard_ratio, 3), round(found.p, 5)
    (0.588, 0.00149)
    """
    chosen(ties, TIES, "ties")
    time, happened, problem = time_to_event(weeks, event)
    x = as_numbers(covariate, "covariate")
    equally_long(time=time, covariate=x)
    problem = problem or missing_values(covariate=x) or _univariable_problem(time, happened, x)
    if problem:
        return Cox(len(time), int(happened.sum()), problem=problem)
    return fit_cox(time, happened, x[:, None], ["covariate"], ties).term("covariate", confidence)


def maximise(
    sets: RiskSets, ties: Ties, weights: Floats | None = None, start: Floats | None = None
) -> tuple[Floats, float, Floats, bool]:
    """Return beta, log-likelihood, information and whether Newton's method arrived.

    Parameters
    ----------
    sets : RiskSets
        From `risk_sets`.
    ties : {"efron", "breslow"}
        As above.
    weights : (n,) float array, optional
        Whole numbers, in the order of the data: how often each patient was drawn.
    start : (k,) float array, optional
        Where to begin.
    """
    count = np.ones(len(sets.X)) if weights is None else np.asarray(weights, float)[sets.order]
    beta = np.zeros(sets.X.shape[1]) if start is None else start
    value, score, information = derivatives(sets, beta, ties, count)
    for _ in range(MAXIMUM_STEPS):
        step = solve_or_none(information, score)
        if step is None:
            return beta, value, information, False
        if float(score @ step) < 1e-20 * max(1.0, abs(value)):
            return beta, value, information, True
        for _ in range(20):
            tried = beta + step
            new = derivatives(sets, tried, ties, count)
            if np.isfinite(new[0]) and new[0] >= value - 1e-11 * abs(value):
                break
            step = step / 2
        finished = bool(np.abs(tried - beta).max() < 1e-13 * max(1.0, float(np.abs(beta).max())))
        beta, (value, score, information) = tried, new
        if finished:
            return beta, value, information, True
    return beta, value, information, False


def derivatives(sets: RiskSets, beta: Floats, ties: Ties, count: Floats) -> tuple[float, Floats, Floats]:
    """Return partial log-likelihood, score (k,) and information (k, k); `count` in the order of `sets`."""
    value, deaths_x, mean, variance, _ = event_terms(sets, beta, ties, count)
    return value, deaths_x.sum(axis=0) - mean.sum(axis=0), variance.sum(axis=0)


def event_terms(
    sets: RiskSets, beta: Floats, ties: Ties, count: Floats
) -> tuple[float, Floats, Floats, Floats, Indices]:
    """Return the sums that every statistic of a Cox model is made from.

    Returns
    -------
    log-likelihood; sum of X over the deaths of each group (g, k); mean (e, k) and variance (e, k, k) of X in the risk
    set of each event, times the number of events it stands for; group of each event (e,).

    Raises
    ------
    OptionError
        If there are no such ties.
    """
    k = sets.X.shape[1]
    eta = sets.X @ beta
    eta = eta - max(0.0, float(eta.max()) - HIGHEST)  # all risks by one factor: nothing changes, and exp is finite
    w = count * np.exp(np.clip(eta, -700, HIGHEST))
    moments = np.concatenate(
        [np.ones((len(w), 1)), sets.X, (sets.X[:, :, None] * sets.X[:, None, :]).reshape(len(w), k * k)], axis=1
    )
    died = count * sets.event
    deaths_x = np.add.reduceat(sets.X * died[:, None], sets.starts, axis=0)
    sums, each, group = risk_set_sums(sets, moments * w[:, None], ties, died)
    mean = sums[:, 1 : k + 1] / sums[:, :1]
    second = (sums[:, k + 1 :] / sums[:, :1]).reshape(-1, k, k)
    variance = second - mean[:, :, None] * mean[:, None, :]
    value = float(died @ eta - each @ np.log(sums[:, 0]))
    return value, deaths_x, mean * each[:, None], variance * each[:, None, None], group


def risk_set_sums(sets: RiskSets, weighted: Floats, ties: Ties, died: Floats) -> tuple[Floats, Floats, Indices]:
    """Sum (n, m) columns over the risk set of each event: sums (e, m), events each stands for (e,), its group (e,).

    With Efron's ties those who have the event at the same time leave the risk set in equal shares, one event at a time.

    Raises
    ------
    OptionError
        If there are no such ties.
    """
    chosen(ties, TIES, "ties")
    at_risk = np.cumsum(np.add.reduceat(weighted, sets.starts, axis=0), axis=0)
    before = np.where((sets.first > 0)[:, None], at_risk[sets.first - 1], 0.0)
    at_risk = at_risk - before
    deaths = np.add.reduceat(died, sets.starts)
    if ties == "efron":
        dying = np.add.reduceat(weighted * sets.event[:, None], sets.starts, axis=0)
        times = np.rint(deaths).astype(int)
        group = np.repeat(np.arange(len(deaths)), times)
        rank = np.arange(len(group)) - np.repeat(np.cumsum(times) - times, times)
        sums = at_risk[group] - (rank / np.maximum(times[group], 1))[:, None] * dying[group]
        return sums, np.ones(len(group)), group
    group = np.flatnonzero(deaths > 0)
    return at_risk[group], deaths[group], group


def _missing_columns(X: Floats, names: Sequence[str], strata: npt.ArrayLike | None) -> str:
    return missing_values(**dict(zip(names, X.T, strict=True))) or missing_values(strata=strata)


def _problem(X: Floats, happened: Bools, names: Sequence[str]) -> str:
    if len(X) < 2:
        return f"{len(X)} patients, needs 2"
    if not happened.any():
        return "no events"
    constant = [name for name, column in zip(names, X.T, strict=True) if np.ptp(column) == 0]
    if constant:
        return "the covariate is constant" if len(names) == 1 else f"constant in the data: {', '.join(constant)}"
    if happened.sum() < X.shape[1]:
        return f"{int(happened.sum())} events for {X.shape[1]} coefficients"
    centred = X - X.mean(axis=0)
    if np.linalg.matrix_rank(centred / np.linalg.norm(centred, axis=0)) < X.shape[1]:
        return "covariates are confounded"
    return ""


def _univariable_problem(time: Floats, happened: Bools, x: Floats) -> str:
    problem = _problem(x[:, None], happened, ["covariate"])
    if problem:
        return problem
    times, which = np.unique(time[happened], return_inverse=True)
    low, high = (np.array([pick(x[time >= t]) for t in times]) for pick in (np.min, np.max))
    if (low == high).all():
        return "the covariate does not vary among the patients at risk"
    # the likelihood has no maximum when every event has the highest (or every one the lowest) value at risk
    values = x[happened]
    if (values == high[which]).all() or (values == low[which]).all():
        return "the covariate separates patients with and without event"
    return ""


def _concordance(time: Floats, happened: Bools, risk: Floats, strata: npt.ArrayLike | None) -> float:
    """Return Harrell's C within strata: pairs of event and later time, ties of risk count half (R: `concordance`).

    lifelines gives the C of each stratum, but knows no strata outside its own models; strata weigh as their pairs.
    """
    group = np.zeros(len(time)) if strata is None else np.unique(np.asarray(strata), return_inverse=True)[1]
    # the same predictor by another order of sums is a tie
    level_of_risk = np.rint(risk / (1e-9 * max(1.0, float(np.abs(risk).max()))))
    agree = total = 0.0
    for g in np.unique(group):
        t, e, r = (values[group == g] for values in (time, happened, level_of_risk))
        pairs = _pairs(t, e)
        if pairs:
            agree += np.rint(2 * pairs * concordance_index(t, -r, e)) / 2  # a count of whole and half pairs
            total += pairs
    return float(agree / total) if total else NAN


def _pairs(time: Floats, happened: Bools) -> int:
    """Pairs of an event and somebody who was followed longer, or was censored at that time."""
    at, ended = time[happened], np.sort(time[~happened])
    later = len(time) - np.searchsorted(np.sort(time), at, side="right")
    then = np.searchsorted(ended, at, side="right") - np.searchsorted(ended, at, side="left")
    return int((later + then).sum())
