"""Held-out cases for a calibration of volumes: nnU-Net's validation, folders of `nnunet-ms-predict`, or a table."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from nnunet_ms import tables
from nnunet_ms.checkpoints import sha256_of
from nnunet_ms.errors import ImageError, SettingsError, TableError, one_line
from nnunet_ms.images.volumes import Grid, check_same_grid, read_volume
from nnunet_ms.trainers.networks.blocks import LesionNetwork
from nnunet_ms.trainers.prediction.case_measures import PROBABILITY
from nnunet_ms.trainers.prediction.model import Model
from nnunet_ms.trainers.prediction.settings import is_of_rims, lesion_types
from nnunet_ms.trainers.prediction.volume_calibration import HeldOut, Seen, log_odds_counts


@dataclass
class Found:
    """Held-out cases of each label value, in words where they are from, and what a reader should know.

    `dropout` says whether their predictions had dropout; None if unknown.
    """

    source: str
    dropout: bool | None
    cases: dict[int, list[HeldOut]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, value: int, case: HeldOut) -> None:
        """Add a case of a label."""
        self.cases.setdefault(value, []).append(case)


def validation_cases(model: Model, references: Path | None) -> Found:
    """Cases of `fold_X/validation`, each predicted by the one fold that has not seen it.

    Raises
    ------
    SettingsError
        If there are no probabilities, references are not found, or a fold has no validation of its own.
    ImageError
        If a prediction and its reference do not belong together.
    """
    if "all" in model.folds:
        raise SettingsError(
            f"{model.folder}: fold_all: expected folds that leave cases out, found one that is trained on all. Predict "
            "cases that it has not seen with nnunet-ms-predict, and say --predicted."
        )
    files = {fold: sorted((model.folder / f"fold_{fold}" / "validation").glob("*.npz")) for fold in model.folds}
    if not any(files.values()):
        raise SettingsError(
            f"{model.folder}: expected probabilities fold_X/validation/*.npz, found none. Write them: nnUNetv2_train "
            "DATASET CONFIGURATION FOLD -tr TRAINER -p PLANS --val --npz. Or say --predicted or --cases."
        )
    found = Found(f"nnU-Net's validation of folds {', '.join(fold for fold in files if files[fold])}", dropout=False)
    found.notes += [f"fold {fold}: no probabilities, left out" for fold in files if not files[fold]]
    masks = references or _references(model)
    patients = model.dataset_json.get("patients", {})
    of_fold: dict[str, str] = {}
    for fold, path in ((name, one) for name, listed in files.items() for one in listed):
        if path.stem in of_fold:
            raise SettingsError(
                f"{path}: expected each case in one fold, found it in fold {of_fold[path.stem]} too. Its folds are not "
                "of one training: choose with -f."
            )
        of_fold[path.stem] = fold
        _add_maps(
            found, model, path.stem, str(patients.get(path.stem, path.stem)), fold, _validated(path, model), masks
        )  # fmt: skip
    unknown = [case for case in of_fold if case not in patients]
    found.notes += [f"{len(unknown)} cases without patient in dataset.json: each is its own"] if unknown else []
    return found


def _validated(path: Path, model: Model) -> tuple[list[npt.NDArray[np.floating]], Grid]:
    """Probability (X, Y, Z) of each lesion label, as `nnunet-ms-predict` reads the network, and the grid."""
    mask = path.with_name(path.stem + str(model.dataset_json["file_ending"]))
    grid = read_volume(mask).grid
    try:
        with np.load(path) as content:
            heads = np.asarray(content["probabilities"], dtype=np.float64)
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise ImageError(f"{path}: expected nnU-Net's probabilities, cannot read them ({one_line(error)}).") from error
    values = [value for _, value in model.classes]
    if heads.ndim != 4 or heads.shape[0] <= max(values) or heads.shape[:0:-1] != grid.shape:
        raise ImageError(
            f"{path}: expected probabilities of {max(values) + 1} labels on the grid of {mask.name} {grid.shape}, "
            f"found {heads.shape[:1]} on {heads.shape[:0:-1]}. Validate again with --val --npz."
        )
    rest = heads[0] if isinstance(model.network, LesionNetwork) else None  # ours are sigmoids, background logit 0
    maps = []
    for value in values:
        here = heads[value]
        with np.errstate(invalid="ignore"):  # 0 / 0 where another label is certain
            share = here if rest is None else np.nan_to_num(here / (here + rest))
        maps.append(share.T)
    if is_of_rims(model):  # a lesion is core and rim together
        maps = [1 - (1 - maps[0]) * (1 - maps[1])]
    return maps, grid


def _add_maps(
    found: Found,
    model: Model,
    case_id: str,
    patient_id: str,
    fold: str,
    predicted: tuple[Sequence[npt.NDArray[np.floating]], Grid],
    references: Path,
) -> None:
    """Add a case whose probabilities are known voxel by voxel."""
    path = references / f"{case_id}{model.dataset_json['file_ending']}"
    if not path.is_file():
        raise SettingsError(f"{path}: expected the reference of case {case_id}, found no such file. Say --references.")
    reference, (maps, grid) = read_volume(path), predicted
    check_same_grid(reference, grid, str(path), f"prediction of {case_id}")
    ml, rims = grid.voxel_volume_ml, is_of_rims(model)
    for (_, value), probability in zip(model.classes, maps, strict=False):
        lesion = np.not_equal(reference.data, 0) if rims else np.equal(reference.data, value)
        seen = Seen(float(probability.sum(dtype=np.float64)) * ml, log_odds_counts(probability) * ml)
        volume = float(lesion.sum()) * ml
        found.add(
            value, HeldOut(case_id, patient_id, seen, volume, log_odds_counts(probability, lesion) * ml, fold)
        )  # fmt: skip


def _references(model: Model) -> Path:
    """Where nnU-Net has the references of a training."""
    dataset = model.folder.resolve().parent.name
    places = [
        Path(root) / dataset / name
        for variable, name in (("nnUNet_preprocessed", "gt_segmentations"), ("nnUNet_raw", "labelsTr"))
        if (root := os.environ.get(variable))
    ]
    for place in places:
        if place.is_dir():
            return place
    looked = " or ".join(map(str, places)) or "nnUNet_preprocessed and nnUNet_raw, which are not set"
    raise SettingsError(f"references: expected the reference masks in {looked}, found none. Say --references.")


def predicted_cases(model: Model, folders: Sequence[Path], references: Path | None) -> Found:
    """Cases of output folders of `nnunet-ms-predict`.

    Raises
    ------
    SettingsError
        If a folder is none of this model, a case stands in two, or a fold was trained on a case.
    ImageError
        If a prediction and its reference do not belong together.
    """
    if references is None:
        raise SettingsError("references: expected the folder of reference masks beside --predicted, found none.")
    trained = _validation_folds(model)
    found, seen, dropout = Found("", None), dict[str, Path](), set()
    for folder in folders:
        record = _record(folder, model)
        dropout.add(bool(record["sampling"]["samples"]) and float(record["sampling"]["probability"]) > 0)
        frame = tables.read_table(folder / "cases.csv", tables.PREDICTED_CASES)
        for case_id, patient_id in frame.drop_duplicates("case_id")[["case_id", "patient_id"]].itertuples(index=False):
            if case_id in seen:
                raise SettingsError(f"{folder}: case {case_id} stands in {seen[case_id]} too. Leave one folder out.")
            seen[case_id] = folder
            folds = [str(fold) for fold in record["folds"]]
            _check_held_out(folder, case_id, folds, trained)
            maps = _maps_of(folder, case_id, record["lesion_types"], model)
            _add_maps(found, model, case_id, patient_id, ",".join(folds), maps, references)
    found.dropout = dropout.pop() if len(dropout) == 1 else None
    found.source = f"{len(seen)} cases predicted by nnunet-ms-predict"
    unchecked = sum(case not in trained for case in seen)
    if unchecked:
        found.notes.append(
            f"{unchecked} cases are in no fold's validation: that no fold has seen them is taken as told"
        )
    return found


def _validation_folds(model: Model) -> dict[str, str]:
    """The fold that has not seen a case of the training, by what lies in the validation folders."""
    ending = str(model.dataset_json["file_ending"])
    return {
        path.name.removesuffix(ending): path.parent.parent.name.removeprefix("fold_")
        for path in model.folder.glob(f"fold_*/validation/*{ending}")
    }


def _record(folder: Path, model: Model) -> dict[str, Any]:
    path = folder / "prediction.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        of = (record["dataset"], record["model"])
        _ = record["folds"], record["lesion_types"], record["sampling"]["samples"], record["sampling"]["probability"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(
            f"{path}: expected the record of nnunet-ms-predict, cannot read it ({one_line(error)}). Name its "
            "output folder."
        ) from error
    if of[1] != model.folder.name:
        raise SettingsError(f"{path}: expected predictions of {model.folder.name}, found {of[1]}. Name others.")
    return dict(record)


def _check_held_out(folder: Path, case_id: str, folds: Sequence[str], trained: dict[str, str]) -> None:
    own = trained.get(case_id)
    if own is not None and list(folds) != [own]:
        raise SettingsError(
            f"{folder}: case {case_id}: expected a prediction by fold {own} alone, which has not seen it, found folds "
            f"{', '.join(folds)}. Predict it with -f {own}."
        )


def _maps_of(
    folder: Path, case_id: str, types: Sequence[str], model: Model
) -> tuple[list[npt.NDArray[np.floating]], Grid]:
    """Probability maps of a folder in the order of the model's labels."""
    paths = [folder / PROBABILITY / f"{case_id}{'' if len(types) == 1 else f'_{name}'}.nii.gz" for name in types]
    volumes = [read_volume(path) for path in paths[: 1 if is_of_rims(model) else None]]
    return [volume.data.astype(np.float64) for volume in volumes], volumes[0].grid


def table_cases(model: Model, path: Path) -> Found:
    """Cases of a table of volumes, `tables.HELD_OUT_VOLUMES`.

    Raises
    ------
    TableError
        If a column is missing, a value is none, a lesion type is unknown, or a case stands twice.
    """
    frame = tables.read_table(path, tables.HELD_OUT_VOLUMES)
    found = Found(f"table {path.name}, SHA-256 {sha256_of(path)[:12]}", None)
    if "patient_id" not in frame:
        found.notes.append("no column patient_id: each case is its own patient")
        frame["patient_id"] = frame["case_id"]
    types = _types(model)
    if "lesion_type" not in frame:
        if len(model.classes) > 1 and not is_of_rims(model):
            raise TableError(f"{path}: expected a column lesion_type, the model has {sorted(types)}. Add it.")
        frame["lesion_type"] = next(iter(types))
    tables.check_unique(frame, ["case_id", "lesion_type"], path)
    for row, value in _typed(frame.to_dict(orient="records"), types, path):
        seen, fold = Seen(float(row["expected_volume_ml"])), row.get("fold")
        of_fold = "" if fold is None or pd.isna(fold) else str(int(fold))
        found.add(
            value,
            HeldOut(
                str(row["case_id"]),
                str(row["patient_id"]),
                seen,
                float(row["reference_volume_ml"]),
                fold=of_fold,
            ),
        )
    return found


def _types(model: Model) -> dict[str, int]:
    """Label values by the names that tables have for them, and by the labels' own."""
    if is_of_rims(model):
        return {lesion_types(model, "")[0][0]: model.classes[0][1]}
    return dict(lesion_types(model, "")) | dict(model.classes)


def _typed(
    rows: Sequence[dict[Any, Any]], types: dict[str, int], path: Path
) -> Iterator[tuple[dict[Any, Any], int]]:  # fmt: skip
    for number, row in enumerate(rows, 1):
        if row["lesion_type"] not in types:
            raise TableError(
                f"{path}: row {number}: expected lesion_type out of {sorted(types)}, found {row['lesion_type']}. "
                "Correct it."
            )
        yield row, types[row["lesion_type"]]
