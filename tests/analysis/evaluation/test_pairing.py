import pytest

from nnunet_ms.analysis.evaluation.pairing import CaseFiles, by_patient, pair_masks
from nnunet_ms.errors import SettingsError


def folder_of(path, *names):
    path.mkdir()
    for name in names:
        (path / name).write_bytes(b"")
    return path


def test_hidden_and_other_files_are_no_cases(tmp_path):
    references = folder_of(tmp_path / "r", "a.nii.gz", "b.nii.gz")
    predictions = folder_of(tmp_path / "p", "a.nii.gz", "b.nii.gz", "._a.nii.gz", "dataset.json")
    pairing = pair_masks(references, {"net": predictions})
    assert ([pair.case_id for pair in pairing.pairs], pairing.failures) == (["a", "b"], [])


def test_a_case_counts_when_every_model_has_it(tmp_path):
    references = folder_of(tmp_path / "r", "a.nii.gz", "b.nii.gz", "c.nii.gz")
    one, two = folder_of(tmp_path / "1", "a.nii.gz", "b.nii.gz"), folder_of(tmp_path / "2", "a.nii.gz", "d.nii.gz")
    pairing = pair_masks(references, {"one": one, "two": two})
    assert [(pair.case_id, sorted(pair.predictions)) for pair in pairing.pairs] == [("a", ["one", "two"])]
    reasons = {failure.case: failure.reason for failure in pairing.failures}
    assert str(two / "b.nii.gz") in reasons["b"]
    assert str(one) not in reasons["b"]
    assert {str(one / "c.nii.gz") in reasons["c"], str(two / "c.nii.gz") in reasons["c"]} == {True}
    assert "no reference" in reasons["d"]


def test_names_that_differ_in_case_only(tmp_path):
    references = folder_of(tmp_path / "r", "a.nii.gz", "A.nii.gz")
    with pytest.raises(SettingsError, match=r"more than upper and lower case, found A.nii.gz and a.nii.gz"):
        pair_masks(references, {"net": references})


def test_visits_of_a_patient_go_by_week():
    rows = [("c", "p2", 0.0), ("b", "p1", 48.0), ("a", "p1", 96.0), ("d", "p1", float("nan")), ("e", "p1", 0.0)]
    files = [CaseFiles(case, None, {}, patient, "v", week) for case, patient, week in rows]
    assert [[one.case_id for one in visits] for visits in by_patient(files)] == [["e", "b", "a", "d"], ["c"]]
