"""Rims of lesions: where a lesion's rim lies, and from a segmented rim to a decision per lesion.

A paramagnetic rim is a bright line at a lesion's edge on QSM. Here the *shell* of a lesion is what lies within
`RIM_MM` of its border, on the inside. A label per lesion becomes a rim by taking the shell of the rim+ lesions, and a
segmented rim becomes a label per lesion by looking at how much of the shell it fills. Both are ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nnunet_ms.arrays import Bools, Floats, Ints
from nnunet_ms.errors import OptionError
from nnunet_ms.images.volumes import Volume
from nnunet_ms.lesions.confluent import Splitting, split_confluent
from nnunet_ms.lesions.labelling import Lesions, lesions_of_labels

CORE, RIM = 1, 2  # labels of a map of lesion core and rim
RIM_MM = 1.5  # thickness of the shell; histology and 7 T give 1 to 2 mm
PRL_STRATA = (1, 4)  # where the trials' strata begin: 0, 1 to 3, 4 and more rim lesions
RIM_THRESHOLD = 0.5  # of the score: half of the shell


def _check_thickness(thickness_mm: float) -> None:
    if not (np.isfinite(thickness_mm) and thickness_mm > 0):
        raise OptionError(f"thickness_mm: expected a number > 0, found {thickness_mm}. Correct it.")


@dataclass(frozen=True)
class RimDecision:
    """When a lesion counts as rim+.

    Attributes
    ----------
    threshold : float
        Of the score, in (0, 1): a lesion with this score or more is rim+.
    shell_mm : float
        Thickness of the shell in mm, > 0.
    splitting : Splitting or None
        How confluent lesions are taken apart before each part is decided on; None: they are not.
    """

    threshold: float = RIM_THRESHOLD
    shell_mm: float = RIM_MM
    splitting: Splitting | None = field(default_factory=Splitting)

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise OptionError(f"rim_threshold: expected 0 < t < 1, found {self.threshold}. Correct it.")
        _check_thickness(self.shell_mm)


DEFAULT = RimDecision()


def shell_of(lesions: npt.NDArray[np.generic], spacing_mm: Sequence[float], thickness_mm: float = RIM_MM) -> Bools:
    """Outer shell of every lesion: its voxels within `thickness_mm` of its border.

    Parameters
    ----------
    lesions : (X, Y, Z) array
        0 is background; each other number is one lesion (a mask is one lesion). Where two touch, each has its border.
    spacing_mm : (3,) floats
        Voxel edges in mm.
    thickness_mm : float, optional
        > 0. A voxel belongs to the shell if its centre is no farther from the centre of the nearest voxel outside its
        lesion; so the shell has one voxel at least, and where slices are thicker than the shell it lies in the slice.

    Returns
    -------
    (X, Y, Z) bool array

    Raises
    ------
    OptionError
        If the thickness is not a number > 0.

    Examples
    --------
    >>> lesion = np.zeros((9, 9, 9), np.uint8); lesion[2:7, 2:7, 2:7] = 1
    >>> shell = shell_of(lesion, (1.0, 1.0, 1.0), 1.0)
    >>> int(lesion.sum()), int(shell.sum()), bool(shell[3, 3, 3]), bool(shell[2, 4, 4])
    (125, 98, False, True)
    """
    _check_thickness(thickness_mm)
    shell = np.zeros(lesions.shape, dtype=np.bool_)
    numbers = lesions.astype(np.int32)
    # a voxel is never farther from its nearest neighbour outside than its smallest edge, where it is at the border
    reach = max(thickness_mm, float(min(spacing_mm))) * (1 + 1e-6)
    for number, box in enumerate(ndimage.find_objects(numbers), start=1):
        if box is not None:
            here = np.pad(numbers[box] == number, 1)
            depth = ndimage.distance_transform_edt(here, sampling=spacing_mm)[1:-1, 1:-1, 1:-1]
            shell[box] |= here[1:-1, 1:-1, 1:-1] & (depth <= reach)
    return shell


def rims_of_lesions(
    lesions: npt.NDArray[np.generic],
    rim_plus: Sequence[int],
    spacing_mm: Sequence[float],
    thickness_mm: float = RIM_MM,
) -> npt.NDArray[np.uint8]:
    """Map of lesion core and rim from a label per lesion.

    Parameters
    ----------
    lesions : (X, Y, Z) array of whole numbers
        1 .. L in each lesion, 0 elsewhere.
    rim_plus : sequence of int
        The numbers of those with a rim; their shell becomes the rim.
    spacing_mm, thickness_mm
        See `shell_of`.

    Returns
    -------
    (X, Y, Z) uint8 array
        0 background, `CORE` 1, `RIM` 2.

    Examples
    --------
    >>> lesions = np.zeros((9, 9, 9), np.uint8); lesions[1:4, 1:4, 1:4], lesions[5:8, 5:8, 5:8] = 1, 2
    >>> np.bincount(rims_of_lesions(lesions, [2], (1.0, 1.0, 1.0), 1.0).ravel()).tolist()
    [675, 28, 26]
    """
    chosen = np.where(np.isin(lesions, list(rim_plus)), lesions, 0)
    return np.where(shell_of(chosen, spacing_mm, thickness_mm), RIM, np.where(lesions != 0, CORE, 0)).astype(np.uint8)


@dataclass(frozen=True)
class RimScores:
    """What each of L lesions shows of a rim, (L,) each.

    Attributes
    ----------
    score : float array
        Mean probability of a rim over the lesion's shell, in [0, 1].
    share : float array
        Share of the shell that is segmented as rim, in [0, 1].
    rim : bool array
        Whether the score reaches the threshold.
    """

    score: Floats
    share: Floats
    rim: Bools


def rim_scores(
    lesions: Lesions,
    probability: npt.NDArray[np.floating],
    segmented: npt.NDArray[np.generic],
    decision: RimDecision = DEFAULT,
    whole: Lesions | None = None,
) -> RimScores:
    """Decide for every lesion whether it has a rim.

    Parameters
    ----------
    lesions : Lesions
        Of the mask of core and rim together.
    probability : (X, Y, Z) array
        Of rim, on the lesions' grid; without a probability the segmented rim itself, 0 and 1.
    segmented : (X, Y, Z) array
        Non-zero where a rim was segmented.
    decision : RimDecision, optional
        Threshold of the score, and the shell that is looked at.
    whole : Lesions, optional
        Where `lesions` are the parts of confluent ones (`lesion_parts`), these: a part is judged by its share of their
        shell, since there is no rim where two parts meet. A part that has none of it is judged by its own shell.

    Returns
    -------
    RimScores
        In the order of the lesions; arrays of length 0 without any.

    Examples
    --------
    >>> from pathlib import Path
    >>> from nnunet_ms.images.volumes import Grid, Volume
    >>> from nnunet_ms.lesions.labelling import find_lesions
    >>> mask = np.zeros((20, 10, 10), np.uint8); mask[1:8, 1:8, 1:8], mask[10:17, 1:8, 1:8] = 1, 1
    >>> rim = np.zeros(mask.shape); rim[1:8, 1:8, 1:8] = shell_of(mask, (1.0, 1.0, 1.0))[1:8, 1:8, 1:8]
    >>> lesions = find_lesions(Volume(mask, Grid(mask.shape, np.eye(4)), Path("mask.nii.gz")))
    >>> found = rim_scores(lesions, rim, rim)
    >>> found.score.tolist(), found.rim.tolist()
    ([1.0, 0.0], [True, False])
    """
    inside = _in_shell(lesions, decision.shell_mm, lesions if whole is None else whole)
    axes = tuple(axis[inside] for axis in lesions.voxel_axes)
    lesion = lesions.lesion_of_voxel[inside]
    size = np.bincount(lesion, minlength=lesions.count)  # of the shell: never 0
    score = np.bincount(lesion, probability[axes], minlength=lesions.count) / size
    share = np.bincount(lesion, segmented[axes] != 0, minlength=lesions.count) / size
    score = np.clip(score, 0.0, 1.0)  # sums of shares of 1 may end above it
    return RimScores(score, share, score >= decision.threshold)


def _numbers(lesions: Lesions) -> npt.NDArray[np.int32]:
    """1 .. L in each lesion on the whole grid, 0 elsewhere."""
    numbers = np.zeros(lesions.grid.shape, dtype=np.int32)
    numbers[lesions.voxel_axes] = lesions.lesion_of_voxel + 1
    return numbers


def _in_shell(lesions: Lesions, shell_mm: float, whole: Lesions) -> Bools:
    """Which voxels of the lesions lie in the shell of `whole`, (V,); of a lesion without any, in its own."""
    spacing = lesions.grid.spacing
    inside = shell_of(_numbers(whole), spacing, shell_mm)[lesions.voxel_axes]
    without = np.bincount(lesions.lesion_of_voxel, inside, minlength=lesions.count) == 0
    if without.any():
        own = shell_of(_numbers(lesions), spacing, shell_mm)[lesions.voxel_axes]
        inside = np.where(without[lesions.lesion_of_voxel], own, inside)
    return np.asarray(inside, dtype=np.bool_)


def lesion_parts(lesions: Lesions, splitting: Splitting | None) -> tuple[Lesions, Ints]:
    """Take confluent lesions apart, as `nnunet-ms-rim features` does.

    Parameters
    ----------
    lesions : Lesions
        Components of a mask.
    splitting : Splitting or None
        See `lesions.confluent`; None: every lesion is its only part.

    Returns
    -------
    parts : Lesions
        P of them, which have exactly the voxels of the lesions; in the order of the lesions.
    owner : (P,) array
        The lesion, 0 .. L - 1, that each is a part of.

    Examples
    --------
    >>> from nnunet_ms.images.volumes import Grid, Volume
    >>> from nnunet_ms.lesions.labelling import find_lesions
    >>> x, y, z = np.ogrid[:24, :16, :16]
    >>> balls = [(x - c) ** 2 + (y - 8) ** 2 + (z - 8) ** 2 <= 25 for c in (8, 16)]
    >>> lesions = find_lesions(Volume(balls[0] | balls[1], Grid((24, 16, 16), np.eye(4)), Path("mask")))
    >>> parts, owner = lesion_parts(lesions, Splitting())
    >>> lesions.count, parts.count, owner.tolist()
    (1, 2, [0, 0])
    """
    whole = _numbers(lesions)
    numbers = whole if splitting is None else split_confluent(whole, lesions.grid.spacing, splitting)
    _, parts = lesions_of_labels(Volume(numbers, lesions.grid, Path()))
    owner = np.zeros(parts.count, dtype=np.int64)
    owner[parts.lesion_of_voxel] = whole[parts.voxel_axes] - 1
    return parts, owner


def prl_strata(bounds: Sequence[int] = PRL_STRATA) -> tuple[str, ...]:
    """Names of the strata of rim lesion counts, in order; `bounds` rise from 1 or more and say where each begins.

    Examples
    --------
    >>> prl_strata(), prl_strata((1,)), prl_strata((2, 3))
    (('0', '1-3', '>= 4'), ('0', '>= 1'), ('0-1', '2', '>= 3'))
    """
    ends = zip((0, *bounds), (*(bound - 1 for bound in bounds), None), strict=True)
    return tuple(
        f">= {first}" if last is None else f"{first}" if first == last else f"{first}-{last}" for first, last in ends
    )


def prl_stratum(count: float, bounds: Sequence[int] = PRL_STRATA) -> str:
    """Stratum of a patient with so many rim lesions; "missing" of a blank.

    Examples
    --------
    >>> [prl_stratum(count) for count in (0, 3, 4, float("nan"))]
    ['0', '1-3', '>= 4', 'missing']
    """
    return "missing" if np.isnan(count) else prl_strata(bounds)[sum(count >= bound for bound in bounds)]
