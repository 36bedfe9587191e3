"""What a perfect analysis of an endless trial would find: the rows of `truth.json`.

The strings are those of `endpoints.csv`, so that a report can put estimate and truth side by side.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from nnunet_ms.simulation.cohort import (
    WEEKS_PER_YEAR,
    Indices,
    Numbers,
    draw_arms,
    draw_baseline,
    draw_onset,
    log_hazard_ratio,
)
from nnunet_ms.simulation.presets import TrialPreset

PATIENTS = 100_000  # the standard error of the log hazard ratio is then about 0.01
SEED = 0  # the truth belongs to the preset, not to one trial's seed
CONFIRMATION_WEEKS = 24

Row = dict[str, str | float]


def truth_rows(preset: TrialPreset) -> list[Row]:
    """Rows of the true statistics of a preset, in a fixed order."""
    return [*_volume_rows(preset), *_progression_rows(preset)]


def mean_percent_change(preset: TrialPreset, arm: int, week: int) -> float:
    """Return the expected percent change of T2 volume from baseline: the mean of a log-normal variable."""
    years = week / WEEKS_PER_YEAR
    variance = (preset.tlv_slope_sd * years) ** 2 + preset.tlv_visit_sd**2
    return float(100 * np.expm1(preset.arms[arm].log_tlv_slope * years + variance / 2))


def cox_log_hazard_ratio(time: Numbers, event: npt.NDArray[np.bool_], x: Numbers) -> float:
    """Log hazard ratio of one covariate: Cox regression with Efron's ties [1]_, Newton's method.

    Parameters
    ----------
    time : (n,) float array
        Few distinct values: visits, not days.
    event : (n,) bool array
    x : (n,) float array

    References
    ----------
    .. [1] Efron B. J Am Stat Assoc 72:557-565, 1977. doi:10.1080/01621459.1977.10480613
    """
    beta, x = 0.0, x - x.mean()
    for _ in range(20):
        score, information = _efron(beta, time, event, x)
        beta += score / information
        if abs(score / information) < 1e-9:
            break
    return beta


def _row(how: str, **values: str | float) -> Row:
    row: Row = dict.fromkeys(("endpoint", "analysis", "arm", "contrast", "visit", "term", "stat_name"), "")
    return row | values | {"how": how}


def _volume_rows(preset: TrialPreset) -> list[Row]:
    how = "Closed form: mean of a log-normal variable with the arm's slope and the variances of slope and visit."
    rows = []
    common: Any = {"endpoint": "t2_volume_percent_change", "unit": "%"}
    for week in preset.mri_weeks[1:]:
        means = [mean_percent_change(preset, arm, week) for arm in range(len(preset.arms))]
        for arm, mean in zip(preset.arms, means, strict=True):
            place = {"analysis": "by_visit", "arm": arm.name, "visit": str(week)}
            rows.append(_row(how, **common, **place, stat_name="mean", stat=mean))
        place = {"analysis": "by_visit", "contrast": _contrast(preset), "visit": str(week)}
        separation = means[1] - means[0]
        rows.append(
            _row(how + " Difference of the two arms.", **common, **place, stat_name="separation", stat=separation)
        )
    place |= {"analysis": "ancova", "term": "arm"}
    randomised = "The separation: randomised arms, and the change is independent of the model's other covariates."
    return [*rows, _row(randomised, **common, **place, stat_name="difference", stat=separation)]


def _progression_rows(preset: TrialPreset) -> list[Row]:
    rng = np.random.default_rng(SEED)
    arm = draw_arms(preset, PATIENTS, rng)
    baseline = draw_baseline(preset, PATIENTS, rng)
    log_ratio = log_hazard_ratio(preset, arm, baseline.log_tlv)
    onset = draw_onset(preset.progressions_per_year, log_ratio, rng)
    time, event = observed_progression(preset, onset, baseline.discontinued_week)
    hazard_ratio = float(np.exp(cox_log_hazard_ratio(time, event, baseline.log_tlv)))
    how = f"Cox regression (Efron) of confirmed progression in {PATIENTS} patients simulated from the same model."
    place: Any = {"endpoint": "cdp24", "analysis": "cox_univariable", "term": "log_tlv"}
    cox = _row(how, **place, stat_name="hazard_ratio", stat=hazard_ratio, unit="per log ml")
    return [cox, *_survival_rows(preset, arm, baseline.log_tlv, log_ratio)]


def observed_progression(
    preset: TrialPreset, onset_week: Numbers, discontinued_week: Numbers
) -> tuple[Numbers, npt.NDArray[np.bool_]]:
    """Week and flag of progression confirmed after 24 weeks, (n,) each.

    Onset is dated at the first assessment that shows it; patients without a confirmed one are censored at their
    last assessment, as the trials do.
    """
    weeks = np.array(preset.assessment_weeks, dtype=float)
    attended = weeks[np.searchsorted(weeks, np.minimum(discontinued_week, weeks[-1]), side="right") - 1]
    first = np.searchsorted(weeks, onset_week)
    shown = np.append(weeks, np.inf)[first]
    event = shown + CONFIRMATION_WEEKS <= attended
    return np.where(event, shown, attended), event


def _survival_rows(preset: TrialPreset, arm: Indices, log_tlv: Numbers, log_ratio: Numbers) -> list[Row]:
    week = min(preset.mri_weeks[-1], preset.assessment_weeks[-1] - CONFIRMATION_WEEKS)
    survival = np.exp(-preset.progressions_per_year * np.exp(log_ratio) * week / WEEKS_PER_YEAR)
    low = log_tlv <= np.log(preset.tlv_median_ml)
    how = f"Mean of exp(-hazard x time) over {PATIENTS} patients simulated from the same model; true median volume."
    rows = []
    for index, name in enumerate(a.name for a in preset.arms):
        for term, half in (("tlv <= median", low), ("tlv > median", ~low)):
            stat = float(survival[half & (arm == index)].mean())
            place: Any = {"endpoint": "cdp24", "analysis": "km_at_median_tlv", "arm": name, "visit": str(week)}
            rows.append(_row(how, **place, term=term, stat_name="survival", stat=stat, unit=""))
    return rows


def _contrast(preset: TrialPreset) -> str:
    return f"{preset.arms[1].name} - {preset.arms[0].name}"


def _efron(beta: float, time: Numbers, event: npt.NDArray[np.bool_], x: Numbers) -> tuple[float, float]:
    """Score and information of the partial likelihood at `beta`."""
    risk = np.exp(beta * x)
    moments = np.stack([risk, risk * x, risk * x**2])
    score = information = 0.0
    for week in np.unique(time[event]):
        tied = event & (time == week)
        fraction = np.arange(tied.sum()) / tied.sum()
        at_risk, dying = moments[:, time >= week].sum(axis=1), moments[:, tied].sum(axis=1)
        s0, s1, s2 = at_risk[:, None] - fraction * dying[:, None]
        score += float(x[tied].sum() - (s1 / s0).sum())
        information += float((s2 / s0 - (s1 / s0) ** 2).sum())
    return score, information
