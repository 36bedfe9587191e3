"""A raw dataset that is added to: what it holds, that the new cases fit it, and its folds with new patients in them."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nnunet_ms.cases_table import read_cases
from nnunet_ms.dataset_conversion.cases import Case
from nnunet_ms.dataset_conversion.raw_dataset.folds import Fold
from nnunet_ms.errors import ConversionError

SPLITS = "splits_final.json"


@dataclass(frozen=True)
class Existing:
    """A raw dataset as it is: its table of cases (a row per case), dataset.json, folds, and files below its folder."""

    folder: Path
    cases: pd.DataFrame
    content: Mapping[str, Any]
    folds: tuple[Fold, ...]
    files: tuple[str, ...]

    def patients(self, role: str) -> frozenset[str]:
        """Patients with a case of this role, "train" or "test"."""
        return frozenset(self.cases.loc[self.cases["role"] == role, "patient_id"])

    @property
    def channels(self) -> tuple[str, ...]:
        """Its sequences, in order."""
        names = self.content["channel_names"]
        return tuple(names[str(index)] for index in range(len(names)))

    def rows(self) -> list[dict[str, Any]]:
        """Its rows of cases.csv; a case whose source is not named comes from the dataset."""
        frame = self.cases.astype(object).where(self.cases.notna(), None)
        name = self.content.get("name") or self.folder.name
        return [row | {"source": row.get("source") or name} for row in frame.to_dict("records")]


def read_existing(folder: str | Path) -> Existing:
    """Read a raw dataset that was written here.

    Raises
    ------
    ConversionError
        If it is no such dataset.
    TableError
        If its cases.csv cannot be read.

    Examples
    --------
    >>> from nnunet_ms.dataset_conversion.convert import convert
    >>> done = convert("study/manifest.csv", dataset_id=801, raw="raw", channels="flair")
    >>> found = read_existing(done.folder)
    >>> found.channels, sorted(found.patients("train")), len(found.folds)
    (('flair',), ['P1', 'P2', 'P3'], 3)
    """
    folder = Path(folder)
    if not all((folder / name).is_file() for name in ("dataset.json", "cases.csv")):
        raise ConversionError(
            f"--add-to {folder}: expected a raw dataset with dataset.json and cases.csv, found none. Give the folder "
            "that nnunet-ms-convert wrote."
        )
    splits = folder / SPLITS
    return Existing(
        folder,
        read_cases(folder),
        json.loads((folder / "dataset.json").read_text(encoding="utf-8")),
        tuple(json.loads(splits.read_text(encoding="utf-8"))) if splits.is_file() else (),
        tuple(sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())),
    )


def check_fits(existing: Existing, cases: Sequence[Case], channels: Sequence[str], labels: Mapping[str, int]) -> None:
    """Raise ConversionError if new cases have other channels or labels, or the name of a case that is there."""
    what, there = (list(channels), dict(labels)), (list(existing.channels), dict(existing.content["labels"]))
    if what != there:
        raise ConversionError(
            f"--add-to {existing.folder}: expected channels {there[0]} and labels {there[1]}, found {what[0]} and "
            f"{what[1]}. Choose --channels {','.join(there[0])} and the dataset's --target."
        )
    known = {name.lower() for name in existing.cases["case_id"]}
    twice = [case.case_id for case in cases if case.case_id.lower() in known]
    if twice:
        raise ConversionError(
            f"--add-to {existing.folder}: expected new cases, found {len(twice)} that are there already ({twice[0]}). "
            "Take them out of the source, or convert both sources into a new dataset (--also)."
        )


def copy_files(existing: Existing, folder: Path) -> None:
    """Copy the files of the dataset, but those that are written anew, unless they are there with their size."""
    for name in existing.files:
        if name in ("dataset.json", "cases.csv", SPLITS):
            continue
        source, target = existing.folder / name, folder / name
        if not target.is_file() or target.stat().st_size != source.stat().st_size:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


def extended_folds(folds: Sequence[Fold], patient_of: Mapping[str, str], seed: int) -> list[Fold] | None:
    """The folds with new training patients dealt out to them, and every old one where it was.

    Parameters
    ----------
    folds : sequence of dict
        Those of the dataset as it is.
    patient_of : mapping
        Case id -> patient id of all training cases, old and new.
    seed : int
        Of the order in which new patients are dealt out, each to the fold with fewest patients.

    Returns
    -------
    list of dict or None
        None where the folds are not a cross-validation by patient: they cannot be extended.

    Examples
    --------
    >>> folds = [{"train": ["b"], "val": ["a"]}, {"train": ["a"], "val": ["b"]}]
    >>> [fold["val"] for fold in extended_folds(folds, {"a": "A", "b": "B", "a2": "A", "c": "C"}, seed=0)]
    [['a', 'a2', 'c'], ['b']]
    """
    fold_of: dict[str, int] = {}
    for number, fold in enumerate(folds):
        for case in fold["val"]:
            patient = patient_of.get(case)
            if patient is not None and fold_of.setdefault(patient, number) != number:
                return None
    old = {case for fold in folds for case in (*fold["train"], *fold["val"])}
    if not folds or any(set(fold["train"]) != old - set(fold["val"]) for fold in folds):
        return None
    sizes = [sum(place == number for place in fold_of.values()) for number in range(len(folds))]
    new = np.array(sorted(set(patient_of.values()) - set(fold_of)), dtype=object)
    np.random.default_rng(seed).shuffle(new)
    for patient in new:
        fold_of[patient] = int(np.argmin(sizes))
        sizes[fold_of[patient]] += 1
    return [
        {
            "train": sorted(case for case, patient in patient_of.items() if fold_of[patient] != number),
            "val": sorted(case for case, patient in patient_of.items() if fold_of[patient] == number),
        }
        for number in range(len(folds))
    ]


def notes_of_more(existing: Existing, folds: Sequence[Fold], *, asked: int | None) -> list[str]:
    """What to tell of a dataset that was added to: its folds, and what nnU-Net has to do again."""
    old = existing.folds
    kept = [sorted(fold["val"]) for fold in old] == [
        [case for case in fold["val"] if case in {c for one in old for c in one["val"]}] for fold in folds
    ]
    notes = []
    if old and not kept:
        why = f"--folds {asked}" if asked is not None else "they were no cross-validation by patient"
        notes.append(f"the folds are made anew ({why}): models that were trained on the old ones do not fit them")
    notes.append(
        "run nnUNetv2_plan_and_preprocess again before training: what it made of the dataset lacks the new cases"
    )
    return notes
