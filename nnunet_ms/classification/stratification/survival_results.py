"""Survival models on the same patients as one tidy table: concordance, Brier scores, calibration, and what is added."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from nnunet_ms.arrays import Bools, Floats
from nnunet_ms.classification.stratification.survival_baselines import COX, KAPLAN_MEIER, cox_covariates
from nnunet_ms.classification.stratification.survival_tables import PredictedSurvival
from nnunet_ms.options import whole_from
from nnunet_ms.statistics.cox import fit_cox
from nnunet_ms.statistics.cox_increment import cox_increment
from nnunet_ms.statistics.survival import kaplan_meier, survival_at
from nnunet_ms.statistics.survival_comparisons import SurvivalScore, survival_scores
from nnunet_ms.tables import Column, Table

SURVIVAL_RESULTS = Table(
    "survival results",
    (
        Column("model"),
        Column("versus", blank=True),
        Column("measure"),
        Column("week", "number", minimum=0),
        Column("estimate", "number", blank=True),
        Column("low", "number", blank=True),
        Column("high", "number", blank=True),
        Column("level", "number"),
        Column("p", "number", blank=True),
        Column("patients", "integer", minimum=0),
        Column("events", "integer", minimum=0),
        Column("data", blank=True),
        Column("problem", blank=True),
    ),
    key=("model", "versus", "measure", "week"),
)
GROUPS = 4  # of calibration
Row = dict[str, object]
NAN = float("nan")


@dataclass(frozen=True)
class SurvivalResampling:
    """How intervals are made."""

    replicates: int = 500
    seed: int = 0
    level: float = 0.95

    def __post_init__(self) -> None:
        whole_from(self.replicates, 1, "replicates", "500 are usual.")
        whole_from(self.seed, 0, "seed", "Correct it.")


@dataclass(frozen=True)
class CalibrationGroup:
    """Patients of similar predicted risk: its mean, and the Kaplan-Meier risk with limits; NaN where nobody is left."""

    n: int
    predicted: float
    observed: float
    low: float
    high: float


def networks_of(predicted: PredictedSurvival) -> list[str]:
    """Models that are no baselines.

    Examples
    --------
    >>> empty = np.zeros((0, 1))
    >>> networks_of(PredictedSurvival(pd.DataFrame(), {"cox": empty, "global": empty}, np.array([12.0]), []))
    ['global']
    """
    return [name for name in predicted.curves if name not in (COX, KAPLAN_MEIER)]


def reference_of(predicted: PredictedSurvival) -> str:
    """What the others are compared with: the Cox regression, else the Kaplan-Meier estimate, else the first model."""
    return next((name for name in (COX, KAPLAN_MEIER) if name in predicted.curves), next(iter(predicted.curves)))


def survival_results(
    predicted: PredictedSurvival, horizon: float, how: SurvivalResampling, data_note: str = ""
) -> pd.DataFrame:
    """Return `SURVIVAL_RESULTS`.

    Concordance and Brier scores have intervals over resampled patients; `observed_expected` that of Kaplan and Meier,
    `calibration_slope` and `hazard_ratio_per_sd` Wald's. `p` is of the likelihood-ratio test of what a network adds to
    the Cox regression on age, EDSS and lesion volume.
    """
    found = survival_scores(
        predicted.weeks,
        predicted.event,
        predicted.curves,
        predicted.at,
        horizon,
        reference_of(predicted),
        how.replicates,
        how.seed,
        how.level,
    )
    rows = [_score_row(one) for one in found]
    size = {"patients": found[0].n, "events": found[0].events, "level": how.level, "week": horizon}
    for name in predicted.curves:
        rows += [{**size, **row, "model": name} for row in _calibrated(predicted, name, horizon, how.level)]
    for name in networks_of(predicted):
        rows.append({**size, **_added(predicted, name, horizon, how.level), "model": name})
    blank: Row = {**dict.fromkeys(SURVIVAL_RESULTS.names), "versus": "", "problem": "", "data": data_note}
    return pd.DataFrame([{**blank, **row} for row in rows], columns=SURVIVAL_RESULTS.names)


def risk_at(predicted: PredictedSurvival, model: str, horizon: float) -> Floats:
    """Predicted share with progression up to the horizon, (n,)."""
    place = int(np.flatnonzero(predicted.at == horizon)[0])
    return np.asarray(1 - predicted.curves[model][:, place])


def log_hazard(risk: Floats) -> Floats:
    """Log of the cumulative hazard of a risk: what is linear in a Cox model; risks of 0 and 1 are held 1e-6 inside.

    Examples
    --------
    >>> log_hazard(np.array([1 - np.exp(-1.0)])).round(6).item()
    0.0
    """
    inside = np.clip(risk, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(-np.log1p(-inside)))


def calibration_at(predicted: PredictedSurvival, model: str, horizon: float) -> list[CalibrationGroup]:
    """Four groups of patients by predicted risk at the horizon (fewer where risks are tied)."""
    risk = risk_at(predicted, model, horizon)
    limits = np.unique(np.quantile(risk, np.arange(1, GROUPS) / GROUPS))
    group = np.searchsorted(limits, risk, side="left")
    found = []
    for number in np.unique(group):
        inside = group == number
        low, observed, high = _observed(predicted.weeks[inside], predicted.event[inside], horizon)
        found.append(CalibrationGroup(int(inside.sum()), float(risk[inside].mean()), observed, low, high))
    return found


def _observed(weeks: Floats, event: Bools, horizon: float, level: float = 0.95) -> tuple[float, float, float]:
    """Kaplan-Meier risk at the horizon between its limits; NaN where nobody was followed so long."""
    curve = kaplan_meier(weeks, event, "log", level)
    _, survival, low, high = survival_at(curve, weeks, horizon)
    return 1 - high, 1 - survival, 1 - low


def _score_row(one: SurvivalScore) -> Row:
    names = ("model", "versus", "measure", "week", "estimate", "low", "high", "level", "events", "problem")
    return {**{name: getattr(one, name) for name in names}, "patients": one.n}


def _calibrated(predicted: PredictedSurvival, model: str, horizon: float, level: float) -> Iterator[Row]:
    risk = risk_at(predicted, model, horizon)
    low, observed, high = _observed(predicted.weeks, predicted.event, horizon, level)
    ratio = np.array([observed, low, high]) / max(float(risk.mean()), 1e-12)
    problem = "nobody is followed so long" if np.isnan(observed) else ""
    yield {"measure": "observed_expected", **dict(zip(("estimate", "low", "high"), ratio, strict=True)),
           "problem": problem}  # fmt: skip
    if len(np.unique(risk)) <= predicted.patients["fold"].nunique():
        yield {"measure": "calibration_slope", "problem": "predicts the same for all patients of a fold"}
        return
    weeks, event = _until(predicted, horizon)
    fit = fit_cox(weeks, event, log_hazard(risk)[:, None], ["risk"], "efron")
    line = fit.term("risk", level)
    yield {
        "measure": "calibration_slope",
        "estimate": line.coefficient,
        "low": np.log(line.low),
        "high": np.log(line.high),
        "problem": line.problem,
    }


def _until(predicted: PredictedSurvival, horizon: float) -> tuple[Floats, Floats]:
    """Follow-up that ends at the horizon."""
    weeks = predicted.weeks
    return np.minimum(weeks, horizon), np.asarray(predicted.event & (weeks <= horizon), dtype=np.float64)


def _added(predicted: PredictedSurvival, model: str, horizon: float, level: float) -> Row:
    """What a network's risk out of fold adds to age, EDSS and lesion volume."""
    X, names = cox_covariates(predicted.patients)
    known = ~np.isnan(X).any(axis=1)
    risk = log_hazard(risk_at(predicted, model, horizon))[:, None]
    found = cox_increment(
        *(predicted.weeks[known], predicted.event[known].astype(float), X[known], risk[known], "efron", level),
        names=[*names, model],
    )
    problem = found.problem or ("" if names else "no covariate: the network alone")
    return {
        "versus": " + ".join(names),
        "measure": "hazard_ratio_per_sd",
        "estimate": found.hazard_ratio,
        "low": found.low,
        "high": found.high,
        "p": found.p,
        "patients": found.n,
        "events": found.events,
        "problem": problem,
    }
