"""`visits.csv` and `lesion_changes.csv` of predicted masks, as `nnunet-ms-measure` writes them, for the endpoints."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from nnunet_ms import tables
from nnunet_ms.cases_table import Place
from nnunet_ms.errors import ImageError
from nnunet_ms.lesions.rims import CORE, RIM
from nnunet_ms.lesions.visits import CHANGES, Counting, MaskFile, VisitRows, patient_visits
from nnunet_ms.parallel import Workers, map_cases
from nnunet_ms.trainers.prediction.case_measures import Measuring
from nnunet_ms.trainers.prediction.image_cases import ImageCase
from nnunet_ms.trainers.prediction.lesion_uncertainty import CONNECTIVITY, MINIMUM_VOXELS

CHANGE_KINDS = ("new", "enlarging", "resolved", "shrinking")
TOGETHER = {"new_or_enlarging": "new and enlarging", "resolved_or_shrinking": "resolved and shrinking"}
CHANGE_WORDS = (*CHANGE_KINDS, "existing", "previous", "change")  # how the columns of change begin
OF_CHANGE = "counted in a mask of change: lesion_count and volume_ml of all lesions are not known from it"
RULE = "krishnan2023"  # the rule of evaluation with this connectivity and this smallest lesion


def rule_name(minimum_voxels: int) -> str:
    """What the column `rule` says of lesions in predicted masks.

    Examples
    --------
    >>> rule_name(3), rule_name(5)
    ('krishnan2023', '18-connected, at least 5 voxels')
    """
    if minimum_voxels == MINIMUM_VOXELS:
        return RULE
    return f"{CONNECTIVITY}-connected, at least {minimum_voxels} voxels"


def write_visits(
    cases: Sequence[ImageCase], out: Path, measuring: Measuring, rater: str, note: str, workers: Workers = 1
) -> pd.DataFrame:
    """Read the masks of all cases, patient by patient, write both tables, and return `visits.csv`.

    Parameters
    ----------
    cases : sequence of ImageCase
        Those whose `<case>.nii.gz` lies in `out`.
    out : Path
        The output folder.
    measuring : Measuring
        Lesion types with their labels, and the smallest lesion.
    rater, note : str
        Stand in every row.
    workers : int or Dask, optional
        Processes.

    Raises
    ------
    ImageError
        If a mask cannot be read.
    """
    patients: dict[str, list[MaskFile]] = defaultdict(list)
    for case in sorted(cases, key=lambda case: (case.week != case.week, case.week, case.case_id)):
        place = Place(case.patient_id, case.visit, case.week)
        patients[case.patient_id].append(MaskFile(case.case_id, out / f"{case.case_id}.nii.gz", place))
    smallest = partial(_at_least, measuring.minimum_voxels)
    rule = rule_name(measuring.minimum_voxels)
    labels: dict[str, int | tuple[int, ...]] = dict(measuring.classes)
    if measuring.rim is not None:  # a lesion is core and rim
        labels = {measuring.classes[0][0]: (CORE, RIM)}
    counting = Counting(rater, rule, CONNECTIVITY, smallest, labels, note)
    done = map_cases(partial(_table_rows, counting=counting), list(patients.values()), _patient, "visits", workers)
    if done.failures:  # of masks that this run wrote
        raise ImageError(f"{out}: visits.csv: case {done.failures[0].case}: {done.failures[0].reason}")
    told = [row for part in done.results for row in part.visits]
    if measuring.pairs:
        told = _of_pairs(told, cases, measuring)
    rows = VisitRows(visits=told)
    visits = _with_together(rows).sort_values("case_id", kind="stable", ignore_index=True)
    changed = [] if measuring.pairs else [frame for part in done.results for frame in part.changes]
    changes = pd.concat(changed, ignore_index=True) if changed else pd.DataFrame(columns=CHANGES.names)
    tables.write_table(visits, out / "visits.csv")
    tables.write_table(changes.sort_values("case_id", kind="stable"), out / "lesion_changes.csv")
    return visits


def _of_pairs(
    rows: Sequence[Mapping[str, Any]], cases: Sequence[ImageCase], measuring: Measuring
) -> list[dict[str, Any]]:
    """Rows whose masks are of change themselves, and are not compared with those of the pair before.

    What the endpoints count stands in one row per case, of the lesions whose change it is; how many lesions there are
    in all, and how large, such masks do not tell. Kinds that the model does not tell apart have columns of their own.
    """
    case_of = {case.case_id: case for case in cases}
    counted: dict[str, dict[str, Any]] = {}
    for row in rows:
        kind = row["lesion_type"] if measuring.pairs == "all" else measuring.pairs
        case = case_of[row["case_id"]]
        kept = {name: value for name, value in row.items() if not name.startswith(CHANGE_WORDS)}
        kept |= {"previous_visit": case.previous_visit or None, "previous_week": case.previous_week}
        blank = dict.fromkeys(("lesion_count", "volume_ml", "mask_volume_ml"))
        merged = counted.setdefault(
            case.case_id, kept | blank | {"lesion_type": measuring.lesions, "change_note": OF_CHANGE}
        )
        if kind in TOGETHER:
            merged["change_note"] += f"; {TOGETHER[kind]} lesions are not told apart"
        merged |= {f"{kind}_lesion_count": row["lesion_count"], f"{kind}_volume_ml": row["volume_ml"]}
    return list(counted.values())


def _with_together(rows: VisitRows) -> pd.DataFrame:
    """Return `visits.csv`, with columns of kinds that are not told apart where there are such."""
    visits = rows.visit_table()
    for kind in TOGETHER:
        for name, dtype in ((f"{kind}_lesion_count", "Int64"), (f"{kind}_volume_ml", "float64")):
            if any(name in row for row in rows.visits):
                visits[name] = pd.array([row.get(name) for row in rows.visits], dtype=dtype)
    return visits


def _at_least(voxels: int, voxel_volume_ml: float) -> int:  # noqa: ARG001 - other rules state their filter in mm3
    return voxels


def _patient(masks: Sequence[MaskFile]) -> str:
    return masks[0].place.patient_id


def _table_rows(masks: Sequence[MaskFile], counting: Counting) -> VisitRows:
    """The rows of visits and changes; those of lesions, with their uncertainty, are written with each case."""
    rows = patient_visits(masks, counting)
    if rows.failures:
        raise ImageError("; ".join(failure.reason for failure in rows.failures))
    rows.lesions.clear()
    return rows
