"""RTF tables, read back with a small parser of the format (RTF 1.9.1)."""

import re
from itertools import pairwise

from nnunet_ms.analysis.report.parts import TextTable
from nnunet_ms.analysis.report.rtf import escape, write_rtf, write_rtf_listing
from nnunet_ms.analysis.report.shells import Shell

TOKEN = re.compile(r"\\u(-?\d+)\?|\\([a-z]+)(-?\d+)? ?|\\([^a-z])|([{}])|\r?\n|([^\\{}\r\n]+)")
SKIPPED = {"fonttbl", "colortbl", "stylesheet", "info", "fldinst"}


class Rtf:
    """Reads rows of cells, the text outside tables and the text of the page header; braces must balance."""

    def __init__(self, text):
        self.rows, self.row, self.cell, self.outside, self.header = [], [], [], [], []
        self.stack, self.place, self.units, self.breaks, position = [], "body", [], [0], 0
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
        elif word == "page":
            self.breaks.append(len(self.rows))
        elif word in ("cell", "row", "trowd"):
            self.table(word)
        else:
            self.write(
                self.half(int(unicode))
                if unicode
                else plain or (symbol or "").strip("*") or ("\n" if word == "line" else "")
            )

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


def shell(**changed):
    titles, notes = ("Table 14.2.1.1", f"Title {NASTY}", "Population: All."), (f"Convention: {NASTY}", "Second \\ note")
    return Shell("14.2.1.1", table(**changed), titles, notes, ("SIMULATED", "Study {X}"))


def written(path, one, write=write_rtf):
    write(one, path)
    text = path.read_bytes().decode("ascii")  # nothing depends on a code page
    assert text.startswith("{\\rtf1")
    return text


def test_the_table_comes_back_as_it_went_in(tmp_path):
    rows, _, header = parse(written(tmp_path / "t.rtf", shell()))
    assert rows[0] == table().head
    assert rows[1] == ["A part", "", ""]
    assert rows[2] == table().lines[1]
    assert rows[3:] == [["\n".join(shell().footnotes)]]
    assert header == "\n".join(("SIMULATED", "Study {X}", "Page 1 of 1", *shell().titles))


def pages(text):
    """Rows of each page, the column heads apart."""
    read = Rtf(text)
    return [read.rows[a:b] for a, b in pairwise([*read.breaks, len(read.rows)])]


def test_every_page_has_the_heads_and_begins_with_a_variable(tmp_path):
    lines = [line for i in range(40) for line in ([f"variable {i}"], *([f"row {i}.{k}", "1", "2"] for k in range(4)))]
    text = written(tmp_path / "t.rtf", shell(lines=lines))
    *body, foot = [row for page in pages(text) for row in page if row != table().head]
    assert body == [line if len(line) == 3 else [*line, "", ""] for line in lines]
    assert foot == ["\n".join(shell().footnotes)]
    found = pages(text)
    assert len(found) > 3
    for page in found:
        assert page[0] == table().head
        assert page[1][0].startswith("variable")
        assert len(page) < 55  # lines of 9 pt on A4, as LibreOffice and Word lay it out


def test_a_variable_longer_than_a_page_goes_over_the_next(tmp_path):
    lines = [["only variable"], *([f"row {k}", "1", "2"] for k in range(130))]
    found = pages(written(tmp_path / "t.rtf", shell(lines=lines)))
    assert [row[0] for page in found for row in page[1:]][:-1] == [line[0] for line in lines]
    assert all(10 < len(page) < 55 for page in found)


def test_rows_that_wrap_count_as_many_lines(tmp_path):
    lines = [[f"row {k}", "a long text " * 20, "2"] for k in range(30)]
    found = pages(written(tmp_path / "t.rtf", shell(lines=lines)))
    assert all(len(page) < 10 for page in found)


def test_a_listing_is_the_same_document(tmp_path):
    # Oracle: the same rows, laid out by rtflite one by one.
    lines = [[f"P{i} {{x}}", "1.5", "cell0of"] for i in range(120)]
    assert written(tmp_path / "a.rtf", shell(lines=lines), write_rtf_listing).replace("\\brdrs", "") == written(
        tmp_path / "b.rtf", shell(lines=lines)
    ).replace("\\brdrs", "")


def test_the_same_table_gives_the_same_bytes(tmp_path):
    assert written(tmp_path / "a.rtf", shell()) == written(tmp_path / "b.rtf", shell())


def test_escape_by_the_standard():
    # Oracle: RTF 1.9.1, "Unicode RTF": signed 16-bit numbers, a pair beyond the basic plane, one fallback character.
    assert escape("a{b}\\c") == "a\\{b\\}\\\\c"
    assert escape("–") == "\\u8211?"
    assert escape("\uffe6") == "\\u-26?"
    assert escape("𝛼") == "\\u-10187?\\u-8452?"  # U+1D6FC = D835 DEFC
    assert escape("x\ny\tz") == "x\\line y z"
