"""How bright an image shows the tissues of a brain: what tells T1, FLAIR and T2 apart, and contrast agent, and scalp.

The places of white and grey matter come from the MNI152 template, laid on by the brain's box (`brain_shape`). Measured
on 40 images of 12 patients (three scanners); the numbers stand in `docs/scan_warnings.md`.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from nnunet_ms.arrays import Bools, Floats
from nnunet_ms.images.brain_shape import BrainShape, points_of, sampled
from nnunet_ms.images.template import mni152_tissues
from nnunet_ms.images.volumes import Grid, Volume
from nnunet_ms.images.zero_level import is_standardised

WHITE, GREY = 0.9, 0.75  # share of the tissue from which a place counts as it
DEEP_MM, CORE_MM, SHELL_MM = 12.0, 18.0, 8.0  # below the surface of the brain
CORE = ((-75.0, 15.0), (5.0, 90.0))  # MNI y and z: the large veins and the choroid plexus, not the eyes
BRIGHT_VESSEL, BRIGHT, DARK = 1.4, 1.5, 0.2  # times white matter, and twice times the middle of the brain
COARSE_MM = 3.0
LEAST_PLACES = 100


@dataclass(frozen=True)
class TissueLevels:
    """Levels of one image; NaN where there are too few places, and ratios of an image whose values go below 0.

    Attributes
    ----------
    white_to_grey : float
        Median of white matter by that of grey matter: T1 1.09 to 1.27, FLAIR 0.87 to 1.09 (one of 1.16), T2 below 0.92.
    contrast : float
        Their difference in units of the interquartile range of both.
    asymmetry : float
        (p95 - p50) / (p50 - p5) deeper than 12 mm: T2 2.9 to 5.8, FLAIR and T1 0.26 to 0.91.
    vessels : float
        Per thousand of the middle of the brain brighter than 1.4 times white matter: 0 to 1.3 in T1, 2.2 and 6.1 after
        contrast agent.
    shell_bright, shell_dark : float
        Share of the outer 8 mm of the mask above 1.5 times the middle of the brain (fat), and below a fifth of it (air
        and bone).
    covered : float
        Share of the brain that lies in the image's field of view.
    """

    white_to_grey: float
    contrast: float
    asymmetry: float
    vessels: float
    shell_bright: float
    shell_dark: float
    covered: float

    @property
    def t1_likeness(self) -> float:
        """`contrast` less `asymmetry`: T1 0.13 and more, FLAIR -0.06 and less."""
        return self.contrast - self.asymmetry


def levels_of(image: Volume, brain: Bools, grid: Grid, shape: BrainShape) -> TissueLevels:
    """Measure an image at the places of a brain (X, Y, Z) on `grid`; image and brain lie in the same world.

    Examples
    --------
    >>> from pathlib import Path
    >>> from nnunet_ms.images.brain_shape import shape_of
    >>> tissues = mni152_tissues()
    >>> t1 = Volume((100 * tissues.white + 80 * tissues.grey).astype(np.float32), tissues.grid, Path("t1.nii.gz"))
    >>> levels = levels_of(t1, tissues.brain, tissues.grid, shape_of(tissues.brain, tissues.grid))
    >>> round(levels.white_to_grey, 2), levels.t1_likeness > 0.1
    (1.32, True)
    """
    points = points_of(brain, grid)
    covered = float(_inside(image.grid, points).mean())
    mni, values = shape.to_mni(points), sampled(image.data, image.grid, points)
    tissues = mni152_tissues()
    share = {name: sampled(getattr(tissues, name), tissues.grid, mni) for name in ("white", "grey", "depth_mm")}
    white, grey = values[share["white"] > WHITE], values[share["grey"] > GREY]
    deep = values[share["depth_mm"] > DEEP_MM]
    if min(len(white), len(grey), len(deep)) < LEAST_PLACES:
        return TissueLevels(*(math.nan,) * 6, covered)
    spread = float(np.subtract(*np.percentile(np.concatenate([white, grey]), [75, 25])))
    middle_white, middle_grey = float(np.median(white)), float(np.median(grey))
    p5, p50, p95 = np.percentile(deep, [5, 50, 95])
    contrast, asymmetry = _ratio(middle_white - middle_grey, spread), _ratio(float(p95 - p50), float(p50 - p5))
    if is_standardised(image.data):
        return TissueLevels(math.nan, contrast, asymmetry, *(math.nan,) * 3, covered)
    bright, dark = _shell(image, brain, grid, float(p50))
    return TissueLevels(
        white_to_grey=_ratio(middle_white, middle_grey),
        contrast=contrast,
        asymmetry=asymmetry,
        vessels=_vessels(values, mni, share["depth_mm"], middle_white),
        shell_bright=bright,
        shell_dark=dark,
        covered=covered,
    )


def _vessels(values: Floats, mni: Floats, depth: Floats, white: float) -> float:
    (back, front), (down, up) = CORE
    y, z = mni[:, 1], mni[:, 2]
    core = values[(depth > CORE_MM) & (y > back) & (y < front) & (z > down) & (z < up)]
    return float((core > BRIGHT_VESSEL * white).mean() * 1000) if len(core) >= LEAST_PLACES else math.nan


def _shell(image: Volume, brain: Bools, grid: Grid, middle: float) -> tuple[float, float]:
    """Shares of bright and dark places in the outer part of the mask, about 3 mm apart."""
    steps = [max(1, round(COARSE_MM / edge)) for edge in grid.spacing]
    coarse = brain[tuple(slice(None, None, step) for step in steps)]
    edges = [edge * step for edge, step in zip(grid.spacing, steps, strict=True)]
    depth = ndimage.distance_transform_edt(np.pad(coarse, 1), sampling=edges)[1:-1, 1:-1, 1:-1]
    index = np.argwhere((depth > 0) & (depth <= SHELL_MM)) * steps
    values = sampled(image.data, image.grid, grid.to_world(index), order=0)
    if not len(values):
        return math.nan, math.nan
    return float((values > BRIGHT * middle).mean()), float((values < DARK * middle).mean())


def _inside(grid: Grid, points: Floats) -> Bools:
    index = (np.column_stack([points, np.ones(len(points))]) @ np.linalg.inv(grid.affine).T)[:, :3]
    return np.asarray(((index > -0.5) & (index < np.array(grid.shape) - 0.5)).all(axis=1))


def _ratio(first: float, second: float) -> float:
    return first / second if second > 0 else math.nan
