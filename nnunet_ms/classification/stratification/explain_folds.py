"""Which models explain which scan: the fold that has not seen the patient, or, of another cohort, all of them."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from nnunet_ms.arrays import SingleFloats
from nnunet_ms.checkpoints import sha256_of
from nnunet_ms.classification.stratification.explain_scans import Explainer
from nnunet_ms.classification.stratification.fold_models import DISABILITY, WEIGHTS, load_fold_model, network_of
from nnunet_ms.classification.stratification.inputs import network_input
from nnunet_ms.classification.stratification.prediction_tables import CROSS_VALIDATION
from nnunet_ms.classification.stratification.preparation import PreparedScan
from nnunet_ms.classification.stratification.regions import Strategy
from nnunet_ms.errors import ModelError, TableError
from nnunet_ms.tables import read_table


@dataclass(frozen=True)
class Explainers:
    """The models of a strategy.

    Attributes
    ----------
    strategy : str
    design : str
        Name of the networks.
    models : sequence of Explainer
        In the order of the folds.
    folds : mapping of patient to int
        The fold whose model has not seen the patient; others are of another cohort.
    shape : tuple of int
        X, Y, Z of the prepared scans that the networks take.
    digest : str
        SHA-256 of all models.
    """

    strategy: Strategy
    design: str
    models: Sequence[Explainer]
    folds: Mapping[str, int]
    shape: tuple[int, ...]
    digest: str

    @property
    def networks(self) -> list[nn.Module]:
        """The networks, in the order of the folds."""
        return [model.network for model in self.models]

    def of(self, patient: str) -> tuple[list[Explainer], str]:
        """The models that explain a patient's scans, and what is told of them.

        Examples
        --------
        >>> two = [Explainer(nn.Identity(), fold, 0.5) for fold in (0, 1)]
        >>> models = Explainers("global", "compact", two, {"P1": 1}, (80, 96, 80), "")
        >>> models.of("P1")[1], models.of("P2")[1]
        ('fold 1', 'mean of 2')
        """
        fold = self.folds.get(patient)
        if fold is None:
            return list(self.models), f"mean of {len(self.models)}"
        return [model for model in self.models if model.fold == fold], f"fold {fold}"

    def check_grid(self, shape: Sequence[int], folder: Path) -> None:
        """Raise ModelError unless scans of a folder lie on the grid of those of the training."""
        if tuple(shape) != self.shape:
            raise ModelError(
                f"{folder}: expected scans of {_by(self.shape)} voxels, as the models of {self.strategy} were trained "
                f"on, found {_by(shape)}. Prepare the scans with the same --edge-mm."
            )

    def images(self, scan: PreparedScan, case_id: str) -> SingleFloats:
        """What the networks see of a scan, (2, X, Y, Z), on the grid that it was prepared to.

        Raises
        ------
        ImageError
            If it lacks the region, or holds values that are no numbers.
        """
        return network_input(scan, self.strategy, name=case_id)


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def folds_of(table: pd.DataFrame, scans: pd.DataFrame, path: Path) -> dict[str, int]:
    """The fold that has not seen each patient.

    Parameters
    ----------
    table : pandas.DataFrame
        `CROSS_VALIDATION`, rows of one strategy.
    scans : pandas.DataFrame
        `PREPARED_SCANS` that are to be explained.
    path : Path
        Of the table, for messages.

    Raises
    ------
    TableError
        If a patient is in two folds, or a scan has another outcome than in the training: another cohort whose patients
        have the same names.

    Examples
    --------
    >>> table = pd.DataFrame({"patient_id": ["P1", "P2"], "visit": "base", "fold": [0, 1], "truth": [0, 1]})
    >>> scans = pd.DataFrame({"patient_id": ["P2", "P3"], "visit": "base", "disabled": [1, 1]})
    >>> folds_of(table, scans, Path("cross_validation.csv"))
    {'P1': 0, 'P2': 1}
    """
    several = table.groupby("patient_id")["fold"].nunique()
    if (several > 1).any():
        raise TableError(f"{path}: expected each patient in one fold, found {several.idxmax()} in two. Train again.")
    both = scans.merge(table[["patient_id", "visit", "truth"]], on=["patient_id", "visit"])
    other = both[both["disabled"] != both["truth"]]
    if len(other):
        row = other.iloc[0]
        raise TableError(
            f"{path}: expected patient {row['patient_id']}, visit {row['visit']} with disabled {row['disabled']} as in "
            f"the prepared scans, found {row['truth']}. If the scans are of another cohort, say --other-cohort."
        )
    return {str(patient): int(fold) for patient, fold in zip(table["patient_id"], table["fold"], strict=True)}


def read_explainers(folder: Path, scans: pd.DataFrame, *, other_cohort: bool = False) -> Explainers:
    """Read the models of a strategy, and which of them has not seen whom.

    Parameters
    ----------
    folder : Path
        `MODELS/<strategy>`; which patient was in which fold stands in `MODELS/cross_validation.csv`.
    scans : pandas.DataFrame
        `PREPARED_SCANS` that are to be explained.
    other_cohort : bool, optional
        Whether none of the scans was in the training, whatever the patients are called.

    Raises
    ------
    ModelError
        If a model is missing, damaged, of another strategy or network than the others, or learnt something else than
        EDSS >= 3.0.
    TableError
        As `folds_of`, or if there is no such table.

    Examples
    --------
    >>> read_explainers(Path("models/global"), pd.DataFrame())
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.ModelError: models/global: expected the models of one strategy (fold_0/model.pt), found none. ...
    """
    paths = sorted(folder.glob(f"fold_*/{WEIGHTS}"))
    contents = [load_fold_model(path) for path in paths]
    _check_models(folder, contents)
    first = contents[0]
    models = [Explainer(_on_prepared(one), one["fold"], one["threshold"]) for one in contents]
    digest = hashlib.sha256("".join(sha256_of(path) for path in paths).encode()).hexdigest()
    folds = {} if other_cohort else _folds(folder, first["strategy"], scans)
    shape = tuple(n * first["coarser"] for n in first["shape"])
    return Explainers(first["strategy"], first["network"], models, folds, shape, digest)


def _on_prepared(contents: Mapping[str, Any]) -> nn.Module:
    """A fold's network on the prepared grid: the means of blocks that it was trained on become its first layer."""
    network = network_of(contents)
    return network if contents["coarser"] == 1 else nn.Sequential(nn.AvgPool3d(contents["coarser"]), network).eval()


def _check_models(folder: Path, contents: Sequence[Mapping[str, Any]]) -> None:
    if not contents:
        inside = sorted({path.parent.parent for path in folder.glob(f"*/fold_*/{WEIGHTS}")})
        step = f"Name one of them: {inside[0]}." if inside else "Train with nnunet-ms-stratify train."
        found = f"strategies {', '.join(path.name for path in inside)}" if inside else "none"
        raise ModelError(f"{folder}: expected the models of one strategy (fold_0/{WEIGHTS}), found {found}. {step}")
    for key in ("strategy", "network", "coarser", "shape", "folds", "task"):
        if any(one[key] != contents[0][key] for one in contents):
            raise ModelError(f"{folder}: expected models of one {key}, found several. Copy the folder again.")
    if contents[0]["task"] != DISABILITY:
        raise ModelError(
            f"{folder}: expected models of EDSS >= 3.0 (task {DISABILITY}), found {contents[0]['task']}. Maps are made "
            "of those models only: train them with nnunet-ms-stratify train."
        )
    lacking = sorted(set(range(contents[0]["folds"])) - {one["fold"] for one in contents})
    if lacking:
        raise ModelError(
            f"{folder}: expected {contents[0]['folds']} folds, fold {lacking[0]} lacks ({len(contents)} found). Repeat "
            "nnunet-ms-stratify train to go on with it, or copy the folder again."
        )


def _folds(folder: Path, strategy: str, scans: pd.DataFrame) -> dict[str, int]:
    path = folder.absolute().parent / "cross_validation.csv"
    if not path.is_file():
        raise TableError(
            f"{path}: expected the table that tells which patients were in which fold, found none. Copy it beside the "
            "models, or say --other-cohort if none of the scans was in the training."
        )
    table = read_table(path, CROSS_VALIDATION)
    rows = table[table["model"] == strategy]
    if rows.empty:
        raise TableError(f"{path}: expected rows of {strategy}, found none. Copy the table of these models.")
    return folds_of(rows, scans, path)
