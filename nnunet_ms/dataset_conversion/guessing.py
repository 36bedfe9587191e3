"""Propose patterns for a folder that has no known layout, and write its manifest; what is not sure is said."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from os.path import normpath, relpath
from pathlib import Path

import numpy as np
import pandas as pd

from nnunet_ms.dataset_conversion.cases import Case, Mask
from nnunet_ms.dataset_conversion.checks.misplaced_files import FEW_VALUES
from nnunet_ms.dataset_conversion.gather import find_cases
from nnunet_ms.dataset_conversion.rim_masks import RIMS, TARGET
from nnunet_ms.dataset_conversion.sources.all_sources import source_of
from nnunet_ms.dataset_conversion.sources.archive import walk_files
from nnunet_ms.dataset_conversion.sources.folder import MASKS
from nnunet_ms.dataset_conversion.sources.guess import Guess, guess_patterns
from nnunet_ms.dataset_conversion.sources.patterns import BRAIN, Patterns, Words, as_toml, expression, patterns_of
from nnunet_ms.errors import ConversionError, ImageError
from nnunet_ms.images.volumes import read_volume
from nnunet_ms.tables import MANIFEST, REFERENCE_MASKS, SEQUENCES, write_table

SHOWN = 3
_WEEK = re.compile(r"(?:w|wk|week|ses-?w)_?(\d+(?:\.\d+)?)", re.IGNORECASE)
_FIRST = re.compile(r"(?:bl|base|baseline)", re.IGNORECASE)
_DATE = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)")


@dataclass(frozen=True)
class Guessed:
    """What was proposed for a folder.

    Parameters
    ----------
    source : Path
        The folder.
    patterns : dict
        Channel, mask or `brain_mask` -> patterns, in order of preference.
    cases, masks, patients : int
        Cases that the patterns give, how many of them have a mask, and patients.
    unsure : tuple of str
        What was decided without a sure sign, and what does not fit.
    unused : tuple of str
        Images that no pattern takes.
    """

    source: Path
    patterns: Patterns
    cases: int
    masks: int
    patients: int
    unsure: tuple[str, ...]
    unused: tuple[str, ...]

    def toml(self) -> str:
        """The patterns as a TOML file, with what is unsure as comments."""
        return as_toml(self.patterns, [f"{self.cases} cases of {self.patients} patients, {self.masks} with masks",
                                       *(f"unsure: {text}" for text in self.unsure)])  # fmt: skip


def guess_source(source: str | Path) -> Guessed:
    """Propose patterns for the images and masks of a folder, from their names and from one file of each kind.

    Raises
    ------
    ConversionError
        If the source is no folder or holds no NIfTI file.

    Examples
    --------
    >>> found = guess_source("study")
    >>> found.patterns["flair"], found.cases, found.masks
    (('{patient}/flair.nii.gz',), 3, 3)
    >>> found.unsure
    ()
    """
    source = Path(source)
    if not source.is_dir():
        raise ConversionError(f"{source}: expected a folder, found none. Check the path.")
    files, left_out = walk_files(source, follow=True)
    unsure = [case.problem for case in left_out]
    roles: dict[str, str] = {}
    found = guess_patterns(files)
    for role, patterns in found.patterns.items():
        for pattern in patterns:
            other, doubt = _as_the_file_says(source, files, role, pattern)
            unsure += [doubt] if doubt else []
            roles |= other
    if roles:
        found = guess_patterns(files, roles)
    if not found.patterns:
        told = "; ".join(found.unsure) or "no file ends in .nii or .nii.gz"
        raise ConversionError(f"{source}: expected NIfTI images whose names tell their sequence, found none ({told}).")
    cases, more = _tried(source, found)
    return Guessed(
        source,
        found.patterns,
        len(cases),
        sum(case.label is not None for case in cases),
        len({case.patient_id for case in cases}),
        (*unsure, *found.unsure, *more),
        found.unused,
    )


def _as_the_file_says(source: Path, files: Sequence[str], role: str, pattern: str) -> tuple[dict[str, str], str]:
    """Other roles for the files of a pattern where the first of them is no mask, or is one; and what to say."""
    fits = re.compile(expression(pattern), re.IGNORECASE)
    mine = [path for path in files if fits.fullmatch(path)]
    try:
        values = len(np.unique(read_volume(source / mine[0]).data))
    except ImageError as error:
        return {}, str(error)
    is_mask = role in (*MASKS, BRAIN)
    if is_mask and values > FEW_VALUES:
        return dict.fromkeys(mine, "other"), f"{mine[0]} is named like a mask and holds {values} values: left out"
    if not is_mask and values <= 2:
        return dict.fromkeys(mine, "other"), f"{mine[0]} is named like {role} and holds {values} values: left out"
    return {}, ""


def _tried(source: Path, found: Guess) -> tuple[list[Case], list[str]]:
    """The cases that the patterns give, and what does not fit."""
    target = next((name for name in REFERENCE_MASKS if name in found.patterns), "t2_lesions")
    if not any(name in SEQUENCES for name in found.patterns):
        return [], ["no sequence was found, only masks: add a pattern such as flair=..."]
    folder = source_of("folder")
    cases = find_cases(folder, folder.request(source, target=target, patterns=found.patterns))
    problems = [case.problem for case in cases if case.problem]
    good = [case for case in cases if not case.problem]
    told = [f"{len(problems)} cases do not fit, such as {problem}" for problem in problems[:1]]
    return good, told


def write_manifest(
    source: str | Path, out: str | Path, patterns: Words = None, *, overwrite: bool = False
) -> list[str]:
    """Write the manifest of a folder, as the kind `trial` reads it; without patterns those of `guess_source`.

    A visit's week is read from ``{week}``, or where the visits are called w24, week24, baseline or by dates; else it is
    left blank.

    Parameters
    ----------
    source : str or Path
        The folder.
    out : str or Path
        The table; images must lie below its folder.
    patterns : optional
        As `convert` takes them.
    overwrite : bool, optional
        Whether the table may exist.

    Returns
    -------
    list of str
        What is not sure, and what was left out.

    Raises
    ------
    ConversionError
        As `guess_source`, if `out` exists, or does not lie above the images.

    Examples
    --------
    >>> write_manifest("study", "manifest.csv")
    ['3 visits of 3 patients have no week: nothing in their names tells it. Fill it in where you know it']
    >>> print(Path("manifest.csv").read_text().splitlines()[1])
    P1,1,,study/P1/flair.nii.gz,study/P1/t1.nii.gz,study/P1/mask.nii.gz
    """
    source, out = Path(source), Path(out)
    if out.exists() and not overwrite:
        raise ConversionError(f"{out}: exists already. Choose another name, or --overwrite it.")
    told: list[str] = []
    known = patterns_of(patterns)
    if not known:
        proposed = guess_source(source)
        known, told = dict(proposed.patterns), list(proposed.unsure)
    strange = [name for name in known if name not in (*SEQUENCES, *MASKS, BRAIN)]
    if strange:
        raise ConversionError(
            f"{source}: a manifest has the sequences {', '.join(SEQUENCES)}, found {', '.join(strange)}. Rename the "
            "pattern, or convert the folder without a manifest (nnunet-ms-convert folder)."
        )
    rows, more = _rows(source, out, known)
    columns = ["patient_id", "visit", "week", *(name for name in known if name in MANIFEST.names)]
    sites = ["site"] if any(row.get("site") for row in rows) else []
    write_table(pd.DataFrame(rows).reindex(columns=[*columns, *sites]), out)
    return [*told, *more]


def _rows(source: Path, out: Path, patterns: Patterns) -> tuple[list[dict[str, object]], list[str]]:
    folder, told = source_of("folder"), []
    table: dict[tuple[str, str], dict[str, object]] = {}
    masks = [name for name in MASKS if name in patterns and name in MANIFEST.names] or ["t2_lesions"]
    lost = [name for name in MASKS if name in patterns and name not in MANIFEST.names]
    told += [f"{', '.join(lost)}: a manifest has no column for it; nnunet-ms-convert folder reads it"] if lost else []
    for target in masks:
        of_rims = TARGET if target == RIMS else target
        for case in find_cases(folder, folder.request(source, target=of_rims, patterns=patterns)):
            if case.problem:
                told.append(f"left out: {case.problem}")
                continue
            key = (case.patient_id, case.visit)
            table[key] = table.get(key, {}) | _row(case, target, out)
    rows = [row for _, row in sorted(table.items())]
    _add_weeks(rows)
    blank = [row for row in rows if row["week"] is None]
    if blank:
        patients = len({row["patient_id"] for row in blank})
        told.append(
            f"{len(blank)} visits of {patients} patients have no week: nothing in their names tells it. Fill it in "
            "where you know it"
        )
    return rows, list(dict.fromkeys(told))


def _row(case: Case, target: str, out: Path) -> dict[str, object]:
    label: Mapping[str, Path] = {target: case.label.files.get(target, _files(case.label)[0])} if case.label else {}
    paths = {**case.images, **label, **({BRAIN: case.brain_mask} if case.brain_mask else {})}
    row: dict[str, object] = {"patient_id": case.patient_id, "visit": case.visit or "1", "week": case.week}
    return row | {"site": case.site or None} | {name: _below(path, out) for name, path in paths.items()}


def _files(mask: Mask) -> list[Path]:
    return list(mask.files.values())


def _below(path: Path, out: Path) -> str:
    """Path of an image from the manifest's folder; ConversionError if it lies elsewhere."""
    found = Path(relpath(path.absolute(), out.absolute().parent)).as_posix()
    if normpath(found).startswith(".."):
        raise ConversionError(
            f"{out}: expected a place above the images, found {path} elsewhere. Write the manifest into "
            f"{path.parent} or a folder above it."
        )
    return found


def _add_weeks(rows: Sequence[dict[str, object]]) -> None:
    """Fill in weeks that the visits' names tell; of a patient all or, with dates, those since the first."""
    first: dict[object, date] = {}
    for row in rows:
        day = _day(str(row["visit"]))
        if day is not None:
            first[row["patient_id"]] = min(day, first.get(row["patient_id"], day))
    for row in rows:
        visit, day = str(row["visit"]), _day(str(row["visit"]))
        week = _WEEK.fullmatch(visit)
        if row["week"] is None and week:
            row["week"] = float(week[1])
        elif row["week"] is None and _FIRST.fullmatch(visit):
            row["week"] = 0.0
        elif row["week"] is None and day is not None:
            row["week"] = round((day - first[row["patient_id"]]).days / 7, 2)


def _day(text: str) -> date | None:
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    try:
        return date(*map(int, match.groups()))
    except ValueError:
        return None
