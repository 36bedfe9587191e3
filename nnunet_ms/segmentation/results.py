"""What is known of one patient after segmentation: visits with their files and numbers, the model, the warnings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class ScanWarning:
    """A reason not to believe a prediction before looking at the scan.

    Attributes
    ----------
    name : str
        One of `scan_warnings.WARNINGS`.
    sequence : str
        Whose image shows it; blank where it is about the visit.
    found, known : str
        What the image shows, and what the model knows or what was expected, with numbers and units.
    advice : str
        What to do next.
    """

    name: str
    sequence: str
    found: str
    known: str
    advice: str = ""

    @property
    def text(self) -> str:
        """All of it on one line.

        Examples
        --------
        >>> ScanWarning("slice_thickness", "flair", "slices of 6 mm", "0.9 to 3.3 mm").text
        'flair: slice_thickness: slices of 6 mm, known 0.9 to 3.3 mm.'
        """
        where = f"{self.sequence}: " if self.sequence else ""
        return f"{where}{self.name}: {self.found}, known {self.known}. {self.advice}".strip()


@dataclass(frozen=True)
class ModelNotes:
    """What the page says of the model.

    Attributes
    ----------
    reference : str
        Name and version, such as `ms-any-small==1`, or the folder of a model that was not packed.
    title, licence : str
        Of `model.json`; blank where it is not known.
    card : str
        Text of MODEL_CARD.md; blank without one.
    seen : mapping of str to str
        What the training has seen, in words by what it is about (`TrainingRange.words`); empty where it is not known.
    """

    reference: str
    title: str = ""
    licence: str = ""
    card: str = ""
    seen: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class VisitResult:
    """One visit of a patient.

    Attributes
    ----------
    visit : str
        Its name; blank where there is one scan without a name.
    mask : Path
        Mask of lesions on the grid of the first of `images`.
    images : mapping of str to Path
        Sequence -> image. Pictures show the first, so it is FLAIR where there is one.
    lesions : pandas.DataFrame
        Rows of lesions.csv: `lesion_id`, `volume_ml`, `x_mm`, `y_mm`, `z_mm`, and `uncertainty` and `location` where
        they are known. Several lesion types are told apart by `lesion_type`.
    numbers : mapping
        Row of cases.csv: `lesion_count`, `volume_ml`, `expected_volume_ml`, `volume_ml_low`, `volume_ml_high`, `psu`...
        NaN and None say that a number is not known.
    change : mapping
        Row of visits.csv: `previous_visit`, `new_lesion_count`, ... and `change_note`; empty at a first visit.
    maps : mapping of str to Path
        `entropy` (nats) and others on the grid of the mask; may be empty.
    week : float or None
        Since the first visit.
    date : str
        As given, ISO 8601; blank where it is not known.
    warnings : tuple of ScanWarning
        From `scan_warnings.check_scan`.
    notes : tuple of str
        What else a reader should know, such as "predicted without t2".
    """

    visit: str
    mask: Path
    images: Mapping[str, Path]
    lesions: pd.DataFrame
    numbers: Mapping[str, Any]
    change: Mapping[str, Any] = field(default_factory=dict)
    maps: Mapping[str, Path] = field(default_factory=dict)
    week: float | None = None
    date: str = ""
    warnings: tuple[ScanWarning, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PatientResult:
    """A patient: visits in their order in time, the model, and what made the page.

    Attributes
    ----------
    patient_id : str
        Names the page: `<patient_id>.html`.
    visits : tuple of VisitResult
        At least one, the latest last.
    model : ModelNotes
        That made the masks.
    made_with : str
        Program and version, such as `nnunet-ms 0.2.0`.
    """

    patient_id: str
    visits: tuple[VisitResult, ...]
    model: ModelNotes
    made_with: str = ""
