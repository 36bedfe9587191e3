"""Which fold each scan is in: drawn by patient, or as a table of the user says."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from nnunet_ms.arrays import Bools, Ints
from nnunet_ms.classification.patient_folds import patient_folds
from nnunet_ms.classification.stratification.fold_models import Fold
from nnunet_ms.classification.stratification.prediction_tables import validation_fold
from nnunet_ms.errors import SettingsError, TableError
from nnunet_ms.options import whole_from
from nnunet_ms.tables import Column, Table, read_table

WHAT = "scan of EDSS >= 3.0"
STUDY_FOLDS = Table(
    "folds",
    (Column("patient_id"), Column("fold", "integer", minimum=0)),
    key=(),  # a row per patient or per scan
    extra=True,
)


def study_folds(scans: pd.DataFrame, folds: int = 7, seed: int = 0, given: str | Path | None = None) -> Ints:
    r"""Fold of each scan, 0 .. folds - 1; all scans of a patient in one.

    Parameters
    ----------
    scans : pandas.DataFrame
        `scans.csv` of `prepare`: `patient_id`, `disabled`.
    folds, seed : int, optional
        See `patient_folds.patient_folds`; three folds or more, as one is judged and one validates.
    given : path, optional
        A table with `patient_id` and `fold` (0, 1, ...); `folds` and `seed` then say nothing.

    Raises
    ------
    SettingsError
        If there are fewer than three folds, too few patients of a class, or a given fold is of one class.
    TableError
        If the given table has a patient in two folds or lacks one, or leaves out a fold.

    Examples
    --------
    >>> scans = pd.DataFrame({"patient_id": list("aabcdefgh"), "disabled": [1, 1, 0, 1, 0, 1, 0, 1, 0]})
    >>> fold = study_folds(scans, folds=4)
    >>> bool(fold[0] == fold[1]), sorted(set(fold.tolist()))
    (True, [0, 1, 2, 3])
    >>> _ = Path("folds.csv").write_text("patient_id,fold\na,0\nb,1\na,2\n")
    >>> study_folds(scans, given="folds.csv")
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.TableError: folds.csv: expected each patient in one fold, found patient a in 0 and 2. ...
    """
    truth = scans["disabled"].to_numpy() == 1
    if given is None:
        _check_count(whole_from(folds, 1, "folds", "Seven are the paper's."), "folds")
        return patient_folds(scans["patient_id"].astype(str).tolist(), truth, folds, seed, WHAT)
    found = _given_folds(scans, Path(given))
    _check_count(int(found.max()) + 1, str(given))
    for number in range(int(found.max()) + 1):
        _check_classes(truth[found == number], f"{given}: fold {number}")
    return found


def parts_of(fold: Ints, number: int, kept: Bools, truth: npt.ArrayLike, strategy: str) -> Fold:
    """Rows, among the scans that a strategy keeps, that train, validate and are judged in a fold.

    Parameters
    ----------
    fold : (n,) ints
        Of all scans.
    number : int
    kept : (n,) bools
        Scans that have the region; row k of the examples is the k-th of them.
    truth : (n,) array of 0/1
    strategy : str
        For messages.

    Raises
    ------
    SettingsError
        If what is left to train or to validate on is of one class.

    Examples
    --------
    >>> fold, kept = np.array([0, 1, 2, 0, 1, 2]), np.array([True, True, True, False, True, True])
    >>> found = parts_of(fold, 0, kept, [0, 0, 1, 1, 1, 0], "brainstem")
    >>> found.train.tolist(), found.validation.tolist(), found.judged.tolist()
    ([2, 4], [1, 3], [0])
    """
    folds = int(fold.max()) + 1
    aside = validation_fold(number, folds)
    mine, outcome = fold[kept], np.asarray(truth)[kept] == 1
    rows = [np.flatnonzero(part) for part in ((mine != number) & (mine != aside), mine == aside, mine == number)]
    for part, words in zip(rows, ("to train on", f"to validate on (fold {aside})"), strict=False):
        _check_classes(outcome[part], f"{strategy}: fold {number}: scans {words}")
    return Fold(number, folds, *rows)


def _given_folds(scans: pd.DataFrame, path: Path) -> Ints:
    table = read_table(path, STUDY_FOLDS)
    for patient, its in table.groupby("patient_id", sort=False)["fold"]:
        if len(set(its)) > 1:
            raise TableError(
                f"{path}: expected each patient in one fold, found patient {patient} in "
                f"{' and '.join(map(str, sorted(set(its))))}. A model must not be judged on whom it has seen: correct "
                "the table."
            )
    of = table.drop_duplicates("patient_id").set_index("patient_id")["fold"]
    names = scans["patient_id"].astype(str)
    missing = sorted(set(names) - set(of.index.astype(str)))
    if missing:
        raise TableError(
            f"{path}: expected a fold of every patient with a prepared scan, found none of {', '.join(missing[:5])}"
            f"{' and others' if len(missing) > 5 else ''} ({len(missing)} of {names.nunique()}). Add them, or leave "
            "the table out to draw folds."
        )
    found = names.map({str(patient): int(fold) for patient, fold in of.items()}).to_numpy(np.int64)
    lacking = sorted(set(range(int(found.max()) + 1)) - set(found.tolist()))
    if lacking:
        raise TableError(
            f"{path}: expected folds 0 to {int(found.max())}, found no patient with a scan in fold {lacking[0]}. "
            "Number the folds from 0 without a gap."
        )
    return found


def _check_count(folds: int, what: str) -> None:
    if folds < 3:
        raise SettingsError(
            f"{what}: expected three folds or more, one to judge, one to validate and the others to train on, found "
            f"{folds}. Seven are the paper's."
        )


def _check_classes(truth: Bools, what: str) -> None:
    if not 0 < truth.sum() < truth.size:
        raise SettingsError(
            f"{what}: expected both classes, found {int(truth.sum())} disabled of {truth.size}. Ask for fewer folds, "
            "add patients, or leave this strategy out."
        )
