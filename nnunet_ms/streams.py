"""Standard streams of a command: that nobody can read them is no reason to call its work undone."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO


class Forgiving:
    """A standard stream whose first fault is kept, `fault`, and not raised; what is printed after it goes nowhere."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.fault: OSError | None = None

    @property
    def nobody_reads(self) -> bool:
        """Whether whoever read it has gone."""
        return self.fault is not None and self.fault.errno == errno.EPIPE

    def write(self, text: str) -> int:
        """Write as the stream does, or not at all."""
        if self.fault is None:
            try:
                return self._stream.write(text)
            except OSError as error:
                self._give_up(error)
        return len(text)

    def flush(self) -> None:
        """Flush as the stream does, or not at all."""
        if self.fault is None:
            try:
                self._stream.flush()
            except OSError as error:
                self._give_up(error)

    def _give_up(self, fault: OSError) -> None:
        """Send what the stream holds nowhere; else that is tried again when Python ends."""
        self.fault = fault
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def forgiving_streams() -> Iterator[Forgiving]:
    """Let both standard streams be forgiving during the block; yield that of the output.

    Examples
    --------
    >>> with forgiving_streams() as output:
    ...     print("written")
    written
    >>> output.fault is None
    True
    """
    _open_closed()
    before = sys.stdout, sys.stderr
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - what print() takes
        output = Forgiving(sys.stdout or nowhere)
        sys.stdout, sys.stderr = output, Forgiving(sys.stderr or nowhere)
        try:
            yield output
        finally:
            sys.stdout, sys.stderr = before


def _open_closed() -> None:
    """Open what the shell closed (`>&-`): the next file that is opened would get its number, and what is printed."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            number_taken = os.open(os.devnull, os.O_RDWR)  # the lowest that is free: this one
            os.set_inheritable(number_taken, True)  # noqa: FBT003 - it takes no names
