"""What a patient's images have to show, visit by visit."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Course:
    """What a patient's images have to show.

    Attributes
    ----------
    volume_ml : (visits,) sequence of float
        Total T2 lesion volume per visit.
    new_lesions : (visits,) sequence of int
        Lesions first seen at each visit; that of the baseline is ignored.
    enhancing : (visits,) sequence of int
        How many of the lesions first seen at each visit enhance there, and there only.
    new_t1 : (visits,) sequence of int
        Lesions, new or old, that are T1-unenhancing for the first time; that of the baseline is ignored.
    black_hole_share : float
        Of the baseline lesions that do not enhance.
    """

    volume_ml: Sequence[float]
    new_lesions: Sequence[int]
    enhancing: Sequence[int]
    new_t1: Sequence[int]
    black_hole_share: float
