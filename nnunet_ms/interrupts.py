"""Interrupts wait while something is begun that has to be known before it can be tidied up."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_ENDS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Let an interrupt wait until the end of the block; processes and threads that it starts never get one."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # is inherited
    try:
        with _interrupts_noted():  # another thread, such as of a numerical library, may still get it
            yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _interrupts_noted() -> Iterator[None]:
    """In the main thread, which is the one that Python interrupts: act on an interrupt after the block.

    SIGTERM is only noted, never held back: a process would inherit that, and its parent ends it by that very signal.
    """
    handlers = {number: handler for number in _ENDS if callable(handler := signal.getsignal(number))}
    if threading.current_thread() is not threading.main_thread() or not handlers:
        yield
        return
    noted: list[tuple[int, FrameType | None]] = []
    for number in handlers:
        signal.signal(number, lambda *interrupt: noted.append(interrupt))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if noted:
            handlers[signal.Signals(noted[0][0])](*noted[0])
