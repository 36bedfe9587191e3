"""Read what folds need from a raw dataset, and write `splits_final.json` where nnU-Net looks for it."""

import json
from pathlib import Path

from nnunet_ms.cases_table import read_cases
from nnunet_ms.dataset_conversion.raw_dataset.folds import (
    learning_curve_folds,
    patient_folds,
    site_folds,
    stratified_folds,
)
from nnunet_ms.errors import ConversionError
from nnunet_ms.images.volumes import read_volume
from nnunet_ms.outputs import whole_file

SCHEMES = ("kfold", "stratified", "site", "learning-curve")


def make_folds(dataset: Path, scheme: str, folds: int, seed: int) -> list[dict[str, list[str]]]:
    """Folds of a dataset's training cases by one of `SCHEMES`; `folds` counts the subsets of a learning curve.

    Raises
    ------
    ConversionError
        If there are too few patients or sites.
    TableError, ImageError
        If cases.csv or a label cannot be read.
    """
    cases = read_cases(dataset)
    cases = cases[cases["role"] == "train"]
    patient_of = dict(zip(cases["case_id"], cases["patient_id"], strict=True))
    if scheme == "site":
        if "site" not in cases or cases["site"].isna().any():
            raise ConversionError(f"{dataset / 'cases.csv'}: expected a site for every training case. Fill it in.")
        return site_folds(patient_of, dict(zip(cases["case_id"], cases["site"], strict=True)))
    if scheme == "stratified":
        return stratified_folds(patient_of, {case: _load_ml(dataset, case) for case in patient_of}, folds, seed)
    make = patient_folds if scheme == "kfold" else learning_curve_folds
    return make(patient_of, folds, seed)


def _load_ml(dataset: Path, case: str) -> float:
    label = read_volume(dataset / "labelsTr" / f"{case}.nii.gz")
    return float((label.data != 0).sum()) * label.grid.voxel_volume_ml


def write_folds(folds: list[dict[str, list[str]]], dataset: Path, preprocessed: Path | None) -> list[Path]:
    """Write the folds into the raw dataset and, where it exists, the preprocessed one that `nnUNetv2_train` reads."""
    places = [dataset]
    if preprocessed is not None and (preprocessed / dataset.name).is_dir():
        places.append(preprocessed / dataset.name)
    paths = [place / "splits_final.json" for place in places]
    for path in paths:
        with whole_file(path) as partial:
            partial.write_text(json.dumps(folds, indent=2) + "\n", encoding="utf-8")
    return paths
