"""Slices of a volume as pictures: which ones, which way up, and what is drawn on them.

Pictures are radiological: seen from the feet or the face, so that the patient's right is on the left; front or head up.
In sagittal ones the face looks to the right. Places in a picture are (column, row) in mm from its upper left corner, so
that circles are round whatever the voxels are.
"""

from dataclasses import dataclass, replace
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from nnunet_ms.arrays import Bools, Floats
from nnunet_ms.images.grids import reoriented
from nnunet_ms.images.volumes import Grid

NAMES = ("sagittal", "coronal", "axial")  # by the axis that they are across: right, front, head
MUCH_THICKER = 1.2  # times the distance from foot to head, for slices across another axis than that
WINDOW = (1.0, 99.5)  # percentiles between which an image is shown


@dataclass(frozen=True)
class View:
    """How a volume is looked at: turned to the body's axes, in slices across one of them, inside a box.

    `grid` is of the turned volume, whose axes run to the right, the front and the head; `turn` (3, 2) says how to get
    there from the stored axes (`nibabel.orientations`); `box` is in turned voxels.
    """

    grid: Grid
    turn: Floats
    across: int
    box: tuple[slice, slice, slice]

    @property
    def _axes(self) -> tuple[int, int]:
        """Axes along a picture's columns and rows."""
        column, row = (axis for axis in range(3) if axis != self.across)
        return column, row

    @property
    def pixel_mm(self) -> tuple[float, float]:
        """Width and height of a pixel."""
        column, row = self._axes
        return self.grid.spacing[column], self.grid.spacing[row]

    def turned(self, data: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A stored volume (X, Y, Z) along the body's axes."""
        return np.asarray(nib.orientations.apply_orientation(data, self.turn))

    def picture(self, turned: npt.NDArray[Any], number: int) -> npt.NDArray[Any]:
        """One slice of a turned volume inside the box, (rows, columns)."""
        place: list[slice | int] = list(self.box)
        place[self.across] = number
        upright = turned[tuple(place)].T[::-1]
        return upright if self.across == 0 else upright[:, ::-1]

    def places(self, voxels: npt.NDArray[Any]) -> Floats:
        """Where the middles of turned voxels (N, 3) lie in a picture: (N, 2), column and row in mm."""
        column, row = self._axes
        if self.across == 0:
            along = voxels[:, column] - self.box[column].start + 0.5
        else:
            along = self.box[column].stop - voxels[:, column] - 0.5
        down = self.box[row].stop - voxels[:, row] - 0.5
        return np.column_stack([along, down]) * self.pixel_mm

    def amount(self, turned: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Sum of each slice of a turned volume, (slices,)."""
        return np.asarray(turned.sum(axis=self._axes))

    def name(self, number: int) -> str:
        """Such as `axial slice 14`; slices are counted from the foot, the back or the left."""
        return f"{NAMES[self.across]} slice {number}"


def view_of(grid: Grid, across: int | None = None) -> View:
    """Look at the whole of a volume.

    Parameters
    ----------
    grid : Grid
        Of the volume as stored, in any order and direction of its axes.
    across : {0, 1, 2}, optional
        0 for sagittal, 1 for coronal, 2 for axial slices. Without it across the axis with the thickest voxels, which
        is how the scan was taken; axial when voxels are about as long in all directions.

    Examples
    --------
    >>> view_of(Grid((10, 20, 5), np.diag([-1.0, 1.0, 3.0, 1.0]))).name(2)
    'axial slice 2'
    """
    upright = reoriented(grid)
    if across is None:
        spacing = np.array(upright.spacing)
        across = 2 if spacing.max() < MUCH_THICKER * spacing[2] else int(spacing.argmax())
    sagittal, coronal, axial = (slice(0, size) for size in upright.shape)
    return View(upright, nib.orientations.io_orientation(grid.affine), across, (sagittal, coronal, axial))


def cropped(view: View, visible: Bools, margin: int) -> View:
    """The same view in a box around what is visible (of a turned volume), with a margin in voxels; nothing: all.

    Examples
    --------
    >>> lesion = np.zeros((10, 20, 5), dtype=bool)
    >>> lesion[4, 9:12, 2] = True
    >>> cropped(view_of(Grid(lesion.shape, np.diag([1.0, 1.0, 3.0, 1.0]))), lesion, margin=2).box
    (slice(2, 7, None), slice(7, 14, None), slice(0, 5, None))
    """
    if not visible.any():
        return view
    ends = []
    for axis, size in enumerate(visible.shape):
        there = np.flatnonzero(visible.any(axis=tuple(other for other in range(3) if other != axis)))
        ends.append(slice(max(int(there[0]) - margin, 0), min(int(there[-1]) + margin + 1, size)))
    return replace(view, box=(ends[0], ends[1], ends[2]))


def most(amount: npt.NDArray[Any], count: int, apart: int = 1) -> list[int]:
    """Slices that have most of something, most first.

    Parameters
    ----------
    amount : (slices,) array
        How much each has.
    count : int
        How many are wanted; there are fewer when the volume has fewer.
    apart : int, optional
        Least distance between two where there is a choice: 2 leaves out neighbours.

    Examples
    --------
    >>> most(np.array([0, 5, 9, 8, 1]), 2), most(np.array([0, 5, 9, 8, 1]), 2, apart=2)
    ([2, 3], [2, 4])
    """
    chosen: list[int] = []
    for gap in range(apart, 0, -1):
        for number in np.argsort(-amount, kind="stable").tolist():
            if len(chosen) < count and all(abs(number - other) >= gap for other in chosen):
                chosen.append(number)
    return chosen


def grey(data: npt.NDArray[Any]) -> Floats:
    """Grey values 0..1 between the 1st and the 99.5th percentile of what is not background, the lowest value.

    Examples
    --------
    >>> grey(np.array([0, 0, 0, 10, 20, 30])).round(2).tolist()
    [0.0, 0.0, 0.0, 0.0, 0.5, 1.0]
    """
    values = data.astype(np.float64)
    inside = values[values > values.min()]
    if not inside.size:
        return np.zeros(values.shape)
    low, high = np.percentile(inside, WINDOW)
    return np.asarray(np.clip((values - low) / max(high - low, 1e-9), 0, 1))


def tinted(rgb: Floats, mask: Bools, colour: tuple[float, float, float], strength: float) -> Floats:
    """The picture (rows, columns, 3) with a colour over a mask (rows, columns); strength 1 hides what is below.

    Examples
    --------
    >>> tinted(np.zeros((1, 2, 3)), np.array([[True, False]]), (1, 0, 0), 0.75)[0].tolist()
    [[0.75, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    return np.where(mask[..., None], (1 - strength) * rgb + strength * np.array(colour), rgb)


def show(axes: Axes, picture: npt.NDArray[Any], view: View, **how: Any) -> None:
    """Draw a picture, (rows, columns) or (rows, columns, 3) in 0..1; grey unless `how`, for `imshow`, has colours.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from nnunet_ms.images.volumes import read_volume
    >>> flair = read_volume("flair.nii.gz")
    >>> view = view_of(flair.grid)
    >>> axes = Figure().subplots()
    >>> show(axes, view.picture(grey(view.turned(flair.data)), 6), view)
    >>> [float(mm) for mm in axes.get_xlim()]
    [0.0, 24.0]
    """
    rows, columns = picture.shape[:2]
    width, height = view.pixel_mm
    settings = {"cmap": "gray", "vmin": 0, "vmax": 1, "interpolation": "nearest", **how}
    axes.imshow(picture, extent=(0, columns * width, rows * height, 0), **settings)
    axes.set_axis_off()


def mark_sides(axes: Axes, view: View) -> None:
    """Write on a picture whose side is where: R and L of the patient, or in sagittal pictures P and A.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> axes = Figure().subplots()
    >>> mark_sides(axes, view_of(Grid((10, 20, 5), np.diag([-1.0, 1.0, 3.0, 1.0]))))
    >>> [text.get_text() for text in axes.texts]
    ['R', 'L']
    """
    letters = ("P", "A") if view.across == 0 else ("R", "L")
    for letter, place, side in zip(letters, (0.02, 0.98), ("left", "right"), strict=True):
        axes.text(
            place, 0.5, letter, transform=axes.transAxes, ha=side, va="center", fontsize=7, color="white",
            path_effects=[withStroke(linewidth=1.5, foreground="black")],
        )  # fmt: skip


def outline(axes: Axes, mask: Bools, view: View, colour: str, linewidth: float = 0.9) -> None:
    """Draw the outline of a mask's picture (rows, columns); nothing where it is empty.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from nnunet_ms.images.volumes import read_mask
    >>> mask = read_mask("reference.nii.gz")
    >>> view = view_of(mask.grid)
    >>> axes = Figure().subplots()
    >>> outline(axes, view.picture(view.turned(mask.data) > 0, 6), view, "red")
    >>> len(axes.collections)
    1
    """
    if mask.any():
        x, y = ((np.arange(size) + 0.5) * mm for size, mm in zip(mask.shape[::-1], view.pixel_mm, strict=True))
        axes.contour(x, y, mask, levels=[0.5], colors=colour, linewidths=linewidth)
