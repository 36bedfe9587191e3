"""The images of one visit on the grid of its QSM: read, checked, never resampled."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from scipy import ndimage

from nnunet_ms.arrays import Bools, SingleFloats
from nnunet_ms.classification.rim.cohort import RimCase
from nnunet_ms.errors import ImageError
from nnunet_ms.images.grids import onto_grid
from nnunet_ms.images.qsm_units import QsmUnit, checked_qsm
from nnunet_ms.images.volumes import Grid, Volume, read_mask, read_volume
from nnunet_ms.images.z_scores import z_scored

NAN_STEP = (
    "Where NaN stands for no value outside the brain, put 0 there (fslmaths QSM -nan QSM_0); inside, compute the map "
    "again, or leave out this visit."
)
LARGEST_SHARE = 0.5  # of the brain: no lesions fill half of it
LEAST_HOLE = 64  # voxels of 0 that hang together: a map has single ones by chance, above all one of whole numbers
LEAST_INSIDE = 0.1  # of the lesions: those at the border of a tight brain mask stay, those of another visit do not
BrainSource = Literal["given", "nonzero FLAIR", "nonzero QSM"]


@dataclass(frozen=True)
class CaseImages:
    """One visit; all arrays (X, Y, Z) on `grid`.

    Attributes
    ----------
    qsm_ppb : float32
    flair : float32 or None
        z-scored in `brain`: mean 0, standard deviation 1 there.
    lesions, brain : bool
    brain_from : str
        Which brain it is: the given mask, or the voxels of FLAIR (else of QSM) that are not 0.
    """

    grid: Grid
    qsm_ppb: SingleFloats
    flair: SingleFloats | None
    lesions: Bools
    brain: Bools
    brain_from: BrainSource


def read_case(case: RimCase, qsm_unit: QsmUnit = "ppb") -> CaseImages:
    """Read a visit's QSM, FLAIR, lesion mask and brain mask.

    Images whose axes are stored in another order or direction are turned onto the QSM; one on another grid is
    refused, because a resampled lesion mask or FLAIR would be another one than was drawn.

    Raises
    ------
    ImageError
        If a file is missing, damaged, not 3-D, not finite, on another grid than the QSM, or not what its column says
        (`qsm.checked_qsm`); if a lesion mask holds others than 0 and 1, fills half of the brain, or lies mostly
        outside the given brain mask; if FLAIR holds one value only.
    """
    qsm = read_volume(case.qsm, repair=NAN_STEP)
    qsm_ppb = checked_qsm(qsm, qsm_unit)
    lesions = _on(qsm, read_mask(case.lesions))
    flair = None if case.flair is None else _on(qsm, read_volume(case.flair))
    brain, source = _brain(case.brain_mask, qsm, flair)
    _check_lesions(case, lesions.data != 0, brain)
    scored = None if flair is None else z_scored(flair.data, brain, str(flair.path))
    return CaseImages(qsm.grid, qsm_ppb, scored, lesions.data != 0, brain, source)


def without_qsm(qsm_ppb: SingleFloats) -> Bools:
    """Voxels (X, Y, Z) that a reconstruction has left out: 0, and together with 63 others or more, face to face.

    Examples
    --------
    >>> qsm = np.random.default_rng(0).normal(0, 20, (10, 10, 10)).astype(np.float32)
    >>> qsm[0, 0, 0], qsm[5:] = 0, 0
    >>> int(without_qsm(qsm).sum())
    500
    """
    numbers, _ = ndimage.label(qsm_ppb == 0)
    is_hole = np.bincount(numbers.ravel()) >= LEAST_HOLE
    is_hole[0] = False
    return np.asarray(is_hole[numbers])


def _on(qsm: Volume, other: Volume) -> Volume:
    return onto_grid(other, qsm)


def _brain(path: Path | None, qsm: Volume, flair: Volume | None) -> tuple[Bools, BrainSource]:
    if path is not None:
        brain = _on(qsm, read_mask(path)).data != 0
        if not brain.any():
            raise ImageError(f"{path}: expected a brain mask, found no voxel in it. Copy it again, or leave it blank.")
        return brain, "given"
    if flair is not None:
        return flair.data != 0, "nonzero FLAIR"
    return qsm.data != 0, "nonzero QSM"


def _check_lesions(case: RimCase, lesions: Bools, brain: Bools) -> None:
    total, inside, whole = int(lesions.sum()), int((lesions & brain).sum()), int(brain.sum())
    if inside > LARGEST_SHARE * whole:
        raise ImageError(
            f"{case.lesions}: expected lesions, found {inside / whole:.0%} of the brain in it. Is it a brain mask? "
            "Name the mask of the lesions."
        )
    if case.brain_mask is not None and total and inside < LEAST_INSIDE * total:
        raise ImageError(
            f"{case.lesions}: expected lesions in the brain, found {total - inside} of {total} voxels outside "
            f"{case.brain_mask}. Are both of this visit?"
        )
