"""A process that is killed costs time and no case; other faults of the machine end the work, and no case is blamed."""

import errno
import os
import signal
import sys
from functools import partial

import pytest

from nnunet_ms.errors import ImageError, MachineError
from nnunet_ms.parallel import Dask, attempt, executor, map_cases
from nnunet_ms.processes import WorkerKilledError, map_in_processes

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


def name(number):
    return f"P{number}"


def square(number, culprit, folder, times):
    """Square a number; the culprit's process is killed, as the system does it when memory runs out, a few times."""
    if number == culprit:
        (folder / f"kill {len(list(folder.iterdir()))}").touch()
        if len(list(folder.iterdir())) <= times:
            os.kill(os.getpid(), signal.SIGKILL)
    return number * number


# Oracle: the squares. With 4 processes there are three rounds: 4, 2, 1.
@pytest.mark.parametrize(("times", "workers"), [(1, 2), (1, 4), (2, 4)])
def test_cases_of_a_killed_process_are_tried_again(tmp_path, times, workers):
    outcome = map_cases(partial(square, culprit=5, folder=tmp_path, times=times), range(9), name, workers=workers)
    assert outcome.results == [number**2 for number in range(9)]
    assert outcome.failures == []
    assert len(list(tmp_path.iterdir())) == times + 1


@pytest.mark.parametrize("workers", [2, 5])
def test_a_case_that_always_kills_its_process_is_named_and_no_case_is_left_out(tmp_path, workers, capfd):
    kill = partial(square, culprit=5, folder=tmp_path, times=99)
    with pytest.raises(MachineError, match=r"case P5: the process .* was killed, .* Use fewer --workers") as raised:
        map_cases(kill, range(9), name, workers=workers)
    assert "\n" not in str(raised.value)
    assert capfd.readouterr().err == ""


def test_what_was_done_before_the_kill_is_not_done_again(tmp_path):
    found = []
    kill = partial(square, culprit=3, folder=tmp_path, times=99)
    with pytest.raises(WorkerKilledError, match="case number 3"):
        found.extend(map_in_processes(kill, range(4), 2, failed=repr))
    numbers = [number for number, _ in found]
    assert len(numbers) == len(set(numbers))
    assert 3 not in numbers


def test_a_single_job_whose_process_is_killed_is_no_failure_of_its_case(tmp_path):
    def hand_over():
        with executor(2) as (places, _):
            attempt("P5", places.submit(square, 5, 5, tmp_path, 99).result)

    with pytest.raises(MachineError, match="case P5: the process that had it was killed"):
        hand_over()


def reading_without_handles():
    """An error as `read_volume` makes it when there are no file handles left: it looks like a damaged file."""
    try:
        raise OSError(errno.EMFILE, "Too many open files", "m.nii.gz")
    except OSError as error:
        raise ImageError("m.nii.gz: truncated or damaged") from error


def fail(number, kind):
    if number != 2:
        return number
    if kind == "handles":
        reading_without_handles()
    if kind == "memory":
        raise MemoryError
    raise OSError(getattr(errno, kind), os.strerror(getattr(errno, kind)), "out.csv")


FAULTS = {
    "handles": "case P2: Too many open files. Use fewer --workers",
    "memory": "case P2: out of memory. Use fewer --workers",
    "ENOSPC": "case P2: out.csv: No space left on device. .* make room",
    "EDQUOT": "case P2: out.csv: Disk quota exceeded. .* make room",
    "EROFS": "case P2: out.csv: Read-only file system",
    "ENOMEM": "case P2: out of memory",
}


@pytest.mark.parametrize(("kind", "line"), FAULTS.items(), ids=FAULTS)
def test_faults_of_the_machine_are_no_failures_of_cases(kind, line):
    with pytest.raises(MachineError, match=line):
        map_cases(partial(fail, kind=kind), range(4), name)
    with pytest.raises(MachineError, match=line):
        attempt("P2", fail, 2, kind)


TORCH = {  # as torch 2 words them
    "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 7.79 GiB": "on the device.*-device",
    "MPS backend out of memory (MPS allocated: 8.83 GB, other allocations: 256 KB)": "on the device.*-device",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`": "on the device.*-device",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED": "on the device.*-device",
    "[enforce fail at alloc_cpu.cpp:113] data. DefaultCPUAllocator: can't allocate memory": r"of memory\. Use fewer",
}


@pytest.mark.parametrize(("text", "line"), TORCH.items(), ids=[text[:12] for text in TORCH])
def test_a_device_without_room_is_no_failure_of_its_case(text, line):
    def predict():
        raise RuntimeError(text)

    with pytest.raises(MachineError, match=f"case P2: out of memory.*{line}|case P2: out {line}"):
        attempt("P2", predict)


@pytest.mark.parametrize("workers", [2, Dask("local:1")], ids=str)
def test_such_faults_are_told_across_processes(workers):
    with pytest.raises(MachineError, match=FAULTS["handles"]):
        map_cases(partial(fail, kind="handles"), range(4), name, workers=workers)


@pytest.mark.parametrize("kind", ["EIO", "ENOENT", "EACCES"])
def test_a_file_that_cannot_be_read_is_its_cases_failure(kind):
    outcome = map_cases(partial(fail, kind=kind), range(4), name)
    assert outcome.results == [0, 1, 3]
    assert [failure.case for failure in outcome.failures] == ["P2"]
