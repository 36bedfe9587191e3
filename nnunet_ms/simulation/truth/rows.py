"""What a perfect analysis of an endless trial would find: the rows of `truth.json`.

The strings are those of `endpoints.csv`, so that a report can put estimate and truth side by side.
"""

from functools import cache
from typing import Any

import numpy as np

from nnunet_ms.simulation.model.presets import TrialPreset
from nnunet_ms.simulation.model.trial_presets import WEEKS_PER_YEAR
from nnunet_ms.simulation.truth.progression import Row, progression_rows

# endpoint -> the rates of `Arm` whose sum it counts
COUNTS = {
    "enhancing_lesions": ("enhancing",),
    "new_t1_lesions": ("new_t1",),
    "new_t2_lesions": ("new_lesions",),
    "enlarging_t2_lesions": ("enlarging",),
    "new_or_enlarging_t2_lesions": ("new_lesions", "enlarging"),
}
GROWTH_ENDPOINTS = tuple(name for name, rates in COUNTS.items() if "enlarging" in rates)


def truth_rows(preset: TrialPreset) -> list[Row]:
    """Rows of the true statistics of a preset, in a fixed order, to ten digits.

    Numerical libraries sum in another order from process to process (threads, where memory lies), so that further
    digits would make two files of one trial differ.

    Examples
    --------
    >>> from nnunet_ms.simulation.model.trial_presets import DEMO
    >>> row = truth_rows(DEMO)[0]
    >>> row["endpoint"], row["arm"], row["visit"], round(row["stat"], 2)
    ('t2_volume_percent_change', 'placebo', '24', 3.82)
    """
    return [{name: _to_ten_digits(value) for name, value in row.items()} for row in _rows(preset)]


def _to_ten_digits(value: Any) -> Any:
    return float(f"{value:.10g}") if isinstance(value, float) else value


@cache  # seconds of integration, and the same for every trial of a preset
def _rows(preset: TrialPreset) -> tuple[Row, ...]:
    progression = progression_rows(preset, _contrast(preset))
    return (*_volume_rows(preset), *_count_rows(preset), *progression)


def mean_percent_change(preset: TrialPreset, arm: int, week: int) -> float:
    """Return the expected percent change of T2 volume from baseline: the mean of a log-normal variable.

    Examples
    --------
    >>> from nnunet_ms.simulation.model.trial_presets import DEMO
    >>> round(mean_percent_change(DEMO, arm=0, week=96), 2), round(mean_percent_change(DEMO, arm=1, week=96), 2)
    (16.4, -8.36)
    """
    years = week / WEEKS_PER_YEAR
    variance = (preset.tlv_slope_sd * years) ** 2 + preset.tlv_visit_sd**2
    return float(100 * np.expm1(preset.arms[arm].log_tlv_slope * years + variance / 2))


def _row(how: str, **values: str | float) -> Row:
    row: Row = dict.fromkeys(("endpoint", "analysis", "arm", "contrast", "visit", "term", "stat_name", "unit"), "")
    return row | values | {"how": how}


def _contrast(preset: TrialPreset) -> str:
    return f"{preset.arms[1].name} - {preset.arms[0].name}"


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
    rows.append(_row(randomised, **common, **place, stat_name="difference", stat=separation))
    return [*rows, *_ratio_rows(preset), *_reader_rows(preset, separation)]


def _ratio_rows(preset: TrialPreset) -> list[Row]:
    """What the mixed model estimates at every visit: arms differ by their slopes on the log scale."""
    gap = preset.arms[1].log_tlv_slope - preset.arms[0].log_tlv_slope
    place: Any = {"endpoint": "t2_volume_percent_change", "analysis": "mmrm", "contrast": _contrast(preset)}
    return [
        _row(
            "Closed form: exponential of the difference of the arms' slopes times the years.",
            **place,
            term="arm",
            visit=str(week),
            stat_name="geometric_mean_ratio",
            stat=float(np.exp(gap * week / WEEKS_PER_YEAR)),
        )
        for week in preset.mri_weeks[1:]
    ]


def _reader_rows(preset: TrialPreset, separation: float) -> list[Row]:
    """Separation seen by the simulated reader minus the true one: noise of two visits inflates every mean ratio."""
    how = "Closed form: separation x (exp(visit_log_sd^2) - 1), by the reader's noise at both visits."
    gap = separation * float(np.expm1(preset.reader.visit_log_sd**2))
    place: Any = {"endpoint": "effect_agreement", "contrast": _contrast(preset), "visit": str(preset.mri_weeks[-1])}
    names = ("t2_volume_separation", "t2_volume_ancova")
    return [
        _row(how, **place, analysis=name, stat_name="difference", stat=gap, unit="percentage points") for name in names
    ]


def _count_rows(preset: TrialPreset) -> list[Row]:
    """Rate ratios: the frailty has the same law in both arms, so it cancels whatever the covariates."""
    how = "Ratio of the arms' rates {}; the log link leaves it unchanged by covariates and by the patients' frailty."
    rows = []
    for endpoint, names in COUNTS.items():
        reference, compared = (sum(float(getattr(arm, name)) for name in names) for arm in preset.arms[:2])
        of = how.format("per scan" if endpoint == "enhancing_lesions" else "per year")
        if reference > 0:
            place: Any = {"endpoint": endpoint, "analysis": "negative_binomial", "contrast": _contrast(preset)}
            rows.append(_row(of, **place, stat_name="rate_ratio", stat=compared / reference, unit=""))
    return rows
