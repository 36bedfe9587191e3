"""A folder of lesions to learn from or to judge: rows, radiomic features and patches of every visit of a manifest.

========================  ===========================================================================================
`settings.json`           what all visits are made with
`lesions.csv`             `DATASET_LESIONS`: one row per lesion
`features.csv`            the keys of `lesions.csv`, in its order, and the columns of `features.feature_names`
`boxes/<visit>.npz`       of a visit, in its rows' order: `patches`, (n, 2, D, H, W) float32, and `lesion_id`, (n,)
`rim_visits.csv`          `DATASET_VISITS`: one row per visit, those without lesions too
`label_problems.csv`      `PROBLEMS`: labels that did not become the label of one lesion
`failures.csv`            visits and lesions that are in none of the above, and why
`visits/<visit>.json`     what is known of one visit; an interrupted call goes on after the last of them
========================  ===========================================================================================
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nnunet_ms.classification.rim.cohort import FILE_COLUMNS, RimCase, read_cohort
from nnunet_ms.classification.rim.features import feature_names, rim_features
from nnunet_ms.classification.rim.lesion_boxes import DEFAULT, BoxSettings, RimLesion, visit_lesions
from nnunet_ms.classification.rim.lesion_set import DATASET_LESIONS, KEYS
from nnunet_ms.classification.step_folder import claim_folder, digest_of
from nnunet_ms.errors import ImageError
from nnunet_ms.lesions.lesion_labels import PROBLEMS
from nnunet_ms.locks import sole_run
from nnunet_ms.options import known_keywords
from nnunet_ms.outputs import remove_leftovers, whole_file
from nnunet_ms.parallel import Failure, Workers, map_cases
from nnunet_ms.tables import WEEK_LIMIT, Column, Table, write_failures, write_table

MOST_WITHOUT_QSM = 0.5  # of a lesion: what is left is not the lesion that was drawn
FEATURES = "PyRadiomics 3.0.1, 527 features"  # changes when a value would

DATASET_VISITS = Table(
    "rim_visits",
    (
        *(Column(name) for name in ("patient_id", "visit")),
        Column("week", "number", blank=True, maximum=WEEK_LIMIT),
        *(Column(name, "integer", minimum=0) for name in ("lesion_count", "labelled", "rim_positive")),
        *(Column(name, "integer", minimum=0) for name in ("too_small", "too_small_rims", "not_measured")),
    ),
    key=("patient_id", "visit"),
)


@dataclass(frozen=True)
class RimDataset:
    """The tables of a folder, as written to `out`, and what is in none of them."""

    lesions: pd.DataFrame
    features: pd.DataFrame
    visits: pd.DataFrame
    label_problems: pd.DataFrame
    failures: list[Failure]
    out: Path


@known_keywords
def rim_dataset(
    manifest: str | Path, out: str | Path, settings: BoxSettings = DEFAULT, workers: Workers = 1
) -> RimDataset:
    r"""Measure the lesions of every visit of a manifest; visits that are done are not done again.

    Parameters
    ----------
    manifest : path
        CSV of `cohort.RIM_MANIFEST`.
    out : path
        Folder to fill. A visit in it is kept while its files, and its row, are as they were.
    settings : BoxSettings, optional
        How lesions are found and cut; those of the folder, if it has some.
    workers : int or Dask, optional
        As in `parallel.map_cases`.

    Returns
    -------
    RimDataset
        A visit that cannot be read and a lesion that cannot be measured are among the failures.

    Raises
    ------
    TableError
        If the manifest is not one, see `cohort.read_cohort`.
    SettingsError
        If the folder was made with other settings, or another run is filling it.

    Examples
    --------
    >>> from nnunet_ms.images.volumes import write_volume
    >>> x, y, z = np.indices((40, 40, 20)) - np.array([20, 20, 10]).reshape(3, 1, 1, 1)
    >>> lesion = x**2 + y**2 + (2 * z) ** 2 < 40
    >>> qsm = np.where(lesion, 60.0, 20.0 * np.sin(x + y)) + 10 * np.cos(3 * z)
    >>> for name, data in (("qsm", qsm), ("lesions", lesion.astype(np.uint8))):
    ...     write_volume(f"{name}.nii.gz", data, np.diag([1.0, 1.0, 2.0, 1.0]))
    >>> _ = Path("rims.csv").write_text("patient_id,visit,qsm,lesions\nP1,base,qsm.nii.gz,lesions.nii.gz\n")
    >>> found = rim_dataset("rims.csv", "rim_data")
    >>> found.lesions[["patient_id", "lesion_id", "voxels"]].values.tolist(), found.features.shape
    ([['P1', 1, 495]], (1, 530))
    """
    cases, out = read_cohort(manifest), Path(out)
    with sole_run(out):
        claim_folder(out, {"features": FEATURES, **asdict(settings)})
        remove_leftovers(out)
        wanted = [case for case in cases if _known(case, out) is None]
        done = map_cases(partial(_measure, out=out, settings=settings), wanted, _name, "visits", workers)
        return _write_tables(cases, done.failures, out)


def _name(case: RimCase) -> str:
    return case.case_id


def _made_from(case: RimCase) -> str:
    """What a visit is made from: its row and its files."""
    told = [case.patient_id, case.visit, repr(case.week)]
    return digest_of(told, {name: getattr(case, name) for name in FILE_COLUMNS})


def _note(case: RimCase, out: Path) -> Path:
    return out / "visits" / f"{case.case_id}.json"


def _box(case: RimCase, out: Path) -> Path:
    return out / "boxes" / f"{case.case_id}.npz"


def _known(case: RimCase, out: Path) -> dict[str, Any] | None:
    """What is noted of a visit, if it was made from the same files; a damaged note is none."""
    try:
        note: dict[str, Any] = json.loads(_note(case, out).read_text(encoding="utf-8"))
        is_same = note["made_from"] == _made_from(case) and note["box_bytes"] == _box(case, out).stat().st_size
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return note if is_same else None


def _measure(case: RimCase, out: Path, settings: BoxSettings) -> None:
    """Write the patches of a visit, and then its note."""
    made_from = _made_from(case)  # before reading: a file that changes meanwhile is read again by the next call
    found = visit_lesions(case, settings)
    measured: list[tuple[RimLesion, list[float]]] = []
    failures: list[tuple[int, str]] = []
    for lesion in found.lesions:
        try:
            _check_qsm(lesion)
            measured.append((lesion, list(rim_features(lesion.qsm_ppb, lesion.mask, lesion.spacing_mm).values())))
        except ImageError as error:
            failures.append((lesion.lesion_id, str(error)))
    _write_box([lesion for lesion, _ in measured], settings, _box(case, out))
    note = {
        "made_from": made_from,
        "box_bytes": _box(case, out).stat().st_size,
        "lesions": [lesion.row for lesion, _ in measured],
        "features": [values for _, values in measured],
        "too_small": found.too_small,
        "too_small_rims": found.too_small_rims,
        "problems": [(*astuple(problem), problem.reason) for problem in found.problems],
        "failures": failures,
    }
    with whole_file(_note(case, out)) as partial_file:
        partial_file.write_text(json.dumps(note), encoding="utf-8")


def _check_qsm(lesion: RimLesion) -> None:
    if lesion.no_qsm_share > MOST_WITHOUT_QSM:
        raise ImageError(
            f"expected QSM below the lesion, found {lesion.no_qsm_share:.0%} of its {lesion.voxels} voxels without: 0, "
            "as outside of a reconstruction. Reconstruct in a larger mask, or read the lesion without QSM."
        )


def without_qsm_note(lesions: pd.DataFrame) -> str:
    """One line on lesions that lie partly where there is no QSM; blank where none does.

    Examples
    --------
    >>> without_qsm_note(pd.DataFrame({"no_qsm_share": [0.0, 0.25, 0.1]}))
    '2 lesions lie partly where the map is 0, as outside of a reconstruction (up to 25 % of a lesion): no_qsm_share.'
    """
    shares = pd.to_numeric(lesions.get("no_qsm_share", pd.Series(dtype=float))).fillna(0)
    some = int((shares > 0).sum())
    if not some:
        return ""
    return (
        f"{some} lesions lie partly where the map is 0, as outside of a reconstruction (up to "
        f"{100 * shares.max():.0f} % of a lesion): no_qsm_share."
    )


def _write_box(lesions: Sequence[RimLesion], settings: BoxSettings, path: Path) -> None:
    patches = np.zeros((len(lesions), 2, *settings.geometry), dtype=np.float32)
    for place, lesion in enumerate(lesions):
        patches[place] = lesion.patch
    with whole_file(path) as partial_file:
        np.savez(partial_file, patches=patches, lesion_id=np.array([one.lesion_id for one in lesions], dtype=np.int64))


def _write_tables(cases: Sequence[RimCase], failures: Sequence[Failure], out: Path) -> RimDataset:
    """Put the notes of all visits together, in the order of the manifest."""
    notes = [(case, note) for case in cases if (note := _known(case, out)) is not None]
    rows = [row for _, note in notes for row in note["lesions"]]
    lesions = pd.DataFrame(rows, columns=DATASET_LESIONS.names)
    values = [one for _, note in notes for one in note["features"]]
    measured = np.array(values, dtype=float).reshape(len(rows), len(feature_names()))
    features = pd.concat([lesions[list(KEYS)], pd.DataFrame(measured, columns=list(feature_names()))], axis=1)
    visits = pd.DataFrame([_visit_row(case, note) for case, note in notes], columns=DATASET_VISITS.names)
    problems = pd.DataFrame([row for pair in notes for row in _problem_rows(*pair)], columns=PROBLEMS.names)
    problems["lesion_id"] = problems["lesion_id"].astype("Int64")
    of_lesions = [
        Failure(f"{case.case_id} lesion {lesion_id}", reason)
        for case, note in notes
        for lesion_id, reason in note["failures"]
    ]
    found = RimDataset(lesions, features, visits, problems, [*failures, *of_lesions], out)
    for name, frame in (
        ("lesions", lesions),
        ("features", features),
        ("rim_visits", visits),
        ("label_problems", problems),
    ):
        write_table(frame, out / f"{name}.csv")
    write_failures(found.failures, out / "failures.csv")
    return found


def _visit_row(case: RimCase, note: Mapping[str, Any]) -> dict[str, object]:
    labels = [row["label"] for row in note["lesions"]]
    return {
        "patient_id": case.patient_id,
        "visit": case.visit,
        "week": case.week,
        "lesion_count": len(labels),
        "labelled": sum(not math.isnan(label) for label in labels),
        "rim_positive": sum(label == 1 for label in labels),
        "too_small": note["too_small"],
        "too_small_rims": note["too_small_rims"],
        "not_measured": len(note["failures"]),
    }


def _problem_rows(case: RimCase, note: Mapping[str, Any]) -> list[tuple[object, ...]]:
    return [
        (case.patient_id, case.visit, *place, label, kind, lesion_id, distance, reason)
        for kind, label, place, lesion_id, distance, reason in note["problems"]
    ]
