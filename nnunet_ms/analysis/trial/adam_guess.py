"""What an ADaM folder most likely calls things: proposals for [adam] of `trial.toml`, each with what it rests on.

Nothing here is used by a computation: the proposals are written into a settings file, which a person checks.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from nnunet_ms.analysis.trial.adam_files import days, numbers, read_adam
from nnunet_ms.analysis.trial.adam_settings import CODES, AdamSettings, find_adam, plain_outcome
from nnunet_ms.analysis.trial.adam_tables import (
    DAYS_PER_WEEK,
    adam_discontinued,
    discontinuation_variable,
    unit_in_weeks,
)
from nnunet_ms.errors import TableError

# in the order of preference; the first that is there and not blank throughout
ADSL_CANDIDATES = {
    "subject": ("SUBJID", "USUBJID"),
    "treatment": ("TRT01P", "TRTP", "ARM", "ACTARM", "TRT01A"),
    "age": ("AGE", "AGEY"),
    "sex": ("SEX",),
    "region": ("REGION1", "REGION", "GEOREG", "GEOREG1", "COUNTRY"),
    "edss_baseline": ("EDSSBL", "BEDSS", "BLEDSS", "EDSSB", "EDSSBASE"),
    "randomisation": ("RANDDT", "RANDDTC", "TRTSDT", "RFSTDTC", "RFSTDT"),
    "last_treatment": ("TRTEDT", "TRTENDT", "RFXENDTC"),
    "prl_count": ("PRLBL", "PRLCNTBL", "PRLNBL", "NPRLBL", "BPRL", "PRLBASE", "PRLCNT", "NPRL", "RIMBL", "PRL_COUNT"),
}
# codes and words of the measures in ADQS; a code that is exactly the first is taken before all others
ADQS_CODES = {
    "edss": ("EDSS", r"EDSS", r"EXPANDED DISABILITY"),
    "t25fw": ("T25FW", r"T25|25FW|TW25|WALK25", r"25.{0,3}F(?:OO|EE)?T"),
    "nhpt": ("NHPT", r"NHPT|9HPT|HPT9|PEG", r"\bPEG\b"),
}


@dataclass(frozen=True)
class Line:
    """One key of [adam] with its value as TOML writes it, and why; not `active`: written as a comment."""

    key: str
    value: object
    why: str = ""
    active: bool = True


@dataclass(frozen=True)
class AdamGuess:
    """Proposals: `settings` reads the folder; `lines` are the keys of [adam] that differ from the usual ones.

    `codes`: PARAMCD of ADTTE by outcome, in the order of the data set; `follow_up_weeks`: the longest time in ADTTE or
    ADQS, NaN where none is known.
    """

    settings: AdamSettings
    lines: tuple[Line, ...] = ()
    codes: dict[str, str] = field(default_factory=dict)
    measures: tuple[str, ...] = ()
    follow_up_weeks: float = float("nan")


def guess_adam(folder: Path, encoding: str | None = None) -> AdamGuess:
    """Propose how a folder of ADaM data sets is read.

    Parameters
    ----------
    folder : Path
        Holds ADSL, and ADQS and ADTTE where the trial has them.
    encoding : str, optional
        Of the text, where the files do not say it.

    Raises
    ------
    TableError, SettingsError
        If a file cannot be read, or ADSL has no subject or treatment under any usual name.
    """
    adsl, adqs, adtte = find_adam(folder)
    usual = AdamSettings(folder, encoding=encoding)
    frame = read_adam(adsl, ["USUBJID"], encoding=encoding)
    lines = [Line("encoding", encoding)] if encoding else []
    lines += _adsl_lines(frame, adsl)
    settings = _with(usual, lines)
    measures: tuple[str, ...] = ()
    reach = [float("nan")]
    if adqs is not None:
        found = read_adam(adqs, ["USUBJID", "PARAMCD", "AVAL"], encoding=encoding)
        codes = list(_adqs_lines(found))
        lines += [line for line in codes if line.value != getattr(usual, line.key)]
        measures = tuple(line.key for line in codes)
        settings = _with(usual, lines)
        reach.append(_reach(found, frame, adqs, adsl, settings))
    lines += _baseline_lines(frame, settings, measures)
    settings = _with(usual, lines)
    lines += _discontinued_lines(frame, adsl, settings)
    outcomes: dict[str, str] = {}
    if adtte is not None:
        times = read_adam(adtte, ["USUBJID", "PARAMCD", "AVAL", "CNSR"], encoding=encoding)
        outcomes = _outcome_names(times["PARAMCD"].dropna().unique())
        unit = _unit_line(times, adtte)
        lines += [unit] if unit else []
        if unit is None or unit.active:
            reach.append(_longest(times, adtte, unit))
    return AdamGuess(_with(usual, lines), tuple(lines), outcomes, measures, float(np.fmax.reduce(reach)))


def _with(usual: AdamSettings, lines: Sequence[Line]) -> AdamSettings:
    values = {line.key: line.value or None for line in lines if line.active}
    return replace(usual, **values, named=frozenset(values))  # type: ignore[arg-type]  # keys of AdamSettings


def _there(frame: pd.DataFrame, names: Sequence[str]) -> str | None:
    return next((name for name in names if name in frame and frame[name].notna().any()), None)


def _adsl_lines(frame: pd.DataFrame, path: Path) -> Iterator[Line]:
    for key, names in ADSL_CANDIDATES.items():
        found = _there(frame, names)
        if found is None and key in ("subject", "treatment"):
            raise TableError(
                f"{path}: expected the {key} as one of {list(names)}, found {list(frame.columns)}. Write the settings "
                f'by hand: {key} = "..." in [adam].'
            )
        if found == names[0] or (key in ("edss_baseline", "prl_count") and found is None):
            continue
        yield Line(key, found or False, f"no {names[0]} in ADSL{_others(frame, key) if found is None else ''}")


def _others(frame: pd.DataFrame, key: str) -> str:
    """Name columns that may be meant."""
    like = {"region": r"REGION|SITEGR|COUNTRY|GEO", "age": r"^AGE", "sex": r"^SEX"}.get(key, r"$^")
    names = [str(name) for name in frame if re.search(like, str(name))]
    return f"; is it one of {', '.join(names)}?" if names else ""


def _baseline_lines(frame: pd.DataFrame, settings: AdamSettings, measures: Sequence[str]) -> list[Line]:
    """Say that there is no EDSS at baseline; with EDSS in ADQS its baseline records are read."""
    if settings.edss_baseline in frame or "edss" in measures:
        return []
    return [Line("edss_baseline", value=False, why="neither in ADSL nor in ADQS")]


def _adqs_lines(frame: pd.DataFrame) -> Iterator[Line]:
    columns = frame.reindex(columns=["PARAMCD", "PARAM"]).drop_duplicates().fillna("").astype(str)
    for key, (usual, code, words) in ADQS_CODES.items():
        if (columns["PARAMCD"] == usual).any():
            yield Line(key, usual)
            continue
        upper = columns["PARAMCD"].str.upper(), columns["PARAM"].str.upper()
        like = columns[upper[0].str.contains(code) | upper[1].str.contains(words)]
        if len(like):
            others = list(like["PARAMCD"].iloc[1:])
            yield Line(
                key, like["PARAMCD"].iloc[0], f"PARAMCD in ADQS; also like it: {', '.join(others)}" if others else ""
            )


def _discontinued_lines(frame: pd.DataFrame, path: Path, settings: AdamSettings) -> list[Line]:
    variable = discontinuation_variable(frame, settings)
    if variable is None:
        return []
    try:
        adam_discontinued(frame[frame[settings.treatment].notna()], path, settings)
    except TableError as error:
        return [
            Line("discontinued", value=False, why=f"{variable} cannot be read: {str(error).removeprefix(f'{path}: ')}")
        ]
    return [] if variable == "EOTSTT" else [Line("discontinued", variable, "no EOTSTT in ADSL")]


def _outcome_names(codes: Sequence[str]) -> dict[str, str]:
    """Give every PARAMCD of ADTTE the name of an outcome: ours where it is ours, else its own in small letters."""
    ours = {code: name for name, code in CODES.items()}
    found: dict[str, str] = {}
    for code in codes:
        own = re.sub(r"[^a-z0-9_]", "_", code.lower())
        name = ours.get(code.upper()) or (own if plain_outcome(own) else f"tte_{own}"[:32])
        found[name] = code
    return found


def _unit_line(frame: pd.DataFrame, path: Path) -> Line | None:
    """Say the unit of AVAL where AVALU does not: as the dates or the words of PARAM tell it; else leave it open."""
    if "AVALU" in frame and frame["AVALU"].dropna().map(unit_in_weeks).notna().all() and frame["AVALU"].notna().all():
        return None
    aval = numbers(frame, "AVAL", path)
    if {"ADT", "STARTDT"} <= set(frame):
        gap = days(frame, "ADT", path) - days(frame, "STARTDT", path)
        for plus, text in ((1, "ADT - STARTDT + 1"), (0, "ADT - STARTDT")):
            if len(frame) and ((aval - gap - plus).abs() < 1e-6).all():
                return Line("time_unit", "DAYS", f"AVAL is {text} in all {len(frame)} records of ADTTE")
    words = frame["PARAM"].dropna().astype(str).unique() if "PARAM" in frame else []
    units = {u for text in words for u in re.findall(r"\b(DAYS|WEEKS|MONTHS|YEARS)\b", text.upper())}
    if len(units) == 1:
        return Line("time_unit", units.pop(), "as PARAM of ADTTE says")
    return Line("time_unit", "DAYS", "nothing in ADTTE tells the unit of AVAL: say it", active=False)


def _longest(frame: pd.DataFrame, path: Path, unit: Line | None) -> float:
    factor = unit_in_weeks(str(unit.value)) if unit else frame["AVALU"].map(unit_in_weeks)
    return float((numbers(frame, "AVAL", path) * factor).max())


def _reach(frame: pd.DataFrame, adsl: pd.DataFrame, path: Path, adsl_path: Path, settings: AdamSettings) -> float:
    """Return the last week of an assessment."""
    if "ADY" in frame:
        return float(numbers(frame, "ADY", path).max() / DAYS_PER_WEEK)
    day0 = settings.randomisation
    if "ADT" not in frame or day0 not in adsl:
        return float("nan")
    start = days(adsl.set_index("USUBJID"), str(day0), adsl_path)
    return float((days(frame, "ADT", path) - frame["USUBJID"].map(start)).max() / DAYS_PER_WEEK)
