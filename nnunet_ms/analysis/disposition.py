"""Disposition: how many patients of each arm come in, have baseline masks, and are there at each visit."""

from nnunet_ms.analysis.tidy import Statistic, week_text
from nnunet_ms.analysis.trial_data import TrialData

ENDPOINT, ANALYSIS = "disposition", "patients"
IN_TABLE, WITH_BASELINE, AT_VISIT, EXCLUDED = (
    "in the patient table",
    "with baseline masks",
    "at visit",
    "excluded",
)


def disposition_statistics(trial: TrialData) -> list[Statistic]:
    """Return counts of patients per arm; "excluded" are those of the patient table without baseline masks."""
    rows = []
    one_rater = trial.volumes[trial.volumes["rater"] == trial.raters[0]]  # the same patients for every rater
    for arm in trial.settings.arms:
        total = int((trial.patients["arm"] == arm).sum())
        of_arm = one_rater[one_rater["arm"] == arm]
        with_baseline = of_arm["patient_id"].nunique()
        rows += [
            _count(arm, IN_TABLE, total),
            _count(arm, WITH_BASELINE, with_baseline),
            _count(arm, EXCLUDED, total - with_baseline),
        ]
        for week in (trial.settings.baseline_week, *trial.settings.weeks):
            rows.append(_count(arm, AT_VISIT, int((of_arm["week"] == week).sum()), week_text(week)))
    return rows


def _count(arm: str, term: str, count: int, visit: str = "") -> Statistic:
    return Statistic(
        ENDPOINT,
        ANALYSIS,
        population="all patients",
        arm=arm,
        visit=visit,
        term=term,
        stat_name="n",
        stat=float(count),
        unit="patients",
        method="a visit counts when every rater has a mask" if visit else "",
    )
