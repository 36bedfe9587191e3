"""Cross-validation folds by patient: all visits of a patient stand on one side."""

from collections.abc import Mapping

import numpy as np

from nnunet_ms.errors import ConversionError


def patient_folds(patient_of: Mapping[str, str], folds: int, seed: int) -> list[dict[str, list[str]]]:
    """Folds in nnU-Net's `splits_final.json` format.

    Parameters
    ----------
    patient_of : mapping
        Case id -> patient id, training cases only.
    folds : int
        Number of folds, at least 2; their numbers of patients differ by at most one.
    seed : int
        Seeds the shuffling of the patients; the order of `patient_of` plays no part.

    Returns
    -------
    list of dict
        Per fold the sorted case ids under "train" and "val".

    Raises
    ------
    ConversionError
        If there are fewer patients than folds.
    """
    patients = np.array(sorted(set(patient_of.values())))
    if folds < 2 or len(patients) < folds:
        raise ConversionError(
            f"expected at least 2 folds and at least one patient in each, found {len(patients)} training patients "
            f"and --folds {folds}. Choose other --folds or add patients."
        )
    np.random.default_rng(seed).shuffle(patients)
    fold_of = {patient: index % folds for index, patient in enumerate(patients)}
    return [
        {
            "train": sorted(case for case, patient in patient_of.items() if fold_of[patient] != fold),
            "val": sorted(case for case, patient in patient_of.items() if fold_of[patient] == fold),
        }
        for fold in range(folds)
    ]
