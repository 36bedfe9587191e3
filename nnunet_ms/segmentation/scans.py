"""Which scans are to be segmented: files by their sequence, a BIDS data set, a manifest, or one patient's folder.

The readers are the converter's. A visit may lack sequences; which ones are needed is the model's matter.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nnunet_ms.dataset_conversion.cases import Case, check_case_ids
from nnunet_ms.dataset_conversion.checks.misplaced_files import FEW_VALUES
from nnunet_ms.dataset_conversion.guessing import guess_source
from nnunet_ms.dataset_conversion.sources.all_sources import Kind, source_of
from nnunet_ms.dataset_conversion.sources.archive import walk_files
from nnunet_ms.dataset_conversion.sources.guess import role_by_name
from nnunet_ms.dataset_conversion.sources.patterns import BRAIN, Patterns
from nnunet_ms.errors import ConversionError, ImageError, SettingsError
from nnunet_ms.images.headers import check_header
from nnunet_ms.images.volumes import check_same_grid, read_volume

SEQUENCES = ("flair", "t2", "t1", "t1post")  # that have an option; the first that a scan has gives the grid
SHOWN = 3
SHORT, LONGEST = 40, 150  # letters of a name in a message; of patient and visit, where file systems take 255 bytes
_NIFTI = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)
_BIDS = re.compile(r"(?:^|/)sub-[0-9A-Za-z]+(?:/ses-[0-9A-Za-z]+)?/anat/|(?:^|/)anat/sub-[0-9A-Za-z]+_")
_PERSON = re.compile(r"(?:sub|subj|subject|pat|patient|p|case|id)[-_]?\d+|\d{3,}", re.IGNORECASE)


@dataclass(frozen=True)
class Scans:
    """Visits with their images, those that cannot be used with their `problem`; and what to tell.

    `root` is the folder of a BIDS data set, whose description is handed on.
    """

    cases: tuple[Case, ...]
    notes: tuple[str, ...] = ()
    root: Path | None = None


def find_scans(
    source: str | Path | None,
    files: Mapping[str, str | Path],
    sequences: Sequence[str],
    *,
    brain_mask: str | Path | None = None,
    patient: str = "",
    visit: str = "",
    prefer: str = "",
) -> Scans:
    """Find what is to be segmented, by names; of a brain mask that is named the header is looked at.

    Parameters
    ----------
    source : str or Path or None
        Manifest (CSV), BIDS data set, or folder of one patient.
    files : mapping of str to path
        Instead of `source`: sequence -> image of one scan.
    sequences : sequence of str
        Those that the model takes.
    brain_mask : str or Path, optional
        Of the one scan, on the grid of its first image.
    patient, visit : str, optional
        Of the one scan; the patient is else called as the folder of its first image.
    prefer : str, optional
        BIDS: which of several files of one sequence, as `nnunet-ms-convert --prefer`.

    Raises
    ------
    SettingsError
        If both are given, or neither.
    ConversionError
        If there is no usable image, a folder holds more than one scan of one sequence, or as the converter's readers.
    ImageError
        If the brain mask of one scan is not on the grid of its first image.

    Examples
    --------
    >>> found = find_scans(None, {"t1": "t1.nii.gz", "flair": "flair.nii.gz"}, ["t1", "flair", "t2"], patient="P7")
    >>> found.cases[0].case_id, list(found.cases[0].images)
    ('P7', ['flair', 't1'])
    >>> [case.case_id for case in find_scans("study/manifest.csv", {}, ["flair", "t2", "t1"]).cases]
    ['P1_base', 'P2_base', 'P3_base']
    """
    given = {name: Path(path) for name, path in files.items()}
    if (source is None) == (not given):
        found = "neither" if source is None else "both"
        raise SettingsError(
            f"expected INPUT (a manifest, a BIDS folder or a patient's folder) or images (--flair, --t2, --t1), found "
            f"{found}. Name one of them."
        )
    mask = None if brain_mask is None else Path(brain_mask)
    if source is None:
        _no_use("images that are named", prefer=prefer)
        scans = _of_files(given, mask, patient, visit)
    else:
        if mask is not None:
            raise SettingsError(f"{mask}: expected --brain-mask beside images (--flair ...) only. Leave it out.")
        scans = _of_source(Path(source), sequences, patient, visit, prefer)
    _check_names(scans.cases)
    cases = tuple(_ordered(case, sequences) for case in scans.cases)
    if mask is not None and cases[0].images:
        first = next(iter(cases[0].images.values()))
        check_same_grid(check_header(first).grid, check_header(mask).grid, str(first), str(mask))
    return replace(scans, cases=cases)


def page_name(patient_id: str) -> str:
    """Name of a patient's page, without its ending: as in the names of the masks, a letter, digit or _ in front.

    Examples
    --------
    >>> page_name("P 07"), page_name("=1+1")
    ('P-07', '1-1')
    """
    return Case(patient_id, "", None, {}, None).case_id.lstrip("-.") or "patient"


def _check_names(cases: Sequence[Case]) -> None:
    """Raise ConversionError for a name that no file can have, and where one page would replace another."""
    pages: dict[str, str] = {}
    for case in cases:
        named = f"patient {case.patient_id[:SHORT]!r}, visit {case.visit[:SHORT]!r}"
        if not case.patient_id.strip() or len(case.case_id) > LONGEST:
            raise ConversionError(f"{named}: expected names of 1 to {LONGEST} letters in all. Rename it.")
        other = pages.setdefault(page_name(case.patient_id).lower(), case.patient_id)
        if other != case.patient_id:
            page = f"{page_name(other)}.html"
            raise ConversionError(
                f"patients {other!r} and {case.patient_id!r} would have one page, {page}. Rename one."
            )


def _ordered(case: Case, sequences: Sequence[str]) -> Case:
    """The images that the model takes, that which gives the grid first; a reference mask is not looked at."""
    names = sorted(case.images, key=lambda name: SEQUENCES.index(name) if name in SEQUENCES else len(SEQUENCES))
    unused = [name for name in names if name not in sequences]
    remark = f"{', '.join(unused)}: not used, the model takes {', '.join(sequences)}" if unused else ""
    kept = {name: case.images[name] for name in names if name in sequences}
    return replace(case, images=kept, label=None, remark=remark)


def _of_files(files: Mapping[str, Path], brain_mask: Path | None, patient: str, visit: str) -> Scans:
    for name, path in (*files.items(), *([("brain-mask", brain_mask)] if brain_mask else [])):
        if not path.is_file():
            found = "no such file. Check the path."
            if path.is_dir():
                found = "a folder. Name a file in it; of DICOM make a NIfTI file first (dcm2niix)."
            raise ConversionError(f"{path}: expected an image (--{name}), found {found}")
    first = next(files[name] for name in SEQUENCES if name in files)
    name = patient or _subject_of(first)
    notes = () if patient else (f"the patient is called {name}, as the folder of {first.name} (--patient)",)
    return Scans((Case(name, visit, None, dict(files), None, brain_mask=brain_mask),), notes)


def _subject_of(image: Path) -> str:
    named = re.match(r"sub-([0-9A-Za-z]+)_", image.name)
    return named[1] if named else image.resolve().parent.name or "scan"


def _of_source(source: Path, sequences: Sequence[str], patient: str, visit: str, prefer: str) -> Scans:
    if source.is_file() and _NIFTI.search(source.name):
        role = role_by_name(source.name)
        option = f"--{role}" if role in SEQUENCES else "--flair, --t2, --t1 or --t1post"
        raise ConversionError(
            f"{source}: expected a manifest or a folder as INPUT, found one image. Say what it is: {option} {source}."
        )
    if not source.exists():
        raise ConversionError(f"{source}: expected a manifest (CSV) or a folder, found nothing. Check the path.")
    if source.is_file():
        _no_use("a manifest", patient=patient, visit=visit, prefer=prefer)
        return Scans(tuple(_found("trial", source, sequences)))
    files = [path for path in walk_files(source)[0] if _NIFTI.search(path)]
    if any(_BIDS.search(f"{source.resolve().name}/{path}") for path in files):
        _no_use("a BIDS data set", patient=patient, visit=visit)
        return Scans(tuple(_found("bids", source, sequences, prefer=prefer)), root=source)
    if any("/" in path for path in files):
        _no_use("a folder of visits", patient=patient, visit=visit, prefer=prefer)
        return _of_tree(source, sequences)
    _no_use("a folder of one scan", prefer=prefer)
    return _of_folder(source, files, patient, visit)


def _no_use(what: str, **given: str) -> None:
    """Raise SettingsError for what is given and would be passed over in silence."""
    for name, value in given.items():
        if value:
            where = "a BIDS data set" if name == "prefer" else "the images of one scan"
            raise SettingsError(f"--{name} {value}: expected beside {where} only, found {what}. Leave it out.")


def _found(
    kind: Kind, source: Path, sequences: Sequence[str], prefer: str = "", patterns: Patterns | None = None
) -> list[Case]:
    """Cases of one of the converter's sources, each with those of the sequences that it has."""
    reader = source_of(kind)
    wanted = [name for name in SEQUENCES if name in sequences and (patterns is None or name in patterns)]
    # what a model needs is asked of it later (`ChosenModel.check_scan`): here any one sequence is enough
    cases = reader.find(reader.request(source, wanted, prefer=prefer, patterns=patterns, may_lack=wanted))
    check_case_ids(cases, source)
    return cases


def _of_folder(folder: Path, names: Sequence[str], patient: str, visit: str) -> Scans:
    """One patient's scan: all files in one folder, each a sequence by its name."""
    roles: dict[str, list[str]] = {}
    for name in names:
        roles.setdefault(role_by_name(name), []).append(name)
    images = {role: roles[role] for role in SEQUENCES if role in roles}
    if not images:
        others = [] if names else sorted(walk_files(folder)[0])[:SHOWN]
        found = f"none, but {', '.join(others)}: make NIfTI files of DICOM first (dcm2niix)" if others else "none"
        raise ConversionError(
            f"{folder}: expected NIfTI images whose names tell their sequence (FLAIR, T2, T1), found "
            f"{', '.join(names[:SHOWN]) or found}. Name each by its option: --flair FILE, --t2 FILE, --t1 FILE."
        )
    twice = next((role for role, paths in images.items() if len(paths) > 1), "")
    people = {name: _people(paths[0]) for name, paths in images.items()}
    apart = [name for name, found in people.items() if found and not found & next(filter(None, people.values()))]
    if twice or apart:
        shown = images[twice] if twice else [paths[0] for name, paths in images.items() if people[name]]
        raise ConversionError(
            f"{folder}: expected the images of one patient and visit, found {', '.join(shown[:SHOWN])}. Name those of "
            f"one scan (--flair FILE, --t1 FILE ...), or write a manifest of all: nnunet-ms-convert manifest {folder} "
            "-o manifest.csv, and segment that."
        )
    mask, notes = _brain(folder, roles.get(BRAIN, []))
    taken = {paths[0] for paths in images.values()} | ({mask.name} if mask else set())
    if left := [name for name in names if name not in taken]:
        notes.append(f"{folder}: not taken: {', '.join(left)}")
    files = {role: folder / paths[0] for role, paths in images.items()}
    name = patient or folder.resolve().name or "scan"
    notes.append(f"patient {name}: " + ", ".join(f"{role} {path.name}" for role, path in files.items()))
    return Scans((Case(name, visit, None, files, None, brain_mask=mask),), tuple(notes))


def _people(name: str) -> set[str]:
    """Parts of a file's name that may tell whose it is."""
    return {found.lower() for found in _PERSON.findall(_NIFTI.sub("", name))}


def _brain(folder: Path, names: Sequence[str]) -> tuple[Path | None, list[str]]:
    """The one brain mask of a folder; an image of the brain alone often has the same name."""
    if len(names) != 1:
        return None, [f"{folder}: several brain masks ({', '.join(names)}), none is taken"] if names else []
    try:
        values = {*read_volume(folder / names[0]).data.ravel()[::101].tolist()}
    except ImageError as error:
        return None, [f"{error} Left out."]
    if len(values) > FEW_VALUES:
        return None, [f"{folder / names[0]}: named like a brain mask, holds grey values: left out"]
    return folder / names[0], []


def _of_tree(source: Path, sequences: Sequence[str]) -> Scans:
    """Scans in folders below one: visits of one patient, by the patterns that the converter guesses."""
    guessed = guess_source(source)
    cases = _found("folder", source, sequences, patterns=guessed.patterns)
    patients = list(dict.fromkeys(case.patient_id for case in cases))
    if len(patients) != 1:
        raise ConversionError(
            f"{source}: expected the folder of one patient, or a BIDS data set, found {len(patients)} patients "
            f"({', '.join(patients[:SHOWN])}). Write a manifest, look at it, and segment that: nnunet-ms-convert "
            f"manifest {source} -o {source / 'manifest.csv'}"
        )
    shown = ", ".join(f"{name}={paths[0]}" for name, paths in guessed.patterns.items())
    return Scans(tuple(cases), (f"{source}: read as {shown}", *(f"unsure: {text}" for text in guessed.unsure)))
