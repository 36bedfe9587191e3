import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from nnunet_ms.errors import SettingsError
from nnunet_ms.images.volumes import write_volume
from nnunet_ms.locks import HAS_LOCKS, locked, sole_run
from nnunet_ms.outputs import resumable_folder, whole_file, whole_folder
from tests.analysis.synthetic_trial import SETTINGS, write_trial


@pytest.mark.parametrize("hold", [sole_run, whole_folder, resumable_folder])
def test_the_second_run_is_refused_and_leaves_the_first_alone(tmp_path, hold):
    target = tmp_path / "deep" / "out"
    with hold(target):
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(SettingsError, match="out: another run is writing it"), hold(target):
            pass
        assert sorted(tmp_path.rglob("*")) == before
    with hold(target.with_name("later")):
        pass
    assert [path for path in tmp_path.rglob(".*") if path.name != "."] == []


def test_a_folder_made_for_nothing_goes(tmp_path):
    with sole_run(tmp_path / "a" / "b"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_one_of_many_holds_the_lock_at_a_time(tmp_path):
    # Oracle: a plain counter that only its holder may raise. Threads open files of their own, as processes do.
    inside, most, held = [], [], []

    def compete():
        for _ in range(300):
            try:
                with locked(tmp_path / "lock", tmp_path / "out"):
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()
                    held.append(1)
            except SettingsError:
                continue

    threads = [threading.Thread(target=compete) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert len(held) > 10
    assert list(tmp_path.iterdir()) == []


def simulate(folder):
    from nnunet_ms.simulation.cli import main

    return main(["trial", "--patients", "4", "-o", str(folder)])


def simulate_phantom(folder):
    from nnunet_ms.simulation.cli import main

    return main(["phantom", "-o", str(folder)])


def demonstrate(folder):
    from nnunet_ms.demo import main

    return main(["--quick", "-o", str(folder)])


def evaluate(folder):
    from nnunet_ms.analysis.evaluate_cli import main

    for kind in ("p", "r"):
        write_volume(folder.parent / kind / "c1.nii.gz", np.ones((4, 4, 4), np.uint8), np.eye(4))
    masks = ["--predictions", str(folder.parent / "p"), "--references", str(folder.parent / "r")]
    return main([*masks, "-o", str(folder)])


def endpoints(folder):
    from nnunet_ms.analysis.endpoints_cli import main

    return main(["run", str(write_trial(folder.parent, SETTINGS)), "-o", str(folder)])


@pytest.mark.parametrize(
    ("command", "hold"),
    [
        (simulate, sole_run),
        (simulate_phantom, sole_run),
        (demonstrate, sole_run),
        (evaluate, whole_folder),
        (endpoints, whole_folder),
    ],
)
def test_every_command_refuses_a_second_run_by_one_line(tmp_path, capsys, command, hold):
    with hold(tmp_path / "out"):
        assert command(tmp_path / "out") == 2
    errors = capsys.readouterr().err
    assert errors.endswith("out: another run is writing it at this moment. Wait for it, or end it.\n")
    assert errors.count("\n") == 1
    assert not (tmp_path / "out" / "truth.json").exists()


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(SettingsError, match="expected a folder, found a file"), sole_run(tmp_path / "out"):
        pass


@pytest.mark.skipif(not HAS_LOCKS, reason="a system without locks")
def test_a_program_that_was_given_the_lock_holds_it_when_its_parent_is_killed(tmp_path):
    code = """
import os, subprocess, sys
from pathlib import Path
from nnunet_ms.locks import sole_run
with sole_run(Path("out")) as lock:
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    print(subprocess.Popen(sleep, pass_fds=lock, stdout=subprocess.DEVNULL).pid, flush=True)
    os._exit(9)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 9
    with pytest.raises(SettingsError, match="out: another run is writing it"), sole_run(tmp_path / "out", wait_s=0.2):
        pass
    os.kill(int(done.stdout), signal.SIGKILL)  # and it is gone a little later
    with sole_run(tmp_path / "out", wait_s=30):
        assert (tmp_path / "out" / ".lock").exists()


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="a system without /proc")
@pytest.mark.parametrize("write", [sole_run, whole_folder, whole_file, resumable_folder])
@pytest.mark.parametrize("place", ["/proc/x", "/proc/1/x"])
def test_a_place_that_takes_no_files_is_a_mistake_of_the_user(write, place):
    with pytest.raises(SettingsError, match="expected a place that can be written"), write(Path(place)):
        pass
