"""What a block of the report is made of: tables of text, and lines with one cell per rater."""

from dataclasses import dataclass, field
from itertools import count

import numpy as np
import pandas as pd

from nnunet_ms.analysis.endpoints.estimands import Estimand
from nnunet_ms.analysis.endpoints.statistic_rows import value_of
from nnunet_ms.analysis.report.wording import number
from nnunet_ms.analysis.trial.data import TrialData

TRUTH, PUBLISHED_COLUMN = "simulated truth", "published"


@dataclass(frozen=True)
class TextTable:
    """A table as shown: `lines` are rows of text under `head`; a row with one cell is a heading within the table.

    `note` stands under it: method and convention in a line.
    """

    stem: str
    title: str
    head: list[str]
    lines: list[list[str]]
    note: str = ""

    def frame(self) -> pd.DataFrame:
        """Return the table with its inner headings as a first column "part", for CSV."""
        part, rows = "", []
        for line in self.lines:
            if len(line) == 1:
                part = line[0]
            else:
                rows.append([part, *line])
        # names of arms and raters come from the data, and a heading must not run as a formula either
        head = [f"'{name}" if name.startswith(("=", "+", "-", "@")) else name for name in self.head]
        return pd.DataFrame(rows, columns=_told_apart(["part", *head]))


def _told_apart(names: list[str]) -> list[str]:
    """Names of columns of which none stands twice, whatever arms and trials are called."""
    found: list[str] = []
    for name in names:
        again = (f"{name} ({i})" for i in count(2))
        found.append(name if name not in found else next(other for other in again if other not in found))
    return found


@dataclass(frozen=True)
class Block:
    """One section of the report.

    `question`: in a sentence; `estimand`: of an effect of arm, what exactly is estimated. `main`: the main estimate,
    one line per contrast and rater. `tables`: of the main analysis. `beside`: sensitivity and supporting analyses.
    `figures`: file stems of drawings. `notes`: methods and conventions.
    """

    key: str
    title: str
    question: str
    population: str
    tables: list[TextTable]
    main: list[str] = field(default_factory=list)
    beside: list[TextTable] = field(default_factory=list)
    figures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    estimand: Estimand | None = None

    @property
    def all_tables(self) -> list[TextTable]:
        """Every table that has a line."""
        return [table for table in (*self.tables, *self.beside) if table.lines]


@dataclass(frozen=True)
class Line:
    """One estimate: its label, the cell of each rater, and what stands beside it."""

    label: str
    cells: list[str]
    truth: str = ""
    published: str = ""


def rater_table(
    trial: TrialData, stem: str, title: str, first: str, parts: dict[str, list[Line]], note: str = ""
) -> TextTable:
    """Return a table with one column per rater, then truth and published numbers where a line has them."""
    return column_table(stem, title, [first, *trial.raters], parts, note)


def column_table(stem: str, title: str, head: list[str], parts: dict[str, list[Line]], note: str = "") -> TextTable:
    """Return a table of lines with any columns, then truth and published numbers where a line has them."""
    lines = [line for part in parts.values() for line in part]
    truth, published = any(line.truth for line in lines), any(line.published for line in lines)
    columns = [*head, *[TRUTH] * truth, *[PUBLISHED_COLUMN] * published]
    rows: list[list[str]] = []
    for name, part in parts.items():
        rows += [[name]] * bool(name and part)
        rows += [[x.label, *x.cells, *[x.truth or "–"] * truth, *[x.published or "–"] * published] for x in part]
    return TextTable(stem, title, columns, rows, note)


def truth_cell(trial: TrialData, keys: dict[str, str], digits: int = 1, factor: float = 1.0) -> str:
    """Return the simulated truth with exactly these keys, or blank text; keys not named are blank, but for `visit`."""
    if trial.truth is None:
        return ""
    value = value_of(trial.truth, **{"arm": "", "contrast": "", "term": "", **keys})
    return "" if np.isnan(value) else number(factor * value, digits)
