"""The MNI152 template of nilearn's wheel, and where a head lies in it."""

from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nnunet_ms.arrays import Bools, Matrix, SingleFloats
from nnunet_ms.images.itk import resample, to_itk, voxels
from nnunet_ms.images.registration import Registration, affine_to_template, register_to_template
from nnunet_ms.images.volumes import Grid

MARGIN_MM = 8  # around the brain: fluid and skull tell where it ends


@dataclass(frozen=True)
class Template:
    """Skull-stripped T1 (X, Y, Z) on its grid of 1 mm in MNI space, the voxels that a registration compares, a name."""

    data: npt.NDArray[np.float32]
    inside: npt.NDArray[np.uint8]
    grid: Grid
    name: str


@lru_cache(maxsize=1)
def mni152() -> Template:
    """Load the template: ICBM 152 nonlinear 2009a asymmetric, as nilearn ships it [1]_.

    References
    ----------
    .. [1] Fonov V et al. NeuroImage 54:313-327, 2011. doi:10.1016/j.neuroimage.2010.07.033

    Examples
    --------
    >>> mni152().grid.shape, mni152().grid.spacing
    ((197, 233, 189), (1.0, 1.0, 1.0))
    """
    from nilearn import datasets  # imports scikit-learn: seconds, so not before it is needed

    image = datasets.load_mni152_template(resolution=1)
    near = ndimage.distance_transform_edt(~mni152_brain()) <= MARGIN_MM
    grid = Grid(tuple(int(n) for n in image.shape), np.asarray(image.affine, dtype=np.float64))
    name = f"MNI152NLin2009aAsym of nilearn {version('nilearn')}"
    return Template(np.asarray(image.dataobj, dtype=np.float32), near.astype(np.uint8), grid, name)


@lru_cache(maxsize=1)
def mni152_brain() -> Bools:
    """The template's brain, (X, Y, Z), on the grid of `mni152`.

    Examples
    --------
    >>> round(int(mni152_brain().sum()) / 1000)  # ml
    1883
    """
    from nilearn import datasets

    return np.asarray(datasets.load_mni152_brain_mask(resolution=1).dataobj) > 0


@dataclass(frozen=True)
class Tissues:
    """Shares of white and grey matter and depth in the brain (mm), each (X, Y, Z) on a `grid` of 2 mm in MNI space.

    The shares are smoothed by 2 mm, as a scan of usual resolution shows them.
    """

    white: SingleFloats
    grey: SingleFloats
    brain: Bools
    depth_mm: SingleFloats
    grid: Grid


@lru_cache(maxsize=1)
def mni152_tissues() -> Tissues:
    """Tissues of the same template, as nilearn ships them.

    Examples
    --------
    >>> tissues = mni152_tissues()
    >>> tissues.grid.spacing, bool((tissues.white + tissues.grey < 1.01).all())
    ((2.0, 2.0, 2.0), True)
    """
    from nilearn import datasets

    maps = [one(resolution=2) for one in (datasets.load_mni152_wm_template, datasets.load_mni152_gm_template)]
    white, grey = (ndimage.gaussian_filter(np.asarray(one.dataobj, dtype=np.float32), 1.0) for one in maps)
    brain = np.asarray(datasets.load_mni152_brain_mask(resolution=2).dataobj) > 0
    depth = ndimage.distance_transform_edt(brain, sampling=(2.0, 2.0, 2.0)).astype(np.float32)
    grid = Grid(tuple(int(n) for n in brain.shape), np.asarray(maps[0].affine, dtype=np.float64))
    return Tissues(white, grey, brain, depth, grid)


def register_to_mni(data: npt.NDArray[np.float32], grid: Grid) -> Registration:
    """Align a head rigidly to the template, by mutual information.

    Parameters
    ----------
    data : (X, Y, Z) float32 array
        Image of any contrast, with or without the skull.
    grid : Grid
        Where it lies.

    Returns
    -------
    Registration
        `matrix` maps points of MNI space to points of the image, RAS mm.

    Raises
    ------
    ImageError
        As `register_to_template`.
    """
    template = mni152()
    fixed, counted = to_itk(template.data, template.grid), to_itk(template.inside, template.grid)
    return register_to_template(fixed, counted, to_itk(data, grid))


def fit_to_mni(data: npt.NDArray[np.float32], brain: Bools, grid: Grid) -> Registration:
    """Fit a brain to the template: rigidly, wherever its header puts it, then by an affine transform.

    Parameters
    ----------
    data : (X, Y, Z) float32 array
        Image of any contrast.
    brain : (X, Y, Z) bool array
        Its brain; what lies outside does not count.
    grid : Grid
        Where both lie.

    Returns
    -------
    Registration
        `matrix` maps points of MNI space to points of the image, RAS mm; `before` is the information of the rigid step.

    Raises
    ------
    ImageError
        As `register_to_template`.
    """
    template, seen = mni152(), np.where(brain, data, np.float32(0))
    fixed, counted = to_itk(template.data, template.grid), to_itk(template.inside, template.grid)
    moving = to_itk(seen, grid)
    return affine_to_template(fixed, counted, moving, register_to_template(fixed, counted, moving).matrix)


def likeness_to_mni(brain: Bools, grid: Grid, matrix: Matrix) -> float:
    """Dice coefficient of a brain, moved by a matrix of `fit_to_mni`, and the template's.

    Examples
    --------
    >>> far = np.eye(4)
    >>> far[0, 3] = 300  # mm
    >>> [round(likeness_to_mni(mni152_brain(), mni152().grid, way), 2) for way in (np.eye(4), far)]
    [1.0, 0.0]
    """
    moved = voxels(resample(to_itk(brain.astype(np.uint8), grid), mni152().grid, matrix, is_label=True)) != 0
    its = mni152_brain()
    return float(2 * np.count_nonzero(moved & its) / (np.count_nonzero(moved) + np.count_nonzero(its)))
