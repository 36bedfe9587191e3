import pytest

from nnunet_ms.errors import ImageError
from nnunet_ms.parallel import map_cases, report_failures


def square(x):
    if x == 3:
        raise ImageError("image 3: damaged")
    if x == 5:
        raise KeyError("a bug")
    return x * x


@pytest.mark.parametrize("workers", [1, 2])
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
