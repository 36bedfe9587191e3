"""Folds by patient, against their definitions."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunet_ms.dataset_conversion.raw_dataset.folds import (
    learning_curve_folds,
    patient_folds,
    site_folds,
    stratified_folds,
)
from nnunet_ms.errors import ConversionError

cohorts = st.dictionaries(st.from_regex(r"c\d{1,3}", fullmatch=True), st.sampled_from("ABCDEFGH"), min_size=8)


@given(patient_of=cohorts, seed=st.integers(0, 99))
def test_every_case_is_validated_once_and_no_patient_stands_on_both_sides(patient_of, seed):
    if len(set(patient_of.values())) < 3:
        return
    folds = patient_folds(patient_of, 3, seed)
    assert sorted(case for fold in folds for case in fold["val"]) == sorted(patient_of)
    for fold in folds:
        train, val = ({patient_of[case] for case in fold[side]} for side in ("train", "val"))
        assert not train & val
        assert len(fold["train"]) + len(fold["val"]) == len(patient_of)
    sizes = [len({patient_of[case] for case in fold["val"]}) for fold in folds]
    assert max(sizes) - min(sizes) <= 1


def test_order_of_the_cases_plays_no_part_but_the_seed_does():
    cases = {f"c{i}": f"P{i // 2}" for i in range(20)}
    shuffled = dict(reversed(list(cases.items())))
    assert patient_folds(cases, 5, 1) == patient_folds(shuffled, 5, 1)
    assert patient_folds(cases, 5, 1) != patient_folds(cases, 5, 2)


@pytest.mark.parametrize("folds", [1, 4])
def test_too_few_patients(folds):
    with pytest.raises(ConversionError, match="found 3 training patients"):
        patient_folds({"a": "A", "b": "B", "c": "C"}, folds, 0)


def test_learning_curve_is_the_papers_cycle():
    # Oracle: Wahlig et al. 2023: train on subsets (t-k .. t-1) mod 6, test on t; every case is tested once per k.
    patient_of = {f"c{i:02d}": f"P{i:02d}" for i in range(12)}
    folds = learning_curve_folds(patient_of, 6, 0)
    assert len(folds) == 30
    parts = [fold["val"] for fold in folds[:6]]
    assert folds[6 * (2 - 1) + 0]["train"] == sorted(parts[4] + parts[5])
    for k in range(1, 6):
        block = folds[6 * (k - 1) : 6 * k]
        assert sorted(c for fold in block for c in fold["val"]) == sorted(patient_of)
        assert {len(fold["train"]) for fold in block} == {2 * k}


def test_one_fold_per_site():
    folds = site_folds({"a": "A", "b": "B", "c": "C"}, {"a": "x", "b": "y", "c": "x"})
    assert folds == [{"train": ["b"], "val": ["a", "c"]}, {"train": ["a", "c"], "val": ["b"]}]
    with pytest.raises(ConversionError, match="expected at least 2 sites"):
        site_folds({"a": "A"}, {"a": "x"})
    with pytest.raises(ConversionError, match="patient A: expected one site, found two"):
        site_folds({"a": "A", "b": "A"}, {"a": "x", "b": "y"})


LOADS_ML = {"q": [10], "c": [0, 16, 17], "a": [1, 23], "r": [13, 13]}  # means 10, 11, 12, 13


@pytest.mark.parametrize("seed", range(8))
def test_a_patient_counts_with_the_mean_load_of_the_visits(seed):
    # Oracle: by hand. Means 10, 11, 12, 13 make the strata {q, c} and {a, r}. Any other account of a patient makes
    # other pairs: sums (10, 33, 24, 26), largest (10, 17, 23, 13), smallest (10, 0, 1, 13), medians (10, 16, 12, 13),
    # first visits (10, 0, 1, 13), last visits (10, 17, 23, 13), names (a, c, q, r).
    patient_of = {
        f"{patient}{visit}": patient for visit in range(3) for patient in LOADS_ML if visit < len(LOADS_ML[patient])
    }
    load_ml = {f"{patient}{visit}": load for patient, loads in LOADS_ML.items() for visit, load in enumerate(loads)}
    for fold in stratified_folds(patient_of, load_ml, 2, seed):
        validated = {patient_of[case] for case in fold["val"]}
        assert len(validated & {"q", "c"}) == 1
        assert len(validated & {"a", "r"}) == 1


@given(
    cohort=st.dictionaries(
        st.from_regex(r"P\d{1,2}", fullmatch=True), st.lists(st.integers(0, 60), min_size=1), min_size=3
    ),
    seed=st.integers(0, 99),
)
def test_strata_of_any_cohort_are_dealt_out_one_to_each_fold(cohort, seed):
    # Oracle: ranks by exact means, with the name where two are equal; of `folds` patients in a row no two share a fold
    patient_of = {f"{patient}_{visit}": patient for patient, loads in cohort.items() for visit in range(len(loads))}
    load_ml = {
        f"{patient}_{visit}": float(load) for patient, loads in cohort.items() for visit, load in enumerate(loads)
    }
    folds = stratified_folds(patient_of, load_ml, 3, seed)
    fold_of = {patient_of[case]: number for number, fold in enumerate(folds) for case in fold["val"]}
    assert set(fold_of) == set(cohort)
    ranked = sorted(cohort, key=lambda patient: (statistics.mean(map(float, cohort[patient])), patient))
    for start in range(0, len(ranked), 3):
        stratum = [fold_of[patient] for patient in ranked[start : start + 3]]
        assert len(set(stratum)) == len(stratum)


def test_a_seed_that_cannot_be():
    with pytest.raises(ConversionError, match="--seed -1: expected a whole number >= 0"):
        patient_folds({"a": "A", "b": "B"}, 2, -1)
