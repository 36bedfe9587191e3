"""Commands that a command runs: logs, exit codes, and how they are ended."""

import os
import sys
import threading
import time

import pytest

from nnunet_ms.programs import UnwantedError, end_of_log, executable, run_logged


def python(code):
    return [sys.executable, "-c", code]


@pytest.mark.parametrize("code", [0, 1, 3])
def test_output_and_errors_are_in_the_log_and_the_exit_code_comes_back(tmp_path, code):
    text = (
        f"import os, sys; print(os.environ['NAME'], flush=True); print(os.getcwd(), file=sys.stderr); sys.exit({code})"
    )
    (tmp_path / "in").mkdir()
    environment = {**os.environ, "NAME": "of the environment"}
    assert run_logged(python(text), tmp_path / "in", tmp_path / "logs" / "a.log", environment) == code
    first, *rest = (tmp_path / "logs" / "a.log").read_text().splitlines()
    assert first.startswith("$ ")
    assert rest == ["of the environment", str((tmp_path / "in").resolve())]


def test_what_nobody_wants_any_more_is_ended(tmp_path):
    def wanted():
        return not (tmp_path / "started").exists()

    code = "import time; open('started', 'w').close(); time.sleep(600)"
    began = time.monotonic()
    with pytest.raises(UnwantedError):
        run_logged(python(code), tmp_path, tmp_path / "a.log", os.environ, wanted=wanted)
    assert time.monotonic() - began < 60


def test_it_ends_in_a_thread_too(tmp_path):
    found = []
    code = "print('done')"
    thread = threading.Thread(
        target=lambda: found.append(run_logged(python(code), tmp_path, tmp_path / "a.log", os.environ))
    )
    thread.start()
    thread.join()
    assert found == [0]
    assert end_of_log(tmp_path / "a.log", lines=1) == "done"


def test_scripts_of_this_environment_are_found_without_activation():
    assert executable(["no-such-program", "-x"]) == ["no-such-program", "-x"]
    assert executable(["python"])[0].startswith(os.path.dirname(sys.executable))  # noqa: PTH120 - as executable does
