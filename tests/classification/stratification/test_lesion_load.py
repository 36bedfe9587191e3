"""Oracle: small tables joined by hand."""

import pandas as pd
import pytest

from nnunet_ms.classification.stratification.cohort import read_cohort
from nnunet_ms.classification.stratification.lesion_load import cohort_with_lesion_load, with_lesion_load
from nnunet_ms.classification.stratification.prepared_folder import prepare_cohort
from nnunet_ms.errors import TableError

HEADER = "case_id,patient_id,visit,week,rater,lesion_type,lesion_count,volume_ml"
ROWS = ["1,P1,a,0,model,t2_lesions,3,4.5", "2,P2,a,0,model,t2_lesions,1,2", "3,P2,a,0,model,t1_enhancing,1,0.1"]


@pytest.fixture
def write(tmp_path):
    def to_file(*rows):
        path = tmp_path / "visits.csv"
        path.write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
        return path

    return to_file


SCANS = pd.DataFrame({"patient_id": ["P1", "P2", "P3"], "visit": "a", "lesion_volume_ml": [None, 7.0, None]})


def test_blanks_are_filled_and_what_is_told_stays(write):
    filled, note = with_lesion_load(SCANS, write(*ROWS))
    assert filled["lesion_volume_ml"].fillna(-1).tolist() == [4.5, 7.0, -1]
    assert note.endswith("1 of 3 scans from visits.csv (model), 1 told before, 1 without.")
    assert SCANS["lesion_volume_ml"].isna().sum() == 2


def test_a_rater_is_chosen_by_name(write):
    path = write(*ROWS, "1,P1,a,0,reference,t2_lesions,2,3.5")
    filled, _ = with_lesion_load(SCANS.drop(columns="lesion_volume_ml"), path, "reference")
    assert filled["lesion_volume_ml"].fillna(-1).tolist() == [3.5, -1, -1]


@pytest.mark.parametrize(
    ("rows", "rater", "message"),
    [
        ([*ROWS, "1,P1,a,0,reference,t2_lesions,2,3.5"], None, r"one rater, found those of \['model', 'reference'\]"),
        (ROWS, "reader", r"rater 'reader', found those of \['model'\]"),
        (ROWS[2:], None, "volumes of t2_lesions, found none"),
        (["9,Q1,a,0,model,t2_lesions,3,4.5"], None, "such as P1 a, found none of them, but Q1 a"),
        (["1,P1,b,0,model,t2_lesions,3,4.5"], None, "found none of them, but P1 b"),
        ([*ROWS, "9,P1,a,0,model,t2_lesions,3,4.6"], None, "one T2 lesion volume of patient P1, visit a by model"),
    ],
)
def test_tables_that_cannot_be_meant(write, rows, rater, message):
    with pytest.raises(TableError, match=message):
        with_lesion_load(SCANS, write(*rows), rater)


def test_prepare_fills_what_the_manifest_leaves_blank(write, tmp_path):
    # the images are not there: what matters is in the cohort before any is read, and in the words of an error
    rows = ["patient_id,visit,scan_day,t1,flair,edss,edss_day,lesion_volume_ml"]
    rows += ["P1,a,0,1.nii.gz,2.nii.gz,2,9,", "P2,a,0,3.nii.gz,4.nii.gz,4,9,7"]
    (tmp_path / "manifest.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    cohort, note = cohort_with_lesion_load(read_cohort(tmp_path / "manifest.csv"), write(*ROWS))
    assert [case.lesion_volume_ml for case in cohort.cases] == [4.5, 7.0]
    assert "1 of 2 scans from visits.csv (model), 1 told before" in note
    found = prepare_cohort(tmp_path / "manifest.csv", tmp_path / "out", visits=write(*ROWS))
    assert found.lesion_load == note
    with pytest.raises(TableError, match="found none of them"):
        prepare_cohort(tmp_path / "manifest.csv", tmp_path / "other", visits=write("9,Q1,a,0,model,t2_lesions,3,4.5"))
    assert not (tmp_path / "other").exists()
