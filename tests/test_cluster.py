"""A Dask cluster that is lost, kills its workers or has other versions: one line, and no case is blamed."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from nnunet_ms import cluster
from nnunet_ms.errors import MachineError, SettingsError
from nnunet_ms.parallel import Dask, map_cases

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


def kill(number, culprit, process=0):
    if number == culprit:
        os.kill(process or os.getpid(), signal.SIGKILL)
        time.sleep(5)
    return number


@pytest.mark.slow
def test_workers_that_are_killed_again_and_again():
    with pytest.raises(MachineError, match=r"case P\d: workers of the cluster were killed again and again"):
        map_cases(partial(kill, culprit=2), range(4), lambda number: f"P{number}", workers=Dask("local:1"))


def dask(kind, *arguments):
    command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *arguments, "--no-dashboard"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment)


@pytest.fixture
def scheduler(tmp_path):
    """A scheduler with one worker: its process and its address."""
    file = tmp_path / "scheduler.json"
    processes = [dask("scheduler", "--port", "0", "--scheduler-file", str(file))]
    processes.append(dask("worker", "--scheduler-file", str(file), "--nthreads", "1", "--no-nanny"))
    while not file.is_file() or not file.read_text():
        time.sleep(0.1)
    from distributed import Client

    with Client(scheduler_file=str(file)) as client:
        client.wait_for_workers(1, timeout=60)
        address = client.scheduler.address
    yield processes[0], address
    for process in processes:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_a_scheduler_that_goes(scheduler, capfd):
    process, address = scheduler
    assert map_cases(kill_none, range(3), workers=Dask(address)).results == [0, 1, 2]
    with pytest.raises(MachineError, match=r"case \d: the cluster's scheduler is gone. Start it, and repeat"):
        map_cases(partial(kill, culprit=2, process=process.pid), range(8), workers=Dask(address))
    assert capfd.readouterr().err == ""


kill_none = partial(kill, culprit=-1)


class FakeClient:
    """Answers as `distributed.Client` does, with one thing changed."""

    def __init__(self, place="", program="", number=""):
        self.machines = {name: self.machine() for name in ("client", "scheduler", "worker")}
        self.ours = {"tcp://a:1": cluster._our_version()}
        if program == "nnunet-ms":
            self.ours = {"tcp://a:1": number}
        elif program == "Python":
            self.machines[place]["host"]["python"] = number
        elif program:
            self.machines[place]["packages"][program] = number

    @staticmethod
    def machine():
        return {"host": {"python": "3.11.7.final.0"}, "packages": {"distributed": "2026.8.0"}}

    def get_versions(self):
        client, scheduler, worker = self.machines.values()
        return {"client": client, "scheduler": scheduler, "workers": {"tcp://a:1": worker}}

    def run(self, function):
        return self.ours


@pytest.mark.parametrize(
    ("place", "program", "number", "line"),
    [
        ("worker", "Python", "3.10.2.final.0", "expected Python 3.11 as here, found 3.10 on worker tcp://a:1. Install"),
        ("scheduler", "distributed", "2024.1.0", "expected distributed 2026.8.0 as here, found 2024.1.0 on the sched"),
        ("worker", "distributed", "None", "found None on worker tcp://a:1"),
        ("worker", "nnunet-ms", "0.1.0", r"expected nnunet-ms [\d.]+\S* as here, found 0.1.0 on worker"),
        ("worker", "nnunet-ms", "none", "found none on worker"),
    ],
)
def test_other_versions_are_one_line(place, program, number, line):
    with pytest.raises(SettingsError, match=line):
        cluster._check_versions(FakeClient(place, program, number), "tcp://a:0")


def test_the_same_versions_say_nothing():
    cluster._check_versions(FakeClient("worker", "Python", "3.11.9.final.0"), "tcp://a:0")


def test_the_environment_of_this_process_stays_as_it_was(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    before = dict(os.environ)
    with cluster.connected("local:1") as client:
        assert client.submit(int, 1).result() == 1
    assert dict(os.environ) == before
