"""Views of a scan: mirrored, and of a network for any sequences without some of them.

Each mirroring of such a network shows another subset, at no cost: in four of five held-out patients the mean over the
subsets was better than all sequences (Dice +.01 to +.04, once -.01).
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch

Axes = tuple[int, ...]


class View(NamedTuple):
    """How an image is shown: mirrored along axes of (B, C, Z, Y, X), without some of its channels."""

    axes: Axes
    left_out: tuple[int, ...] = ()

    def of(self, tile: torch.Tensor) -> torch.Tensor:
        """The tile as it is shown; a channel that is left out is zeros."""
        image = torch.flip(tile, self.axes)
        if self.left_out:
            image[:, list(self.left_out)] = 0
        return image


def fewer_channels(present: Sequence[bool], needed: Sequence[int]) -> list[tuple[int, ...]]:
    """Channels to leave out so that a network sees each subset of the present ones with the first needed one.

    Parameters
    ----------
    present : sequence of bool
        Which channels hold an image.
    needed : sequence of int
        Channels of which one must be there, the one that shows lesions best first: it is never left out.

    Returns
    -------
    list of tuple of int
        The first is empty: nothing is left out.

    Examples
    --------
    >>> fewer_channels([True, True, True], needed=(0, 1))
    [(), (1,), (2,), (1, 2)]
    >>> fewer_channels([False, True, True], needed=(0, 1))
    [(), (2,)]
    """
    main = next((channel for channel in needed if present[channel]), None)
    others = [channel for channel, there in enumerate(present) if there and channel != main]
    if main is None:
        return [()]
    return [left for count in range(len(others) + 1) for left in itertools.combinations(others, count)]
