"""Tables and listings as a study report numbers them (ICH E3, sections 14 and 16.2), with what stands around each."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

import pandas as pd

from nnunet_ms.analysis.report.parts import Block, TextTable
from nnunet_ms.analysis.trial.report_settings import ReportSettings

# section 14 of ICH E3: 14.1 demographic data, 14.2 efficacy
PATIENTS = ("disposition", "baseline")
DEMOGRAPHIC, EFFICACY, LISTINGS = "14.1", "14.2", "16.2"
MARK = "SIMULATED DATA: no number was measured in a patient"
_NUMBER = re.compile(r"^([−+-]?)(\d[\d,]*|(?=\.\d))")
_FIGURE_SPACE = "\N{FIGURE SPACE}"  # as wide as a digit


@dataclass(frozen=True)
class Shell:
    """A table with its number, and the lines above and below it on paper."""

    number: str
    table: TextTable
    titles: tuple[str, ...]
    footnotes: tuple[str, ...]
    header: tuple[str, ...]  # of the page; the page's number stands beside it

    @property
    def groups(self) -> list[tuple[int, int]]:
        """First and last row of each variable: an inner heading with the rows under it; pages break between them."""
        starts = [i for i, line in enumerate(self.table.lines) if len(line) == 1]
        if not starts:
            return []
        edges = [*starts, len(self.table.lines)]
        return [(start, end - 1) for start, end in pairwise(edges)]


@dataclass(frozen=True)
class Around:
    """What all documents of a report say: `program` with its version and the day of the run."""

    name: str
    program: str
    simulated: bool
    report: ReportSettings

    @property
    def header(self) -> tuple[str, ...]:
        """Lines of the page's header."""
        return (*([MARK] if self.simulated else []), ", ".join([self.report.title or self.name, *self.report.words()]))


def number_tables(blocks: Sequence[Block]) -> dict[str, str]:
    """The number of each table that has a line, by its stem: 14.1.1.1, 14.1.1.2 ... in the order of the blocks.

    Examples
    --------
    >>> lines = [["a", "1"]]
    >>> tables = [TextTable("flow", "Flow", ["", "n"], lines), TextTable("left_out", "Left out", ["", "n"], lines)]
    >>> number_tables([Block("disposition", "Patients", "", "", tables)])
    {'flow': '14.1.1.1', 'left_out': '14.1.1.2'}
    """
    numbers = {}
    for section, those in groupby(
        sorted(blocks, key=lambda block: block.key not in PATIENTS),
        key=lambda block: DEMOGRAPHIC if block.key in PATIENTS else EFFICACY,
    ):
        for place, block in enumerate(those, start=1):
            for number, table in enumerate(block.all_tables, start=1):
                numbers[table.stem] = f"{section}.{place}.{number}"
    return numbers


def table_shells(blocks: Sequence[Block], listings: Mapping[str, str], around: Around) -> list[Shell]:
    """Every table with its number and its lines.

    Parameters
    ----------
    blocks : sequence of Block
        As shown.
    listings : mapping
        Number of each listing by the name of its file, see `number_listings`.
    around : Around
        What all pages say.
    """
    numbers = number_tables(blocks)
    return [
        Shell(
            numbers[table.stem],
            replace(table, lines=aligned(table.lines)),
            (f"Table {numbers[table.stem]}", table.title, block.title, f"Population: {block.population}"),
            (*([table.note] if table.note else []), *block.notes, _source(block, listings), around.program),
            around.header,
        )
        for block in blocks
        for table in block.all_tables
    ]


def number_listings(names: Sequence[str]) -> dict[str, str]:
    """The number of each listing by patient, by the name of its file.

    Examples
    --------
    >>> number_listings(["patients", "cdp24"])
    {'patients': '16.2.1', 'cdp24': '16.2.2'}
    """
    return {name: f"{LISTINGS}.{place}" for place, name in enumerate(names, start=1)}


def listing_shell(name: str, title: str, number: str, frame: pd.DataFrame, around: Around) -> Shell:
    """A listing by patient; numbers as the CSV file has them, shortened to six digits, blanks where there is none."""
    columns = [frame[column].map(_text).tolist() for column in frame]
    table = TextTable(name, title, [str(column) for column in frame], [list(row) for row in zip(*columns, strict=True)])
    note = f"Numbers are shown to six digits; audit/{name}.csv has all."
    return Shell(number, table, (f"Listing {number}", title), (note, around.program), around.header)


def _text(value: object) -> str:
    if pd.isna(value):
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _source(block: Block, listings: Mapping[str, str]) -> str:
    """Where the numbers come from: the listings that the block's key names, and the long table."""
    key = f"_{block.key}_"  # whole words: cdp12 is no part of ccdp12
    named = [f"Listing {number}" for name, number in listings.items() if f"_{name}_" in key]
    if block.key in PATIENTS and "patients" in listings:
        named.append(f"Listing {listings['patients']}")
    return f"Source: {', '.join([*named, 'endpoints.csv'])}"


def aligned(lines: Sequence[Sequence[str]]) -> list[list[str]]:
    """Rows whose numbers stand with the decimal point below each other, by spaces as wide as a digit in front.

    Examples
    --------
    >>> [row[1].replace("\N{FIGURE SPACE}", "_") for row in aligned([["a", "10.5"], ["b", "0.96 (0.62 to 1.5)"]])]
    ['10.5', '_0.96 (0.62 to 1.5)']
    """
    width: dict[int, int] = {}
    for line in lines:
        for place, cell in enumerate(line[1:], start=1):
            if match := _NUMBER.match(cell):
                width[place] = max(width.get(place, 0), len(match.group()))
    return [[line[0], *(_padded(cell, width.get(i, 0)) for i, cell in enumerate(line[1:], start=1))] for line in lines]


def _padded(cell: str, width: int) -> str:
    match = _NUMBER.match(cell)
    return _FIGURE_SPACE * (width - len(match.group())) + cell if match else cell
