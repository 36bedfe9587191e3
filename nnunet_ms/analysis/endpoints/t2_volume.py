"""Endpoint: percent change of T2 lesion volume by arm and visit, and the treatment effect at the last visit."""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from nnunet_ms.analysis.endpoints.statistic_rows import Statistic, not_estimable, spread
from nnunet_ms.analysis.trial.data import TrialData
from nnunet_ms.analysis.trial.exclusions import exclusion_table
from nnunet_ms.analysis.trial.keys import contrast_text, week_text
from nnunet_ms.statistics.ancova import Ancova, ancova
from nnunet_ms.statistics.change_from_baseline import mean_change, percent_change, separation
from nnunet_ms.statistics.design_matrix import arms_with_patients

ENDPOINT = "t2_volume_percent_change"
BY_VISIT, ANCOVA, ROBUST = "by_visit", "ancova", "ancova_hc2"
POPULATION = "baseline and follow-up mask of every rater"
TINY_ML = 0.01  # ten voxels of 1 mm: below it a percent change says little
POINTS = "percentage points"
NAN = float("nan")


def changes(trial: TrialData) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return percent changes (as `change_from_baseline.percent_change`) and the patients without one.

    A baseline of 0 ml in one rater excludes the patient for all raters: a percent change of it does not exist, and
    raters are compared on the same patients.
    """
    volumes, settings = trial.volumes, trial.settings
    empty = volumes[(volumes["week"] == settings.baseline_week) & (volumes["volume_ml"] <= 0)]
    listed = [
        {
            "patient_id": patient,
            "arm": rows["arm"].iloc[0],
            "analysis": ENDPOINT,
            "week": week_text(settings.baseline_week),
            "reason": f"baseline volume 0 ml ({', '.join(rows['rater'])}): no percent change",
        }
        for patient, rows in empty.groupby("patient_id")
    ]
    usable = volumes[~volumes["patient_id"].isin(empty["patient_id"])]
    return percent_change(usable, settings.baseline_week, settings.weeks), exclusion_table(listed)


def t2_volume_statistics(trial: TrialData, table: pd.DataFrame) -> list[Statistic]:
    """Return the rows of this endpoint for every rater.

    Parameters
    ----------
    trial : TrialData
        Gives arms, weeks, covariates and conventions.
    table : pandas.DataFrame
        From `changes`.
    """
    rows = []
    for rater in trial.raters:
        of_rater = table[table["rater"] == rater]
        base = Statistic(ENDPOINT, BY_VISIT, population=POPULATION, rater=rater)
        for week in trial.settings.weeks:
            rows += _visit(trial, of_rater[of_rater["week"] == week], replace(base, visit=week_text(week)))
        last = of_rater[of_rater["week"] == trial.settings.weeks[-1]]
        rows += _model(trial, last, replace(base, analysis=ANCOVA, visit=week_text(trial.settings.weeks[-1])))
    return rows


def _visit(trial: TrialData, table: pd.DataFrame, base: Statistic) -> list[Statistic]:
    values = {arm: table.loc[table["arm"] == arm, "percent_change"].to_numpy(float) for arm in trial.settings.arms}
    rows = []
    for arm, sample in values.items():
        found = mean_change(sample)
        stats = {"n": (found.n, "patients"), "mean": (found.mean, "%"), "sd": (found.sd, "%"), "se": (found.se, "%")}
        note = not_estimable(f"{found.n} patient{'s' * (found.n != 1)}")
        rows += spread(replace(base, arm=arm, method="observed cases"), stats, note)
    reference = trial.settings.reference_arm
    for arm in trial.settings.compared_arms:
        gap = separation(values[arm], values[reference], trial.settings.analysis.confidence)
        gaps = {"separation": gap.estimate, "se": gap.se, "low": gap.low, "high": gap.high}
        method = f"difference of means, Welch {trial.settings.analysis.level} interval"
        keys = replace(base, contrast=contrast_text(arm, reference), method=method)
        rows += spread(keys, {name: (value, POINTS) for name, value in gaps.items()}, not_estimable(gap.problem))
    return rows


def _model(trial: TrialData, table: pd.DataFrame, base: Statistic) -> list[Statistic]:
    weights = trial.settings.conventions.ls_mean_weights
    covariates = trial.patients.set_index("patient_id")
    frame = pd.DataFrame(
        {
            "arm": table["arm"],
            "percent_change": table["percent_change"],
            "baseline_tlv": table["baseline_ml"],
            "region": table["patient_id"].map(covariates["region"]),
            "age_group": table["patient_id"].map(trial.groups("age_group")),
        }
    )
    arms = arms_with_patients(frame, trial.settings.arms)
    frame, level = frame[frame["arm"].isin(arms)], trial.settings.analysis.confidence
    fit = ancova(frame, "percent_change", arms, ["baseline_tlv"], ["region", "age_group"], weights, level)
    method = _method(fit, weights) + left_out_note(trial, arms) + _tiny_note(frame)
    keys = replace(base, method=method)
    return [
        *spread(replace(keys, term="model"), {"n": (fit.n, "patients")}),
        *_contrast_rows(fit, trial, keys),
        *_mean_rows(fit, trial, keys),
        *_covariate_rows(fit, keys),
        *_robust_rows(fit, trial, keys),
    ]


def left_out_note(trial: TrialData, arms: Sequence[str]) -> str:
    """Say which arms a model does without, because fewer than two of their patients are there."""
    gone = [arm for arm in trial.settings.arms if arm not in arms]
    return f"; left out: {', '.join(gone)} (fewer than 2 patients)" if gone else ""


def _tiny_note(frame: pd.DataFrame) -> str:
    """Say whose baseline is next to nothing: a percent change from it may be of any size."""
    tiny = frame[frame["baseline_tlv"] < TINY_ML]
    if tiny.empty:
        return ""
    largest = tiny["percent_change"].abs().max()
    return (
        f"; {len(tiny)} baseline{'s' * (len(tiny) != 1)} below {TINY_ML:g} ml, the smallest "
        f"{tiny['baseline_tlv'].min():.3g} ml, with changes up to {largest:.4g} %"
    )


def _robust_rows(fit: Ancova, trial: TrialData, keys: Statistic) -> list[Statistic]:
    """Return the same estimates with standard errors that hold where arms differ in variance."""
    text = f"{keys.method}; HC2 standard errors, Bell-McCaffrey degrees of freedom"
    robust = replace(
        fit, contrasts=fit.contrasts_robust, means=fit.means_robust, problem=fit.problem or fit.robust_problem
    )
    beside = replace(keys, analysis=ROBUST, method=text)
    return [*_contrast_rows(robust, trial, beside), *_mean_rows(robust, trial, beside)]


def _method(fit: Ancova, weights: str) -> str:
    text = f"ANCOVA: arm, baseline TLV, region, age group; LS means with {weights} weights; observed cases"
    return text + "".join(f"; {name} left out (constant in the data)" for name in fit.dropped)


def _contrast_rows(fit: Ancova, trial: TrialData, keys: Statistic) -> list[Statistic]:
    rows = []
    found = {c.term: c for c in fit.contrasts}
    for arm in trial.settings.compared_arms:
        c = found.get(arm)
        base = replace(keys, contrast=contrast_text(arm, trial.settings.reference_arm), term="arm")
        stats = {
            "difference": (c.estimate if c else NAN, POINTS),
            "se": (c.se if c else NAN, POINTS),
            "t": (c.t if c else NAN, ""),
            "df": (c.df if c else NAN, ""),
            "p": (c.p if c else NAN, ""),
            "low": (c.low if c else NAN, POINTS),
            "high": (c.high if c else NAN, POINTS),
        }
        rows += spread(base, stats, not_estimable(fit.problem or f"fewer than 2 patients in arm {arm}"))
    return rows


def _mean_rows(fit: Ancova, trial: TrialData, keys: Statistic) -> list[Statistic]:
    rows = []
    found = {m.arm: m for m in fit.means}
    for arm in trial.settings.arms:
        m = found.get(arm)
        values = (m.estimate, m.se, m.low, m.high) if m else (NAN,) * 4
        stats = {name: (value, "%") for name, value in zip(("ls_mean", "se", "low", "high"), values, strict=True)}
        why = fit.problem or f"fewer than 2 patients in arm {arm}"
        rows += spread(replace(keys, arm=arm), stats, not_estimable(why))
    return rows


def _covariate_rows(fit: Ancova, keys: Statistic) -> list[Statistic]:
    rows = []
    for c in fit.covariates:
        unit = f"{POINTS} per ml" if c.term == "baseline_tlv" else POINTS
        rows += spread(
            replace(keys, term=c.term), {"coefficient": (c.estimate, unit), "se": (c.se, unit), "p": (c.p, "")}
        )
    return rows
