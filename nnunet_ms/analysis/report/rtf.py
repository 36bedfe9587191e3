"""Tables as RTF, for the documents that trial statisticians and regulators exchange. Needs the extra `rtf` (rtflite).

rtflite lays out pages, borders and widths. It does not escape text, so that a brace in an arm's name would end the
document: every text is escaped here, to plain ASCII, and rtflite's own conversion is off.
"""

import importlib.util
import math
import warnings
from collections.abc import Sequence
from pathlib import Path

from nnunet_ms.analysis.report.shells import Shell
from nnunet_ms.outputs import whole_file

FIRST_WIDTH = 1.6  # of the column of labels, in widths of the others
WIDE = 5  # columns from which a page lies across
_A4 = (8.27, 11.69)  # inches
_MARGINS = [0.8, 0.8, 1.7, 0.7, 0.5, 0.4]  # left, right, above the table, below it, above the header, below the footer
_LINE, _LETTER = 0.185, 0.075  # inches, of 9 pt: higher and wider than nearly all, so that what is reckoned fits
_FIELD = r"{{\field{{\*\fldinst{{\fs18 {0} }}}}{{\fldrslt{{\fs18 1}}}}}}"
PAGE = f"Page {_FIELD.format('PAGE')} of {_FIELD.format('NUMPAGES')}"
_ALL_ROWS = 10**7  # on one page, as far as rtflite is concerned: it would break it inside a variable
# of rtflite's output: what a row begins with, and a paragraph; text of ours never holds a line end before a backslash
_ROW, _PARAGRAPH = "\n\\trowd\\trgaph", "\n\\pard\\hyphpar"
_BREAK = "\n{\\pard\\fs2\\par}\\page{\\pard\\fs2\\par}"  # paragraphs that nobody sees part the tables of two pages
_PLACEHOLDER = "cell{}of"  # in the row that a listing repeats


def available() -> bool:
    """Say whether the extra is installed."""
    return importlib.util.find_spec("rtflite") is not None


def write_rtf(shell: Shell, path: Path) -> None:
    """Write one table or listing as RTF: titles and column heads on every page, no page that begins inside a variable.

    Parameters
    ----------
    shell : Shell
        Its table has at least one line; a line with one cell becomes a heading within the table.
    path : Path
        The file, complete or absent.
    """
    start, head, *rows, foot = _document(shell, shell.table.lines).split(_ROW)
    kept = {row for first, last in shell.groups for row in range(first, last)}  # on the page of the next row
    rows = [row.replace(_PARAGRAPH, "\n\\pard\\keepn\\hyphpar") if i in kept else row for i, row in enumerate(rows)]
    _write(path, shell, start, head, rows, foot)


def write_rtf_listing(shell: Shell, path: Path) -> None:
    """As `write_rtf`, for tables of thousands of plain rows: rtflite lays out one of them, and all look like it."""
    columns = len(shell.table.head)
    places = [_PLACEHOLDER.format(i) for i in range(columns)]
    start, head, row, foot = _document(shell, [places]).split(_ROW)
    form = row.replace("{", "{{").replace("}", "}}")
    for i, place in enumerate(places):
        form = form.replace(place, f"{{{i}}}")
    _write(path, shell, start, head, [form.format(*map(escape, line)) for line in shell.table.lines], foot)


def _write(path: Path, shell: Shell, start: str, head: str, rows: Sequence[str], foot: str) -> None:
    """Put the pages together, each with the column heads: not every reader repeats them by itself."""
    pages = ["".join(f"{_ROW}{row}" for row in (head, *rows[first:last])) for first, last in _pages(shell)]
    with whole_file(path) as partial:
        partial.write_text(start + _BREAK.join(pages) + _ROW + foot, encoding="ascii", newline="\n")


def _pages(shell: Shell) -> list[tuple[int, int]]:
    """Rows of each page, from and to: as many variables as fit; one that is longer than a page goes over the next."""
    lines, wide = shell.table.lines, len(shell.table.head) >= WIDE
    width, height = _A4[::-1] if wide else _A4
    letters = (width - sum(_MARGINS[:2])) / (len(shell.table.head) - 1 + FIRST_WIDTH) / _LETTER
    room = int((height - sum(_MARGINS[2:4])) / _LINE) - _lines(shell.table.head, letters)
    starts = {first for first, _ in shell.groups} or set(range(len(lines)))
    pages, first, used, fits = [], 0, 0, 0
    for i, line in enumerate(lines):
        if i in starts:
            fits = i
        used += _lines(line, letters)
        if used > room:
            cut = fits if fits > first else i
            pages.append((first, cut))
            first, used = cut, sum(_lines(one, letters) for one in lines[cut : i + 1])
    return [*pages, (first, len(lines))]


def _lines(cells: Sequence[str], letters: float) -> int:
    """Lines of text in the highest cell of a row; a heading within a table has only one cell, the first column's."""
    widths = [letters * FIRST_WIDTH, *[letters] * (len(cells) - 1)]
    return max(max(1, math.ceil(len(cell) / width)) for cell, width in zip(cells, widths, strict=True))


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


def _document(shell: Shell, lines: Sequence[Sequence[str]]) -> str:
    # imported here: rtflite brings polars, and only this file needs them
    import polars
    import rtflite

    columns = len(shell.table.head)
    paper = _A4[::-1] if columns >= WIDE else _A4
    widths = [FIRST_WIDTH, *[1.0] * (columns - 1)]
    rows = [[*map(escape, line), *[""] * (columns - len(line))] for line in lines]
    frame = polars.DataFrame({f"c{i}": [row[i] for row in rows] for i in range(columns)})
    header = [*map(escape, shell.header), PAGE, *map(escape, shell.titles)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of rtflite's own dependencies
        document = rtflite.RTFDocument(
            df=frame,
            rtf_page=rtflite.RTFPage(
                orientation="landscape" if columns >= WIDE else "portrait", width=paper[0], height=paper[1],
                nrow=_ALL_ROWS, margin=_MARGINS, col_width=paper[0] - sum(_MARGINS[:2]),
            ),
            rtf_page_header=rtflite.RTFPageHeader(
                text=header, text_convert=[False], text_justification=["l"], text_font_size=[9],
            ),
            rtf_column_header=[
                rtflite.RTFColumnHeader(
                    text=[*map(escape, shell.table.head)], col_rel_width=widths, text_convert=[[False]],
                    text_justification=["l"],
                )
            ],
            rtf_body=rtflite.RTFBody(
                col_rel_width=widths, text_justification=[["l"]], text_convert=[[False]],
                text_format=_formats(lines, columns),
            ),
            rtf_footnote=rtflite.RTFFootnote(text=[*map(escape, shell.footnotes)], text_convert=[[False]]),
        )  # fmt: skip
        return str(document.rtf_encode())


def _formats(lines: Sequence[Sequence[str]], columns: int) -> list[Sequence[str]]:
    """Headings within the table are bold."""
    return [["b" if len(line) == 1 and columns > 1 else ""] * columns for line in lines]
