"""Confirmed progression by arm: Kaplan-Meier, log-rank, Cox, each also stratified, and restricted mean time.

Every patient of the patient table with a derived outcome takes part; no lesion mask is needed, so there is no rater.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from nnunet_ms.analysis.endpoints.progression_by_t2_volume import group_curve
from nnunet_ms.analysis.endpoints.statistic_rows import Statistic, hazard_values, not_estimable, spread
from nnunet_ms.analysis.trial.assessments import baseline_conflicts
from nnunet_ms.analysis.trial.data import TrialData
from nnunet_ms.analysis.trial.keys import contrast_text, week_text
from nnunet_ms.analysis.trial.settings import FLAT_STEPS
from nnunet_ms.disability.confirmed_progression import OUTCOMES, measures_of
from nnunet_ms.statistics.cox import Cox, Ties, fit_cox
from nnunet_ms.statistics.cox_firth import firth_cox
from nnunet_ms.statistics.survival import (
    logrank,
    mean_time_difference,
    median_time,
    restricted_mean,
    survival_at,
)
from nnunet_ms.statistics.survival_quantiles import quantile_time, survival_difference

COX, COX_STRATIFIED = "cox_by_arm", "cox_by_arm_stratified"
KM, RMST, ORIGIN, CONFLICTS = "km_by_arm", "rmst", "time_origin", "baseline_conflicts"
QUARTILES, LANDMARK = "km_quartiles", "km_landmark"
SHARES = {"25 % with event": 0.25, "50 % with event": 0.5, "75 % with event": 0.75}
LOGRANK, LOGRANK_STRATIFIED = "logrank", "logrank_stratified"
POPULATION = "all patients with the outcome derived"


def usable(audit: pd.DataFrame) -> pd.DataFrame:
    """Return the patients whose outcome could be derived (`outcomes.derive_progression`)."""
    return audit[audit["time_weeks"].notna()].reset_index(drop=True)


def strata_of(trial: TrialData, table: pd.DataFrame) -> np.ndarray | None:
    """Return one stratum per row, all strata of the settings crossed; None where there are none."""
    names = trial.settings.analysis.strata
    if not names:
        return None
    parts = [table["patient_id"].map(trial.groups(name)).astype(str) for name in names]
    return np.array([" / ".join(values) for values in zip(*parts, strict=True)])


def hazard_ratio(
    table: pd.DataFrame,
    arm: str,
    reference: str,
    ties: Ties,
    strata: np.ndarray | None = None,
    confidence: float = 0.95,
) -> tuple[Cox, str]:
    """Compare two arms; with an arm without an event, by Firth's penalised likelihood.

    Returns
    -------
    Cox, and the name of the method.
    """
    chosen = table["arm"].isin([arm, reference]).to_numpy()
    two = table[chosen]
    within = None if strata is None else strata[chosen]
    x = (two["arm"] == arm).to_numpy(float)[:, None]
    time, event = two["time_weeks"].to_numpy(float), two["event"].to_numpy(bool)
    lacking = [a for a in (arm, reference) if not (event & (two["arm"] == a).to_numpy()).any()]
    if len(lacking) == 1 and len(set(two["arm"])) == 2:
        found = firth_cox(time, event, x, ["arm"], "arm", ties, within, confidence)
        how = f"Firth's penalised likelihood, {ties.capitalize()} ties, profile interval"
        return found, f"{how} (no event in arm {lacking[0]})"
    fit = fit_cox(time, event, x, ["arm"], ties, within).term("arm", confidence)
    return fit, f"Cox regression, {ties.capitalize()} ties, Wald interval"


def treatment_statistics(trial: TrialData, outcome: str, audit: pd.DataFrame) -> Iterator[Statistic]:
    """Yield the rows of one outcome by arm; `audit` from `composite_outcomes.derive_outcome`."""
    table = usable(audit)
    base = Statistic(outcome, KM, population=POPULATION)
    yield from _origin_rows(trial, replace(base, analysis=ORIGIN))
    yield from _conflict_rows(trial, replace(base, analysis=CONFLICTS))
    yield from _curve_rows(trial, table, base)
    yield from _landmark_rows(trial, table, replace(base, analysis=LANDMARK))
    strata = strata_of(trial, table)
    named = f"strata: {', '.join(trial.settings.analysis.strata)}"
    yield from _logrank_tests(trial, table, None, replace(base, term=LOGRANK, method="log-rank test"), "")
    if strata is not None:
        keys = replace(base, term=LOGRANK_STRATIFIED, method="stratified log-rank test")
        yield from _logrank_tests(trial, table, strata, keys, f"; {named}")
    yield from _cox_rows(trial, table, None, replace(base, analysis=COX, term="arm"), "")
    if strata is not None:
        yield from _cox_rows(trial, table, strata, replace(base, analysis=COX_STRATIFIED, term="arm"), f"; {named}")
    yield from _mean_rows(trial, table, replace(base, analysis=RMST))


def curves_by_arm(trial: TrialData, audit: pd.DataFrame) -> pd.DataFrame:
    """Return every step: `arm, week, n_risk, n_event, survival, low, high`."""
    table = usable(audit)
    frames = []
    for arm in trial.settings.arms:
        of_arm = table[table["arm"] == arm]
        curve = group_curve(trial, of_arm)
        frames.append(curve.assign(arm=arm)[["arm", *curve.columns]])
    return pd.concat(frames, ignore_index=True)


def _origin_rows(trial: TrialData, base: Statistic) -> list[Statistic]:
    """Say which day the times of ADTTE count from, unless the dates of every record say day 0."""
    origin = trial.time_origins.get(base.endpoint)
    if origin is None or origin.plain:
        return []
    return spread(replace(base, method=origin.note), {"first_day": (float(origin.day), "day")})


def _conflict_rows(trial: TrialData, base: Statistic) -> list[Statistic]:
    """Say in how many patients EDSS at week 0 is not the baseline of the patient table, and which of them counts."""
    derived = base.endpoint not in trial.times and base.endpoint in OUTCOMES
    if not derived or "edss" not in measures_of(OUTCOMES[base.endpoint]):
        return []
    table = baseline_conflicts(trial.patients, trial.assessments)
    if table.empty:
        return []
    method = (
        "EDSS at week 0 differs from edss_baseline of the patient table, by up to "
        f"{table['difference'].abs().max():g}; edss_baseline is the baseline; the patients are in "
        "audit/baseline_conflicts.csv"
    )
    return spread(replace(base, method=method), {"n": (float(len(table)), "patients")})


def _curve_rows(trial: TrialData, table: pd.DataFrame, base: Statistic) -> Iterator[Statistic]:
    interval = trial.settings.conventions.km_interval
    for arm in trial.settings.arms:
        of_arm = table[table["arm"] == arm]
        curve = group_curve(trial, of_arm)
        keys = replace(base, arm=arm, method=f"Kaplan-Meier, {interval} {trial.settings.analysis.level} interval")
        counts = {"n": (float(len(of_arm)), "patients"), "events": (float(of_arm["event"].sum()), "patients")}
        yield from spread(keys, counts)
        step = trial.settings.conventions.median_of_flat_step
        flat = replace(keys, method=f"median time; flat step at one half: {FLAT_STEPS[step]}")
        why = not_estimable(_not_reached(curve, 0.5))
        yield from spread(flat, {"median": (median_time(curve, step), "weeks")}, why)
        yield from _quartile_rows(trial, curve, replace(keys, analysis=QUARTILES))
        for week in (0.0, *(w for w in trial.settings.weeks if w > 0)):
            n_risk, survival, low, high = survival_at(curve, of_arm["time_weeks"], week)
            nobody = n_risk == 0 and np.isnan(survival)
            note = f"nobody was followed to week {week:g}" if nobody else "no interval where survival is 0"
            values = {"survival": survival, "low": low, "high": high}
            stats = {"n_risk": (float(n_risk), "patients"), **{k: (v, "probability") for k, v in values.items()}}
            yield from spread(replace(keys, visit=week_text(week)), stats, not_estimable(note))


def _not_reached(curve: pd.DataFrame, share: float) -> str:
    lowest = float(curve["survival"].min()) if len(curve) else 1.0
    text = {0.75: "three quarters", 0.5: "one half", 0.25: "one quarter"}[share]
    if not len(curve):
        return "nobody was followed"
    return f"survival stays at {text} to the end" if abs(lowest - share) < 1e-12 else f"survival stays above {text}"


def _quartile_rows(trial: TrialData, curve: pd.DataFrame, base: Statistic) -> Iterator[Statistic]:
    """Yield the times by which a quarter, a half and three quarters have the event, with their intervals."""
    conventions, level = trial.settings.conventions, trial.settings.analysis.level
    step = conventions.median_of_flat_step
    method = (
        f"Kaplan-Meier quartile, Brookmeyer-Crowley {level} interval on the {conventions.km_interval} scale; flat step "
        f"at the share: {FLAT_STEPS[step]}"
    )
    for term, share in SHARES.items():
        found = quantile_time(curve, share, step)
        stats = {"time": (found.estimate, "weeks"), "low": (found.low, "weeks"), "high": (found.high, "weeks")}
        why = (
            "the limits of survival do not reach it" if np.isfinite(found.estimate) else _not_reached(curve, 1 - share)
        )
        yield from spread(replace(base, term=term, method=method), stats, not_estimable(why))


def _landmark_rows(trial: TrialData, table: pd.DataFrame, base: Statistic) -> Iterator[Statistic]:
    """Yield the difference of the shares free of the event at every visit of the plan."""
    analysis, reference = trial.settings.analysis, trial.settings.reference_arm
    method = f"difference of Kaplan-Meier estimates, Greenwood variances, Wald {analysis.level} interval"
    curves = {arm: group_curve(trial, table[table["arm"] == arm]) for arm in trial.settings.arms}
    for arm in trial.settings.compared_arms:
        for week in (w for w in trial.settings.weeks if w > 0):
            gap = survival_difference(curves[arm], curves[reference], week, analysis.confidence)
            stats = {
                "difference": (gap.estimate, "probability"), "low": (gap.low, "probability"),
                "high": (gap.high, "probability"), "se": (gap.se, "probability"), "p": (gap.p, ""),
            }  # fmt: skip
            keys = replace(base, contrast=contrast_text(arm, reference), visit=week_text(week), method=method)
            yield from spread(keys, stats, not_estimable(gap.problem))


def logrank_contrast(trial: TrialData, arm: str) -> str:
    """Return the contrast of an arm's log-rank test: blank where there is one compared arm, and so one test."""
    return contrast_text(arm, trial.settings.reference_arm) if len(trial.settings.compared_arms) > 1 else ""


def _logrank_tests(
    trial: TrialData, table: pd.DataFrame, strata: np.ndarray | None, base: Statistic, note: str
) -> Iterator[Statistic]:
    """Yield the test of all arms and, where several are compared, that of each with the reference."""
    compared = trial.settings.compared_arms
    omnibus = f" (omnibus: whether any of {len(compared) + 1} differs)" if len(compared) > 1 else ""
    yield from _logrank_rows(table, strata, replace(base, method=f"{base.method} of all arms{omnibus}{note}"))
    for arm in compared if omnibus else ():
        two = table["arm"].isin([arm, trial.settings.reference_arm]).to_numpy()
        keys = replace(base, contrast=logrank_contrast(trial, arm), method=f"{base.method} of two arms{note}")
        yield from _logrank_rows(table[two], None if strata is None else strata[two], keys)


def _logrank_rows(table: pd.DataFrame, strata: np.ndarray | None, base: Statistic) -> list[Statistic]:
    test = logrank(table["time_weeks"], table["event"], table["arm"], strata)
    stats = {"chisq": (test.chisq, ""), "df": (test.df, ""), "p": (test.p, "")}
    return spread(base, stats, not_estimable(test.problem))


def _cox_rows(
    trial: TrialData, table: pd.DataFrame, strata: np.ndarray | None, base: Statistic, note: str
) -> Iterator[Statistic]:
    reference = trial.settings.reference_arm
    for arm in trial.settings.compared_arms:
        ties, level = trial.settings.conventions.ties, trial.settings.analysis.confidence
        fit, method = hazard_ratio(table, arm, reference, ties, strata, level)
        keys = replace(base, contrast=contrast_text(arm, reference), method=method + note)
        yield from spread(keys, hazard_values(fit), not_estimable(fit.problem))


def _mean_rows(trial: TrialData, table: pd.DataFrame, base: Statistic) -> Iterator[Statistic]:
    """Up to the last week that every arm reaches, at most the last visit."""
    arms = {arm: table[table["arm"] == arm] for arm in trial.settings.arms}
    reached = min((float(t["time_weeks"].max()) for t in arms.values() if len(t)), default=0.0)
    horizon = min(reached, trial.settings.weeks[-1])
    level = trial.settings.analysis.confidence
    method = f"restricted mean time up to week {horizon:g}, Wald {trial.settings.analysis.level} interval"
    found = {arm: restricted_mean(t["time_weeks"], t["event"], horizon, level) for arm, t in arms.items()}
    for arm, mean in found.items():
        stats = {"mean_time": (mean.estimate, "weeks"), "low": (mean.low, "weeks"), "high": (mean.high, "weeks")}
        yield from spread(replace(base, arm=arm, method=method), stats, not_estimable(mean.problem))
    reference = trial.settings.reference_arm
    for arm in trial.settings.compared_arms:
        gap = mean_time_difference(found[arm], found[reference], level)
        stats = {
            "difference": (gap.estimate, "weeks"), "low": (gap.low, "weeks"), "high": (gap.high, "weeks"),
            "p": (gap.p, ""),
        }  # fmt: skip
        keys = replace(base, contrast=contrast_text(arm, reference), method=method)
        yield from spread(keys, stats, not_estimable(gap.problem))
