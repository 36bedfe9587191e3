"""What every command shares: errors that a user can fix become one line and exit code 2; bugs keep their traceback."""

import argparse
import errno
import os
import select
import signal
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TextIO

from nnunet_ms.errors import NnunetMsError, SettingsError, visible
from nnunet_ms.memory import keep_freed_memory
from nnunet_ms.versions import version_line

if TYPE_CHECKING:
    from nnunet_ms.parallel import Dask, Failure

# disk full, quota, read-only, a file where a folder was expected and the reverse, too long a name
USER_ERRORS = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
)

OK, SOME_CASES_FAILED, COULD_NOT_RUN = 0, 1, 2
INTERRUPTED = 128 + signal.SIGINT  # 130, as shells have it
NOBODY_READS = 128 + 13  # of SIGPIPE, which Windows lacks: what a pipe into `head` ends other programs with


def run(program: str, action: Callable[[], int], remains: str = "Repeat the command to start again.") -> int:
    """Run a command's action and return the exit code.

    Parameters
    ----------
    program : str
        The command's name, which begins each message.
    action : callable
        Parses, works and returns the exit code.
    remains : str, optional
        What an interrupted run leaves and how to go on, in whole sentences.

    Returns
    -------
    int
        What `action` returns; 2 after one line for an error that the user can fix (its notes, such as tracebacks of
        bugs behind it, stand above); 130 after one line for an interrupt (Ctrl-C); 141, silently, when whoever read
        the output has gone.

    Examples
    --------
    >>> run("nnunet-ms-x", lambda: OK)
    0
    """
    keep_freed_memory()
    try:
        return _written_out(action)
    except KeyboardInterrupt:
        _tell(f"{program}: interrupted. {remains}")
        return INTERRUPTED
    except (NnunetMsError, OSError) as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            return NOBODY_READS
        line = _in_one_line(error)
        if line is None:
            raise
        _tell(*getattr(error, "__notes__", ()), f"{program}: {line}")
        return COULD_NOT_RUN


def _written_out(action: Callable[[], int]) -> int:
    """Act, and write out what was printed; else that fails at exit, where nobody catches it."""
    try:
        code = action()
    except SystemExit:  # of --help
        _flush()
        raise
    _flush()
    return code


def _flush() -> None:
    if sys.stdout is not None:  # closed by the shell
        sys.stdout.flush()


def _in_one_line(error: NnunetMsError | OSError) -> str | None:
    """What the user can do about an error; None when it is a bug."""
    if isinstance(error, NnunetMsError):
        return str(error)
    if isinstance(error, PermissionError):
        return f"{error.filename}: no permission. Change its owner or choose another folder."
    if error.errno in USER_ERRORS:
        return f"{error.filename or 'output'}: {error.strerror}. Choose another place, or make room."
    return None


def _tell(*lines: str) -> None:
    try:
        print(*lines, sep="\n", file=sys.stderr, flush=True)
    except BrokenPipeError:  # nobody reads them
        _throw_away(sys.stderr)


def _nobody_reads() -> bool:
    """Whether it is standard output whose reader has gone; what is left to write then goes nowhere."""
    if sys.stdout is None or not hasattr(
        select, "poll"
    ):  # Windows has no poll, and no other pipe of ours is written to
        return sys.stdout is not None
    output = select.poll()
    output.register(sys.stdout.fileno(), 0)
    is_gone = any(event & select.POLLERR for _, event in output.poll(0))
    if is_gone:
        _throw_away(sys.stdout)
    return is_gone


def _throw_away(stream: TextIO) -> None:
    """Send what a stream holds, and is yet to be written to it, nowhere; else that is tried again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def report_failures(failures: "Iterable[Failure]", program: str) -> None:
    """Print one line per failed case to stderr, tracebacks of bugs after it."""
    for failure in failures:
        print(f"{program}: case {visible(failure.case)}: {visible(failure.reason)}", file=sys.stderr)
        if failure.traceback:
            print(failure.traceback, file=sys.stderr)


def parser(program: str, description: str, example: str) -> argparse.ArgumentParser:
    """Return an argument parser with `--version`, whose help ends with one example."""
    command = argparse.ArgumentParser(
        prog=program,
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "--version", action=_Version, nargs=0, default=argparse.SUPPRESS, help="show versions and exit"
    )
    return command


class _Version(argparse.Action):
    """As argparse's own `version`, which would look the versions up for `--help` too."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(version_line())
        parser.exit()


def positive(text: str) -> int:
    """Parse a whole number >= 1 (for argparse)."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number >= 1, found {text}")
    return value


def add_parallel_options(to: argparse._ActionsContainer) -> None:
    """Add `--workers N` and `--dask ADDRESS`; both fill `args.workers`, which goes to `parallel.map_cases` as it is."""
    group = to.add_mutually_exclusive_group()
    group.add_argument("--workers", type=positive, default=1, help="processes (default: 1)")
    group.add_argument(
        "--dask",
        dest="workers",
        type=dask_cluster,
        metavar="ADDRESS",
        help="a Dask cluster instead: tcp://host:8786 of its scheduler, or local:N (extra 'cluster')",
    )


def dask_cluster(text: str) -> "Dask":
    """Parse `tcp://host:port` or `local:N` (for argparse)."""
    from nnunet_ms.parallel import Dask

    try:
        return Dask(text)
    except SettingsError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
