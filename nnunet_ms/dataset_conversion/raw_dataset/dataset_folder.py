"""Where a dataset goes: its folder among nnU-Net's, whose number must be free in all three of them."""

import os
from pathlib import Path

from nnunet_ms.errors import ConversionError

PLACES = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")  # nnU-Net's own variables
LARGEST_ID = 999


def nnunet_folder(variable: str) -> Path | None:
    """Folder that one of nnU-Net's environment variables names, or None."""
    place = os.environ.get(variable)
    return Path(place) if place else None


def new_folder(raw: str | Path | None, dataset_id: int | None, name: str, *, overwrite: bool = False) -> Path:
    """Return the folder of a new dataset; nothing is made yet.

    Parameters
    ----------
    raw : str, Path or None
        Folder of raw datasets; None takes the environment variable nnUNet_raw.
    dataset_id : int or None
        nnU-Net's number of the dataset, 1 to 999.
    name : str
        Name of the dataset.
    overwrite : bool, optional
        Whether the folder may exist.

    Raises
    ------
    ConversionError
        If no raw folder is known, or the number is out of range or taken.

    Examples
    --------
    >>> new_folder("raw", 801, "Trial").as_posix()
    'raw/Dataset801_Trial'
    >>> new_folder("raw", 1000, "Trial")
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.ConversionError: --dataset-id 1000: expected 1 to 999. Choose another number.
    """
    place = nnunet_folder("nnUNet_raw") if raw is None else Path(raw)
    if place is None:
        raise ConversionError("no raw folder: give --raw DIR or set nnUNet_raw.")
    if dataset_id is None:
        raise ConversionError(
            "--dataset-id None: expected 1 to 999, found no number. Give --dataset-id N, or --add-to the folder of a "
            "dataset."
        )
    if not isinstance(dataset_id, int) or not 1 <= dataset_id <= LARGEST_ID:
        raise ConversionError(f"--dataset-id {dataset_id}: expected 1 to {LARGEST_ID}. Choose another number.")
    folder = place / f"Dataset{dataset_id:03d}_{name}"
    others = _other_names(folder, dataset_id)
    if others or (folder.exists() and not overwrite):
        raise ConversionError(
            f"{place}: dataset number {dataset_id} is taken by {others or folder.name}. Choose another --dataset-id"
            + ("." if others else ", or --overwrite it.")
        )
    return folder


def _other_names(folder: Path, number: int) -> list[str]:
    """Names of other datasets with this number, in nnU-Net's three folders: it could not tell them apart."""
    places = {folder.parent, *map(nnunet_folder, PLACES)} - {None}
    found = {path.name for place in places if place and place.is_dir() for path in place.glob(f"Dataset{number:03d}_*")}
    return sorted(found - {folder.name})
