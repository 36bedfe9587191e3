"""Which scans there are and how disabled the patient was in the half year after each: a manifest, one row per scan."""

import datetime
import math
import os
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd

from nnunet_ms.errors import TableError
from nnunet_ms.options import chosen
from nnunet_ms.parallel import Failure
from nnunet_ms.plain_names import plain_name
from nnunet_ms.tables import VOLUME_LIMIT_ML, Column, Table, read_table

EarlierEdss = Literal["refuse", "use"]
FILE_COLUMNS = ("t1", "flair", "brain_mask", "region_labels")
REQUIRED = ("t1", "flair")
DISABLED = 3.0  # EDSS from which a patient counts as disabled
LONGEST_DAYS = 183  # six months
DAYS_LIMIT = 36525  # a hundred years
SCALE = (0.0, *(n / 2 for n in range(2, 21)))  # 0, 1, 1.5, ... 10: 0.5 does not exist
DISABILITY_MANIFEST = Table(
    "disability manifest",
    (
        Column("patient_id"),
        Column("visit"),
        Column("scan_date", "date", required=False, blank=True),
        Column("scan_day", "number", required=False, blank=True, minimum=-DAYS_LIMIT, maximum=DAYS_LIMIT),
        *(Column(name, required=name in REQUIRED, blank=True) for name in FILE_COLUMNS),
        Column("age_years", "number", required=False, blank=True, minimum=0, maximum=130),
        Column("sex", "category", required=False, blank=True),
        Column("field_tesla", "number", required=False, blank=True, minimum=0.1, maximum=12),
        Column("lesion_volume_ml", "number", required=False, blank=True, minimum=0, maximum=VOLUME_LIMIT_ML),
        Column("edss", "number", blank=True, minimum=0, maximum=10),
        Column("edss_date", "date", required=False, blank=True),
        Column("edss_day", "number", required=False, blank=True, minimum=-DAYS_LIMIT, maximum=DAYS_LIMIT),
    ),
    key=("patient_id", "visit"),
)


@dataclass(frozen=True)
class ScanCase:
    """One scan of one patient with the EDSS that followed; numbers that are not told are NaN, texts blank.

    Attributes
    ----------
    t1, flair, brain_mask, region_labels : Path or None
        Files; nothing of them has been read.
    edss : float
        Expanded disability status scale of the assessment that belongs to the scan.
    disabled : bool
        EDSS >= 3.0.
    days_to_edss : float
        From the scan to the assessment; negative where an earlier one was asked for.
    scan_date, scan_day : str, float
        When the scan was, as the manifest tells it; blank and NaN where it does not.
    """

    patient_id: str
    visit: str
    t1: Path
    flair: Path
    brain_mask: Path | None
    region_labels: Path | None
    age_years: float
    sex: str
    field_tesla: float
    lesion_volume_ml: float
    edss: float
    disabled: bool
    days_to_edss: float
    scan_date: str = ""
    scan_day: float = math.nan

    @property
    def case_id(self) -> str:
        """Name of the scan in messages and of its files: patient and visit."""
        return f"{self.patient_id}_{self.visit}"

    @property
    def edss_is_earlier(self) -> bool:
        """Whether the assessment was before the scan."""
        return self.days_to_edss < 0


@dataclass(frozen=True)
class Cohort:
    """Scans with an outcome, in the order of the rows, and those left out, each with its reason."""

    cases: list[ScanCase]
    left_out: list[Failure]


def read_cohort(manifest: str | Path, earlier_edss: EarlierEdss = "refuse") -> Cohort:
    r"""Read a manifest; only the table is opened.

    A scan is left out, and listed, where it has no EDSS, or one of more than 183 days after it or before it. All else
    that cannot be meant is an error.

    Parameters
    ----------
    manifest : str or Path
        CSV with the columns of `DISABILITY_MANIFEST`; paths are relative to it. Times are dates (`scan_date`,
        `edss_date`) or days of one count (`scan_day`, `edss_day`), in each row one kind.
    earlier_edss : {"refuse", "use"}, optional
        What becomes of an assessment of up to 183 days *before* the scan. The paper's follow the scan.

    Returns
    -------
    Cohort

    Raises
    ------
    TableError
        If a column is missing or unknown, an EDSS is not on the scale (0, 1, 1.5, ... 10), times are missing or of two
        kinds, T1 or FLAIR is missing or shared, a name cannot be one of a file, a patient has two sexes or spellings,
        or all that is left are of one class.
    OptionError
        If `earlier_edss` is another word.

    References
    ----------
    Coll L et al. J Magn Reson Imaging 60:258-267, 2024. doi:10.1002/jmri.29046

    Examples
    --------
    >>> rows = ["patient_id,visit,scan_day,t1,flair,edss,edss_day"]
    >>> rows += ["P1,base,0,P1_t1.nii.gz,P1_flair.nii.gz,2.5,30", "P2,base,0,P2_t1.nii.gz,P2_flair.nii.gz,4,183"]
    >>> rows += ["P3,base,0,P3_t1.nii.gz,P3_flair.nii.gz,,"]
    >>> _ = Path("manifest.csv").write_text("\n".join(rows))
    >>> cohort = read_cohort("manifest.csv")
    >>> [(case.case_id, case.disabled, case.days_to_edss) for case in cohort.cases]
    [('P1_base', False, 30.0), ('P2_base', True, 183.0)]
    >>> cohort.left_out[0].reason
    'row 3: no EDSS'
    >>> _ = Path("manifest.csv").write_text("\n".join(rows).replace(",4,", ",0.5,"))
    >>> read_cohort("manifest.csv")
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.TableError: manifest.csv: row 2 (patient P2, visit base), column edss: expected 0, 1, 1.5, ... ...
    """
    chosen(earlier_edss, get_args(EarlierEdss), "earlier_edss")
    manifest = Path(manifest)
    if manifest.is_dir():
        raise TableError(
            f"{manifest}: expected a manifest, a CSV with one row per scan, found a folder. Name the CSV in it."
        )
    rows = read_table(manifest, DISABILITY_MANIFEST).to_dict("records")
    if not rows:
        raise TableError(f"{manifest}: expected a row for each scan, found none below the header. Fill it in.")
    for number, row in enumerate(rows, start=1):
        _check_row(row, _where(manifest, number, row))
    _check_across(rows, manifest)
    cases: list[ScanCase] = []
    left_out: list[Failure] = []
    for number, row in enumerate(rows, start=1):
        case = _case(row, manifest.parent, _days_to_edss(row, _where(manifest, number, row)))
        reason = _left_out(case, earlier_edss)
        if reason:
            left_out.append(Failure(case.case_id, f"row {number}: {reason}"))
        else:
            cases.append(case)
    _check_classes(cases, left_out, manifest)
    return Cohort(cases, left_out)


def _where(manifest: Path, number: int, row: Mapping[Any, Any]) -> str:
    return f"{manifest}: row {number} (patient {row['patient_id']}, visit {row['visit']})"


def _is_blank(value: object) -> bool:
    return value is None or bool(pd.isna(value))


def _number(row: Mapping[Any, Any], name: str) -> float:
    value = row.get(name)
    return math.nan if _is_blank(value) else float(str(value))


def _check_row(row: Mapping[Any, Any], where: str) -> None:
    for name in REQUIRED:
        if _is_blank(row[name]):
            raise TableError(
                f"{where}: expected a path in column {name}, found a blank. Fill it in, or remove the row: networks "
                "see T1 and FLAIR."
            )
    edss = _number(row, "edss")
    if not math.isnan(edss) and edss not in SCALE:
        raise TableError(
            f"{where}, column edss: expected 0, 1, 1.5, ... 10 (0.5 does not exist), found {edss:g}. Correct it, or "
            "leave it blank."
        )
    for name in ("patient_id", "visit"):  # become names of files
        plain_name(str(row[name]), f"{where}, column {name}", TableError)
    given = {name: os.path.normpath(str(row[name])) for name in FILE_COLUMNS if not _is_blank(row.get(name))}
    for name, path in given.items():
        twins = [other for other in given if given[other] == path and other != name]
        if twins:
            raise TableError(f"{where}: columns {name} and {twins[0]} name one file, {path}. Correct one of them.")


def _days_to_edss(row: Mapping[Any, Any], where: str) -> float:
    """Days from the scan to its assessment; NaN where there is none."""
    if _is_blank(row["edss"]):
        return math.nan
    kinds = {kind: [row.get(f"{what}_{kind}") for what in ("scan", "edss")] for kind in ("date", "day")}
    whole = [kind for kind, pair in kinds.items() if not any(_is_blank(one) for one in pair)]
    part = [kind for kind, pair in kinds.items() if any(not _is_blank(one) for one in pair)]
    if len(whole) != 1 or len(part) != 1:
        found = "both kinds" if len(part) == 2 else "one of the two times" if part else "neither"
        raise TableError(
            f"{where}: expected scan_date and edss_date, or scan_day and edss_day, found {found}. Without them it is "
            "not known whether the assessment followed the scan. Fill in one pair."
        )
    scan, assessed = kinds[whole[0]]
    if whole == ["date"]:
        return float((datetime.date.fromisoformat(str(assessed)) - datetime.date.fromisoformat(str(scan))).days)
    return float(str(assessed)) - float(str(scan))


def _case(row: Mapping[Any, Any], folder: Path, days: float) -> ScanCase:
    files = {name: None if _is_blank(row.get(name)) else folder / str(row[name]) for name in FILE_COLUMNS}
    edss = _number(row, "edss")
    return ScanCase(
        patient_id=str(row["patient_id"]),
        visit=str(row["visit"]),
        t1=folder / str(row["t1"]),
        flair=folder / str(row["flair"]),
        brain_mask=files["brain_mask"],
        region_labels=files["region_labels"],
        age_years=_number(row, "age_years"),
        sex="" if _is_blank(row.get("sex")) else str(row["sex"]),
        field_tesla=_number(row, "field_tesla"),
        lesion_volume_ml=_number(row, "lesion_volume_ml"),
        edss=edss,
        disabled=edss >= DISABLED,
        days_to_edss=days,
        scan_date="" if _is_blank(row.get("scan_date")) else str(row["scan_date"]),
        scan_day=_number(row, "scan_day"),
    )


def _left_out(case: ScanCase, earlier_edss: EarlierEdss) -> str:
    """Why a scan has no outcome; blank where it has one."""
    if math.isnan(case.edss):
        return "no EDSS"
    if abs(case.days_to_edss) > LONGEST_DAYS:
        side = "before" if case.edss_is_earlier else "after"
        return f"EDSS {abs(case.days_to_edss):g} days {side} the scan, more than {LONGEST_DAYS}"
    if case.edss_is_earlier and earlier_edss == "refuse":
        return f"EDSS {-case.days_to_edss:g} days before the scan"
    return ""


def _check_across(rows: Sequence[Mapping[Any, Any]], manifest: Path) -> None:
    for message in (*_shared_files(rows), *_two_sexes(rows), *_one_name(rows)):
        raise TableError(f"{manifest}: {message}")


def _shared_files(rows: Sequence[Mapping[Any, Any]]) -> Iterator[str]:
    for name in FILE_COLUMNS:
        first: dict[str, int] = {}
        for number, row in enumerate(rows, start=1):
            if _is_blank(row.get(name)):
                continue
            path = os.path.normpath(str(row[name]))  # ./t1.nii.gz is t1.nii.gz
            if (other := first.setdefault(path, number)) != number:
                yield (
                    f"row {number}, column {name}: expected a file of its own, found {row[name]}, which is that of row "
                    f"{other} too. Correct one of them."
                )


def _two_sexes(rows: Sequence[Mapping[Any, Any]]) -> Iterator[str]:
    first: dict[str, tuple[int, str]] = {}
    for number, row in enumerate(rows, start=1):
        if _is_blank(row.get("sex")):
            continue
        other, sex = first.setdefault(str(row["patient_id"]), (number, str(row["sex"])))
        if sex != row["sex"]:
            yield (
                f"rows {other} and {number}: expected one sex of patient {row['patient_id']}, found {sex} and "
                f"{row['sex']}. Correct one of them; are they two patients?"
            )


def _one_name(rows: Sequence[Mapping[Any, Any]]) -> Iterator[str]:
    """P_1 at v and P at 1_v would be one name of files, and so are p1 and P1 to macOS and Windows.

    One patient in two spellings would also be in two folds.
    """
    first: dict[str, int] = {}
    spelling: dict[str, str] = {}
    for number, row in enumerate(rows, start=1):
        patient, name = str(row["patient_id"]), f"{row['patient_id']}_{row['visit']}"
        if (before := spelling.setdefault(_folded(patient), patient)) != patient:
            yield (
                f"row {number}, column patient_id: expected one spelling of one patient, found {patient!a} and "
                f"{before!a}. Correct it, or rename one of them."
            )
        if (other := first.setdefault(_folded(name), number)) != number:
            yield f"rows {other} and {number}: expected names of their own, found {name} for both. Rename one visit."


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _check_classes(cases: Sequence[ScanCase], left_out: Sequence[Failure], manifest: Path) -> None:
    disabled = sum(case.disabled for case in cases)
    if 0 < disabled < len(cases):
        return
    found = "no scan with an outcome" if not cases else f"{disabled} and {len(cases) - disabled}"
    reasons = "".join(f"; {one.case}, {one.reason}" for one in left_out[:3])
    raise TableError(
        f"{manifest}: expected scans with EDSS >= {DISABLED:g} and below, found {found} ({len(left_out)} left "
        f"out{reasons}). Add patients of the other class, or correct the times."
    )
