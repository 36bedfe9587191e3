"""Endpoint: confirmed progression, and how it goes with the lesion volume at baseline."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from nnunet_ms.analysis.endpoints.statistic_rows import Statistic, hazard_values, not_estimable, spread, value_of
from nnunet_ms.analysis.trial.data import TrialData
from nnunet_ms.analysis.trial.exclusions import exclusion_table
from nnunet_ms.analysis.trial.keys import week_text
from nnunet_ms.analysis.trial.zero_volumes import positive_baselines, zero_note
from nnunet_ms.disability.composite_progression import derive_outcome
from nnunet_ms.disability.confirmed_progression import OUTCOMES
from nnunet_ms.errors import SettingsError
from nnunet_ms.options import chosen
from nnunet_ms.statistics.cox import cox_univariable
from nnunet_ms.statistics.survival import above_median, kaplan_meier, logrank, survival_at

COX, KM = "cox_univariable", "km_at_median_tlv"
POPULATION = "baseline mask of every rater"
PER_LOG_ML = "per unit of log(TLV in ml)"
LOW, HIGH, LOGRANK = "tlv <= median", "tlv > median", "logrank"
SHOWN, SHOWN_BELOW = "shown", 0.1  # the paper draws the halves only where the univariable p is below .1


@dataclass(frozen=True)
class ProgressionData:
    """One outcome beside baseline volumes.

    `audit`: every patient of the trial (`outcomes.derive_progression`). `table`: those analysed, with
    `tlv_<rater>` (ml, > 0) per rater, here by position in `raters`. `exclusions`: the others, with reasons.
    """

    outcome: str
    audit: pd.DataFrame
    table: pd.DataFrame
    volumes: pd.DataFrame
    exclusions: pd.DataFrame


def progression_data(trial: TrialData, outcome: str) -> ProgressionData:
    """Derive `outcome` and join the baseline volumes; `volumes` is (patient, rater) in ml, as `table` is ordered.

    Raises
    ------
    SettingsError
        If a baseline volume is 0 and the settings do not say what to do before a logarithm.
    """
    audit = outcome_audit(trial, outcome)
    volumes, listed = baselines_with_log(trial, outcome)
    absent = audit[audit["time_weeks"].isna() & audit["patient_id"].isin(volumes.index)]
    listed += [_excluded(r["patient_id"], r["arm"], outcome, r["reason"]) for r in absent.to_dict("records")]
    table = audit[audit["time_weeks"].notna() & audit["patient_id"].isin(volumes.index)].reset_index(drop=True)
    return ProgressionData(outcome, audit, table, volumes.loc[table["patient_id"]], exclusion_table(listed))


def outcome_audit(trial: TrialData, outcome: str) -> pd.DataFrame:
    """Return one outcome of every patient, derived from assessments or taken from ADTTE.

    Raises
    ------
    SettingsError
        If there is neither, or no such outcome.
    """
    if outcome in trial.times:
        return trial.times[outcome]
    chosen(outcome, OUTCOMES, "outcome")
    if trial.assessments is None or trial.settings.rule is None:
        raise SettingsError(f"{trial.settings.path}: {outcome} needs [tables] assessments. Name the table.")
    return derive_outcome(trial.patients, trial.assessments, OUTCOMES[outcome], trial.settings.rule, trial.relapses)


def baselines_with_log(trial: TrialData, analysis: str) -> tuple[pd.DataFrame, list[dict[str, object]]]:
    """Return baseline volumes, all > 0, and the patients left out for a volume of 0 ml (`zero_volumes.py`).

    Returns
    -------
    volumes : pandas.DataFrame
        Indexed by patient_id, one column per rater, ml.
    exclusions : list of dict
        Rows for `exclusions.exclusion_table`.

    Raises
    ------
    SettingsError
        If there are zeros and the settings do not say what to do.
    """
    baseline = trial.volumes[trial.volumes["week"] == trial.settings.baseline_week]
    wide = baseline.pivot_table(index="patient_id", columns="rater", values="volume_ml")[list(trial.raters)]
    ready = positive_baselines(trial, wide)
    arm_of = trial.patients.set_index("patient_id")["arm"]
    out = ready.index[ready.isna().any(axis=1)]
    return ready.drop(out), [_excluded(p, arm_of[p], analysis, "baseline volume 0 ml: no logarithm") for p in out]


def progression_statistics(trial: TrialData, data: ProgressionData) -> list[Statistic]:
    """Return Cox, Kaplan-Meier and log-rank rows of one outcome for every rater.

    Curves and tests at the median are computed always, and reported (term "shown": 1) only where the univariable p of
    some rater is below `SHOWN_BELOW`: for all raters, so that they stay comparable.
    """
    rows = []
    for rater in trial.raters:
        base = Statistic(data.outcome, COX, population=POPULATION, rater=rater)
        rows += _cox_rows(trial, data, base)
        rows += _km_rows(trial, data, replace(base, analysis=KM))
    return [*rows, *_shown_row(data.outcome, rows)]


def _shown_row(outcome: str, rows: Sequence[Statistic]) -> list[Statistic]:
    p = {row.rater: row.stat for row in rows if row.analysis == COX and row.stat_name == "p"}
    shown = any(value < SHOWN_BELOW for value in p.values())
    method = f"halves at the median TLV are reported where the univariable p of a rater is below {SHOWN_BELOW:g}"
    base = Statistic(outcome, KM, population=POPULATION, term=SHOWN, method=method)
    return spread(base, {"shown": (float(shown), "1 = yes")})


def group_curve(trial: TrialData, group: pd.DataFrame) -> pd.DataFrame:
    """Return the Kaplan-Meier curve of some patients, with the interval of the settings."""
    settings = trial.settings
    interval, level = settings.conventions.km_interval, settings.analysis.confidence
    return kaplan_meier(group["time_weeks"], group["event"], interval, level)


def km_curves(trial: TrialData, data: ProgressionData) -> pd.DataFrame:
    """Return every step of the curves: `outcome, rater, arm, term, week, n_risk, n_event, survival, low, high`."""
    frames = []
    for rater in trial.raters:
        for arm, term, group in _groups(trial, data, rater):
            curve = group_curve(trial, group)
            keys = {"outcome": data.outcome, "rater": rater, "arm": arm, "term": term}
            frames.append(curve.assign(**keys)[[*keys, *curve.columns]])
    return pd.concat(frames, ignore_index=True)


def _excluded(patient: object, arm: object, analysis: str, reason: object) -> dict[str, object]:
    return {"patient_id": patient, "arm": arm, "analysis": analysis, "week": "", "reason": reason}


def _cox_rows(trial: TrialData, data: ProgressionData, base: Statistic) -> list[Statistic]:
    ties = trial.settings.conventions.ties
    log_tlv = np.log(data.volumes[base.rater].to_numpy(float))
    level = trial.settings.analysis
    fit = cox_univariable(data.table["time_weeks"], data.table["event"], log_tlv, ties, level.confidence)
    method = f"Cox regression, {ties.capitalize()} ties, Wald {level.level} interval; {_zero_note(trial)}".rstrip("; ")
    keys = replace(base, term="log_tlv", method=method)
    return spread(keys, hazard_values(fit, PER_LOG_ML), not_estimable(fit.problem))


def _zero_note(trial: TrialData) -> str:
    return zero_note(trial, trial.volumes[trial.volumes["week"] == trial.settings.baseline_week])


def _groups(trial: TrialData, data: ProgressionData, rater: str) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield arm, term and patients of each half: the median is the cohort's, applied to each arm."""
    if data.table.empty:
        return
    _, high = above_median(data.volumes[rater].to_numpy(float))
    for arm in trial.settings.arms:
        in_arm = (data.table["arm"] == arm).to_numpy()
        yield arm, LOW, data.table[in_arm & ~high]
        yield arm, HIGH, data.table[in_arm & high]


def _km_rows(trial: TrialData, data: ProgressionData, base: Statistic) -> list[Statistic]:
    if data.table.empty:
        return spread(replace(base, term="median"), {"tlv": (float("nan"), "ml")}, not_estimable("no patients"))
    median, high = above_median(data.volumes[base.rater].to_numpy(float))
    how = "; ".join(filter(None, ("median of all arms", _zero_note(trial))))
    rows = spread(replace(base, term="median", method=how), {"tlv": (median, "ml")})
    interval = trial.settings.conventions.km_interval
    level = trial.settings.analysis.level
    method = f"Kaplan-Meier, {interval} {level} interval, halves at the median TLV of all arms"
    for arm, term, group in _groups(trial, data, base.rater):
        rows += _curve_rows(trial, group, replace(base, arm=arm, term=term, method=method))
    for arm in trial.settings.arms:
        chosen = (data.table["arm"] == arm).to_numpy()
        of_arm = data.table[chosen]
        test = logrank(of_arm["time_weeks"], of_arm["event"], high[chosen])
        stats = {"chisq": (test.chisq, ""), "df": (test.df, ""), "p": (test.p, "")}
        keys = replace(base, arm=arm, term=LOGRANK, method="log-rank test of the halves")
        rows += spread(keys, stats, not_estimable(test.problem))
    return rows


def _curve_rows(trial: TrialData, group: pd.DataFrame, base: Statistic) -> list[Statistic]:
    counts = {"n": (float(len(group)), "patients"), "events": (float(group["event"].sum()), "patients")}
    rows = spread(base, counts)
    curve = group_curve(trial, group)
    for week in (0.0, *(w for w in trial.settings.weeks if w > 0)):
        n_risk, survival, low, high = survival_at(curve, group["time_weeks"], week)
        if n_risk == 0 and np.isnan(survival):
            note = not_estimable(f"nobody was followed to week {week:g}")
        else:
            note = not_estimable("no interval where survival is 0")
        stats = {"survival": survival, "low": low, "high": high}
        rows += spread(
            replace(base, visit=week_text(week)),
            {"n_risk": (float(n_risk), "patients"), **{k: (v, "probability") for k, v in stats.items()}},
            note,
        )
    return rows


def is_shown(endpoints: pd.DataFrame, outcome: str) -> bool:
    """Say whether the halves at the median TLV are reported (`SHOWN_BELOW`)."""
    return value_of(endpoints, endpoint=outcome, analysis=KM, term=SHOWN, stat_name="shown") == 1
