"""What one reader's masks say of each visit, and of what has changed since the visit before: no reference is needed.

`nnunet-ms-measure` and `nnunet-ms-predict` write these rows; `nnunet-ms-evaluate` writes the same columns for all its
raters.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nnunet_ms import tables
from nnunet_ms.cases_table import Place
from nnunet_ms.errors import NnunetMsError
from nnunet_ms.images.volumes import Volume, read_mask
from nnunet_ms.lesions.change import CHANGE_COUNTS, CHANGE_VOLUMES, change_columns, change_table, lesion_change
from nnunet_ms.lesions.components import Connectivity
from nnunet_ms.lesions.labelling import Lesions, find_lesions
from nnunet_ms.lesions.rows import box_columns, lesion_columns
from nnunet_ms.parallel import Failure
from nnunet_ms.tables import Column, Table

CHANGES = Table(
    "lesion changes",
    (
        *(Column(name) for name in ("case_id", "patient_id", "visit")),
        Column("week", "number"),
        Column("rater"),
        Column("lesion_type"),
        Column("previous_visit"),
        Column("previous_week", "number"),
        *(Column(name) for name in ("mask", "change")),
        *(Column(name, "integer", minimum=0) for name in ("voxels", "voxels_old", "voxels_only_here")),
        *(Column(name, "number", minimum=0) for name in ("volume_ml", "changed_ml")),
        Column("data_note", blank=True),
    ),
    key=(),
)
_EXTRAS = ("mask_volume_ml", *CHANGE_COUNTS[1:], *CHANGE_VOLUMES, "previous_visit", "previous_week", "change_note")
_KEYS = [name for name in tables.VISITS.names if name not in (*_EXTRAS, tables.PRL_COUNT)]
VISIT_COLUMNS = [*_KEYS, *_EXTRAS, "rule", "data_note"]
NOT_RISING = "weeks of this visit and the one before are not known to rise"


@dataclass(frozen=True)
class Seen:
    """A mask (X, Y, Z) of one lesion type at a visit; `week` is NaN when unknown."""

    visit: str
    week: float
    mask: Volume


def change_since(before: Seen | None, here: Seen) -> tuple[dict[str, Any], pd.DataFrame | None]:
    """Compare a visit with the one before it.

    Returns
    -------
    columns : dict
        Those of `visits.csv`: counts and volumes of change, `previous_visit`, `previous_week`, and `change_note`, which
        says why two visits could not be compared; the others are left out then, and at a first visit.
    rows : pandas.DataFrame or None
        One row per lesion of either visit (`change.change_table`), with `previous_visit` and `previous_week`.

    Examples
    --------
    >>> from nnunet_ms.images.volumes import Grid
    >>> masks = np.zeros((2, 20, 20, 10), dtype=np.uint8)
    >>> masks[1, 2:5, 14:17, 6:9] = 1
    >>> grid = Grid(masks[0].shape, np.eye(4))
    >>> first, second = (Volume(mask, grid, Path("mask")) for mask in masks)
    >>> columns, rows = change_since(Seen("base", 0.0, first), Seen("w24", 24.0, second))
    >>> columns["new_lesion_count"], columns["previous_visit"], len(rows)
    (1, 'base', 1)
    >>> change_since(None, Seen("base", 0.0, first))
    ({'change_note': ''}, None)
    """
    if before is None:
        return {"change_note": ""}, None
    if not before.week < here.week:  # also when one is unknown
        return {"change_note": NOT_RISING}, None
    try:
        change = lesion_change(before.mask, here.mask)
    except NnunetMsError as error:
        return {"change_note": str(error)}, None
    previous = {"previous_visit": before.visit, "previous_week": before.week}
    return {**change_columns(change), **previous, "change_note": ""}, change_table(change).assign(**previous)


@dataclass(frozen=True)
class MaskFile:
    """The file of a case's mask, and the case's place in the trial."""

    case_id: str
    path: Path
    place: Place


Describe = Callable[[str, Lesions, Volume], Mapping[str, Any]]


@dataclass(frozen=True)
class Counting:
    """How masks become rows.

    Parameters
    ----------
    rater, rule, note : str
        Stand in every row; `rule` names what the next two say.
    connectivity : {6, 18, 26}
        Which voxels touch.
    minimum_voxels : callable
        Voxel volume in ml -> smallest lesion that counts, in voxels.
    labels : mapping
        Lesion type -> label in the masks, or labels that make it together; other labels than these and 0 are an error.
    describe : callable, optional
        Case, lesions and mask -> further columns of `lesions.csv`.
    """

    rater: str
    rule: str
    connectivity: Connectivity
    minimum_voxels: Callable[[float], int]
    labels: Mapping[str, int | tuple[int, ...]]
    note: str = ""
    describe: Describe | None = None


@dataclass
class VisitRows:
    """Rows of one patient, one list entry per case and lesion type; and the cases that could not be read."""

    lesions: list[pd.DataFrame] = field(default_factory=list)
    visits: list[dict[str, Any]] = field(default_factory=list)
    changes: list[pd.DataFrame] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def visit_table(self) -> pd.DataFrame:
        """Return `visits` as a table with all of `VISIT_COLUMNS`; counts of change are blank where there are none."""
        frame = pd.DataFrame(self.visits, columns=VISIT_COLUMNS)
        return frame.astype(dict.fromkeys(CHANGE_COUNTS, "Int64"))


def patient_visits(masks: Sequence[MaskFile], counting: Counting) -> VisitRows:
    """Measure the masks of one patient, by week; each is read once, and two at most are in memory.

    A mask that cannot be read is in `failures` and left out; the next one is compared with the visit before it.

    Examples
    --------
    >>> counting = Counting("model", "krishnan2023", 18, lambda ml: 3, {"t2_lesions": 1})
    >>> rows = patient_visits([MaskFile("P1", Path("prediction.nii.gz"), Place("P1", "base", 0.0))], counting)
    >>> rows.visit_table()[["case_id", "rater", "lesion_count", "new_lesion_count"]].values.tolist()
    [['P1', 'model', 3, <NA>]]
    """
    rows = VisitRows()
    earlier: dict[str, Seen] = {}
    for file in masks:
        try:
            known = {one for label in counting.labels.values() for one in _several(label)}
            stored = read_mask(file.path, {0, *known})
            pieces = {name: _one_type(stored, value) for name, value in counting.labels.items()}
            found = {name: _lesions(file, name, mask, counting) for name, mask in pieces.items()}
        except (NnunetMsError, OSError) as error:
            rows.failures.append(Failure(file.case_id, str(error)))
            continue
        for lesion_type, mask in pieces.items():
            lesions, table = found[lesion_type]
            here = Seen(file.place.visit, file.place.week, mask)
            columns, changed = change_since(earlier.get(lesion_type), here)
            keys = _keys(file, lesion_type, counting)
            rows.lesions.append(table)
            rows.visits.append({**keys, **_sizes(lesions), **columns, "rule": counting.rule})
            if changed is not None:
                rows.changes.append(changed.assign(**keys)[CHANGES.names])
            earlier[lesion_type] = here
    return rows


def _keys(file: MaskFile, lesion_type: str, counting: Counting) -> dict[str, Any]:
    place = vars(file.place)
    return {"case_id": file.case_id, **place, "rater": counting.rater, "lesion_type": lesion_type,
            "data_note": counting.note}  # fmt: skip


def _lesions(file: MaskFile, lesion_type: str, mask: Volume, counting: Counting) -> tuple[Lesions, pd.DataFrame]:
    """Find the lesions of one type; and their rows, with the columns of `lesions.csv` in order."""
    lesions = find_lesions(mask, counting.connectivity, counting.minimum_voxels(mask.grid.voxel_volume_ml))
    more = counting.describe(file.case_id, lesions, mask) if counting.describe else {}
    keys = _keys(file, lesion_type, counting)
    table = pd.DataFrame({**lesion_columns(lesions), **box_columns(lesions), **more})
    table = table.assign(**{name: value for name, value in keys.items() if name != "data_note"})
    first = [name for name in tables.LESIONS.names if name in table]
    table = table[[*first, *(name for name in table if name not in first)]]
    return lesions, table.assign(rule=counting.rule, data_note=counting.note)


def _sizes(lesions: Lesions) -> dict[str, Any]:
    return {
        "lesion_count": lesions.count,
        "volume_ml": lesions.volume_ml,
        "mask_volume_ml": lesions.mask_voxels * lesions.voxel_volume_ml,
    }


def _several(label: int | tuple[int, ...]) -> tuple[int, ...]:
    return (label,) if isinstance(label, int) else label


def _one_type(stored: Volume, label: int | tuple[int, ...]) -> Volume:
    return replace(stored, data=np.isin(stored.data, _several(label)).astype(np.uint8))
