"""Manifests of rims: what each row becomes, and the one error of each that cannot be meant."""

import math
from pathlib import Path

import pytest

from nnunet_ms.classification.rim.cohort import read_cohort
from nnunet_ms.errors import TableError

HEADER = "patient_id,visit,week,qsm,flair,lesions,brain_mask,labels"
ROW = "P1,base,0,P1/q.nii.gz,P1/f.nii.gz,P1/l.nii.gz,P1/b.nii.gz,P1/rims.csv"
BLANK = "P2,base,,P2/q.nii.gz,,P2/l.nii.gz,,"


def manifest(folder, *rows, header=HEADER):
    path = folder / "manifest.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_each_row_is_a_case_with_paths_beside_the_manifest(tmp_path):
    first, second = read_cohort(manifest(tmp_path, ROW, BLANK))
    assert (first.qsm, first.labels) == (tmp_path / "P1/q.nii.gz", tmp_path / "P1/rims.csv")
    assert (first.case_id, first.week) == ("P1_base", 0.0)
    assert (second.flair, second.brain_mask, second.labels) == (None, None, None)
    assert math.isnan(second.week)


def test_optional_columns_may_be_left_out(tmp_path):
    (case,) = read_cohort(manifest(tmp_path, "P1,base,q.nii.gz,l.nii.gz", header="patient_id,visit,qsm,lesions"))
    assert case.flair is None
    assert math.isnan(case.week)


def test_one_image_may_be_lesion_mask_and_labels_of_other_rows_stay_apart(tmp_path):
    row = "P1,base,0,q.nii.gz,,l.nii.gz,,l.nii.gz"
    assert read_cohort(manifest(tmp_path, row))[0].labels == tmp_path / "l.nii.gz"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([ROW, ROW], "row 2: patient_id P1, visit base stands twice"),
        ([ROW.replace("P1/l.nii.gz", "")], r"row 1 \(patient P1, visit base\): expected a path in column lesions"),
        ([ROW.replace("P1/q.nii.gz", "")], "expected a path in column qsm, found a blank"),
        ([ROW.replace("P1/f.nii.gz", "P1/q.nii.gz")], "columns qsm and flair name one file"),
        ([ROW.replace("P1/b.nii.gz", "P1/l.nii.gz")], "columns lesions and brain_mask name one file"),
        ([ROW, BLANK.replace("P2/q", "P1/q")], "row 2, column qsm: .*is the file of row 1 too"),
        ([ROW, BLANK.replace("P2/l", "P1/l")], "row 2, column lesions: .*is the file of row 1 too"),
        ([], "expected a row for each visit, found none"),
        (["P_1,v,0,a,,b,,", "P,1_v,0,c,,d,,"], "rows 1 and 2: both would be called P_1_v"),
        ([ROW.replace(",0,", ",week0,")], "row 1, column week: expected a number"),
    ],
)
def test_rows_that_cannot_be_meant_are_refused(tmp_path, rows, message):
    with pytest.raises(TableError, match=message):
        read_cohort(manifest(tmp_path, *rows))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (HEADER.replace("lesions", "lesion_mask"), "rim manifest needs columns"),
        (HEADER.replace("labels", "rims"), "has unknown columns"),
        (HEADER.replace("qsm", "QSM"), "Rename 'QSM' to qsm"),
    ],
)
def test_columns_of_other_names_are_named(tmp_path, header, message):
    with pytest.raises(TableError, match=message):
        read_cohort(manifest(tmp_path, ROW, header=header))


@pytest.mark.parametrize("content", [b"PK\x03\x04\x14\x00\x06\x00", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"])
@pytest.mark.parametrize("name", ["manifest.xlsx", "manifest.csv"])
def test_a_workbook_is_named_with_the_step(tmp_path, name, content):
    (tmp_path / name).write_bytes(content + bytes(600))
    with pytest.raises(TableError, match=rf"{name}: expected a CSV table in UTF-8.*workbook of Excel.*Save it as CSV"):
        read_cohort(tmp_path / name)


def test_a_folder_is_no_manifest_and_a_missing_one_is_named(tmp_path):
    with pytest.raises(TableError, match="found a folder"):
        read_cohort(tmp_path)
    with pytest.raises(TableError, match="no such file"):
        read_cohort(Path(tmp_path) / "manifest.csv")


@pytest.mark.parametrize("name", ["../../evil", "/etc/passwd", "A/B", "A\\B", "..", "a:b", "P\n1", "-x", "P" * 300])
@pytest.mark.parametrize("column", ["patient_id", "visit"])
def test_names_that_would_write_elsewhere_are_refused(tmp_path, name, column):
    row = {"patient_id": "P1", "visit": "base"} | {column: name}
    (tmp_path / "m.csv").write_text(
        f'patient_id,visit,qsm,lesions\n"{row["patient_id"]}","{row["visit"]}",qsm.nii.gz,lesions.nii.gz\n'
    )
    with pytest.raises(TableError, match=rf"row 1, column {column}: expected a plain name"):
        read_cohort(tmp_path / "m.csv")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("p1,a", "P1,b"), "'P1' and 'p1' differ in capitals"),
        (("M\u00fcller,a", "Mu\u0308ller,b"), "differ in capitals or in how an accent is stored alone"),
        (("STRASSE,a", "stra\u00dfe,b"), "differ in capitals"),
        (("P1,Base", "P1,base"), "rows 1 and 2: both would be called P1_base in files"),
    ],
)
def test_spellings_that_are_one_patient_or_one_file_are_refused(tmp_path, names, message):
    rows = [f"{name},qsm{i}.nii.gz,lesions{i}.nii.gz" for i, name in enumerate(names)]
    (tmp_path / "m.csv").write_text("\n".join(["patient_id,visit,qsm,lesions", *rows]), encoding="utf-8")
    with pytest.raises(TableError, match=message):
        read_cohort(tmp_path / "m.csv")


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("P2,a,./q.nii.gz,,l2.nii.gz,", "row 2, column qsm: q.nii.gz is the file of row 1 too; expected one per visit"),
        ("P2,a,q2.nii.gz,,x/../l.nii.gz,", "row 2, column lesions: l.nii.gz is the file of row 1 too"),
        (
            "P2,a,q2.nii.gz,f.nii.gz,l2.nii.gz,",
            "column flair: f.nii.gz is the file of row 1 too; expected one per pat",
        ),
        ("P2,a,q2.nii.gz,,l2.nii.gz,.//r.csv", "column labels: r.csv is the file of row 1 too; expected one per patie"),
        ("P2,a,q2.nii.gz,./q2.nii.gz,l2.nii.gz,", "columns qsm and flair name one file"),
        ("P1,b,q2.nii.gz,f.nii.gz,l2.nii.gz,r.csv", None),
    ],
)
def test_one_file_in_two_places_is_found_however_it_is_written(tmp_path, second, message):
    rows = ["patient_id,visit,qsm,flair,lesions,labels", "P1,a,q.nii.gz,f.nii.gz,l.nii.gz,r.csv", second]
    (tmp_path / "m.csv").write_text("\n".join(rows))
    if message is None:
        assert len(read_cohort(tmp_path / "m.csv")) == 2
        return
    with pytest.raises(TableError, match=message):
        read_cohort(tmp_path / "m.csv")
