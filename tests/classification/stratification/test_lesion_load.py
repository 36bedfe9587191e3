"""Oracle: small tables joined by hand."""

import pandas as pd
import pytest

from nnunet_ms.classification.stratification.lesion_load import with_lesion_load
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
