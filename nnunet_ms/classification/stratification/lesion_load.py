"""Lesion load of scans from the tables that this package writes: `visits.csv` of a measurement or a prediction."""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from nnunet_ms.classification.stratification.cohort import Cohort
from nnunet_ms.errors import TableError
from nnunet_ms.tables import VISITS, read_table

LESION_TYPE = "t2_lesions"


def with_lesion_load(scans: pd.DataFrame, visits: str | Path, rater: str | None = None) -> tuple[pd.DataFrame, str]:
    r"""Fill blank lesion volumes of scans from `visits.csv`, by patient and visit; what is told there already stays.

    Parameters
    ----------
    scans : pandas.DataFrame
        With `patient_id`, `visit` and, where some are known, `lesion_volume_ml`.
    visits : str or Path
        `visits.csv` of `nnunet-ms-measure` or `nnunet-ms-predict`: T2 lesion volumes.
    rater : str, optional
        Whose volumes, where the table has several raters' or models'.

    Returns
    -------
    scans : pandas.DataFrame
        A copy.
    note : str
        How many volumes came from there, how many stayed, how many scans have none.

    Raises
    ------
    TableError
        If the table has no T2 lesion volumes, several raters and none is named, another rater is named, two rows are
        of one visit, or it knows none of the scans.

    Examples
    --------
    >>> header = "case_id,patient_id,visit,week,rater,lesion_type,lesion_count,volume_ml"
    >>> _ = Path("visits.csv").write_text(f"{header}\nP1_a,P1,a,0,model,t2_lesions,3,4.5\n")
    >>> scans = pd.DataFrame({"patient_id": ["P1", "P2"], "visit": "a"})
    >>> filled, note = with_lesion_load(scans, "visits.csv")
    >>> filled["lesion_volume_ml"].tolist(), note
    ([4.5, nan], 'lesion load: 1 of 2 scans from visits.csv (model), 0 told before, 1 without.')
    """
    path = Path(visits)
    table = read_table(path, VISITS)
    table = table[(table["lesion_type"] == LESION_TYPE) & table["volume_ml"].notna()]
    name = _rater(table, path, rater)
    table = table[table["rater"].astype(str) == name]
    twice = table[table.duplicated(["patient_id", "visit"])]
    if len(twice):
        patient, visit = (twice[column].iloc[0] for column in ("patient_id", "visit"))
        raise TableError(
            f"{path}: expected one T2 lesion volume of patient {patient}, visit {visit} by {name}, found several. "
            "Keep one row."
        )
    known = table.set_index(["patient_id", "visit"])["volume_ml"]
    keys = pd.MultiIndex.from_frame(scans[["patient_id", "visit"]].astype(str))
    found = known.set_axis(known.index.map(lambda key: tuple(map(str, key)))).reindex(keys).to_numpy(dtype=float)
    if not (~pd.isna(found)).any():
        raise TableError(
            f"{path}: expected patients and visits of the scans, such as {' '.join(keys[0])}, found none of them, but "
            f"{' '.join(str(part) for part in known.index[0])}. Correct the names in one of the tables."
        )
    before = pd.to_numeric(scans.get("lesion_volume_ml", pd.Series(float("nan"), index=scans.index))).astype(float)
    filled = before.where(before.notna(), pd.Series(found, index=scans.index))
    counts = int((before.isna() & filled.notna()).sum()), int(before.notna().sum()), int(filled.isna().sum())
    note = (
        f"lesion load: {counts[0]} of {len(scans)} scans from {path.name} ({name}), {counts[1]} told before, "
        f"{counts[2]} without."
    )
    return scans.assign(lesion_volume_ml=filled), note


def cohort_with_lesion_load(cohort: Cohort, visits: str | Path, rater: str | None = None) -> tuple[Cohort, str]:
    """The same for a cohort that has been read from its manifest; parameters and errors as of `with_lesion_load`."""
    rows = [(case.patient_id, case.visit, case.lesion_volume_ml) for case in cohort.cases]
    filled, note = with_lesion_load(
        pd.DataFrame(rows, columns=["patient_id", "visit", "lesion_volume_ml"]), visits, rater
    )
    volumes = filled["lesion_volume_ml"].astype(float)
    cases = [replace(case, lesion_volume_ml=float(ml)) for case, ml in zip(cohort.cases, volumes, strict=True)]
    return replace(cohort, cases=cases), note


def _rater(table: pd.DataFrame, path: Path, rater: str | None) -> str:
    raters = sorted(table["rater"].astype(str).unique())
    if not raters:
        raise TableError(f"{path}: expected volumes of {LESION_TYPE}, found none. nnunet-ms-measure writes them.")
    if rater is not None and rater not in raters:
        raise TableError(f"{path}: expected rows of the rater {rater!r}, found those of {raters}. Name one of them.")
    if rater is None and len(raters) > 1:
        raise TableError(f"{path}: expected lesion volumes of one rater, found those of {raters}. Name one of them.")
    return rater or raters[0]
