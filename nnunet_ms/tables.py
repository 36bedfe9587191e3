"""One vocabulary for every table between rooms: names, units and checks. Units are in the names.

CSV (UTF-8) by default, Parquet when the suffix says so. Strings that a spreadsheet would run as a formula get a
leading apostrophe on writing and lose it on reading.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from nnunet_ms.dates import DayOrder
from nnunet_ms.errors import TableError
from nnunet_ms.meaning import Meaning
from nnunet_ms.outputs import whole_file
from nnunet_ms.parallel import Failure
from nnunet_ms.table_columns import Column as Column  # part of the vocabulary
from nnunet_ms.table_columns import spelling, typed, with_points
from nnunet_ms.table_files import delimiter_of, read_csv_file, read_parquet_file, tidy
from nnunet_ms.vocabulary import meaning_of


@dataclass(frozen=True)
class Table:
    """A table's columns, the columns that make a row unique, and whether further columns are welcome."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    extra: bool = False

    @property
    def names(self) -> list[str]:
        """Column names in order."""
        return [column.name for column in self.columns]

    def meaning(self, column: str) -> Meaning:
        """What a column means in this table, and its unit (`vocabulary`)."""
        return meaning_of(column, self.name)


REFERENCE = "reference"  # the rater that every model is compared with

# Above these no value can be what its column says: another unit, a code for "not done", or a slip of the hand.
T25FW_LIMIT_S, NHPT_LIMIT_S = 180, 300  # where the examiner stops the test (MSFC manual: Fischer et al., 2001)
WEEK_LIMIT = 5218  # a hundred years
VOLUME_LIMIT_ML = 3000  # more than any head holds

PRL_COUNT = "prl_count"  # number of rim lesions
DISABILITY_RISK = "disability_risk"  # probability of EDSS >= 3.0 that was predicted from the scan at baseline
SEQUENCES = ("flair", "t2", "t1", "t1post", "qsm")
REFERENCE_MASKS = ("t2_lesions", "t1_unenhancing", "t1_enhancing")

RIM_FILES = ("lesions", "rim_mask", "labels")  # for the target rim: lesion mask, mask of rims, labels of lesions

MANIFEST = Table(
    "trial manifest",
    (
        Column("patient_id"),
        Column("visit"),
        Column("week", "number", blank=True, maximum=WEEK_LIMIT),
        *(
            Column(name, required=False, blank=True)
            for name in (*SEQUENCES, "brain_mask", *REFERENCE_MASKS, *RIM_FILES)
        ),
        Column("site", required=False, blank=True),
    ),
    key=("patient_id", "visit"),
)

# `source_<channel>` and `sha256_<channel>` follow, one pair per channel and one for the label
CASES = Table(
    "cases",
    (
        Column("case_id"),
        Column("patient_id"),
        Column("visit"),
        Column("week", "number", blank=True, maximum=WEEK_LIMIT),
        Column("role"),
    ),
    key=("case_id",),
    extra=True,
)

# as `nnunet-ms-predict` writes them: one row per case and lesion type, with measures of volume and uncertainty
PREDICTED_CASES = Table(
    "predicted cases",
    (
        *CASES.columns,
        Column("rater"),
        Column("lesion_type"),
        Column("psu", "number", blank=True),
        Column("content_voxels", "number", minimum=0),
        *(Column(f"{step}_s", "number", required=False, minimum=0) for step in ("prepare", "predict", "write", "case")),
        Column("device", required=False),
        *(Column(f"peak_{what}_mb", "number", required=False, blank=True) for what in ("memory", "gpu_memory")),
    ),
    key=("case_id", "lesion_type"),
    extra=True,
)

HELD_OUT_VOLUMES = Table(  # cases.csv of predictions, with the volume of the reference beside
    "held-out volumes",
    (
        Column("case_id"),
        Column("patient_id", required=False),
        Column("lesion_type", required=False),
        Column("fold", "integer", required=False, blank=True, minimum=0),
        Column("expected_volume_ml", "number", minimum=0, maximum=VOLUME_LIMIT_ML),
        Column("reference_volume_ml", "number", minimum=0, maximum=VOLUME_LIMIT_ML),
    ),
    key=(),
    extra=True,
)

LESIONS = Table(
    "lesions",
    (
        Column("case_id"),
        Column("patient_id"),
        Column("visit"),
        Column("week", "number", blank=True, maximum=WEEK_LIMIT),
        Column("rater", "category"),
        Column("lesion_type", "category"),
        Column("lesion_id", "integer", minimum=1),
        Column("voxels", "integer", minimum=1),
        Column("volume_ml", "number", minimum=0, maximum=VOLUME_LIMIT_ML),
        Column("x_mm", "number"),
        Column("y_mm", "number"),
        Column("z_mm", "number"),
        Column("uncertainty", "number", required=False, blank=True),
    ),
    key=("case_id", "rater", "lesion_type", "lesion_id"),
    extra=True,
)

VISITS = Table(
    "visits",
    (
        Column("case_id"),
        Column("patient_id"),
        Column("visit"),
        Column("week", "number", blank=True, maximum=WEEK_LIMIT),
        Column("rater", "category"),
        Column("lesion_type", "category"),
        # blank where a mask of change was counted (`nnunet-ms-predict` on pairs): it does not tell all lesions
        Column("lesion_count", "integer", blank=True, minimum=0),
        Column("volume_ml", "number", blank=True, minimum=0, maximum=VOLUME_LIMIT_ML),
        Column("new_lesion_count", "integer", required=False, blank=True, minimum=0),
        Column("enlarging_lesion_count", "integer", required=False, blank=True, minimum=0),
        Column("previous_week", "number", required=False, blank=True, maximum=WEEK_LIMIT),
        Column(PRL_COUNT, "integer", required=False, blank=True, minimum=0),
    ),
    key=("case_id", "rater", "lesion_type"),
    extra=True,
)

TOGETHER = "new_or_enlarging_lesion_count"  # of who does not tell the two apart (`--target new_or_enlarging`)
COUNTED_VISITS = Table(  # as the endpoints read it
    "visits",
    (*VISITS.columns, Column(TOGETHER, "integer", required=False, blank=True, minimum=0)),
    key=VISITS.key,
    extra=True,
)

AGREEMENT_CASES = Table(
    "agreement per case",
    (
        Column("case_id"),
        Column("patient_id"),
        Column("visit"),
        Column("rater", "category"),
        Column("lesion_type", "category"),
        Column("rule"),
        Column("metric"),
        Column("value", "number", blank=True),
    ),
    key=("case_id", "rater", "lesion_type", "rule", "metric"),
    extra=True,
)

AGREEMENT = Table(
    "agreement",
    (
        Column("rater", "category"),
        Column("lesion_type", "category"),
        Column("rule"),
        Column("metric"),
        Column("mean", "number", blank=True),
        Column("sd", "number", blank=True),
        Column("n", "integer", minimum=0),
        Column("n_undefined", "integer", minimum=0),
    ),
    key=("rater", "lesion_type", "rule", "metric"),
    extra=True,
)

PATIENTS = Table(
    "patients",
    (
        Column("patient_id"),
        Column("arm", "category"),
        Column("age_years", "number", minimum=0, maximum=130),
        Column("sex", "category"),
        Column("region", "category", na_is_name=True),
        Column("edss_baseline", "number", minimum=0),
        Column("randomisation_date", "date", required=False, blank=True),
        Column("discontinued_week", "number", required=False, blank=True, maximum=WEEK_LIMIT),
        Column("discontinuation_reason", required=False, blank=True),
        Column(PRL_COUNT, "integer", required=False, blank=True, minimum=0),  # at baseline
        Column(DISABILITY_RISK, "number", required=False, blank=True, minimum=0, maximum=1),  # at baseline
    ),
    key=("patient_id",),
    extra=True,
)


def _timed_test(name: str, limit: int, test: str | None = None) -> Column:
    unable = f"{test or name}_unable"
    step = f"The test ends at {limit} s: leave the cell blank if it was not done; {unable} says who could not."
    return Column(f"{name}_s", "number", required=False, blank=True, minimum=0, maximum=limit, next_step=step)


ASSESSMENTS = Table(
    "assessments",
    (
        Column("patient_id"),
        Column("week", "number", required=False, maximum=WEEK_LIMIT),
        Column("date", "date", required=False),
        Column("edss", "number", blank=True, minimum=0),
        _timed_test("t25fw", T25FW_LIMIT_S),
        _timed_test("nhpt", NHPT_LIMIT_S),
        Column("scheduled", "flag", required=False),
        *(_timed_test(f"t25fw_{trial}", T25FW_LIMIT_S, "t25fw") for trial in (1, 2)),
        *(_timed_test(f"nhpt_{h}_{trial}", NHPT_LIMIT_S, "nhpt") for h in ("dominant", "other") for trial in (1, 2)),
        Column("t25fw_unable", "flag", required=False, blank=True),
        Column("nhpt_unable", "flag", required=False, blank=True),
    ),
    key=(),  # (patient_id, week or date): checked where it is known which of the two the table uses
)

RELAPSES = Table(
    "relapses",
    (
        Column("patient_id"),
        Column("week", "number", required=False, maximum=WEEK_LIMIT),
        Column("date", "date", required=False),
    ),
    key=(),
)

ENDPOINTS = Table(
    "endpoints",
    (
        Column("endpoint"),
        Column("analysis"),
        Column("population", blank=True),
        Column("rater", blank=True),
        Column("arm", blank=True),
        Column("contrast", blank=True),
        Column("visit", blank=True),
        Column("term", blank=True),
        Column("stat_name"),
        Column("stat", "number", blank=True),
        Column("unit", blank=True),
        Column("method", blank=True),
    ),
    key=("endpoint", "analysis", "population", "rater", "arm", "contrast", "visit", "term", "stat_name"),
)

# what the numbers of a map of labelled regions are called; several numbers may share a name
REGION_NAMES = Table(
    "names of regions", (Column("label", "integer", minimum=1), Column("name", "category")), key=("label",), extra=True
)

FAILURES = Table("failures", (Column("case_id"), Column("reason")), key=("case_id",))

_FURTHER = Column("", required=False, blank=True)
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def read_table(path: str | Path, table: Table, dates: DayOrder = "iso") -> pd.DataFrame:
    r"""Read and check a CSV or Parquet table.

    Parameters
    ----------
    path : str or Path
        Read as Parquet when its suffix says so, else as CSV in UTF-8, with commas, semicolons or tabs between its
        cells; but for the comma, numbers may have a decimal comma.
    table : Table
        Columns and key that it must have.
    dates : {"iso", "day-first", "month-first"}, optional
        What comes first in dates that are not ISO 8601; without it they are refused.

    Returns
    -------
    pandas.DataFrame
        Text as `str` (blank: None), also where a Parquet file holds numbers or categories; dates as 2021-12-31,
        without their time of day; integers as `Int64`, numbers as float64, flags as `boolean`. Unknown columns (only
        where the table allows them) are text.

    Raises
    ------
    TableError
        Naming the file, the row (1 = first below the header) and the column.

    Examples
    --------
    >>> rows = "patient_id,week,edss\nP001,0,3.5\nP001,12,\n"
    >>> _ = Path("assessments.csv").write_text(rows)
    >>> read_table(Path("assessments.csv"), ASSESSMENTS)
      patient_id  week  edss
    0       P001   0.0   3.5
    1       P001  12.0   NaN
    >>> _ = Path("assessments.csv").write_text(rows.replace("3.5", "low"))
    >>> read_table(Path("assessments.csv"), ASSESSMENTS)
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.TableError: assessments.csv: row 1, column edss: expected a number >= 0, found 'low' (1 ...
    """
    path = Path(path)
    frame = _load(path)
    check_columns(frame, table, path)
    kinds = {column.name: column for column in table.columns}
    if path.suffix.lower() != ".parquet" and delimiter_of(path)[0] != ",":
        frame = with_points(frame, [n for n in frame if n in kinds and kinds[n].kind in ("number", "integer")], path)
    columns = {str(name): typed(frame[name], kinds.get(str(name), _FURTHER), path, dates) for name in frame}
    checked = pd.DataFrame(columns, index=frame.index)
    check_unique(checked, table.key, path)
    return checked


def check_columns(frame: pd.DataFrame, table: Table, path: str | Path) -> None:
    """Raise TableError for a missing required column or, where the table is closed, an unknown one.

    Examples
    --------
    >>> check_columns(pd.DataFrame({"patient_id": ["P001"]}), RELAPSES, Path("relapses.csv"))
    >>> check_columns(pd.DataFrame({"patient": ["P001"]}), RELAPSES, Path("relapses.csv"))
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.TableError: relapses.csv: relapses needs columns ['patient_id'], found ['patient']. Add them.
    """
    missing = [c.name for c in table.columns if c.required and c.name not in frame]
    if missing:
        step = _renamed(missing, frame) or "Add them."
        raise TableError(f"{path}: {table.name} needs columns {missing}, found {list(frame.columns)}. {step}")
    unknown = [name for name in frame.columns if name not in table.names]
    if unknown and not table.extra:
        raise TableError(
            f"{path}: {table.name} has unknown columns {unknown}; known are {table.names}. Rename or remove them."
        )


def _renamed(missing: Sequence[str], frame: pd.DataFrame) -> str:
    """Return which columns to rename: those that differ from the names in capitals, blanks and dashes only."""
    if frame.shape[1] == 1 and all(name in str(frame.columns[0]) for name in missing):
        return "Save the table with commas, semicolons or tabs between its cells."
    meant = {spelling(str(name)): str(name) for name in frame}
    pairs = [f"{meant[spelling(name)]!r} to {name}" for name in missing if spelling(name) in meant]
    return f"Rename {', '.join(pairs)}." if pairs else ""


def check_unique(frame: pd.DataFrame, key: Sequence[str], path: str | Path) -> None:
    """Raise TableError if two rows share their `key`.

    Examples
    --------
    >>> check_unique(pd.DataFrame({"patient_id": ["a", "b", "a"]}), ["patient_id"], Path("patients.csv"))
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.TableError: patients.csv: row 3: patient_id a stands twice; expected one row each. Remove ...
    """
    if not key:
        return
    again = np.flatnonzero(frame.duplicated(subset=list(key), keep="first"))
    if again.size:
        row = int(again[0])
        value = ", ".join(f"{name} {frame[name].iloc[row]}" for name in key)
        raise TableError(f"{path}: row {row + 1}: {value} stands twice; expected one row each. Remove one of them.")


def write_table(frame: pd.DataFrame, path: str | Path) -> None:
    r"""Write a table, complete or not at all; Parquet when the suffix is .parquet, else CSV.

    Examples
    --------
    >>> write_table(pd.DataFrame({"patient_id": ["P001"], "volume_ml": [1.5]}), Path("volumes.csv"))
    >>> Path("volumes.csv").read_text()
    'patient_id,volume_ml\nP001,1.5\n'
    """
    path = Path(path)
    with whole_file(path) as partial:
        if path.suffix == ".parquet":
            frame.to_parquet(partial, index=False)
        else:
            partial.write_text(csv_text(frame), encoding="utf-8", newline="")


def write_failures(failures: Iterable[Failure], path: str | Path) -> None:
    """Write `FAILURES`: the cases that are in no other table of a folder, and why; a table without rows where all are.

    Examples
    --------
    >>> write_failures([Failure("P1_base", "no reference mask")], "failures.csv")
    >>> print(Path("failures.csv").read_text().rstrip())
    case_id,reason
    P1_base,no reference mask
    """
    rows = [(failure.case, failure.reason) for failure in failures]
    write_table(pd.DataFrame(rows, columns=FAILURES.names), path)


def csv_text(frame: pd.DataFrame, *, header: bool = True) -> str:
    r"""The text of a CSV table as `write_table` writes it; without header, so that pieces can follow one another.

    Examples
    --------
    >>> csv_text(pd.DataFrame({"note": ["=1+1", "plain"]}))
    "note\n'=1+1\nplain\n"
    """
    return str(_guarded(frame).to_csv(index=False, lineterminator="\n", header=header))


def _load(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise TableError(f"{path}: no such file. Check the path and the spelling.")
    return read_parquet_file(path) if path.suffix.lower() == ".parquet" else read_csv_file(path, None, _unguard)


def _guarded(frame: pd.DataFrame) -> pd.DataFrame:
    text = [name for name in frame.columns if frame[name].dtype == object]
    guarded = frame.assign(**{name: frame[name].map(_guard) for name in text})
    return guarded.rename(columns={name: _guard(name) for name in guarded.columns})


def _guard(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA_STARTS) else value


# how spreadsheets keep the zeros of an id: '001 and ="001"
_KEPT_AS_TEXT = re.compile(r"'(\d+)|=\"([^\"]*)\"", re.ASCII)


def _unguard(value: str) -> str:
    text = tidy(value)
    if kept := _KEPT_AS_TEXT.fullmatch(text):
        return kept[1] or kept[2]
    return text[1:] if text[:1] == "'" and text[1:].startswith(_FORMULA_STARTS) else text
