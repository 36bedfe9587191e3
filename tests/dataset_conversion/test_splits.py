import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunet_ms.dataset_conversion.splits import patient_folds
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
