"""What an image of a head can be, in numbers; imports nothing of ours: a command may read them before it parses."""

from collections.abc import Sequence
from typing import Any, TypeGuard

EDGES_MM = (0.05, 25.0)  # of voxels: from ex-vivo scans to the thickest slices

# sequences by their fluid, whose order of tissues `appearance.Appearance.asymmetry` measures: 2.5 to 6.3 in T2 images,
# 0.2 to 0.9 in FLAIR and T1; beyond the outer two it is another sequence, between them it is to be looked at
BRIGHT_FLUID, DARK_FLUID = ("t2",), ("flair", "t1", "t1post")
DARKEST_FLUID, FLUID, BRIGHTEST_FLUID = 1.2, 1.5, 2.0
INFORMATION, LITTLE_INFORMATION = 0.15, 0.2  # nats with the first channel: right pairs 0.23 and more, wrong below 0.15


def are_edges(values: Any) -> TypeGuard[Sequence[float]]:
    """Whether `values` are the three edges of a voxel in mm, each within `EDGES_MM`.

    Examples
    --------
    >>> are_edges((1.0, 1.0, 3.0)), are_edges([1, 1]), are_edges("isotropic")
    (True, False, False)
    """
    if not isinstance(values, Sequence) or len(values) != 3:
        return False
    return all(
        isinstance(value, int | float) and not isinstance(value, bool) and EDGES_MM[0] <= value <= EDGES_MM[1]
        for value in values
    )
