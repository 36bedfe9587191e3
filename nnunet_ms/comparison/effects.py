"""Effects of treatment of several trials, one row each, and a pooled estimate where one is asked for."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from nnunet_ms.analysis.endpoints import lesion_counts, progression_by_arm, t2_volume_ml
from nnunet_ms.analysis.endpoints.statistic_rows import select, value_of
from nnunet_ms.analysis.trial.keys import contrast_text, week_text
from nnunet_ms.comparison.compared_trial import ComparedTrial
from nnunet_ms.errors import SettingsError
from nnunet_ms.statistics.pooled_effect import pooled_effect
from nnunet_ms.tables import Column, Table

VOLUME = "t2_volume_percent_change"
OF_LESIONS = (VOLUME, *(endpoint.name for endpoint in lesion_counts.ENDPOINTS))  # what a rater sees
RATIO, SEPARATION = "geometric_mean_ratio", "separation"
RATE, HAZARD = "rate_ratio", "hazard_ratio"
RATIOS = (RATIO, RATE, HAZARD)  # of which 1 is no effect, and whose logarithm has the standard error
_LOG_SE = {RATIO: "se_log", RATE: "se_log", HAZARD: "se"}  # of a hazard ratio: the coefficient's
UNITS = {"by_visit": "percentage points", t2_volume_ml.CHANGE: "ml"}  # of the analyses with a separation of arms
EFFECTS = Table(
    "effects of several trials",
    (
        *(Column(name) for name in ("trial", "endpoint")),
        Column("rater", blank=True),
        *(Column(name) for name in ("contrast", "analysis")),
        Column("visit", blank=True),
        Column("stat_name"),
        *(Column(name, "number", blank=True) for name in ("estimate", "low", "high", "p", "log_se")),
        Column("level", "number", minimum=0),
        Column("unit", blank=True),
        Column("method", blank=True),
    ),
    key=("trial", "endpoint", "rater", "contrast", "analysis", "stat_name"),
)
POOLED = Table(
    "pooled effects",
    (
        Column("endpoint"),
        Column("rater", blank=True),
        *(Column(name) for name in ("stat_name", "model")),
        Column("n_trials", "integer", minimum=1),
        *(Column(name, "number", blank=True) for name in ("estimate", "low", "high", "q", "q_p", "i_squared")),
        Column("level", "number", minimum=0),
    ),
    key=("endpoint", "rater", "stat_name", "model"),
)


def effect_rows(trials: Sequence[ComparedTrial], endpoints: Sequence[str], raters: Sequence[str]) -> pd.DataFrame:
    """Return the main effect of every endpoint, trial, rater and contrast, as the trial's output has it.

    Parameters
    ----------
    trials : sequence of ComparedTrial
        In the order of the rows within an endpoint.
    endpoints, raters : sequence of str
        What all trials have; outcomes have no rater.

    Returns
    -------
    pandas.DataFrame
        Columns of `EFFECTS`. T2 volume: the ratio of geometric means (MMRM) and the separation of mean changes,
        in percent and in ml, at the trial's last visit. Lesions: the rate ratio. Outcomes: the hazard ratio, of the
        stratified model where the trial has strata. Blank numbers are not estimable, and `method` says why.
    """
    rows = [
        row
        for endpoint in endpoints
        for trial in trials
        for rater in (raters if endpoint in OF_LESIONS else [""])
        for row in _rows(trial, endpoint, rater)
    ]
    return pd.DataFrame(rows, columns=EFFECTS.names)


def _wanted(trial: ComparedTrial, endpoint: str) -> list[tuple[dict[str, str], str]]:
    """Keys and name of each statistic."""
    last = week_text(trial.last_week)
    if endpoint == VOLUME:
        separations = [({"analysis": name, "visit": last}, SEPARATION) for name in UNITS]
        return [({"analysis": "mmrm", "visit": last}, RATIO), *separations]
    if endpoint in OF_LESIONS:
        return [({"analysis": lesion_counts.NEGATIVE_BINOMIAL, "term": "arm"}, RATE)]
    here = set(select(trial.rows, endpoint=endpoint)["analysis"])
    stratified = progression_by_arm.COX_STRATIFIED
    return [({"analysis": stratified if stratified in here else progression_by_arm.COX}, HAZARD)]


def _rows(trial: ComparedTrial, endpoint: str, rater: str) -> Iterator[dict[str, object]]:
    for keys, name in _wanted(trial, endpoint):
        for arm in trial.settings["compared_arms"]:
            contrast = contrast_text(arm, trial.settings["reference_arm"])
            found = select(trial.rows, endpoint=endpoint, rater=rater, contrast=contrast, **keys)
            values = {stat: value_of(found, stat_name=stat) for stat in (name, "low", "high", "p")}
            log_se = value_of(found, stat_name=_LOG_SE[name]) if name in _LOG_SE else np.nan
            method = select(found, stat_name=name)["method"]
            yield {
                "trial": trial.name, "endpoint": endpoint, "rater": rater, "contrast": contrast,
                "analysis": keys["analysis"], "visit": keys.get("visit", ""), "stat_name": name,
                "estimate": values[name], "low": values["low"], "high": values["high"], "p": values["p"],
                "log_se": log_se, "level": float(trial.settings["level"]),
                "unit": UNITS[keys["analysis"]] if name == SEPARATION else "ratio",
                "method": method.iloc[0] if len(method) else "not in the output",
            }  # fmt: skip


def pooled_rows(trials: Sequence[ComparedTrial], effects: pd.DataFrame) -> pd.DataFrame:
    """Pool the ratios of each endpoint and rater over the trials, by common and by random effects.

    Parameters
    ----------
    trials : sequence of ComparedTrial
        Each with one compared arm: two contrasts of a trial share their reference arm and are not independent.
    effects : pandas.DataFrame
        Columns of `EFFECTS`.

    Returns
    -------
    pandas.DataFrame
        Columns of `POOLED`; an endpoint with a standard error in fewer than two trials has no row.

    Raises
    ------
    SettingsError
        If a trial has several compared arms, an arm is the reference of one trial and compared in another, volumes are
        of different lesion types, or simulated trials stand beside real ones.
    """
    _check_poolable(trials)
    rows: list[dict[str, object]] = []
    ratios = effects[effects["stat_name"].isin(RATIOS) & effects["log_se"].notna() & (effects["log_se"] > 0)]
    for (endpoint, rater, name), found in ratios.groupby(["endpoint", "rater", "stat_name"], sort=False):
        if len(found) < 2:
            continue
        level = float(found["level"].iloc[0])
        for fit in pooled_effect(np.log(found["estimate"].to_numpy()), found["log_se"].to_numpy(), level):
            limits = {key: float(np.exp(getattr(fit, key))) for key in ("estimate", "low", "high")}
            rows.append(
                {"endpoint": endpoint, "rater": rater, "stat_name": name, "model": fit.model, "n_trials": len(found)}
                | limits | {"q": fit.q, "q_p": fit.q_p, "i_squared": fit.i_squared, "level": level}
            )  # fmt: skip
    return pd.DataFrame(rows, columns=POOLED.names)


def _check_poolable(trials: Sequence[ComparedTrial]) -> None:
    """Raise SettingsError unless a ratio below 1 means the same in every trial."""
    for trial in trials:
        if len(trial.settings["compared_arms"]) > 1:
            raise SettingsError(
                f"{trial.folder}: expected one compared arm to pool over trials, found "
                f"{trial.settings['compared_arms']}, which share a reference arm. Compare without pooling."
            )
    if len({bool(trial.settings["simulated"]) for trial in trials}) > 1:
        raise SettingsError(
            "trials: expected simulated trials alone or real ones alone to pool, found both. Compare without pooling."
        )
    references = {str(trial.settings["reference_arm"]): trial.folder for trial in trials}
    for trial in trials:
        arm = str(trial.settings["compared_arms"][0])
        if arm in references:
            raise SettingsError(
                f"{trial.folder}: expected arms in one role in all trials to pool, found {arm!r} compared here and the "
                f"reference in {references[arm]}: their ratios are each other's reciprocals. Set the same [arms] "
                "reference and repeat nnunet-ms-endpoints run, or compare without pooling."
            )
    types = {str(trial.settings["lesion_type"]): trial.folder for trial in trials}
    if len(types) > 1:
        words = " and ".join(f"{name} in {folder}" for name, folder in types.items())
        raise SettingsError(
            f"trials: expected volumes of one lesion type to pool, found {words}. Set the same [lesions] type and "
            "repeat nnunet-ms-endpoints run, or compare without pooling."
        )
