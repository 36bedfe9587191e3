"""The recipe: from a trial's tables to every number of its report.

One endpoint is one module that turns `TrialData` into tidy rows. A further endpoint is one more such module, one more
function here in `RECIPE`, and one block in `report/blocks.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pandas as pd

from nnunet_ms.analysis.disposition import disposition_statistics
from nnunet_ms.analysis.progression import km_curves, progression_data, progression_statistics
from nnunet_ms.analysis.t2_volume import changes, t2_volume_statistics
from nnunet_ms.analysis.tidy import Statistic, not_estimable, spread, to_frame
from nnunet_ms.analysis.trial_data import TrialData


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


def compute_endpoints(trial: TrialData) -> Results:
    """Compute every endpoint of the recipe for every rater on the same patients.

    Parameters
    ----------
    trial : TrialData
        Checked tables, from `trial_data.read_trial`.

    Returns
    -------
    Results
        Numbers are not rounded. What cannot be estimated is a blank `stat` with the reason in `method`.
    """
    parts = [compute(trial) for compute in RECIPE]
    left_out = [trial.exclusions, *(frame for part in parts for frame in part.exclusions)]
    exclusions = pd.concat([frame for frame in left_out if len(frame)] or left_out[:1], ignore_index=True)
    audit = {name: frame for part in parts for name, frame in part.audit.items()}
    return Results(
        endpoints=to_frame(row for part in parts for row in part.statistics),
        audit={**audit, "exclusions": exclusions},
        curves={name: frame for part in parts for name, frame in part.curves.items()},
        exclusions=exclusions,
    )


def _disposition(trial: TrialData) -> Part:
    return Part(disposition_statistics(trial))


def _t2_volume(trial: TrialData) -> Part:
    table, exclusions = changes(trial)
    return Part(t2_volume_statistics(trial, table), {"t2_volume_percent_change": table}, {}, (exclusions,))


def _progression(trial: TrialData) -> Part:
    """Every outcome of the settings; nothing where the trial has no assessments."""
    if trial.assessments is None:
        return Part([])
    found = [progression_data(trial, outcome) for outcome in trial.settings.outcomes]
    return Part(
        [row for data in found for row in progression_statistics(trial, data)],
        {data.outcome: data.audit for data in found},
        {f"km_curves_{data.outcome}": km_curves(trial, data) for data in found if len(data.table)},
        tuple(data.exclusions for data in found),
    )


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


RECIPE: tuple[Callable[[TrialData], Part], ...] = (_disposition, _t2_volume, _progression, _agreement)
