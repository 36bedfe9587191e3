"""What every command shares: errors that a user can fix become one line and exit code 2; bugs keep their traceback."""

import argparse
import errno
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from nnunet_ms.errors import NnunetMsError, SettingsError
from nnunet_ms.versions import version_line

if TYPE_CHECKING:
    from nnunet_ms.parallel import Dask

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


def run(program: str, action: Callable[[], int]) -> int:
    """Run `action` and return its exit code, or 2 after printing one line for an error that the user can fix."""
    try:
        return action()
    except NnunetMsError as error:
        print(f"{program}: {error}", file=sys.stderr)
    except PermissionError as error:
        print(
            f"{program}: {error.filename}: no permission. Change its owner or choose another folder.", file=sys.stderr
        )
    except OSError as error:
        if error.errno not in USER_ERRORS:
            raise
        place = error.filename or "output"
        print(f"{program}: {place}: {error.strerror}. Choose another place, or make room.", file=sys.stderr)
    return COULD_NOT_RUN


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
