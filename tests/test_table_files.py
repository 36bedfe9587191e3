"""CSV and Parquet files are read as they are meant, or refused by line; the csv module and pyarrow write them."""

import csv
import datetime
import io
from collections import Counter
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunet_ms.errors import TableError
from nnunet_ms.table_files import as_text, by_value, read_csv_file, read_parquet_file, tidy


def write(folder, content):
    path = folder / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


REFUSED = {
    "a cell more in every row": ("a,b\n1,2,3\n4,5,6\n", "line 2: expected 2 cells as in the header, found 3"),
    "a cell more in a row": ("a,b\n1,2\n\n4,5,6\n", "line 4: expected 2 cells as in the header, found 3"),
    "a blank cell more": ("a,b\n1,2,\n", "line 2: expected 2 cells as in the header, found 3"),
    "a cell less": ("a,b\n1,2\n3\n", "line 3: expected 2 cells as in the header, found 1. Is the line cut off"),
    "after a cell of two lines": ('a,b\n"1\n1",2\n3\n', "line 4: expected 2 cells"),
    "a decimal comma": ("a,b\n1,2,5\n", "line 2: expected 2 cells"),
    "a name twice": ("a,b,a\n1,2,3\n", "line 1: column a stands twice"),
    "a name twice but for blanks": ("a, a\n1,2\n", "line 1: column a stands twice"),
    "NUL": ("a,b\n1,2\n3\x003,4\n", "line 3 holds a NUL"),
    "NUL in the header": ("a\x00,b\n1,2\n", "line 1 holds a NUL"),
    "UTF-16": ("a,b\n1,2\n".encode("utf-16-le"), "line 1 holds a NUL; is it UTF-16"),
    "a carriage return": ("a,b\n1,x\ry\n", "line 2 holds a carriage return inside text"),
    "a quoted carriage return": ('a,b\r\n1,"x\ry"\r\n', "line 2 holds a carriage return inside text"),
    "lines ended by carriage returns": ("a,b\r1,2\r3,4\r", "line 1 holds a carriage return"),
    "Latin-1": ("a,b\n1,2\n3,caf\xe9\n".encode("latin-1"), r"cannot read it \(line 3: .*\)\. Save it as CSV UTF-8"),
    "a workbook": (
        b"PK\x03\x04\x14\x00\x06\x00\x08",
        r"as a workbook of Excel \(.xlsx\) .* is\)\. Save it as CSV UTF-8",
    ),
    "a workbook whose bytes are text": (
        b"PK\x03\x04 xl/workbook.xml,b\n1,2,3\n",
        r"as a workbook of Excel|line 2: expected 2",
    ),
    "an old workbook": (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\n",
        r"it is a workbook of Excel \(.xls\)\)\. Save it as CSV",
    ),
    "a quote without its end": ('a,b\n"1,2\n3,4\n', "line 3: expected 2 cells|EOF inside string"),
    "nothing": ("", "it is empty"),
    "blank lines": ("\n \n", "it is empty"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_others_shift_drop_or_cut_is_refused_by_line(name, tmp_path):
    content, message = REFUSED[name]
    with pytest.raises(TableError, match=rf"t\.csv: .*({message})"):
        read_csv_file(write(tmp_path, content))


@pytest.mark.parametrize(
    "content",
    [
        "a,b\n1,2\n3,\n", "\ufeffa,b\n1,2\n3,\n", "a,b\r\n1,2\r\n3,\r\n", "a,b\n1,2\n\n3,\n\n", " a , b\n1 ,2\n 3,  \n",
        '"a","b"\n"1","2"\n"3",""\n', "a,b\n1,2\n3,", "a,b\r\r\n1,2\r\r\n3,\r\r\n", "\na,b\n1,2\n   \n3,\n",
    ],
)  # fmt: skip
def test_the_same_table_in_other_clothes(content, tmp_path):
    assert read_csv_file(write(tmp_path, content)).to_dict("list") == {"a": ["1", "3"], "b": ["2", None]}


cells = st.text(alphabet="ab1 ,\"\n'=\u00e9", max_size=5)


@given(st.integers(1, 3).flatmap(lambda n: st.lists(st.lists(cells, min_size=n, max_size=n), min_size=1, max_size=4)))
def test_every_table_that_the_csv_module_writes_is_read_back(tmp_path_factory, rows):
    # Oracle: Python's csv writer. Rows that are wholly blank are passed over.
    text = io.StringIO()
    names = [f"c{i}" for i in range(len(rows[0]))]
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows([names, *rows])
    path = write(tmp_path_factory.mktemp("csv"), text.getvalue())
    found = [[cell or "" for cell in row] for row in read_csv_file(path).to_numpy().tolist()]
    expected = [[cell.strip() for cell in row] for row in rows]
    assert [row for row in found if any(row)] == [row for row in expected if any(row)]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([1, 2], ["1", "2"]),
        ([1.0, np.nan], ["1", None]),
        (pd.array([2**60 + 1, None], dtype="Int64"), ["1152921504606846977", None]),
        ([1.5, 0.1], ["1.5", "0.1"]),
        ([" 001\t", "  "], ["001", None]),
        (pd.Categorical(["b", None]), ["b", None]),
        (pd.Categorical([7, 8]), ["7", "8"]),
        ([b"001", None], ["001", None]),
        ([Decimal("1.00"), Decimal("2.50")], ["1", "2.50"]),
        ([True, False], ["True", "False"]),
        ([datetime.date(2021, 12, 31), None], ["2021-12-31", None]),
        (pd.to_datetime(["2021-12-31", "2022-01-01"]), ["2021-12-31", "2022-01-01"]),
        (pd.to_datetime(["2021-12-31T23:30", None]).tz_localize("Asia/Tokyo"), ["2021-12-31T23:30:00+09:00", None]),
        ([np.float32(0.1), np.float32(3)], ["0.1", "3"]),
        (pd.array([1, None], dtype="Int64"), ["1", None]),
    ],
)
def test_a_cell_of_any_type_is_the_text_that_a_csv_file_would_hold(values, text, tmp_path):
    frame = pd.DataFrame({"id": values if isinstance(values, pd.Categorical) else pd.Series(values), "x": [1.0, 2.0]})
    frame.to_parquet(tmp_path / "t.parquet")
    back = read_parquet_file(tmp_path / "t.parquet")
    assert as_text(back["id"], tmp_path / "t.parquet").tolist() == text
    assert back["x"].tolist() == [1.0, 2.0]


def test_an_index_is_a_column_and_one_without_name_is_none(tmp_path):
    frame = pd.DataFrame({"id": ["a", "b"], "x": [1, 2]})
    frame.set_index("id").to_parquet(tmp_path / "named.parquet")
    frame[::-1].to_parquet(tmp_path / "numbered.parquet")
    assert sorted(read_parquet_file(tmp_path / "named.parquet").columns) == ["id", "x"]
    assert read_parquet_file(tmp_path / "numbered.parquet").to_dict("list") == {"id": ["b", "a"], "x": [2, 1]}


@pytest.mark.parametrize("content", [b"", b"PAR1", b"a,b\n1,2\n", b"PAR1" + bytes(100) + b"PAR1"])
def test_what_is_no_parquet_file_is_refused(content, tmp_path):
    (tmp_path / "t.parquet").write_bytes(content)
    with pytest.raises(TableError, match=r"t\.parquet: expected a Parquet table, cannot read it"):
        read_parquet_file(tmp_path / "t.parquet")


@pytest.mark.parametrize("values", [[[1], [2]], [{"a": 1}, {"a": 2}], [b"\xff", b"a"]])
def test_cells_that_hold_other_things_are_refused(values, tmp_path):
    pd.DataFrame({"id": values}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(TableError, match=r"t\.parquet: column id: expected text, numbers or dates"):
        read_parquet_file(tmp_path / "t.parquet")


def test_parquet_names_that_differ_in_blanks_only_are_refused(tmp_path):
    pd.DataFrame({"id": ["a"], "id ": ["b"]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(TableError, match="column id stands twice"):
        read_parquet_file(tmp_path / "t.parquet")


@given(st.lists(st.sampled_from(["a", "b", "", None])))
def test_by_value_is_map(values):
    # Oracle: one call per cell.
    found = by_value(pd.Series(values, dtype=object), lambda text: text.upper() or None)
    assert found.tolist() == [(value or "").upper() or None for value in values]


def test_a_cell_that_stands_often_is_cleaned_once(tmp_path):
    # What makes reading quick, counted; the seconds are in the changelog.
    rows = 20_000
    table = pd.DataFrame({f"c{i}": np.arange(rows) % (7 if i < 6 else 900) for i in range(12)})
    table.to_csv(tmp_path / "t.csv", index=False)
    cleaned = Counter()

    def clean(text):
        cleaned[text] += 1
        return tidy(text)

    assert len(read_csv_file(tmp_path / "t.csv", clean=clean)) == rows
    names, cells = ({text: n for text, n in cleaned.items() if text.startswith("c") is name} for name in (True, False))
    assert names == dict.fromkeys(table, 2)  # to compare them, and as names
    assert cells == {str(number): 12 if number < 7 else 6 for number in range(900)}  # once in each column that has it
