"""Comparisons of arms on data frames: analysis of covariance, counts, repeated measures. The face is `frames`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import scipy.stats

from nnunet_ms.errors import StatisticsError
from nnunet_ms.statistics.ancova import Ancova
from nnunet_ms.statistics.ancova import ancova as fit_ancova
from nnunet_ms.statistics.count_model import CountModel, Covariance
from nnunet_ms.statistics.count_model import count_model as fit_count_model
from nnunet_ms.statistics.design_matrix import (
    ARM,
    INTERCEPT,
    Design,
    Term,
    Weights,
    arm_term,
    design,
    number,
    product,
)
from nnunet_ms.statistics.frame_rows import (
    ArmModel,
    Missing,
    Names,
    Reference,
    Result,
    arm_model,
    listed,
    names_in,
    reference_of,
    term_of,
)
from nnunet_ms.statistics.input_checks import level
from nnunet_ms.statistics.mmrm import Mmrm, fit_mmrm


def ancova(
    frame: pd.DataFrame,
    response: str,
    arm: str,
    covariates: Names = (),
    *,
    reference: Reference | None = None,
    weights: Weights = "equal",
    missing: Missing = "error",
    confidence: float = 0.95,
) -> Result:
    """Analysis of covariance (R: `lm(response ~ arm + covariates, frame)`, means by `emmeans`).

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per patient.
    response, arm : str
        Columns; every arm is compared with the reference arm.
    covariates : str or sequence of str, optional
        Columns; "arm:baseline" is a product, and a difference of arms then that where the baseline is 0.
    reference : mapping, optional
        Column -> reference level, also of the arm.
    weights : {"equal", "proportional"}, optional
        How least-squares means weigh the levels of a factor.
    missing : {"error", "drop"}, optional
        What is done with rows that lack a value.
    confidence : float, optional
        Level of the two-sided intervals.

    Returns
    -------
    Result
        `table`: `kind`, "difference" of arms, least-squares "mean" of an arm, or "covariate"; `term`; `reference`, the
        level that it is compared with; `estimate, low, high, se`, in the unit of the response; `df`; `p`; `level`;
        `n`, patients (of the arm, for a mean); `method`; `problem`, why nothing is estimated. `fit`: `ancova.Ancova`,
        with robust standard errors beside.

    Raises
    ------
    OptionError, StatisticsError
        If a word, level or column is not there, values are missing, or there is one arm only.

    Examples
    --------
    R (`sleep`, Student 1908): `t.test(extra ~ group, sleep, var.equal = TRUE)` prints p = 0.07919.

    >>> import nnunet_ms as ms
    >>> extra = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0, 2, 1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    >>> sleep = pd.DataFrame({"extra": extra, "group": ["1"] * 10 + ["2"] * 10})
    >>> ms.statistics.ancova(sleep, "extra", "group").table["p"][0].round(5).item()
    0.07919
    """
    model = arm_model(frame, [response], arm, covariates, reference, missing)
    fit = fit_ancova(
        model.rows.frame, response, model.arms, model.numbers, model.factors, weights, confidence, model.products,
        model.references,
    )  # fmt: skip
    base = {"level": confidence, "n": fit.n, "problem": fit.problem}
    lines = [("difference", c, model.arms[0]) for c in fit.contrasts]
    lines += [("covariate", c, reference_of(c.term, model.references)) for c in fit.covariates]
    table = [
        {"kind": kind, "term": c.term, "reference": first, "estimate": c.estimate, "low": c.low, "high": c.high,
         "se": c.se, "df": c.df, "p": c.p, **base}
        for kind, c, first in lines
    ]  # fmt: skip
    table[len(fit.contrasts) : len(fit.contrasts)] = [
        {"kind": "mean", "term": m.arm, "estimate": m.estimate, "low": m.low, "high": m.high, "se": m.se, **base,
         "n": m.n}
        for m in fit.means
    ]  # fmt: skip
    method = f"ANCOVA, least-squares means with {weights} weights"
    return model.rows.result(
        table or _without(model, "difference", base), ANCOVA, fit, method, model.all_references(arm), _notes(fit)
    )


ANCOVA = ("kind", "term", "reference", "estimate", "low", "high", "se", "df", "p", "level", "n", "method", "problem")


def count_model(
    frame: pd.DataFrame,
    count: str,
    exposure: str | None,
    arm: str,
    covariates: Names = (),
    *,
    reference: Reference | None = None,
    covariance: Covariance = "expected",
    weights: Weights = "equal",
    missing: Missing = "error",
    confidence: float = 0.95,
) -> Result:
    """Negative binomial regression of counts (R: `glm.nb(count ~ arm + covariates + offset(log(exposure)), frame)`).

    Parameters
    ----------
    frame, arm, covariates, reference, missing
        As in `ancova`.
    count : str
        Column of whole numbers >= 0.
    exposure : str or None
        Column of positive numbers that counts are proportional to, such as scans or years; None: alike for all.
    covariance : {"expected", "observed"}, optional
        Standard errors as R's `glm.nb`, or as SAS GENMOD.
    weights : {"equal", "proportional"}, optional
        How adjusted rates weigh the levels of a factor.
    confidence : float, optional
        Level of the two-sided Wald intervals.

    Returns
    -------
    Result
        `table`: `kind`, "rate ratio" of arms, "rate" of an arm per unit of exposure, or "covariate", its rate ratio;
        `term`; `reference`; `estimate, low, high`; `p`; `coefficient, se`, of the log ratio; `level`; `n`, patients;
        `method`; `problem`, why parts are missing. `fit`: `count_model.CountModel`.

    Raises
    ------
    OptionError, StatisticsError
        As `ancova`, and if a count or an exposure cannot be one.

    Examples
    --------
    Without covariates and with one scan each the ratio is that of the means, 1.5 / 6, in R's `glm.nb` too.

    >>> import nnunet_ms as ms
    >>> lesions = pd.DataFrame({"new": [0, 9, 4, 11, 0, 5, 0, 1], "arm": ["placebo"] * 4 + ["active"] * 4})
    >>> found = ms.statistics.count_model(lesions, "new", None, "arm", reference={"arm": "placebo"})
    >>> found.table["estimate"][0].round(6).item()
    0.25
    """
    model = arm_model(frame, [count, *listed(exposure or ())], arm, covariates, reference, missing)
    name = exposure or f"exposure of {count}"
    data = model.rows.frame if exposure else model.rows.frame.assign(**{name: 1.0})
    fit = fit_count_model(
        data, count, name, model.arms, model.numbers, model.factors, covariance, weights, confidence, model.products,
        model.references,
    )  # fmt: skip
    base = {"level": confidence, "n": fit.n}
    table: list[dict[str, object]] = [
        {"kind": "rate ratio", "term": r.arm, "reference": model.arms[0], "estimate": r.estimate, "low": r.low,
         "high": r.high, "p": r.p, "coefficient": r.log_estimate, "se": r.log_se, "problem": r.problem, **base}
        for r in fit.ratios
    ]  # fmt: skip
    table += [
        {
            "kind": "rate",
            "term": r.arm,
            "estimate": r.estimate,
            "low": r.low,
            "high": r.high,
            "problem": r.problem,
            **base,
        }
        for r in fit.rates
    ]
    table += _covariate_rows(fit, model, base)
    method = f"{fit.family or 'negative binomial'} regression, {covariance} information, Wald intervals"
    empty = _without(model, "rate ratio", {**base, "problem": fit.problem})
    return model.rows.result(table or empty, COUNTS, fit, method, model.all_references(arm), _notes(fit))


COUNTS = (
    "kind", "term", "reference", "estimate", "low", "high", "p", "coefficient", "se", "level", "n", "method", "problem",
)  # fmt: skip


def mmrm(
    frame: pd.DataFrame,
    response: str,
    patient: str,
    visit: str,
    arm: str,
    covariates: Names = (),
    *,
    reference: Reference | None = None,
    missing: Missing = "error",
    confidence: float = 0.95,
) -> Result:
    """Mixed model for repeated measures (R: `mmrm(response ~ arm * visit + covariates + us(visit | patient), frame)`).

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per patient and visit; visits that a patient lacks are not there.
    response, patient, visit, arm : str
        Columns.
    covariates : str or sequence of str, optional
        Columns; "baseline:week" is a product, here with the visit: its effect at every visit.
    reference, missing
        As in `ancova`.
    confidence : float, optional
        Level of the two-sided intervals.

    Returns
    -------
    Result
        `table`: `kind`, "difference" of arms or least-squares "mean"; `term`, the arm; `reference`; `visit`;
        `estimate, low, high, se`, in the unit of the response; `df`, Satterthwaite's; `p`; `level`; `n`, patients (of
        the arm at the visit, for a mean); `method`; `problem`, why nothing is estimated. `fit`: `mmrm.Mmrm`,
        unstructured covariance, REML.

    Raises
    ------
    OptionError, StatisticsError
        As `ancova`.

    Examples
    --------
    With one visit it is least squares. R (`sleep`): `t.test(extra ~ group, sleep, var.equal = TRUE)`, p = 0.07919.

    >>> import nnunet_ms as ms
    >>> extra = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0, 2, 1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    >>> sleep = pd.DataFrame({"extra": extra, "group": ["1"] * 10 + ["2"] * 10, "id": range(20), "night": 1})
    >>> ms.statistics.mmrm(sleep, "extra", "id", "night", "group").table["p"][0].round(5).item()
    0.07919
    """
    level(confidence)
    plain, by_visit = _apart(frame, covariates, visit)
    model = arm_model(frame, [response, patient, visit], arm, [*plain, *by_visit], reference, missing)
    data = model.rows.frame
    visits = sorted(set(data[visit]))
    wanted = [names for names in names_in(frame, plain) if names not in [(name,) for name in by_visit]]
    designs = {
        here: design(
            _visit_terms(model, visit, visits, wanted, by_visit, here, arm), len(data), intercept=False, arms=model.arms
        )
        for here in visits
    }
    X = designs[visits[0]]  # they differ in the reference grid only
    fit = fit_mmrm(data[response], X.X, data[patient], data[visit], X.names)
    table = [row for here in visits for row in _visit_rows(fit, model, designs[here], (visit, here), confidence)]
    method = "MMRM, unstructured covariance, REML, Satterthwaite's degrees of freedom"
    return model.rows.result(table, MMRM, fit, method, model.all_references(arm))


MMRM = (
    "kind", "term", "reference", "visit", "estimate", "low", "high", "se", "df", "p", "level", "n", "method", "problem",
)  # fmt: skip


def _apart(frame: pd.DataFrame, covariates: Names, visit: str) -> tuple[list[str], list[str]]:
    """Split covariates into those with one effect and those with one at every visit."""
    if visit in listed(covariates):
        raise StatisticsError(f"covariates: {visit}, the visit, is in the model already. Leave it out.")
    crossed = {name: names for name in listed(covariates) for names in names_in(frame, name) if visit in names[-2:]}
    by_visit = [next((part for part in names if part != visit), visit) for names in crossed.values()]
    return [name for name in listed(covariates) if name not in crossed], by_visit


def _visit_terms(
    model: ArmModel, visit: str, visits: Sequence[object], wanted: Sequence[tuple[str, ...]], by_visit: Sequence[str],
    here: object, arm: str,
) -> list[Term]:  # fmt: skip
    """Return visits, arms and covariates at every visit, then the other covariates; the reference grid is at `here`."""
    data = model.rows.frame
    arms = arm_term(data[ARM], model.arms)
    covariates = [term_of(data, (name,), model.references) for name in by_visit]
    terms = []
    for at in visits:
        flag = replace(number(str(at), data[visit] == at), grid=np.array([float(at == here)]))
        terms += [replace(flag, names=(f"{visit} {at}",)), product(arms, flag, " at ")]
        terms += [product(term, flag, " at ") for term in covariates]
    for names in wanted:
        others = [name for name in names if name != arm]
        term = term_of(data, others, model.references)
        terms.append(product(arms, term) if len(others) < len(names) else term)
    return terms


def _visit_rows(
    fit: Mmrm, model: ArmModel, columns: Design, visit: tuple[str, object], confidence: float
) -> Iterator[dict[str, object]]:
    data, (name, here) = model.rows.frame, visit
    at_visit = data.loc[data[name] == here, ARM]
    points = {arm: columns.arm_point(arm) for arm in model.arms}
    first = points[model.arms[0]]
    lines = [("difference", arm, points[arm] - first, model.arms[0], fit.n_patients) for arm in model.arms[1:]]
    lines += [("mean", arm, points[arm], "", int((at_visit == arm).sum())) for arm in model.arms]
    for kind, arm, point, reference, n in lines:
        c = fit.contrast(point, confidence)
        yield {
            "kind": kind, "term": arm, "reference": reference, "visit": here, "estimate": c.estimate, "low": c.low,
            "high": c.high, "se": c.se, "df": c.df, "p": c.p if kind == "difference" else np.nan,
            "level": confidence, "n": n, "problem": c.problem,
        }  # fmt: skip


def _covariate_rows(fit: CountModel, model: ArmModel, base: Mapping[str, object]) -> Iterator[dict[str, object]]:
    z = float(scipy.stats.norm.ppf(0.5 + float(str(base["level"])) / 2))
    for c in fit.coefficients:
        if c.term not in (INTERCEPT, *model.arms):
            low, high = c.estimate - z * c.se, c.estimate + z * c.se
            yield {
                "kind": "covariate", "term": c.term, "reference": reference_of(c.term, model.references),
                "estimate": float(np.exp(c.estimate)), "low": float(np.exp(low)), "high": float(np.exp(high)),
                "p": c.p, "coefficient": c.estimate, "se": c.se, **base,
            }  # fmt: skip


def _without(model: ArmModel, kind: str, base: Mapping[str, object]) -> list[dict[str, object]]:
    """Return a row per compared arm where nothing is estimated: the reason stands in `base`."""
    return [{"kind": kind, "term": arm, "reference": model.arms[0], **base} for arm in model.arms[1:]]


def _notes(fit: Ancova | CountModel) -> list[str]:
    own = list(fit.notes) if isinstance(fit, CountModel) else []
    return [*own, *(f"{name} left out (constant in the data)" for name in fit.dropped)]
