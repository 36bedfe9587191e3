"""Which visits there are: a manifest of QSM, FLAIR, lesion masks and labels, one row per visit."""

import math
import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from nnunet_ms.errors import TableError
from nnunet_ms.plain_names import plain_name
from nnunet_ms.tables import WEEK_LIMIT, Column, Table, read_table

FILE_COLUMNS = ("qsm", "flair", "lesions", "brain_mask", "labels")
REQUIRED = ("qsm", "lesions")
OF_ONE_PATIENT = ("flair", "labels")  # two visits of a patient may share these, two patients may not

RIM_MANIFEST = Table(
    "rim manifest",
    (
        Column("patient_id"),
        Column("visit"),
        Column("week", "number", required=False, blank=True, maximum=WEEK_LIMIT),
        *(Column(name, required=name in REQUIRED, blank=True) for name in FILE_COLUMNS),
        Column("site", required=False, blank=True),
    ),
    key=("patient_id", "visit"),
)


@dataclass(frozen=True)
class RimCase:
    """One visit of one patient: its files; None where the manifest gives none. Nothing of them has been read.

    Attributes
    ----------
    week : float
        NaN where it is not told.
    qsm : Path
        Quantitative susceptibility in ppb.
    lesions : Path
        Lesion mask of 0 and 1, drawn on FLAIR or on QSM.
    labels : Path or None
        A CSV of centroids (`x_mm, y_mm, z_mm, label` in mm, RAS+), or an image of 0 none, 1 rim-, 2 rim+.
    """

    patient_id: str
    visit: str
    week: float
    qsm: Path
    flair: Path | None
    lesions: Path
    brain_mask: Path | None = None
    labels: Path | None = None
    site: str = ""

    @property
    def case_id(self) -> str:
        """Name of the visit in messages and of its files: patient and visit."""
        return f"{self.patient_id}_{self.visit}"


def read_cohort(manifest: str | Path) -> list[RimCase]:
    r"""Read a manifest; only the table is opened.

    Parameters
    ----------
    manifest : str or Path
        CSV with the columns of `RIM_MANIFEST`; paths are relative to it; a blank is a file that there is not.

    Returns
    -------
    list of RimCase
        In the order of the rows.

    Raises
    ------
    TableError
        If a column is missing or unknown, a visit stands twice, a row has no QSM or no lesion mask, a file has two
        roles, two rows share a QSM or a lesion mask, two patients a FLAIR or labels; if a patient or a visit cannot
        be a part of a file's name, or two of them differ in capitals or accents' encoding alone.

    Examples
    --------
    >>> rows = "patient_id,visit,week,qsm,flair,lesions\nP1,base,0,P1/qsm.nii.gz,,P1/lesions.nii.gz\n"
    >>> _ = Path("manifest.csv").write_text(rows)
    >>> [(case.case_id, case.flair) for case in read_cohort("manifest.csv")]
    [('P1_base', None)]
    >>> _ = Path("manifest.csv").write_text(rows.replace("P1/lesions.nii.gz", ""))
    >>> read_cohort("manifest.csv")
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.TableError: manifest.csv: row 1 (patient P1, visit base): expected a path in column lesions, ...
    """
    manifest = Path(manifest)
    if manifest.is_dir():
        raise TableError(
            f"{manifest}: expected a manifest, a CSV with one row per visit, found a folder. Name the CSV in it."
        )
    frame = read_table(manifest, RIM_MANIFEST)
    if frame.empty:
        raise TableError(f"{manifest}: expected a row for each visit, found none below the header. Fill it in.")
    rows = frame.to_dict("records")
    for number, row in enumerate(rows, start=1):
        _check_row(row, number, manifest)
    for name in REQUIRED:
        _check_not_shared(rows, name, manifest)
    for name in OF_ONE_PATIENT:
        _check_not_shared(rows, name, manifest, but_within="patient_id")
    _check_names(rows, manifest)
    return [_case(row, manifest.parent) for row in rows]


def _case(row: dict[str, object], folder: Path) -> RimCase:
    files = {name: folder / str(row[name]) if row.get(name) is not None else None for name in FILE_COLUMNS}
    week = row.get("week")
    return RimCase(
        patient_id=str(row["patient_id"]),
        visit=str(row["visit"]),
        week=math.nan if week is None or pd.isna(week) else float(str(week)),
        qsm=folder / str(row["qsm"]),
        flair=files["flair"],
        lesions=folder / str(row["lesions"]),
        brain_mask=files["brain_mask"],
        labels=files["labels"],
        site=str(row.get("site") or ""),
    )


def _check_row(row: dict[str, object], number: int, manifest: Path) -> None:
    for name in ("patient_id", "visit"):
        plain_name(row[name], f"{manifest}: row {number}, column {name}", TableError)
    where = f"{manifest}: row {number} (patient {row['patient_id']}, visit {row['visit']})"
    for name in REQUIRED:
        if row[name] is None:
            raise TableError(
                f"{where}: expected a path in column {name}, found a blank. Fill it in, or remove the row: rims cannot "
                "be told without it."
            )
    given = {name: str(row[name]) for name in FILE_COLUMNS if row.get(name) is not None}
    for name, path in given.items():
        twins = [other for other in given if _place(given[other]) == _place(path) and other != name]
        if twins and {name, *twins} != {"lesions", "labels"}:
            raise TableError(f"{where}: columns {name} and {twins[0]} name one file, {path}. Correct one of them.")


def _place(path: object) -> str | None:
    """One text for `./a`, `a` and `b/../a`; links are not followed, since stores link equal files to one."""
    return None if path is None else os.path.normpath(str(path))


def _check_not_shared(
    rows: Sequence[dict[str, object]], column: str, manifest: Path, but_within: str | None = None
) -> None:
    first: dict[str, int] = {}
    for number, row in enumerate(rows, start=1):
        path = _place(row.get(column))
        if path is None:
            continue
        other = first.setdefault(path, number)
        if other != number and (but_within is None or rows[other - 1][but_within] != row[but_within]):
            raise TableError(
                f"{manifest}: row {number}, column {column}: {path} is the file of row {other} too; expected one per "
                f"{'visit' if but_within is None else 'patient'}. Correct one of them."
            )


def _check_names(rows: Sequence[dict[str, object]], manifest: Path) -> None:
    """P_1 at v and P at 1_v would overwrite each other's files; p1 and P1 are one file to macOS and Windows.

    One patient in two spellings would also be in two folds, and a model judged on whom it has seen.
    """
    first: dict[str, int] = {}
    spelling: dict[str, str] = {}
    for number, row in enumerate(rows, start=1):
        patient, name = str(row["patient_id"]), f"{row['patient_id']}_{row['visit']}"
        before = spelling.setdefault(_folded(patient), patient)
        if before != patient:
            raise TableError(
                f"{manifest}: row {number}, column patient_id: {patient!a} and {before!a} differ in capitals or in how "
                "an accent is stored alone; expected one spelling of one patient. Correct it, or rename one of them."
            )
        other = first.setdefault(_folded(name), number)
        if other != number:
            raise TableError(
                f"{manifest}: rows {other} and {number}: both would be called {name} in files. Rename one visit."
            )


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
