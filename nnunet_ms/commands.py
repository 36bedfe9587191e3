"""What every command shares: errors that a user can fix become one line and exit code 2; bugs keep their traceback."""

import argparse
import errno
import sys
from collections.abc import Callable

from nnunet_ms.errors import NnunetMsError

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
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        print(
            f"{program}: {error.filename or 'output'}: {error.strerror}. Free or choose another disk.", file=sys.stderr
        )
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
