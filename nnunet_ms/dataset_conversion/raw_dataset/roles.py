"""Who trains and who tests: by patient, from what has a mask; and folds where there is somebody to train on."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from nnunet_ms.dataset_conversion.cases import Case
from nnunet_ms.dataset_conversion.raw_dataset.folds import Fold, patient_folds
from nnunet_ms.errors import ConversionError

USUAL_FOLDS = 3


def assign_roles(
    cases: Sequence[Case], test_patients: Iterable[str], tested: frozenset[str] = frozenset()
) -> dict[str, str]:
    """Case id -> "train" or "test"; a case without a mask is there to be predicted, so it tests.

    Parameters
    ----------
    cases : sequence of Case
        All cases of the dataset to be.
    test_patients : iterable of str
        Patients who test although they have masks.
    tested : frozenset of str, optional
        Patients who test in a dataset that is added to: they go on testing.

    Raises
    ------
    ConversionError
        If a test patient is not among the cases.

    Examples
    --------
    >>> from nnunet_ms.dataset_conversion.cases import Mask
    >>> mask = Mask({"t2_lesions": Path("mask.nii.gz")})
    >>> cases = [Case(name, "", None, {}, None if name == "P3" else mask) for name in ("P1", "P2", "P3")]
    >>> assign_roles(cases, ["P1"])
    {'P1': 'test', 'P2': 'train', 'P3': 'test'}
    """
    wanted = set(test_patients)
    unknown = wanted - {case.patient_id for case in cases}
    if unknown:
        raise ConversionError(
            f"--test-patients: {sorted(unknown)} are not among the {len({c.patient_id for c in cases})} patients that "
            "can be converted. Correct the list."
        )
    tests = wanted | tested
    return {c.case_id: "test" if c.patient_id in tests or c.label is None else "train" for c in cases}


def without_leaks(
    cases: Sequence[Case], test_patients: Iterable[str] = (), trained: frozenset[str] = frozenset()
) -> list[Case]:
    """The cases, those of training patients that have no mask with the problem that keeps them out.

    A visit without a mask would test, its patient's other visits train: the model would be tested on whom it knows.

    Parameters
    ----------
    cases : sequence of Case
        What a source found.
    test_patients : iterable of str, optional
        Patients all of whose cases test.
    trained : frozenset of str, optional
        Patients who train in a dataset that is added to.

    Examples
    --------
    >>> from nnunet_ms.dataset_conversion.cases import Mask
    >>> mask = Mask({"t2_lesions": Path("mask.nii.gz")})
    >>> visits = [Case("P1", "base", 0.0, {}, mask), Case("P1", "w24", 24.0, {}, None), Case("P2", "", None, {}, None)]
    >>> [case.problem.partition(":")[0] for case in without_leaks(visits)]
    ['', 'patient P1 visit w24', '']
    """
    tests = set(test_patients)
    training = {case.patient_id for case in cases if case.label is not None and not case.problem} | trained
    return [
        replace(case, problem=_leak(case))
        if case.label is None and not case.problem and case.patient_id in training - tests
        else case
        for case in cases
    ]


def _leak(case: Case) -> str:
    return (
        f"patient {case.patient_id} visit {case.visit or 1}: found no mask, while other visits of this patient have "
        "one and train; a patient never trains and tests. Add the mask, or name the patient in --test-patients."
    )


def make_folds(patient_of: Mapping[str, str], folds: int | None, seed: int) -> list[Fold]:
    """Folds by patient of the training cases (case id -> patient id); none where fewer than two patients train.

    Parameters
    ----------
    patient_of : mapping
        Case id -> patient id, training cases only.
    folds : int or None
        Number of folds, >= 2; None: three, or as many as there are patients if they are fewer.
    seed : int
        As in `patient_folds`.

    Raises
    ------
    ConversionError
        If folds are asked for by number and there are fewer training patients (but some), or the seed is negative.

    Examples
    --------
    >>> [fold["val"] for fold in make_folds({"a": "A", "b": "B"}, None, 0)]
    [['a'], ['b']]
    >>> make_folds({}, 5, 0), make_folds({"a": "A"}, None, 0)
    ([], [])
    """
    patients = len(set(patient_of.values()))
    number = folds if folds is not None else min(USUAL_FOLDS, max(2, patients))
    if seed >= 0 and (patients == 0 or (folds is None and patients == 1)):
        return []
    return patient_folds(patient_of, number, seed)


def fold_notes(patients: int, folds: int | None) -> list[str]:
    """What a user should know about the folds of so many training patients; nothing where they are as usual.

    Examples
    --------
    >>> fold_notes(0, None)
    ['no training case, so no folds: imagesTs is there to be predicted by a trained model (nnunet-ms-predict)']
    >>> fold_notes(12, None)
    []
    """
    if patients == 0:
        return [
            "no training case, so no folds: imagesTs is there to be predicted by a trained model (nnunet-ms-predict)"
        ]
    if folds is None and patients == 1:
        return ["one training patient, so no folds: nnUNetv2_train takes the fold 'all'"]
    if folds is None and patients < USUAL_FOLDS:
        return [f"{patients} training patients, so {patients} folds instead of {USUAL_FOLDS}"]
    return []
