"""A picture per prepared scan: T1 and FLAIR in MNI152 space, with outlines of the template's brain and regions."""

from pathlib import Path

import numpy as np

from nnunet_ms.arrays import Bools
from nnunet_ms.classification.stratification.preparation import CROP_MM, PreparedScan, target_grid
from nnunet_ms.classification.stratification.regions import Region
from nnunet_ms.images.itk import resample, to_itk, voxels
from nnunet_ms.images.template import mni152, mni152_brain
from nnunet_ms.images.volumes import Grid
from nnunet_ms.outputs import whole_file

COLOURS: dict[Region, str] = {
    "wm": "#56b4e9",
    "gm": "#e69f00",
    "sgm": "#cc79a7",
    "ventricles": "#009e73",
    "brainstem": "#f0e442",
}
TEMPLATE = "#d55e00"
CUT = (-12.0, -22.0, 8.0)  # mm: through thalamus, ventricle and brainstem
INCHES, DPI = (9.0, 6.0), 80
LIMIT = 2.5  # of z-scores


def draw_overview(scan: PreparedScan, title: str, path: str | Path) -> None:
    """Draw three slices of both images, whole or not at all.

    Examples
    --------
    >>> brain = np.ones((80, 96, 80), bool)
    >>> images = np.random.default_rng(0).normal(size=(2, 80, 96, 80)).astype(np.float32)
    >>> draw_overview(PreparedScan(images, brain, {}, {}, "", 0.9, np.eye(4)), "P1_base", "P1_base.png")
    >>> Path("P1_base.png").stat().st_size > 10_000
    True
    """
    from matplotlib.figure import Figure
    from nibabel import Nifti1Image
    from nilearn.plotting import plot_anat

    grid = target_grid(CROP_MM[0] / scan.brain.shape[0])
    own = {COLOURS[region]: mask for region, mask in scan.regions.items()}
    outlines = {TEMPLATE: _template_brain(grid), **own}
    figure = Figure(figsize=INCHES, facecolor="black")
    for row, (name, data) in enumerate(zip(("T1", "FLAIR"), scan.images, strict=True)):
        shown = plot_anat(
            Nifti1Image(data, grid.affine),
            figure=figure,
            axes=(0.0, 0.5 * (1 - row), 1.0, 0.5),
            cut_coords=CUT,
            vmin=-LIMIT,
            vmax=LIMIT,
            colorbar=False,
            title=f"{title}: {name}, Dice {scan.brain_dice:.2f}",
        )
        for colour, mask in outlines.items():
            if mask.any():
                image = Nifti1Image(mask.astype(np.uint8), grid.affine)
                shown.add_contours(image, levels=[0.5], colors=[colour], linewidths=0.8)
    with whole_file(path) as partial:
        figure.savefig(partial, dpi=DPI, format="png", facecolor="black")


def _template_brain(grid: Grid) -> Bools:
    brain = to_itk(mni152_brain().astype(np.uint8), mni152().grid)
    return np.asarray(voxels(resample(brain, grid, np.eye(4), is_label=True)) != 0)
