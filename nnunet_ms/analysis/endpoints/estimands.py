"""What each effect of arm estimates: the five attributes of an estimand (ICH E9(R1), A.3) [1]_, as data.

They are written from the settings, so that they say what was computed and not what a template hopes: `estimands.csv`
and the report hold the same rows.

.. [1] ICH E9(R1), Addendum on estimands and sensitivity analysis in clinical trials, 2019.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from nnunet_ms.analysis.endpoints.lesion_counts import CountEndpoint, exposure_unit
from nnunet_ms.analysis.trial.data import TrialData
from nnunet_ms.analysis.trial.keys import week_text

Strategy = Literal["treatment policy", "composite variable", "as in ADTTE"]
ATTRIBUTES = ("population", "treatment", "variable", "intercurrent event", "summary measure")
COLUMNS = ["endpoint", "attribute", "text", "event", "strategy"]
VOLUME = "t2_volume_percent_change"
_UNSEEN = {"year": "the time after the last scan is in no rate", "scan": "a scan that was not made is in no rate"}


@dataclass(frozen=True)
class IntercurrentEvent:
    """What may happen after randomisation, the strategy for it, and what that means here."""

    event: str
    strategy: Strategy
    text: str


@dataclass(frozen=True)
class Estimand:
    """The effect of arm that the main analysis of one endpoint estimates."""

    endpoint: str
    population: str
    treatment: str
    variable: str
    intercurrent_events: tuple[IntercurrentEvent, ...]
    summary_measure: str

    def rows(self) -> list[dict[str, str]]:
        """Return one row per attribute, and per intercurrent event, with the keys `COLUMNS`."""
        found = [
            {"attribute": name, "text": text}
            for name, text in zip(ATTRIBUTES[:3], (self.population, self.treatment, self.variable), strict=True)
        ]
        found += [{"attribute": ATTRIBUTES[3], **vars(event)} for event in self.intercurrent_events]
        found.append({"attribute": ATTRIBUTES[4], "text": self.summary_measure})
        return [{**dict.fromkeys(COLUMNS, ""), "endpoint": self.endpoint, **row} for row in found]

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield attribute and text for people."""
        for row in self.rows():
            told = f"{row['event']}: {row['strategy']}; {row['text']}" if row["event"] else row["text"]
            yield row["attribute"], told


def volume_estimand(trial: TrialData) -> Estimand:
    """Return the estimand of the percent change of T2 volume."""
    last = week_text(trial.settings.weeks[-1])
    return Estimand(
        VOLUME,
        _population(trial),
        _treatment(trial),
        f"percent change of T2 lesion volume from baseline at week {last}",
        (_stopped("scans after it count as those before; a patient without a scan at that week is left out"),),
        "difference of means in percentage points, adjusted (ANCOVA)",
    )


def count_estimand(trial: TrialData, endpoint: CountEndpoint) -> Estimand:
    """Return the estimand of one lesion count."""
    unit = exposure_unit(trial, endpoint)
    since = ", each since the scan before it" if endpoint.of_change else ""
    variable = f"number of {endpoint.phrase} at the follow-up scans{since}, per {unit}"
    return Estimand(
        endpoint.name,
        _population(trial),
        _treatment(trial),
        variable,
        (_stopped(f"scans after it count as those before; {_UNSEEN[unit]}"),),
        f"ratio of lesions per {unit}, adjusted (negative binomial)",
    )


def time_estimand(trial: TrialData, outcome: str) -> Estimand:
    """Return the estimand of one time to event."""
    strata = trial.settings.analysis.strata
    within = f" within strata ({', '.join(strata)})" if strata else ""
    return Estimand(
        outcome,
        _population(trial),
        _treatment(trial),
        f"time from randomisation to {trial.title(outcome)}",
        tuple(_progression_events(trial)),
        f"hazard ratio{within} (Cox)",
    )


def estimand_table(estimands: Iterable[Estimand]) -> pd.DataFrame:
    """Return the rows of several estimands with the columns `COLUMNS`."""
    return pd.DataFrame([row for estimand in estimands for row in estimand.rows()], columns=COLUMNS)


def _population(trial: TrialData) -> str:
    settings = trial.settings
    if not trial.population:
        return f"every patient of {settings.tables.patients.name}"
    chosen = settings.populations.defined[trial.population]
    return f"{trial.population}: patients whose {chosen.column} is {' or '.join(chosen.values)}"


def _treatment(trial: TrialData) -> str:
    settings = trial.settings
    variable = settings.adam.treatment if settings.adam else "arm"
    return f"{' or '.join(settings.compared_arms)} against {settings.reference_arm}, as assigned ({variable})"


def _stopped(text: str) -> IntercurrentEvent:
    return IntercurrentEvent("treatment stopped", "treatment policy", text)


def _progression_events(trial: TrialData) -> Iterator[IntercurrentEvent]:
    rule = trial.settings.rule
    if trial.settings.outcome_source == "adtte" or rule is None:
        yield IntercurrentEvent("any", "as in ADTTE", "times and censoring are taken as they are told")
        return
    if rule.open_progression == "event_if_discontinued":
        text = "at or after an unconfirmed progression it makes that an event; assessments after it count otherwise"
        yield IntercurrentEvent("treatment stopped", "composite variable", text)
    else:
        yield _stopped("assessments after it count as those before; without any, the time is censored at the last one")
    windows = (rule.relapse_onset_weeks, rule.relapse_confirmation_weeks)
    none = "whatever its time, assessments count"
    near = f"no progression starts within {windows[0]:g} or is confirmed within {windows[1]:g} weeks of one"
    yield IntercurrentEvent("relapse", "treatment policy", near if max(windows) > 0 else none)
