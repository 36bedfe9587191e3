"""What every command shares: errors that a user can fix become one line and exit code 2; bugs keep their traceback."""

import argparse
import errno
import sys
from collections.abc import Callable

from nnunet_ms.errors import NnunetMsError

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
    """Return an argument parser whose help ends with one example."""
    return argparse.ArgumentParser(
        prog=program,
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def positive(text: str) -> int:
    """Parse a whole number >= 1 (for argparse)."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number >= 1, found {text}")
    return value
