import math

import pandas as pd
import pytest

from nnunet_ms.cases_table import Place, places, read_cases
from nnunet_ms.errors import TableError
from nnunet_ms.tables import CASES, PREDICTED_CASES

ROWS = [("P1_base", "P1", "base", "0", "train"), ("002", "=P2", "w24", "", "test")]


def write(path, rows=ROWS, **more):
    pd.DataFrame(rows, columns=CASES.names).assign(**more).to_csv(path, index=False)
    return path


def test_every_case_has_its_place(tmp_path):
    write(tmp_path / "cases.csv", source_flair="a.nii.gz")
    for given in (tmp_path, str(tmp_path), tmp_path / "cases.csv", str(tmp_path / "cases.csv")):
        found = places(read_cases(given))
        assert found["P1_base"] == Place("P1", "base", 0.0)
        assert (found["002"].patient_id, found["002"].visit) == ("=P2", "w24")
        assert math.isnan(found["002"].week)


def test_a_case_that_no_table_names_is_its_own_patient():
    assert Place("c1").visit == "unknown"
    assert math.isnan(Place("c1").week)


def test_a_table_of_no_case(tmp_path):
    assert places(read_cases(write(tmp_path / "cases.csv", []))) == {}


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        ("other.csv", ROWS, r"expected cases\.csv in it, found none\. Is this the folder of a dataset"),
        ("cases.csv", ROWS[:1] * 2, r"cases\.csv: row 2: case_id P1_base stands twice"),
        (
            "cases.csv",
            [("", "P1", "base", "0", "train")],
            r"cases\.csv: row 1, column case_id: expected text, found a bl",
        ),
        ("cases.csv", [("c", "P1", "base", "soon", "train")], r"column week: expected a number <= 5218, found 'soon'"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, name, rows, message):
    write(tmp_path / name, rows)
    with pytest.raises(TableError, match=message):
        read_cases(tmp_path)


def test_a_prediction_has_a_row_for_each_lesion_type(tmp_path):
    row = ("c1", "P1", "base", "0", "test")
    more = {"rater": "m", "lesion_type": ["t1", "t2"], "psu": [0.5, None], "content_voxels": [100, 100]}
    found = read_cases(write(tmp_path / "cases.csv", [row, row], **more), PREDICTED_CASES)
    assert found["content_voxels"].tolist() == [100, 100]
    with pytest.raises(TableError, match="row 2: case_id c1 stands twice"):
        read_cases(tmp_path)
    with pytest.raises(TableError, match=r"predicted cases needs columns \['psu'\]"):
        read_cases(write(tmp_path / "c.csv", [row], rater="m", lesion_type="t1", content_voxels=1), PREDICTED_CASES)
