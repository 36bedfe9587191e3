"""Slices of a case with both masks in colour, lesions that one mask lacks marked, and mosaics of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import nibabel as nib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle

from nnunet_ms.analysis.evaluation.matching import Match
from nnunet_ms.arrays import Bools, Floats
from nnunet_ms.images.volumes import Volume
from nnunet_ms.lesions.labelling import Lesions

RED, BLUE, PURPLE = (0.90, 0.10, 0.10), (0.15, 0.35, 1.00), (0.62, 0.15, 0.75)
MISSED, FALSE = "#FFD700", "#00E5FF"
MOST_SLICES = 8
COLUMNS = 4
MARGIN = 6  # voxels around the head or the lesions
STRENGTH = 0.75  # of a colour over the image


@dataclass(frozen=True)
class Mark:
    """A circle in a slice: centre (column, row) and radius in mm, and whether the lesion was missed (else false)."""

    column_mm: float
    row_mm: float
    radius_mm: float
    is_missed: bool


@dataclass(frozen=True)
class Slice:
    """One slice: `rgb` (rows, columns, 3) in 0..1, pixel size (rows, columns) in mm, its marks and its caption."""

    rgb: Floats
    pixel_mm: tuple[float, float]
    marks: list[Mark]
    caption: str


def slices_of_case(match: Match, reference: Volume, prediction: Volume, image: Volume | None) -> list[Slice]:
    """Cut the slices in which most is wrong, the worst first.

    Parameters
    ----------
    match : Match
        Of both masks, for the marks.
    reference, prediction : Volume
        Masks (X, Y, Z) on one grid.
    image : Volume or None
        What to draw on, on the same grid; dark grey without it.

    Returns
    -------
    list of Slice
        At most `MOST_SLICES`, at least one (the middle slice of masks without lesions). Across the thickest axis;
        axial when voxels are isotropic. Seen from the feet, the patient's left on the right-hand side of the picture.
    """
    turn = nib.orientations.io_orientation(reference.grid.affine)
    first, second = (_canonical(volume.data, turn) != 0 for volume in (reference, prediction))
    base = np.full(first.shape, 0.15) if image is None else _grey(_canonical(image.data, turn))
    spacing = np.array([reference.grid.spacing[int(axis)] for axis in np.argsort(turn[:, 0])])
    across = 2 if spacing.max() < 1.2 * spacing[2] else int(spacing.argmax())
    marked = [
        *_places(match.reference, ~match.reference_found, turn, is_missed=True),
        *_places(match.prediction, ~match.prediction_found, turn, is_missed=False),
    ]
    score = _wrong_by_slice(first, second, marked, across)
    box = _box(first | second if image is None else base > 0.08, first | second)
    chosen = [int(n) for n in np.argsort(-score, kind="stable")[:MOST_SLICES] if score[n] > 0] or [
        _middle(first | second, across)
    ]
    return [_cut(number, across, base, first, second, marked, spacing, box) for number in chosen]


def mosaic(slices: Sequence[Slice], title: str) -> Figure:
    """Draw slices side by side in the order of their position, with a legend."""
    in_order = sorted(slices, key=lambda one: int(one.caption.split()[-1]))
    rows = -(-len(in_order) // COLUMNS)
    columns = min(COLUMNS, len(in_order))
    height, width = (size * mm for size, mm in zip(in_order[0].rgb.shape[:2], in_order[0].pixel_mm, strict=True))
    panel = 2.9
    figure = Figure(figsize=(max(panel * columns, 7.5), rows * panel * min(height / width, 1.6) + 1.1))
    for axes, one in zip(np.atleast_1d(figure.subplots(rows, columns)).flat, in_order, strict=False):
        _show(axes, one)
        axes.set_title(one.caption, fontsize=8, pad=2)
    for axes in figure.axes[len(in_order) :]:
        axes.set_axis_off()
    figure.suptitle(title, x=0.01, ha="left", fontsize=9, fontweight="bold")
    figure.legend(handles=_legend(), loc="outside lower left", ncols=5, fontsize=8)
    return figure


def contact_sheet(entries: Sequence[tuple[object, str]]) -> Figure:
    """Draw one slice per entry (slice, caption), in the order given."""
    columns = min(6, max(len(entries), 1))
    rows = max(-(-len(entries) // columns), 1)
    figure = Figure(figsize=(max(1.9 * columns, 7.5), 2.5 * rows + 0.4))
    panels = list(np.atleast_1d(figure.subplots(rows, columns)).flat)
    for axes, (one, caption) in zip(panels, entries, strict=False):
        if isinstance(one, Slice):
            _show(axes, one)
        axes.set_title(caption, fontsize=7, pad=2)
    for axes in panels[len(entries) :]:
        axes.set_axis_off()
    figure.legend(handles=_legend(), loc="outside lower left", ncols=5, fontsize=7)
    return figure


def overlay(base: Floats, reference: Bools, prediction: Bools) -> Floats:
    """Colour a grey slice: reference only red, prediction only blue, both purple.

    Parameters
    ----------
    base : (rows, columns) floats in 0..1
    reference, prediction : (rows, columns) bool

    Returns
    -------
    (rows, columns, 3) floats in 0..1
    """
    rgb = np.repeat(base[..., None], 3, axis=2)
    for mask, colour in (
        (reference & ~prediction, RED),
        (prediction & ~reference, BLUE),
        (reference & prediction, PURPLE),
    ):
        rgb[mask] = (1 - STRENGTH) * rgb[mask] + STRENGTH * np.array(colour)
    return rgb


def _canonical(data: npt.NDArray[np.generic], turn: Floats) -> npt.NDArray[np.generic]:
    """Axes from left to right, back to front, foot to head."""
    return np.asarray(nib.orientations.apply_orientation(data, turn))


def _grey(data: npt.NDArray[np.generic]) -> Floats:
    """Grey values 0..1 between the 1st and 99.5th percentile of what is not background."""
    values = data.astype(np.float64)
    inside = values[values > values.min()]
    if not inside.size:
        return np.zeros(values.shape)
    low, high = np.percentile(inside, [1, 99.5])
    return np.asarray(np.clip((values - low) / max(high - low, 1e-9), 0, 1))


def _places(lesions: Lesions, chosen: Bools, turn: Floats, *, is_missed: bool) -> list[tuple[Floats, Floats, bool]]:
    """Centre and half size of each chosen lesion in voxels of the canonical axes, and its kind."""
    shape = np.array(lesions.grid.shape)
    order = np.argsort(turn[:, 0])
    flipped = turn[:, 1] < 0
    first, last = lesions.first_voxel[chosen], lesions.last_voxel[chosen]
    centre = (first + last) / 2
    centre = np.where(flipped, shape - 1 - centre, centre)[:, order]
    half = ((last - first + 1) / 2)[:, order]
    return [(c, h, is_missed) for c, h in zip(centre, half, strict=True)]


def _wrong_by_slice(
    first: Bools,
    second: Bools,
    marked: Sequence[tuple[Floats, Floats, bool]],
    across: int,
) -> Floats:
    """Score of each slice: lesions with a mark in it, then voxels in which the masks differ, then lesion voxels."""
    others = tuple(axis for axis in range(3) if axis != across)
    score = (first != second).sum(axis=others) + 1e-6 * (first | second).sum(axis=others)
    score = score / max(float(score.max()), 1e-9)
    for centre, _, _ in marked:
        score[int(centre[across])] += 1
    return np.asarray(score, dtype=np.float64)


def _middle(mask: Bools, across: int) -> int:
    return int(mask.shape[across] // 2)


def _box(visible: Bools, lesions: Bools) -> tuple[slice, ...]:
    """Box around what is visible, with a margin; everything when nothing is."""
    both = visible | lesions
    if not both.any():
        return tuple(slice(0, n) for n in both.shape)
    index = [np.flatnonzero(both.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    return tuple(
        slice(max(int(i[0]) - MARGIN, 0), min(int(i[-1]) + MARGIN + 1, n))
        for i, n in zip(index, both.shape, strict=True)
    )


def _cut(
    number: int,
    across: int,
    base: Floats,
    first: Bools,
    second: Bools,
    marked: Sequence[tuple[Floats, Floats, bool]],
    spacing: Floats,
    box: tuple[slice, ...],
) -> Slice:
    column, row = (axis for axis in range(3) if axis != across)
    where: list[slice | int] = list(box)
    where[across] = number
    place = tuple(where)
    rgb = overlay(base[place].T[::-1], first[place].T[::-1], second[place].T[::-1])
    marks = [
        Mark(
            column_mm=float((centre[column] - box[column].start + 0.5) * spacing[column]),
            row_mm=float((box[row].stop - centre[row] - 0.5) * spacing[row]),
            radius_mm=float(max(half[column] * spacing[column], half[row] * spacing[row])) + 2.5,
            is_missed=is_missed,
        )
        for centre, half, is_missed in marked
        if abs(centre[across] - number) <= half[across]
    ]
    name = ("sagittal", "coronal", "axial")[across]
    return Slice(rgb, (float(spacing[row]), float(spacing[column])), marks, f"{name} slice {number}")


def _show(axes: Axes, one: Slice) -> None:
    rows, columns = one.rgb.shape[:2]
    axes.imshow(one.rgb, extent=(0, columns * one.pixel_mm[1], rows * one.pixel_mm[0], 0), interpolation="nearest")
    for mark in one.marks:
        axes.add_patch(
            Circle(
                (mark.column_mm, mark.row_mm),
                mark.radius_mm,
                fill=False,
                linewidth=1,
                edgecolor=MISSED if mark.is_missed else FALSE,
                linestyle="-" if mark.is_missed else (0, (3, 2)),
            )
        )
    axes.set_axis_off()


def _legend() -> list[Line2D]:
    squares = {"reference only": RED, "prediction only": BLUE, "both": PURPLE}
    handles = [
        Line2D([], [], marker="s", linestyle="", markersize=7, color=colour, label=name)
        for name, colour in squares.items()
    ]
    for name, colour in (("missed lesion", MISSED), ("false lesion (dashed)", FALSE)):
        ring = Line2D([], [], marker="o", linestyle="", markersize=8, markerfacecolor="none", label=name)
        ring.set(markeredgecolor=colour, markeredgewidth=1.6)
        handles.append(ring)
    return handles
