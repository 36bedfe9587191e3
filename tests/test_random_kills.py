"""Every command killed at random moments and repeated; `benchmarks/random_kills.py` does it twenty times each."""

import importlib.util
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
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
@pytest.mark.parametrize("name", [name for name in kills.COMMANDS if name != "demo"])  # minutes each: the script's
def test_a_killed_command_that_is_repeated_leaves_what_an_undisturbed_one_leaves(tmp_path, name):
    assert kills.try_command(kills.COMMANDS[name], kills=2, seed=15, place=tmp_path).wrong == ()


def kill_workers(process, most):
    """Kill worker processes of a command whenever there are some, as the system does it when memory runs out."""
    killed = 0
    while process.poll() is None:
        if killed < most:
            with suppress(psutil.NoSuchProcess, ProcessLookupError):
                for child in psutil.Process(process.pid).children():
                    if "spawn_main" in " ".join(child.cmdline()):
                        os.kill(child.pid, signal.SIGKILL)
                        killed += 1
                        break
        time.sleep(0.05)
    return killed


def convert(folder):
    command = kills.COMMANDS["convert"]
    command.prepare(folder)
    return command, command.start(folder, command.arguments)


def test_a_conversion_whose_workers_are_killed_publishes_nothing_and_goes_on_later(tmp_path):
    command, process = convert(tmp_path)
    assert kill_workers(process, most=10_000) >= 2
    errors = process.stderr.read().decode()
    process.stderr.close()
    assert process.returncode == 2
    assert errors.count("\n") == 1
    assert "the process that worked on it was killed, and again when it was the only one" in errors
    assert [path.name for path in (tmp_path / "raw").iterdir()] == [".partial-Dataset005_Trial-resume"]
    assert command.finish(tmp_path, repeated=True) == ""
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["Dataset005_Trial"]


def test_a_conversion_one_of_whose_workers_is_killed_leaves_no_case_out(tmp_path):
    _, process = convert(tmp_path)
    assert kill_workers(process, most=1) == 1
    errors = process.stderr.read().decode()
    process.stderr.close()
    assert (process.returncode, errors) == (0, "")
    assert len(list((tmp_path / "raw" / "Dataset005_Trial" / "labelsTr").iterdir())) == 8
