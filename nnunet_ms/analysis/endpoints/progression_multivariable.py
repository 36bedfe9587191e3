"""Baseline lesion metrics and outcome: the paper's multivariable Cox model, and the effect of arm along TLV.

The model of one lesion metric holds arm, sex, region, EDSS below 4, age, the metric and arm x metric. Krishnan et al.,
2023, print it for log TLV (Table 4) and say of the total lesion count only that it is not significant there: that its
model is the same, with the count in the place of log TLV, is our reading.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from nnunet_ms.analysis.endpoints.progression_by_t2_volume import POPULATION, ProgressionData
from nnunet_ms.analysis.endpoints.statistic_rows import Statistic, hazard_values, not_estimable, spread
from nnunet_ms.analysis.trial.data import EDSS_STRATUM, TrialData
from nnunet_ms.analysis.trial.keys import contrast_text
from nnunet_ms.statistics.cox import NO_MAXIMUM, CoxModel, cox_univariable, fit_cox
from nnunet_ms.statistics.cox_firth import firth_model
from nnunet_ms.statistics.design_matrix import Term, arm_term, design, factor, number, product
from nnunet_ms.statistics.proportional_hazards import Transform, proportional_hazards_test

COUNT, MULTIVARIABLE, ZPH, ALONG = "cox_univariable_count", "cox_multivariable", "cox_zph", "arm_along_tlv"
COUNT_MULTIVARIABLE = "cox_multivariable_count"
FIRTH = "cox_multivariable_firth"
LOG_TLV, LESION_COUNT = "log_tlv", "lesion_count"
PERCENTILES = (10, 25, 50, 75, 90)
TRANSFORM: Transform = "km"


@dataclass(frozen=True)
class JointModel:
    """The fitted model of the lesion metric `metric` with its design; `dropped`: terms constant in the data."""

    model: CoxModel
    X: np.ndarray
    terms: dict[str, list[int]]
    dropped: tuple[str, ...]
    metric: str = LOG_TLV


def joint_model(trial: TrialData, data: ProgressionData, rater: str) -> JointModel:
    """Fit arm, sex, region, EDSS below 4, age, log TLV and arm x log TLV (Krishnan 2023, Table 4)."""
    return adjusted_model(trial, data.table, number(LOG_TLV, np.log(data.volumes[rater].to_numpy(float))))


def adjusted_model(trial: TrialData, table: pd.DataFrame, metric: Term) -> JointModel:
    """Fit arm, sex, region, EDSS below 4, age, one lesion metric and arm x metric.

    Parameters
    ----------
    trial : TrialData
        Gives the covariates, the arms and the ties.
    table : pandas.DataFrame
        The n patients analysed: `patient_id`, `arm`, `time_weeks`, `event`.
    metric : Term
        The metric's (n, 1) column, without missing values.
    """
    patients = trial.patients.set_index("patient_id").loc[table["patient_id"]]
    arm = arm_term(table["arm"], trial.settings.arms)
    low_edss = patients["edss_baseline"] < EDSS_STRATUM
    columns = design(
        [
            arm,
            *(factor(name, patients[name].fillna("missing").astype(str)) for name in ("sex", "region")),
            number(f"edss < {EDSS_STRATUM:g}", low_edss, "edss"),
            # blank of all where ADSL has none, else of nobody; a constant is left out
            number("age_years", patients["age_years"].fillna(0.0), "age"),
            metric,
            product(arm, metric),
        ],
        len(table),
        intercept=False,
    ).varying()
    ties = trial.settings.conventions.ties
    model = fit_cox(table["time_weeks"], table["event"], columns.X, columns.names, ties)
    one_level = tuple(name for name in ("sex", "region") if patients[name].nunique(dropna=False) < 2)
    return JointModel(model, columns.X, columns.columns_of(), (*one_level, *columns.dropped), metric.name)


def multivariable_statistics(trial: TrialData, data: ProgressionData) -> Iterator[Statistic]:
    """Yield the rows of one outcome for every rater."""
    for rater in trial.raters:
        base = Statistic(data.outcome, MULTIVARIABLE, population=POPULATION, rater=rater)
        yield from _count_rows(trial, data, base)
        joint = joint_model(trial, data, rater)
        yield from model_statistics(trial, data.table, joint, base)
        yield from _zph_rows(trial, data, joint, replace(base, analysis=ZPH))
        yield from _along_rows(trial, data, joint, replace(base, analysis=ALONG))


def model_statistics(
    trial: TrialData, table: pd.DataFrame, joint: JointModel, base: Statistic, note: str = ""
) -> Iterator[Statistic]:
    """Yield every term of a model, and, as `<analysis>_firth`, Firth's where the likelihood has no maximum.

    Parameters
    ----------
    trial, table, joint
        See `adjusted_model`.
    base : Statistic
        Outcome, analysis, population and rater.
    note : str, optional
        What was done with the metric, for `method`.
    """
    yield from _term_rows(trial, joint, base, note)
    yield from _firth_rows(trial, table, joint, replace(base, analysis=f"{base.analysis}_firth"), note)


def along_curve(trial: TrialData, data: ProgressionData, rater: str, points: int = 60) -> pd.DataFrame:
    """Return the hazard ratio of each arm over a range of baseline TLV: `arm, tlv_ml, hazard_ratio, low, high`."""
    joint = joint_model(trial, data, rater)
    columns = ["arm", "tlv_ml", "hazard_ratio", "low", "high"]
    if joint.model.problem:
        return pd.DataFrame(columns=columns)
    volumes = data.volumes[rater].to_numpy(float)
    low, high = (float(v) for v in np.log(np.quantile(volumes, [0.05, 0.95])))
    grid = np.exp(np.linspace(low, high, points))
    rows = []
    for arm in trial.settings.compared_arms:
        for tlv in grid:
            c = joint.model.combination(_point(joint.model, arm, tlv), trial.settings.analysis.confidence)
            if not c.problem:  # an arm without patients has no curve
                rows.append((arm, tlv, c.hazard_ratio, c.low, c.high))
    return pd.DataFrame(rows, columns=columns)


def _point(model: CoxModel, arm: str, tlv_ml: float) -> np.ndarray:
    weight = {arm: 1.0, f"{arm}:log_tlv": float(np.log(tlv_ml))}
    return np.array([weight.get(name, 0.0) for name in model.names])


def _count_rows(trial: TrialData, data: ProgressionData, base: Statistic) -> Iterator[Statistic]:
    """Yield the lesion count at baseline as the only covariate, and in the place of log TLV in the joint model."""
    counts, settings = trial.counts, trial.settings
    chosen = (counts["lesion_type"] == settings.lesion_type) & (counts["week"] == settings.baseline_week)
    of_rater = counts[chosen & (counts["rater"] == base.rater)].set_index("patient_id")["lesion_count"]
    x = data.table["patient_id"].map(of_rater).to_numpy(float)
    known = np.isfinite(x)
    table = data.table[known]
    ties, level = settings.conventions.ties, settings.analysis.confidence
    fit = cox_univariable(table["time_weeks"], table["event"], x[known], ties, level)
    method = f"Cox regression, {settings.conventions.ties.capitalize()} ties, per lesion"
    keys = replace(base, analysis=COUNT, term=LESION_COUNT, method=method)
    yield from spread(keys, hazard_values(fit), not_estimable(fit.problem))
    joint = adjusted_model(trial, table, number(LESION_COUNT, x[known]))
    yield from model_statistics(trial, table, joint, replace(base, analysis=COUNT_MULTIVARIABLE), "per lesion")


def _term_rows(trial: TrialData, joint: JointModel, base: Statistic, note: str) -> Iterator[Statistic]:
    model, settings = joint.model, trial.settings
    method = f"multivariable Cox regression, {settings.conventions.ties.capitalize()} ties, Wald interval"
    method = _noted(method, note, joint)
    for name in model.names:
        keys = _keys_of(trial, joint, name, replace(base, method=method))
        ratio = model.term(name, settings.analysis.confidence)
        yield from spread(keys, hazard_values(ratio), not_estimable(model.problem))
    stats = {"log_likelihood": (model.log_likelihood, ""), "concordance": (model.concordance, "")}
    yield from spread(replace(base, term="model", method=method), stats, not_estimable(model.problem))


def _noted(method: str, note: str, joint: JointModel) -> str:
    left_out = [f"{name} left out (constant in the data)" for name in joint.dropped]
    return "; ".join([method, *([note] if note else []), *left_out])


def _keys_of(trial: TrialData, joint: JointModel, name: str, base: Statistic) -> Statistic:
    """Return the row of a column of the model: its term and, of an arm, its contrast."""
    by_arm = f":{joint.metric}"
    arm, settings = name.removesuffix(by_arm), trial.settings
    contrast = contrast_text(arm, settings.reference_arm) if arm in settings.compared_arms else ""
    term = name if not contrast else f"arm{by_arm}" if name.endswith(by_arm) else "arm"
    return replace(base, contrast=contrast, term=term)


def _firth_rows(
    trial: TrialData, table: pd.DataFrame, joint: JointModel, base: Statistic, note: str
) -> Iterator[Statistic]:
    """Yield the model by Firth's penalised likelihood where that of the plain one has no maximum, else nothing."""
    if not joint.model.problem.startswith(NO_MAXIMUM):
        return
    settings = trial.settings
    ties, level = settings.conventions.ties, settings.analysis
    found = firth_model(
        table["time_weeks"], table["event"], joint.X, joint.model.names, ties, None, level.confidence
    )  # fmt: skip
    method = f"multivariable Cox regression, Firth's penalised likelihood, {ties.capitalize()} ties, profile "
    method += f"{level.level} interval; beside: {joint.model.problem}"
    keys = replace(base, method=_noted(method, note, joint))
    for name, ratio in found.items():
        why = ratio.problem or "the profile has no end on this side"
        yield from spread(_keys_of(trial, joint, name, keys), hazard_values(ratio), not_estimable(why))


def _zph_rows(trial: TrialData, data: ProgressionData, joint: JointModel, base: Statistic) -> Iterator[Statistic]:
    base = replace(base, method=f"score test of proportional hazards, {TRANSFORM} scale (R: cox.zph)")
    if joint.model.problem:
        yield from spread(replace(base, term="GLOBAL"), {"p": (np.nan, "")}, not_estimable(joint.model.problem))
        return
    table, ties = data.table, trial.settings.conventions.ties
    for test in proportional_hazards_test(table["time_weeks"], table["event"], joint.X, joint.terms, ties, TRANSFORM):
        stats = {"chisq": (test.chisq, ""), "df": (float(test.df), ""), "p": (test.p, "")}
        yield from spread(replace(base, term=test.term), stats)


def _along_rows(trial: TrialData, data: ProgressionData, joint: JointModel, base: Statistic) -> Iterator[Statistic]:
    if data.table.empty:
        return
    volumes = data.volumes[base.rater].to_numpy(float)
    for percentile in PERCENTILES:
        tlv = float(np.percentile(volumes, percentile))
        keys = replace(base, term=f"p{percentile}", method="hazard ratio of arm at a percentile of baseline TLV")
        yield from spread(keys, {"tlv": (tlv, "ml")})
        for arm in trial.settings.compared_arms:
            c = joint.model.combination(_point(joint.model, arm, tlv), trial.settings.analysis.confidence)
            stats = {"hazard_ratio": (c.hazard_ratio, ""), "low": (c.low, ""), "high": (c.high, ""), "p": (c.p, "")}
            contrast = contrast_text(arm, trial.settings.reference_arm)
            yield from spread(replace(keys, contrast=contrast), stats, not_estimable(c.problem))
