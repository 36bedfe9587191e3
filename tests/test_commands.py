import argparse
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nnunet_ms.commands import COULD_NOT_RUN, OK, add_parallel_options, parser, positive, report_failures, run
from nnunet_ms.errors import MachineError, TableError
from nnunet_ms.parallel import Dask, Failure

ROOT = str(Path(__file__).resolve().parents[1])


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


WORK = """
import sys, time
from pathlib import Path
from nnunet_ms.commands import run
def act():
    print("begun", flush=True)
    print("a note", file=sys.stderr, flush=True)
    Path("done").touch()
    print("done")
    return {code}
sys.exit(run("p", act, only_prints={only_prints}))
"""


# Oracle: the work itself, which is a file; the exit code says whether it is there.
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "redirection", [">/dev/full", ">&-", "2>/dev/full", "2>&-", ">&- 2>&-", ">/dev/full 2>&1", "<&-"]
)
@pytest.mark.parametrize("code", [0, 1])
def test_work_is_done_and_called_so_when_it_cannot_be_told(tmp_path, redirection, code, unbuffered):
    (tmp_path / "work.py").write_text(WORK.format(code=code, only_prints=False))
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered, "PYTHONPATH": ROOT}
    command = f"{sys.executable} work.py {redirection}"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == code
    assert (tmp_path / "done").exists()
    assert done.stderr.count("\n") <= 2
    if redirection == ">/dev/full":
        line = "p: standard output could not be written ([Errno 28] No space left on device); the work itself went on"
        assert done.stderr.splitlines()[-1].startswith(line)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_what_a_command_only_prints_is_not_done_when_it_cannot_be_printed(tmp_path):
    (tmp_path / "work.py").write_text(WORK.format(code=0, only_prints=True))
    environment = {**os.environ, "PYTHONPATH": ROOT}
    done = subprocess.run(
        f"{sys.executable} work.py >/dev/full",
        shell=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == COULD_NOT_RUN
    assert "Send it elsewhere, and repeat" in done.stderr


def test_the_work_goes_on_when_nobody_reads(tmp_path):
    (tmp_path / "work.py").write_text(WORK.format(code=0, only_prints=False))
    reader, writer = os.pipe()
    os.close(reader)
    environment = {**os.environ, "PYTHONPATH": ROOT}
    done = subprocess.run(
        [sys.executable, "work.py"], cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE, text=True, env=environment
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "a note\n")
    assert (tmp_path / "done").exists()


@pytest.mark.skipif(os.name == "nt", reason="a signal of POSIX")
def test_sigterm_is_one_line_that_says_what_remains(tmp_path):
    code = "import sys, time\nfrom nnunet_ms.commands import run\n"
    code += "def act():\n    print('begun', flush=True)\n    time.sleep(60)\nsys.exit(run('p', act, 'Half is kept.'))"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout.readline() == "begun\n"
    process.terminate()
    assert process.communicate(timeout=60) == ("", "p: terminated. Half is kept.\n")
    assert process.returncode == 143  # 128 + SIGTERM, as in a shell
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError(), "p: out of memory. Use fewer --workers, or a machine with more of it.\n"),
        (
            OSError(errno.EMFILE, "Too many open files"),
            "p: Too many open files. Use fewer --workers, or raise the limit",
        ),
        (MachineError("case P1: gone"), "p: case P1: gone\n"),
    ],
)
def test_faults_of_the_machine_are_one_line(capsys, error, line):
    assert run("p", raising(error)) == COULD_NOT_RUN
    assert capsys.readouterr().err.startswith(line)


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
