"""Refuse trial presets that describe no trial: rates and shares out of range, effects that leave [0, 1]."""

from dataclasses import fields, is_dataclass

import numpy as np

from nnunet_ms.errors import SettingsError
from nnunet_ms.simulation.model.cohort import enhancing_share
from nnunet_ms.simulation.model.presets import TrialPreset

SIGNED = ("log_tlv_slope", "bias", "male", "us", "edss_below_4", "age_per_year", "log_ratio", "per_log_tlv", "log_risk")
POSITIVE = ("patients", "tlv_median_ml", "tlv_truncation_sd", "new_lesion_dispersion", "median_s")
SHARES = ("black_hole_share", "female_share", "us_share", "edss_fluctuation", "edss_spikes", "missed_share")


def check_preset(preset: TrialPreset) -> None:
    """Raise SettingsError naming the preset's first value that no trial can have."""
    for name, value in _numbers(preset):
        key = name.split(".")[-1]
        if not np.isfinite(value):
            _refuse(preset, name, "a finite number", value)
        if key in POSITIVE and value <= 0:
            _refuse(preset, name, "a number > 0", value)
        if key in SHARES and not 0 <= value <= 1:
            _refuse(preset, name, "a probability in [0, 1]", value)
        if key not in SIGNED and value < 0:
            _refuse(preset, name, "a number >= 0", value)
    _check_arms(preset)


def _check_arms(preset: TrialPreset) -> None:
    names = [arm.name for arm in preset.arms]
    if len(set(names)) != 2 or len(names) != 2 or set(preset.allocation) != set(names):
        _refuse(preset, "arms, allocation", "two arms, each in the allocation", (names, preset.allocation))
    for weeks in (preset.mri_weeks, preset.assessment_weeks):
        if len(weeks) < 2 or weeks[0] != 0 or list(weeks) != sorted(set(weeks)):
            _refuse(preset, "mri_weeks, assessment_weeks", "rising weeks from 0", weeks)
    for hazard in (preset.edss, preset.t25fw.hazard, preset.nhpt.hazard):
        if len(hazard.log_ratio) != len(names) or len(hazard.per_log_tlv) != len(names):
            _refuse(preset, "hazard", "one log_ratio and one per_log_tlv per arm", hazard)
    for arm, shares in zip(preset.arms, enhancing_share(preset), strict=True):
        if shares.max() > 1:
            found = f"{shares.max():.3g} of the new T2 lesions of arm {arm.name}"
            _refuse(preset, "arms.enhancing", "a share of the new lesions in [0, 1]", found)


def _numbers(value: object, name: str = "") -> list[tuple[str, float]]:
    if isinstance(value, bool | str):
        return []
    if isinstance(value, int | float):
        return [(name, float(value))]
    if isinstance(value, tuple):
        return [pair for item in value for pair in _numbers(item, name)]
    if is_dataclass(value):
        return [
            pair for f in fields(value) for pair in _numbers(getattr(value, f.name), f"{name}.{f.name}".lstrip("."))
        ]
    return []


def _refuse(preset: TrialPreset, name: str, expected: str, found: object) -> None:
    raise SettingsError(f"preset {preset.name}: {name}: expected {expected}, found {found}. Correct the preset.")
