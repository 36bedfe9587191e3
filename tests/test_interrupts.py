"""Ctrl-C while a command works: one line, exit code 130, no process and no half-written file left."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import numpy as np
import pandas as pd
import pytest

from nnunet_ms.images.volumes import write_volume
from tests.analysis.synthetic_trial import SETTINGS, write_trial

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")]
AFFINE = np.diag([1.0, 1.0, 3.0, 1.0])


def start(module, arguments, folder):
    """Start a command in a session of its own, with the signals as a shell leaves them."""
    return subprocess.Popen(
        [sys.executable, "-c", f"import sys; from {module} import main; sys.exit(main(sys.argv[1:]))", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # pytest may run where it is ignored
    )


def alive(session):
    """Processes of a session; those that have ended, but nobody has asked how, are none."""
    table = subprocess.run(["ps", "-A", "-o", "sess=,pid=,stat=,args="], check=True, capture_output=True, text=True)
    rows = [line.split(maxsplit=3) for line in table.stdout.splitlines()]
    return [row for row in rows if row[0] == str(session) and not row[2].startswith("Z")]


def is_there(folder, sign):
    with suppress(FileNotFoundError):  # a folder went while it was looked into
        return any(folder.glob(sign))
    return False


def interrupt(module, arguments, folder, sign, *, to_all, later_s=0.0):
    """Interrupt a command some time after it has made `sign`; return its exit code, output and errors."""
    process = start(module, arguments.split(), folder)
    try:
        while not is_there(folder, sign):
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        time.sleep(later_s)
        (os.killpg if to_all else os.kill)(process.pid, signal.SIGINT)  # a terminal sends it to all
        output, errors = process.communicate(timeout=60)
        deadline = time.monotonic() + 10
        while alive(process.pid) and time.monotonic() < deadline:  # the one that removes semaphores is a little later
            time.sleep(0.05)
        assert alive(process.pid) == []
    finally:
        for _, pid, *_ in alive(process.pid):
            os.kill(int(pid), signal.SIGKILL)
        process.communicate()
    return process.returncode, output, errors


@pytest.mark.parametrize(("workers", "to_all"), [(1, True), (2, True), (2, False)])
def test_simulate(tmp_path, workers, to_all):
    arguments = f"phantom --patients 4 --workers {workers} -o out"
    found = interrupt("nnunet_ms.simulation.cli", arguments, tmp_path, "out/images/*/.partial*", to_all=to_all)
    line = (
        "nnunet-ms-simulate: interrupted. Visits that are complete are kept. Repeat the command to make the others.\n"
    )
    assert found == (130, "", line)
    assert list(tmp_path.rglob(".partial*")) == []


@pytest.mark.parametrize(("workers", "to_all"), [(1, False), (2, True)])
def test_evaluate(tmp_path, workers, to_all):
    mask = (np.random.default_rng(0).random((128, 128, 40)) > 0.8).astype(np.uint8)
    for name in (f"c{number:02}" for number in range(30)):
        for folder in ("p", "r"):
            write_volume(tmp_path / folder / f"{name}.nii.gz", mask, AFFINE)
    arguments = f"--predictions p --references r --workers {workers} -o out"
    found = interrupt("nnunet_ms.analysis.evaluate_cli", arguments, tmp_path, ".partial-out-*", to_all=to_all)
    line = "Folders are complete or as they were before. Repeat the command to start again.\n"
    assert found == (130, "", f"nnunet-ms-evaluate: interrupted. {line}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p", "r"]


@pytest.mark.parametrize(("workers", "to_all"), [(1, False), (2, True)])
def test_convert(tmp_path, workers, to_all):
    image = np.random.default_rng(0).random((128, 128, 40)).astype(np.float32)
    rows = []
    for patient in (f"P{number}" for number in range(8)):
        write_volume(tmp_path / f"{patient}.nii.gz", image, AFFINE)
        write_volume(tmp_path / f"{patient}_mask.nii.gz", (image > 0.9).astype(np.uint8), AFFINE)
        rows.append((patient, "base", 0, f"{patient}.nii.gz", f"{patient}_mask.nii.gz"))
    columns = ["patient_id", "visit", "week", "flair", "t2_lesions"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "manifest.csv", index=False)
    arguments = f"trial manifest.csv --channels flair --dataset-id 5 --raw raw --n4 --workers {workers}"
    found = interrupt(
        "nnunet_ms.dataset_conversion.cli", arguments, tmp_path, "raw/.partial*/memory/*.json", to_all=to_all
    )
    line = "nnunet-ms-convert: interrupted. Cases that are written are kept aside. Repeat the command to go on.\n"
    assert found == (130, "", line)
    assert [path.name for path in (tmp_path / "raw").iterdir()] == [".partial-Dataset005_Trial-resume"]


def test_endpoints(tmp_path):
    settings = write_trial(tmp_path, SETTINGS.replace("bootstrap_draws = 20", "bootstrap_draws = 100000"))
    arguments = f"run {settings.name} -o out"
    found = interrupt("nnunet_ms.analysis.endpoints_cli", arguments, tmp_path, "*.toml", to_all=True, later_s=5)
    line = "The output is as it was before. Repeat the command to start again.\n"
    assert found == (130, "", f"nnunet-ms-endpoints: interrupted. {line}")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("to_all", [True, False])
def test_demo_and_its_stage(tmp_path, to_all):
    found = interrupt("nnunet_ms.demo", "--quick -o out", tmp_path, "out/trial/images", to_all=to_all)
    line = "nnunet-ms-demo: interrupted. Stages that are done are kept. Repeat the command to go on.\n"
    assert found == (130, "[1/9] simulate a trial ... \n", line)
    assert "nnunet-ms-simulate: interrupted." in (tmp_path / "out" / "logs" / "simulate_a_trial.log").read_text()
