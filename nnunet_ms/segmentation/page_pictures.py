"""Pictures of a visit for the page: slices with the mask's outline and where the network is undecided, as PNG bytes."""

import io

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from nnunet_ms.arrays import SingleFloats
from nnunet_ms.images.grids import onto_grid
from nnunet_ms.images.volumes import Grid, Volume, read_mask, read_volume
from nnunet_ms.plotting.slices import grey, mark_sides, outline, show, view_of
from nnunet_ms.plotting.style import style
from nnunet_ms.segmentation.results import VisitResult
from nnunet_ms.trainers.prediction.pictures import AXIAL, OUTLINE, TEXT_SIZE, choose_slices, mosaic

MARGIN_MM = 8.0
DPI = 80
ENTROPY = "entropy"


def picture_of(visit: VisitResult, title: str) -> bytes:
    """Slices with most lesion, most undecided ones first: above the outline of the mask, below the entropy.

    Without the map `entropy` there is the upper row only.

    Raises
    ------
    ImageError
        If an image cannot be read, or the mask is on another grid than the first image.
    """
    image = read_volume(next(iter(visit.images.values())))
    mask = onto_grid(read_mask(visit.mask), image)
    entropy = onto_grid(read_volume(visit.maps[ENTROPY]), image).data if ENTROPY in visit.maps else None
    box, grid = _content(image)
    parts = image.data[box].astype(np.float32), mask.data[box]
    if entropy is None:
        return _png(_outlines(*parts, grid))
    return _png(mosaic(*parts, entropy[box].astype(np.float32), visit.lesions, grid, title, ""))


def _content(image: Volume) -> tuple[tuple[slice, ...], Grid]:
    """Box around what is not the background, with a margin, and its grid: pictures of the head fill their frames."""
    there = image.data > image.data.min()
    box = []
    for axis, (size, edge) in enumerate(zip(there.shape, image.grid.spacing, strict=True)):
        seen = np.flatnonzero(there.any(axis=tuple(other for other in range(3) if other != axis)))
        margin = int(MARGIN_MM / edge)
        first, last = (seen[0], seen[-1]) if seen.size else (0, size - 1)
        box.append(slice(max(int(first) - margin, 0), min(int(last) + margin + 1, size)))
    affine = image.grid.affine.copy()
    affine[:3, 3] = (image.grid.affine @ [*(part.start for part in box), 1])[:3]
    return tuple(box), Grid(there[tuple(box)].shape, affine)


def _outlines(image: SingleFloats, labels: npt.NDArray[np.generic], grid: Grid) -> Figure:
    view = view_of(grid, AXIAL)
    base, mask = grey(view.turned(image)), view.turned(labels) > 0
    chosen = choose_slices(mask, np.zeros(mask.shape, dtype=np.float32))
    with style(TEXT_SIZE):
        figure = Figure(figsize=(2.3 * len(chosen) + 0.6, 3.2), facecolor="white")
        for axes, z in zip(figure.subplots(1, len(chosen), squeeze=False)[0], chosen, strict=True):
            show(axes, view.picture(base, z), view)
            mark_sides(axes, view)
            height = (view.grid.affine @ [0, 0, z, 1])[2]
            axes.set_title(f"z = {height:.0f} mm", fontsize=9, loc="center")
            outline(axes, view.picture(mask, z), view, OUTLINE)
    return figure


def _png(figure: Figure) -> bytes:
    """The figure's bytes, the same in every run."""
    buffer = io.BytesIO()
    with style(TEXT_SIZE):
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()
