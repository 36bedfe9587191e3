"""A folder that a step fills and goes on with: made with one set of settings, from files that are as they were."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nnunet_ms.errors import SettingsError
from nnunet_ms.outputs import whole_file

SETTINGS = "settings.json"


def claim_folder(out: Path, settings: Mapping[str, Any]) -> None:
    """Write the settings into an empty folder; refuse one with others.

    Parameters
    ----------
    out : Path
        A folder that is there.
    settings : mapping
        What JSON can hold.

    Raises
    ------
    SettingsError
        If the folder holds something else, or was made with other settings.

    Examples
    --------
    >>> Path("made").mkdir()
    >>> claim_folder(Path("made"), {"edge_mm": 2.0})
    >>> claim_folder(Path("made"), {"edge_mm": 1.0})
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.SettingsError: made/settings.json: expected edge_mm = 2.0, as what is there was made with, ...
    """
    ours = json.loads(json.dumps(settings))
    path = out / SETTINGS
    if not path.is_file():
        if others := sorted(place.name for place in out.iterdir() if not place.name.startswith(".")):
            raise SettingsError(
                f"{out}: expected an empty folder, or one of this step, found {others[0]}. Choose another folder."
            )
        with whole_file(path) as partial_file:
            partial_file.write_text(json.dumps(ours, indent=1) + "\n", encoding="utf-8")
        return
    try:
        found = dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise SettingsError(
            f"{path}: expected the settings of this folder in JSON ({error}). Remove the folder."
        ) from error
    for name in sorted({*ours, *found}):
        if ours.get(name) != found.get(name):
            raise SettingsError(
                f"{path}: expected {name} = {found.get(name)}, as what is there was made with, found "
                f"{ours.get(name)}. Ask for the same, or choose another folder."
            )


def digest_of(told: Sequence[Any], files: Mapping[str, Path | None]) -> str:
    """What something is made from: what is told of it, and path, size and time of its files.

    Unpacked masks have one size, and archives give one time to all: then the path alone tells two of them apart.

    Examples
    --------
    >>> a, b = (digest_of(["P1"], {"mask": Path(name)}) for name in ("reference.nii.gz", "prediction.nii.gz"))
    >>> a == b, a == digest_of(["P1"], {"mask": Path("reference.nii.gz")})
    (False, True)
    """
    states: list[tuple[str, str, int, int]] = []
    for name, path in files.items():
        if path is not None and path.is_file():
            status = path.stat()
            states.append((name, str(path.absolute()), status.st_size, status.st_mtime_ns))
    return hashlib.sha256(json.dumps([*told, states]).encode("utf-8", "surrogateescape")).hexdigest()
