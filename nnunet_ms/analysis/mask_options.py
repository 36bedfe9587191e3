"""Options that `nnunet-ms-evaluate` and `nnunet-ms-measure` share, as both read folders of masks."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nnunet_ms.commands import add_parallel_options
from nnunet_ms.errors import SettingsError

REMAINS = "Folders are complete or as they were before. Repeat the command to start again."


def add_names(command: argparse.ArgumentParser, reader: str) -> None:
    """Add options for what stands in all tables: the reader, the types of lesion, and a note."""
    command.add_argument("--rater", help=f"the {reader}'s name in all tables, for one folder (model)")
    command.add_argument("--lesion-type", default="t2_lesions", help="the lesion type in all tables (%(default)s)")
    command.add_argument("--labels", help="several types in one mask: t1_unenhancing=1,t1_enhancing=2")
    command.add_argument("--data-note", default="", help="what the data are, such as real or simulated")


def add_maps_and_regions(command: argparse.ArgumentParser, maps: str) -> None:
    """Add options for folders of `<case_id>.nii.gz` beside the masks; `maps` is the help of the first."""
    command.add_argument("--map", action="append", default=[], metavar="COLUMN=DIR", help=maps)
    command.add_argument(
        "--region",
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="region masks that give each lesion a location: ventricles, cortex, infratentorial; repeat",
    )


def add_output(command: argparse.ArgumentParser) -> None:
    """Add options for pictures, processes and the folder to write."""
    command.add_argument("--images", type=Path, help="folder of images to draw them on")
    add_parallel_options(command)
    command.add_argument("-o", "--out", type=Path, required=True, help="folder to write; an earlier one is replaced")


def named(arguments: argparse.Namespace) -> dict[str, Any]:
    """Arguments that `evaluate`, `measure` and `rater_matrix` take in the same words."""
    return {
        "cases": arguments.cases,
        "lesion_type": arguments.lesion_type,
        "workers": arguments.workers,
        "note": arguments.data_note,
        "labels": label_numbers(arguments.labels) if arguments.labels else None,
    }


def of_one_reference(arguments: argparse.Namespace) -> dict[str, Any]:
    """Arguments that `evaluate` and `measure` take in the same words."""
    return {
        **named(arguments),
        "rater": arguments.rater,
        "maps": named_folders(arguments.map, "--map"),
        "regions": named_folders(arguments.region, "--region"),
        "images": arguments.images,
    }


def by_reader(given: list[str], option: str) -> Path | dict[str, Path]:
    """One folder, or several as NAME=DIR."""
    if len(given) == 1 and (Path(given[0]).is_dir() or "=" not in given[0]):
        return Path(given[0])
    return named_folders(given, option)


def named_folders(given: Sequence[str], option: str) -> dict[str, Path]:
    """Folders given as NAME=DIR, by name."""
    folders: dict[str, Path] = {}
    for text in given:
        name, sign, folder = text.partition("=")
        if not (sign and name.strip() and folder) or name.strip() in folders:
            raise SettingsError(f"{option}: expected NAME=DIR with different names, found {text!r}. Correct it.")
        folders[name.strip()] = Path(folder)
    return folders


def label_numbers(text: str) -> dict[str, int]:
    """Lesion types and their labels, given as NAME=NUMBER with commas between."""
    labels: dict[str, int] = {}
    for part in text.split(","):
        name, _, number = (piece.strip() for piece in part.partition("="))
        if not name or not number.isdecimal() or name in labels:
            raise SettingsError(
                f"--labels: expected such as t1_unenhancing=1,t1_enhancing=2, found {text!r}. Correct it."
            )
        labels[name] = int(number)
    return labels
