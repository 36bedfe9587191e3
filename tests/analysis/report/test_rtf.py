"""RTF tables, read back with a small parser of the format (RTF 1.9.1)."""

import re

import pytest

from nnunet_ms.analysis.report.parts import Block, TextTable
from nnunet_ms.analysis.report.rtf import MARK, escape, write_rtf

TOKEN = re.compile(r"\\u(-?\d+)\?|\\([a-z]+)(-?\d+)? ?|\\([^a-z])|([{}])|\r?\n|([^\\{}\r\n]+)")
SKIPPED = {"fonttbl", "colortbl", "stylesheet", "info"}


class Rtf:
    """Reads rows of cells, the text outside tables and the text of the page header; braces must balance."""

    def __init__(self, text):
        self.rows, self.row, self.cell, self.outside, self.header = [], [], [], [], []
        self.stack, self.place, self.units, position = [], "body", [], 0
        for match in TOKEN.finditer(text):
            assert match.start() == position, text[position : match.start()]
            position = match.end()
            self.take(*match.groups())
        assert position == len(text)
        assert self.stack == []

    def take(self, unicode, word, _, symbol, brace, plain):
        if brace == "{":
            self.stack.append(self.place)
        elif brace == "}":
            self.place = self.stack.pop()
        elif word in SKIPPED or word == "header":
            self.place = "header" if word == "header" else "skipped"
        elif word in ("cell", "row", "trowd"):
            self.table(word)
        else:
            self.write(self.half(int(unicode)) if unicode else plain or symbol or ("\n" if word == "line" else ""))

    def table(self, word):
        if word == "cell":
            self.row.append("".join(self.cell))
        elif word == "row":
            self.rows.append(self.row)
            self.row = []
        else:
            self.outside += self.cell
        if word != "row":
            self.cell = []

    def half(self, number):
        self.units.append(number % 65536)
        if 0xD800 <= self.units[-1] < 0xDC00:  # the second half of a pair follows
            return ""
        text = b"".join(unit.to_bytes(2, "little") for unit in self.units).decode("utf-16-le")
        self.units = []
        return text

    def write(self, text):
        if self.place == "body":
            self.cell.append(text)
        elif self.place == "header":
            self.header.append(text)


def parse(text):
    read = Rtf(text)
    return read.rows, "".join(read.outside), "".join(read.header)


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
    write_rtf(table(), block(), NASTY, simulated=simulated, path=path)
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
    write_rtf(table(lines=lines), block(), "trial", simulated=True, path=path)
    rows, _, _ = parse(path.read_text(encoding="ascii"))
    assert [row for row in rows if row[0].startswith("row ")] == lines
    assert sum(row == table().head for row in rows) > 1


def test_the_same_table_gives_the_same_bytes(tmp_path):
    for name in "ab":
        write_rtf(table(), block(), "trial", simulated=True, path=tmp_path / f"{name}.rtf")
    assert (tmp_path / "a.rtf").read_bytes() == (tmp_path / "b.rtf").read_bytes()


def test_escape_by_the_standard():
    # Oracle: RTF 1.9.1, "Unicode RTF": signed 16-bit numbers, a pair beyond the basic plane, one fallback character.
    assert escape("a{b}\\c") == "a\\{b\\}\\\\c"
    assert escape("–") == "\\u8211?"
    assert escape("\uffe6") == "\\u-26?"
    assert escape("𝛼") == "\\u-10187?\\u-8452?"  # U+1D6FC = D835 DEFC
    assert escape("x\ny\tz") == "x\\line y z"
