"""T2 volume beside its main analysis: ranked ANCOVA with the last observation carried forward, and MMRM."""

from dataclasses import replace

import numpy as np
import pandas as pd

from nnunet_ms.analysis.endpoints.statistic_rows import Statistic, not_estimable, spread
from nnunet_ms.analysis.endpoints.t2_volume import ENDPOINT, POPULATION, left_out_note
from nnunet_ms.analysis.trial.data import TrialData
from nnunet_ms.analysis.trial.exclusions import exclusion_table
from nnunet_ms.analysis.trial.keys import contrast_text, week_text
from nnunet_ms.analysis.trial.zero_volumes import EXCLUDE, log_ratios, zero_note
from nnunet_ms.statistics.ancova import ranked_ancova
from nnunet_ms.statistics.design_matrix import arm_term, arms_with_patients, design, factor, number, product
from nnunet_ms.statistics.kenward_roger import KenwardRoger, kenward_roger
from nnunet_ms.statistics.mmrm import Mmrm, fit_mmrm

RANKED, MMRM, KENWARD_ROGER = "ranked_ancova_locf", "mmrm", "mmrm_kenward_roger"


def volume_model_statistics(trial: TrialData, table: pd.DataFrame) -> list[Statistic]:
    """Return rows of both models for every rater; `table` from `t2_volume.changes`."""
    rows = []
    whole = with_covariates(trial, table)
    for rater in trial.raters:
        frame = whole[whole["rater"] == rater]
        base = Statistic(ENDPOINT, RANKED, population=POPULATION, rater=rater)
        rows += _ranked_rows(trial, frame, base)
        rows += _mmrm_rows(trial, frame, replace(base, analysis=MMRM))
    return rows


def with_covariates(trial: TrialData, table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with `region`, `age_group`, `log_baseline` and `log_ratio` (`zero_volumes.log_ratios`)."""
    groups = {name: table["patient_id"].map(trial.groups(name)) for name in ("region", "age_group")}
    return log_ratios(trial, table).assign(**groups)


def volume_model_exclusions(trial: TrialData, table: pd.DataFrame) -> pd.DataFrame:
    """Return the visits that the mixed model leaves out: of 0 ml, by the settings, or at a week without an arm."""
    first = trial.raters[0]
    frame = with_covariates(trial, table)
    frame = frame[frame["rater"] == first]
    _, _, weeks = mmrm_design(trial, of_modelled_arms(trial, frame[frame["log_ratio"].notna()]))
    rows = []
    for row in frame.to_dict("records"):
        if np.isnan(row["log_ratio"]) and trial.settings.zero_volume == EXCLUDE:
            reason = "volume 0 ml of a rater: no logarithm"
        elif row["week"] not in weeks:
            reason = "no two patients in every arm at this visit"
        else:
            continue
        keys = {name: row[name] for name in ("patient_id", "arm")}
        rows.append({**keys, "analysis": MMRM, "week": week_text(row["week"]), "reason": reason})
    return exclusion_table(rows)


def mmrm_design(trial: TrialData, frame: pd.DataFrame) -> tuple[np.ndarray, list[str], list[float]]:
    """Return the design arm x visit + log baseline x visit + region + age group, its names, and the visits used.

    Visits without a patient in one of the arms are left out: their contrast does not exist. Arms without any row are
    no part of the model; `of_modelled_arms` leaves out those with one patient.
    """
    arms = arms_with_patients(frame, trial.settings.arms, needed=1)
    weeks = [
        week
        for week in trial.settings.weeks
        if all(((frame["week"] == week) & (frame["arm"] == arm)).sum() > 1 for arm in arms)
    ]
    arm, baseline = arm_term(frame["arm"], arms), number("log baseline", frame["log_baseline"])
    terms = []
    for week in weeks:
        at = number(f"{week:g}", frame["week"] == week)
        terms += [replace(at, names=(f"week {week:g}",)), product(arm, at, " at "), product(baseline, at, " at ")]
    terms += [factor(name, frame[name]) for name in ("region", "age_group")]
    model = design(terms, len(frame), intercept=False)
    return model.X, list(model.names), weeks


def of_modelled_arms(trial: TrialData, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the reference arm and of those arms of which two patients are there."""
    patients = frame.drop_duplicates("patient_id")
    return frame[frame["arm"].isin(arms_with_patients(patients, trial.settings.arms))]


def volume_mmrm(trial: TrialData, frame: pd.DataFrame) -> tuple[Mmrm, list[float]]:
    """Fit the model of log(volume / baseline); `frame` from `with_covariates`, of one rater."""
    usable = of_modelled_arms(trial, frame[frame["log_ratio"].notna()])
    _, _, weeks = mmrm_design(trial, usable)
    usable = usable[usable["week"].isin(weeks)]
    if usable.empty:
        return Mmrm((), 0, 0, *(np.zeros(0),) * 3, problem="no visit with two patients in every arm"), []
    X, names, weeks = mmrm_design(trial, usable)
    return fit_mmrm(usable["log_ratio"], X, usable["patient_id"], usable["week"], names), weeks


def _ranked_rows(trial: TrialData, frame: pd.DataFrame, base: Statistic) -> list[Statistic]:
    last = frame.sort_values("week", kind="stable").groupby("patient_id").tail(1)
    arms = arms_with_patients(last, trial.settings.arms)
    last = last[last["arm"].isin(arms)]
    fit = ranked_ancova(last, "percent_change", arms, "baseline_ml", factors=["region", "age_group"])
    found = {c.term: c for c in fit.contrasts}
    week = week_text(trial.settings.weeks[-1])
    method = "ANCOVA of ranks of change and baseline, region, age group; last observation carried forward"
    method += left_out_note(trial, arms)
    rows = spread(replace(base, term="model", visit=week, method=method), {"n": (float(fit.n), "patients")})
    for arm in trial.settings.compared_arms:
        c = found.get(arm)
        keys = replace(base, contrast=contrast_text(arm, trial.settings.reference_arm), term="arm", visit=week)
        stats = {name: (getattr(c, name) if c else float("nan"), "") for name in ("t", "df", "p")}
        why = not_estimable(fit.problem or f"fewer than 2 patients in arm {arm}")
        rows += spread(replace(keys, method=method), stats, why)
    return rows


def _mmrm_rows(trial: TrialData, frame: pd.DataFrame, base: Statistic) -> list[Statistic]:
    fit, weeks = volume_mmrm(trial, frame)
    zeros = zero_note(trial, trial.volumes[trial.volumes["week"].isin(trial.settings.weeks)])
    terms = "arm x visit, log baseline x visit, region, age group"
    model = f"MMRM of log(TLV / baseline): {terms}; unstructured covariance, REML"
    notes = [zeros] if zeros else []
    notes += [
        f"{name} left out (constant in the data)" for name in ("region", "age_group") if frame[name].nunique() < 2
    ]
    base = replace(base, term="arm", method="; ".join([f"{model}, Satterthwaite df", *notes]))
    rows = spread(
        replace(base, term="model"), {"n": (float(fit.n_patients), "patients"), "rows": (float(fit.n_rows), "")}
    )
    rows += _mixed_contrasts(trial, fit, weeks, fit, base)
    text = "; ".join([f"{model}, Kenward-Roger standard errors and df", *notes])
    return rows + _mixed_contrasts(
        trial, fit, weeks, _adjusted(trial, frame, fit, weeks), replace(base, analysis=KENWARD_ROGER, method=text)
    )


def _adjusted(trial: TrialData, frame: pd.DataFrame, fit: Mmrm, weeks: list[float]) -> KenwardRoger | Mmrm:
    """Return the model with Kenward and Roger's covariance; as it is where nothing was fitted."""
    if fit.problem:
        return fit
    usable = of_modelled_arms(trial, frame[frame["log_ratio"].notna()])
    usable = usable[usable["week"].isin(weeks)]
    return kenward_roger(fit, mmrm_design(trial, usable)[0], usable["patient_id"], usable["week"])


def _mixed_contrasts(
    trial: TrialData, fit: Mmrm, weeks: list[float], tested: Mmrm | KenwardRoger, base: Statistic
) -> list[Statistic]:
    """Return the ratio of geometric means of every compared arm at every visit, with the tests of `tested`."""
    rows = []
    for week in trial.settings.weeks:
        for arm in trial.settings.compared_arms:
            name = f"{arm} at {week:g}"
            point = np.array([float(n == name) for n in fit.names])
            keys = replace(base, contrast=contrast_text(arm, trial.settings.reference_arm), visit=week_text(week))
            there = week in weeks and name in fit.names
            problem = f"fewer than 2 patients in arm {arm}" if week in weeks and not there else ""
            problem = problem or ("" if week in weeks else "no two patients in every arm at this visit")
            c = tested.contrast(point, trial.settings.analysis.confidence) if there else None
            stats = {
                "geometric_mean_ratio": (np.exp(c.estimate) if c else np.nan, "ratio"),
                "low": (np.exp(c.low) if c else np.nan, "ratio"),
                "high": (np.exp(c.high) if c else np.nan, "ratio"),
                "se_log": (c.se if c else np.nan, ""),
                "df": (c.df if c else np.nan, ""),
                "p": (c.p if c else np.nan, ""),
            }
            rows += spread(keys, stats, not_estimable(problem or fit.problem or (c.problem if c else "")))
    return rows
