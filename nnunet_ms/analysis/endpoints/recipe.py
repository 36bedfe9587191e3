"""The recipe: from a trial's tables to every number of its report.

One endpoint is one module that turns `TrialData` into tidy rows. A further endpoint is one more such module, one more
function here in `RECIPE`, and one block in `report/blocks.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pandas as pd

from nnunet_ms.analysis.endpoints.baseline_table import baseline_statistics
from nnunet_ms.analysis.endpoints.disposition import disposition_statistics
from nnunet_ms.analysis.endpoints.effect_agreement import effect_agreement_statistics
from nnunet_ms.analysis.endpoints.follow_up import follow_up_statistics
from nnunet_ms.analysis.endpoints.lesion_counts import ENDPOINTS as COUNT_ENDPOINTS
from nnunet_ms.analysis.endpoints.lesion_counts import available, lesion_count_statistics
from nnunet_ms.analysis.endpoints.population_effects import population_statistics
from nnunet_ms.analysis.endpoints.progression_by_arm import (
    KM,
    LOGRANK,
    LOGRANK_STRATIFIED,
    curves_by_arm,
    logrank_contrast,
    treatment_statistics,
)
from nnunet_ms.analysis.endpoints.progression_by_disability_risk import disability_statistics
from nnunet_ms.analysis.endpoints.progression_by_rims import rim_statistics
from nnunet_ms.analysis.endpoints.progression_by_t1_lesions import t1_lesion_statistics
from nnunet_ms.analysis.endpoints.progression_by_t1_volume import unenhancing_statistics
from nnunet_ms.analysis.endpoints.progression_by_t2_volume import (
    ProgressionData,
    km_curves,
    outcome_audit,
    progression_data,
    progression_statistics,
)
from nnunet_ms.analysis.endpoints.progression_multivariable import along_curve, multivariable_statistics
from nnunet_ms.analysis.endpoints.progression_subgroups import subgroup_statistics
from nnunet_ms.analysis.endpoints.rater_concordance import concordance_statistics, rater_pairs
from nnunet_ms.analysis.endpoints.statistic_rows import Statistic, not_estimable, select, spread, to_frame
from nnunet_ms.analysis.endpoints.t2_volume import changes, t2_volume_statistics
from nnunet_ms.analysis.endpoints.t2_volume_ml import volume_ml_statistics
from nnunet_ms.analysis.endpoints.t2_volume_models import volume_model_exclusions, volume_model_statistics
from nnunet_ms.analysis.trial.data import TrialData
from nnunet_ms.analysis.trial.exclusions import exclusion_table
from nnunet_ms.analysis.trial.keys import contrast_text
from nnunet_ms.analysis.trial.zero_volumes import zero_listing
from nnunet_ms.progress import Progress, unseen
from nnunet_ms.statistics.multiplicity import Hypothesis, serial_gatekeeping


@dataclass(frozen=True)
class Part:
    """What one endpoint gives: rows, listings per patient by file stem, curves by file stem, and who was left out."""

    statistics: list[Statistic]
    audit: dict[str, pd.DataFrame] = field(default_factory=dict)
    curves: dict[str, pd.DataFrame] = field(default_factory=dict)
    exclusions: tuple[pd.DataFrame, ...] = ()


@dataclass(frozen=True)
class Results:
    """All parts together. `endpoints` has the columns of `tables.ENDPOINTS`; blank text where a key does not apply."""

    endpoints: pd.DataFrame
    audit: dict[str, pd.DataFrame]
    curves: dict[str, pd.DataFrame]
    exclusions: pd.DataFrame


def compute_endpoints(trial: TrialData, progress: Progress = unseen) -> Results:
    """Compute every endpoint of the recipe for every rater on the same patients.

    Parameters
    ----------
    trial : TrialData
        Checked tables, from `data.read_trial`.
    progress : Progress, optional
        Shows which endpoint, and then which further population, is at work.

    Returns
    -------
    Results
        Numbers are not rounded. What cannot be estimated is a blank `stat` with the reason in `method`.
    """
    parts = [RECIPE[name](trial) for name in progress(list(RECIPE), "endpoints", str)]
    left_out = [trial.exclusions, *(frame for part in parts for frame in part.exclusions)]
    exclusions = pd.concat([frame for frame in left_out if len(frame)] or left_out[:1], ignore_index=True)
    audit = {name: frame for part in parts for name, frame in part.audit.items()}
    rows = to_frame(row for part in parts for row in part.statistics)
    if trial.population:
        rows["population"] = f"{trial.population}: " + rows["population"]
    beside = to_frame(population_statistics(trial, progress))
    rows = pd.concat([rows, beside], ignore_index=True) if len(beside) else rows
    rows = _with_level(trial, rows)
    several = to_frame(multiplicity_statistics(trial, rows))
    return Results(
        endpoints=pd.concat([rows, several], ignore_index=True) if len(several) else rows,
        audit={**trial.listings, **audit, "exclusions": exclusions},
        curves={name: frame for part in parts for name, frame in part.curves.items()},
        exclusions=exclusions,
    )


def _with_level(trial: TrialData, rows: pd.DataFrame) -> pd.DataFrame:
    """Name the level of every limit in its method where it is not the usual 95 %."""
    level = trial.settings.analysis.level
    if level == "95 %":
        return rows
    limit = rows["stat_name"].isin(["low", "high"]) & ~rows["endpoint"].isin(["agreement", "concordance"])
    silent = limit & ~rows["method"].str.contains(level, regex=False)
    named = rows["method"].where(~silent, rows["method"] + f"; {level} interval")
    return rows.assign(method=named)


def _disposition(trial: TrialData) -> Part:
    return Part([*disposition_statistics(trial), *baseline_statistics(trial)])


def _t2_volume(trial: TrialData) -> Part:
    if not trial.has_volumes:
        return Part([])
    table, exclusions = changes(trial)
    rows = [
        *t2_volume_statistics(trial, table),
        *volume_ml_statistics(trial, table),
        *volume_model_statistics(trial, table),
    ]
    zeros = zero_listing(trial)
    audit = {"t2_volume_percent_change": table, **({"zero_volumes": zeros} if len(zeros) else {})}
    return Part(rows, audit, {}, (exclusions, volume_model_exclusions(trial, table)))


def _progression(trial: TrialData) -> Part:
    """Every outcome of the settings; nothing where the trial has no assessments."""
    if not trial.has_outcomes:
        return Part([])
    if not trial.has_volumes:
        return _progression_by_arm(trial)
    found = [progression_data(trial, outcome) for outcome in trial.settings.outcomes]
    return Part(
        [
            row
            for data in found
            for rows in (
                treatment_statistics(trial, data.outcome, data.audit),
                follow_up_statistics(trial, data.outcome, data.audit),
                subgroup_statistics(trial, data.outcome, data.audit),
                rim_statistics(trial, data.outcome, data.audit),
                disability_statistics(trial, data.outcome, data.audit),
                progression_statistics(trial, data),
                multivariable_statistics(trial, data),
                unenhancing_statistics(trial, data),
                t1_lesion_statistics(trial, data),
            )
            for row in rows
        ],
        {data.outcome: data.audit for data in found},
        {name: frame for data in found if len(data.table) for name, frame in _curves(trial, data).items()},
        tuple(data.exclusions for data in found),
    )


def _progression_by_arm(trial: TrialData) -> Part:
    """Every outcome without a lesion table: by arm alone."""
    audits = {outcome: outcome_audit(trial, outcome) for outcome in trial.settings.outcomes}
    absent = [
        {**row, "analysis": outcome}
        for outcome, audit in audits.items()
        for row in audit[audit["time_weeks"].isna()].to_dict("records")
    ]
    return Part(
        [
            row
            for outcome, audit in audits.items()
            for rows in (
                treatment_statistics(trial, outcome, audit),
                follow_up_statistics(trial, outcome, audit),
                subgroup_statistics(trial, outcome, audit),
                rim_statistics(trial, outcome, audit),
                disability_statistics(trial, outcome, audit),
            )
            for row in rows
        ],
        dict(audits),
        {f"km_by_arm_{outcome}": curves_by_arm(trial, audit) for outcome, audit in audits.items()},
        (exclusion_table(absent),),
    )


def _curves(trial: TrialData, data: ProgressionData) -> dict[str, pd.DataFrame]:
    along = pd.concat(
        [along_curve(trial, data, rater).assign(rater=rater) for rater in trial.raters], ignore_index=True
    )
    return {
        f"km_curves_{data.outcome}": km_curves(trial, data),
        f"km_by_arm_{data.outcome}": curves_by_arm(trial, data.audit),
        f"arm_along_tlv_{data.outcome}": along,
    }


def _lesion_counts(trial: TrialData) -> Part:
    if not trial.has_lesions:
        return Part([])
    return Part([row for endpoint in available(trial) for row in lesion_count_statistics(trial, endpoint)])


def _effect_agreement(trial: TrialData) -> Part:
    if not trial.has_volumes:
        return Part([])
    table, _ = changes(trial)
    outcomes = trial.settings.outcomes if trial.has_outcomes else ()
    found = [progression_data(trial, outcome) for outcome in outcomes]
    return Part(list(effect_agreement_statistics(trial, table, found)))


def _concordance(trial: TrialData) -> Part:
    pairs = rater_pairs(trial)
    return Part(list(concordance_statistics(pairs)), {"rater_pairs": pairs} if len(pairs) else {})


def _agreement(trial: TrialData) -> Part:
    """Agreement of raters as `nnunet-ms-evaluate` summarised it, so that the report has one source of numbers."""
    rows: list[Statistic] = []
    if trial.agreement is None:
        return Part(rows)
    chosen = trial.agreement[trial.agreement["lesion_type"] == trial.settings.lesion_type]
    for record in chosen.to_dict("records"):
        base = Statistic("agreement", record["rule"], rater=record["rater"], term=record["metric"])
        keys = replace(base, population="cases with both masks", method=f"rule {record['rule']}")
        stats = {name: (float(record[name]), "") for name in ("mean", "n", "n_undefined")}
        if not pd.isna(record["sd"]):  # correlations over the cohort have none
            stats["sd"] = (float(record["sd"]), "")
        rows += spread(keys, stats, not_estimable("undefined in every case"))
    return Part(rows)


# the names stand beside the progress bar
RECIPE: dict[str, Callable[[TrialData], Part]] = {
    "patients": _disposition,
    "T2 volume": _t2_volume,
    "lesion counts": _lesion_counts,
    "progression": _progression,
    "effects by rater, bootstrap": _effect_agreement,
    "concordance of raters": _concordance,
    "agreement of masks": _agreement,
}

# the p value that speaks for an endpoint in a sequence of tests
MAIN_P = {
    "t2_volume_percent_change": {"analysis": "ancova", "term": "arm"},
    **{name: {"analysis": "negative_binomial", "term": "arm"} for name in (e.name for e in COUNT_ENDPOINTS)},
}


def _main_p(trial: TrialData, rows: pd.DataFrame, endpoint: str, arm: str) -> float:
    """Return the main p value of an endpoint for one compared arm and, where there are raters, of the first."""
    rater = next(iter(trial.raters), "")  # the reference first
    test = LOGRANK_STRATIFIED if trial.settings.analysis.strata else LOGRANK
    keys = MAIN_P.get(endpoint, {"analysis": KM, "term": test})
    contrast = contrast_text(arm, trial.settings.reference_arm) if endpoint in MAIN_P else logrank_contrast(trial, arm)
    found = select(rows, endpoint=endpoint, stat_name="p", contrast=contrast, **keys)
    found = found[found["rater"].isin(["", rater])]
    return float(found["stat"].iloc[0]) if len(found) else float("nan")


def multiplicity_statistics(trial: TrialData, rows: pd.DataFrame) -> list[Statistic]:
    """Return the decisions of the sequence that the settings name; nothing where they name none."""
    settings = trial.settings
    analysis, several = settings.analysis, len(settings.compared_arms) > 1
    steps = [(name, arms) for entry in analysis.sequence for name, arms in [settings.step_of(entry)]]
    families = [[Hypothesis(name, arm, _main_p(trial, rows, name, arm)) for arm in arms] for name, arms in steps]
    method = f"fixed sequence at alpha {analysis.alpha:g}"
    if several:
        method += {
            "fixed": "; arms of an endpoint in their order",
            "holm": "; arms of an endpoint by Holm's procedure, all of which open the next (serial gatekeeping)",
        }[analysis.sequence_arms]
    found = []
    for position, d in enumerate(serial_gatekeeping(families, analysis.alpha, analysis.sequence_arms), start=1):
        contrast = contrast_text(d.arm, settings.reference_arm)
        base = Statistic("multiplicity", "fixed_sequence", term=d.endpoint, contrast=contrast, method=method)
        stats = {"position": float(position), "p": d.p, "tested": float(d.tested), "rejected": float(d.rejected)}
        if analysis.holm:
            stats["p_holm"] = d.holm
        found += spread(base, {k: (v, "") for k, v in stats.items()}, not_estimable("the endpoint has no p value"))
    return found
