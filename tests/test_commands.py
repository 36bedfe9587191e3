import argparse
import errno

import pytest

from nnunet_ms.commands import COULD_NOT_RUN, OK, add_parallel_options, parser, positive, run
from nnunet_ms.errors import TableError
from nnunet_ms.parallel import Dask


def raising(error):
    def action():
        raise error

    return action


def test_success_passes_the_exit_code_on():
    assert run("p", lambda: OK) == 0


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (TableError("t.csv: row 3"), "p: t.csv: row 3\n"),
        (PermissionError(errno.EACCES, "denied", "/out"), "p: /out: no permission. Change its owner"),
        (OSError(errno.ENOSPC, "No space left on device", "/out"), "p: /out: No space left on device. Choose another"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "/out"), "p: /out: Not a directory."),
    ],
)
def test_errors_that_a_user_can_fix_are_one_line(capsys, error, line):
    assert run("p", raising(error)) == COULD_NOT_RUN
    message = capsys.readouterr().err
    assert message.startswith(line)
    assert message.count("\n") == 1


def test_bugs_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        run("p", raising(ZeroDivisionError()))
    with pytest.raises(OSError, match="odd"):
        run("p", raising(OSError(errno.EIO, "odd")))


def test_help_ends_with_the_example(capsys):
    with pytest.raises(SystemExit, match="0"):
        parser("p", "does it", "p -o out").parse_args(["--help"])
    assert capsys.readouterr().out.rstrip().endswith("example:\n  p -o out")


@pytest.mark.parametrize("text", ["0", "-1", "x"])
def test_positive_refuses(text):
    with pytest.raises((ValueError, argparse.ArgumentTypeError), match=r"whole number >= 1|invalid literal"):
        positive(text)


def test_workers_or_a_cluster_reach_the_same_argument(capsys):
    command = parser("p", "does it", "p")
    add_parallel_options(command)
    assert command.parse_args([]).workers == 1
    assert command.parse_args(["--workers", "3"]).workers == 3
    assert command.parse_args(["--dask", "local:2"]).workers == Dask("local:2")
    with pytest.raises(SystemExit, match="2"):
        command.parse_args(["--dask", "local:0"])
    assert "expected local:N with N >= 1" in capsys.readouterr().err
