"""Quality-control picture of one case: slices with the mask's outline, and with the uncertainty laid over.

`plotting.style` belongs to another room; the few settings that a picture of slices needs stand here.
"""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import nibabel as nib
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from nnunet_ms.images.volumes import Grid
from nnunet_ms.outputs import whole_file

SLICES = 5
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
    with _style(), whole_file(path) as partial:  # what is drawn late, such as ticks, has the style too
        figure = mosaic(image, labels, entropy, lesions, grid, title, samples_note)
        figure.savefig(partial, dpi=110, metadata={"Software": None})


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
    (image, outlined, entropy), affine = _to_ras(grid, image, labels, entropy)
    chosen = choose_slices(outlined > 0, entropy)
    shown = image[image != 0] if (image != 0).any() else image
    low, high = np.percentile(shown, [1, 99.5])
    aspect = float(np.linalg.norm(affine[:3, 1]) / np.linalg.norm(affine[:3, 0]))
    with _style():
        figure = Figure(figsize=(2.3 * len(chosen) + 0.6, 6.0), facecolor="white")
        axes = figure.subplots(2, len(chosen), squeeze=False)
        for column, z in enumerate(chosen):
            for row in (0, 1):
                ax = axes[row, column]
                ax.imshow(_plane(image, z), cmap="gray", vmin=low, vmax=high, aspect=aspect, interpolation="nearest")
                ax.set_axis_off()
            height = (affine @ [0, 0, z, 1])[2]
            axes[0, column].set_title(f"z = {height:.0f} mm", fontsize=9)
            _outline(axes[0, column], outlined, z)
            _name_lesions(axes[0, column], lesions, affine, z, outlined.shape[0])
            heat = _plane(entropy, z)
            axes[1, column].imshow(
                np.ma.masked_less(heat, FAINT), cmap=HEAT, vmin=0, vmax=LN2, aspect=aspect, interpolation="nearest"
            )
        bar = figure.colorbar(ScalarMappable(Normalize(0, LN2), HEAT), ax=axes[1].tolist(), shrink=0.8, pad=0.01)
        bar.set_label("entropy of the mean\nprobability (nats)")
        figure.suptitle(f"{title}\n{_counts(lesions)}", x=0.01, ha="left", fontsize=10, fontweight="bold")
        figure.supxlabel(
            "Above: outline of the mask, with LSU of its least certain lesions (0 certain, 1 uncertain). "
            f"Below: where the mean probability is undecided.\n{samples_note}",
            x=0.01,
            ha="left",
            fontsize=8,
        )
    return figure


def _style() -> AbstractContextManager[None]:
    return mpl.rc_context({"figure.constrained_layout.use": True, "font.size": 9, "text.parse_math": False})


def choose_slices(mask: npt.NDArray[np.bool_], entropy: npt.NDArray[np.float32], count: int = SLICES) -> list[int]:
    """Slices along z with most mask and most entropy, not adjacent where there is a choice, in order of z."""
    depth = mask.shape[2]
    amount = mask.sum(axis=(0, 1)) + entropy.sum(axis=(0, 1)) / LN2
    chosen: list[int] = []
    for gap in (2, 1):
        for z in np.argsort(-amount, kind="stable"):
            if len(chosen) < min(count, depth) and all(abs(int(z) - other) >= gap for other in chosen):
                chosen.append(int(z))
    return sorted(chosen)


def _to_ras(grid: Grid, *arrays: npt.NDArray[Any]) -> tuple[list[npt.NDArray[Any]], npt.NDArray[np.float64]]:
    turned = [nib.as_closest_canonical(nib.Nifti1Image(np.asarray(array, np.float32), grid.affine)) for array in arrays]
    return [np.asarray(image.dataobj) for image in turned], np.asarray(turned[0].affine)


def _plane(volume: npt.NDArray[Any], z: int) -> npt.NDArray[Any]:
    """Axial slice as a picture: front up, the patient's right on the left."""
    plane: npt.NDArray[Any] = volume[::-1, ::-1, z].T
    return plane


def _outline(ax: Axes, labels: npt.NDArray[Any], z: int) -> None:
    plane = _plane(labels, z) > 0
    if plane.any():
        ax.contour(plane, levels=[0.5], colors=OUTLINE, linewidths=0.9)


def _name_lesions(ax: Axes, lesions: pd.DataFrame, affine: npt.NDArray[np.float64], z: int, width: int) -> None:
    """LSU of the three least certain lesions whose centre lies in this slice."""
    if lesions.empty or lesions["uncertainty"].isna().all():
        return
    world = np.c_[lesions[["x_mm", "y_mm", "z_mm"]].to_numpy(float), np.ones(len(lesions))]
    place = world @ np.linalg.inv(affine).T
    here = lesions.assign(i=place[:, 0], j=place[:, 1])[np.rint(place[:, 2]) == z]
    for lesion in here.nlargest(3, "uncertainty").itertuples():
        at = (width - 1 - lesion.i, ax.get_ylim()[0] - 0.5 - lesion.j)
        ax.annotate(
            f"{lesion.uncertainty:.2f}", at, (6, 6), textcoords="offset points", color="#F0E442", fontsize=8,
            path_effects=[withStroke(linewidth=1.5, foreground="black")],
            arrowprops={"arrowstyle": "-", "color": "#F0E442", "linewidth": 0.6},
        )  # fmt: skip


def _counts(lesions: pd.DataFrame) -> str:
    text = f"{len(lesions)} lesions, {lesions['volume_ml'].sum():.2f} ml"
    known = lesions["uncertainty"].dropna()
    return text + (f"; LSU above 0.5 in {int((known > 0.5).sum())}" if len(known) else "")
