"""Pictures of masks that have no reference: each visit's lesions, and what came and went since the visit before.

Blue: only at this visit (new, or growth). Red: only at the visit before (resolved, or shrinkage). Purple: at both. At a
first visit all is blue. The pictures show voxels of the images they are drawn on; treat them as patients' data.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from jinja2 import Environment
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nnunet_ms.analysis.evaluation.worst_case_pictures import BLUE, COLUMNS, MARGIN, MOST_SLICES, PURPLE, RED, overlay
from nnunet_ms.analysis.evaluation.worst_cases import image_of
from nnunet_ms.arrays import Bools
from nnunet_ms.errors import ImageError
from nnunet_ms.images.grids import onto_grid
from nnunet_ms.images.volumes import Volume, read_mask
from nnunet_ms.lesions.visits import MaskFile
from nnunet_ms.outputs import whole_file
from nnunet_ms.parallel import Workers, map_cases
from nnunet_ms.plotting.slices import cropped, grey, mark_sides, most, show, view_of
from nnunet_ms.plotting.style import headline, save_picture, style

QC_PAGE, QC_FOLDER = "qc.html", "qc"
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Masks by visit</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; max-width: 1200px; margin: 2em auto; padding: 0 1em; color: #222; }
h2 { border-top: 1px solid #ccc; padding-top: .8em; } img { max-width: 100%; height: auto; } .note { color: #555; }
</style></head><body>
<h1>Masks by visit</h1>
<p>{{ drawn|length }} of {{ total }} masks{{ note }}, those with the most new and enlarging lesions first, then those
with the largest volume. Blue: only at this visit. Red: only at the visit before. Purple: at both. At a first visit all
is blue.</p>
<p class="note">Of each mask the slices in which most has changed, at most {{ most }}. Axial ones are seen from the
feet, the patient's left on the right-hand side. The pictures show voxels of the images they are drawn on.</p>
{% for one in drawn -%}
<h2>{{ one.title }}</h2>
<p><img src="qc/{{ one.file }}" alt="Slices of {{ one.title }}" loading="lazy"></p>
{% endfor -%}
</body></html>
"""


@dataclass(frozen=True)
class Wanted:
    """One picture: the mask of a lesion type, that of the visit before (None: a first visit), its title and file."""

    here: MaskFile
    before: MaskFile | None
    labels: tuple[int, ...]
    label: int
    title: str
    file: str


def write_pictures(
    folder: Path,
    visits: pd.DataFrame,
    masks: Mapping[str, Sequence[MaskFile]],
    labels: Mapping[str, int],
    count: int,
    images: Path | None = None,
    note: str = "",
    workers: Workers = 1,
) -> Path:
    """Draw masks and write `qc.html` with its pictures below `qc/`; return the page.

    Parameters
    ----------
    folder : Path
        Where to write.
    visits : pandas.DataFrame
        With `visits.VISIT_COLUMNS`.
    masks : mapping
        Reader -> its masks.
    labels : mapping
        Lesion type -> label in the masks.
    count : int
        Number of pictures.
    images : Path, optional
        Folder of images to draw on, see `worst_cases.image_of`; grey without it.
    note : str, optional
        What the data are.
    workers : int or Dask, optional
        Local processes.

    Raises
    ------
    ImageError
        If an image is missing, or lies on another grid than the mask.
    """
    wanted = _wanted(visits, masks, labels, count, note)
    (folder / QC_FOLDER).mkdir()
    draw = partial(draw_visit, folder=folder / QC_FOLDER, images=images)
    drawn = map_cases(draw, wanted, lambda one: one.here.case_id, "draw", workers)
    if drawn.failures:  # the masks were read before, so this is a missing or foreign image
        raise ImageError(f"pictures: case {drawn.failures[0].case}: {drawn.failures[0].reason}")
    data = f" ({note} data)" if note else ""
    page = Environment(autoescape=True).from_string(_PAGE)
    text = page.render(drawn=wanted, total=len(visits), note=data, most=MOST_SLICES)
    with whole_file(folder / QC_PAGE) as partly:
        partly.write_text(text, encoding="utf-8")
    return folder / QC_PAGE


def _wanted(
    visits: pd.DataFrame, masks: Mapping[str, Sequence[MaskFile]], labels: Mapping[str, int], count: int, note: str
) -> list[Wanted]:
    of_case = {(rater, mask.case_id): mask for rater, files in masks.items() for mask in files}
    at_visit = {(rater, *vars(mask.place).values()): mask for rater, files in masks.items() for mask in files}
    changed = visits[["new_lesion_count", "enlarging_lesion_count"]].astype(float).fillna(0).sum(axis=1)
    by = ["changed", "volume_ml", "case_id"]
    order = visits.assign(changed=changed).sort_values(by, ascending=[False, False, True], kind="stable")
    wanted = []
    for place, row in enumerate(order.head(count).to_dict("records"), start=1):
        rater = row["rater"]
        before = at_visit.get((rater, row["patient_id"], row["previous_visit"], row["previous_week"]))
        here, label = of_case[rater, row["case_id"]], labels[row["lesion_type"]]
        wanted.append(Wanted(here, before, tuple(labels.values()), label, _title(row, note), f"{place:04d}.png"))
    return wanted


def _title(row: Mapping[str, object], note: str) -> str:
    known = not pd.isna(row["new_lesion_count"])
    change = (
        f", since {row['previous_visit']}: {row['new_lesion_count']} new, {row['enlarging_lesion_count']} enlarging, "
        f"{row['resolved_lesion_count']} resolved"
        if known
        else f", not compared: {row['change_note']}"
        if row["change_note"]
        else ""
    )
    data = f" ({note} data)" if note else ""
    size = f"{row['lesion_count']} lesions, {row['volume_ml']:.2f} ml"
    return f"{row['case_id']}, {row['lesion_type']} by {row['rater']}{data}: {size}{change}"


def draw_visit(wanted: Wanted, folder: Path, images: Path | None) -> None:
    """Draw one picture.

    Raises
    ------
    ImageError
        If a file cannot be read or the image lies on another grid than the mask.
    """
    here = read_mask(wanted.here.path, {0, *wanted.labels})
    before = read_mask(wanted.before.path, {0, *wanted.labels}) if wanted.before else None
    image = image_of(wanted.here.case_id, images, here) if images else None
    now = here.data == wanted.label
    then = np.zeros_like(now) if before is None else onto_grid(before, here).data == wanted.label
    with style():
        figure = mosaic(here, now, then, image, wanted.title)
    save_picture(figure, folder / wanted.file, dpi=110)


def mosaic(mask: Volume, now: Bools, then: Bools, image: Volume | None, title: str) -> Figure:
    """Draw the slices in which most has changed, or else most is lesion, in the order of their position.

    Parameters
    ----------
    mask : Volume
        Gives the grid.
    now, then : (X, Y, Z) bool arrays
        Lesion voxels at this visit and at the one before.
    image : Volume or None
        What to draw on, on the same grid; dark grey without it.
    title : str
        Above the picture.
    """
    view = view_of(mask.grid)
    second, first = view.turned(now), view.turned(then)
    base = np.full(first.shape, 0.15) if image is None else grey(view.turned(image.data))
    score = view.amount(first != second) + 1e-6 * view.amount(first | second)
    view = cropped(view, first | second if image is None else (base > 0.08) | first | second, MARGIN)
    chosen = sorted([n for n in most(score, MOST_SLICES) if score[n] > 0] or [score.size // 2])
    rows, columns = -(-len(chosen) // COLUMNS), min(COLUMNS, len(chosen))
    figure = Figure(figsize=(max(2.9 * columns, 7.5), rows * 3.2 + 1.1))
    panels = list(np.atleast_1d(figure.subplots(rows, columns)).flat)
    for axes, number in zip(panels, chosen, strict=False):
        show(axes, overlay(*(view.picture(data, number) for data in (base, first, second))), view)
        mark_sides(axes, view)
        axes.set_title(view.name(number), fontsize=8, pad=2)
    for axes in panels[len(chosen) :]:
        axes.set_axis_off()
    headline(figure, title, size=9)
    colours = {"only at this visit": BLUE, "only at the visit before": RED, "at both": PURPLE}
    handles = [Line2D([], [], marker="s", linestyle="", color=colour, label=name) for name, colour in colours.items()]
    figure.legend(handles=handles, loc="outside lower left", ncols=3, fontsize=8)
    return figure
