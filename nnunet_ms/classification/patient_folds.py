"""Folds of a cross-validation by patient: all lesions or scans of one patient are in one fold.

Lesions of a patient resemble one another. A model that has seen one of them in training knows the others, and its
result on them says little about the next patient.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nnunet_ms.arrays import Bools, Ints
from nnunet_ms.errors import OptionError, SettingsError

ATTEMPTS = 50  # draws of the folds, until each holds a patient with and one without a positive row


def patient_folds(
    patients: Sequence[str], positive: npt.ArrayLike, folds: int = 5, seed: int = 0, what: str = "rim+ lesion"
) -> Ints:
    """Draw the fold of each row, by patient, with about as many positive rows in each fold.

    Parameters
    ----------
    patients : (n,) sequence of str
        Whose each row (lesion, scan) is.
    positive : (n,) array of bool or 0/1
        Whether it is of the class that matters.
    folds : int, optional
        How many, >= 2.
    seed : int, optional
        Of the draw; the same seed and rows give the same folds, whatever the order of the rows.
    what : str, optional
        What a positive row is, for messages.

    Returns
    -------
    (n,) int array
        0 .. folds - 1. Every fold holds positive and negative rows.

    Raises
    ------
    OptionError
        If `folds` is below 2.
    SettingsError
        If fewer patients than folds have a positive row, or a negative one.

    Notes
    -----
    scikit-learn's `StratifiedGroupKFold` on rows that are sorted by patient. It balances counts but promises no
    positive row in each fold; where one has none, the next draw is taken.

    Examples
    --------
    >>> fold = patient_folds(["a", "a", "b", "c", "d"], [1, 0, 1, 0, 0], folds=2)
    >>> bool(fold[0] == fold[1]), bool(fold[0] == fold[2])
    (True, False)
    >>> patient_folds(["a", "a", "b"], [1, 1, 0], folds=2)
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.SettingsError: folds: expected 2 patients or more with a rim+ lesion, found 1 (of 2 ...
    """
    if isinstance(folds, bool) or not isinstance(folds, int) or folds < 2:
        raise OptionError(f"folds: expected a whole number >= 2, found {folds!r}. Five are usual.")
    names, truth = np.asarray(patients, dtype=str), np.asarray(positive).astype(bool)
    _check(names, truth, folds, what)
    order = np.lexsort([truth, names])
    for attempt in range(ATTEMPTS):
        fold = np.empty(len(names), dtype=np.int64)
        fold[order] = _drawn(names[order], truth[order], folds, seed + attempt * 1_000_003)
        if all(truth[fold == number].any() and not truth[fold == number].all() for number in range(folds)):
            return fold
    raise SettingsError(
        f"folds: expected {folds} folds by patient that each hold rows with and without a {what}, found none in "
        f"{ATTEMPTS} draws. Ask for fewer folds."
    )


def validation_rows(
    patients: Sequence[str], positive: npt.ArrayLike, folds: int = 5, seed: int = 0, what: str = "rim+ lesion"
) -> Bools:
    """Which rows of a training set are held back to stop the training and to choose the threshold; by patient.

    Parameters
    ----------
    patients, positive, seed, what
        As `patient_folds`.
    folds : int, optional
        A share of 1 / folds is held back. Where fewer patients have a positive row, a share of 1 / their number.

    Returns
    -------
    (n,) bool array
        Both parts hold a patient with a positive row.

    Raises
    ------
    SettingsError
        If fewer than two patients have a positive row, or a negative one.

    Examples
    --------
    >>> validation_rows(["a", "a", "b", "c", "d"], [1, 0, 1, 0, 0]).sum() in (2, 3)
    True
    """
    names, truth = np.asarray(patients, dtype=str), np.asarray(positive).astype(bool)
    most = min(folds, *(len(np.unique(names[rows])) for rows in (truth, ~truth)))
    return patient_folds(patients, positive, max(most, 2), seed, what) == 0


def _drawn(names: npt.NDArray[np.str_], truth: Bools, folds: int, seed: int) -> Ints:
    try:
        from sklearn.model_selection import StratifiedGroupKFold
    except ImportError as error:
        raise SettingsError(
            "scikit-learn: expected it for folds by patient, found none. nnU-Net brings it; else: pip install "
            "scikit-learn."
        ) from error
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed % 2**32)
    fold = np.empty(len(names), dtype=np.int64)
    for number, (_, held) in enumerate(splitter.split(np.zeros(len(names)), truth, names)):
        fold[held] = number
    return fold


def _check(names: npt.NDArray[np.str_], truth: Bools, folds: int, what: str) -> None:
    if names.shape != truth.shape:
        raise SettingsError(
            f"folds: expected one label per row, found {truth.size} labels for {names.size} rows. Check the table."
        )
    for has, rows in ((f"with a {what}", truth), (f"with a row that is no {what}", ~truth)):
        patients = len(np.unique(names[rows]))
        if patients < folds:
            step = f"Ask for {patients} folds" if patients >= 2 else "Add patients"
            raise SettingsError(
                f"folds: expected {folds} patients or more {has}, found {patients} (of {len(np.unique(names))} "
                f"patients). {step}: a fold without one can be neither trained on nor judged."
            )
