"""Guess patterns from the names of files: which word says the sequence, which varying part is patient, visit or site.

Nothing is read. Whatever had to be decided without a sure sign is told in `unsure`.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from nnunet_ms.dataset_conversion.sources.patterns import BRAIN

# role -> words of a name, separators as one underscore; the first that fits counts, so masks stand before sequences
_ROLES = {
    BRAIN: r"brain_?mask|bet_mask|mask_brain|label_brain|fg_mask|skull_?strip\w*_mask|(?<![a-z0-9_])brain$",
    "t1_unenhancing": r"un_?enhanc|non_?enhanc|black_?hole|hypo_?int",
    "t1_enhancing": r"(?<!un)(?<!non)(?<!un_)(?<!non_)enhanc|gd_?les|gad\w*_les|cel_?mask",
    "new_lesions": r"new_?les|new_?t2",
    "labels": r"(?:rim|prl)s?_?labels?",
    "rim_mask": r"(?<![a-z])(?:rims?|prls?)(?![a-z])",
    "t2_lesions": r"lesion|(?<![a-z])les(?![a-z])|wmh|consensus|(?<![a-z])gt(?![a-z])|ground_?truth|gold_?st|manual"
    r"|annotation|(?<![a-z])roi(?![a-z])|(?<![a-z])seg(?![a-z])|segmentation|(?<![a-z])label|(?<![a-z])mask|plaque",
    "t1post": r"(?<![a-z])ce_[a-z0-9]+_t1|t1\w*?_?(?:gd|gad|gado|post|ks|km|ce(?![a-z])|contrast)|gado|post_?contrast"
    r"|ce_gad|(?<![a-z])t1c(?![a-z])",
    "flair": r"flair|tirm|dark_?fluid",
    "t2star": r"t2_?star|swi(?![a-z])|t2\*",
    "t2": r"t2",
    "pd": r"(?<![a-z])(?:pd|dp)w?(?![a-z])",
    "t1": r"t1|mp2?rage|spgr|(?<![a-z])tfe(?![a-z])|bravo",
    "qsm": r"qsm|suscept",
    "other": r"(?<![a-z])(?:dwi|adc|bold|dti|mtr?|localizer|scout|fa|md|prob\w*|ventricle\w*|vent)(?![a-z])",
}
_MASKS = (BRAIN, "t1_unenhancing", "t1_enhancing", "new_lesions", "labels", "rim_mask", "t2_lesions")
_SEQUENCES = ("flair", "t2", "t1", "t1post", "qsm")
_LEFT_OUT = ("t2star", "pd", "other")
_VISIT = re.compile(
    r"(?:ses|session|visit|v|tp|time|time_?point|t|wk?|week|m|month|y|year|d|day|bl|base|baseline|fu|follow_?up|scr\w*"
    r"|study|scan|mri|exam|pre|post)_?\d*[a-z]?|\d{4}-?\d\d-?\d\d",
    re.IGNORECASE,
)
_PATIENT = re.compile(r"(?:sub|subj|subject|pat|patient|p|case|id|ms)", re.IGNORECASE)
_SITE = re.compile(r"(?:site|center|centre|hospital|scanner|clinic)", re.IGNORECASE)
_TOKEN = re.compile(r"\d{4}-\d\d-\d\d|[/_. -]|[^/_. -]+")
Parts = tuple[str, ...]
Place = tuple[int, str]  # index and value of a part


@dataclass(frozen=True)
class Guess:
    """Patterns in the order flair, t2, t1, ..., masks; what was not sure; files that no pattern takes."""

    patterns: Mapping[str, tuple[str, ...]]
    unsure: tuple[str, ...]
    unused: tuple[str, ...]


def guess_patterns(files: Iterable[str], roles: Mapping[str, str] | None = None) -> Guess:
    """Patterns for the images and masks among files, paths below their source.

    Parameters
    ----------
    files : iterable of str
        Paths with forward slashes; only NIfTI files count.
    roles : mapping, optional
        Path -> role for files that something else than their names is known of.

    Examples
    --------
    >>> names = [f"{p}/{v}/{p}_{v}_{s}.nii.gz" for p in ("A1", "A2") for v in ("w0", "w24") for s in ("FLAIR", "T1")]
    >>> found = guess_patterns([*names, "A1/w0/A1_w0_lesions.nii.gz", "A1/w0/A1_w0_dwi.nii.gz"])
    >>> found.patterns["flair"], sorted(found.patterns)
    (('{patient}/w{week}/{patient}_w{week}_FLAIR.nii.gz',), ['flair', 't1', 't2_lesions'])
    >>> found.unused
    ('A1/w0/A1_w0_dwi.nii.gz',)
    """
    known = dict(roles or {})
    images = [path for path in sorted(files) if re.search(r"\.nii(\.gz)?$", path, re.IGNORECASE) and not _hidden(path)]
    role_of = {path: known.get(path) or role_by_name(path) for path in images}
    unsure = _doubts(images, role_of)
    if images and not set(role_of.values()) & set(_SEQUENCES) and "" in role_of.values():
        role_of = {path: role or "flair" for path, role in role_of.items()}
        unsure.append(
            "no word of the names tells a sequence: images taken for flair; write another name if they are none"
        )
    names = _part_names(images, role_of)
    patterns: dict[str, tuple[str, ...]] = {}
    for role in _ROLES:
        mine = [path for path in images if role_of[path] == role]
        if mine and role not in _LEFT_OUT:
            patterns[role], more = _patterns(mine, names)
            unsure += [f"{role}: {text}" for text in more]
    order = [role for role in (*_SEQUENCES, *_MASKS) if patterns.get(role)]
    unused = tuple(path for path in images if role_of[path] in ("", *_LEFT_OUT))
    return Guess({name: patterns[name] for name in order}, tuple(unsure), unused)


def role_by_name(path: str) -> str:
    """What a file is by the words of its name, else by those of its folder; blank if none says.

    Examples
    --------
    >>> [role_by_name(f"x/{name}.nii.gz") for name in ("3D_T1_MPRAGE", "FLAIR_lesion_mask", "P1_T1_FLAIR", "brainmask")]
    ['t1', 't2_lesions', 'flair', 'brain_mask']
    >>> role_by_name("abWMH_manual_segmentations/101.nii.gz"), role_by_name("101/scan.nii.gz")
    ('t2_lesions', '')
    """
    *folders, name = path.split("/")
    for text in (name, *reversed(folders)):
        found = _roles_in(text)
        masks = [role for role in _MASKS if role in found]
        if found:
            return masks[0] if masks else max(found, key=lambda role: found[role])
    return ""


def _roles_in(text: str) -> dict[str, int]:
    """Role -> where its last word begins; the later of two sequences is the name's own (T1 may be a visit)."""
    words = re.sub(r"[^a-z0-9*]+", "_", re.sub(r"\.nii(\.gz)?$", "", text.lower()))
    found = {role: list(re.finditer(words_of, words)) for role, words_of in _ROLES.items()}
    last = {role: matches[-1] for role, matches in found.items() if matches}
    for special, plain in (("t1post", "t1"), ("t2star", "t2"), ("flair", "t2")):
        if (
            special in last
            and plain in last
            and last[plain].start() <= max(last[special].start() + 3, last[special].end())
        ):
            del last[plain]
    return {role: match.start() for role, match in last.items()}


def _doubts(images: Sequence[str], role_of: Mapping[str, str]) -> list[str]:
    doubts: Counter[str] = Counter()
    for path in images:
        several = [role for role in _roles_in(path.split("/")[-1]) if role not in _MASKS]
        if len(several) > 1 and role_of[path] in several:
            doubts[f"names speak of {' and '.join(sorted(several))}: taken for {role_of[path]}, such as"] += 1
    examples = {text: next(p for p in images if _says(p, text, role_of)) for text in doubts}
    return [f"{number} {text} {examples[text]}" for text, number in doubts.items()]


def _says(path: str, text: str, role_of: Mapping[str, str]) -> bool:
    several = sorted(role for role in _roles_in(path.split("/")[-1]) if role not in _MASKS)
    return len(several) > 1 and text.startswith(f"names speak of {' and '.join(several)}: taken for {role_of[path]}")


def _hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))


def _part_names(images: Sequence[str], role_of: Mapping[str, str]) -> dict[Place, str]:
    """Place and value of a varying part -> what it is, decided once over the sequence with most files."""
    counts = Counter(role for role in role_of.values() if role and role not in (*_MASKS, *_LEFT_OUT))
    if not counts:
        return {}
    main = counts.most_common(1)[0][0]
    found: dict[Place, str] = {}
    for shape in _shapes(path for path in images if role_of[path] == main):
        for columns, part in _columns(shape):
            found |= {(index, row[index]): part for row in shape for index in columns if part}
    return found


def _patterns(paths: Sequence[str], names: Mapping[Place, str]) -> tuple[tuple[str, ...], list[str]]:
    """Patterns of one role's files, that with most files first; and what is not sure about them."""
    found: dict[str, int] = {}
    unsure = []
    for shape in _shapes(paths):
        pattern, doubts = _pattern(shape, names)
        unsure += doubts
        if "{patient}" in pattern:
            found[pattern] = found.get(pattern, 0) + len(shape)
    ranked = tuple(sorted(found, key=lambda pattern: (-found[pattern], pattern)))
    if len(ranked) > 1:
        unsure.append(f"{len(ranked)} ways of naming; where a visit has several, the first counts: {', '.join(ranked)}")
    return ranked, list(dict.fromkeys(unsure))


def _shapes(paths: Iterable[str]) -> list[list[Parts]]:
    """Paths in parts, grouped by their separators and the number of their parts."""
    rows = sorted((tuple(_TOKEN.findall(path)) for path in paths), key=_shape)
    return [list(group) for _, group in groupby(rows, key=_shape)]


def _shape(row: Parts) -> tuple[int, tuple[str, ...]]:
    return len(row), tuple(part for part in row if part in "/_. -")


def _columns(shape: Sequence[Parts]) -> list[tuple[list[int], str]]:
    """Groups of columns that vary together, each with what it is: patient, visit, site, or nothing that tells."""
    together: dict[Parts, list[int]] = defaultdict(list)
    for index in range(len(shape[0])):
        values = tuple(row[index] for row in shape)
        if len(set(values)) > 1:
            together[values].append(index)
    groups = list(together.items())
    if not groups:
        return []
    kinds = [_kind(shape, columns, values) for values, columns in groups]
    free = [i for i, kind in enumerate(kinds) if not kind]
    if "patient" not in kinds and free:
        chosen = _patient_among(free, [values for values, _ in groups])
        kinds[chosen] = "patient"
    elif "patient" not in kinds:
        kinds[0] = "patient"
    patients = groups[kinds.index("patient")][0]
    for i, (values, _) in enumerate(groups):
        if not kinds[i]:
            nested = len(set(zip(patients, values, strict=True))) == len(set(patients))
            kinds[i] = "" if nested and i > kinds.index("patient") else "site" if nested else "visit"
    return [
        (columns, kind if kinds.index(kind) == i else "")
        for i, ((_, columns), kind) in enumerate(zip(groups, kinds, strict=True))
    ]


def _kind(shape: Sequence[Parts], columns: Sequence[int], values: Sequence[str]) -> str:
    """What the words say: of the values themselves, or of the part before them."""
    before = {shape[0][index - 2] for index in columns if index >= 2 and shape[0][index - 1] in "-_"}
    bare = {re.sub(r"\d+.*$", "", value) for value in values}
    for kind, words in (("site", _SITE), ("patient", _PATIENT)):
        if any(words.fullmatch(word) for word in before) or (
            all(words.fullmatch(word) for word in bare) and bare != {""}
        ):
            return kind
    is_visit = all(_VISIT.fullmatch(value) for value in values) or any(_VISIT.fullmatch(word) for word in before)
    return "visit" if is_visit else ""


def _patient_among(free: Sequence[int], values: Sequence[Sequence[str]]) -> int:
    """The last of the undecided groups that determines the ones before it: a patient has one site, a site many."""
    chosen = free[0]
    for other in free[1:]:
        pairs = len(set(zip(values[other], values[chosen], strict=True)))
        if pairs == len(set(values[other])) and pairs > len(set(values[chosen])):
            chosen = other
    return chosen


def _pattern(shape: Sequence[Parts], names: Mapping[Place, str]) -> tuple[str, list[str]]:
    groups = _columns(shape)
    part_of, doubts = _known(shape, names), list[str]()
    if "patient" not in part_of.values():
        part_of = {index: kind for columns, kind in groups for index in columns}
        if not groups:
            part_of, doubts = _single(shape[0])
    for columns, _ in groups:
        if not any(part_of.get(index) for index in columns):
            part_of |= dict.fromkeys(columns, "")
            doubts.append(
                f"{shape[0][columns[0]]!r} varies and is neither patient nor visit, such as in {''.join(shape[0])}"
            )
    weeks = _all_weeks(shape, part_of)
    return "".join(_piece(shape[0], index, part_of, weeks=weeks) for index in range(len(shape[0]))), doubts


def _known(shape: Sequence[Parts], names: Mapping[Place, str]) -> dict[int, str]:
    """Parts that stand where those of another sequence stand, and have values of theirs."""
    kinds = {index: {names.get((index, row[index]), "") for row in shape} for index in range(len(shape[0]))}
    return {index: next(iter(kind)) for index, kind in kinds.items() if len(kind) == 1 and kind != {""}}


def _single(row: Parts) -> tuple[dict[int, str], list[str]]:
    """One file of a kind: its parts are known from another sequence, or its folder is taken for the patient."""
    slash = max((index for index, part in enumerate(row) if part == "/"), default=-1)
    words = [index for index, part in enumerate(row) if re.search(r"\d", part) and not _roles_in(part)]
    chosen = next((index for index in words if index > slash), max(words, default=slash - 1))
    if chosen < 0:
        return {}, [f"{''.join(row)} has no patient in its path: give the folder above it"]
    return {chosen: "patient"}, [f"one file only, {''.join(row)}: {row[chosen]} is taken for the patient"]


def _all_weeks(shape: Sequence[Parts], part_of: Mapping[int, str]) -> str:
    """The word before the number where all visits are called w0, week24 or alike; blank if not."""
    values = {row[index] for row in shape for index, kind in part_of.items() if kind == "visit"}
    words = {match[1] for value in values if (match := re.fullmatch(r"((?:w|wk|week)_?)\d+", value))}
    return next(iter(words)) if len(words) == 1 and all(re.fullmatch(r"(?:w|wk|week)_?\d+", v) for v in values) else ""


def _piece(row: Parts, index: int, part_of: Mapping[int, str], *, weeks: str) -> str:
    if index not in part_of:
        return re.sub(r"([\[\]*?{}])", r"[\1]", row[index])
    kind = part_of[index]
    if kind == "visit" and weeks:
        return weeks + "{week}"
    return f"{{{kind}}}" if kind else "*"
