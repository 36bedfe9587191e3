import pytest

from nnunet_ms.analysis.trial.outcomes import PRESETS
from nnunet_ms.analysis.trial.settings import read_settings
from nnunet_ms.errors import SettingsError
from tests.analysis.synthetic_trial import SETTINGS, write_trial


def settings(tmp_path, *changes):
    text = SETTINGS
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return write_trial(tmp_path, text)


def test_everything_is_read(tmp_path):
    found = read_settings(settings(tmp_path))
    assert found.arms == ("placebo", "active")
    assert (found.baseline_week, found.weeks) == (0.0, (24.0, 48.0, 96.0))
    assert found.tables.visits == (tmp_path / "visits.csv",)
    assert found.rule == PRESETS["krishnan2023"]
    assert (found.conventions.ties, found.conventions.km_interval) == ("efron", "log")


def test_sas_convention_and_single_choices(tmp_path):
    path = settings(tmp_path, ('[conventions]\npreset = "r"', '[conventions]\npreset = "sas"\nkm_interval = "plain"'))
    found = read_settings(path).conventions
    assert (found.ties, found.km_interval, found.ls_mean_weights) == ("breslow", "plain", "equal")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("zero_volume", "zero_volum", r"\[lesions\] has an unknown key 'zero_volum'.*Did you mean zero_volume"),
        ("[lesions]", "[lesion]", r"unknown section \[lesion\].*Did you mean lesions"),
        ('reference = "placebo"', "", r"\[arms\] needs reference"),
        ("simulated = true", 'simulated = "yes"', r"simulated: expected true or false, found 'yes'"),
        ("simulated = true", "simulated = false", "truth names the truth of a simulation"),
        ('"exclude"', '"ignore"', r"zero_volume: expected one of .*'half_smallest_positive', 'exclude'"),
        ("[24, 48, 96]", "[48, 24]", "expected rising weeks"),
        ("[24, 48, 96]", "[0, 24]", "after baseline_week 0"),
        ("[24, 48, 96]", '["24"]', r"weeks: expected a list such as \[24, 48, 96\]"),
        ("[24, 48, 96]", "24", r"weeks: expected a list such as"),
        ("baseline_week = 0", "baseline_week = [0]", "baseline_week: expected a number"),
        ('["active"]', '["placebo"]', "names an arm twice"),
        ('["active"]', "[]", "compared: expected a list"),
        ('preset = "krishnan2023"', 'preset = "opra"', "expected one of .*'opera'"),
        ('preset = "krishnan2023"', "", r"\[disability\] needs preset"),
        ('["cdp24"]', '["cdp42"]', "outcomes: expected some of .*Did you mean cdp24"),
        ('preset = "opera2"', 'preset = "mine"', r"\[trial\] preset: expected one of"),
        ("[conventions]", "relapse_onset_weeks = 4\n[conventions]", "names no relapses"),
        ("[trial]", "[trial", "expected a TOML file"),
        ("[trial]", "conventions = 3\n[trial]", None),
    ],
)
def test_mistakes_are_named(tmp_path, old, new, message):
    with pytest.raises(SettingsError, match=message or "expected"):
        read_settings(settings(tmp_path, (old, new)))


def test_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(SettingsError, match=r"no such settings file.*init"):
        read_settings(tmp_path / "trial.toml")
