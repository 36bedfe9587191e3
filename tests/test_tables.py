from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nnunet_ms.errors import TableError
from nnunet_ms.parallel import Failure
from nnunet_ms.tables import (
    ASSESSMENTS,
    FAILURES,
    MANIFEST,
    VISITS,
    Column,
    Table,
    read_table,
    write_failures,
    write_table,
)

SMALL = Table(
    "small",
    (
        Column("id"),
        Column("n", "integer", minimum=0),
        Column("x", "number", blank=True),
        Column("ok", "flag", required=False),
    ),
    key=("id",),
)


def write(tmp_path, text):
    path = tmp_path / "t.csv"
    path.write_text(text)
    return path


def test_types(tmp_path):
    frame = read_table(write(tmp_path, "id,n,x,ok\n007,3,1.5,yes\nb,0,,false\n"), SMALL)
    assert frame["id"].tolist() == ["007", "b"]
    assert frame["n"].tolist() == [3, 0]
    assert np.isnan(frame["x"][1])
    assert frame["ok"].tolist() == [True, False]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,n\na,1\n", r"needs columns \['x'\]"),
        ("id,n,x,y\na,1,2,3\n", r"unknown columns \['y'\]"),
        ("id,n,x\na,1,2\na,1,2\n", "row 2: id a stands twice"),
        ("id,n,x\na,1.5,2\n", "row 1, column n: expected a whole number >= 0, found '1.5'"),
        ("id,n,x\na,-1,2\n", "row 1, column n: expected a whole number >= 0, found '-1'"),
        ("id,n,x\na,1,2\nb,,2\n", "row 2, column n: expected a whole number >= 0, found a blank"),
        ("id,n,x\na,1,abc\n", "row 1, column x: expected a number, found 'abc'"),
        ("id,n,x\na,1,inf\n", "row 1, column x: expected a number, found 'inf'"),
        ("id,n,x,ok\na,1,2,perhaps\n", "row 1, column ok: expected true or false, found 'perhaps'"),
        ("id,n,x\n,1,2\n", "row 1, column id: expected text, found a blank"),
        ("", "expected a CSV table in UTF-8"),
    ],
)
def test_bad_tables_name_file_row_and_column(tmp_path, text, message):
    with pytest.raises(TableError, match=rf"t\.csv: .*{message}"):
        read_table(write(tmp_path, text), SMALL)


def test_missing_file(tmp_path):
    with pytest.raises(TableError, match=r"none\.csv: no such file"):
        read_table(tmp_path / "none.csv", SMALL)


def test_not_utf8(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"id,n,x\n\xff\xfe,1,2\n")
    with pytest.raises(TableError, match="UTF-8"):
        read_table(path, SMALL)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_written_tables_read_back(tmp_path, suffix):
    frame = pd.DataFrame({"id": ["a", "b"], "n": [1, 2], "x": [0.1, np.nan]})
    write_table(frame, tmp_path / f"t{suffix}")
    back = read_table(tmp_path / f"t{suffix}", SMALL)
    assert back["id"].tolist() == ["a", "b"]
    assert back["x"][0] == 0.1


def test_formulas_are_disarmed_in_the_file_and_restored_on_reading(tmp_path):
    frame = pd.DataFrame({"id": ["=cmd()", "-1", "plain"], "n": [1, 2, 3], "x": [1.0, 2.0, 3.0]})
    write_table(frame, tmp_path / "t.csv")
    assert "\n'=cmd()," in (tmp_path / "t.csv").read_text()
    assert read_table(tmp_path / "t.csv", SMALL)["id"].tolist() == ["=cmd()", "-1", "plain"]


def test_the_vocabulary_holds_the_tables_between_the_rooms():
    assert MANIFEST.names[:3] == ["patient_id", "visit", "week"]
    assert VISITS.key == ("case_id", "rater", "lesion_type")
    assert "edss" in ASSESSMENTS.names


@pytest.mark.parametrize("kind", [str, Path])
def test_failures_are_a_table_of_their_own_also_when_there_are_none(tmp_path, kind):
    path = kind(tmp_path / "failures.csv")
    failures = [Failure("c1", "no mask, none"), Failure("=c2", "KeyError: 'x'", "Traceback")]
    write_failures(failures, path)
    expected = [{"case_id": "c1", "reason": "no mask, none"}, {"case_id": "=c2", "reason": "KeyError: 'x'"}]
    assert read_table(path, FAILURES).to_dict("records") == expected
    write_failures([], path)
    assert Path(path).read_text() == "case_id,reason\n"
