"""Folds by patient: k-fold (stratified if asked), leave one site out, and learning curves."""

from collections.abc import Mapping

import numpy as np

from nnunet_ms.errors import ConversionError

Fold = dict[str, list[str]]  # as nnU-Net's splits_final.json has it: case ids under "train" and "val"


def patient_folds(patient_of: Mapping[str, str], folds: int, seed: int) -> list[dict[str, list[str]]]:
    """Folds in nnU-Net's `splits_final.json` format.

    Parameters
    ----------
    patient_of : mapping
        Case id -> patient id, training cases only.
    folds : int
        Number of folds, at least 2; their numbers of patients differ by at most one.
    seed : int
        Seeds the shuffling of the patients, >= 0; the order of `patient_of` plays no part.

    Returns
    -------
    list of dict
        Per fold the sorted case ids under "train" and "val".

    Raises
    ------
    ConversionError
        If there are fewer patients than folds, or the seed is negative.

    Examples
    --------
    >>> patient_folds({"A_v1": "A", "A_v2": "A", "B_v1": "B"}, folds=2, seed=0)
    [{'train': ['B_v1'], 'val': ['A_v1', 'A_v2']}, {'train': ['A_v1', 'A_v2'], 'val': ['B_v1']}]
    """
    patients = np.array(sorted(set(patient_of.values())))
    if folds < 2 or len(patients) < folds:
        raise ConversionError(
            f"expected at least 2 folds and at least one patient in each, found {len(patients)} training patients "
            f"and --folds {folds}. Choose other --folds or add patients."
        )
    if seed < 0:
        raise ConversionError(f"--seed {seed}: expected a whole number >= 0. Choose another seed.")
    np.random.default_rng(seed).shuffle(patients)
    fold_of = {patient: index % folds for index, patient in enumerate(patients)}
    return [
        {
            "train": sorted(case for case, patient in patient_of.items() if fold_of[patient] != fold),
            "val": sorted(case for case, patient in patient_of.items() if fold_of[patient] == fold),
        }
        for fold in range(folds)
    ]


def stratified_folds(
    patient_of: Mapping[str, str], load_ml: Mapping[str, float], folds: int, seed: int
) -> list[dict[str, list[str]]]:
    """Folds as `patient_folds`, each with patients of small and of large lesion load.

    Parameters
    ----------
    patient_of : mapping
        Case id -> patient id.
    load_ml : mapping
        Case id -> lesion volume in ml; a patient counts with the mean of the visits.
    folds, seed : int
        As in `patient_folds`. Patients are sorted by load and dealt out in strata of `folds`, one to each fold.

    Raises
    ------
    ConversionError
        As `patient_folds`.

    Examples
    --------
    The two patients of small load stand in different folds, and so do the two of large load:

    >>> patient_of, load_ml = {name: name for name in "abcd"}, {"a": 1.0, "b": 2.0, "c": 30.0, "d": 40.0}
    >>> [fold["val"] for fold in stratified_folds(patient_of, load_ml, folds=2, seed=0)]
    [['a', 'c'], ['b', 'd']]
    """
    plain = patient_folds(patient_of, folds, seed)  # checks the number of patients
    loads: dict[str, list[float]] = {}
    for case, patient in patient_of.items():
        loads.setdefault(patient, []).append(load_ml[case])
    ranked = sorted(loads, key=lambda patient: (float(np.mean(loads[patient])), patient))
    generator = np.random.default_rng(seed)
    fold_of: dict[str, int] = {}
    for start in range(0, len(ranked), folds):
        stratum = ranked[start : start + folds]
        fold_of |= dict(zip(stratum, generator.permutation(folds)[: len(stratum)].tolist(), strict=True))
    return [_fold(patient_of, {p for p, f in fold_of.items() if f == fold}) for fold in range(len(plain))]


def site_folds(patient_of: Mapping[str, str], site_of: Mapping[str, str]) -> list[dict[str, list[str]]]:
    """One fold per site, in alphabetical order: validated on that site, trained on the others.

    Raises
    ------
    ConversionError
        If there are fewer than two sites, or one patient was seen at two (it would stand on both sides).

    Examples
    --------
    >>> site_folds({"a": "A", "b": "B"}, {"a": "Rome", "b": "Oslo"})
    [{'train': ['a'], 'val': ['b']}, {'train': ['b'], 'val': ['a']}]
    """
    sites: dict[str, str] = {}
    for case, patient in sorted(patient_of.items()):
        if sites.setdefault(patient, site_of[case]) != site_of[case]:
            raise ConversionError(f"patient {patient}: expected one site, found two. Correct the sites.")
    names = sorted(set(sites.values()))
    if len(names) < 2:
        raise ConversionError(f"expected at least 2 sites, found {names}. Fill in the column site of cases.csv.")
    return [_fold(patient_of, {p for p, site in sites.items() if site == name}) for name in names]


def learning_curve_folds(patient_of: Mapping[str, str], subsets: int, seed: int) -> list[dict[str, list[str]]]:
    """Cyclic learning curve (Wahlig et al., Front Neurosci 2023): fold `subsets * (k - 1) + t` trains on k subsets.

    The subsets t-k .. t-1 (modulo `subsets`) train and subset t validates, for k = 1 .. subsets - 1 and every t, so
    that each case is validated once per k.

    Raises
    ------
    ConversionError
        As `patient_folds`.

    Examples
    --------
    >>> [len(fold["train"]) for fold in learning_curve_folds({name: name for name in "abc"}, subsets=3, seed=0)]
    [1, 1, 1, 2, 2, 2]
    """
    parts = [fold["val"] for fold in patient_folds(patient_of, subsets, seed)]
    return [
        {"train": sorted(c for back in range(1, k + 1) for c in parts[(t - back) % subsets]), "val": parts[t]}
        for k in range(1, subsets)
        for t in range(subsets)
    ]


def _fold(patient_of: Mapping[str, str], validated: set[str]) -> dict[str, list[str]]:
    return {
        "train": sorted(case for case, patient in patient_of.items() if patient not in validated),
        "val": sorted(case for case, patient in patient_of.items() if patient in validated),
    }
