"""`[report]` of trial.toml: what the documents call the trial, and which blocks they show."""

import datetime
from dataclasses import dataclass
from typing import Literal, get_args

from nnunet_ms.analysis.trial.settings_section import Section

Status = Literal["draft", "final"]


@dataclass(frozen=True)
class ReportSettings:
    """What stands on every page of a report.

    Parameters
    ----------
    title : str
        Instead of the trial's name.
    study : str
        The study's number.
    data_cut : str
        Date of the last data, ISO 8601.
    status : {"draft", "final"} or blank
        Stands on every page.
    blocks : tuple of str
        Keys of the blocks that are shown, in this order; empty: all, in the order of ICH E3.
    km_bands : bool
        Whether Kaplan-Meier curves by arm have bands of their pointwise intervals.
    """

    title: str = ""
    study: str = ""
    data_cut: str = ""
    status: str = ""
    blocks: tuple[str, ...] = ()
    km_bands: bool = False

    def words(self) -> list[str]:
        """What stands on every page beside the title, blanks left out.

        Examples
        --------
        >>> ReportSettings(study="WA25046", data_cut="2015-07-24", status="draft").words()
        ['Study WA25046', 'Data cut 2015-07-24', 'DRAFT']
        """
        pairs = (("Study", self.study), ("Data cut", self.data_cut))
        return [*(f"{word} {text}" for word, text in pairs if text), *([self.status.upper()] if self.status else [])]


def report_settings(section: Section) -> ReportSettings:
    """Read the section; every key may be absent.

    Raises
    ------
    SettingsError
        If a value is of the wrong kind, or the date is no day.
    """
    cut = section.get("data_cut", "a date such as 2015-07-24", required=False)
    text = cut.isoformat() if isinstance(cut, datetime.date) else cut  # TOML has dates of its own
    section.check("data_cut", cut, "a date such as 2015-07-24", text is None or _is_day(text))
    bands = section.get("km_bands", "true or false", required=False)
    section.check("km_bands", bands, "true or false", bands is None or isinstance(bands, bool))
    return ReportSettings(
        title=section.optional_text("title") or "",
        study=section.optional_text("study") or "",
        data_cut=str(text or ""),
        status=section.choice("status", get_args(Status)) or "",
        blocks=section.texts("blocks", ()),
        km_bands=bool(bands),
    )


def _is_day(text: object) -> bool:
    try:
        return isinstance(text, str) and datetime.date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
