"""The tables and listings of a report as files: CSV; RTF with the extra `rtf`; all tables in one PDF with `pdf`."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from nnunet_ms.analysis.endpoints.estimands import estimand_table
from nnunet_ms.analysis.report import pdf, rtf
from nnunet_ms.analysis.report.parts import Block
from nnunet_ms.analysis.report.shells import Around, Shell, listing_shell, number_listings, table_shells
from nnunet_ms.analysis.trial.data import TrialData
from nnunet_ms.progress import Progress, unseen
from nnunet_ms.tables import write_table
from nnunet_ms.versions import OWN, version_of

PDF = "tables.pdf"
TITLES = {
    "patients": "Patients: arm and baseline",
    "exclusions": "Patients and visits left out, with reasons",
    "populations": "Patients outside a population",
    "rater_pairs": "Volumes and counts of each rater and visit",
    "t2_volume_percent_change": "T2 lesion volume and its change by visit",
    "zero_volumes": "Volumes of 0 ml",
    "visit_windows": "Scans that are not at their planned week",
    "prl_counts": "Rim lesions of each patient at baseline",
    "timed_tests": "Timed tests that lack some of their trials",
    "adam_variables": "Variables of ADaM, and the columns that were read from them",
}


def write_documents(
    trial: TrialData,
    blocks: Sequence[Block],
    listings: Mapping[str, pd.DataFrame],
    program: str,
    folder: Path,
    progress: Progress = unseen,
) -> None:
    """Write every table and listing in each format that is installed, and the list of their numbers.

    Parameters
    ----------
    trial : TrialData
        Its settings say what stands on every page.
    blocks : sequence of Block
        As shown on the page.
    listings : mapping
        By the name of the file in `audit`; those without rows are only CSV.
    program : str
        Name of the command; with its version and the day it stands under every table.
    folder : Path
        Of the result: `tables` and `audit` are filled.
    progress : Progress, optional
        Shows which document is written.
    """
    settings = trial.settings
    words = f"Program: {program} {version_of(OWN)}, {datetime.now(UTC).date().isoformat()}"
    around = Around(settings.name, words, settings.simulated, settings.report)
    full = {name: frame for name, frame in listings.items() if len(frame)}
    numbers = number_listings(list(full))
    shells = table_shells(blocks, numbers, around)
    for name, frame in listings.items():
        write_table(frame, folder / "audit" / f"{name}.csv")
    for block in blocks:
        for table in block.all_tables:
            write_table(table.frame(), folder / "tables" / f"{table.stem}.csv")
    listed = [listing_shell(name, _title(trial, name), numbers[name], full[name], around) for name in full]
    if rtf.available():
        for shell in progress(shells, "tables", lambda shell: shell.titles[1]):
            rtf.write_rtf(shell, folder / "tables" / f"{shell.table.stem}.rtf")
        for shell in progress(listed, "listings", lambda shell: shell.titles[1]):
            rtf.write_rtf_listing(shell, folder / "audit" / f"{shell.table.stem}.rtf")
    if pdf.available() and shells:
        pdf.write_pdf(sorted(shells, key=_by_number), folder / "tables" / PDF)
    write_table(_contents(shells, listed), folder / "contents.csv")
    write_table(estimand_table(b.estimand for b in blocks if b.estimand), folder / "estimands.csv")


def _title(trial: TrialData, name: str) -> str:
    return TITLES.get(name) or f"{trial.title(name)}: event or censoring of each patient"


def _by_number(shell: Shell) -> list[int]:
    return [int(part) for part in shell.number.split(".")]


def _contents(shells: Sequence[Shell], listed: Sequence[Shell]) -> pd.DataFrame:
    """Number, title and file of every table and listing."""
    rows = [
        (shell.number, shell.titles[1], f"{place}/{shell.table.stem}.csv")
        for place, those in (("tables", sorted(shells, key=_by_number)), ("audit", listed))
        for shell in those
    ]
    return pd.DataFrame(rows, columns=["number", "title", "file"])
