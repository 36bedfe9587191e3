"""Networks of hazards in a cross-validation by patient: `nnunet-ms-stratify train --task survival`.

=================================  ==================================================================================
`settings.json`                    what decides the result; another run goes on only with the same
`targets.csv`                      `survival_targets.TARGETS`: time to progression of each patient
`left_out.csv`                     `prepared_folder.LEFT_OUT`: scans without, and those without the region of a strategy
`cross_validation.csv`             `survival_tables.SURVIVAL_CROSS_VALIDATION`: curves out of fold, baselines too
`<strategy>/cross_validation.csv`  the same, of one strategy
`<strategy>/fold_<k>/model.pt`     the network, see `fold_models.load_fold_model`; beside it `history.csv`
=================================  ==================================================================================
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nnunet_ms.arrays import Bools, Floats, Ints, SingleFloats
from nnunet_ms.checkpoints import save_checkpoint
from nnunet_ms.classification.patient_folds import patient_folds
from nnunet_ms.classification.step_folder import claim_folder
from nnunet_ms.classification.stratification.fold_models import (
    FORMAT,
    WEIGHTS,
    Fold,
    TrainingOptions,
    check_images,
    load_fold_model,
    model_logits,
)
from nnunet_ms.classification.stratification.hazards import (
    begin_at,
    hazard_loss,
    hazard_scores,
    hazards_of,
    overall_hazards,
)
from nnunet_ms.classification.stratification.inputs import network_input, open_inputs, write_inputs
from nnunet_ms.classification.stratification.networks import NetworkName, stratification_network
from nnunet_ms.classification.stratification.prediction_tables import validation_fold
from nnunet_ms.classification.stratification.preparation import CROP_MM
from nnunet_ms.classification.stratification.prepared_folder import LEFT_OUT, PreparedCohort, read_prepared
from nnunet_ms.classification.stratification.regions import STRATEGIES
from nnunet_ms.classification.stratification.survival_baselines import survival_baselines
from nnunet_ms.classification.stratification.survival_intervals import curves_at, interval_edges, person_periods
from nnunet_ms.classification.stratification.survival_tables import (
    COVARIATES,
    SURVIVAL_CROSS_VALIDATION,
    curve_grid,
    curve_rows,
)
from nnunet_ms.classification.stratification.survival_targets import CONFIRMED, TARGETS, survival_targets
from nnunet_ms.classification.stratification.training import (
    STATE,
    Examples,
    Task,
    Trained,
    augmentation_of,
    fit_network,
)
from nnunet_ms.errors import ModelError, SettingsError
from nnunet_ms.locks import sole_run
from nnunet_ms.options import different_words, known_keywords, whole_from
from nnunet_ms.outputs import remove_leftovers
from nnunet_ms.progress import Progress, unseen
from nnunet_ms.tables import csv_text, read_table, write_table

SURVIVAL = "survival"
TABLE, INPUTS = "cross_validation.csv", "inputs.npy"
Tell = Callable[[str], None]


@known_keywords
def train_survival_models(
    prepared: str | Path,
    output: str | Path,
    assessments: str | Path,
    strategies: Sequence[str] = STRATEGIES,
    *,
    outcome: str = "cdp24",
    intervals: int = 6,
    interval_weeks: float | None = None,
    folds: int = 7,
    network: NetworkName = "densenet121",
    small: bool = False,
    seed: int = 0,
    device: str = "cpu",
    coarser: int = 1,
    augmentation: bool = True,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    weight_decay: float | None = None,
    patience: int | None = None,
    progress: Progress = unseen,
    tell: Tell = print,
) -> pd.DataFrame:
    """Train a network of hazards per strategy and fold, and fit the Cox reference on the same folds.

    In a fold of seven, five parts train, the next one stops the training by its likelihood, one is judged. The
    baselines are fitted on the same five parts, so that they have seen no more patients than a network has.

    Parameters
    ----------
    prepared : str or Path
        Folder of `nnunet-ms-stratify prepare`.
    output : str or Path
        A new folder, or one of the same call, which then goes on.
    assessments : str or Path
        Repeated EDSS, see `survival_targets.survival_targets`.
    strategies : sequence of str, optional
        Of `regions.STRATEGIES`.
    outcome : {"cdp24", "cdp12"}, optional
    intervals, interval_weeks : optional
        See `survival_intervals.interval_edges`; drawn anew from the training patients of each fold.
    folds : int, optional
        By patient, with about as many who progress in each.
    network, small, seed, device, coarser, augmentation, epochs, batch_size, learning_rate, weight_decay, patience
        See `fold_models.TrainingOptions`.
    progress : Progress, optional
    tell : callable, optional
        Called with each line that a reader must know.

    Returns
    -------
    pandas.DataFrame
        `SURVIVAL_CROSS_VALIDATION`.

    Raises
    ------
    OptionError, SettingsError, TableError, ImageError
        If an option is unknown, too few patients progress, or the output is of others; a table is damaged; or a scan.

    Examples
    --------
    >>> train_survival_models("absent", "models", "assessments.csv", ["global"])
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.TableError: absent: expected a folder of nnunet-ms-stratify prepare, found no scans.csv. Run ...
    """
    names, out = different_words(strategies, STRATEGIES, "strategies"), Path(output)
    options = TrainingOptions(
        network, small, seed, device, coarser, augmentation, epochs, batch_size, learning_rate, weight_decay, patience
    )
    cohort = read_prepared(prepared)
    patients, left_out = _patients(cohort, assessments, outcome)
    patients = patients.assign(fold=_folds(patients, folds, options.seed))
    told = _settings(cohort, patients, options, {"outcome": outcome, "intervals": intervals,
                                                 "interval_weeks": interval_weeks, "folds": folds})  # fmt: skip
    at = curve_grid(patients["time_weeks"])
    for name in names:  # before the folder is claimed with settings that cannot be
        _check_strategy(name, cohort, patients, options, told)
    with sole_run(out):
        claim_folder(out, told)
        remove_leftovers(out)
        write_table(patients[TARGETS.names], out / "targets.csv")
        write_table(survival_baselines(patients, patients["fold"], at, tell), out / "baselines" / TABLE)
        if len(left_out):
            tell(f"{len(left_out)} scans or patients have no time to progression: {out / 'left_out.csv'}.")
        for name in progress(names, "strategies", str):
            _cross_validated(name, cohort, patients, at, out / name, options, told, progress)
        ready = [name for name in STRATEGIES if (out / name / TABLE).is_file()]  # those of earlier calls too
        tables = [left_out, *(_lacking(name, cohort, patients) for name in ready)]
        write_table(pd.concat(tables, ignore_index=True), out / "left_out.csv")
        return _joined(out)


def survival_task(outputs: int) -> Task:
    """What a network of hazards learns: their likelihood, by which the best epoch is chosen too.

    Examples
    --------
    >>> survival_task(4).outputs
    4
    """
    return Task(outputs, hazard_loss, hazard_scores)


def _patients(cohort: PreparedCohort, assessments: str | Path, outcome: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Patients with a time to progression and every covariate that others have, and who is left out."""
    targets = survival_targets(cohort.scans, assessments, outcome)
    rows = targets.rows
    there = [name for name in COVARIATES if rows[name].notna().any()]
    whole = rows[there].notna().all(axis=1)
    lacking = [
        (row["case_id"], "all", f"no {' and no '.join(name for name in there if pd.isna(row[name]))}, as others have")
        for row in rows[~whole].to_dict("records")
    ]
    told = [(one.case, "all", one.reason) for one in targets.left_out] + lacking
    return rows[whole].reset_index(drop=True), pd.DataFrame(told, columns=LEFT_OUT.names)


def _folds(patients: pd.DataFrame, folds: int, seed: int) -> Ints:
    if whole_from(folds, 1, "folds", "Seven are usual.") < 3:
        raise SettingsError(
            f"folds: expected three or more, one to judge, one to validate and the others to train on, found {folds}. "
            "Seven are usual."
        )
    names = patients["patient_id"].astype(str).tolist()
    return patient_folds(names, patients["event"] == 1, folds, seed, "confirmed progression")


def _settings(
    cohort: PreparedCohort, patients: pd.DataFrame, options: TrainingOptions, asked: dict[str, Any]
) -> dict[str, Any]:
    """What decides the result, and what a reader of the folder wants to know."""
    digest = hashlib.sha256(csv_text(patients).encode())
    for case_id in patients["case_id"]:
        path = cohort.folder / "scans" / f"{case_id}.npz"
        digest.update(path.read_bytes() if path.is_file() else b"")  # a missing one is told of when it is read
    return {
        "step": "nnunet-ms-stratify train --task survival",
        "patients": len(patients),
        "events": int(patients["event"].sum()),
        "scans_sha256": digest.hexdigest(),
        **asked,
        "network": options.network,
        "small": options.small,
        "coarser": options.coarser,
        "seed": options.seed,
        **asdict(options.recipe),
        "preparation": json.loads((cohort.folder / "settings.json").read_text(encoding="utf-8")),
    }


def _lacking(name: str, cohort: PreparedCohort, patients: pd.DataFrame) -> pd.DataFrame:
    rows = cohort.left_out[cohort.left_out["strategy"] == name]
    return rows[rows["case_id"].isin(patients["case_id"])]


def _cross_validated(
    name: str,
    cohort: PreparedCohort,
    patients: pd.DataFrame,
    at: Floats,
    folder: Path,
    options: TrainingOptions,
    told: dict[str, Any],
    progress: Progress,
) -> None:
    """Write the table of one strategy, unless it is there."""
    rows = _rows_of(name, cohort, patients)
    table = folder / TABLE
    if table.is_file() and len(read_table(table, SURVIVAL_CROSS_VALIDATION)) == len(rows) * len(at):
        return
    parts = _parts(name, rows, told)
    images = _images(name, cohort, rows, folder, options.coarser)
    tables = []
    for part in progress(parts, name, lambda part: f"fold {part.number}"):
        contents = _one_fold(name, rows, images, part, folder / f"fold_{part.number}", options, told, progress)
        logits = model_logits(contents, images, part.judged, options.device)
        curves = curves_at(hazards_of(logits), contents["edges"], at)
        tables.append(curve_rows(name, rows.iloc[part.judged], curves, at))
    (folder / INPUTS).unlink(missing_ok=True)
    write_table(pd.concat(tables, ignore_index=True), folder / TABLE)


def _rows_of(name: str, cohort: PreparedCohort, patients: pd.DataFrame) -> pd.DataFrame:
    """Patients whose scan has the region."""
    lacking = _lacking(name, cohort, patients)["case_id"]
    return patients[~patients["case_id"].isin(lacking)].reset_index(drop=True)


def _check_strategy(
    name: str, cohort: PreparedCohort, patients: pd.DataFrame, options: TrainingOptions, told: dict[str, Any]
) -> None:
    """Raise where a fold or its intervals cannot be made, or the images do not fit the network."""
    rows = _rows_of(name, cohort, patients)
    for part in _parts(name, rows, told):
        _edges(rows, part, told)
    case_id = str(rows["case_id"].iloc[0])
    check_images(cohort.load(case_id), name, options, case_id)


def _edges(rows: pd.DataFrame, part: Fold, told: dict[str, Any]) -> Floats:
    """Intervals of a fold, from those who train it."""
    trained = rows.iloc[part.train]
    return interval_edges(trained["time_weeks"], trained["event"], told["intervals"], told["interval_weeks"])


def _parts(name: str, rows: pd.DataFrame, told: dict[str, Any]) -> list[Fold]:
    return [_part(rows, number, int(told["folds"]), name) for number in range(int(told["folds"]))]


def _part(rows: pd.DataFrame, number: int, folds: int, strategy: str) -> Fold:
    """Rows that train, validate and are judged in a fold."""
    fold, aside = rows["fold"].to_numpy(), validation_fold(number, folds)
    parts: list[Bools] = [(fold != number) & (fold != aside), fold == aside, fold == number]
    for part, words in zip(parts, ("to train on", f"to validate on (fold {aside})"), strict=False):
        if not rows["event"][part].any():
            raise SettingsError(
                f"{strategy}: fold {number}: expected patients with progression {words}, found none of "
                f"{int(part.sum())}. Ask for fewer folds, add patients, or leave this strategy out."
            )
    return Fold(number, folds, *(np.flatnonzero(part) for part in parts))


def _images(name: str, cohort: PreparedCohort, rows: pd.DataFrame, folder: Path, coarser: int) -> SingleFloats:
    """Images on the disk, as a cohort may be larger than the memory."""

    def seen(case_id: str) -> SingleFloats:
        return network_input(cohort.load(case_id), name, coarser, case_id)  # type: ignore[arg-type]

    folder.mkdir(parents=True, exist_ok=True)
    write_inputs(folder / INPUTS, len(rows), map(seen, rows["case_id"]))
    return open_inputs(folder / INPUTS)


def _one_fold(
    name: str,
    rows: pd.DataFrame,
    images: SingleFloats,
    part: Fold,
    folder: Path,
    options: TrainingOptions,
    told: dict[str, Any],
    progress: Progress,
) -> dict[str, Any]:
    """A fold's model, trained unless it was."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / WEIGHTS
    if not path.is_file():
        weeks, event = rows["time_weeks"].to_numpy(np.float64), rows["event"].to_numpy()
        edges = _edges(rows, part, told)
        examples = Examples(images, person_periods(weeks, event, edges))
        trained = _trained(examples, part, folder, options, f"{name} {told['scans_sha256']}", progress)
        write_table(trained.history, folder / "history.csv")
        shape = [int(n) for n in images.shape[2:]]
        save_checkpoint(_contents(name, trained, part, edges, shape, options, told), path)
    (folder / STATE).unlink(missing_ok=True)
    return load_survival_model(path)


def _trained(
    examples: Examples, part: Fold, folder: Path, options: TrainingOptions, marks: str, progress: Progress
) -> Trained:
    outputs, shape = examples.targets.shape[1] // 2, tuple(int(n) for n in examples.images.shape[2:])
    start = overall_hazards(examples.targets[part.train])
    make = partial(stratification_network, options.network, options.small, outputs, shape=shape)
    return fit_network(
        lambda: begin_at(make(), start),
        *(examples, part.train, part.validation, survival_task(outputs), options.recipe, folder),
        seed=options.seed * 1000 + part.number,
        device=options.device,
        augment=augmentation_of(options.recipe, CROP_MM[0] / shape[0]),
        marks=marks,
        progress=progress,
    )


def _contents(
    name: str,
    trained: Trained,
    part: Fold,
    edges: Floats,
    shape: list[int],
    options: TrainingOptions,
    told: dict[str, Any],
) -> dict[str, Any]:
    """What a checkpoint holds: that of `fold_models`, with the edges of the intervals."""
    return {
        "format": FORMAT,
        "task": SURVIVAL,
        "strategy": name,
        "network": options.network,
        "small": options.small,
        "outputs": len(edges) - 1,
        "shape": shape,
        "coarser": options.coarser,
        "fold": part.number,
        "folds": part.folds,
        "options": asdict(options.recipe) | {"seed": options.seed},
        "preparation": told["preparation"],
        "best_epoch": trained.best_epoch + 1,
        "threshold": 0.5,  # nothing is called by it
        "edges": [float(edge) for edge in edges],
        "outcome": told["outcome"],
        "weights": dict(trained.weights),
    }


def load_survival_model(path: str | Path) -> dict[str, Any]:
    """Read a fold's model of hazards by the safe loader.

    Raises
    ------
    ModelError
        If it is damaged, or a model of another task.

    Examples
    --------
    >>> load_survival_model("model.pt")
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.ModelError: model.pt: expected a model of nnunet-ms-stratify, found no such file. ...
    """
    contents = load_fold_model(path)
    if contents["task"] != SURVIVAL:
        raise ModelError(f"{path}: expected a model of --task survival, found one of {contents['task']}.")
    edges = contents.get("edges")
    if not isinstance(edges, list) or len(edges) != contents["outputs"] + 1 or not _rises(edges):
        raise ModelError(
            f"{path}: expected {contents['outputs'] + 1} rising edges of intervals from 0, found {edges}. Copy it "
            "again, or train again."
        )
    if contents.get("outcome") not in CONFIRMED:
        raise ModelError(
            f"{path}: expected an outcome of {', '.join(CONFIRMED)}, found {contents.get('outcome')!r}. Copy it again, "
            "or train again."
        )
    return contents


def _rises(edges: list[Any]) -> bool:
    if not edges or not all(isinstance(edge, float) for edge in edges):
        return False
    return edges[0] == 0 and bool((np.diff(edges) > 0).all() and np.isfinite(edges[-1]))


def _joined(out: Path) -> pd.DataFrame:
    """Curves of the strategies that are ready, of this run and of earlier ones, and of the baselines."""
    paths = [out / name / TABLE for name in (*STRATEGIES, "baselines")]
    tables = [read_table(path, SURVIVAL_CROSS_VALIDATION) for path in paths if path.is_file()]
    table = pd.concat(tables, ignore_index=True)
    write_table(table, out / TABLE)
    return table
