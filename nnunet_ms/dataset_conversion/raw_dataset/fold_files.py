"""Read what folds need from a raw dataset, and write `splits_final.json` where nnU-Net looks for it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

from nnunet_ms.cases_table import read_cases
from nnunet_ms.dataset_conversion.raw_dataset.dataset_folder import nnunet_folder
from nnunet_ms.dataset_conversion.raw_dataset.folds import (
    learning_curve_folds,
    patient_folds,
    site_folds,
    stratified_folds,
)
from nnunet_ms.errors import ConversionError
from nnunet_ms.images.volumes import read_volume
from nnunet_ms.options import chosen
from nnunet_ms.outputs import whole_file

Scheme = Literal["kfold", "stratified", "site", "learning-curve"]


def make_folds(
    dataset: str | Path, scheme: Scheme = "kfold", folds: int = 5, seed: int = 0
) -> list[dict[str, list[str]]]:
    """Folds of a raw dataset's training cases, always by patient; nothing is written.

    Parameters
    ----------
    dataset : str or Path
        The nnU-Net raw dataset, with cases.csv and labelsTr.
    scheme : {"kfold", "stratified", "site", "learning-curve"}, optional
        See `patient_folds`, `stratified_folds` (by the lesion volume of the labels), `site_folds` and
        `learning_curve_folds`.
    folds : int, optional
        Number of folds, >= 2, or of the subsets of a learning curve; `site` has a fold per site.
    seed : int, optional
        Seed of the shuffling, >= 0.

    Returns
    -------
    list of dict
        As nnU-Net's splits_final.json has it: per fold the case ids under "train" and "val".

    Raises
    ------
    OptionError
        If the scheme is unknown.
    ConversionError
        If there are too few patients or sites.
    TableError, ImageError
        If cases.csv or a label cannot be read.

    Examples
    --------
    >>> from nnunet_ms.dataset_conversion.convert import convert
    >>> done = convert("study/manifest.csv", dataset_id=801, raw="raw", channels="flair")
    >>> make_folds(done.folder, "kfold", folds=3)[0]
    {'train': ['P1_base', 'P2_base'], 'val': ['P3_base']}
    """
    chosen(scheme, get_args(Scheme), "scheme")
    cases = read_cases(dataset := Path(dataset))
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


def write_folds(
    folds: Sequence[Mapping[str, Sequence[str]]], dataset: str | Path, preprocessed: str | Path | None = None
) -> list[Path]:
    """Write the folds into the raw dataset and, where it exists, the preprocessed one that `nnUNetv2_train` reads.

    Parameters
    ----------
    folds : sequence of mapping
        As `make_folds` returns them.
    dataset : str or Path
        The nnU-Net raw dataset.
    preprocessed : str or Path, optional
        Folder of preprocessed datasets; default: the environment variable nnUNet_preprocessed.

    Returns
    -------
    list of Path
        The files, one or two.

    Examples
    --------
    >>> Path("raw/Dataset801_Trial").mkdir(parents=True)
    >>> [path.as_posix() for path in write_folds([{"train": ["a"], "val": ["b"]}], "raw/Dataset801_Trial")]
    ['raw/Dataset801_Trial/splits_final.json']
    """
    dataset = Path(dataset)
    preprocessed = nnunet_folder("nnUNet_preprocessed") if preprocessed is None else Path(preprocessed)
    places = [dataset]
    if preprocessed is not None and (preprocessed / dataset.name).is_dir():
        places.append(preprocessed / dataset.name)
    paths = [place / "splits_final.json" for place in places]
    for path in paths:
        with whole_file(path) as partial:
            partial.write_text(json.dumps(folds, indent=2) + "\n", encoding="utf-8")
    return paths
