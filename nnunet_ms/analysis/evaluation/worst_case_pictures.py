"""Slices of a case with both masks in colour, lesions that one mask lacks marked, and mosaics of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle

from nnunet_ms.analysis.evaluation.matching import Match
from nnunet_ms.arrays import Bools, Floats
from nnunet_ms.images.volumes import Volume
from nnunet_ms.lesions.labelling import Lesions
from nnunet_ms.plotting.slices import View, cropped, grey, mark_sides, most, show, tinted, view_of
from nnunet_ms.plotting.style import headline

RED, BLUE, PURPLE = (0.90, 0.10, 0.10), (0.15, 0.35, 1.00), (0.62, 0.15, 0.75)
MISSED, FALSE = "#FFD700", "#00E5FF"
MOST_SLICES = 8
COLUMNS = 2  # each with the clean slice beside it
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
    """One slice: `rgb` (rows, columns, 3) in 0..1, how it was looked at, its marks and its caption.

    `clean` (rows, columns): the image alone; None where masks were compared without one.
    """

    rgb: Floats
    view: View
    marks: list[Mark]
    caption: str
    clean: Floats | None = None


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
        axial when voxels are isotropic. Radiological, see `plotting.slices`: the patient's left is on the right-hand
        side of axial and coronal pictures.
    """
    view = view_of(reference.grid)
    first, second = (view.turned(volume.data) != 0 for volume in (reference, prediction))
    base = np.full(first.shape, 0.15) if image is None else grey(view.turned(image.data))
    errors = [
        *_errors(match.reference, ~match.reference_found, view, is_missed=True),
        *_errors(match.prediction, ~match.prediction_found, view, is_missed=False),
    ]
    score = _wrong_by_slice(first, second, errors, view)
    view = cropped(view, first | second if image is None else (base > 0.08) | first | second, MARGIN)
    chosen = [number for number in most(score, MOST_SLICES) if score[number] > 0] or [score.size // 2]
    cuts = [_cut(number, view, base, first, second, errors) for number in chosen]
    return (
        cuts
        if image is None
        else [replace(cut, clean=view.picture(base, n)) for cut, n in zip(cuts, chosen, strict=True)]
    )


def mosaic(slices: Sequence[Slice], title: str) -> Figure:
    """Draw slices in the order of their position, each beside the image alone where there is one, with a legend."""
    in_order = sorted(slices, key=lambda one: int(one.caption.split()[-1]))
    panels = [
        (one, with_masks) for one in in_order for with_masks in ((False, True) if one.clean is not None else (True,))
    ]
    columns = min(2 * COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    height, width = (
        size * mm for size, mm in zip(in_order[0].rgb.shape, in_order[0].view.pixel_mm[::-1], strict=False)
    )
    panel = 2.9
    figure = Figure(figsize=(max(panel * columns, 7.5), rows * panel * min(height / width, 1.6) + 1.1))
    for axes, (one, with_masks) in zip(np.atleast_1d(figure.subplots(rows, columns)).flat, panels, strict=False):
        _show(axes, one, with_masks=with_masks)
        axes.set_title(one.caption if with_masks else "image alone", fontsize=8, pad=2)
    for axes in figure.axes[len(panels) :]:
        axes.set_axis_off()
    headline(figure, title, size=9)
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
    rgb = tinted(rgb, reference & ~prediction, RED, STRENGTH)
    rgb = tinted(rgb, prediction & ~reference, BLUE, STRENGTH)
    return tinted(rgb, reference & prediction, PURPLE, STRENGTH)


@dataclass(frozen=True)
class _Error:
    """A lesion that one mask lacks: `centre` and `half` size (3,) in turned voxels, and whether it was missed."""

    centre: Floats
    half: Floats
    is_missed: bool


def _errors(lesions: Lesions, chosen: Bools, view: View, *, is_missed: bool) -> list[_Error]:
    shape = np.array(lesions.grid.shape)
    order = np.argsort(view.turn[:, 0])
    flipped = view.turn[:, 1] < 0
    first, last = lesions.first_voxel[chosen], lesions.last_voxel[chosen]
    centre = (first + last) / 2
    centre = np.where(flipped, shape - 1 - centre, centre)[:, order]
    half = ((last - first + 1) / 2)[:, order]
    return [_Error(c, h, is_missed) for c, h in zip(centre, half, strict=True)]


def _wrong_by_slice(first: Bools, second: Bools, errors: Sequence[_Error], view: View) -> Floats:
    """Score of each slice: lesions with a mark in it, then voxels in which the masks differ, then lesion voxels."""
    score = view.amount(first != second) + 1e-6 * view.amount(first | second)
    score = score / max(float(score.max()), 1e-9)
    for error in errors:
        score[int(error.centre[view.across])] += 1
    return np.asarray(score, dtype=np.float64)


def _cut(number: int, view: View, base: Floats, first: Bools, second: Bools, errors: Sequence[_Error]) -> Slice:
    rgb = overlay(*(view.picture(data, number) for data in (base, first, second)))
    column, row = (axis for axis in range(3) if axis != view.across)
    width, height = view.pixel_mm
    marks = []
    for error in errors:
        if abs(error.centre[view.across] - number) <= error.half[view.across]:
            ((x, y),) = view.places(error.centre[None]).tolist()
            radius = float(max(error.half[column] * width, error.half[row] * height)) + 2.5
            marks.append(Mark(x, y, radius, error.is_missed))
    return Slice(rgb, view, marks, view.name(number))


def _show(axes: Axes, one: Slice, *, with_masks: bool = True) -> None:
    show(axes, one.clean if one.clean is not None and not with_masks else one.rgb, one.view)
    mark_sides(axes, one.view)
    if not with_masks:
        return
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
