"""How long work shows what it is at: not at all, unless a command asks for its bar.

Cases that are mapped have their own bar, see `parallel`; this is for the steps of one computation.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


class Progress(Protocol):
    """Hand on each item of a sequence, and show its name while it is worked on, under a title of all."""

    def __call__(self, items: Sequence[Item], title: str, name: Callable[[Item], str]) -> Iterable[Item]:
        """Yield the items in their order."""
        ...


def unseen(items: Sequence[Item], title: str, name: Callable[[Item], str]) -> Iterable[Item]:  # noqa: ARG001 - a Progress
    """Show nothing.

    Examples
    --------
    >>> [week for week in unseen([0, 24], "weeks", str)]
    [0, 24]
    """
    return items


def bar(items: Sequence[Item], title: str, name: Callable[[Item], str]) -> Iterator[Item]:
    """Show a bar on stderr where that is a terminal, with the name of the item that is worked on.

    Examples
    --------
    >>> [week for week in bar([0, 24], "weeks", str)]
    [0, 24]
    """
    with tqdm(total=len(items), desc=title, disable=not (items and sys.stderr.isatty())) as shown:
        for item in items:
            shown.set_description(f"{title}: {name(item)}")
            yield item
            shown.update()
        shown.set_description(title)
