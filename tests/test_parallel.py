import pytest

from nnunet_ms.errors import ImageError, SettingsError
from nnunet_ms.parallel import Dask, executor, map_cases, report_failures


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


def test_failures_are_listed_on_stderr(capsys):
    report_failures(map_cases(square, [3]).failures, "program")
    assert capsys.readouterr().err == "program: case 3: image 3: damaged\n"


def test_dask_keeps_only_a_window_of_cases_in_flight_and_loses_none():
    outcome = map_cases(str, list(range(40)), workers=Dask("local:1"))  # window 4, so it slides 36 times
    assert outcome.results == [str(i) for i in range(40)]


@pytest.mark.parametrize("address", ["local:0", "local:x", "local", ""])
def test_address_that_cannot_be(address):
    with pytest.raises(SettingsError, match="expected local:N with N >= 1"):
        Dask(address)


def test_scheduler_that_does_not_answer(monkeypatch):
    monkeypatch.setattr("nnunet_ms.parallel.CONNECT_TIMEOUT_S", 0.5)
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
