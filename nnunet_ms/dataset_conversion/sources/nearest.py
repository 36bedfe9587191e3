"""What to do with a folder that does not have the layout it was said to have: the nearest kinds, and patterns."""

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from functools import cache
from importlib import import_module

from nnunet_ms.dataset_conversion.sources.all_sources import SOURCES
from nnunet_ms.dataset_conversion.sources.archive import LayoutError

LOOKED_AT = 300  # files of a large folder, spread over it
SHOWN = 3
_FILE = re.compile(r"[\w./-]+\.nii(?:\.gz)?")


def nearest_kinds(files: Sequence[str]) -> list[str]:
    """Kinds of source, the one first whose usual names are most like those of the files.

    Each name of a kind counts with the likeness of the file that is most like it, digits and capitals apart.

    Examples
    --------
    >>> nearest_kinds(["a/sub-01/anat/sub-01_FLAIR.nii.gz", "a/sub-01/anat/sub-01_T1w.nii.gz"])[0]
    'bids'
    >>> nearest_kinds(["Utrecht/7/pre/FLAIR.nii.gz", "Utrecht/7/wmh.nii.gz"])[0]
    'wmh2017'
    """
    step = max(1, len(files) // LOOKED_AT)
    shapes = sorted({_shape(path) for path in files[::step]})
    scores = {str(kind): _likeness(_usual_names(kind), shapes) for kind in SOURCES if _usual_names(kind)}
    return sorted(scores, key=lambda kind: -scores[kind])


def way_out(error: LayoutError, kind: str) -> str:
    """What to try where a folder is not what it was said to be, in whole sentences."""
    near = [f"{other} ({_usual_names(other)[0]})" for other in nearest_kinds(error.files) if other != kind][:SHOWN]
    return (
        f"The nearest other kinds: {', '.join(near)}. For any other tree, nnunet-ms-convert guess {error.source} "
        "proposes patterns for nnunet-ms-convert folder, such as --pattern 'flair={patient}/{visit}/*FLAIR*.nii.gz'."
    )


@cache
def _usual_names(kind: str) -> tuple[str, ...]:
    """Names that a kind expects, from its own words about them."""
    module = import_module(SOURCES[kind])  # type: ignore[index]  # one of them
    layouts = getattr(module, "LAYOUTS", None)
    archives = [layout.archive for layout in layouts.values()] if layouts else [getattr(module, "ARCHIVE", None)]
    return tuple(dict.fromkeys(name for one in archives if one is not None for name in _FILE.findall(one.expected)))


def _shape(path: str) -> str:
    """The last three parts of a path in small letters, each run of digits as one #."""
    return re.sub(r"\d+", "#", "/".join(path.split("/")[-3:]).lower().removesuffix(".gz"))


def _likeness(names: Sequence[str], shapes: Sequence[str]) -> float:
    """Mean of the best likeness of each of a kind's names and of each file, each 0 to 1."""

    def like(one: str, other: str) -> float:
        whole = SequenceMatcher(None, one, other).ratio()
        return (whole + SequenceMatcher(None, one.split("/")[-1], other.split("/")[-1]).ratio()) / 2

    table = [[like(_shape(name), shape) for shape in shapes] for name in names]
    if not shapes:
        return 0.0
    of_names, of_files = [max(row) for row in table], [max(column) for column in zip(*table, strict=True)]
    return sum(of_names) / len(of_names) + sum(of_files) / len(of_files)
