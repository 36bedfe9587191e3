"""A process killed while it exports costs no case. Oracle: the export in this process."""

import os
import signal
import sys
import time
from dataclasses import replace

import pytest

from nnunet_ms.errors import ImageError, MachineError
from nnunet_ms.parallel import Failure
from nnunet_ms.trainers.prediction.export import Spooled, export_case
from nnunet_ms.trainers.prediction.exports import exporting
from nnunet_ms.trainers.prediction.tiles import Prediction
from tests.trainers.prediction.test_export import job, volume  # noqa: F401 - a fixture

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is a signal of POSIX")]


class Killer:
    """Kills the process that unpickles it, as the system does it when memory runs out, a few times."""

    def __init__(self, folder, times):
        self.arguments = folder, times

    def __reduce__(self):
        return kill, self.arguments


def kill(folder, times):
    folder.mkdir(exist_ok=True)
    for number in range(times):
        try:
            (folder / f"kill {number}").touch(exist_ok=False)
        except FileExistsError:
            continue
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


def run(job, workers, killers):  # noqa: F811
    """Export cases c0, c1, ...; some have a killer among what they are sent with."""
    case, grid, properties, settings = job
    found = []
    with exporting(workers, settings) as exports:
        for number, killer in enumerate(killers):
            spooled = Spooled(
                replace(case, case_id=f"c{number}"),
                grid,
                properties | ({"killer": killer} if killer else {}),
                settings.out / f"c{number}.npz",
            )
            found += exports.add(spooled, time.monotonic(), Prediction(volume(2, number), None, None))
        found += exports.finished()
    return found


def test_exports_of_a_killed_process_are_done_again(job, tmp_path):  # noqa: F811
    found = run(job, 3, [None, Killer(tmp_path / "kills", 1), None, None])
    case, grid, properties, settings = job
    assert sorted(done.case.case_id for done in found) == ["c0", "c1", "c2", "c3"]
    for number, done in enumerate(sorted(found, key=lambda done: done.case.case_id)):
        again = replace(settings, out=tmp_path / "oracle")
        prediction = Prediction(volume(2, number), None, None)
        assert done.result == pytest.approx(export_case(prediction, case, grid, properties, again))
        assert (settings.out / f"c{number}.nii.gz").is_file()
    assert list(settings.out.glob("*.npz")) == []


def test_a_case_that_always_kills_its_process_ends_the_work_and_is_named(job, tmp_path):  # noqa: F811
    with pytest.raises(MachineError, match=r"case c1: the process that worked on it was killed, and again .*--workers"):
        run(job, 2, [None, Killer(tmp_path / "kills", 99), None])


def test_a_case_that_fails_is_told_with_its_reason(job, monkeypatch):  # noqa: F811
    def refuse(*_):
        raise ImageError("a_1: no such grid")

    monkeypatch.setattr("nnunet_ms.trainers.prediction.exports.export_case", refuse)
    found = run(job, 1, [None])
    assert found[0].result == Failure("c0", "a_1: no such grid")
