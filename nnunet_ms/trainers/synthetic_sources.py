"""What synthetic patches of a training are drawn from: `synthetic.json`, in the folder that holds dataset.json.

    {"label_maps": ["/data/synthseg_labels"], "lesion_masks": ["/data/open_ms_masks"], "share": 0.5}

Files or folders, relative to the file's own folder; of a folder's lesion masks those whose name holds "lesion". Label
maps have FreeSurfer's numbers and are fitted to MNI152, about ten seconds each; masks lie in MNI space by their
headers. An entry may be `{"file": FILE, "from_mni": [[...], ...]}`, where the (4, 4) matrix from MNI space is known.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_ms.arrays import Matrix
from nnunet_ms.checkpoints import sha256_of
from nnunet_ms.errors import ImageError, SettingsError
from nnunet_ms.images.names import nifti_files
from nnunet_ms.images.volumes import read_volume
from nnunet_ms.synthesis.label_maps import FREESURFER, HeadMap, check_fit, prepare_map
from nnunet_ms.synthesis.lesion_masks import (
    LEAST_IN_BRAIN,
    LesionMask,
    native_to_mni,
    prepare_mask,
    share_in_template,
)

SYNTHETIC = "synthetic.json"
MAPS, MASKS, SHARE, ON_LESIONS = "label_maps", "lesion_masks", "share", "lesion_share"
DEFAULTS = {SHARE: 0.5, ON_LESIONS: 0.5}


@dataclass(frozen=True)
class SyntheticSources:
    """Heads and lesions that are ready, and with what probability a patch is synthetic.

    Attributes
    ----------
    heads : tuple of HeadMap
    lesions : tuple of LesionMask
    share : float
        Of the training patches that are synthetic.
    lesion_share : float
        Of those, that are centred where a lesion is.
    record : dict
        Shares, names of the files and their SHA-256, for log and checkpoint.
    """

    heads: tuple[HeadMap, ...]
    lesions: tuple[LesionMask, ...]
    share: float
    lesion_share: float
    record: Mapping[str, Any]


def find_settings(folders: Sequence[Path]) -> Path:
    """`synthetic.json` in the first of the folders that has one.

    Raises
    ------
    SettingsError
        If none has; it shows what to write.

    Examples
    --------
    >>> find_settings([Path("nothing")])
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.SettingsError: nothing/synthetic.json: expected what synthetic patches are made from, found no ...
    """
    found = next((folder / SYNTHETIC for folder in folders if (folder / SYNTHETIC).is_file()), None)
    if found is None:
        shown = json.dumps({MAPS: ["FOLDER_OR_FILE"], MASKS: ["FOLDER_OR_FILE"], SHARE: DEFAULTS[SHARE]})
        raise SettingsError(
            f"{folders[0] / SYNTHETIC}: expected what synthetic patches are made from, found no such file. Write it: "
            f"{shown}; or take a trainer without Synthetic in its name."
        )
    return found


def read_sources(path: Path) -> SyntheticSources:
    """Read `synthetic.json` and make its label maps and masks ready.

    Raises
    ------
    SettingsError
        If it cannot be read, lacks label maps or masks, has an unknown key or a share outside of 0 to 1, or a file is
        missing.
    ImageError
        If a label map or a mask cannot be used.

    Examples
    --------
    >>> _ = Path("synthetic.json").write_text('{"label_maps": ["absent.nii.gz"], "lesion_masks": ["reference.nii.gz"]}')
    >>> read_sources(Path("synthetic.json"))
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.SettingsError: synthetic.json: label_maps: absent.nii.gz: expected a file, or a folder with ...
    """
    settings = _settings(path)
    maps, masks = _files(path, settings, MAPS), _files(path, settings, MASKS, "lesion")
    heads = tuple(_head(file, matrix) for file, matrix in maps)
    lesions = tuple(_mask(file, matrix) for file, matrix in masks)
    shares = {name: float(settings[name]) for name in DEFAULTS}
    record: dict[str, Any] = dict(shares)
    for name, files in ((MAPS, maps), (MASKS, masks)):
        record[name] = [{"file": str(file), "sha256": sha256_of(file)} for file, _ in files]
    return SyntheticSources(heads, lesions, shares[SHARE], shares[ON_LESIONS], record)


def _settings(path: Path) -> dict[str, Any]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise SettingsError(f"{path}: expected JSON, found {error}. Correct it.") from error
    unknown = sorted(set(read) - {MAPS, MASKS, *DEFAULTS}) if isinstance(read, dict) else ["no object"]
    if unknown:
        raise SettingsError(
            f"{path}: expected {MAPS}, {MASKS}, {SHARE}, {ON_LESIONS}, found {', '.join(unknown)}. Correct it."
        )
    found: dict[str, Any] = {**DEFAULTS, **read}
    for name in DEFAULTS:
        value = found[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise SettingsError(f"{path}: {name}: expected a number from 0 to 1, found {value!r}. Correct it.")
    return found


def _files(path: Path, settings: Mapping[str, Any], key: str, words: str = "") -> list[tuple[Path, Matrix | None]]:
    """Files of a key, each with its matrix from MNI space where that is given."""
    entries = settings.get(key)
    if not isinstance(entries, list) or not entries:
        raise SettingsError(
            f"{path}: {key}: expected a list of files or folders, found {entries!r}. Name at least one."
        )
    found: list[tuple[Path, Matrix | None]] = []
    for entry in entries:
        named = entry if isinstance(entry, dict) else {"file": entry}
        if not isinstance(named.get("file"), str) or set(named) - {"file", "from_mni"}:
            raise SettingsError(f"{path}: {key}: expected a path, or file and from_mni, found {entry!r}. Correct it.")
        matrix = _matrix(path, key, named["from_mni"]) if "from_mni" in named else None
        try:
            files = nifti_files([path.parent / named["file"]], words)
        except SettingsError as error:
            raise SettingsError(f"{path}: {key}: {error}") from error
        found += [(file, matrix) for file in files]
    return found


def _matrix(path: Path, key: str, given: object) -> Matrix:
    try:
        matrix = np.array(given, dtype=np.float64)
    except (TypeError, ValueError):
        matrix = np.zeros(0)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-6:
        raise SettingsError(f"{path}: {key}: from_mni: expected 4 rows of 4 numbers, found {given!r}. Leave it out.")
    return matrix


def _head(file: Path, matrix: Matrix | None) -> HeadMap:
    volume = read_volume(file)
    head = prepare_map(volume.data, volume.grid, FREESURFER, str(file), matrix)
    if matrix is None:
        check_fit(head)
    return head


def _mask(file: Path, matrix: Matrix | None) -> LesionMask:
    volume = read_volume(file)
    mask = volume.data != 0
    share = share_in_template(mask, volume.grid) if matrix is None else 1.0
    if share < LEAST_IN_BRAIN:
        raise ImageError(
            f"{file}: expected a mask that is aligned to MNI space, found {share:.0%} of its voxels in the template's "
            "brain. Register its scan and bring the mask there, give its from_mni, or leave it out."
        )
    return prepare_mask(mask, volume.grid, native_to_mni() if matrix is None else matrix, str(file))
