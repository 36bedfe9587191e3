"""Quality-control picture of one case: slices with the mask's outline, and with the uncertainty laid over."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from nnunet_ms.images.volumes import Grid
from nnunet_ms.plotting.slices import View, grey, mark_sides, most, outline, show, view_of
from nnunet_ms.plotting.style import footnote, headline, save_picture, style

SLICES = 5
AXIAL = 2
TEXT_SIZE = 9
OUTLINE, HEAT, LN2 = "#56B4E9", "inferno", float(np.log(2))
FAINT = 0.1  # nats, as a probability of 0.02; below this a voxel is as good as certain and stays grey


def draw_mosaic(
    path: Path,
    image: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    entropy: npt.NDArray[Any],
    lesions: pd.DataFrame,
    grid: Grid,
    title: str,
    samples_note: str,
) -> None:
    """Write the picture of `mosaic` as a PNG file."""
    figure = mosaic(image, labels, entropy, lesions, grid, title, samples_note)
    save_picture(figure, path, dpi=110, text_size=TEXT_SIZE)


def mosaic(
    image: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    entropy: npt.NDArray[Any],
    lesions: pd.DataFrame,
    grid: Grid,
    title: str,
    samples_note: str,
) -> Figure:
    """Draw axial slices: above with the mask's outline and the least certain lesions' LSU, below with the entropy.

    Parameters
    ----------
    image, labels, entropy : (X, Y, Z) arrays
        Background, label map, entropy of the mean probability in nats.
    lesions : pandas.DataFrame
        `x_mm`, `y_mm`, `z_mm`, `uncertainty` per lesion; may be empty.
    grid : Grid
        Of the arrays; slices are axial and in radiological order (left of the picture = patient's right).
    title, samples_note : str
        First and last line of text.
    """
    view = view_of(grid, AXIAL)
    base, mask, entropy = grey(view.turned(image)), view.turned(labels) > 0, view.turned(entropy)
    chosen = choose_slices(mask, entropy)
    with style(TEXT_SIZE):
        figure = Figure(figsize=(2.3 * len(chosen) + 0.6, 6.0), facecolor="white")
        axes = figure.subplots(2, len(chosen), squeeze=False)
        for column, z in enumerate(chosen):
            for ax in axes[:, column]:
                show(ax, view.picture(base, z), view)
                mark_sides(ax, view)
            height = (view.grid.affine @ [0, 0, z, 1])[2]
            axes[0, column].set_title(f"z = {height:.0f} mm", fontsize=9, loc="center")
            outline(axes[0, column], view.picture(mask, z), view, OUTLINE)
            _name_lesions(axes[0, column], lesions, view, z)
            heat = np.ma.masked_less(view.picture(entropy, z), FAINT)
            show(axes[1, column], heat, view, cmap=HEAT, vmax=LN2)
        bar = figure.colorbar(ScalarMappable(Normalize(0, LN2), HEAT), ax=axes[1].tolist(), shrink=0.8, pad=0.01)
        bar.set_label("entropy of the mean\nprobability (nats)")
        headline(figure, f"{title}\n{_counts(lesions)}", size=10)
        footnote(
            figure,
            "Above: outline of the mask, with LSU of its least certain lesions (0 certain, 1 uncertain). "
            f"Below: where the mean probability is undecided.\n{samples_note}",
        )
    return figure


def choose_slices(mask: npt.NDArray[np.bool_], entropy: npt.NDArray[np.float32], count: int = SLICES) -> list[int]:
    """Slices along z with most mask and most entropy, not adjacent where there is a choice, in order of z."""
    return sorted(most(mask.sum(axis=(0, 1)) + entropy.sum(axis=(0, 1)) / LN2, count, apart=2))


def _name_lesions(ax: Axes, lesions: pd.DataFrame, view: View, z: int) -> None:
    """LSU of the three least certain lesions whose centre lies in this slice."""
    if lesions.empty or lesions["uncertainty"].isna().all():
        return
    world = np.c_[lesions[["x_mm", "y_mm", "z_mm"]].to_numpy(float), np.ones(len(lesions))]
    voxels = (world @ np.linalg.inv(view.grid.affine).T)[:, :3]
    x, y = view.places(voxels).T
    here = lesions.assign(x=x, y=y)[np.rint(voxels[:, AXIAL]) == z]
    for lesion in here.nlargest(3, "uncertainty").itertuples():
        ax.annotate(
            f"{lesion.uncertainty:.2f}", (lesion.x, lesion.y), (6, 6), textcoords="offset points", color="#F0E442",
            fontsize=8, path_effects=[withStroke(linewidth=1.5, foreground="black")],
            arrowprops={"arrowstyle": "-", "color": "#F0E442", "linewidth": 0.6},
        )  # fmt: skip


def _counts(lesions: pd.DataFrame) -> str:
    text = f"{len(lesions)} lesions, {lesions['volume_ml'].sum():.2f} ml"
    known = lesions["uncertainty"].dropna()
    return text + (f"; LSU above 0.5 in {int((known > 0.5).sum())}" if len(known) else "")
