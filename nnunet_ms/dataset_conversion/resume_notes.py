"""Notes on what an interrupted conversion had done, so that the next run goes on where it ended.

A note is believed only if its fingerprint is the same: the same options, the same version, and source files of the
same size and time.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nnunet_ms.dataset_conversion.cases import Case


def fingerprint(case: Case, options: Mapping[str, Any]) -> str:
    """Checksum of everything that the result of a case follows from.

    Parameters
    ----------
    case : Case
        With its files, whose size and time count.
    options : mapping
        What else the result depends on.

    Examples
    --------
    >>> case = Case("P1", "base", 0.0, {"flair": Path("flair.nii.gz")}, None)
    >>> fingerprint(case, {"role": "train"}) == fingerprint(case, {"role": "test"})
    False
    """
    files = [*case.files().values(), case.reference, case.brain_mask, *sum(case.transforms.values(), ())]
    stamps = [[str(path), *_stamp(path)] for path in files if path is not None]
    pair = () if case.pair is None else (case.pair.baseline, case.pair.followup)
    files += [visit.brain_mask for visit in pair]  # images and masks of both visits are the case's own
    told = [_our_version(), asdict(case), stamps, dict(options)]
    return hashlib.sha256(json.dumps(told, default=str, sort_keys=True).encode("utf-8", "surrogateescape")).hexdigest()


def recall(note: Path, key: str) -> dict[str, Any] | None:
    """What a note says, or None where there is none or it is about something else."""
    if not note.is_file():
        return None
    content = json.loads(note.read_text(encoding="utf-8"))
    return content["value"] if content["key"] == key else None


def remember(note: Path, key: str, value: Mapping[str, Any]) -> None:
    """Write a note, complete or not at all; a case is one worker's, so the name beside it is free.

    Examples
    --------
    >>> remember(Path("P1.json"), "key", {"voxels": 12})
    >>> recall(Path("P1.json"), "key"), recall(Path("P1.json"), "other key")
    ({'voxels': 12}, None)
    """
    partial = note.with_suffix(".partial")
    partial.write_text(json.dumps({"key": key, "value": value}), encoding="utf-8")
    partial.replace(note)


@cache
def _our_version() -> str:
    return version("nnunet-ms")


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns
