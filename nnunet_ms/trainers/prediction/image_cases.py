"""The images of a folder in nnU-Net's naming, checked before anything is computed: CASE_0000.nii.gz, CASE_0001..."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_ms.cases_table import NO_VISIT, Place, places, read_cases
from nnunet_ms.errors import ImageError, SettingsError, visible
from nnunet_ms.images.headers import check_header, plain_file
from nnunet_ms.images.names import is_text, one_form, stem_of
from nnunet_ms.images.volumes import Grid, Volume, check_same_grid, read_volume, write_volume
from nnunet_ms.parallel import Failure
from nnunet_ms.trainers.prediction.model import Model

_CHANNEL = re.compile(r"(.+)_(\d{4})")
_NO_TEXT = "expected file names in UTF-8, found other bytes. Rename the images of this case."


@dataclass(frozen=True)
class ImageCase:
    """One case's channel files, in order, and its place in the trial; `week` is NaN when unknown.

    `absent` are the channels that have no file, for a model that can do without them (`Model.needed`).
    Of a pair of visits that of the follow-up; `previous_visit` and `previous_week` are then the baseline's.
    `notes` say how its images are unlike those of the training, once they have been looked at.
    """

    case_id: str
    files: tuple[Path, ...]
    patient_id: str
    visit: str = NO_VISIT
    week: float = float("nan")
    previous_visit: str = ""
    previous_week: float = float("nan")
    absent: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


def find_image_cases(images: Path, model: Model, cases: Path | None = None) -> tuple[list[ImageCase], list[Failure]]:
    """Find the cases of a folder, by file name alone.

    Parameters
    ----------
    images : Path
        Folder of channel files.
    model : Model
        Tells the channels and the file ending.
    cases : Path, optional
        `tables.CASES` with patient, visit and week; else dataset.json's patients, else every case is its own.

    Returns
    -------
    cases, failures
        A case with a missing or a further channel is a failure.

    Raises
    ------
    SettingsError
        If the folder is missing or holds no channel file.
    TableError
        If `cases` is not a cases table.
    """
    ending = str(model.dataset_json["file_ending"])
    if not images.is_dir():
        raise SettingsError(
            f"{images}: expected a folder of images <case>_0000{ending}, found none. Check the path (-i)."
        )
    channels: dict[str, list[tuple[int, Path]]] = {}
    for path in sorted(images.iterdir()):
        if match := _CHANNEL.fullmatch(stem_of(path.name)):
            channels.setdefault(match[1], []).append((int(match[2]), path))
    names = sorted(channels)
    if not names:
        raise SettingsError(
            f"{images}: expected images <case>_0000{ending}, found none. Name them so, see nnU-Net's docs."
        )
    known, before = _places(cases, names, model), _baselines(cases)
    found, failures = [], []
    for name in names:
        numbered = sorted(channels[name])
        numbers = [number for number, _ in numbered]
        if not is_text(name):
            failures.append(Failure(visible(name), _NO_TEXT))
        elif enough_channels(numbers, model):
            files, absent = (
                tuple(path for _, path in numbered),
                tuple(sorted(set(range(model.channels)) - set(numbers))),
            )
            found.append(ImageCase(name, files, **vars(known[name]), **before.get(name, {}), absent=absent))
        else:
            failures.append(Failure(name, _wrong_channels(images, name, numbers, ending, model)))
    return found, failures


def read_images(case: ImageCase) -> list[Volume]:
    """Read and check a case's headers and voxels; one volume per channel, of zeros where it is absent.

    Raises
    ------
    ImageError
        If a file cannot be read, holds no voxel or NaN, the channels lie on different grids, two of them are the same
        image, or every voxel is 0.
    """
    # headers first: grids that differ are found without the voxels
    grids = [check_header(path).grid for path in case.files]
    for path, grid in zip(case.files, grids, strict=True):
        check_same_grid(grids[0], grid, str(case.files[0]), str(path))
    volumes = [read_volume(path) for path in case.files]  # all of them, each is checked
    check_channels(volumes)
    return with_absent(volumes, case.absent)


def enough_channels(numbers: Sequence[int], model: Model) -> bool:
    """Whether these channels are all that a model has, or, if it can do without some, one of those that it needs."""
    if list(numbers) == list(range(model.channels)):
        return True
    return set(numbers) <= set(range(model.channels)) and bool(set(numbers) & set(model.needed))


def with_absent(volumes: Sequence[Volume], absent: Sequence[int]) -> list[Volume]:
    """The volumes with zeros in the places of absent channels, on the grid of the first."""
    whole = list(volumes)
    for number in absent:
        data = np.zeros(volumes[0].data.shape, dtype=np.uint8)
        whole.insert(number, Volume(data, volumes[0].grid, Path(f"absent_{number:04d}")))
    return whole


def plain_case(case: ImageCase, grid: Grid, folder: Path) -> ImageCase:
    """The same case with files that nnU-Net reads as we do, all on `grid`; the others are copied into `folder`."""
    stem = str(folder / case.case_id / "channel")
    places = [Path(f"{stem}_{number:04d}") for number in range(len(case.files) + len(case.absent))]
    there = iter(case.files)
    files = [
        _of_zeros(place, grid) if number in case.absent else plain_file(next(there), place, grid)
        for number, place in enumerate(places)
    ]
    return replace(case, files=tuple(files), absent=())


def _of_zeros(stem: Path, grid: Grid) -> Path:
    path = stem.with_name(f"{stem.name}.nii.gz")
    write_volume(path, np.zeros(grid.shape, dtype=np.uint8), grid.affine)
    return path


def check_channels(volumes: Sequence[Volume]) -> None:
    """Check the voxels of an image's channels against each other.

    Raises
    ------
    ImageError
        If they lie on different grids, two of them are the same image, or every voxel is 0.
    """
    for volume in volumes:
        check_same_grid(volumes[0], volume, str(volumes[0].path), str(volume.path))
    for first, second in combinations(volumes, 2):
        if first.data.any() and np.array_equal(first.data, second.data):
            raise ImageError(
                f"{second.path}: expected another sequence than {first.path}, found the same voxels. Was one put in "
                "the place of another, such as the image before contrast agent in the place of that after it?"
            )
    if not any(volume.data.any() for volume in volumes):
        raise ImageError(
            f"{volumes[0].path}: expected intensities, found 0 in every voxel of every channel. Export again."
        )


def _places(cases: Path | None, names: list[str], model: Model) -> dict[str, Place]:
    if cases is None:
        patients = model.dataset_json.get("patients", {})
        return {name: Place(patients.get(name, name)) for name in names}
    known = {one_form(name): place for name, place in places(read_cases(cases)).items()}
    return {name: known.get(name, Place(name)) for name in names}


def _baselines(cases: Path | None) -> dict[str, dict[str, Any]]:
    """Of pairs, which cases.csv of their dataset tells: visit and week of the baseline."""
    table = None if cases is None else read_cases(cases)
    if table is None or "baseline_visit" not in table:
        return {}
    rows = table[table["baseline_visit"].notna()].to_dict("records")
    return {
        row["case_id"]: {
            "previous_visit": str(row["baseline_visit"]),
            "previous_week": float(row.get("baseline_week") or "nan"),
        }
        for row in rows
    }


def _wrong_channels(images: Path, name: str, numbers: list[int], ending: str, model: Model) -> str:
    expected = [f"{number:04d} ({channel})" for number, channel in enumerate(model.channel_names)]
    least = " or ".join(f"{number:04d}" for number in model.needed)
    enough = f" (of which {least} is enough)" if model.needed else ""
    return (
        f"expected channels {', '.join(expected)}{enough} as {images / name}_0000{ending} and so on, found "
        f"{', '.join(f'{number:04d}' for number in numbers)}. Add or remove files."
    )
