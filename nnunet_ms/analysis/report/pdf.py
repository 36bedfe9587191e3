"""All tables of a report in one PDF with bookmarks, for whoever prints or signs them. Needs reportlab, the extra `pdf`.

reportlab lays out pages; titles stand on each page of a table, and no page begins inside a variable.
"""

import importlib.util
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

from nnunet_ms.analysis.report.shells import Shell
from nnunet_ms.outputs import whole_file

MARGIN_MM, SIZE_PT = 18, 8
FIRST_WIDTH = 1.6  # of the column of labels, in widths of the others
_PAGE_PARTS = 2  # that begin a new page
LINES = 30  # of a variable that is not broken over pages; a longer one would not fit on one


def available() -> bool:
    """Say whether the extra is installed."""
    return importlib.util.find_spec("reportlab") is not None


def write_pdf(shells: Sequence[Shell], path: Path) -> None:
    """Write all tables into one file, complete or absent; the same tables give the same bytes.

    Parameters
    ----------
    shells : sequence of Shell
        In the order of their numbers; at least one.
    path : Path
        The file.
    """
    from reportlab.lib.pagesizes import A4, landscape

    with whole_file(path) as partial:
        document = _document(partial, landscape(A4), shells)
        width = landscape(A4)[0] - 2 * MARGIN_MM * _mm()
        parts = [part for shell in shells for part in _parts(shell, width)]
        document.build(parts[_PAGE_PARTS:], canvasmaker=_numbered_canvas())  # the first table has a page already


def _document(path: Path, size: tuple[float, float], shells: Sequence[Shell]) -> Any:
    """A page template per table: its titles stand on each of its pages."""
    from reportlab.platypus import BaseDocTemplate, Frame, PageTemplate

    _register_font()
    margin, mm = MARGIN_MM * _mm(), _mm()
    document = BaseDocTemplate(str(path), pagesize=size, title=shells[0].header[-1], invariant=1)
    for shell in shells:
        above = 4.2 * mm * (len(shell.header) + len(shell.titles))
        frame = Frame(margin, margin, size[0] - 2 * margin, size[1] - 2 * margin - above, 0, 0, 0, 0)
        document.addPageTemplates(PageTemplate(shell.number, [frame], onPage=_drawn(shell, size)))
    return document


def _drawn(shell: Shell, size: tuple[float, float]) -> Any:
    """Draw the header and the titles of a page, and mark the first of a table in the list of bookmarks."""

    def draw(canvas: Any, _: Any) -> None:
        canvas.setFont("DejaVuSans", SIZE_PT)
        for place, line in enumerate((*shell.header, *shell.titles)):
            canvas.drawString(MARGIN_MM * _mm(), size[1] - MARGIN_MM * _mm() - 4 * _mm() * place, line)
        if shell.number not in marked:
            marked.add(shell.number)
            canvas.bookmarkPage(shell.number)
            canvas.addOutlineEntry(f"{shell.titles[0]}  {shell.titles[1]}", shell.number)

    marked: set[str] = set()
    return draw


def _parts(shell: Shell, width: float) -> Iterator[Any]:
    from reportlab.lib import colors
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.platypus import NextPageTemplate, PageBreak, Paragraph, Spacer
    from reportlab.platypus.tables import LongTable, TableStyle

    style = ParagraphStyle("cell", fontName="DejaVuSans", fontSize=SIZE_PT, leading=1.25 * SIZE_PT)
    columns = len(shell.table.head)
    lines = [shell.table.head, *([*line, *[""] * (columns - len(line))] for line in shell.table.lines)]
    commands: list[tuple[Any, ...]] = [
        ("LINEABOVE", (0, 0), (-1, 0), 0.8, colors.black),
        ("LINEBELOW", (0, 0), (-1, 0), 0.5, colors.black),
        ("LINEBELOW", (0, -1), (-1, -1), 0.8, colors.black),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("TOPPADDING", (0, 0), (-1, -1), 1.5),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 1.5),
        *(("SPAN", (0, i), (-1, i)) for i, line in enumerate(shell.table.lines, start=1) if len(line) == 1),
        *(("NOSPLIT", (0, a + 1), (0, b + 1)) for a, b in shell.groups if b - a < LINES),
    ]
    first = width * FIRST_WIDTH / (columns - 1 + FIRST_WIDTH)
    widths = [first, *[(width - first) / max(1, columns - 1)] * (columns - 1)]
    cells = [[Paragraph(_marked_up(cell), style) for cell in line] for line in lines]
    yield NextPageTemplate(shell.number)
    yield PageBreak()
    yield LongTable(cells, widths, repeatRows=1, style=TableStyle(commands))
    yield Spacer(1, SIZE_PT)
    for note in shell.footnotes:
        yield Paragraph(escape(note), style)


def _marked_up(text: str) -> str:
    """Text as reportlab takes it: it drops figure spaces, and in DejaVu Sans two that do not break are as wide."""
    return escape(text).replace("\n", "<br/>").replace("\N{FIGURE SPACE}", 2 * "\N{NO-BREAK SPACE}")


def _numbered_canvas() -> Any:
    """A canvas that writes "Page x of y": y is known when all pages are there."""
    from reportlab.pdfgen.canvas import Canvas

    class Numbered(Canvas):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.pages: list[dict[str, Any]] = []

        def showPage(self) -> None:  # noqa: N802 - reportlab's name
            self.pages.append(dict(self.__dict__))
            self._startPage()

        def save(self) -> None:
            for number, page in enumerate(self.pages, start=1):
                self.__dict__.update(page)
                self.setFont("DejaVuSans", SIZE_PT)
                right = self._pagesize[0] - MARGIN_MM * _mm()
                self.drawRightString(right, 0.6 * MARGIN_MM * _mm(), f"Page {number} of {len(self.pages)}")
                super().showPage()
            super().save()

    return Numbered


def _register_font() -> None:
    """Register the font that matplotlib ships: those that every PDF reader has lack ≥ and the figure space."""
    import matplotlib as mpl
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont

    if "DejaVuSans" not in pdfmetrics.getRegisteredFontNames():
        pdfmetrics.registerFont(
            TTFont("DejaVuSans", str(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"))
        )


def _mm() -> float:
    from reportlab.lib.units import mm

    return float(mm)
