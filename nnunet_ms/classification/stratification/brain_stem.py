"""The brain stem in MNI152 space without a label map: blocks around it, less fluid.

NiftySeg's priors have none of its own: their map of the cerebellum holds the stem as well. Midbrain, pons and medulla
lie in blocks of the template's space; of them, what that map holds, what is as bright on the template's T1 as tissue,
and what no prior of fluid holds. Above, below and behind it ends by planes. How like a drawn one it is stands in
docs/stratification.md.
"""

from pathlib import Path

import numpy as np

from nnunet_ms.arrays import Bools, SingleFloats
from nnunet_ms.images.itk import resample, to_itk, voxels
from nnunet_ms.images.template import mni152, mni152_brain
from nnunet_ms.images.volumes import Grid, Volume, read_volume

BELOW = "niftyseg_cerebellum_2mm.nii.gz"  # the tentorium
FLUIDS = ("niftyseg_ECSF_prior_2mm.nii.gz", "niftyseg_ICSF_prior_2mm.nii.gz")
# lower and upper end, half the width, back and front, mm: ours, after the stems of four heads with labels
BLOCKS = (
    (-74.0, -62.0, 6.0, -52.0, -40.0),  # medulla
    (-62.0, -52.0, 8.0, -51.0, -33.0),
    (-52.0, -40.0, 10.0, -47.0, -21.0),
    (-40.0, -28.0, 14.0, -43.0, -15.0),  # pons
    (-28.0, -18.0, 14.0, -41.0, -15.0),
    (-18.0, -8.0, 14.0, -39.0, -21.0),  # midbrain
    (-8.0, 2.0, 12.0, -38.0, -23.0),
)
LEAST_TISSUE = 0.55  # of the template's brightest tissue: fluid is darker


def stem_region(priors: Path, target: Grid) -> Bools:
    """The brain stem (X, Y, Z) on a grid in MNI space.

    Parameters
    ----------
    priors : Path
        Folder of NiftySeg's priors.
    target : Grid

    Raises
    ------
    ImageError
        If a prior is missing or damaged.

    Examples
    --------
    >>> from nnunet_ms.classification.stratification.preparation import target_grid
    >>> stem_region(Path("atlas"), target_grid())
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.ImageError: atlas/niftyseg_cerebellum_2mm.nii.gz: ...
    """
    x, y, z = target.to_world(np.indices(target.shape).reshape(3, -1).T).T.reshape(3, *target.shape)
    inside = [
        (z > low) & (z <= high) & (np.abs(x) <= half) & (y >= back) & (y <= front)
        for low, high, half, back, front in BLOCKS
    ]
    below, *fluids = (_on(read_volume(Path(priors) / name), target) >= 0.5 for name in (BELOW, *FLUIDS))
    template = mni152()
    bright = _on(Volume(template.data, template.grid, Path(template.name)), target)
    tissue = bright >= LEAST_TISSUE * np.quantile(template.data[mni152_brain()], 0.98)
    return np.asarray(np.any(inside, axis=0) & tissue & below & ~np.any(fluids, axis=0), dtype=bool)


def _on(image: Volume, target: Grid) -> SingleFloats:
    moved = resample(to_itk(image.data.astype(np.float32), image.grid), target, np.eye(4), is_label=False)
    return np.asarray(voxels(moved), dtype=np.float32)
