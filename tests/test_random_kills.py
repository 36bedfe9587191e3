"""Every command killed at random moments and repeated; `benchmarks/random_kills.py` does it twenty times each."""

import importlib.util
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is a signal of POSIX")]


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


kills = load(Path(__file__).resolve().parents[1] / "benchmarks" / "random_kills.py")


# Oracle: a run that nothing disturbs.
@pytest.mark.parametrize("name", kills.COMMANDS)
def test_a_killed_command_that_is_repeated_leaves_what_an_undisturbed_one_leaves(tmp_path, name):
    assert kills.try_command(kills.COMMANDS[name], kills=2, seed=15, place=tmp_path).wrong == ()
