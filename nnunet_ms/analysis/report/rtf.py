"""Tables as RTF, for the documents that trial statisticians and regulators exchange. Needs the extra `rtf` (rtflite).

rtflite lays out pages, borders and widths. It does not escape text, so that a brace in an arm's name would end the
document: every text is escaped here, to plain ASCII, and rtflite's own conversion is off.
"""

import importlib.util
import warnings
from collections.abc import Sequence
from pathlib import Path

from nnunet_ms.analysis.report.parts import Block, TextTable
from nnunet_ms.outputs import whole_file

MARK = "SIMULATED DATA: no number was measured in a patient"
FIRST_WIDTH = 1.6  # of the column of labels, in widths of the others
WIDE = 5  # columns from which a page lies across


def available() -> bool:
    """Say whether the extra is installed."""
    return importlib.util.find_spec("rtflite") is not None


def write_rtf(table: TextTable, block: Block, trial_name: str, simulated: bool, path: Path) -> None:
    """Write one table as RTF with title, footnotes and, if so, the mark of simulated data on every page.

    Parameters
    ----------
    table : TextTable
        With at least one line; a line with one cell becomes a heading within the table.
    block : Block
        The table's block: its title stands above, its population and its notes (method, convention) below.
    trial_name : str
        Stands in the title.
    simulated : bool
        Whether the mark stands in the page header.
    path : Path
        The file, complete or absent.
    """
    encoded = _document(table, block, trial_name, simulated)
    with whole_file(path) as partial:
        partial.write_text(encoded, encoding="ascii", newline="\n")


def escape(text: str) -> str:
    r"""Return text as RTF shows it literally: \, { and } escaped, everything beyond ASCII as \uN? (RTF 1.9.1)."""
    return "".join(_escaped(character) for character in text)


def _escaped(character: str) -> str:
    if character in "\\{}":
        return f"\\{character}"
    if character == "\n":
        return "\\line "
    if character < " ":
        return " "
    if character <= "~":
        return character
    units = character.encode("utf-16-le", "surrogatepass")  # signed 16-bit, two beyond the basic plane
    return "".join(f"\\u{int.from_bytes(units[i : i + 2], 'little', signed=True)}?" for i in range(0, len(units), 2))


def _document(table: TextTable, block: Block, trial_name: str, simulated: bool) -> str:
    # imported here: rtflite brings polars, and only this file needs them
    import polars
    import rtflite

    columns = len(table.head)
    widths = [FIRST_WIDTH, *[1.0] * (columns - 1)]
    rows = [[*map(escape, line), *[""] * (columns - len(line))] for line in table.lines]
    frame = polars.DataFrame({f"c{i}": [row[i] for row in rows] for i in range(columns)})
    justified = ["l", *["c"] * (columns - 1)]
    notes = [f"Population: {block.population}", *([table.note] if table.note else []), *block.notes]
    header = {"text": [escape(MARK)], "text_convert": [False]} if simulated else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of rtflite's own dependencies
        document = rtflite.RTFDocument(
            df=frame,
            rtf_page=rtflite.RTFPage(orientation="landscape" if columns >= WIDE else "portrait"),
            rtf_page_header=rtflite.RTFPageHeader(**header) if header else None,
            rtf_title=rtflite.RTFTitle(text=_titles(table, block, trial_name), text_convert=[False]),
            rtf_column_header=[
                rtflite.RTFColumnHeader(
                    text=[*map(escape, table.head)], col_rel_width=widths, text_justification=justified,
                    text_convert=[[False]],
                )
            ],
            rtf_body=rtflite.RTFBody(
                col_rel_width=widths, text_justification=[justified], text_convert=[[False]],
                text_format=_formats(table, columns),
            ),
            rtf_footnote=rtflite.RTFFootnote(text=[*map(escape, notes)], text_convert=[[False]]),
        )  # fmt: skip
        return str(document.rtf_encode())


def _titles(table: TextTable, block: Block, trial_name: str) -> list[str]:
    return [escape(table.title), escape(f"{trial_name}: {block.title}")]


def _formats(table: TextTable, columns: int) -> list[Sequence[str]]:
    """Headings within the table are bold."""
    return [["b" if len(line) == 1 else ""] * columns for line in table.lines]
