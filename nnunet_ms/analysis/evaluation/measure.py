"""Measure folders of masks without a reference: lesions, volumes, and what changed since the visit before.

A trial that is read by the model alone, or by one reader alone, gets its tables here; `nnunet-ms-endpoints` takes
`visits.csv` as it is. Written into the output folder:

========================  =================================================================================
`lesions.csv`             `tables.LESIONS`, with the bounding box (`x_first` to `z_last`, voxel indices), means of maps,
                          `location`, `rule`, `data_note`
`visits.csv`              `tables.VISITS`, with the columns of change that `nnunet-ms-evaluate` writes: blank at a first
                          visit, or where `change_note` says why two visits could not be compared
`lesion_changes.csv`      one row per lesion of two compared visits and what became of it
`qc.html`, `qc/`          pictures, on request
`failures.csv`            `tables.FAILURES`: cases that are in none of the above, and why
========================  =================================================================================
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from nnunet_ms import tables
from nnunet_ms.analysis.evaluation.asked import Place, Places, check_output, path, paths
from nnunet_ms.analysis.evaluation.measured_pictures import QC_FOLDER, QC_PAGE, write_pictures
from nnunet_ms.analysis.evaluation.pairing import SUFFIX, masks_in, some
from nnunet_ms.analysis.evaluation.patient_rows import check_map_names
from nnunet_ms.analysis.evaluation.rules import rules_by_name
from nnunet_ms.analysis.evaluation.table_pieces import Piece, join_pieces, write_pieces
from nnunet_ms.cases_table import Place as CasePlace
from nnunet_ms.cases_table import places, read_cases
from nnunet_ms.errors import ImageError, OptionError, SettingsError
from nnunet_ms.images.grids import onto_grid
from nnunet_ms.images.volumes import Volume, read_volume
from nnunet_ms.lesions.features import REGIONS, locate, mean_of_map
from nnunet_ms.lesions.labelling import Lesions
from nnunet_ms.lesions.visits import CHANGES, Counting, MaskFile, patient_visits
from nnunet_ms.options import known_keywords
from nnunet_ms.outputs import whole_folder
from nnunet_ms.parallel import Failure, Workers, map_cases
from nnunet_ms.plain_names import plain_name
from nnunet_ms.threads import one_thread

_FILES = ("lesions.csv", "visits.csv", "lesion_changes.csv", "failures.csv", QC_PAGE, QC_FOLDER)
_SCRATCH = ".pieces"
_LESION_COLUMNS = [name for name in tables.LESIONS.names if name != "uncertainty"]


@dataclass(frozen=True)
class Measurement:
    """The tables as written to `out`; lesions and their changes stay on disk.

    `missing`: cases of the table of cases that no folder has a mask of. `left_out`: masks that it does not name.
    """

    visits: pd.DataFrame
    failures: list[Failure]
    missing: list[str]
    left_out: list[str]
    out: Path

    @property
    def lesions(self) -> pd.DataFrame:
        """`lesions.csv`, read from `out`."""
        return tables.read_table(self.out / "lesions.csv", tables.LESIONS)

    @property
    def changes(self) -> pd.DataFrame:
        """`lesion_changes.csv`, read from `out`."""
        return tables.read_table(self.out / "lesion_changes.csv", CHANGES)


@one_thread
@known_keywords
def measure(
    masks: Place | Places,
    out: Place,
    cases: Place | None = None,
    rule: str = "krishnan2023",
    rater: str | None = None,
    lesion_type: str = "t2_lesions",
    workers: Workers = 1,
    note: str = "",
    labels: Mapping[str, int] | None = None,
    *,
    maps: Places | None = None,
    regions: Places | None = None,
    images: Place | None = None,
    pictures: int = 0,
) -> Measurement:
    """Measure masks of one or several readers, each by itself, and write tables and pictures.

    Parameters
    ----------
    masks : path or mapping
        Folder of `<case_id>.nii.gz`, or several: reader's name -> folder.
    out : path
        Folder to write, complete or not at all. An earlier measurement there is replaced.
    cases : path, optional
        `tables.CASES`: gives patient, visit and week, and restricts the masks to the cases that it names. Without it
        every case is its own patient, and nothing is compared with a visit before.
    rule : str, optional
        Name in `rules.RULES`, whose components and size filter are used.
    rater : str, optional
        Name of the reader when `masks` is one folder ("model"); "reference" for a human reading.
    lesion_type : str, optional
        Label 1 of the masks, unless `labels` is given.
    workers : int or Dask, optional
        Local processes, >= 1, or a cluster, whose workers must see the files under the same paths.
    note : str, optional
        What the data are, such as "simulated".
    labels : mapping, optional
        Lesion type -> label, for masks that hold several types.
    maps, regions : mapping, optional
        As `evaluate.evaluate` has them.
    images : path, optional
        Folder of `<case_id>_0000.nii.gz` or `<case_id>.nii.gz` to draw on.
    pictures : int, optional
        Number of cases to draw, those with the most new and enlarging lesions first, then those with most volume.

    Raises
    ------
    SettingsError
        If a folder is missing or has no mask, a name cannot be used, or `out` holds something else.
    TableError
        If `cases` is not a cases table.
    ImageError
        If not one mask could be measured.

    Examples
    --------
    >>> done = measure("predictions", "measured", rater="multi_arm_t2")
    >>> done.visits[["rater", "lesion_count", "new_lesion_count"]].values.tolist()
    [['multi_arm_t2', 3, <NA>]]
    >>> done.lesions["volume_ml"].round(3).tolist()
    [0.096, 0.432, 0.012]
    """
    asked = _Asked(
        folders=_folders(masks, rater),
        labels={name.strip(): value for name, value in (labels or {lesion_type: 1}).items()},
        rule=rule,
        note=note.strip(),
        maps=paths(maps),
        regions=paths(regions),
        images=path(images),
        pictures=pictures,
    )
    _check(asked)
    target = Path(out).resolve()  # follows a link to a folder, so that the folder is replaced and not the link
    check_output(target, lambda name: name in _FILES)
    patients, missing, left_out = _patients(asked.folders, path(cases))
    with whole_folder(target, replace=True) as folder:
        visits, failures = _measure_patients(patients, asked, workers, folder)
        if asked.pictures:
            files = {name: [m for (r, _), of in patients.items() if r == name for m in of] for name in asked.folders}
            write_pictures(folder, visits, files, asked.labels, asked.pictures, asked.images, asked.note, workers)
    return Measurement(visits, failures, missing, left_out, target)


@dataclass(frozen=True)
class _Asked:
    folders: dict[str, Path]
    labels: dict[str, int]
    rule: str
    note: str = ""
    maps: Mapping[str, Path] = field(default_factory=dict)
    regions: Mapping[str, Path] = field(default_factory=dict)
    images: Path | None = None
    pictures: int = 0

    def counting(self, rater: str) -> Counting:
        """How the masks of one reader become rows."""
        rule = rules_by_name((self.rule,))[0]
        describe = partial(_describe, maps=self.maps, regions=self.regions) if self.maps or self.regions else None
        return Counting(rater, rule.name, rule.connectivity, rule.minimum_voxels, self.labels, self.note, describe)


def _folders(masks: Place | Places, rater: str | None) -> dict[str, Path]:
    if isinstance(masks, str | Path):
        return {"model" if rater is None else rater.strip(): Path(masks)}
    if rater is not None:
        raise SettingsError(f"rater: expected no name beside readers that have names, found {rater!r}. Leave it out.")
    return paths(masks)


def _check(asked: _Asked) -> None:
    """Raise SettingsError unless names, labels and numbers are such as can be, and the folders are there."""
    rules_by_name((asked.rule,))
    check_map_names(list(asked.maps))
    for what, names in (("rater", asked.folders), ("lesion type", asked.labels), ("map", asked.maps)):
        if (not names and what != "map") or len({name.lower() for name in names}) < len(names):
            raise SettingsError(f"{what}: expected different names, found {list(names)}. Correct them.")
        for name in names:
            if not name:
                raise SettingsError(f"{what}: expected a name, found a blank. Name it.")
            plain_name(name, what)
    values = list(asked.labels.values())
    if len(set(values)) < len(values) or not all(0 < value < 256 for value in values):
        raise SettingsError(f"labels: expected different whole numbers 1 to 255, found {values}. Correct them.")
    strange = sorted(set(asked.regions) - set(REGIONS))
    if strange:
        raise SettingsError(f"regions: expected some of {list(REGIONS)}, found {strange}. Rename them.")
    if asked.pictures < 0:
        raise OptionError(f"pictures: expected a number of cases to draw, found {asked.pictures}. Give 0 or more.")
    for folder in (*asked.maps.values(), *asked.regions.values(), *([asked.images] if asked.images else [])):
        if not folder.is_dir():
            raise SettingsError(f"{folder}: expected a folder of images, found none. Check the path.")


def _patients(
    folders: Mapping[str, Path], cases: Path | None
) -> tuple[dict[tuple[str, str], list[MaskFile]], list[str], list[str]]:
    """Masks by reader and patient, by week; the cases without a mask, and the masks without a case."""
    found = {rater: masks_in(folder) for rater, folder in folders.items()}
    names = sorted({name for files in found.values() for name in files})
    known = places(read_cases(cases)) if cases else {name: CasePlace(name) for name in names}
    patients: dict[tuple[str, str], list[MaskFile]] = {}
    for rater, files in found.items():
        there = [MaskFile(name, file, known[name]) for name, file in files.items() if name in known]
        if not there:
            named = f" of the cases named in {cases}" if cases else ""
            raise SettingsError(
                f"{folders[rater]}: expected masks <case_id>{SUFFIX}{named}, found {some(files)}. Check the folder and "
                "the file names."
            )
        for mask in sorted(there, key=lambda m: (m.place.week != m.place.week, m.place.week, m.case_id)):
            patients.setdefault((rater, mask.place.patient_id), []).append(mask)
    missing = [name for name in known if name not in names]
    return patients, missing, [name for name in names if name not in known]


@dataclass(frozen=True)
class _Part:
    """What is left of one patient's rows once those of lesions and changes are on disk."""

    visits: pd.DataFrame
    failures: list[Failure]
    pieces: dict[str, list[Piece]]
    columns: dict[str, list[str]]


def _measure_patients(
    patients: Mapping[tuple[str, str], list[MaskFile]], asked: _Asked, workers: Workers, folder: Path
) -> tuple[pd.DataFrame, list[Failure]]:
    scratch = folder / _SCRATCH
    scratch.mkdir()
    work = partial(_one_patient, asked=asked, folder=scratch)
    done = map_cases(work, list(enumerate(patients.items())), lambda one: one[1][0][1], "measure", workers)
    failures = sorted([*done.failures, *(f for part in done.results for f in part.failures)], key=lambda f: f.case)
    parts = [part.visits for part in done.results if len(part.visits)]
    if not parts:
        listed = "; ".join(f"{failure.case}: {failure.reason}" for failure in failures[:3])
        raise ImageError(f"none of {len(failures)} masks could be measured. {listed}")
    visits = pd.concat(parts, ignore_index=True).sort_values("case_id", kind="stable", ignore_index=True)
    for table, usual in {"lesions": _LESION_COLUMNS, "lesion_changes": CHANGES.names}.items():
        columns = next((part.columns[table] for part in done.results if part.columns[table]), usual)
        pieces = sorted((p for part in done.results for p in part.pieces[table]), key=lambda piece: piece.case_id)
        join_pieces(columns, pieces, folder / f"{table}.csv")
    shutil.rmtree(scratch)
    tables.write_table(visits, folder / "visits.csv")
    tables.write_failures(failures, folder / "failures.csv")
    return visits, failures


def _one_patient(one: tuple[int, tuple[tuple[str, str], Sequence[MaskFile]]], asked: _Asked, folder: Path) -> _Part:
    number, ((rater, _), masks) = one
    rows = patient_visits(masks, asked.counting(rater))
    pieces, columns = {}, {}
    for table, frames in {"lesions": rows.lesions, "lesion_changes": rows.changes}.items():
        by_case: dict[str, pd.DataFrame] = {}
        for case_id, frame in ((frame["case_id"].iloc[0], frame) for frame in frames if len(frame)):
            by_case[case_id] = pd.concat([by_case[case_id], frame]) if case_id in by_case else frame
        columns[table] = next((list(frame.columns) for frame in frames), [])
        pieces[table] = write_pieces(by_case, folder / f"{table}-{number}.csv")
    return _Part(rows.visit_table(), rows.failures, pieces, columns)


def _describe(
    case_id: str, lesions: Lesions, mask: Volume, *, maps: Mapping[str, Path], regions: Mapping[str, Path]
) -> dict[str, Any]:
    """Further columns of `lesions.csv`: means of maps, and the location by region masks."""

    def read(folder: Path) -> Volume:
        return onto_grid(read_volume(folder / f"{case_id}{SUFFIX}"), mask)

    columns: dict[str, Any] = {name: mean_of_map(lesions, read(folder)) for name, folder in maps.items()}
    return columns | (locate(lesions, {name: read(f) for name, f in regions.items()}) if regions else {})
