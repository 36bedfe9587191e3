"""One HTML file per patient: volumes, counts, places, change, pictures, uncertainty in words, what is new to the model.

The file needs no network and no other file. It shows voxels of the patient's head: treat it as patients' data.
"""

import base64
from pathlib import Path

from nnunet_ms.analysis.report.render import page_template
from nnunet_ms.errors import SettingsError
from nnunet_ms.options import known_keywords
from nnunet_ms.outputs import whole_file
from nnunet_ms.plain_names import plain_name
from nnunet_ms.segmentation.page_pictures import picture_of
from nnunet_ms.segmentation.page_words import (
    calibration_words,
    card_parts,
    change_words,
    glance,
    place_rows,
    uncertain_rows,
    uncertainty_words,
    visit_title,
)
from nnunet_ms.segmentation.results import PatientResult

TEMPLATE = "patient_page.html.j2"


@known_keywords
def write_patient_page(folder: str | Path, patient: PatientResult) -> Path:
    """Write `<patient_id>.html` into a folder, complete or absent; an older one is replaced.

    Parameters
    ----------
    folder : str or Path
        Made if it is not there.
    patient : PatientResult
        With its visits in their order; masks and images are read for the pictures.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    SettingsError
        If the patient has no visit, or a name that is no file name.
    ImageError
        If an image or a mask cannot be read, or the two do not lie on each other.

    Examples
    --------
    >>> import pandas as pd
    >>> from nnunet_ms.segmentation.results import ModelNotes, VisitResult
    >>> lesions = pd.DataFrame({"lesion_id": [1], "volume_ml": [0.4], "x_mm": 9.0, "y_mm": 9.0, "z_mm": 18.0})
    >>> visit = VisitResult("", Path("reference.nii.gz"), {"flair": Path("flair.nii.gz")}, lesions, {"volume_ml": 0.4})
    >>> page = write_patient_page(Path("pages"), PatientResult("P001", (visit,), ModelNotes("ms-any==1")))
    >>> page.name, "not a medical device" in page.read_text()
    ('P001.html', True)
    """
    if not patient.visits:
        raise SettingsError(f"patient {patient.patient_id}: expected a visit, found none. Segment a scan first.")
    page = Path(folder) / f"{plain_name(patient.patient_id, 'patient_id')}.html"
    latest_first = [_visit(patient, number) for number in reversed(range(len(patient.visits)))]
    text = page_template(TEMPLATE, "nnunet_ms.segmentation").render(
        patient=patient, visits=latest_first, card=card_parts(patient.model.card), course=_course(patient)
    )
    page.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(page) as partial:
        partial.write_text(text, encoding="utf-8")
    return page


def _visit(patient: PatientResult, number: int) -> dict[str, object]:
    """What the template shows of a visit."""
    visit = patient.visits[number]
    title = visit_title(visit, number)
    picture = base64.b64encode(picture_of(visit, f"{patient.patient_id}, {title}")).decode("ascii")
    return {
        "title": title,
        "result": visit,
        "glance": glance(visit),
        "places": place_rows(visit.lesions),
        "change": change_words(visit),
        "uncertainty": [*uncertainty_words(visit), *calibration_words(visit)],
        "uncertain": uncertain_rows(visit.lesions),
        "picture": f"data:image/png;base64,{picture}",
    }


def _course(patient: PatientResult) -> list[dict[str, str]]:
    """One row per visit: what the table over all visits shows."""
    visits = patient.visits if len(patient.visits) > 1 else ()
    rows = [{"Visit": visit_title(visit, number), **glance(visit)} for number, visit in enumerate(visits)]
    names = list(dict.fromkeys(name for row in rows for name in row))  # one visit may have what another lacks
    return [{name: row.get(name, "not known") for name in names} for row in rows]
