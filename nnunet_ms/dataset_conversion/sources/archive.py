"""Sources that are a tree of files with meaningful names: one regular expression per sequence and per mask.

The tree is walked once without following links to folders, so a loop of links cannot trap the walk.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from nnunet_ms.dataset_conversion.cases import Case, Mask, choose
from nnunet_ms.dataset_conversion.links import leaves
from nnunet_ms.dataset_conversion.sources.absence import known_channels, way_without
from nnunet_ms.dataset_conversion.sources.source import Request
from nnunet_ms.errors import ConversionError

NIFTI = r"\.nii(?:\.gz)?"
CONSENSUS = "consensus"
FOLDERS_ABOVE = 3  # a source may be a tree, the folder above it, or one patient's: names above it then say which
Key = tuple[str, str, str]  # site, patient, visit
Names = str | tuple[str, ...]  # an expression, or several in order of preference


@dataclass(frozen=True)
class Archive:
    """A published layout. Expressions match the whole path below the source, in the form `a/b/c.nii.gz`.

    They name the groups `patient`, and where there are such `visit` and `site`; of several, a visit takes the first
    that one of its files matches. `masks` maps target -> rater -> expression; rater `consensus` is the archive's own
    consensus. `variants` overrides `images` by name. `values` says which number of a mask becomes which label,
    `values_of` the same for a rater whose masks hold others.
    """

    images: Mapping[str, Names]
    masks: Mapping[str, Mapping[str, Names]]
    expected: str
    brain_mask: Names | None = None
    variants: Mapping[str, Mapping[str, Names]] = field(default_factory=dict)
    values: dict[int, int] = field(default_factory=lambda: {0: 0, 1: 1})
    values_of: Mapping[str, dict[int, int]] = field(default_factory=dict)


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
    check_words(archive, request)
    files, left_out = walk_files(request.path)
    return [*cases_among(archive, request, files, prefer), *left_out]


def check_words(archive: Archive, request: Request) -> None:
    """Raise ConversionError for a channel, target, rater or variant that the archive lacks, and where no folder is."""
    source = request.path
    known = known_channels(request, _images_of(archive, request.variant, source))
    choose(request.channels, known, "--channels", source)
    choose([request.target], archive.masks, "--target", source)
    _check_rater(request.rater, archive.masks[request.target], source)
    if not source.is_dir():
        what = "a file" if source.exists() else "none"
        raise ConversionError(f"{source}: expected a folder ({archive.expected}), found {what}. Check the path.")


def cases_among(
    archive: Archive,
    request: Request,
    files: Sequence[str],
    prefer: Callable[[str, list[str]], list[str]] = lambda _, paths: paths,
    above: str = "",
) -> list[Case]:
    """Cases among files that were listed; `above` names folders above the source that expressions may speak of."""
    source = request.path
    images = _images_of(archive, request.variant, source)
    raters = archive.masks[request.target]
    found = {
        name: _preferred(name, group_files(files, images.get(name, ()), above), prefer)
        for name in dict.fromkeys(request.channels)
    }
    masks = {name: _preferred(name, group_files(files, one, above), prefer) for name, one in raters.items()}
    brains = group_files(files, archive.brain_mask, above) if archive.brain_mask else {}
    keys = sorted({key for table in (*found.values(), *masks.values()) for key in table})
    if not any(found.values()) and not above:
        # the source may be one patient's folder, or lie between the patients and the names that tell their layout
        for levels in range(FOLDERS_ABOVE, 0, -1):
            with suppress(LayoutError):
                return cases_among(archive, request, files, prefer, names_above(source, levels))
    if not any(found.values()):
        raise LayoutError(
            f"{source}: expected {archive.expected}, found {_some(files)}. Is this the right folder?", source, files
        )
    return [case for key in keys for case in _cases_of(key, request, found, masks, brains, archive)]


def names_above(source: Path, levels: int = FOLDERS_ABOVE) -> str:
    """The names of a folder and of those above it, so many in all, as the beginning of a path: `a/b/source/`.

    Examples
    --------
    >>> names_above(Path("/data/release/train/P1"))
    'release/train/P1/'
    """
    return "".join(f"{name}/" for name in source.resolve().parts[1:][-levels:])


class LayoutError(ConversionError):
    """A folder does not have the layout that it was said to have; `files` are those that it has."""

    def __init__(self, message: str, source: Path, files: Sequence[str]) -> None:
        super().__init__(message)
        self.source, self.files = source, tuple(files)


def _some(files: Sequence[str]) -> list[str]:
    """A few files of a folder, images first: a licence at its top says little about its layout."""
    images = [path for path in files if re.search(NIFTI + "$", path, re.IGNORECASE)]
    return (images or list(files))[:3]


def _check_rater(rater: str, raters: Iterable[str], source: Path) -> None:
    known = [CONSENSUS, "union", "all", *(name for name in raters if name != CONSENSUS)]
    if rater and rater not in known:
        raise ConversionError(f"{source}: --rater {rater}: expected one of {known}. Correct --rater.")


def walk_files(source: Path, *, follow: bool = False) -> tuple[list[str], list[Case]]:
    """Paths of all files below `source`, relative to it, with forward slashes; and a case for each folder left out.

    Such a case only says so: what a folder holds that cannot be listed, or that a link out of the source leads to,
    must not be missed in silence. With `follow` the latter are walked, each once, and their files are named as such by
    `links_out`.
    """
    errors: list[OSError] = []
    files, linked, seen = [], [], set()
    for folder, folders, names in os.walk(source, followlinks=follow, onerror=errors.append):
        here = Path(folder)
        # hidden files of other systems (._FLAIR.nii.gz) are no images
        files += [(here / name).relative_to(source).as_posix() for name in names if not name.startswith(".")]
        links = [here / name for name in sorted(folders) if (here / name).is_symlink()]
        if follow:
            new = {path.name for path in links if leaves(path, source) and path.resolve() not in seen}
            seen |= {path.resolve() for path in links}
            folders[:] = [name for name in folders if name in new or not (here / name).is_symlink()]
        else:
            linked += links
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


def group_files(files: Iterable[str], expressions: Names, above: str = "") -> dict[Key, list[str]]:
    """(site, patient, visit) -> the files that match an expression as a whole, ignoring upper and lower case.

    Of several expressions a visit takes the first that matches. `above` is put before each path to be matched.

    Examples
    --------
    >>> group_files(["P1/base/FLAIR.nii", "P1/base/T1.nii"], r"(?P<patient>[^/]+)/(?P<visit>[^/]+)/flair[.]nii")
    {('', 'P1', 'base'): ['P1/base/FLAIR.nii']}
    """
    files = list(files)
    found: dict[Key, list[str]] = {}
    for expression in (expressions,) if isinstance(expressions, str) else expressions:
        pattern = re.compile(expression, re.IGNORECASE)
        fitting: dict[Key, list[str]] = {}
        for path in files:
            match = pattern.fullmatch(above + path)
            if match:
                groups = match.groupdict()
                key = (groups.get("site") or "", groups["patient"], groups.get("visit") or "")
                fitting.setdefault(key, []).append(path)
        found = fitting | found
    return found


def _images_of(archive: Archive, variant: str, source: Path) -> Mapping[str, Names]:
    if not variant:
        return archive.images
    if variant not in archive.variants:
        raise ConversionError(
            f"{source}: --variant {variant}: expected one of {sorted(archive.variants)}. Correct --variant."
        )
    return archive.variants[variant]


def _cases_of(
    key: Key,
    request: Request,
    found: Mapping[str, Mapping[Key, list[str]]],
    masks: Mapping[str, Mapping[Key, list[str]]],
    brains: Mapping[Key, list[str]],
    archive: Archive,
) -> list[Case]:
    site, patient, visit = key
    source, rater = request.path, request.rater
    images = {channel: source / table[key][0] for channel, table in found.items() if key in table}
    missing = [channel for channel in found if channel not in images and channel not in request.may_lack]
    several = [paths for table in (*found.values(), *masks.values()) if len(paths := table.get(key, [])) > 1]
    raters = {name: source / table[key][0] for name, table in masks.items() if key in table}
    name = f"{site}-{patient}" if site else patient
    problem = ""
    if missing:
        problem = (
            f"{source}: patient {name} visit {visit or 1}: found no {missing}. Get it, or choose other --channels."
            f"{way_without(missing, images, request)}"
        )
    elif several:
        problem = (
            f"{source}: patient {name} visit {visit or 1}: expected one file, found {several[0]}. Remove all but one."
        )
    elif rater in masks and rater not in raters:
        problem = (
            f"{source}: patient {name} visit {visit or 1}: found no mask of rater {rater}. Choose another --rater."
        )
    first = next((table[key][0] for table in found.values() if key in table), "")
    brain = source / _nearest(brains[key], first) if key in brains else None
    case = Case(name, visit, None, images, None, problem, site=site, brain_mask=brain)
    return list(_with_label(case, raters, rater, archive))


def _nearest(paths: Sequence[str], image: str) -> str:
    """Of several files the one whose path has most in common with an image's; the first of equals."""
    return max(paths, key=lambda path: len(os.path.commonpath([path, image])))


def _with_label(case: Case, raters: dict[str, Path], rater: str, archive: Archive) -> Iterator[Case]:
    def values(name: str) -> dict[int, int]:
        return archive.values_of.get(name, archive.values)

    people = {name: path for name, path in raters.items() if name != CONSENSUS} or raters
    if not raters:
        yield case  # a test case without its mask
    elif rater == "all":
        for name, path in people.items():
            visit = f"{case.visit}_rater{name}" if case.visit else f"rater{name}"
            yield replace(case, visit=visit, label=Mask({name: path}, values=values(name)))
    elif rater in raters:
        yield replace(case, label=Mask({rater: raters[rater]}, values=values(rater)))
    elif rater != "union" and CONSENSUS in raters:
        yield replace(case, label=Mask({CONSENSUS: raters[CONSENSUS]}, values=values(CONSENSUS)))
    else:
        rule: Literal["single", "union", "majority"] = (
            "single" if len(people) == 1 else "union" if rater == "union" else "majority"
        )
        yield replace(case, label=Mask(people, rule, values(next(iter(people)))))
