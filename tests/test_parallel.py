import multiprocessing
import threading
import time

import pytest

from nnunet_ms.errors import ImageError, SettingsError
from nnunet_ms.parallel import Dask, Failure, attempt, executor, map_cases


def square(x):
    if x == 3:
        raise ImageError("image 3: damaged")
    if x == 5:
        raise KeyError("a bug")
    return x * x


@pytest.mark.parametrize("workers", [1, 2, Dask("local:1")], ids=str)
def test_order_is_kept_and_bad_cases_do_not_stop_the_others(workers):
    outcome = map_cases(square, range(8), name=lambda x: f"case {x}", workers=workers)
    assert outcome.results == [0, 1, 4, 16, 36, 49]
    assert [f.case for f in outcome.failures] == ["case 3", "case 5"]
    assert outcome.failures[0].reason == "image 3: damaged"
    assert outcome.failures[0].traceback == ""
    assert "KeyError" in outcome.failures[1].reason
    assert "in square" in outcome.failures[1].traceback


def test_no_cases():
    assert map_cases(square, []).results == []


def test_one_call_gives_its_result_or_the_failure():
    assert attempt("case 2", square, 2) == 4
    assert attempt("case 3", square, x=3) == Failure("case 3", "image 3: damaged")
    bug = attempt("case 5", square, 5)
    assert (bug.case, bug.reason) == ("case 5", "KeyError: 'a bug'")
    assert "in square" in bug.traceback


def test_an_interrupt_is_no_failure_of_a_case():
    def interrupted(_):
        raise KeyboardInterrupt("by hand")

    with pytest.raises(KeyboardInterrupt, match="by hand"):
        map_cases(interrupted, [1])


def begin_and_fail(folder):
    with executor(2) as (pool, _):
        future = pool.submit(wait_and_tidy_up, folder)
        while not (folder / "begun").exists():
            assert not future.done()
            time.sleep(0.02)
        raise ZeroDivisionError("meanwhile")


def wait_and_tidy_up(folder):
    """Wait longer than any test, and leave a file when ended before."""
    try:
        (folder / "begun").touch()
        time.sleep(600)
    finally:
        (folder / "tidied up").touch()


def test_jobs_under_way_are_ended_with_the_block_and_tidy_up(tmp_path):
    started = time.monotonic()
    with pytest.raises(ZeroDivisionError, match="meanwhile"):
        begin_and_fail(tmp_path)
    assert (tmp_path / "tidied up").exists()
    assert time.monotonic() - started < 300
    assert multiprocessing.active_children() == []


def test_a_process_that_another_thread_takes_leave_of_does_not_look_alive(tmp_path, monkeypatch):
    """Whoever waits second for an ended child learns nothing: here always the caller, which must wait for the first."""
    join = multiprocessing.process.BaseProcess.join

    def learn_nothing_here(process, timeout=None):
        if threading.current_thread() is not threading.main_thread():
            join(process, timeout)

    monkeypatch.setattr(multiprocessing.process.BaseProcess, "join", learn_nothing_here)
    with pytest.raises(ZeroDivisionError, match="meanwhile"):
        begin_and_fail(tmp_path)
    assert not [thread for thread in threading.enumerate() if type(thread).__name__ == "_ExecutorManagerThread"]


def test_dask_keeps_only_a_window_of_cases_in_flight_and_loses_none():
    outcome = map_cases(str, list(range(40)), workers=Dask("local:1"))  # window 4, so it slides 36 times
    assert outcome.results == [str(i) for i in range(40)]


@pytest.mark.parametrize("address", ["local:0", "local:x", "local", ""])
def test_address_that_cannot_be(address):
    with pytest.raises(SettingsError, match="expected local:N with N >= 1"):
        Dask(address)


def test_scheduler_that_does_not_answer(monkeypatch):
    monkeypatch.setattr("nnunet_ms.cluster.CONNECT_TIMEOUT_S", 0.5)
    with pytest.raises(SettingsError, match="expected a scheduler that answers, found none"):
        map_cases(str, [1], workers=Dask("tcp://127.0.0.1:9"))


def test_bad_cases_on_a_cluster_leave_no_log(capfd):
    assert len(map_cases(square, [3, 5], workers=Dask("local:1")).failures) == 2
    assert "Compute Failed" not in capfd.readouterr().err


@pytest.mark.parametrize("workers", [2, Dask("local:1")], ids=str)
def test_jobs_that_come_one_by_one(workers):
    with executor(workers) as (pool, slots):
        assert slots == (workers if isinstance(workers, int) else 1)
        futures = [pool.submit(square, number) for number in (2, 3, 4)]
        assert futures[0].result() == 4
        with pytest.raises(ImageError, match="image 3: damaged"):
            futures[1].result()
        assert futures[2].result() == 16


def test_one_worker_does_the_jobs_itself():
    with executor(1) as (pool, slots):
        assert (pool, slots) == (None, 0)
