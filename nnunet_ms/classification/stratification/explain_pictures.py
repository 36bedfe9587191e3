"""Pictures of relevance on the brain of MNI152: axial slices and a glass brain, drawn by nilearn."""

import warnings
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from matplotlib.figure import Figure
from scipy import ndimage

from nnunet_ms.arrays import Bools, SingleFloats
from nnunet_ms.images.volumes import Grid
from nnunet_ms.plotting.style import footnote, headline, save_picture, style

SMOOTHED_MM = 8.0  # full width at half maximum, of what is drawn; tables and maps are as they were found
SHOWN_SHARE, THROUGH_SHARE = 0.2, 0.05  # of the voxels that were seen, the strongest: in slices, and through glass
SLICES_MM = (-40, -20, 0, 18, 36, 54)
TOP = 0.995  # quantile of what is seen where the scale ends


def smoothed(relevance: SingleFloats, seen: Bools, grid: Grid) -> SingleFloats:
    """Relevance (X, Y, Z), smoothed by a Gaussian of 8 mm where the network saw something, and 0 elsewhere.

    Examples
    --------
    >>> grid = Grid((9, 9, 9), np.diag([4.0, 4.0, 4.0, 1.0]))
    >>> spot = np.zeros(grid.shape, np.float32)
    >>> spot[4, 4, 4] = 1
    >>> round(float(smoothed(spot, np.ones(grid.shape, bool), grid).sum()), 3)
    1.0
    """
    sigma = [SMOOTHED_MM / 2.3548 / edge for edge in grid.spacing]  # 2 sqrt(2 ln 2)
    found = ndimage.gaussian_filter(np.where(seen, relevance, 0).astype(np.float64), sigma, mode="constant")
    return np.where(seen, found, 0).astype(np.float32)


def draw_brain(
    relevance: SingleFloats, seen: Bools, grid: Grid, title: str, note: str, path: str | Path, unit: str = "relevance"
) -> None:
    """Draw a map on the template: six axial slices, and a glass brain from the left, above, the right and the front.

    Parameters
    ----------
    relevance : (X, Y, Z) float array
        In MNI space; drawn smoothed, the strongest fifth of what was seen.
    seen : (X, Y, Z) bool array
        What the networks saw.
    grid : Grid
        Where both lie.
    title, note : str
        What it is, and what a reader needs to know.
    path : str or Path
        PNG.
    unit : str, optional
        Beside the scale.

    Examples
    --------
    >>> from nnunet_ms.classification.stratification.preparation import target_grid
    >>> grid = target_grid(8.0)
    >>> found = np.random.default_rng(0).random(grid.shape, dtype=np.float32)
    >>> draw_brain(found, np.ones(grid.shape, bool), grid, "IG", "made up", "brain.png")
    >>> Path("brain.png").is_file()
    True
    """
    drawn = smoothed(relevance, seen, grid)
    image = nib.Nifti1Image(drawn, grid.affine)
    signed = bool((drawn[seen] < 0).any())
    sizes = np.abs(drawn[seen])
    limit = float(np.quantile(sizes, TOP)) if sizes.any() else 1.0
    how: dict[str, Any] = {"cmap": "RdBu_r" if signed else "YlOrRd", "vmax": limit, "vmin": -limit if signed else 0}
    least = [
        min(max(float(np.quantile(sizes, 1 - share)), 0.05 * limit), 0.99 * limit) if sizes.size else 0.0
        for share in (SHOWN_SHARE, THROUGH_SHARE)
    ]
    with style(text_size=8):
        figure = Figure(figsize=(11, 6.2))
        figure.set_layout_engine("none")  # nilearn places its panels itself
        _panels(figure, image, least, how)
        headline(figure, title)
        footnote(
            figure,
            f"{note} Left is left.\nDrawn: the strongest {SHOWN_SHARE:.0%} of what the networks saw (through glass "
            f"{THROUGH_SHARE:.0%}), smoothed by {SMOOTHED_MM:g} mm; scale: {unit}, to the {TOP:.1%} quantile of sizes.",
        )
        save_picture(figure, path)


def _panels(figure: Figure, image: nib.Nifti1Image, least: list[float], how: dict[str, Any]) -> None:
    from nilearn import plotting

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of maps without a voxel above the threshold, and of colours that it rounds
        plotting.plot_stat_map(
            image,
            display_mode="z",
            cut_coords=SLICES_MM,
            figure=figure,
            axes=(0.02, 0.51, 0.95, 0.4),
            black_bg=False,
            threshold=least[0],
            **how,
        )
        plotting.plot_glass_brain(
            image,
            display_mode="lzry",
            figure=figure,
            axes=(0.02, 0.11, 0.95, 0.36),
            plot_abs=False,
            colorbar=True,
            threshold=least[1],
            **how,
        )
