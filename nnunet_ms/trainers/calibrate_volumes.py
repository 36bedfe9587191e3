"""Calibrate the volumes of a trained model on cases that it has not seen, for `nnunet-ms-model calibrate`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_ms.errors import SettingsError
from nnunet_ms.options import known_keywords
from nnunet_ms.statistics.input_checks import level as checked_level
from nnunet_ms.trainers.calibration_cases import Found, predicted_cases, table_cases, validation_cases
from nnunet_ms.trainers.packages.card import FACTS
from nnunet_ms.trainers.prediction.calibration_file import FILE, ModelCalibration, write_calibration
from nnunet_ms.trainers.prediction.model import Model, read_model
from nnunet_ms.trainers.prediction.open_model import Folds, fold_names
from nnunet_ms.trainers.prediction.volume_calibration import LEVEL, OFFSET_ML, VolumeCalibration, fit_calibration


@dataclass(frozen=True)
class Calibrated:
    """What was written, and what a reader should know."""

    path: Path
    calibration: ModelCalibration
    notes: tuple[str, ...]


@known_keywords
def calibrate_model(
    folder: str | Path,
    *,
    cases: str | Path | None = None,
    predicted: Sequence[str | Path] = (),
    references: str | Path | None = None,
    folds: Folds | None = None,
    checkpoint: str = "checkpoint_final.pth",
    level: float = LEVEL,
    offset_ml: float = OFFSET_ML,
) -> Calibrated:
    r"""Write `volume_calibration.json` into a model's folder; predictions then have calibrated volumes.

    Without `cases` and `predicted` the probabilities of `fold_X/validation` are used, which `nnUNetv2_train ... --val
    --npz` writes.

    Parameters
    ----------
    folder : str or Path
        `TRAINER__PLANS__CONFIGURATION` below a dataset's folder of nnU-Net's results.
    cases : str or Path, optional
        A table `tables.HELD_OUT_VOLUMES`: expected and reference volume of cases that the model has not seen.
    predicted : sequence of str or Path, optional
        Output folders of `nnunet-ms-predict`, of cases that the folds used have not seen, with `references`.
    references : str or Path, optional
        Folder of reference masks `<case>.nii.gz`; without it those of nnU-Net's folders.
    folds : int, str or sequence, optional
        Whose validation is used; without it, every numbered fold that has the checkpoint.
    checkpoint : str, optional
        File name in each fold's folder.
    level : float, optional
        Of the interval, in (0, 1).
    offset_ml : float, optional
        Added to volumes before logarithms, > 0; small beside the volumes of interest.

    Returns
    -------
    Calibrated

    Raises
    ------
    SettingsError
        If arguments or folders do not fit, the model is a packed one, or the cases are too few.
    ModelError
        If the model cannot be read.
    ImageError, TableError
        If predictions, references or the table cannot be used.

    Examples
    --------
    >>> rows = "".join(f"c{n},p{n},{2.0 * n},{float(n)}\n" for n in range(1, 11))
    >>> _ = Path("seen.csv").write_text("case_id,patient_id,expected_volume_ml,reference_volume_ml\n" + rows)
    >>> import shutil
    >>> model = shutil.copytree("trained", "calibrated_model")
    >>> done = calibrate_model(model, cases="seen.csv")
    >>> round(done.calibration.labels[0].measured.error_before, 2), done.calibration.labels[0].patients
    (1.0, 10)
    """
    checked_level(level, "level")
    if offset_ml <= 0:
        raise SettingsError(f"offset_ml: expected more than 0, found {offset_ml}. 0.1 is usual.")
    folder = Path(folder)
    if (folder / FACTS).is_file():
        raise SettingsError(
            f"{folder}: expected a trained folder of nnU-Net's results, found a packed model, whose files have hashes. "
            "Calibrate the trained folder, then pack it again."
        )
    model = read_model(folder, fold_names(folds), checkpoint)
    found = _found(model, cases, predicted, references)
    labels = tuple(_fit(model, value, found, level, offset_ml) for value in sorted(found.cases))
    calibration = write_calibration(ModelCalibration(labels, found.source, found.dropout), folder)
    missing = [name for name, value in model.classes if value not in found.cases]
    notes = found.notes + [f"label {name}: no cases, not calibrated" for name in missing]
    notes += [f"{one.label}: {one.too_few}" for one in labels if one.too_few]
    return Calibrated(folder / FILE, calibration, tuple(notes))


def _found(
    model: Model, cases: str | Path | None, predicted: Sequence[str | Path], references: str | Path | None
) -> Found:
    masks = None if references is None else Path(references)
    if cases is not None and (predicted or references is not None):
        raise SettingsError("cases: expected a table (--cases) or masks, found both. Leave one out.")
    if cases is not None:
        return table_cases(model, Path(cases))
    if predicted:
        return predicted_cases(model, [Path(one) for one in predicted], masks)
    return validation_cases(model, masks)


def _fit(model: Model, value: int, found: Found, level: float, offset_ml: float) -> VolumeCalibration:
    name = next(name for name, number in model.classes if number == value)
    return fit_calibration(found.cases[value], label=name, value=value, level=level, offset_ml=offset_ml)
