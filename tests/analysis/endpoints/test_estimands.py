"""Every effect of arm names the five attributes of ICH E9(R1); what they say follows the settings."""

import re
from dataclasses import replace

import pytest

from nnunet_ms.analysis.endpoints.estimands import (
    ATTRIBUTES,
    COLUMNS,
    count_estimand,
    estimand_table,
    time_estimand,
    volume_estimand,
)
from nnunet_ms.analysis.endpoints.lesion_counts import ENDPOINTS
from nnunet_ms.analysis.trial.outcomes import PRESETS
from nnunet_ms.analysis.trial.populations import Population, Populations


def every(trial):
    return [volume_estimand(trial), *(count_estimand(trial, e) for e in ENDPOINTS), time_estimand(trial, "ccdp24")]


def test_each_has_the_five_attributes(trial):
    # ICH E9(R1), A.3: population, treatment, variable, intercurrent events with their strategies, summary measure.
    table = estimand_table(every(trial))
    assert list(table) == COLUMNS
    for _, rows in table.groupby("endpoint"):
        assert list(dict.fromkeys(rows["attribute"])) == list(ATTRIBUTES)
        assert (rows["text"] != "").all()
        of_events = rows["attribute"] == "intercurrent event"
        assert (rows.loc[of_events, ["event", "strategy"]] != "").all(axis=None)
        assert (rows.loc[~of_events, ["event", "strategy"]] == "").all(axis=None)
    assert table["endpoint"].nunique() == 7


def changed(trial, **settings):
    return replace(trial, settings=replace(trial.settings, **settings))


def text_of(estimand, attribute):
    return "; ".join(text for name, text in estimand.lines() if name == attribute)


def strata(trial, *names):
    return changed(trial, analysis=replace(trial.settings.analysis, strata=names))


def relapses(trial):
    rule = replace(PRESETS["opera"], relapse_onset_weeks=6.0, relapse_confirmation_weeks=4.0)
    return changed(trial, rule=rule)


def flagged(trial):
    itt = Population("itt", "ITTFL", ("Y",))
    return replace(changed(trial, populations=Populations("itt", (), {"itt": itt})), population="itt")


NEW, ENHANCING = ENDPOINTS[2], ENDPOINTS[0]
CASES = {
    "years": (lambda t: count_estimand(t, NEW), "summary measure", "ratio of lesions per year, adjusted"),
    "scans": (lambda t: count_estimand(changed(t, exposure="scans"), NEW), "summary measure", "lesions per scan"),
    "enhancing": (lambda t: count_estimand(t, ENHANCING), "variable", "enhancing lesions at the follow-up.* per scan"),
    "since": (lambda t: count_estimand(t, NEW), "variable", "new T2 lesions at .* since the scan before it, per year"),
    "censored": (lambda t: time_estimand(t, "cdp24"), "intercurrent event", "stopped: treatment policy; .* censored"),
    "open": (lambda t: time_estimand(changed(t, rule=PRESETS["oratorio"]), "cdp24"), "intercurrent event",
             "treatment stopped: composite variable; .* makes that an event"),
    "relapse": (lambda t: time_estimand(relapses(t), "cdp24"), "intercurrent event", "within 6 .* within 4 weeks"),
    "told": (lambda t: time_estimand(changed(t, outcome_source="adtte"), "cdp24"), "intercurrent event",
             "any: as in ADTTE; .* as they are told"),
    "strata": (lambda t: time_estimand(strata(t, "region", "sex"), "cdp24"), "summary measure",
               r"hazard ratio within strata \(region, sex\)"),
    "no strata": (lambda t: time_estimand(strata(t), "cdp24"), "summary measure", r"^hazard ratio \(Cox\)$"),
    "population": (lambda t: volume_estimand(flagged(t)), "population", "itt: patients whose ITTFL is Y"),
    "everybody": (volume_estimand, "population", r"^every patient of patients\.csv$"),
    "week": (volume_estimand, "variable", "at week 96$"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_it_says_follows_the_settings(trial, case):
    make, attribute, words = CASES[case]
    assert re.search(words, text_of(make(trial), attribute)), text_of(make(trial), attribute)
