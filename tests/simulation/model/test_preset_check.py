"""Presets that describe no trial are refused with one line."""

from dataclasses import replace

import pytest

from nnunet_ms.errors import SettingsError
from nnunet_ms.simulation.model.preset_check import check_preset
from nnunet_ms.simulation.model.presets import Hazard
from nnunet_ms.simulation.model.trial_presets import DEMO, PRESETS
from nnunet_ms.simulation.trial import TrialSettings, write_trial


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_our_presets_are_good(name):
    check_preset(PRESETS[name])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"female_share": 1.2}, r"female_share: expected a probability in \[0, 1\], found 1.2"),
        ({"edss": Hazard(-0.1, (0.0, 0.0), (0.0, 0.0))}, r"edss.per_year: expected a number >= 0, found -0.1"),
        ({"edss": Hazard(0.1, (0.0,), (0.0, 0.0))}, "one log_ratio and one per_log_tlv per arm"),
        ({"tlv_slope_sd": float("nan")}, "tlv_slope_sd: expected a finite number"),
        ({"patients": 0}, "patients: expected a number > 0"),
        ({"arms": (DEMO.arms[0], replace(DEMO.arms[1], enhancing=0.9))}, r"share of the new lesions in \[0, 1\]"),
        ({"arms": (DEMO.arms[0], replace(DEMO.arms[1], new_lesions=-0.3))}, "arms.new_lesions: expected a number >= 0"),
        ({"arms": DEMO.arms[:1]}, "two arms"),
        ({"mri_weeks": (0, 96, 24)}, "rising weeks from 0"),
    ],
)
def test_impossible_presets_are_refused_and_nothing_is_written(change, message, tmp_path):
    preset = replace(DEMO, **change)
    with pytest.raises(SettingsError, match=message):
        write_trial(TrialSettings(preset, 4, 0, "demo", images=False), tmp_path / "out")
    assert not (tmp_path / "out").exists()
