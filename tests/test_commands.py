import argparse
import errno
import os
import subprocess
import sys

import pytest

from nnunet_ms.commands import COULD_NOT_RUN, OK, add_parallel_options, parser, positive, report_failures, run
from nnunet_ms.errors import TableError
from nnunet_ms.parallel import Dask, Failure


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


def test_an_interrupt_is_one_line_that_says_what_remains(capsys):
    assert run("p", raising(KeyboardInterrupt()), "Half of it is kept.") == 130  # 128 + SIGINT, as in a shell
    assert capsys.readouterr().err == "p: interrupted. Half of it is kept.\n"


def test_notes_of_an_error_stand_above_its_line(capsys):
    error = TableError("t.csv: nothing worked")
    error.add_note("Traceback: here")
    assert run("p", raising(error)) == COULD_NOT_RUN
    assert capsys.readouterr().err == "Traceback: here\np: t.csv: nothing worked\n"


def test_failures_are_listed_on_stderr(capsys):
    report_failures([Failure("c\n3", "damaged"), Failure("5", "KeyError", "Traceback")], "program")
    assert capsys.readouterr().err == "program: case c\\n3: damaged\nprogram: case 5: KeyError\nTraceback\n"


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("script", ["print('x' * 100_000); return 0", "raise SystemExit(print('x'))"])
def test_nobody_reads_the_output(unbuffered, script):
    # Oracle: the shell's convention, 128 + SIGPIPE, as `yes | head -1` has it.
    code = f"import sys\nfrom nnunet_ms.commands import run\ndef act():\n    {script}\nsys.exit(run('p', act))"
    reader, writer = os.pipe()
    os.close(reader)
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run([sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, env=environment)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_broken_pipe_elsewhere_is_a_bug():
    with pytest.raises(BrokenPipeError, match="somewhere else"):
        run("p", raising(BrokenPipeError(errno.EPIPE, "somewhere else")))


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
