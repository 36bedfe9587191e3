"""The page of every patient of a run, from what was prepared and predicted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from nnunet_ms.dataset_conversion.cases import place_in_time
from nnunet_ms.parallel import Failure, Workers, map_cases
from nnunet_ms.segmentation.chosen_model import ChosenModel
from nnunet_ms.segmentation.patient_page import write_patient_page
from nnunet_ms.segmentation.prepared_scans import Prepared
from nnunet_ms.segmentation.results import ModelNotes, PatientResult, VisitResult
from nnunet_ms.segmentation.scans import page_name
from nnunet_ms.trainers.packages.card import CARD
from nnunet_ms.versions import version_of

PAGES = "pages"


@dataclass(frozen=True)
class Numbers:
    """Tables of all cases of a run, as predicted."""

    lesions: pd.DataFrame
    cases: pd.DataFrame
    visits: pd.DataFrame


def notes_of_model(model: ChosenModel, seen: Mapping[str, str]) -> ModelNotes:
    """What the page says of the model; `seen` is what is known of its training, in words."""
    path = model.model.folder / CARD
    card = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    title, licence = (model.facts.title, model.facts.licence) if model.facts else ("", "")
    return ModelNotes(model.reference, title, licence, card, seen)


def write_pages(
    prepared: Sequence[Prepared],
    predictions: Path,
    out: Path,
    numbers: Numbers,
    model: ModelNotes,
    workers: Workers = 1,
) -> list[Failure]:
    """Write `pages/<patient>.html`; pictures show the images as the network got them, all visits in one place.

    Returns
    -------
    list of Failure
        Patients without a page.
    """
    patients: dict[str, list[Prepared]] = {}
    for one in sorted(prepared, key=lambda one: place_in_time(one.case)):
        patients.setdefault(one.case.patient_id, []).append(one)
    results = [
        PatientResult(
            page_name(patient),
            tuple(_visit(one, predictions, numbers) for one in visits),
            model,
            f"nnunet-ms {version_of('nnunet-ms')}",
        )
        for patient, visits in patients.items()
    ]
    work = partial(write_patient_page, out / PAGES)
    return map_cases(work, results, lambda one: f"page of {one.patient_id}", "pages", workers).failures


def _visit(one: Prepared, predictions: Path, numbers: Numbers) -> VisitResult:
    case_id, week = one.case.case_id, one.case.week
    entropy = predictions / "entropy" / f"{case_id}.nii.gz"
    return VisitResult(
        visit=one.case.visit,
        mask=predictions / f"{case_id}.nii.gz",
        images=one.images,
        lesions=numbers.lesions[numbers.lesions["case_id"] == case_id],
        numbers=_row(numbers.cases, case_id),
        change=_row(numbers.visits, case_id),
        maps={"entropy": entropy} if entropy.is_file() else {},
        week=week,
        warnings=one.warnings,
        notes=one.notes,
    )


def _row(table: pd.DataFrame, case_id: str) -> dict[str, Any]:
    rows = table[table["case_id"] == case_id].to_dict("records")
    return {str(name): value for name, value in rows[0].items()} if rows else {}
