"""Time to event on data frames: Cox regression, Kaplan-Meier curves, log-rank tests. The face is `frames`."""

from collections.abc import Sequence

import pandas as pd
from statsmodels.duration.survfunc import SurvfuncRight

from nnunet_ms.errors import StatisticsError
from nnunet_ms.statistics.cox import Ties, fit_cox
from nnunet_ms.statistics.design_matrix import design
from nnunet_ms.statistics.frame_rows import (
    Missing,
    Names,
    Reference,
    Result,
    is_factor,
    listed,
    names_in,
    reference_levels,
    reference_of,
    term_of,
    usable_rows,
)
from nnunet_ms.statistics.input_checks import refuse, time_to_event
from nnunet_ms.statistics.survival import Interval
from nnunet_ms.statistics.survival import kaplan_meier as product_limit
from nnunet_ms.statistics.survival import logrank as logrank_test


def cox(
    frame: pd.DataFrame,
    time: str,
    event: str,
    covariates: Names,
    *,
    strata: Names = (),
    reference: Reference | None = None,
    ties: Ties = "efron",
    missing: Missing = "error",
    confidence: float = 0.95,
) -> Result:
    """Cox regression (R: `coxph(Surv(time, event) ~ covariates + strata(strata), frame, ties = ties)`).

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per patient.
    time, event : str
        Columns: time, >= 0, and 1 or True where it ended with the event, else 0 or False.
    covariates, strata : str or sequence of str
        Columns; "arm:tlv" is a product. Strata have baseline hazards of their own.
    reference : mapping, optional
        Column -> reference level.
    ties : {"efron", "breslow"}, optional
        R's default, or SAS's.
    missing : {"error", "drop"}, optional
        What is done with rows that lack a value.
    confidence : float, optional
        Level of the two-sided Wald intervals.

    Returns
    -------
    Result
        `table`, one row per coefficient: `term`; `reference`, the level that it is compared with, blank for a number;
        `estimate, low, high`, hazard ratios; `p`; `coefficient, se`, of the log hazard ratio; `level`; `n, events`,
        patients; `method`; `problem`, why nothing is estimated. `fit`: `cox.CoxModel`.

    Raises
    ------
    OptionError, StatisticsError
        If a word, level or column is not there, values are missing, or times or events cannot be analysed.

    Examples
    --------
    R (survival's own `lung`): `coxph(Surv(time, status) ~ sex, lung)` prints 0.588 and p = 0.00149.

    >>> import nnunet_ms as ms
    >>> from lifelines.datasets import load_lung
    >>> found = ms.statistics.cox(load_lung(), "time", "status", "sex").table
    >>> found["estimate"].round(3).item(), found["p"].round(5).item()
    (0.588, 0.00149)
    """
    wanted, within = names_in(frame, covariates), listed(strata)
    names = [name for parts in wanted for name in parts]
    rows = usable_rows(frame, [time, event, *names, *within], missing)
    data = rows.frame
    refuse(time_to_event(data[time], data[event])[2])
    factors = [name for name in dict.fromkeys(names) if is_factor(data[name])]
    references = reference_levels(data, factors, reference)
    columns = design([term_of(data, parts, references) for parts in wanted], len(data), intercept=False)
    fit = fit_cox(data[time], data[event], columns.X, columns.names, ties, _crossed(data, within))
    table = [
        {"term": name, "reference": reference_of(name, references), "estimate": c.hazard_ratio, "low": c.low,
         "high": c.high, "p": c.p, "coefficient": c.coefficient, "se": c.se, "level": confidence, "n": c.n,
         "events": c.events, "problem": c.problem}
        for name in columns.names for c in [fit.term(name, confidence)]
    ]  # fmt: skip
    method = f"Cox regression, {ties.capitalize()} ties, Wald intervals"
    return rows.result(table, COX, fit, method + (f", strata {' x '.join(within)}" if within else ""), references)


COX = (
    "term",
    "reference",
    "estimate",
    "low",
    "high",
    "p",
    "coefficient",
    "se",
    "level",
    "n",
    "events",
    "method",
    "problem",
)


def kaplan_meier(
    frame: pd.DataFrame,
    time: str,
    event: str,
    by: Names = (),
    *,
    interval: Interval = "log",
    missing: Missing = "error",
    confidence: float = 0.95,
) -> Result:
    """Kaplan-Meier curves (R: `survfit(Surv(time, event) ~ by, frame, conf.type = interval)`).

    Parameters
    ----------
    frame, time, event, missing
        As in `cox`.
    by : str or sequence of str, optional
        Columns whose levels, crossed, have a curve each.
    interval : {"log", "log-log", "plain"}, optional
        Scale on which the pointwise interval is symmetric: R's default, SAS's, or none.
    confidence : float, optional
        Level of the interval.

    Returns
    -------
    Result
        `table`, one row per curve and distinct time: `term`, the levels of `by`; `time`; `estimate, low, high`,
        probability to be free of the event after that time; `n_risk` just before it, `n_event` at it; `level`; `n`,
        patients of the curve; `method`. `fit`: term -> `statsmodels.duration.survfunc.SurvfuncRight`.

    Raises
    ------
    OptionError, StatisticsError
        As `cox`.

    Examples
    --------
    R (`lung`): `survfit(Surv(time, status) ~ sex, lung)` prints medians of 270 and 426 days.

    >>> import nnunet_ms as ms
    >>> from lifelines.datasets import load_lung
    >>> curves = ms.statistics.kaplan_meier(load_lung(), "time", "status", by="sex")
    >>> [curve.quantile(0.5).item() for curve in curves.fit.values()]
    [270, 426]
    """
    groups = listed(by)
    rows = usable_rows(frame, [time, event, *groups], missing)
    table, fits = [], {}
    for name, part in _by(rows.frame, groups):
        curve = product_limit(part[time], part[event], interval, confidence)
        curve = curve.rename(columns={"week": "time", "survival": "estimate"})
        table += curve.assign(term=name, level=confidence, n=len(part)).to_dict("records")
        fits[name] = SurvfuncRight(part[time].to_numpy(), part[event].to_numpy(int))
    method = f"Kaplan-Meier, Greenwood's {interval} intervals" + (f", by {' x '.join(groups)}" if groups else "")
    return rows.result(table, KAPLAN_MEIER, fits, method, {})


KAPLAN_MEIER = ("term", "time", "estimate", "low", "high", "n_risk", "n_event", "level", "n", "method")


def logrank(
    frame: pd.DataFrame, time: str, event: str, by: Names, *, strata: Names = (), missing: Missing = "error"
) -> Result:
    """Log-rank test (R: `survdiff(Surv(time, event) ~ by + strata(strata), frame)`).

    Parameters
    ----------
    frame, time, event, strata, missing
        As in `cox`.
    by : str or sequence of str
        Columns whose levels, crossed, are compared.

    Returns
    -------
    Result
        `table`, one row: `term`, what is compared; `chisq, df, p`; `n, events`, patients; `method`; `problem`, why
        there is no test. `fit`: `survival.LogRank`.

    Raises
    ------
    OptionError, StatisticsError
        As `cox`.

    Examples
    --------
    R (`lung`): `survdiff(Surv(time, status) ~ sex, lung)` prints "Chisq= 10.3 on 1 degrees of freedom, p= 0.001".

    >>> import nnunet_ms as ms
    >>> from lifelines.datasets import load_lung
    >>> test = ms.statistics.logrank(load_lung(), "time", "status", by="sex").table
    >>> test["chisq"].round(1).item(), test["p"].round(3).item()
    (10.3, 0.001)
    """
    groups, within = listed(by), listed(strata)
    rows = usable_rows(frame, [time, event, *groups, *within], missing)
    data = rows.frame
    refuse(time_to_event(data[time], data[event])[2])
    if not groups:
        raise StatisticsError("by: expected one or more columns whose levels are compared, found none. Name one.")
    fit = logrank_test(data[time], data[event], _texts(data, groups), _crossed(data, within))
    row = {"term": " x ".join(groups), "chisq": fit.chisq, "df": fit.df, "p": fit.p, "n": len(data),
           "events": int(data[event].sum()), "problem": fit.problem}  # fmt: skip
    method = "log-rank test" + (f", strata {' x '.join(within)}" if within else "")
    return rows.result([row], LOGRANK, fit, method, {})


LOGRANK = ("term", "chisq", "df", "p", "n", "events", "method", "problem")


def _crossed(frame: pd.DataFrame, names: Sequence[str]) -> list[str] | None:
    """Return the levels of several columns as one text per row; None without a column."""
    return _texts(frame, names) if names else None


def _texts(frame: pd.DataFrame, names: Sequence[str]) -> list[str]:
    return [", ".join(map(str, levels)) for levels in zip(*(frame[name] for name in names), strict=True)]


def _by(frame: pd.DataFrame, names: Sequence[str]) -> list[tuple[str, pd.DataFrame]]:
    """Return the rows of every level of the columns, crossed, by its text; all rows without a column."""
    if not names:
        return [("all", frame)]
    return [(", ".join(map(str, key)), part) for key, part in frame.groupby(list(names), sort=True, observed=True)]
