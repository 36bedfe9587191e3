"""Which cases a data set holds: `cases.csv`, read in one way by all that need a case's patient, visit and week."""

import math
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from nnunet_ms.errors import TableError
from nnunet_ms.tables import CASES, Table, read_table

CASES_FILE = "cases.csv"
NO_VISIT = "unknown"  # tables require a visit; without cases.csv nobody knows it


@dataclass(frozen=True)
class Place:
    """A case's place in the trial; `week` is NaN when unknown."""

    patient_id: str
    visit: str = NO_VISIT
    week: float = math.nan


def read_cases(path: str | Path, table: Table = CASES) -> pd.DataFrame:
    """Read a table of cases.

    Parameters
    ----------
    path : str or Path
        The table, or the folder that holds it as cases.csv, such as a raw dataset.
    table : Table, optional
        `CASES`, or one with further columns that must be there.

    Returns
    -------
    pandas.DataFrame
        One row per case; further columns stay as text.

    Raises
    ------
    TableError
        If there is no such table, or it lacks a column or names a case twice.

    Examples
    --------
    >>> from nnunet_ms.tables import write_table
    >>> rows = [("P1_base", "P1", "base", 0, "train"), ("P1_w24", "P1", "w24", 24, "train")]
    >>> write_table(pd.DataFrame(rows, columns=CASES.names), "Dataset801_Trial/cases.csv")
    >>> read_cases("Dataset801_Trial")["week"].tolist()
    [0.0, 24.0]
    """
    path = Path(path)
    if path.is_dir():
        if not (path / CASES_FILE).is_file():
            raise TableError(f"{path}: expected {CASES_FILE} in it, found none. Is this the folder of a dataset?")
        path /= CASES_FILE
    return read_table(path, table)


def places(cases: pd.DataFrame) -> dict[str, Place]:
    """Place of every case in the trial, from `read_cases`.

    Examples
    --------
    >>> row = {"case_id": "P1_base", "patient_id": "P1", "visit": "base", "week": 0.0}
    >>> places(pd.DataFrame([row]))["P1_base"]
    Place(patient_id='P1', visit='base', week=0.0)
    """
    columns = (cases[name] for name in ("case_id", "patient_id", "visit", "week"))
    return {case: Place(patient, visit, week) for case, patient, visit, week in zip(*columns, strict=True)}
