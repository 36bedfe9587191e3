"""Folds by patient: nobody is on both sides, each fold can be judged, and what cannot be folded is refused."""

import sys

import numpy as np
import pytest

from nnunet_ms.classification.patient_folds import patient_folds, validation_rows
from nnunet_ms.errors import OptionError, SettingsError


def cohort(patients=60, rim_patients=14, seed=0):
    """Rows of patients with 3 to 40 lesions; some patients have 1 to 5 rim+ ones."""
    generator = np.random.default_rng(seed)
    names, truth = [], []
    for number in range(patients):
        rows = int(generator.integers(6, 40))
        rim = int(generator.integers(1, 6)) if number < rim_patients else 0
        names += [f"P{number:03d}"] * rows
        truth += [True] * rim + [False] * (rows - rim)
    return np.array(names), np.array(truth)


@pytest.mark.parametrize("folds", [2, 3, 5, 7])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_patient_is_in_one_fold_and_each_fold_has_its_share(folds, seed):
    names, truth = cohort(seed=seed)
    fold = patient_folds(names, truth, folds, seed)
    assert set(fold) == set(range(folds))
    assert all(len(set(fold[names == name])) == 1 for name in set(names))
    rim = np.bincount(fold[truth], minlength=folds)
    assert rim.min() >= 1
    assert rim.max() - rim.min() <= 5  # no more than one patient's
    rows = np.bincount(fold)
    assert rows.max() < 2 * rows.min()


def test_as_many_patients_with_a_rim_as_folds_are_one_in_each():
    names, truth = cohort(rim_patients=5)
    fold = patient_folds(names, truth, 5)
    assert sorted({int(fold[names == f"P{number:03d}"][0]) for number in range(5)}) == [0, 1, 2, 3, 4]


def test_the_seed_and_not_the_order_of_rows_decides():
    names, truth = cohort()
    order = np.random.default_rng(3).permutation(len(names))
    fold = patient_folds(names, truth, 5, seed=4)
    assert np.array_equal(patient_folds(names, truth, 5, seed=4), fold)
    assert np.array_equal(patient_folds(names[order], truth[order], 5, seed=4), fold[order])
    assert not np.array_equal(patient_folds(names, truth, 5, seed=5), fold)


@pytest.mark.parametrize("rim_patients", [2, 3, 5, 14])
def test_validation_is_by_patient_and_both_parts_have_a_rim(rim_patients):
    names, truth = cohort(rim_patients=rim_patients)
    held = validation_rows(names, truth, seed=1)
    assert not set(names[held]) & set(names[~held])
    assert truth[held].any()
    assert truth[~held].any()
    assert len(set(names[held])) / 60 == pytest.approx(1 / min(5, rim_patients), abs=0.12)


@pytest.mark.parametrize(
    ("names", "truth", "folds", "message"),
    [
        (["a", "a", "b", "c"], [1, 1, 0, 0], 2, r"expected 2 patients or more with a rim\+ lesion, found 1 \(of 3"),
        (list("abcde"), [1, 1, 1, 0, 0], 5, r"with a rim\+ lesion, found 3 .*Ask for 3 folds"),
        (list("abcde"), [1, 1, 1, 1, 0], 2, r"with a row that is no rim\+ lesion, found 1 .*Add patients"),
        (["a", "b"], [0, 0], 2, r"with a rim\+ lesion, found 0"),
        ([], [], 2, r"with a rim\+ lesion, found 0 \(of 0 patients"),
        (["a", "b"], [1], 2, "expected one label per row, found 1 labels for 2 rows"),
    ],
)
def test_what_cannot_be_folded_is_refused(names, truth, folds, message):
    with pytest.raises(SettingsError, match=message):
        patient_folds(names, truth, folds)


@pytest.mark.parametrize("folds", [1, 0, -5, 2.0, "5", True])
def test_folds_that_are_no_number_of_folds(folds):
    with pytest.raises(OptionError, match="folds: expected a whole number >= 2, found"):
        patient_folds(list("abcd"), [1, 1, 0, 0], folds)


def test_the_message_names_what_is_stratified():
    with pytest.raises(SettingsError, match=r"with a scan of EDSS >= 3, found 1"):
        patient_folds(list("abc"), [1, 0, 0], 2, what="scan of EDSS >= 3")


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.model_selection", None)
    with pytest.raises(SettingsError, match=r"pip install scikit-learn"):
        patient_folds(list("abcd"), [1, 1, 0, 0], 2)
