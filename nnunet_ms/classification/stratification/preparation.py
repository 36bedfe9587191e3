"""One scan on its way to the networks: FLAIR on T1, T1 on MNI152 (rigid, then affine), cropped, 2 mm, z-scored, cached.

The regions come from the scan's own label map, or, without one, from tissue priors that lie in MNI space.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nnunet_ms.arrays import Bools, Matrix, SingleFloats
from nnunet_ms.classification.stratification.brain_stem import stem_region
from nnunet_ms.classification.stratification.cohort import ScanCase
from nnunet_ms.classification.stratification.regions import (
    REGIONS,
    Region,
    empty_regions,
    label_table,
    region_masks,
    regional_volumes,
)
from nnunet_ms.errors import ImageError, OptionError, one_line
from nnunet_ms.images.bias_field import correct_bias
from nnunet_ms.images.brain_mask import given_mask
from nnunet_ms.images.deepbet_brain import deepbet_mask
from nnunet_ms.images.grids import onto_grid
from nnunet_ms.images.itk import inverse, resample, to_itk, voxels
from nnunet_ms.images.registration import register
from nnunet_ms.images.resample import smoothed
from nnunet_ms.images.same_head import edge_agreement
from nnunet_ms.images.template import fit_to_mni, likeness_to_mni, mni152, mni152_brain
from nnunet_ms.images.volumes import Grid, Volume, read_volume
from nnunet_ms.images.z_scores import z_scored
from nnunet_ms.options import chosen
from nnunet_ms.outputs import whole_file

CROP_MM = (160.0, 192.0, 160.0)
LEAST_DICE = (
    0.85  # of the brain and the template's after the affine step: below it is no whole brain, or a misplaced one
)
# Mutual information of FLAIR and T1: .28 to .60 in five patients, .27 to .42 in four pairs of different patients, 0 in
# noise. So noise and other objects are refused; another patient's FLAIR cannot be told by it, but by its edges.
LEAST_INFORMATION = 0.05
LEAST_AGREEMENT = 0.70  # of `edge_agreement`: .77 to .95 in ten patients, .38 to .69 in 62 pairs of two
GOOD_DICE = 0.90  # that whole brains reach; the command names scans below it
PRIORS: Mapping[Region, str] = {
    "wm": "niftyseg_WM_prior_2mm.nii.gz",
    "gm": "niftyseg_CGM_prior_2mm.nii.gz",
    "sgm": "niftyseg_DGM_prior_2mm.nii.gz",
    "ventricles": "niftyseg_ICSF_prior_2mm.nii.gz",
}
LEAST_PRIOR = 0.5
Brain = Literal["given", "deepbet", "nonzero"]


@dataclass(frozen=True)
class PreparationSettings:
    """How scans are prepared.

    Attributes
    ----------
    edge_mm : float
        Of the voxels; 2 gives (80, 96, 80), 1 gives (160, 192, 160).
    table : mapping of int to str
        Of `regions.label_table`.
    priors : Path or None
        Folder of NiftySeg's tissue priors in MNI space, for scans without a label map.
    brain : {"given", "deepbet", "nonzero"}
        The mask of the manifest, what deepbet makes of T1 (extra `brain`), or the voxels of T1 that are not 0 (of
        images without a skull).
    in_mni : bool
        The images lie in MNI space already: nothing is registered, and the brain is only compared with the template's.
    n4 : bool
        The bias field of both images is corrected in the brain, before the fit to the template.
    """

    edge_mm: float = 2.0
    table: Mapping[int, str] = field(default_factory=label_table)
    priors: Path | None = None
    brain: Brain = "given"
    in_mni: bool = False
    n4: bool = False

    def __post_init__(self) -> None:
        chosen(self.brain, get_args(Brain), "brain")
        if not 0.5 <= self.edge_mm <= 8:
            raise OptionError(f"edge_mm: expected a number from 0.5 to 8, found {self.edge_mm!r}. Take 1 or 2.")


@dataclass(frozen=True)
class PreparedScan:
    """A scan as the networks take it.

    Attributes
    ----------
    images : (2, X, Y, Z) float32 array
        T1 and FLAIR, z-scored in the whole brain, 0 outside of it.
    brain : (X, Y, Z) bool array
    regions : mapping of region to (X, Y, Z) bool array
        Empty where there is neither a label map nor priors.
    volumes_ml : mapping of str to float
        `brain_ml`, and of each region as `wm_ml`, in the patient's own size (not the template's).
    regions_from : str
        `labels`, `priors`, or blank.
    brain_dice : float
        Of the brain and the template's after the affine step.
    matrix : (4, 4) float array
        From points of MNI space to points of T1, RAS mm.
    """

    images: SingleFloats
    brain: Bools
    regions: Mapping[Region, Bools]
    volumes_ml: Mapping[str, float]
    regions_from: str
    brain_dice: float
    matrix: Matrix

    @property
    def empty(self) -> list[Region]:
        """Regions without a voxel: the scan is to be left out of their strategies."""
        return empty_regions(self.regions)


@lru_cache(maxsize=4)
def target_grid(edge_mm: float = 2.0) -> Grid:
    """Grid in MNI space of 160 x 192 x 160 mm around the template's brain.

    Examples
    --------
    >>> target_grid().shape, target_grid(1.0).shape
    ((80, 96, 80), (160, 192, 160))
    """
    found = np.argwhere(mni152_brain())
    middle = mni152().grid.to_world(((found.min(0) + found.max(0)) / 2)[None])[0]
    shape = tuple(round(mm / edge_mm) for mm in CROP_MM)
    affine = np.diag([edge_mm, edge_mm, edge_mm, 1.0])
    affine[:3, 3] = np.round(middle) - edge_mm * (np.array(shape) - 1) / 2
    return Grid(shape, affine)


def prepare_scan(case: ScanCase, settings: PreparationSettings | None = None) -> PreparedScan:
    """Prepare one scan.

    Parameters
    ----------
    case : ScanCase
        With a brain mask on the grid of T1.
    settings : PreparationSettings, optional

    Raises
    ------
    ImageError
        If a file is missing or damaged, there is no brain mask, mask or label map lie on another grid than T1, ids are
        unknown, T1 and FLAIR do not show one head, or the brain does not fit the template's.

    Examples
    --------
    >>> files = {"t1": Path("t1.nii.gz"), "flair": Path("flair.nii.gz"), "brain_mask": None, "region_labels": None}
    >>> told = {"age_years": 40.0, "sex": "F", "field_tesla": 3.0, "lesion_volume_ml": 5.0, "edss": 2.0}
    >>> prepare_scan(ScanCase("P1", "base", **files, **told, disabled=False, days_to_edss=30.0))
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.ImageError: P1_base: expected a brain mask, found a blank in column brain_mask. Make one on the ...
    """
    settings = settings or PreparationSettings()
    t1, flair = (_with_contrast(read_volume(path)) for path in (case.t1, case.flair))
    brain = _brain_of(case, t1, settings.brain)
    own = None if case.region_labels is None else _own_regions(case.region_labels, t1, settings)
    to_flair = _onto_flair(t1, flair, brain, settings)
    if settings.n4:
        there = _moved(brain, t1.grid, flair.grid, inverse(to_flair))
        t1, flair = _without_bias(t1, brain), _without_bias(flair, there)
    matrix = np.eye(4) if settings.in_mni else fit_to_mni(t1.data.astype(np.float32), brain, t1.grid).matrix
    dice = _checked_likeness(case, t1, brain, matrix, settings)
    target = target_grid(settings.edge_mm)
    there = _moved(brain, t1.grid, target, matrix)
    seen = ((t1, matrix, case.t1), (flair, to_flair @ matrix, case.flair))
    moved = [z_scored(_moved_image(one, target, way), there, str(path)) for one, way, path in seen]
    images = np.stack([np.where(there, one, np.float32(0)) for one in moved])
    volumes = {"brain_ml": float(brain.sum() * t1.grid.voxel_volume_ml)}
    if own is not None:
        regions = {region: _moved(mask, t1.grid, target, matrix) for region, mask in own.items()}
        return PreparedScan(images, there, regions, volumes | regional_volumes(own, t1.grid), "labels", dice, matrix)
    if settings.priors is None:
        return PreparedScan(images, there, {}, volumes, "", dice, matrix)
    regions = {region: mask & there for region, mask in prior_regions(settings.priors, target).items()}
    smaller = abs(float(np.linalg.det(matrix[:3, :3])))  # volume of the patient's per volume of the template's
    priors = {name: ml * smaller for name, ml in regional_volumes(regions, target).items()}
    return PreparedScan(images, there, regions, volumes | priors, "priors", dice, matrix)


def _with_contrast(image: Volume) -> Volume:
    """The image, which is no mask of one value: resampled, its edges would look like contrast."""
    there = image.data[image.data != 0]
    if there.size == 0 or there.min() == there.max():
        raise ImageError(
            f"{image.path}: expected an image, found one value besides 0 in all of it. Is it a mask? Name the image."
        )
    return image


def _brain_of(case: ScanCase, t1: Volume, brain: Brain) -> Bools:
    if brain == "nonzero":
        return _nonzero(t1)
    return deepbet_mask(t1.data, t1.grid, t1.path) != 0 if brain == "deepbet" else _given(case, t1)


def _given(case: ScanCase, t1: Volume) -> Bools:
    if case.brain_mask is None:
        raise ImageError(
            f"{case.case_id}: expected a brain mask, found a blank in column brain_mask. Make one on the grid of "
            "T1 and name it there, or ask for one by --brain deepbet."
        )
    mask = onto_grid(read_volume(case.brain_mask), t1)
    if not np.isin(mask.data, (0, 1)).all() or not mask.data.any():
        given_mask(case.brain_mask, t1.grid, case.t1)  # says what is wrong
    return np.asarray(mask.data != 0)


def _nonzero(t1: Volume) -> Bools:
    """Where T1 is not 0, with the holes that fluid leaves."""
    return np.asarray(ndimage.binary_fill_holes(t1.data != 0), dtype=bool)


def _checked_likeness(case: ScanCase, t1: Volume, brain: Bools, matrix: Matrix, settings: PreparationSettings) -> float:
    """Dice coefficient of the brain and the template's, which must be high."""
    dice = likeness_to_mni(brain, t1.grid, matrix)
    if dice >= LEAST_DICE:
        return dice
    if settings.in_mni:
        raise ImageError(
            f"{case.t1}: expected a brain that lies where the template's does (Dice {LEAST_DICE:g}), found {dice:.2f}. "
            "Does T1 lie in MNI152 space, after an affine step, and is it without a skull? If not, leave out --in-mni."
        )
    raise ImageError(
        f"{case.t1}: expected a brain that fits the template's (Dice {LEAST_DICE:g}), found {dice:.2f} after the "
        f"affine step; it has {brain.sum() * t1.grid.voxel_volume_ml:.0f} ml. Look at T1 and its brain mask: is it the "
        "whole brain, and the mask of this scan?"
    )


def _own_regions(path: Path, t1: Volume, settings: PreparationSettings) -> dict[Region, Bools]:
    return region_masks(onto_grid(read_volume(path), t1), settings.table)


def _onto_flair(t1: Volume, flair: Volume, brain: Bools, settings: PreparationSettings) -> Matrix:
    """From points of T1 to points of FLAIR: rigid, or the headers' position where edges agree better there.

    Images that were cut to a mask have its border in common, which may lead a registration astray.
    """
    ways = [np.eye(4)] if settings.in_mni else [np.eye(4), _registered(t1, flair, brain)]
    found = [edge_agreement(t1, flair, brain, way) for way in ways]
    best = int(np.nanargmax(found)) if np.isfinite(found).any() else len(ways) - 1
    if found[best] < LEAST_AGREEMENT:  # NaN, of too few edges, tells nothing
        raise ImageError(
            f"{flair.path}: expected the head of {t1.path}, found edges that run other ways (agreement "
            f"{found[best]:.2f}, of one head at least {LEAST_AGREEMENT:g}). Are both of one patient? Look at them."
        )
    return ways[best]


def _registered(t1: Volume, flair: Volume, brain: Bools) -> Matrix:
    fixed, moving = (to_itk(one.data.astype(np.float32), one.grid) for one in (t1, flair))
    found = register(fixed, moving, "rigid")
    if found.after < LEAST_INFORMATION:
        raise ImageError(
            f"{flair.path}: expected the head of {t1.path}, found little in common (mutual information "
            f"{found.after:.3f}). Are T1 and FLAIR of one patient?"
        )
    moved = voxels(resample(moving, t1.grid, found.matrix, is_label=False))
    missing = float((moved[brain] == 0).mean())
    if missing > 0.5:
        raise ImageError(
            f"{flair.path}: expected the brain of {t1.path}, found {missing:.0%} of it outside. Look at both."
        )
    return found.matrix


def _without_bias(image: Volume, brain: Bools) -> Volume:
    data, mask = to_itk(image.data.astype(np.float32), image.grid), to_itk(brain.astype(np.uint8), image.grid)
    return replace(image, data=voxels(correct_bias(data, mask)))


def _moved(mask: Bools, grid: Grid, target: Grid, matrix: Matrix) -> Bools:
    return np.asarray(voxels(resample(to_itk(mask.astype(np.uint8), grid), target, matrix, is_label=True)) != 0)


def _moved_image(image: Volume, target: Grid, matrix: Matrix) -> npt.NDArray[np.generic]:
    """The image on another grid, interpolated once, after a blur along axes that become coarser."""
    seen = Grid(target.shape, matrix @ target.affine)
    blurred = smoothed(to_itk(image.data.astype(np.float32), image.grid), image.grid, seen)
    return voxels(resample(blurred, target, matrix, is_label=False))


def prior_regions(folder: Path, target: Grid) -> dict[Region, Bools]:
    """Regions from NiftySeg's tissue priors: each where its prior is the largest and at least a half.

    Returns
    -------
    dict of region to (X, Y, Z) bool array
        On the target grid in MNI space. The brain stem is by position, and in no other region.

    Raises
    ------
    ImageError
        If a prior is missing or damaged.

    Examples
    --------
    >>> prior_regions(Path("atlas"), target_grid())
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.ImageError: atlas/niftyseg_WM_prior_2mm.nii.gz: ...
    """
    priors = []
    for name in PRIORS.values():
        volume = read_volume(Path(folder) / name)
        moved = resample(to_itk(volume.data.astype(np.float32), volume.grid), target, np.eye(4), is_label=False)
        priors.append(np.asarray(voxels(moved), dtype=np.float32))
    stack = np.stack(priors)
    largest = stack.argmax(axis=0)
    stem = stem_region(Path(folder), target)
    found = {r: (largest == k) & (stack[k] >= LEAST_PRIOR) & ~stem for k, r in enumerate(PRIORS)}
    return {**found, "brainstem": stem}


def save_prepared(scan: PreparedScan, path: str | Path) -> None:
    """Write a prepared scan as `.npz`, whole or not at all.

    Examples
    --------
    >>> brain = np.ones((4, 4, 4), bool)
    >>> scan = PreparedScan(np.zeros((2, 4, 4, 4), np.float32), brain, {}, {"brain_ml": 0.5}, "", 0.9, np.eye(4))
    >>> save_prepared(scan, "P1_base.npz")
    >>> dict(load_prepared("P1_base.npz").volumes_ml)
    {'brain_ml': 0.5}
    """
    arrays: dict[str, Any] = {f"region_{region}": mask for region, mask in scan.regions.items()}
    names = list(scan.volumes_ml)
    with whole_file(path) as partial, partial.open("wb") as file:
        np.savez_compressed(
            file,
            images=scan.images,
            brain=scan.brain,
            volume_names=np.array(names),
            volumes_ml=np.array([scan.volumes_ml[name] for name in names]),
            regions_from=np.array(scan.regions_from),
            brain_dice=np.array(scan.brain_dice),
            matrix=scan.matrix,
            **arrays,
        )


def load_prepared(path: str | Path) -> PreparedScan:
    """Read what `save_prepared` has written.

    Examples
    --------
    >>> brain = np.ones((4, 4, 4), bool)
    >>> scan = PreparedScan(np.zeros((2, 4, 4, 4), np.float32), brain, {}, {"brain_ml": 0.5}, "", 0.9, np.eye(4))
    >>> save_prepared(scan, "P2_base.npz")
    >>> load_prepared("P2_base.npz").brain_dice
    0.9
    """
    try:
        with Path(path).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return PreparedScan(
                images=file["images"],
                brain=file["brain"],
                regions={region: file[f"region_{region}"] for region in REGIONS if f"region_{region}" in file},
                volumes_ml=dict(zip(file["volume_names"].tolist(), file["volumes_ml"].tolist(), strict=True)),
                regions_from=str(file["regions_from"]),
                brain_dice=float(file["brain_dice"]),
                matrix=file["matrix"],
            )
    except (OSError, EOFError, KeyError, ValueError, BadZipFile) as error:
        raise ImageError(
            f"{path}: expected a scan as prepared, found none or a damaged one ({one_line(error)}). Repeat "
            "nnunet-ms-stratify prepare, which makes what is missing."
        ) from error
