"""Oracle: pypdf, which reads the file back."""

import pypdf

from nnunet_ms.analysis.report.parts import TextTable
from nnunet_ms.analysis.report.pdf import write_pdf
from nnunet_ms.analysis.report.shells import Shell

LONG = [line for i in range(25) for line in ([f"variable {i}"], *([f"row {i}.{k}", "1.5", "≥ 2"] for k in range(3)))]


def shell(number, lines, **changed):
    table = TextTable("t", "T", ["", "arm <b>", "p"], lines)
    titles = (f"Table {number}", "Title & <i>", "Population: all")
    return Shell(number, table, titles, ("note <x>", "Program: p"), ("Study {X}", "DRAFT"), **changed)


def read(path):
    return [page.extract_text() for page in pypdf.PdfReader(path).pages]


def test_every_page_has_number_titles_and_heads_and_begins_with_a_variable(tmp_path):
    write_pdf([shell("14.1.1.1", [["a", "10.5", "< .001"]]), shell("14.2.1.1", LONG)], tmp_path / "t.pdf")
    pages = read(tmp_path / "t.pdf")
    assert len(pages) > 3
    for number, text in enumerate(pages, start=1):
        for words in ("Study {X}", "DRAFT", "Title & <i>", "arm <b>", f"Page {number} of {len(pages)}"):
            assert words in text
    assert "Table 14.1.1.1" in pages[0]
    assert "10.5" in pages[0]
    for text in pages[1:]:
        body = [line for line in text.splitlines() if line.startswith(("variable", "row"))]
        assert body[0].startswith("variable")
        assert "Table 14.2.1.1" in text
    rows = [line for text in pages[1:] for line in text.splitlines() if line.startswith("row")]
    assert len(rows) == 75
    assert "note <x>" in pages[-1]


def test_each_table_has_a_bookmark(tmp_path):
    write_pdf([shell("14.1.1.1", LONG), shell("14.2.1.1", LONG)], tmp_path / "t.pdf")
    outline = pypdf.PdfReader(tmp_path / "t.pdf").outline
    assert [entry.title for entry in outline] == ["Table 14.1.1.1  Title & <i>", "Table 14.2.1.1  Title & <i>"]


def test_a_variable_longer_than_a_page_is_all_there(tmp_path):
    lines = [["only"], *([f"row {k}", "1", "2"] for k in range(150))]
    write_pdf([shell("14.1.1.1", lines)], tmp_path / "t.pdf")
    rows = [line for text in read(tmp_path / "t.pdf") for line in text.splitlines() if line.startswith("row")]
    assert len(rows) == 150


def test_the_same_tables_give_the_same_bytes(tmp_path):
    for name in "ab":
        write_pdf([shell("14.1.1.1", LONG)], tmp_path / f"{name}.pdf")
    assert (tmp_path / "a.pdf").read_bytes() == (tmp_path / "b.pdf").read_bytes()
