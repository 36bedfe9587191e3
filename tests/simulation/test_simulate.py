"""Oracle: the command's files (tests/simulation/test_cli.py looks into them)."""

from typing import get_args

import pytest

from nnunet_ms.errors import SettingsError
from nnunet_ms.simulation.cli import main
from nnunet_ms.simulation.model.presets import GRIDS
from nnunet_ms.simulation.model.trial_presets import PRESETS
from nnunet_ms.simulation.simulate import GridName, Preset, simulate


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_function_writes_what_the_command_writes(tmp_path):
    trial = simulate(str(tmp_path / "function"), "opera2", 3, seed=5)
    assert main(["trial", "--preset", "opera2", "--patients", "3", "--seed", "5", "-o", str(tmp_path / "command")]) == 0
    assert trial.failures == []
    assert trial.settings == tmp_path / "function" / "trial.toml"
    assert contents(trial.folder) == contents(tmp_path / "command")


def test_the_words_of_the_types_are_those_that_there_are():
    assert set(get_args(Preset)) == set(PRESETS)
    assert set(get_args(GridName)) == set(GRIDS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"preset": "opera"},
            "preset: expected one of 'demo', 'opera1', 'opera2', 'oratorio', 'olympus', found 'opera'",
        ),
        ({"grid": "coarse"}, "grid: expected one of .*'demo'.*found 'coarse'"),
        ({"patients": 0}, "patients: expected a whole number >= 1, found 0"),
        ({"seed": -1}, "seed: expected a whole number >= 0, found -1"),
        ({"qsm": True}, "qsm: expected images beside it, found none"),
    ],
)
def test_bad_arguments_write_nothing(tmp_path, options, message):
    with pytest.raises(SettingsError, match=message):
        simulate(tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_misspelt_argument_is_answered_with_the_name_that_was_meant(tmp_path):
    with pytest.raises(TypeError, match=r"simulate: unknown argument 'patient'\. Did you mean 'patients'"):
        simulate(tmp_path / "out", patient=3)
