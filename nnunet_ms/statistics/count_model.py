"""Lesion counts by arm: negative binomial rate ratios and adjusted rates, and exact tests beside them.

Written here: adjusted rates, and exact bounds where an arm has no event. Tests and exact intervals are scipy's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.stats

from nnunet_ms.arrays import Floats
from nnunet_ms.options import chosen
from nnunet_ms.statistics.design_matrix import (
    ARM,
    WEIGHTS,
    Design,
    Weights,
    arm_design,
    arms_problem,
    unknown_notes,
)
from nnunet_ms.statistics.input_checks import as_numbers, level, missing_columns, missing_values, refuse
from nnunet_ms.statistics.negative_binomial import CountFit, fit_negative_binomial
from nnunet_ms.statistics.separation import estimable_covariates

NAN = float("nan")
Covariance = Literal["expected", "observed"]
COVARIANCES = get_args(Covariance)
WITHOUT_MODEL = (
    "no model; limits are exact for Poisson counts and too narrow where patients differ in their rates; p is that of "
    "Fisher's exact test of patients with a lesion, which holds there too"
)


@dataclass(frozen=True)
class LogCoefficient:
    """A coefficient on the log scale with its Wald z and p."""

    term: str
    estimate: float
    se: float
    z: float
    p: float


@dataclass(frozen=True)
class Ratio:
    """A rate ratio to the reference arm with its interval; `problem` says why parts of it are NaN."""

    arm: str
    estimate: float = NAN
    low: float = NAN
    high: float = NAN
    p: float = NAN
    log_estimate: float = NAN
    log_se: float = NAN
    problem: str = ""


@dataclass(frozen=True)
class Rate:
    """An arm's adjusted rate per unit of exposure."""

    arm: str
    estimate: float = NAN
    low: float = NAN
    high: float = NAN
    problem: str = ""


@dataclass(frozen=True)
class CountModel:
    """A fitted model of counts. `family` is what was fitted; `notes` say what was changed and why."""

    ratios: tuple[Ratio, ...] = ()
    rates: tuple[Rate, ...] = ()
    coefficients: tuple[LogCoefficient, ...] = ()
    n: int = 0
    alpha: float = NAN
    log_likelihood: float = NAN
    family: str = ""
    dropped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    problem: str = ""


def count_model(
    frame: pd.DataFrame,
    count: str,
    exposure: str,
    arms: Sequence[str],
    numbers: Sequence[str] = (),
    factors: Sequence[str] = (),
    covariance: Covariance = "expected",
    weights: Weights = "equal",
    confidence: float = 0.95,
    products: Sequence[tuple[str, str]] = (),
    references: Mapping[str, object] | None = None,
    unknown: Sequence[str] = (),
) -> CountModel:
    """Fit log E(count) = log exposure + arm + covariates, negative binomial.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per patient: `arm`, `count` (whole numbers >= 0), `exposure` (> 0, such as scans), covariates.
    count, exposure : str
        Columns.
    arms : sequence of str
        The reference arm first.
    numbers, factors : sequence of str, optional
        As in `design_matrix.arm_design`.
    covariance : {"expected", "observed"}, optional
        Standard errors as R's `glm.nb` (expected information, dispersion held fixed) or as SAS GENMOD (inverse of the
        observed information of all parameters).
    weights : {"equal", "proportional"}, optional
        Reference grid of the adjusted rates, as `emmeans(..., offset = 0)`.
    confidence : float, optional
        Level of the two-sided Wald intervals.
    products, references, unknown : optional
        As in `design_matrix.arm_design`.

    Returns
    -------
    CountModel
        Covariates with which the likelihood has no maximum are left out by the rule of
        `separation.estimable_covariates`, and a note says so. An arm without any event gets rate 0 with the exact
        one-sided bound, and its ratio is 0 with the exact bound of the conditional test, both of Poisson counts; its p
        is that of `presence_p`, which does not need them to be Poisson; the other arms are modelled. Without
        overdispersion the family is Poisson and a note says so. What cannot be estimated, or holds missing values,
        has a `problem`.

    Raises
    ------
    OptionError
        If there is no such covariance, there are no such weights, or no such level.
    StatisticsError
        If a column is not there.

    Examples
    --------
    Counts that vary less than Poisson counts would, seen equally long: the ratio is that of the means.

    >>> frame = pd.DataFrame({"arm": ["a"] * 4 + ["b"] * 4, "new": [4, 5, 4, 5, 2, 1, 2, 1], "scans": [1] * 8})
    >>> found = count_model(frame, "new", "scans", ["a", "b"])
    >>> round(found.ratios[0].estimate, 6), found.family
    (0.333333, 'Poisson')
    """
    chosen(covariance, COVARIANCES, "covariance")
    chosen(weights, WEIGHTS, "weights")
    level(confidence)
    problem = missing_columns(frame, [count, exposure, ARM, *numbers, *factors]) or arms_problem(frame, arms)
    problem = problem or _count_problem(as_numbers(frame[count], count), as_numbers(frame[exposure], exposure))
    if problem:
        return CountModel(n=len(frame), problem=problem)
    totals = {arm: float(frame.loc[frame["arm"] == arm, count].sum()) for arm in arms}
    if not any(totals.values()):
        return CountModel(n=len(frame), problem="no lesion in any arm")
    empty = [arm for arm in arms if totals[arm] == 0]
    plan = _Plan(count, exposure, numbers, factors, covariance, weights, confidence, products, references, unknown)
    return _with_empty_arms(frame, arms, empty, plan) if empty else _fitted(frame, arms, plan)


@dataclass(frozen=True)
class _Plan:
    """What is fitted; the arguments of `count_model`."""

    count: str
    exposure: str
    numbers: Sequence[str]
    factors: Sequence[str]
    covariance: Covariance
    weights: Weights
    confidence: float
    products: Sequence[tuple[str, str]]
    references: Mapping[str, object] | None
    unknown: Sequence[str]


def _count_problem(counts: Floats, exposure: Floats) -> str:
    if (counts < 0).any() or (counts != np.rint(counts)).any():
        odd = counts[(counts < 0) | (counts != np.rint(counts))][0]
        return f"count: expected whole numbers >= 0, found {odd:g}"
    return f"exposure: expected values > 0, found {exposure.min():g}" if (exposure <= 0).any() else ""


def exact_rate_bound(events: int, exposure: float, confidence: float = 0.95) -> float:
    """Return the exact upper one-sided limit of a Poisson rate (Garwood 1936); 0 events: -log(1 - level) / exposure.

    Raises
    ------
    OptionError, StatisticsError
        If there is no such level, events are negative or exposure is not positive.

    Examples
    --------
    The rule of three:

    >>> round(exact_rate_bound(0, 100), 4)
    0.03
    """
    refuse(_count_problem(np.array([events], float), np.array([exposure], float)))
    return float(scipy.stats.chi2.ppf(level(confidence), 2 * (events + 1)) / 2 / exposure)


def exact_rate_ratio(
    events: int, exposure: float, reference_events: int, reference_exposure: float, confidence: float = 0.95
) -> Ratio:
    """Compare two Poisson rates exactly, given their total (R: `poisson.test(c(a, b), c(ta, tb))`).

    Parameters
    ----------
    events, reference_events : int
        Totals of the two arms.
    exposure, reference_exposure : float
        Scans or patient-years, > 0.
    confidence : float, optional
        Level of the two-sided Clopper-Pearson interval.

    Returns
    -------
    Ratio
        `arm` is blank. No event in either arm: `problem` is set.

    Raises
    ------
    OptionError, StatisticsError
        If there is no such level, events are negative or exposure is not positive.

    Examples
    --------
    R: `poisson.test(c(11, 6+8+7), c(800, 1083+1050+878))` prints a ratio of 1.97, limits 0.858 and 4.28.

    >>> found = exact_rate_ratio(11, 800, 21, 3011)
    >>> round(found.estimate, 2), round(found.low, 3), round(found.high, 2)
    (1.97, 0.858, 4.28)
    """
    level(confidence)
    refuse(_count_problem(np.array([events, reference_events], float), np.array([exposure, reference_exposure], float)))
    total = events + reference_events
    if total == 0:
        return Ratio("", problem="no lesion in either arm")
    share = exposure / (exposure + reference_exposure)
    test = scipy.stats.binomtest(events, total, share)
    limits = test.proportion_ci(confidence, method="exact")
    low, high = (_odds(p) * reference_exposure / exposure for p in (limits.low, limits.high))
    estimate = _odds(events / total) * reference_exposure / exposure
    return Ratio("", float(estimate), float(low), float(high), float(test.pvalue))


def rank_sum_p(values: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """Return the two-sided p of Wilcoxon's rank-sum test, normal approximation with ties and continuity correction.

    R: `wilcox.test(values, reference, exact = FALSE)`. NaN where all values are the same or an arm is empty.

    Raises
    ------
    StatisticsError
        If a value is missing or no number.

    Examples
    --------
    By hand: W = 3 of mean 4.5 and variance 5.25, so z = (1.5 - 0.5) / 2.291.

    >>> round(rank_sum_p([0.8, 0.83, 1.89], [1.04, 1.45, 1.38]), 4)
    0.6625
    """
    a, b = as_numbers(values, "values"), as_numbers(reference, "reference")
    refuse(missing_values(values=a, reference=b))
    if len(a) == 0 or len(b) == 0 or np.ptp(np.concatenate([a, b])) == 0:
        return NAN
    return float(scipy.stats.mannwhitneyu(a, b, method="asymptotic", use_continuity=True).pvalue)


def presence_p(values: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """Return the two-sided p of Fisher's exact test of how many patients of two arms have an event [1]_.

    It permutes patients, not lesions, and holds whatever the dispersion of the counts: a patient with twenty lesions
    counts as one. Where an arm has no event it orders trials as their total counts do.

    Parameters
    ----------
    values, reference : array_like
        Counts per patient of either arm.

    Returns
    -------
    float
        1 where nobody has an event; NaN where an arm is empty. R: `fisher.test` of the 2 x 2 table.

    Raises
    ------
    StatisticsError
        If a value is missing or no number.

    References
    ----------
    .. [1] Fisher RA. J R Stat Soc 98:39-82, 1935.

    Examples
    --------
    Three of three against none of three: 2 / 20, however many lesions the three have.

    >>> round(presence_p([0, 0, 0], [1, 17, 4]), 6)
    0.1
    """
    a, b = as_numbers(values, "values"), as_numbers(reference, "reference")
    refuse(missing_values(values=a, reference=b))
    if len(a) == 0 or len(b) == 0:
        return NAN
    return float(scipy.stats.fisher_exact([[(x > 0).sum(), (x <= 0).sum()] for x in (a, b)]).pvalue)


def _odds(p: float) -> float:
    return float("inf") if p >= 1 else p / (1 - p)


def _fitted(frame: pd.DataFrame, arms: Sequence[str], plan: _Plan) -> CountModel:
    y, offset = frame[plan.count].to_numpy(float), np.log(frame[plan.exposure].to_numpy(float))
    # refuses what is no level or no term, also of covariates that are left out below
    arm_design(frame, arms, plan.numbers, plan.factors, plan.weights, plan.products, plan.references)
    kept = estimable_covariates(frame, plan.count, arms, plan.numbers, plan.factors, plan.products)
    there = {name: first for name, first in (plan.references or {}).items() if name in kept.factors}
    design = arm_design(frame, arms, kept.numbers, kept.factors, plan.weights, kept.products, there, plan.unknown)
    notes = (*kept.notes, *unknown_notes(frame, kept.factors, plan.unknown))
    problem = design.rank_problem() or ("too few patients" if len(y) <= design.X.shape[1] else "")
    if problem:
        return CountModel(n=len(frame), dropped=design.dropped, problem=problem)
    fit = fit_negative_binomial(y, design.X, offset)
    matrix = fit.observed if plan.covariance == "observed" else fit.expected
    if not fit.converged or not np.isfinite(matrix).all() or (np.diag(matrix) <= 0).any():
        return CountModel(n=len(frame), dropped=design.dropped, problem="the likelihood has no maximum")
    if fit.is_poisson:
        notes = (*notes, "no overdispersion: Poisson regression")
    z = float(scipy.stats.norm.ppf(0.5 + plan.confidence / 2))
    table = tuple(_coefficient(fit, matrix, i, name) for i, name in enumerate(design.names))
    return CountModel(
        ratios=tuple(_ratio(c, z) for c in table[1 : len(arms)]),
        rates=tuple(_rate(fit, matrix, design, arm, z) for arm in arms),
        coefficients=table,
        n=len(frame),
        alpha=fit.alpha,
        log_likelihood=fit.log_likelihood,
        family="Poisson" if fit.is_poisson else "negative binomial",
        dropped=design.dropped,
        notes=notes,
    )


def _coefficient(fit: CountFit, covariance: Floats, index: int, name: str) -> LogCoefficient:
    estimate, se = float(fit.beta[index]), float(np.sqrt(covariance[index, index]))
    return LogCoefficient(name, estimate, se, estimate / se, 2 * float(scipy.stats.norm.sf(abs(estimate / se))))


def _ratio(c: LogCoefficient, z: float) -> Ratio:
    low, high = np.exp(c.estimate - z * c.se), np.exp(c.estimate + z * c.se)
    return Ratio(c.term, float(np.exp(c.estimate)), float(low), float(high), c.p, c.estimate, c.se)


def _rate(fit: CountFit, covariance: Floats, design: Design, arm: str, z: float) -> Rate:
    point = design.arm_point(arm)
    eta, se = float(point @ fit.beta), float(np.sqrt(point @ covariance @ point))
    return Rate(arm, float(np.exp(eta)), float(np.exp(eta - z * se)), float(np.exp(eta + z * se)))


def _with_empty_arms(frame: pd.DataFrame, arms: Sequence[str], empty: Sequence[str], plan: _Plan) -> CountModel:
    """Model the arms with events; give the others exact bounds, because their Wald interval is without end."""
    full = [arm for arm in arms if arm not in empty]
    rest = CountModel(n=len(frame))
    if arms[0] in full and len(full) > 1:
        inside = frame[frame["arm"].isin(full)]
        wanted = (plan.references or {}).items()  # a level may be in an arm without events only
        there = {name: level for name, level in wanted if (inside[name].astype(str) == str(level)).any()}
        rest = _fitted(inside, full, replace(plan, references=there))
    time = {arm: float(frame.loc[frame["arm"] == arm, plan.exposure].sum()) for arm in arms}
    events = {arm: int(frame.loc[frame["arm"] == arm, plan.count].sum()) for arm in arms}
    counts = {arm: frame.loc[frame["arm"] == arm, plan.count].to_numpy(float) for arm in arms}
    why = "no lesion in arm {}: " + WITHOUT_MODEL
    rates = {rate.arm: rate for rate in rest.rates}
    ratios = {ratio.arm: ratio for ratio in rest.ratios}
    for arm in arms:
        if arm in empty:
            rates[arm] = Rate(arm, 0.0, 0.0, exact_rate_bound(0, time[arm], plan.confidence))
        elif arm not in rates:
            rates[arm] = Rate(arm, events[arm] / time[arm], problem="")
    for arm in arms[1:]:
        if arm not in ratios:
            found = exact_rate_ratio(events[arm], time[arm], events[arms[0]], time[arms[0]], plan.confidence)
            ratios[arm] = replace(_finite(found), arm=arm, p=presence_p(counts[arm], counts[arms[0]]))
    return replace(
        rest,
        ratios=tuple(ratios[arm] for arm in arms[1:]),
        rates=tuple(rates[arm] for arm in arms),
        n=len(frame),
        family=rest.family or "exact Poisson",
        notes=(*rest.notes, *(why.format(arm) for arm in empty)),
    )


def _finite(ratio: Ratio) -> Ratio:
    if np.isfinite(ratio.estimate) and np.isfinite(ratio.high):
        return ratio
    estimate = ratio.estimate if np.isfinite(ratio.estimate) else NAN
    high = ratio.high if np.isfinite(ratio.high) else NAN
    return replace(
        ratio, estimate=estimate, high=high, problem=ratio.problem or "no lesion in the reference arm: no upper bound"
    )
