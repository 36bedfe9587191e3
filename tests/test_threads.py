"""Oracle: threadpoolctl's own count of the threads of each library."""

import os

import pytest
from threadpoolctl import threadpool_info

from nnunet_ms.parallel import map_cases
from nnunet_ms.threads import VARIABLES, limit_this_process, one_thread, processors, threads_of_each


def threads_now(_=None):
    import numpy  # noqa: F401 - the library whose threads are counted, loaded in the process that is asked

    return {library["num_threads"] for library in threadpool_info()}


def test_a_function_that_threads_do_not_help_has_one_and_leaves_the_callers_alone():
    before = threads_now()
    assert one_thread(threads_now)() == {1}
    assert threads_now() == before


def test_an_error_leaves_the_callers_threads_alone():
    before = threads_now()
    with pytest.raises(ZeroDivisionError, match="division"):
        one_thread(lambda: 1 / 0)()
    assert threads_now() == before


@pytest.mark.parametrize("workers", [2, 3])
def test_processes_share_the_processors(workers, monkeypatch):
    for name in VARIABLES:  # `make test` asks for one thread, which would hold
        monkeypatch.delenv(name, raising=False)
    found = map_cases(threads_now, [0, 1, 2], workers=workers)
    assert found.failures == []
    assert set().union(*found.results) == {max(1, processors() // workers)}


@pytest.mark.parametrize(
    ("available", "processes", "threads"), [(16, 4, 4), (16, 3, 5), (2, 2, 1), (2, 9, 1), (1, 1, 1)]
)
def test_share_is_at_least_one_thread(monkeypatch, available, processes, threads):
    monkeypatch.setattr("nnunet_ms.threads.processors", lambda: available)
    assert threads_of_each(processes) == threads


@pytest.mark.parametrize(("asked", "found"), [("1", "1"), ("64", "4"), ("", "4"), ("all", "4"), ("0", "4")])
def test_a_smaller_number_that_somebody_asked_for_still_holds(monkeypatch, asked, found):
    for name in VARIABLES:
        monkeypatch.setenv(name, asked)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("threadpoolctl.threadpool_limits", lambda number: patch.setenv("NUMBER", str(number)))
        limit_this_process(4)
        assert os.environ["NUMBER"] == found
    assert {os.environ[name] for name in VARIABLES} == {found}
