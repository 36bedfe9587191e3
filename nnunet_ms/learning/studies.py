"""The studies of a learning curve: an nnU-Net dataset whose folds are the cyclic ones of Wahlig et al. [1]_.

The studies lie in S subsets. For k = 1 .. S - 1 and every subset t, fold `S * (k - 1) + t` trains on the k subsets
before t (cyclic) and tests on t: `nnunet-ms-convert splits --scheme learning-curve` writes them.

References
----------
.. [1] Wahlig SG et al. Front Neurosci 17:1188336, 2023. doi:10.3389/fnins.2023.1188336
"""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_ms.errors import SettingsError
from nnunet_ms.images.volumes import read_volume
from nnunet_ms.options import whole_numbers

Subsets = tuple[tuple[str, ...], ...]
ENDING = ".nii.gz"


@dataclass(frozen=True)
class Studies:
    """A dataset that is ready to train on: raw folder, dataset.json, its subsets and the label that is learnt."""

    number: int
    raw: Path
    preprocessed: Path
    channels: tuple[str, ...]
    label: str
    value: int
    subsets: Subsets

    @property
    def per_subset(self) -> int:
        """Studies of a subset; of the smallest where they differ by one."""
        return min(map(len, self.subsets))

    def fold(self, k: int, test: int) -> int:
        """Number of the fold that trains on k subsets and tests on one."""
        return len(self.subsets) * (k - 1) + test

    def trained_on(self, k: int, test: int) -> tuple[str, ...]:
        """Studies of the k subsets before the tested one."""
        return tuple(case for back in range(1, k + 1) for case in self.subsets[(test - back) % len(self.subsets)])


def read_studies(
    dataset: int | str,
    raw: Path | None = None,
    preprocessed: Path | None = None,
    configuration: str = "3d_fullres",
    plans: str = "nnUNetPlansMS",
    label: str | None = None,
) -> Studies:
    """Find a dataset, its plans and its subsets.

    Parameters
    ----------
    dataset : int or str
        nnU-Net's number of the dataset, or its folder's name.
    raw, preprocessed : Path, optional
        nnU-Net's folders; else its environment variables name them.
    configuration, plans : str, optional
        What is trained; it must have been preprocessed.
    label : str, optional
        Name in dataset.json of what is learnt; needed where there are several.

    Raises
    ------
    SettingsError
        If a folder, plans, configuration or label is missing, or the folds are no cyclic learning curve.
    """
    home = _dataset_folder(_folder(raw, "nnUNet_raw"), dataset)
    place = _folder(preprocessed, "nnUNet_preprocessed") / home.name
    number = int(home.name.removeprefix("Dataset").partition("_")[0])
    _check_preprocessed(place, number, configuration, plans)
    described = _read_json(home / "dataset.json")
    lacking = [name for name in ("channel_names", "labels") if not isinstance(described.get(name), dict)]
    if lacking:
        raise SettingsError(f"{home / 'dataset.json'}: expected {' and '.join(lacking)}, found none. Convert it again.")
    if described.get("file_ending") != ENDING:
        found = described.get("file_ending")
        raise SettingsError(
            f"{home / 'dataset.json'}: expected file_ending {ENDING}, found {found!r}. Convert the files."
        )
    name, value = _label(described, home, label)
    channels = tuple(str(channel) for channel in described["channel_names"].values())
    return Studies(number, home, place, channels, name, value, _read_subsets(home, place))


def _folder(given: Path | None, variable: str) -> Path:
    text = given or os.environ.get(variable)
    if not text:
        raise SettingsError(f"{variable}: expected this environment variable, it is not set. export {variable}=FOLDER")
    return Path(text).resolve()


def _dataset_folder(raw: Path, dataset: int | str) -> Path:
    wanted = str(dataset)
    known = sorted(path for path in raw.glob("Dataset[0-9][0-9][0-9]_*") if path.is_dir())
    if wanted.isdecimal():
        wanted = f"Dataset{int(wanted):03d}_*"
        found = [path for path in known if path.name.startswith(wanted.removesuffix("*"))]
    else:
        found = [path for path in known if path.name == wanted]
    if len(found) != 1:
        there = ", ".join(path.name for path in known[:8]) or "no dataset"
        raise SettingsError(f"{raw}: expected one {wanted}, found {len(found)} of {there}. Choose one of them.")
    return found[0]


def _check_preprocessed(place: Path, number: int, configuration: str, plans: str) -> None:
    step = f"Run: nnUNetv2_plan_and_preprocess -d {number} -pl nnUNetPlannerMS -c {configuration}"
    file = place / f"{plans}.json"
    if not file.is_file():
        there = ", ".join(sorted(path.stem for path in place.glob("*Plans*.json"))) or "none"
        raise SettingsError(f"{file}: expected plans of this name, found {there}. {step}")
    known = _read_json(file).get("configurations", {})
    if configuration not in known:
        raise SettingsError(f"{file}: expected configuration {configuration}, found {', '.join(known)}. {step}")
    data = known[configuration].get("data_identifier", f"{plans}_{configuration}")
    if not (place / data).is_dir():
        raise SettingsError(f"{place / data}: expected the preprocessed studies, found no folder. {step}")


def _read_json(path: Path, kind: type = dict) -> Any:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{path}: expected this file of nnU-Net, found none. Is this the dataset?") from None
    except ValueError as error:
        raise SettingsError(f"{path}: expected JSON, cannot read it ({error}). Write it again.") from error
    if not isinstance(found, kind):
        raise SettingsError(f"{path}: expected a {kind.__name__}, found a {type(found).__name__}. Write it again.")
    return found


def _label(described: dict[str, Any], home: Path, wanted: str | None) -> tuple[str, int]:
    """Name and value of the label that is learnt."""
    labels = {str(name): value for name, value in described["labels"].items() if name not in ("background", "ignore")}
    names = ", ".join(labels)
    if wanted is None and len(labels) != 1:
        raise SettingsError(f"{home / 'dataset.json'}: several labels, {names}. Say with --label which one is scored.")
    name = next(iter(labels)) if wanted is None else wanted
    if name not in labels:
        raise SettingsError(f"--label: expected one of {names}, found {name!r}. Choose one of them.")
    if not isinstance(labels[name], int):
        raise SettingsError(f"--label {name}: expected one value, found the region {labels[name]}. Choose another one.")
    return name, labels[name]


def _read_subsets(home: Path, place: Path) -> Subsets:
    """Return the subsets that the folds were made of.

    Raises
    ------
    SettingsError
        If splits_final.json is missing, or is no cyclic learning curve.
    """
    file = place / "splits_final.json"
    step = f"Run: nnunet-ms-convert splits {home} --scheme learning-curve --folds 6"
    if not file.is_file():
        raise SettingsError(f"{file}: expected the folds of a learning curve, found no file. {step}")
    folds = _read_json(file, list)
    count = (1 + math.isqrt(1 + 4 * len(folds))) // 2  # S (S - 1) folds
    are_folds = all(isinstance(fold, dict) and {"train", "val"} <= set(fold) for fold in folds)
    subsets = tuple(tuple(sorted(fold["val"])) for fold in folds[:count]) if are_folds else ()
    if not are_folds or count < 2 or count * (count - 1) != len(folds) or not _is_cyclic(folds, subsets):
        raise SettingsError(f"{file}: expected the folds of a cyclic learning curve, found {len(folds)} others. {step}")
    if not all(subsets):
        raise SettingsError(f"{file}: subset {subsets.index(())} holds no study. {step} with fewer subsets.")
    return subsets


def _is_cyclic(folds: Sequence[dict[str, list[str]]], subsets: Subsets) -> bool:
    number = len(subsets)
    for index, fold in enumerate(folds):
        k, test = index // number + 1, index % number
        train = {case for back in range(1, k + 1) for case in subsets[(test - back) % number]}
        if (
            tuple(sorted(fold["val"])) != subsets[test]
            or set(fold["train"]) != train
            or len(fold["train"]) != len(train)
        ):
            return False
    return True


def check_lesions(studies: Studies) -> list[str]:
    """Return the studies without any lesion; their sensitivity is undefined.

    Raises
    ------
    SettingsError
        If no study of a subset has one.
    ImageError
        If a mask cannot be read.
    """
    empty = []
    for number, subset in enumerate(studies.subsets):
        without = [case for case in subset if not _has_lesion(studies, case)]
        if len(without) == len(subset):
            named = ", ".join(subset[:3]) + " ..." * (len(subset) > 3)
            raise SettingsError(
                f"{studies.raw / 'labelsTr'}: no study of subset {number} ({named}) has a lesion ({studies.label}): "
                "nothing could be learnt from it, and no sensitivity is defined. Draw other subsets: nnunet-ms-convert "
                f"splits {studies.raw} --scheme learning-curve --folds {len(studies.subsets)} --seed 1"
            )
        empty += without
    return empty


def _has_lesion(studies: Studies, case: str) -> bool:
    label = read_volume(studies.raw / "labelsTr" / f"{case}{ENDING}")
    return bool((label.data == studies.value).any())


def steps_of(sizes: Sequence[int] | None, studies: Studies) -> dict[int, int]:
    """Return how many subsets each size takes: size -> k, ascending; None takes all that there are.

    Raises
    ------
    SettingsError
        If a size is no multiple of a subset, stands twice, or needs more subsets than can be trained on.
    """
    each, most = studies.per_subset, len(studies.subsets) - 1
    possible = [each * k for k in range(1, most + 1)]
    asked = possible if sizes is None else whole_numbers(sizes, "--sizes")
    fit = ",".join(map(str, possible))
    if not asked or len(set(asked)) < len(asked):
        raise SettingsError(f"--sizes: expected different sizes, found {asked}. Choose from {fit}.")
    uneven = [size for size in asked if size < 1 or size % each]
    if uneven:
        raise SettingsError(
            f"--sizes: expected multiples of {each}, the studies of a subset, found {uneven}. Choose from {fit}."
        )
    if max(asked) > possible[-1]:
        raise SettingsError(
            f"--sizes: {max(asked)} studies are {max(asked) // each} subsets of {each}, expected at most {most}: there "
            f"are {most + 1}, and one is tested. Choose from {fit}, or add studies."
        )
    return {size: size // each for size in sorted(asked)}
