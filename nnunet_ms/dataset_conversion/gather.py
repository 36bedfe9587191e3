"""Cases of one source or of several: whose patients are whose, and what the new dataset says about itself."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nnunet_ms.dataset_conversion.cases import Case, DatasetInfo, check_case_ids, label_names
from nnunet_ms.dataset_conversion.pairs import (
    PairOptions,
    labels_of_pairs,
    pair_cases,
    sequences_of,
    words_of_visits,
)
from nnunet_ms.dataset_conversion.raw_dataset.existing import Existing
from nnunet_ms.dataset_conversion.sources.absence import check_may_lack, told_absent
from nnunet_ms.dataset_conversion.sources.all_sources import SOURCES, check_options, source_of
from nnunet_ms.dataset_conversion.sources.archive import LayoutError
from nnunet_ms.dataset_conversion.sources.nearest import way_out
from nnunet_ms.dataset_conversion.sources.source import Request, Source
from nnunet_ms.errors import ConversionError
from nnunet_ms.tables import REFERENCE_MASKS

More = tuple[str, str | Path] | tuple[str, str | Path, Mapping[str, Any]]  # kind, path, and options of that source


@dataclass(frozen=True)
class Gathered:
    """What was found, by the names of files only.

    Parameters
    ----------
    cases : tuple of Case
        Of all sources, in their order; with several each case knows its source.
    parts : tuple of (Source, Request)
        The sources and what was asked of them.
    roots : dict
        Name of a source (blank where there is one only) -> its folder.
    notes : tuple of str
        What was done to tell patients apart, and where no mask was found.
    pairs : PairOptions, optional
        Where visits are paired.
    """

    cases: tuple[Case, ...]
    parts: tuple[tuple[Source, Request], ...]
    roots: Mapping[str, Path]
    notes: tuple[str, ...]
    pairs: PairOptions | None = None

    @property
    def channels(self) -> tuple[str, ...]:
        """Channels of the dataset."""
        source, request = self.parts[0]
        return request.channels if self.pairs is None else self.pairs.names(sequences_of(source, request.channels))

    @property
    def labels(self) -> dict[str, int]:
        """Labels of the dataset."""
        source, request = self.parts[0]
        return label_names(request.target) if self.pairs is None else labels_of_pairs(source, self.pairs)

    @property
    def first(self) -> Request:
        """What was asked of the first source: the others follow its channels and target."""
        return self.parts[0][1]

    def info(self, name: str | None) -> DatasetInfo:
        """What dataset.json says: the first source's name, and everybody's citation and licence."""
        infos = [source.info for source, _ in self.parts]
        chosen = name or infos[0].name
        if not re.fullmatch("[A-Za-z0-9_-]+", chosen):  # it becomes a folder's name
            raise ConversionError(
                f"--name {chosen}: expected letters, digits, dash and underscore. Choose another name."
            )
        joined = {
            part: "; ".join(dict.fromkeys(text for info in infos if (text := getattr(info, part))))
            for part in ("citation", "licence", "description")
        }
        return DatasetInfo(chosen, **joined)


def gather(source: str | Path, kind: str, also: Sequence[More] = (), *, named: str = "", **options: Any) -> Gathered:
    """Find the cases of a source, and of further ones with the same channels and target.

    Patients of one kind of source are the same persons wherever their ids are the same; patients of different kinds are
    not, and where their ids are the same the kind is put before them.

    Parameters
    ----------
    source, kind
        The first source.
    also : sequence of (kind, path) or (kind, path, options)
        Further sources.
    named : str, optional
        Makes the only source call itself so, as if there were several.
    **options
        Of `Source.request`, for the first source.

    Raises
    ------
    ConversionError
        If an option is not the kind's, two cases would share a name, or as the source's `find`; where a folder does not
        have the layout, the message names the nearest kinds.

    Examples
    --------
    >>> found = gather("study/manifest.csv", "trial", channels="flair,t1")
    >>> [case.case_id for case in found.cases], found.roots
    (['P1_base', 'P2_base', 'P3_base'], {'': PosixPath('study')})
    """
    first = source_of(kind)  # type: ignore[arg-type]  # a word that a user typed: checked there
    parts = [(first, first.request(source, **options))]
    shared = {name: getattr(parts[0][1], name) for name in ("channels", "target", "may_lack")}
    for one in also:
        more = source_of(one[0])  # type: ignore[arg-type]
        parts.append((more, more.request(one[1], **shared, **(one[2] if len(one) > 2 else {}))))
    names = _names([part.kind for part, _ in parts], named)
    found = [find_cases(*part) for part in parts]
    cases, notes = _told_apart(found, [part.kind for part, _ in parts], names)
    check_case_ids(cases, parts[0][1].path)
    notes += [note for (_, request), some in zip(parts, found, strict=True) for note in _no_masks(request, some)]
    roots = {name: request.root for name, (_, request) in zip(names, parts, strict=True)}
    return Gathered(tuple(cases), tuple(parts), roots, tuple(notes))


def gather_pairs(
    source: str | Path,
    kind: str,
    also: Sequence[More],
    pairs: PairOptions | None,
    lesions: str = "",
    *,
    named: str = "",
    **options: Any,
) -> Gathered:
    """As `gather`, with two visits as one case; without `pairs` it is `gather`.

    Parameters
    ----------
    source, kind, also, named, **options
        As `gather`; `channels` are the sequences of one visit.
    pairs : PairOptions or None
        Which visits are paired, and the target.
    lesions : str, optional
        The mask of both visits that the change is made from; default: the kind's.

    Raises
    ------
    ConversionError
        As `gather`; if a source cannot tell what is asked for; if sources of two sorts are mixed.
    """
    if pairs is None:
        if lesions:
            raise ConversionError(
                f"--lesions {lesions}: expected --pairs beside it, found none. Add it, or say --target."
            )
        return gather(source, kind, also, named=named, **options)
    first = source_of(kind)  # type: ignore[arg-type]
    if options.get("may_lack"):
        raise ConversionError(
            "--may-lack and --pairs: expected one of them, because both visits need each sequence. Leave one out."
        )
    pairs = replace(pairs, target=pairs.target or next(iter(first.pair_targets), "new"))  # type: ignore[arg-type]
    _check_pairs(first, options, pairs)
    found = gather(source, kind, also, named=named, **words_of_visits(first, pairs, options, lesions))
    other = next((part for part, _ in found.parts if bool(part.pair_targets) != bool(first.pair_targets)), None)
    if other is not None:
        raise ConversionError(
            f"--also {other.kind}: expected sources of one sort with --pairs, found one whose cases are visits and one "
            f"whose cases hold both ({first.kind}). Convert them into two datasets."
        )
    masks = str(found.parts[0][1].target or "")  # what the visits' masks are of, where that is a type of lesion
    pairs = replace(pairs, lesions=masks if masks in REFERENCE_MASKS and not first.pair_targets else "")
    return replace(found, cases=tuple(pair_cases(found.cases, first, pairs)), pairs=pairs)


def _check_pairs(first: Source, options: Mapping[str, Any], pairs: PairOptions) -> None:
    """Raise ConversionError for words that mean nothing beside --pairs."""
    if options.get("rater") == "all" and not first.pair_targets:
        raise ConversionError("--rater all: expected one mask per visit with --pairs, found several. Choose one rater.")
    if pairs.registration == "published" and not first.pair_targets:
        raise ConversionError(
            f"--registration published: expected a source that brings both visits in one space, found {first.kind}. "
            "Take rigid, greedy or none."
        )


def find_cases(found: Source, request: Request) -> list[Case]:
    """Cases of one source by the names of its files; nothing is read but tables. Raises as `gather`."""
    check_options(found, request)
    check_may_lack(request, found)
    try:
        cases = [told_absent(case, request) for case in found.find(request)]
    except LayoutError as error:
        raise ConversionError(f"{error} {way_out(error, found.kind)}") from error
    check_case_ids(cases, request.path)
    return cases


def _names(kinds: Sequence[str], named: str) -> list[str]:
    """What each source is called in cases.csv: nothing where it is alone, else its kind, numbered if it is twice."""
    if len(kinds) == 1:
        return [named]
    seen: dict[str, int] = {}
    names = []
    for kind in kinds:
        seen[kind] = seen.get(kind, 0) + 1
        names.append(kind if seen[kind] == 1 else f"{kind}-{seen[kind]}")
    return names


def _told_apart(
    found: Sequence[Sequence[Case]], kinds: Sequence[str], names: Sequence[str]
) -> tuple[list[Case], list[str]]:
    patients: dict[str, set[str]] = {}
    for kind, cases in zip(kinds, found, strict=True):
        for case in cases:
            patients.setdefault(case.patient_id, set()).add(kind)
    twice = sorted(patient for patient, of in patients.items() if len(of) > 1)
    told = [
        replace(
            case, source=name, patient_id=f"{kind}-{case.patient_id}" if case.patient_id in twice else case.patient_id
        )
        for kind, name, cases in zip(kinds, names, found, strict=True)
        for case in cases
    ]
    notes = []
    if twice:
        notes.append(
            f"{len(twice)} patients ({', '.join(twice[:3])}{', ...' if len(twice) > 3 else ''}) have one id in several "
            f"kinds of source and are different persons: their ids begin with the kind, such as {kinds[0]}-{twice[0]}"
        )
    return told, notes


def _no_masks(request: Request, cases: Sequence[Case]) -> list[str]:
    """Where no case has a mask, that none was found: a misspelt name would else be noticed late."""
    if not cases or any(case.label is not None or case.problem for case in cases):
        return []
    return [f"{request.path}: found no mask of {request.target}; its cases are there to be predicted"]


def apart_from(existing: Existing, cases: Sequence[Case], kinds: Sequence[str]) -> tuple[list[Case], list[str]]:
    """New cases beside those of a dataset, and what to tell: who has an id of another kind of source gets another one.

    A patient whom the dataset has from the same kind of source, or from one that it does not name, is the same person.
    """
    known = {row["patient_id"]: _kind(row["source"]) for row in existing.rows()}
    there = sorted({case.patient_id for case in cases} & set(known))
    others = [p for p in there if known[p] in SOURCES and any(known[p] != kind for kind in kinds)]
    new = [
        replace(case, patient_id=f"{_kind(case.source)}-{case.patient_id}") if case.patient_id in others else case
        for case in cases
    ]
    notes = []
    if others:
        notes.append(
            f"{len(others)} patients ({others[0]}, ...) have the id of another source's: the kind is put before"
        )
    if same := [patient for patient in there if patient not in others]:
        notes.append(
            f"{len(same)} patients ({', '.join(same[:3])}) are in the dataset already: taken for the same persons"
        )
    return new, notes


def _kind(source: str) -> str:
    """Kind of a source by its name in cases.csv: `trial-2` is the second `trial`."""
    return re.sub(r"-\d+$", "", source)


def write_tables(found: Gathered, folder: Path) -> list[str]:
    """Write clinical tables that come with a source into the dataset; return what to tell.

    Of several sources none is written: their patients may have got other ids.
    """
    with_tables = [(source, request) for source, request in found.parts if source.write_tables is not None]
    if len(found.parts) > 1:
        return [f"tables of {request.path} do not come along: several sources" for _, request in with_tables]
    return [
        text
        for source, request in with_tables
        if source.write_tables
        for text in source.write_tables(request.path, folder)
    ]
