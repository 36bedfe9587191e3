"""Disposition: how many patients of each arm come in, have baseline masks, and are there at each visit.

The CONSORT flow figure and the table of visit completeness are drawn from these rows.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import pandas as pd

from nnunet_ms.analysis.endpoints.statistic_rows import Statistic, not_estimable, spread
from nnunet_ms.analysis.trial.data import TrialData
from nnunet_ms.analysis.trial.keys import week_text

ENDPOINT, ANALYSIS = "disposition", "patients"
IN_TABLE, WITH_BASELINE, AT_VISIT, EXCLUDED = (
    "in the patient table",
    "with baseline masks",
    "at visit",
    "excluded",
)
EVERY_VISIT, DISCONTINUED, ASSESSED = "at every visit", "discontinued treatment", "with assessments"
REASON = f"{DISCONTINUED}: "  # and the reason
REASON_COLUMNS = ("discontinuation_reason", "DCSREAS", "DCREASCD", "DCTREAS")  # ours; ADSL's
NO_REASON = "no reason given"
NO_MASK, NO_BASELINE = "excluded: no mask at all", "excluded: no baseline mask of every rater"
OBSERVED = "a visit counts when every rater has a mask"


def disposition_statistics(trial: TrialData) -> list[Statistic]:
    """Return counts of patients per arm; "excluded" are those of the patient table without baseline masks.

    Visits have a `percent` too, of the arm's patients with baseline masks. Without volumes there are neither.
    """
    one_rater = trial.volumes[trial.volumes["rater"].isin(trial.raters[:1])]  # the same patients for every rater
    return [row for arm in trial.settings.arms for row in _arm_rows(trial, one_rater, arm)]


def _arm_rows(trial: TrialData, volumes: pd.DataFrame, arm: str) -> Iterator[Statistic]:
    base = Statistic(ENDPOINT, ANALYSIS, population="all patients", arm=arm)
    patients = trial.patients[trial.patients["arm"] == arm]
    if not trial.has_volumes:
        for term, count in {IN_TABLE: len(patients), **_treatment(trial, patients)}.items():
            yield from spread(replace(base, term=term), {"n": (float(count), "patients")})
        return
    of_arm = volumes[volumes["arm"] == arm]
    with_baseline = of_arm["patient_id"].nunique()
    counts = {IN_TABLE: len(patients), WITH_BASELINE: with_baseline, EXCLUDED: len(patients) - with_baseline}
    for term, count in {**counts, **_reasons(trial, patients, of_arm), **_treatment(trial, patients)}.items():
        yield from spread(replace(base, term=term), {"n": (float(count), "patients")})
    weeks = (trial.settings.baseline_week, *trial.settings.weeks)
    visits = of_arm[of_arm["week"].isin(weeks)].groupby("patient_id")["week"].nunique()
    for week in weeks:
        there = int((of_arm["week"] == week).sum())
        yield from _visit(replace(base, term=AT_VISIT, visit=week_text(week)), there, with_baseline)
    yield from _visit(replace(base, term=EVERY_VISIT), int((visits == len(weeks)).sum()), with_baseline)


def _visit(base: Statistic, there: int, expected: int) -> list[Statistic]:
    share = 100 * there / expected if expected else float("nan")
    stats = {"n": (float(there), "patients"), "percent": (share, "% of patients with baseline masks")}
    return spread(replace(base, method=OBSERVED), stats, not_estimable("no patient with baseline masks"))


def _reasons(trial: TrialData, patients: pd.DataFrame, of_arm: pd.DataFrame) -> Mapping[str, int]:
    """Count why patients have no baseline masks."""
    without = set(patients["patient_id"]) - set(of_arm["patient_id"])
    listed = trial.exclusions[trial.exclusions["analysis"] == "T2 volume"]
    maskless = set(listed.loc[listed["reason"] == "in the patient table, but has no mask", "patient_id"])
    return {NO_MASK: len(without & maskless), NO_BASELINE: len(without - maskless)}


def _treatment(trial: TrialData, patients: pd.DataFrame) -> Mapping[str, int]:
    """Count who stopped treatment and who was assessed, where the tables tell."""
    counts = {}
    if "discontinued_week" in patients:
        counts[DISCONTINUED] = int(patients["discontinued_week"].notna().sum())
        counts |= _stopped_why(trial.patients, patients)
    if trial.assessments is not None:
        counts[ASSESSED] = int(patients["patient_id"].isin(trial.assessments["patient_id"]).sum())
    return counts


def _stopped_why(all_patients: pd.DataFrame, patients: pd.DataFrame) -> dict[str, int]:
    """Count the reasons of those who stopped, the same ones in every arm; nothing where no table has reasons."""
    column = next((name for name in REASON_COLUMNS if name in all_patients), None)
    if column is None:
        return {}
    known = all_patients.loc[all_patients["discontinued_week"].notna(), column]
    reasons = known.astype("string").str.strip().replace("", pd.NA).fillna(NO_REASON)
    own = reasons[reasons.index.isin(patients.index)]
    return {f"{REASON}{reason}": int((own == reason).sum()) for reason in sorted(set(reasons))}
