"""What every command shares: errors that a user can fix become one line and exit code 2; bugs keep their traceback."""

import argparse
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from nnunet_ms.errors import NnunetMsError, SettingsError, Terminated, fault_of, visible
from nnunet_ms.memory import keep_freed_memory
from nnunet_ms.streams import Forgiving, forgiving_streams
from nnunet_ms.versions import version_line

if TYPE_CHECKING:
    from nnunet_ms.parallel import Dask, Failure

# a file where a folder was expected and the reverse, too long a name
USER_ERRORS = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG)

OK, SOME_CASES_FAILED, COULD_NOT_RUN = 0, 1, 2
INTERRUPTED = 128 + signal.SIGINT  # 130, as shells have it
TERMINATED = 128 + signal.SIGTERM  # 143
NOBODY_READS = 128 + 13  # of SIGPIPE, which Windows lacks: what a pipe into `head` ends other programs with


def run(
    program: str,
    action: Callable[[], int],
    remains: str = "Repeat the command to start again.",
    *,
    only_prints: bool = False,
) -> int:
    """Run a command's action and return the exit code.

    Parameters
    ----------
    program : str
        The command's name, which begins each message.
    action : callable
        Parses, works and returns the exit code.
    remains : str, optional
        What an interrupted run leaves and how to go on, in whole sentences.
    only_prints : bool, optional
        Whether what it prints is all that it does: what cannot be printed is then not done.

    Returns
    -------
    int
        What `action` returns; 2 after one line for an error that the user can fix (its notes, such as tracebacks of
        bugs behind it, stand above); 130 after one line for an interrupt (Ctrl-C), 143 for SIGTERM; 141, silently, when
        whoever read the output has gone. Work is done to its end where its output cannot be written, and one line says
        so.

    Examples
    --------
    >>> run("nnunet-ms-x", lambda: OK)
    0
    """
    keep_freed_memory()
    with forgiving_streams() as output, _terminable():
        try:
            code = _act(program, action, remains)
        except SystemExit:  # of --help, or of wrong arguments
            output.flush()
            if output.fault is None:
                raise
            code, only_prints = COULD_NOT_RUN, True
        output.flush()
        return _with_output(program, code, output, only_prints=only_prints)


def _act(program: str, action: Callable[[], int], remains: str) -> int:
    try:
        return action()
    except KeyboardInterrupt as interrupt:
        is_told = isinstance(interrupt, Terminated)
        _tell(f"{program}: {'terminated' if is_told else 'interrupted'}. {remains}")
        return TERMINATED if is_told else INTERRUPTED
    except (NnunetMsError, OSError, MemoryError) as error:
        line = _in_one_line(error)
        if line is None:
            raise
        _tell(*getattr(error, "__notes__", ()), f"{program}: {line}")
        return COULD_NOT_RUN


def _with_output(program: str, code: int, output: Forgiving, *, only_prints: bool) -> int:
    """The exit code, given what became of the output."""
    if output.fault is None:
        return code
    if output.nobody_reads:
        return NOBODY_READS
    if only_prints:
        _tell(f"{program}: standard output could not be written ({output.fault}). Send it elsewhere, and repeat.")
        return COULD_NOT_RUN
    _tell(f"{program}: standard output could not be written ({output.fault}); the work itself went on to its end.")
    return code


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end the work as Ctrl-C does, unless somebody decided otherwise."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    ours = os.getpid()

    def end(number: int, _: FrameType | None) -> None:
        if os.getpid() != ours:  # a fork of this process, which has nothing to tidy up
            os._exit(128 + number)
        raise Terminated

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _in_one_line(error: Exception) -> str | None:
    """What the user can do about an error; None when it is a bug."""
    if isinstance(error, NnunetMsError):
        return str(error)
    if fault := fault_of(error):
        return fault
    if isinstance(error, PermissionError):
        return f"{error.filename}: no permission. Change its owner or choose another folder."
    if isinstance(error, OSError) and error.errno in USER_ERRORS:
        return f"{error.filename or 'output'}: {error.strerror}. Choose another place, or make room."
    return None


def _tell(*lines: str) -> None:
    print(*lines, sep="\n", file=sys.stderr, flush=True)


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


def add_examples(
    program: str, steps: "argparse._SubParsersAction[argparse.ArgumentParser]", examples: Mapping[str, str]
) -> None:
    """End the help of every step with its example, the words after the step's name."""
    for name, step in steps.choices.items():
        step.epilog = f"example:\n  {program} {name} {examples[name]}".rstrip()
        step.formatter_class = argparse.RawDescriptionHelpFormatter


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
