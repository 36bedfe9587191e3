"""How long each arm was followed for an outcome, who had no event, and which part of a composite came first."""

from collections.abc import Iterator
from dataclasses import replace

import pandas as pd

from nnunet_ms.analysis.endpoints.progression_by_arm import POPULATION, usable
from nnunet_ms.analysis.endpoints.statistic_rows import Statistic, not_estimable, spread
from nnunet_ms.analysis.trial.data import TrialData

ANALYSIS = "follow_up"


def follow_up_statistics(trial: TrialData, outcome: str, audit: pd.DataFrame) -> Iterator[Statistic]:
    """Yield per arm the patients without event, the shortest and longest time, and which component came first.

    Parameters
    ----------
    trial : TrialData
        Its arms.
    outcome : str
        Name of the outcome.
    audit : pandas.DataFrame
        `time_weeks, event, arm, component` of each patient; who has no time is left out.
    """
    table = usable(audit)
    for arm in trial.settings.arms:
        of_arm = table[table["arm"] == arm]
        base = Statistic(outcome, ANALYSIS, population=POPULATION, arm=arm)
        events = int(of_arm["event"].sum())
        counts = {"without_event": (float(len(of_arm) - events), "patients")}
        yield from spread(replace(base, method="patients without event, censored at their last time"), counts)
        yield from spread(
            replace(base, method="shortest and longest time; 1: no event at that time, censored"),
            _range(of_arm),
            not_estimable("nobody was followed"),
        )
        for name, number in _first_components(table, of_arm, outcome):
            keys = replace(base, term=f"first: {name}", method="event of the composite that came first")
            yield from spread(keys, {"events": (float(number), "patients")})


def _range(of_arm: pd.DataFrame) -> dict[str, tuple[float, str]]:
    """Extremes; of several patients at one of them, it is censored only if none of them has the event."""
    found: dict[str, tuple[float, str]] = {}
    for name, extreme in (("shortest", of_arm["time_weeks"].min()), ("longest", of_arm["time_weeks"].max())):
        there = of_arm.loc[of_arm["time_weeks"] == extreme, "event"]
        censored = float(not there.astype(bool).any()) if len(there) else float("nan")
        found |= {name: (float(extreme), "weeks"), f"{name}_censored": (censored, "")}
    return found


def _first_components(table: pd.DataFrame, of_arm: pd.DataFrame, outcome: str) -> list[tuple[str, int]]:
    """Counts by component in the order of their names; nothing where the outcome is its only one."""
    happened = table.loc[table["event"].astype(bool), "component"].dropna()
    names = sorted(set(happened.astype(str)) - {""})
    if names in ([], [outcome]):
        return []
    own = of_arm.loc[of_arm["event"].astype(bool), "component"].astype(str)
    return [(name, int((own == name).sum())) for name in names]
