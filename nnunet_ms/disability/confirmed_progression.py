"""Confirmed disability progression: which patients worsened, when, and whether a later visit confirmed it.

Baseline is fixed at randomisation. A patient's initial progression is the first assessment at or above the
threshold; it counts when a scheduled assessment at least 12 or 24 weeks later is still there and so is every
assessment between. What trials do differently is data (`PRESETS`), not another code path.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import pandas as pd

from nnunet_ms.arrays import Bools, Floats, Ints
from nnunet_ms.options import chosen

Measure = Literal["edss", "t25fw", "nhpt"]
OpenProgression = Literal["censor", "event_if_discontinued"]

TIMED_COLUMN = {"t25fw": ("t25fw_s", "t25fw_unable"), "nhpt": ("nhpt_s", "nhpt_unable")}
TIMED_INCREASE_PERCENT = 20
IMPROVEMENT_FROM_EDSS = 2.0
WEEK_TOLERANCE = 1e-6  # weeks from dates are sevenths, which binary numbers do not hold exactly

COLUMNS = [
    "patient_id",
    "arm",
    "outcome",
    "baseline",
    "onset_week",
    "confirmation_week",
    "event",
    "time_weeks",
    "reason",
    "component",
]


@dataclass(frozen=True)
class Outcome:
    """A named outcome: what is measured and how many weeks confirm it.

    `improvement`: a fall of EDSS by the steps of the rule, from a baseline of at least 2.0 (OPERA, Hauser et al.,
    N Engl J Med 2017;376:221-234). `components`: a composite: the first of them (`composite_progression`).
    """

    name: str
    measure: Measure
    confirmation_weeks: float
    title: str
    improvement: bool = False
    components: tuple[str, ...] = ()


OUTCOMES = {
    outcome.name: outcome
    for outcome in (
        Outcome("cdp12", "edss", 12, "12-week confirmed disability progression (EDSS)"),
        Outcome("cdp24", "edss", 24, "24-week confirmed disability progression (EDSS)"),
        Outcome("t25fw12", "t25fw", 12, "12-week confirmed worsening of the timed 25-foot walk"),
        Outcome("t25fw24", "t25fw", 24, "24-week confirmed worsening of the timed 25-foot walk"),
        Outcome("9hpt12", "nhpt", 12, "12-week confirmed worsening of the nine-hole peg test"),
        Outcome("9hpt24", "nhpt", 24, "24-week confirmed worsening of the nine-hole peg test"),
        Outcome(
            "ccdp12",
            "edss",
            12,
            "12-week composite confirmed progression (EDSS, walk or peg test)",
            components=("cdp12", "t25fw12", "9hpt12"),
        ),
        Outcome(
            "ccdp24",
            "edss",
            24,
            "24-week composite confirmed progression (EDSS, walk or peg test)",
            components=("cdp24", "t25fw24", "9hpt24"),
        ),
        Outcome("cdi12", "edss", 12, "12-week confirmed disability improvement (EDSS)", improvement=True),
        Outcome("cdi24", "edss", 24, "24-week confirmed disability improvement (EDSS)", improvement=True),
    )
}


@dataclass(frozen=True)
class ProgressionRule:
    """What a trial calls progression.

    Parameters
    ----------
    name : str
        Printed with every number.
    edss_steps : tuple of (float, float)
        (highest baseline, increase) in EDSS points, by rising baseline.
    open_progression : str
        What an initial progression is that nothing could confirm any more: "censor", or
        "event_if_discontinued": an event at its onset when treatment was stopped early, at or after the onset.
    unscheduled_confirms : bool, optional
        Whether an unscheduled assessment may confirm. It may always start, and always interrupts.
    relapse_onset_weeks, relapse_confirmation_weeks : float, optional
        An assessment less than this long after a relapse cannot start, or cannot confirm; 0: relapses are ignored.
    """

    name: str
    edss_steps: tuple[tuple[float, float], ...]
    open_progression: OpenProgression = "censor"
    unscheduled_confirms: bool = False
    relapse_onset_weeks: float = 0.0
    relapse_confirmation_weeks: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a word that no rule has."""
        chosen(self.open_progression, get_args(OpenProgression), "open_progression")


_ONE_POINT_TO_5_5 = ((5.5, 1.0), (float("inf"), 0.5))

PRESETS = {
    rule.name: rule
    for rule in (
        ProgressionRule("krishnan2023", _ONE_POINT_TO_5_5),
        # NCT01247324 and NCT01412333; Hauser et al., N Engl J Med 2017;376:221-234
        ProgressionRule("opera", _ONE_POINT_TO_5_5),
        # NCT01194570; Montalban et al., N Engl J Med 2017;376:209-220
        ProgressionRule("oratorio", _ONE_POINT_TO_5_5, open_progression="event_if_discontinued"),
        # ClinicalTrials.gov NCT00087529, primary outcome: who stopped treatment early without a confirmatory EDSS after
        # an initial progression has progressed; who completed treatment with an initial progression only is censored
        ProgressionRule("olympus", _ONE_POINT_TO_5_5, open_progression="event_if_discontinued"),
        # MSprog (R package) knows no unscheduled visits: every visit may confirm
        ProgressionRule("msprog", ((0.0, 1.5), (5.0, 1.0), (float("inf"), 0.5)), unscheduled_confirms=True),
    )
}


@dataclass(frozen=True)
class Progression:
    """The first progression of one patient: weeks of onset and confirmation, None where there is none."""

    onset_week: float | None
    confirmation_week: float | None


def edss_increase(baseline: float, rule: ProgressionRule) -> float:
    """Return the EDSS increase that counts as progression from `baseline`, in EDSS points.

    Examples
    --------
    >>> edss_increase(3.0, PRESETS["opera"]), edss_increase(6.0, PRESETS["opera"])
    (1.0, 0.5)
    """
    return next(increase for highest, increase in rule.edss_steps if baseline <= highest)


def has_worsened(values: Floats, baseline: float, measure: Measure, rule: ProgressionRule) -> Bools:
    """Say which values are at or above the progression threshold.

    Parameters
    ----------
    values : (n,) float array
        EDSS points, or seconds (infinite: unable).
    baseline : float
        In the same unit, finite.
    measure : {"edss", "t25fw", "nhpt"}
        Timed tests worsen by 20 % whatever the rule.
    rule : ProgressionRule
        Gives the EDSS steps.

    Returns
    -------
    (n,) bool array
        EDSS is compared in integer hundredths, seconds as the exact decimals that they are: 4.20 s -> 5.04 s counts,
        and so does the mean of four trials 22.2875 s -> 26.745 s, but not 26.7449 s.

    Raises
    ------
    OptionError
        If there is no such measure.

    Examples
    --------
    >>> has_worsened(np.array([4.2, 5.03, 5.04, np.inf]), 4.2, "t25fw", PRESETS["opera"])
    array([False, False,  True,  True])
    """
    chosen(measure, get_args(Measure), "measure")
    if measure == "edss":
        return np.asarray(_hundredths(values) >= _hundredths(baseline + edss_increase(baseline, rule)))
    able = np.isfinite(values)
    seconds = _exact_seconds(np.where(able, values, 0.0))
    return np.asarray(~able | (seconds * 100 >= _exact_seconds(baseline) * (100 + TIMED_INCREASE_PERCENT)))


def has_improved(values: Floats, baseline: float, rule: ProgressionRule) -> Bools:
    """Say which EDSS values are at least the rule's step below the baseline, in integer hundredths.

    Examples
    --------
    >>> has_improved(np.array([3.0, 2.0]), 3.0, PRESETS["opera"])
    array([False,  True])
    """
    return np.asarray(_hundredths(values) <= _hundredths(baseline - edss_increase(baseline, rule)))


def measures_of(outcome: Outcome) -> list[Measure]:
    """Return what must be measured for an outcome; of a composite, for each component."""
    return [OUTCOMES[name].measure for name in outcome.components] or [outcome.measure]


def first_progression(
    weeks: Sequence[float],
    worse: Sequence[bool],
    may_start: Sequence[bool],
    may_confirm: Sequence[bool],
    confirmation_weeks: float,
) -> Progression:
    """Return the first confirmed progression, or the unconfirmed one that is still open at the end.

    Parameters
    ----------
    weeks : (n,) float
        Rising, all after randomisation.
    worse, may_start, may_confirm : (n,) bool
        Per assessment: at or above the threshold; allowed to be an onset; allowed to confirm one.
    confirmation_weeks : float
        Least distance of onset and confirmation.

    Returns
    -------
    Progression
        `confirmation_week` None: not confirmed; then `onset_week` is that of the open progression, or None.
    """
    onset = None
    for week, is_worse, starts, confirms in zip(weeks, worse, may_start, may_confirm, strict=True):
        if not is_worse:
            onset = None  # an assessment below the threshold ends the progression, scheduled or not
        elif onset is None:
            onset = week if starts else None
        elif confirms and week - onset >= confirmation_weeks - WEEK_TOLERANCE:
            return Progression(onset, week)
    return Progression(onset, None)


def derive_progression(
    patients: pd.DataFrame,
    assessments: pd.DataFrame,
    outcome: Outcome,
    rule: ProgressionRule,
    relapses: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Derive one outcome for every patient: the audit listing, and the survival data at once.

    Parameters
    ----------
    patients : pandas.DataFrame
        `tables.PATIENTS`, one row per patient.
    assessments : pandas.DataFrame
        `tables.ASSESSMENTS` with `week` filled; weeks count from randomisation. Blank values are skipped.
    outcome : Outcome
        One of `OUTCOMES`.
    rule : ProgressionRule
        One of `PRESETS`, or another.
    relapses : pandas.DataFrame, optional
        `tables.RELAPSES` with `week` filled; used where the rule has relapse windows.

    Returns
    -------
    pandas.DataFrame
        Per patient, in the order of `patients`: `patient_id, arm, outcome, baseline, onset_week, confirmation_week,
        event, time_weeks, reason, component`. Without an event, time is the last assessment that could have confirmed
        (0 if there is none), `onset_week` that of an open progression, and `reason` says why there is no event.
        `time_weeks` is NaN where a timed test has no baseline: such patients cannot be analysed.

    Examples
    --------
    >>> patients = pd.DataFrame({"patient_id": ["P001", "P002"], "arm": "active", "edss_baseline": 3.0})
    >>> weeks, lasting, passing = [0, 12, 24, 36, 48], [3.0, 4.0, 4.0, 4.5, 4.5], [3.0, 4.0, 3.0, 3.0, 3.0]
    >>> frames = [pd.DataFrame({"patient_id": "P001", "week": weeks, "edss": lasting})]
    >>> frames += [pd.DataFrame({"patient_id": "P002", "week": weeks, "edss": passing})]
    >>> derived = derive_progression(patients, pd.concat(frames), OUTCOMES["cdp24"], PRESETS["opera"])
    >>> derived[["patient_id", "event", "time_weeks", "confirmation_week"]]
      patient_id  event  time_weeks  confirmation_week
    0       P001   True        12.0               36.0
    1       P002  False        48.0                NaN
    """
    visits = _by_patient(_measured(assessments, outcome.measure))
    attacks = (
        {}
        if relapses is None
        else {str(k): v.to_numpy(float) for k, v in relapses.groupby("patient_id", observed=True)["week"]}
    )
    none = _Visits(np.zeros(0), np.zeros(0), np.zeros(0, dtype=bool))
    rows = [
        _derive_one(patient, visits.get(name, none), attacks.get(name), outcome, rule)
        for patient in _records(patients)
        for name in [str(patient["patient_id"])]
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _hundredths(value: Floats | float) -> Floats:
    return np.asarray(np.rint(np.asarray(value, dtype=float) * 100))


def _exact_seconds(value: Floats | float) -> Ints:
    """Return seconds as whole units of 1e-11 s: finer than any table, coarser than what binary numbers add to it."""
    return np.asarray(np.rint(np.asarray(value, dtype=float) * 1e11), dtype=np.int64)  # 300 s * 120: within 64 bits


def _records(frame: pd.DataFrame) -> Iterator[dict[str, object]]:
    yield from frame.to_dict("records")


def _measured(assessments: pd.DataFrame, measure: Measure) -> pd.DataFrame:
    """Return week, value and scheduled of the assessments that have a value; unable = infinite seconds."""
    if measure == "edss":
        value = assessments["edss"]
    else:
        seconds, unable = TIMED_COLUMN[measure]
        value = assessments[seconds]
        if unable in assessments:
            value = value.mask(assessments[unable].astype("boolean").fillna(value=False).astype(bool), np.inf)
    scheduled = assessments["scheduled"].astype(bool) if "scheduled" in assessments else True
    frame = assessments[["patient_id", "week"]].assign(value=value, scheduled=scheduled)
    return frame[frame["value"].notna()].sort_values(["patient_id", "week"], kind="stable")


@dataclass(frozen=True)
class _Visits:
    """One patient's assessments with a value, by rising week."""

    week: Floats
    value: Floats
    scheduled: Bools


def _by_patient(measured: pd.DataFrame) -> dict[str, _Visits]:
    """Split once into arrays, by the id and not by its place; a table per patient would take most of the time."""
    columns = (
        measured["week"].to_numpy(float),
        measured["value"].to_numpy(float),
        measured["scheduled"].to_numpy(bool),
    )
    rows_of = measured.groupby(
        measured["patient_id"].to_numpy(object), sort=False
    ).indices  # in the order of the rows, which is that of weeks
    return {str(name): _Visits(*(column[rows] for column in columns)) for name, rows in rows_of.items()}


def _derive_one(
    patient: dict[str, object],
    visits: _Visits,
    relapse_weeks: Floats | None,
    outcome: Outcome,
    rule: ProgressionRule,
) -> list[object]:
    head = [patient["patient_id"], patient["arm"], outcome.name]
    baseline = _baseline(patient, visits, outcome.measure)
    if not np.isfinite(baseline):
        return [*head, np.nan, np.nan, np.nan, False, np.nan, "no baseline value", ""]
    if outcome.improvement and baseline < IMPROVEMENT_FROM_EDSS:
        reason = f"baseline EDSS below {IMPROVEMENT_FROM_EDSS:g}: improvement is not defined"
        return [*head, baseline, np.nan, np.nan, False, np.nan, reason, ""]
    after = visits.week > 0
    weeks, values = visits.week[after], visits.value[after]
    if outcome.improvement:
        worse = has_improved(values, baseline, rule)
        rule = replace(rule, open_progression="censor")  # stopping treatment is no sign of improvement
    else:
        worse = has_worsened(values, baseline, outcome.measure, rule)
    may_start = ~_near_relapse(weeks, relapse_weeks, rule.relapse_onset_weeks)
    may_confirm = (visits.scheduled[after] | rule.unscheduled_confirms) & ~_near_relapse(
        weeks, relapse_weeks, rule.relapse_confirmation_weeks
    )
    found = first_progression(list(weeks), list(worse), list(may_start), list(may_confirm), outcome.confirmation_weeks)
    last = float(weeks[may_confirm].max()) if may_confirm.any() else 0.0
    what = "improvement" if outcome.improvement else "progression"
    event, time, reason = _time_to_event(found, last, patient, rule, what)
    component = outcome.name if event else ""
    return [*head, baseline, _blank(found.onset_week), _blank(found.confirmation_week), event, time, reason, component]


def _baseline(patient: dict[str, object], visits: _Visits, measure: Measure) -> float:
    if measure == "edss":
        return float(patient["edss_baseline"])  # type: ignore[arg-type]  # a checked number column
    before = visits.value[visits.week <= 0]
    return float(before[-1]) if len(before) else float("nan")


def _near_relapse(weeks: Floats, relapse_weeks: Floats | None, window: float) -> Bools:
    if relapse_weeks is None or window <= 0:
        return np.zeros(len(weeks), dtype=bool)
    since = weeks[:, None] - relapse_weeks[None, :]
    return np.asarray(((since >= 0) & (since < window)).any(axis=1))


def _discontinued(patient: dict[str, object]) -> float:
    week = patient.get("discontinued_week")
    return float("nan") if week is None else float(week)  # type: ignore[arg-type]  # a checked number column


def _time_to_event(
    found: Progression, last: float, patient: dict[str, object], rule: ProgressionRule, what: str
) -> tuple[bool, float, str]:
    if found.onset_week is None:
        return False, last, f"no {what}" if last > 0 else "no assessment that could confirm"
    if found.confirmation_week is not None:
        return True, found.onset_week, ""
    week = _discontinued(patient)
    stopped = found.onset_week <= week  # False where it is NaN: treatment completed
    if stopped and rule.open_progression == "event_if_discontinued":
        return True, found.onset_week, "not confirmed, treatment discontinued: event by rule"
    how = "treatment discontinued" if stopped else "treatment completed"
    if "discontinued_week" not in patient:
        how = "whether treatment was discontinued is not recorded"
    elif week < found.onset_week:
        how = f"treatment discontinued before it, at week {week:.4g}"
    return False, last, f"{what} not confirmed, {how}"


def _blank(week: float | None) -> float:
    return float("nan") if week is None else week
