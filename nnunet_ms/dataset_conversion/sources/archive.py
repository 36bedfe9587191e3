"""Sources that are a tree of files with meaningful names: one regular expression per sequence and per mask.

The tree is walked once without following links to folders, so a loop of links cannot trap the walk.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from nnunet_ms.dataset_conversion.cases import Case, Mask, choose
from nnunet_ms.dataset_conversion.links import leaves
from nnunet_ms.dataset_conversion.sources.source import Request
from nnunet_ms.errors import ConversionError

NIFTI = r"\.nii(?:\.gz)?"
CONSENSUS = "consensus"
Key = tuple[str, str, str]  # site, patient, visit


@dataclass(frozen=True)
class Archive:
    """A published layout. Expressions match the whole path below the source, in the form `a/b/c.nii.gz`.

    They name the groups `patient`, and where there are such `visit` and `site`. `masks` maps target -> rater ->
    expression; rater `consensus` is the archive's own consensus. `variants` overrides `images` by name.
    """

    images: dict[str, str]
    masks: dict[str, dict[str, str]]
    expected: str
    brain_mask: str | None = None
    variants: dict[str, dict[str, str]] = field(default_factory=dict)
    values: dict[int, int] = field(default_factory=lambda: {0: 0, 1: 1})


def find_archive_cases(
    archive: Archive, request: Request, prefer: Callable[[str, list[str]], list[str]] = lambda _, paths: paths
) -> list[Case]:
    """Find one case per visit (per visit and rater with the rater `all`); names only, nothing is read.

    Parameters
    ----------
    archive : Archive
        The layout.
    request : Request
        The folder, at any level above the patients; the wanted sequences and mask; a rater's name, `consensus` (the
        default: the archive's own, else what more than half of the raters marked), `union`, or `all` (a case per
        rater); and a name of `archive.variants` (default: the first).
    prefer : callable, optional
        Called with a channel (or a rater) and its files of one visit; returns those to choose from.

    Raises
    ------
    ConversionError
        If the source is no folder, holds no image of this layout, or a name is unknown.

    Examples
    --------
    >>> from nnunet_ms.dataset_conversion.sources.msseg2_2021 import ARCHIVE, SOURCE
    >>> Path("release/013").mkdir(parents=True)
    >>> for name in ("flair_time01_on_middle_space", "flair_time02_on_middle_space", "ground_truth"):
    ...     Path(f"release/013/{name}.nii.gz").touch()
    >>> (case,) = find_archive_cases(ARCHIVE, SOURCE.request("release"))
    >>> case.case_id, case.images["flair_followup"].name
    ('013', 'flair_time02_on_middle_space.nii.gz')
    """
    source, channels, rater = request.path, request.channels, request.rater
    images = _images_of(archive, request.variant, source)
    choose(channels, images, "--channels", source)
    choose([request.target], archive.masks, "--target", source)
    raters = archive.masks[request.target]
    _check_rater(rater, raters, source)
    if not source.is_dir():
        raise ConversionError(f"{source}: expected a folder ({archive.expected}), found none. Check the path.")
    files, left_out = walk_files(source)
    found = {name: _preferred(name, group_files(files, images[name]), prefer) for name in channels}
    masks = {name: _preferred(name, group_files(files, expression), prefer) for name, expression in raters.items()}
    brains = group_files(files, archive.brain_mask) if archive.brain_mask else {}
    keys = sorted({key for table in (*found.values(), *masks.values()) for key in table})
    if not any(found.values()):
        raise ConversionError(f"{source}: expected {archive.expected}, found {files[:3]}. Is this the right folder?")
    cases = [case for key in keys for case in _cases_of(key, source, found, masks, brains, archive, rater)]
    return [*cases, *left_out]


def _check_rater(rater: str, raters: Iterable[str], source: Path) -> None:
    known = [CONSENSUS, "union", "all", *(name for name in raters if name != CONSENSUS)]
    if rater and rater not in known:
        raise ConversionError(f"{source}: --rater {rater}: expected one of {known}. Correct --rater.")


def walk_files(source: Path) -> tuple[list[str], list[Case]]:
    """Paths of all files below `source`, relative to it, with forward slashes; and a case for each folder left out.

    Such a case only says so: what a folder holds that cannot be listed, or that a link out of the source leads to,
    must not be missed in silence.
    """
    errors: list[OSError] = []
    files, linked = [], []
    for folder, folders, names in os.walk(source, followlinks=False, onerror=errors.append):
        here = Path(folder)
        files += [(here / name).relative_to(source).as_posix() for name in names]
        linked += [here / name for name in folders if (here / name).is_symlink()]
    closed = [_left_out(Path(error.filename), "cannot be listed. Change its permissions") for error in errors]
    outside = [
        _left_out(path, "is a link out of the source. Copy the folder") for path in linked if leaves(path, source)
    ]
    return sorted(files), sorted([*closed, *outside], key=lambda case: case.problem)


def _left_out(folder: Path, why: str) -> Case:
    return Case(f"folder {folder.name}", "", None, {}, None, f"{folder}: {why}, or take it out of the source.")


def _preferred(
    name: str, files: dict[Key, list[str]], prefer: Callable[[str, list[str]], list[str]]
) -> dict[Key, list[str]]:
    return {key: prefer(name, paths) if len(paths) > 1 else paths for key, paths in files.items()}


def group_files(files: Iterable[str], expression: str) -> dict[Key, list[str]]:
    """(site, patient, visit) -> the files that match `expression` as a whole, ignoring upper and lower case.

    Examples
    --------
    >>> group_files(["P1/base/FLAIR.nii", "P1/base/T1.nii"], r"(?P<patient>[^/]+)/(?P<visit>[^/]+)/flair[.]nii")
    {('', 'P1', 'base'): ['P1/base/FLAIR.nii']}
    """
    pattern = re.compile(expression, re.IGNORECASE)
    found: dict[Key, list[str]] = {}
    for path in files:
        match = pattern.fullmatch(path)
        if match:
            groups = match.groupdict()
            key = (groups.get("site") or "", groups["patient"], groups.get("visit") or "")
            found.setdefault(key, []).append(path)
    return found


def _images_of(archive: Archive, variant: str, source: Path) -> dict[str, str]:
    if not variant:
        return archive.images
    if variant not in archive.variants:
        raise ConversionError(
            f"{source}: --variant {variant}: expected one of {sorted(archive.variants)}. Correct --variant."
        )
    return archive.variants[variant]


def _cases_of(
    key: Key,
    source: Path,
    found: Mapping[str, Mapping[Key, list[str]]],
    masks: Mapping[str, Mapping[Key, list[str]]],
    brains: Mapping[Key, list[str]],
    archive: Archive,
    rater: str,
) -> list[Case]:
    site, patient, visit = key
    images = {channel: source / table[key][0] for channel, table in found.items() if key in table}
    missing = [channel for channel, table in found.items() if key not in table]
    several = [paths for table in (*found.values(), *masks.values()) if len(paths := table.get(key, [])) > 1]
    raters = {name: source / table[key][0] for name, table in masks.items() if key in table}
    name = f"{site}-{patient}" if site else patient
    problem = ""
    if missing:
        problem = (
            f"{source}: patient {name} visit {visit or 1}: found no {missing}. Get it, or choose other --channels."
        )
    elif several:
        problem = (
            f"{source}: patient {name} visit {visit or 1}: expected one file, found {several[0]}. Remove all but one."
        )
    elif rater in masks and rater not in raters:
        problem = (
            f"{source}: patient {name} visit {visit or 1}: found no mask of rater {rater}. Choose another --rater."
        )
    brain = source / brains[key][0] if key in brains else None
    case = Case(name, visit, None, images, None, problem, site=site, brain_mask=brain)
    return list(_with_label(case, raters, rater, archive.values))


def _with_label(case: Case, raters: dict[str, Path], rater: str, values: dict[int, int]) -> Iterator[Case]:
    people = {name: path for name, path in raters.items() if name != CONSENSUS} or raters
    if not raters:
        yield case  # a test case without its mask
    elif rater == "all":
        for name, path in people.items():
            visit = f"{case.visit}_rater{name}" if case.visit else f"rater{name}"
            yield replace(case, visit=visit, label=Mask({name: path}, values=values))
    elif rater in raters:
        yield replace(case, label=Mask({rater: raters[rater]}, values=values))
    elif rater != "union" and CONSENSUS in raters:
        yield replace(case, label=Mask({CONSENSUS: raters[CONSENSUS]}, values=values))
    else:
        rule: Literal["single", "union", "majority"] = (
            "single" if len(people) == 1 else "union" if rater == "union" else "majority"
        )
        yield replace(case, label=Mask(people, rule, values))
