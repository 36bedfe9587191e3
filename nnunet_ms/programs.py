"""Commands that a command of ours runs one after the other: their output goes to a log, and an interrupt ends them.

For work whose stages are commands that a user could type (`nnunet-ms-demo`, `nnunet-ms-learning-curve`).
"""

import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

GRACE_S = 10.0  # that an interrupted command gets to end its own processes
_LOOK_S = 0.2  # how often it is asked whether a command is still wanted


class UnwantedError(Exception):
    """A command was ended because what it was run for had come to its end."""


def run_logged(
    command: Sequence[str],
    folder: Path,
    log: Path,
    environment: Mapping[str, str],
    locks: tuple[int, ...] = (),
    wanted: Callable[[], bool] = lambda: True,
) -> int:
    """Run a command to its end and return its exit code; an interrupt ends the command first.

    Parameters
    ----------
    command : sequence of str
        The program, looked up as in `executable`, and its arguments.
    folder : Path
        Where it runs.
    log : Path
        Holds the command and what it prints; an earlier one is replaced. Its folder is made.
    environment : mapping
        All variables that it sees.
    locks : tuple of int, optional
        Open files (`locks.locked`) that it holds too: should this process be killed, nobody works beside it.
    wanted : callable, optional
        Asked a few times a second, in a thread that no interrupt reaches: when it says no, the command is ended.

    Raises
    ------
    UnwantedError
        If it was ended because nobody wanted it any more.

    Examples
    --------
    >>> command = ["python", "-c", "print('trained')"]
    >>> run_logged(command, Path(), Path("logs/train.log"), {})
    0
    >>> Path("logs/train.log").read_text().splitlines()[1]
    'trained'
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as stream:
        stream.write(f"$ {shlex.join(command)}\n")
        stream.flush()
        process = subprocess.Popen(
            executable(command), cwd=folder, env=dict(environment), stdout=stream, stderr=stream, pass_fds=locks
        )
        try:
            return _wait(process, wanted)
        except (KeyboardInterrupt, UnwantedError):
            _end(process)
            raise
        except BaseException:  # the pool that this process belongs to ends it, and waits less long
            process.terminate()
            raise


def _wait(process: "subprocess.Popen[bytes]", wanted: Callable[[], bool]) -> int:
    while wanted():
        with suppress(subprocess.TimeoutExpired):
            return process.wait(_LOOK_S)
    raise UnwantedError


def _end(process: "subprocess.Popen[bytes]") -> None:
    # Ctrl-C on a terminal has reached it too, and then it is about to end; `kill -INT` of this process has not
    for signal_ in (None, signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        if signal_ is not None:
            process.send_signal(signal_)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S if signal_ else 1.0)
            return


def executable(command: Sequence[str]) -> list[str]:
    """Return the command with the scripts of this environment, also when it is not activated.

    Examples
    --------
    >>> Path(executable(["python", "-V"])[0]).is_file()
    True
    """
    program, *arguments = command
    script = Path(sys.executable).parent / program
    return [str(script) if script.exists() else program, *arguments]


def end_of_log(log: Path, lines: int = 15) -> str:
    r"""Return the last lines of a log, to stand in an error.

    Examples
    --------
    >>> Path("train.log").write_text("epoch 0\nepoch 1\nout of memory\n")
    30
    >>> end_of_log(Path("train.log"), lines=2)
    'epoch 1\nout of memory'
    """
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
