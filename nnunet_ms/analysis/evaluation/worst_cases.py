"""Pictures for quality control: the worst cases as mosaics of slices, a contact sheet, and a page that shows them.

Colours are those of Krishnan et al., Sci Rep 2023;13:4102: reference red, prediction blue, both purple. Around lesions
that the rule calls missed a yellow circle is drawn, around false ones a cyan dashed one. The pictures show voxels of
the images they are drawn on; treat them as what they are, patients' data.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
from jinja2 import Environment

from nnunet_ms.analysis.evaluation.case_masks import read_case
from nnunet_ms.analysis.evaluation.matching import match_masks
from nnunet_ms.analysis.evaluation.pairing import CaseFiles
from nnunet_ms.analysis.evaluation.patient_rows import Settings
from nnunet_ms.analysis.evaluation.rules import rules_by_name
from nnunet_ms.analysis.evaluation.worst_case_pictures import MOST_SLICES, contact_sheet, mosaic, slices_of_case
from nnunet_ms.errors import ImageError
from nnunet_ms.images.grids import onto_grid
from nnunet_ms.images.names import file_called
from nnunet_ms.images.volumes import Volume, read_volume
from nnunet_ms.outputs import whole_file
from nnunet_ms.parallel import Workers, map_cases
from nnunet_ms.plotting.style import save_picture, style
from nnunet_ms.tables import REFERENCE

QC_PAGE, QC_FOLDER = "qc.html", "qc"
SORTED_BY = ("dice", "ndsc", "lesion_f1")  # the first of these that the rule reports; 1 is best in all of them

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Quality control: {{ rule }}</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; max-width: 1200px; margin: 2em auto; padding: 0 1em; color: #222; }
h2 { border-top: 1px solid #ccc; padding-top: .8em; } img { max-width: 100%; height: auto; }
table { border-collapse: collapse; } td, th { padding: .15em .8em; text-align: left; border-bottom: 1px solid #ddd; }
td.number { text-align: right; font-variant-numeric: tabular-nums; } .note { color: #555; }
</style></head><body>
<h1>Quality control, worst first</h1>
<p>{{ drawn|length }} of {{ total }} masks, sorted by {{ metric }} under rule {{ rule }} ({{ description }}){{ note }}.
Red: reference only. Blue: prediction only. Purple: both. Yellow circle: lesion that the prediction misses. Cyan dashed
circle: predicted lesion that the reference does not confirm.</p>
<p class="note">Of each mask the slices in which most is wrong, at most {{ most }}, numbered from the feet or from the
left. Axial ones are seen from the feet, the patient's left on the right-hand side. The pictures show voxels of the
images they are drawn on.</p>
<p><img src="qc/contact_sheet.png" alt="One slice of each of the {{ drawn|length }} masks, worst first"></p>
<table><tr><th>case</th><th>model</th><th>lesion type</th><th>{{ metric }}</th><th>missed</th><th>false</th></tr>
{% for one in drawn -%}
<tr><td><a href="#c{{ loop.index }}">{{ one.case_id }}</a></td><td>{{ one.rater }}</td><td>{{ one.lesion_type }}</td>
<td class="number">{{ one.shown }}</td><td class="number">{{ one.missed }}</td>
<td class="number">{{ one.false }}</td></tr>
{% endfor -%}
</table>
{% for one in drawn -%}
<h2 id="c{{ loop.index }}">{{ one.case_id }}</h2>
<p><img src="qc/{{ one.file }}" alt="{{ one.alt }}" loading="lazy"></p>
{% endfor -%}
</body></html>
"""


@dataclass(frozen=True)
class Wanted:
    """One picture: the case, the model, the lesion type, the value it is sorted by, and the file to write."""

    files: CaseFiles
    rater: str
    lesion_type: str
    metric: str
    value: float
    file: str


@dataclass(frozen=True)
class Drawn:
    """What the page says of one picture, and its worst slice for the contact sheet."""

    case_id: str
    rater: str
    lesion_type: str
    shown: str
    missed: int
    false: int
    file: str
    thumbnail: object

    @property
    def alt(self) -> str:
        """Text for those who cannot see the picture."""
        return (
            f"Slices of {self.case_id}: {self.lesion_type} by {self.rater} and reference, {self.missed} lesions missed "
            f"and {self.false} false"
        )


def write_qc(
    folder: Path,
    metrics: pd.DataFrame,
    cases: Sequence[CaseFiles],
    settings: Settings,
    count: int,
    images: Path | None = None,
    workers: Workers = 1,
) -> Path:
    """Draw the worst cases and write `qc.html` with its pictures below `qc/`.

    Parameters
    ----------
    folder : Path
        Where to write.
    metrics : pandas.DataFrame
        `tables.AGREEMENT_CASES`; the first rule's Dice (or the first of `SORTED_BY` that it reports) sorts the cases,
        cases in which it is undefined (no lesion in either mask) come last.
    cases : sequence of CaseFiles
        Where the masks are.
    settings : Settings
        Rules, models and lesion types of the evaluation.
    count : int
        Number of pictures.
    images : Path, optional
        Folder of images to draw on, see `image_of`; grey without it.
    workers : int or Dask, optional
        Local processes.

    Returns
    -------
    Path
        The page.
    """
    rule = rules_by_name(settings.rules)[0]
    metric = next((name for name in SORTED_BY if name in rule.metrics), rule.metrics[0])
    wanted, total = _worst(metrics, cases, rule.name, metric, count)
    (folder / QC_FOLDER).mkdir()
    draw = partial(draw_case, folder=folder / QC_FOLDER, settings=settings, images=images)
    drawn = map_cases(draw, wanted, lambda one: one.files.case_id, "draw", workers)
    if drawn.failures:  # the masks were read before, so this is a missing or foreign image
        raise ImageError(f"pictures: case {drawn.failures[0].case}: {drawn.failures[0].reason}")
    with style():
        sheet = contact_sheet(
            [(one.thumbnail, f"{one.case_id}\n{one.rater}: {metric} {one.shown}") for one in drawn.results]
        )
    save_picture(sheet, folder / QC_FOLDER / "contact_sheet.png")
    note = f"; {settings.note} data" if settings.note else ""
    text = (
        Environment(autoescape=True)
        .from_string(_PAGE)
        .render(
            most=MOST_SLICES,
            drawn=drawn.results,
            total=total,
            metric=metric,
            rule=rule.name,
            description=rule.description,
            note=note,
        )
    )
    with whole_file(folder / QC_PAGE) as partly:
        partly.write_text(text, encoding="utf-8")
    return folder / QC_PAGE


def draw_case(wanted: Wanted, folder: Path, settings: Settings, images: Path | None) -> Drawn:
    """Draw one mosaic.

    Raises
    ------
    ImageError
        If a file cannot be read or the image lies on another grid than the masks.
    """
    rule = rules_by_name(settings.rules)[0]
    case = read_case(wanted.files, settings.labels, settings.extras)
    reference = case.masks[REFERENCE][wanted.lesion_type]
    prediction = case.masks[wanted.rater][wanted.lesion_type]
    match = match_masks(reference, prediction, rule)
    image = image_of(wanted.files.case_id, images, reference) if images else None
    slices = slices_of_case(match, reference, prediction, image)
    missed = int((~match.reference_found).sum())
    false = int((~match.prediction_found).sum())
    shown = "undefined" if pd.isna(wanted.value) else f"{wanted.value:.3f}"
    note = f" ({settings.note} data)" if settings.note else ""
    title = (
        f"{wanted.files.case_id}, {wanted.lesion_type}: {wanted.rater} against {REFERENCE}{note}\n"
        f"{wanted.metric} {shown}; {match.reference.count} reference lesions, {missed} missed; "
        f"{match.prediction.count} predicted, {false} false; rule {rule.name}"
    )
    with style():
        figure = mosaic(slices, title)
    save_picture(figure, folder / wanted.file, dpi=110)
    values = (wanted.files.case_id, wanted.rater, wanted.lesion_type, shown, missed, false, wanted.file)
    return Drawn(*values, thumbnail=slices[0])


def image_of(case_id: str, folder: Path, reference: Volume) -> Volume:
    """Read the image that a case is drawn on: `<case_id>_0000.nii.gz` (nnU-Net's first channel) or `<case_id>.nii.gz`.

    Raises
    ------
    ImageError
        If there is neither, or it lies on another grid than the reference mask.
    """
    paths = [file_called(folder, name) for name in (f"{case_id}_0000", case_id)]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        names = " or ".join(path.name for path in paths)
        raise ImageError(f"{folder}: expected {names}, found neither. Check the folder of images.")
    return onto_grid(read_volume(path), reference)


def _worst(
    metrics: pd.DataFrame, cases: Sequence[CaseFiles], rule: str, metric: str, count: int
) -> tuple[list[Wanted], int]:
    """Pictures to draw, worst first, and how many there could be."""
    rows = metrics[(metrics["rule"] == rule) & (metrics["metric"] == metric)]
    rows = rows.sort_values(["value", "case_id"], kind="stable", na_position="last")
    files = {case.case_id: case for case in cases}
    wanted = [
        Wanted(files[row.case_id], row.rater, row.lesion_type, metric, row.value, f"{place:04d}.png")
        for place, row in enumerate(rows.head(count).itertuples(), start=1)
    ]
    return wanted, len(rows)
