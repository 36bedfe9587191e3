"""Classifiers on data frames: how they rank, decide and are calibrated, and what they add. The face is `frames`."""

from collections.abc import Mapping

import pandas as pd

from nnunet_ms.errors import OptionError
from nnunet_ms.statistics.bootstrap_interval import REPLICATES
from nnunet_ms.statistics.calibration import Calibration, calibration
from nnunet_ms.statistics.classification import Rate, decision_differences, decision_rates
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
    term_of,
    usable_rows,
)
from nnunet_ms.statistics.input_checks import level, refuse, two_classes
from nnunet_ms.statistics.input_checks import probabilities as checked_probabilities
from nnunet_ms.statistics.logistic import likelihood_ratio_test
from nnunet_ms.statistics.ranked_areas import UP_TO, Area, area_differences, areas
from nnunet_ms.statistics.roc import Scores

CLASSIFIERS = (
    *("term", "measure", "estimate", "low", "high", "level", "n", "positive", "patients"),
    *("reference", "method", "problem"),
)
ADDED_VALUE = (
    *("term", "statistic", "df", "p", "log_likelihood_base", "log_likelihood_full", "n", "events"),
    *("reference", "method", "problem"),
)


def classifiers(
    frame: pd.DataFrame,
    truth: str,
    probabilities: Names,
    *,
    patient: str | None = None,
    threshold: float | None = None,
    up_to: float = UP_TO,
    replicates: int = REPLICATES,
    seed: int = 0,
    missing: Missing = "error",
    confidence: float = 0.95,
) -> Result:
    """Areas, decisions and calibration of one classifier or several on the same rows, with intervals over patients.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per lesion, scan or patient.
    truth : str
        Column: 1 or True with what is looked for, else 0 or False.
    probabilities : str or sequence of str
        Columns of predicted probabilities, made without the row's patient; the first is compared with each other.
    patient : str, optional
        Column that says whose row it is; without it every row is a patient.
    threshold : float, optional
        Probability at or above which a row is called positive; without it there are no decisions.
    up_to : float, optional
        False-positive rate at which the partial area ends.
    replicates, seed : int, optional
        Of the resamples.
    missing : {"error", "drop"}, optional
        What is done with rows that lack a value.
    confidence : float, optional
        Level of the intervals.

    Returns
    -------
    Result
        `table`: `term`, a column or the difference of two; `measure` of `ranked_areas.MEASURES`,
        `classification.MEASURES` or calibration; `estimate, low, high, level`; `n`, `positive`, `patients`; `problem`.
        `fit`: per term the objects that they were made from.

    Raises
    ------
    OptionError, StatisticsError
        If a word, level, threshold or column is not there, values are missing, or no probabilities.

    Examples
    --------
    >>> import nnunet_ms as ms
    >>> frame = pd.DataFrame({"rim": [0, 0, 1, 0, 1, 1] * 4, "net": np.tile([0.2, 0.3, 0.4, 0.6, 0.7, 0.8], 4)})
    >>> found = ms.statistics.classifiers(frame, "rim", "net", threshold=0.5)
    >>> found.table.set_index("measure")["estimate"][["roc_auc", "sensitivity", "brier"]].round(3).tolist()
    [0.889, 0.667, 0.163]
    """
    level(confidence)
    names = listed(probabilities)
    if threshold is not None and not 0 <= threshold <= 1:
        raise OptionError(f"threshold: expected a probability from 0 to 1, found {threshold!r}.")
    rows = usable_rows(frame, [truth, *names, *([patient] if patient else [])], missing)
    data = rows.frame
    (flags,), problem = two_classes(**{truth: data[truth]})
    refuse(problem)
    for name in names:
        refuse(checked_probabilities(data[name], name)[1])
    whose = (data[patient] if patient else pd.Series(data.index)).astype(str).to_numpy()
    size = {"level": confidence, "n": len(data), "positive": int(flags.sum()), "patients": len(set(whose))}
    how = {"replicates": replicates, "seed": seed, "level": confidence}
    fit: dict[str, tuple[object, ...]] = {}
    table: list[Mapping[str, object]] = []
    scores = {}
    for name in names:
        p = data[name].to_numpy(float)
        scores[name] = Scores(p[flags], p[~flags], whose[flags], whose[~flags])
        found: list[Area | Rate] = [*areas(scores[name], up_to, **how)]  # type: ignore[arg-type]
        if threshold is not None:
            found += decision_rates(flags, p >= threshold, whose, **how)  # type: ignore[arg-type]
        line = calibration(flags, p, confidence)
        table += [_row(name, one) for one in found] + _calibration_rows(name, line, size)
        fit[name] = (*found, line)
    for other in names[1:]:
        pair: list[Area | Rate] = [*area_differences(scores[names[0]], scores[other], up_to, **how)]  # type: ignore[arg-type]
        if threshold is not None:
            one, two = (data[name].to_numpy(float) >= threshold for name in (names[0], other))
            pair += decision_differences(flags, one, two, whose, **how)  # type: ignore[arg-type]
        term = f"{names[0]} - {other}"
        table += [_row(term, one) for one in pair]
        fit[term] = tuple(pair)
    method = f"{replicates} resamples of patients, percentile intervals; calibration line: Wald"
    return rows.result(table, CLASSIFIERS, fit, method, {})


def added_value(
    frame: pd.DataFrame,
    outcome: str,
    base: Names,
    added: Names,
    *,
    reference: Reference | None = None,
    missing: Missing = "error",
) -> Result:
    """What predictors add to others in a logistic model (R: `anova(glm(base), glm(full), test = "LRT")`).

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per patient.
    outcome : str
        Column: 1 or True with the event, else 0 or False.
    base, added : str or sequence of str
        Columns, or products such as "age:volume"; `base` may be empty. Of a network take its log odds for patients that
        it was not trained on.
    reference : mapping, optional
        Column -> reference level.
    missing : {"error", "drop"}, optional
        What is done with rows that lack a value.

    Returns
    -------
    Result
        `table`: one row: `term`, what is added; `statistic` (twice the gain of log-likelihood), `df`, `p`; both
        log-likelihoods; `n`, `events`; `problem`. `fit`: `logistic.LikelihoodRatioTest`.

    Raises
    ------
    OptionError, StatisticsError
        If a word, level or column is not there, or values are missing.

    Examples
    --------
    R prints a deviance of 0.47188 and p = 0.4921:

    >>> import nnunet_ms as ms
    >>> frame = pd.DataFrame({"y": [0, 0, 1, 0, 1, 1, 0, 1], "age": range(8), "net": [0, 1, 2, 3, 0, 1, 2, 3]})
    >>> print(ms.statistics.added_value(frame, "y", "age", "net").table[["term", "df", "p"]].round(4).to_string())
      term  df       p
    0  net   1  0.4921
    """
    parts = {"base": names_in(frame, base), "added": names_in(frame, added)}
    columns = list(dict.fromkeys(name for names in (*parts["base"], *parts["added"]) for name in names))
    rows = usable_rows(frame, [outcome, *columns], missing)
    factors = [name for name in columns if is_factor(rows.frame[name])]
    references = reference_levels(rows.frame, factors, reference)
    X = {
        name: design([term_of(rows.frame, names, references) for names in wanted], len(rows.frame), intercept=False).X
        for name, wanted in parts.items()
    }
    fit = likelihood_ratio_test(rows.frame[outcome], X["base"], X["added"])
    row = {name: getattr(fit, name) for name in (*ADDED_VALUE[1:8], "problem")}
    table = [{"term": ", ".join(listed(added)), **row}]
    method = f"likelihood-ratio test, logistic regression on {', '.join(listed(base)) or 'the intercept alone'}"
    return rows.result(table, ADDED_VALUE, fit, method, references)


def _row(term: str, found: Area | Rate) -> Mapping[str, object]:
    sizes = {"n": found.n} if isinstance(found, Rate) else {"n": found.positive + found.negative}
    names = ("measure", "estimate", "low", "high", "level", "positive", "patients", "problem")
    return {"term": term, **sizes, **{name: getattr(found, name) for name in names}}


def _calibration_rows(term: str, line: Calibration, size: Mapping[str, object]) -> list[Mapping[str, object]]:
    rows: list[Mapping[str, object]] = []
    for name in ("intercept", "slope"):
        limits = {end: getattr(line, f"{name}_{end}") for end in ("low", "high")}
        told = {"measure": f"calibration_{name}", "estimate": getattr(line, name), "problem": line.problem}
        rows.append({"term": term, **size, **told, **limits})
    scores = ("brier", "brier_scaled")
    return [*rows, *({"term": term, **size, "measure": name, "estimate": getattr(line, name)} for name in scores)]
