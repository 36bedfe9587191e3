import pandas as pd

from nnunet_ms.analysis.evaluation.table_pieces import join_pieces, write_pieces
from nnunet_ms.tables import write_table


def test_pieces_make_the_table_that_one_frame_would_have_made(tmp_path):
    # Oracle: write_table of all rows at once; with line breaks, quotes, formulae, blanks, letters beyond ASCII.
    rows = pd.DataFrame(
        {
            "case_id": ["a", "a", "b", "d"],
            "note": ["two\nlines", 'say "ß"', "=1+1", None],
            "value": [0.1, float("nan"), 1e-17, 3.0],
        }
    )
    parts = {case_id: rows[rows["case_id"] == case_id] for case_id in ("b", "a")}
    pieces = write_pieces(parts, tmp_path / "one.csv")
    pieces += write_pieces({"c": rows.iloc[:0]}, tmp_path / "none.csv")
    pieces += write_pieces({"d": rows[rows["case_id"] == "d"]}, tmp_path / "other.csv")
    join_pieces(list(rows), sorted(pieces, key=lambda piece: piece.case_id), tmp_path / "joined.csv")
    write_table(rows, tmp_path / "whole.csv")
    assert (tmp_path / "joined.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert not (tmp_path / "none.csv").exists()


def test_no_rows_at_all(tmp_path):
    join_pieces(["case_id", "value"], [], tmp_path / "empty.csv")
    assert (tmp_path / "empty.csv").read_text() == "case_id,value\n"
