"""What a converter hands over: cases with their source files, and the facts of a dataset."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from nnunet_ms.errors import ConversionError
from nnunet_ms.options import chosen

Rule = Literal["single", "classes", "majority", "union", "brighter", "darker", "signed", "visits", "rims", "rim_labels"]
LABEL = "label"  # name of the reference mask among a case's files
JOINT_T1 = "t1_unenhancing,t1_enhancing"  # the one target with two classes of lesion


@dataclass(frozen=True)
class Mask:
    """How the label of a case is made from mask files.

    `rule` is `single` (one file), `classes` (file k gives label k; the last one wins where two overlap), `majority`
    (marked by more than half of the raters; with two raters by both), `union` (by any of them), or `brighter`,
    `darker`, `signed` (parts of a mask of change, see `signed_change`), or `rims`, `rim_labels` (a lesion mask with a
    mask of rims, or with labels of its lesions, see `rim_masks`). `values` says which number of a single file
    becomes which label; any other number is an error. `visits`: the masks of two visits, each made by a rule of its
    own, see `Case.pair`.
    """

    files: dict[str, Path]
    rule: Rule = "single"
    values: dict[int, int] = field(default_factory=lambda: {0: 0, 1: 1})

    def __post_init__(self) -> None:
        chosen(self.rule, get_args(Rule), "rule")


@dataclass(frozen=True)
class Case:
    """One visit: `images` maps channel -> file in the order of the channels, `label` is None where there is no mask.

    `problem` says why this case cannot be converted; it is then listed, never dropped in silence. `remark` is what the
    user should know of how it was found.
    """

    patient_id: str
    visit: str
    week: float | None
    images: dict[str, Path]
    label: Mask | None
    problem: str = ""
    site: str = ""
    brain_mask: Path | None = None
    reference: Path | None = None  # file that gives the grid; None: the first image
    transforms: dict[str, tuple[Path, ...]] = field(default_factory=dict)  # per channel, applied in this order
    remark: str = ""
    source: str = ""  # name of its source, where a dataset has several
    pair: "Pair | None" = None  # of two visits, which become one case
    absent: tuple[str, ...] = ()  # channels without a file: zeros in the dataset, see `sources.absence`

    @property
    def case_id(self) -> str:
        """File stem in the nnU-Net dataset: patient and visit in letters, digits, dot, dash and underscore.

        Examples
        --------
        >>> Case("P 07", "week 24", 24.0, {}, None).case_id
        'P-07_week-24'
        """
        joined = f"{self.patient_id}_{self.visit}" if self.visit else self.patient_id
        plain = re.sub(r"^[.]+", "-", re.sub(r"[^A-Za-z0-9._-]", "-", joined))  # a leading dot would hide the file
        # names in other scripts would all become dashes; a few digits of their checksum tell them apart
        return (
            plain
            if joined.isascii()
            else f"{plain}-{hashlib.sha256(joined.encode(errors='surrogateescape')).hexdigest()[:6]}"
        )

    def files(self) -> dict[str, Path]:
        """All source files by channel, the masks last: one under `LABEL`, several under `label_<name>`."""
        masks = {} if self.label is None else self.label.files
        single = len(masks) == 1
        return {**self.images, **{LABEL if single else f"{LABEL}_{name}": path for name, path in masks.items()}}


def place_in_time(case: Case) -> tuple[Any, ...]:
    """Place among a patient's visits, as a key to sort by.

    By week, else by name, whose numbers count as numbers and where a baseline comes first.

    Examples
    --------
    >>> names = ("m12", "m3", "baseline", "m6")
    >>> [one.visit for one in sorted((Case("P1", name, None, {}, None) for name in names), key=place_in_time)]
    ['baseline', 'm3', 'm6', 'm12']
    """
    parts = re.split(r"(\d+)", case.visit.lower())
    natural = [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]
    first = re.match(r"(screen|base|bl\b|initial)", case.visit.lower()) is not None
    return (case.week is None, case.week or 0.0, not first, natural)


@dataclass(frozen=True)
class Pair:
    """Two visits of a patient that become one case, see `pairs`.

    `target` is one of `pairs.PairTarget`. `is_shared` says that the source hands both visits over together: their
    images by their transforms (or as they are) in one space, which is that of the one mask and of the brain mask.
    """

    baseline: Case
    followup: Case
    target: str
    is_shared: bool = False


@dataclass(frozen=True)
class DatasetInfo:
    """What dataset.json says about a source."""

    name: str
    citation: str = ""
    licence: str = ""
    description: str = ""


def label_names(target: str) -> dict[str, int]:
    """Labels of dataset.json for a target: one lesion class but for the joint T1 task, rims, and signed change.

    Examples
    --------
    >>> label_names("t2_lesions")
    {'background': 0, 'lesion': 1}
    >>> label_names(JOINT_T1)
    {'background': 0, 'unenhancing': 1, 'enhancing': 2}
    """
    if target == JOINT_T1:
        return {"background": 0, "unenhancing": 1, "enhancing": 2}
    if target == "rim":
        return {"background": 0, "core": 1, "rim": 2}
    if target == "signed_change":
        return {"background": 0, "brighter": 1, "darker": 2}
    return {"background": 0, "lesion": 1}


def check_case_ids(cases: Sequence[Case], source: Path) -> None:
    """Raise ConversionError if two visits would share one file name (also where upper and lower case are one).

    Examples
    --------
    >>> check_case_ids([Case("P1", visit, None, {}, None) for visit in ("a b", "A/b")], Path("study"))
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.ConversionError: study: patient P1 visit A/b and patient P1 visit a b both become case P1_A-b. ...
    """
    seen: dict[str, Case] = {}
    for case in cases:
        other = seen.setdefault(case.case_id.lower(), case)
        if other is not case:
            raise ConversionError(
                f"{source}: patient {case.patient_id} visit {case.visit} and patient {other.patient_id} visit "
                f"{other.visit} both become case {case.case_id}. Rename one of them."
            )


def names_of(words: str | Iterable[object] | None) -> tuple[str, ...]:
    """Names from a list, or from one text with commas between; none from None.

    Examples
    --------
    >>> names_of("flair, t2,t1")
    ('flair', 't2', 't1')
    >>> names_of([104670, "P2"])
    ('104670', 'P2')
    """
    if isinstance(words, str):
        return tuple(name.strip() for name in words.split(",") if name.strip())
    return tuple(str(name) for name in words or ())


def choose(wanted: Iterable[str], known: Iterable[str], option: str, source: Path) -> list[str]:
    """Return `wanted` as a list, or raise ConversionError if a name is unknown or stands twice.

    Examples
    --------
    >>> choose(["t1", "flair"], ("flair", "t2", "t1"), "--channels", Path("study"))
    ['t1', 'flair']
    """
    names = list(wanted)
    strange = [name for name in names if name not in set(known)]
    if strange or len(set(names)) != len(names) or not names:
        raise ConversionError(
            f"{source}: {option} {','.join(names)}: expected different names among {sorted(known)}, "
            f"found {strange or names}. Correct {option}."
        )
    return names
