"""RTF tables, read back with a small parser of the format (RTF 1.9.1)."""

import re

import pytest

from nnunet_ms.analysis.report.parts import Block, TextTable
from nnunet_ms.analysis.report.rtf import MARK, escape, write_rtf

TOKEN = re.compile(r"\\u(-?\d+)\?|\\([a-z]+)(-?\d+)? ?|\\([^a-z])|([{}])|\r?\n|([^\\{}\r\n]+)")
SKIPPED = {"fonttbl", "colortbl", "stylesheet", "info"}


def parse(text):
    """Return the rows of cells, the text outside tables and the text of the page header; braces must balance."""
    rows, row, cell, outside, header = [], [], [], [], []
    stack, position = [], 0
    place, units = "body", []
    for match in TOKEN.finditer(text):
        assert match.start() == position, text[position : match.start()]
        position = match.end()
        unicode, word, _, symbol, brace, plain = match.groups()
        if brace == "{":
            stack.append(place)
        elif brace == "}":
            place = stack.pop()
        elif word in SKIPPED:
            place = "skipped"
        elif word == "header":
            place = "header"
        elif word == "cell":
            row.append("".join(cell))
            cell = []
        elif word == "row":
            rows.append(row)
            row = []
        elif word == "trowd":
            outside, cell = [*outside, *cell], []
        written = plain or symbol or ("\n" if word == "line" else "")
        if unicode:
            units.append(int(unicode) % 65536)
            written = ""
            if not 0xD800 <= units[-1] < 0xDC00:  # the second half of a pair follows
                written = b"".join(u.to_bytes(2, "little") for u in units).decode("utf-16-le")
                units = []
        if place == "body" and word not in ("cell", "row"):
            cell.append(written)
        elif place == "header":
            header.append(written)
    assert position == len(text)
    assert stack == []
    return rows, "".join(outside), "".join(header)


NASTY = "50 {mg} \\par \\'41 <b> ± ≤ 𝛼 \\u8211?"


def table(**changed):
    given = {"head": ["", NASTY, "p"], "lines": [["A part"], [f"{NASTY} a", "−1.0 (−2.0 to 0.5)", "p < .001"]]}
    return TextTable("stem", "Title {x}", note=f"Convention “r”: {NASTY}", **{**given, **changed})


def block():
    notes = ["Cox regression.", "Second \\ note"]
    return Block("key", "Block", "why?", "All patients.", [], notes=notes)


@pytest.mark.parametrize("simulated", [True, False])
def test_the_table_comes_back_as_it_went_in(tmp_path, simulated):
    path = tmp_path / "t.rtf"
    write_rtf(table(), block(), NASTY, simulated, path)
    text = path.read_bytes().decode("ascii")  # nothing depends on a code page
    assert text.startswith("{\\rtf1")
    rows, outside, header = parse(text)
    assert rows[0] == table().head
    assert rows[1] == ["A part", "", ""]
    assert rows[2] == table().lines[1]
    foot = "Population: All patients.\n" + table().note + "\nCox regression.\nSecond \\ note"
    assert rows[3:] == [[foot]]
    assert f"Title {{x}}\n{NASTY}: Block" in outside
    assert header == (MARK if simulated else "")


def test_long_tables_repeat_their_head(tmp_path):
    lines = [[f"row {i}", "1", "2"] for i in range(120)]
    path = tmp_path / "t.rtf"
    write_rtf(table(lines=lines), block(), "trial", True, path)
    rows, _, _ = parse(path.read_text(encoding="ascii"))
    assert [row for row in rows if row[0].startswith("row ")] == lines
    assert sum(row == table().head for row in rows) > 1


def test_the_same_table_gives_the_same_bytes(tmp_path):
    for name in "ab":
        write_rtf(table(), block(), "trial", True, tmp_path / f"{name}.rtf")
    assert (tmp_path / "a.rtf").read_bytes() == (tmp_path / "b.rtf").read_bytes()


def test_escape_by_the_standard():
    # Oracle: RTF 1.9.1, "Unicode RTF": signed 16-bit numbers, a pair beyond the basic plane, one fallback character.
    assert escape("a{b}\\c") == "a\\{b\\}\\\\c"
    assert escape("–") == "\\u8211?"
    assert escape("\uffe6") == "\\u-26?"
    assert escape("𝛼") == "\\u-10187?\\u-8452?"  # U+1D6FC = D835 DEFC
    assert escape("x\ny\tz") == "x\\line y z"
