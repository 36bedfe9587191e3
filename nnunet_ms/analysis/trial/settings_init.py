"""Write a commented `trial.toml` from the tables that there are; a person then checks it."""

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import pandas as pd

from nnunet_ms.analysis.trial import risk_strata
from nnunet_ms.analysis.trial.adam_files import read_adam
from nnunet_ms.analysis.trial.adam_guess import AdamGuess, guess_adam
from nnunet_ms.analysis.trial.adam_settings import AdamSettings, find_adam
from nnunet_ms.analysis.trial.adam_tables import NOT_RECORDED, adam_patients
from nnunet_ms.analysis.trial.data import SCREENED, age_group, edss_stratum
from nnunet_ms.analysis.trial.keys import week_list
from nnunet_ms.analysis.trial.populations import Population, inside
from nnunet_ms.analysis.trial.settings import CONVENTIONS, Preset, TablePaths
from nnunet_ms.analysis.trial.settings_text import POPULATION_NAMES, Proposal, around, settings_text
from nnunet_ms.analysis.trial.visit_windows import Window
from nnunet_ms.dates import DayOrder
from nnunet_ms.disability.confirmed_progression import OUTCOMES, TIMED_COLUMN, measures_of
from nnunet_ms.errors import SettingsError
from nnunet_ms.lesions.rims import prl_stratum
from nnunet_ms.options import chosen
from nnunet_ms.outputs import whole_file
from nnunet_ms.table_columns import check_spellings
from nnunet_ms.tables import ASSESSMENTS, DISABILITY_RISK, PATIENTS, PRL_COUNT, REFERENCE, VISITS, read_table

REFERENCE_ARM_NAMES = (
    "placebo", "control", "comparator", "sham", "vehicle", "standard of care", "untreated", "interferon", "ifn",
)  # fmt: skip
DEFAULT_LESION_TYPE = "t2_lesions"
STEPS_WEEKS, MOST_STEPS = (4, 12, 24, 48, 96), 8  # of a plan that no lesion table tells


@dataclass(frozen=True)
class Found:
    """The files of a trial, and the ADaM folder where there is one; then `tables.patients` is its ADSL."""

    tables: TablePaths
    adam: Path | None = None


def find_tables(
    folder: Path, named: dict[str, Path | None], visits: tuple[Path, ...], dates: DayOrder = "iso"
) -> Found:
    """Complete the files named on the command line by those of the usual names in `folder`.

    Raises
    ------
    SettingsError
        If there is no patient table; no visit table either, unless an ADaM folder may have clinical endpoints alone.
    """

    def usual(key: str, suffix: str = ".csv") -> Path | None:
        there = folder / f"{key}{suffix}"
        return named.get(key) or (there if there.is_file() else None)

    adam, usual_visits = named.get("adam"), folder / "visits.csv"
    if adam is not None and (named.get("patients") or named.get("assessments")):
        raise SettingsError(f"{adam}: --adam stands for --patients and --assessments. Name one or the other.")
    patients = usual("patients") if adam is None else find_adam(adam)[0]
    if not visits and usual_visits.is_file():
        visits = (usual_visits,)
    if patients is None or not (visits or adam):
        lacking = "patients" if patients is None else "visits"
        raise SettingsError(f"{folder}: expected {lacking}.csv, found none. Name the table with --{lacking} FILE.")
    tables = TablePaths(
        patients,
        visits,
        assessments=usual("assessments") if adam is None else None,
        relapses=usual("relapses"),
        agreement=usual("agreement"),
        size_bin_figure=named.get("size_bin_figure"),
        truth=usual("truth", ".json"),
        dates=dates,
    )
    return Found(tables, adam)


def write_settings(
    path: Path, found: Found, simulated: bool, conventions: Preset = "r", encoding: str | None = None
) -> None:
    """Write the settings file.

    Parameters
    ----------
    path : Path
        New; an existing file may hold a person's decisions and is never overwritten.
    found : Found
        From `find_tables`.
    simulated : bool
        Whether the report must say that data are simulated.
    conventions : {"r", "sas"}, optional
        The preset written into the file.
    encoding : str, optional
        Of the ADaM files, where they do not say it.

    Raises
    ------
    SettingsError
        If `path` exists, or the tables have no two arms or no follow-up.
    TableError
        If a table cannot be read.
    OptionError
        If there are no such conventions.
    """
    chosen(conventions, CONVENTIONS, "conventions")
    if path.exists():
        raise SettingsError(f"{path}: exists, and would be overwritten. Remove it, or name another file.")
    text = settings_text(path.parent, found.tables, found.adam, simulated, propose(found, encoding), conventions)
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def propose(found: Found, encoding: str | None = None) -> Proposal:
    """Read the tables and propose what the settings say; `encoding` as `write_settings` has it."""
    guess = guess_adam(found.adam, encoding) if found.adam else None
    patients, flags, population = _patients(found, guess)
    arms = sorted(patients["arm"].unique())
    if len(arms) < 2:
        raise SettingsError(
            f"{found.tables.patients}: expected two or more arms, found {arms}. A comparison needs two."
        )
    outcomes, further, source, reach = _outcomes(found, guess)
    groups = [name for name in ("sex", "region", "age_group", "edss_stratum") if _levels(patients, name) > 1]
    groups += ["prl_stratum"] if has_rim_strata(patients) else []
    groups += [risk_strata.STRATUM] if has_risk_strata(patients) else []
    part = Proposal(
        arms=arms, reference=_reference(arms), flags=flags, population=population, lesion_types=[], lesion_type="",
        weeks=_plan(reach), windows=[], zeros=0, raters=[], outcomes=outcomes, further=further, source=source,
        strata=[name for name in groups if name == "region"], subgroups=groups, adam=guess,
    )  # fmt: skip
    return _with_lesions(part, found.tables.visits) if found.tables.visits else part


def _with_lesions(part: Proposal, tables: tuple[Path, ...]) -> Proposal:
    visits = pd.concat([read_table(table, VISITS) for table in tables], ignore_index=True)
    lesion_types = sorted(visits["lesion_type"].unique())
    lesion_type = DEFAULT_LESION_TYPE if DEFAULT_LESION_TYPE in lesion_types else lesion_types[0]
    visits = visits[visits["lesion_type"] == lesion_type]
    weeks, windows = _visit_plan(visits)
    if visits["volume_ml"].isna().all() and "previous_week" in visits:  # change alone: the first scan has no row
        weeks = sorted({*weeks, *visits.loc[visits["previous_week"] < min(weeks), "previous_week"]})
    if len(weeks) < 2:
        raise SettingsError(
            f"{tables[0]}: expected a baseline and a later week, found {week_list(weeks)}. Fill in week."
        )
    raters = sorted(visits["rater"].unique(), key=lambda rater: (rater != REFERENCE, rater))
    zeros = int((visits["volume_ml"] <= 0).sum())
    if "prl_stratum" not in part.subgroups and has_rim_strata(visits):
        part = replace(part, subgroups=[*part.subgroups, "prl_stratum"])
    return replace(part, lesion_types=lesion_types, lesion_type=lesion_type, weeks=weeks, windows=windows, zeros=zeros,
                   raters=raters)  # fmt: skip


def _visit_plan(visits: pd.DataFrame) -> tuple[list[float], list[Window]]:
    """Return the planned weeks; with windows where scans of one visit were in different weeks.

    Such a visit's week is the median, as a whole number, and its window reaches half way to the visits beside it. Where
    visits overlap or do not follow each other so, every week of the table is one of the plan.
    """
    scans = visits.dropna(subset=["week"]).drop_duplicates(["patient_id", "visit", "week"])
    weeks = sorted(scans["week"].unique())
    by_visit = scans.groupby("visit")["week"]
    if len(weeks) <= by_visit.ngroups or by_visit.ngroups < 2:
        return weeks, []
    planned = sorted(by_visit.median().round())
    spans = sorted(zip(by_visit.min(), by_visit.max(), strict=True))
    apart = all(before[1] < after[0] for before, after in pairwise(spans))
    if not apart or len(set(planned)) < len(planned):
        return weeks, []
    windows = [Window(week, *map(float, around(planned, i).split(", "))) for i, week in enumerate(planned)]
    windows[0] = replace(windows[0], low=min(windows[0].low, math.floor(spans[0][0])))
    windows[-1] = replace(windows[-1], high=max(windows[-1].high, math.ceil(spans[-1][1])))
    return planned, windows


def _plan(reach: float) -> list[float]:
    """Return weeks to report survival at, up to the longest follow-up."""
    if not reach > 0:
        return [0.0, 24.0, 48.0, 96.0]
    step = next((s for s in STEPS_WEEKS if reach / s <= MOST_STEPS), STEPS_WEEKS[-1])
    return [0.0, *(float(week) for week in range(step, max(int(reach), step) + 1, step))]


def _patients(found: Found, guess: AdamGuess | None) -> tuple[pd.DataFrame, list[str], tuple[str, bool] | None]:
    """Return the patients analysed, all flags, and the flag of the population with whether somebody is outside."""
    path = found.tables.patients
    raw = read_table(path, SCREENED, found.tables.dates) if guess is None else _raw_adsl(path, guess.settings)
    flags = [str(name) for name in raw if set(raw[name].dropna().astype(str)) in ({"Y"}, {"N", "Y"})]
    flag = next((f for name in POPULATION_NAMES for f in flags if f.upper() == name), flags[0] if flags else "")
    whom = None
    if flag:
        outside = raw[flag] != "Y"
        # an own table without blanks holds patients, as it always did; ADSL holds everybody who was screened
        if outside.any() and flag.upper() in POPULATION_NAMES and (guess or raw.loc[outside, "arm"].isna().any()):
            whom = Population(POPULATION_NAMES[flag.upper()], flag, ("Y",))
    table = _read(path, guess, whom, found.tables.dates)
    known = table[inside(table, whom, str(path))]
    check_spellings(known["arm"].rename(guess.settings.treatment if guess else "arm"), path)
    return known, flags, (flag, whom is not None) if flag else None


def _raw_adsl(path: Path, settings: AdamSettings) -> pd.DataFrame:
    frame = read_adam(path, ["USUBJID"], encoding=settings.encoding)
    return frame.assign(arm=frame[settings.treatment])


def _read(path: Path, guess: AdamGuess | None, whom: Population | None, dates: DayOrder) -> pd.DataFrame:
    if guess is not None:
        return adam_patients(path, guess.settings, find_adam(guess.settings.folder)[1], whom)
    return read_table(path, PATIENTS if whom is None else SCREENED, dates)


def has_rim_strata(table: pd.DataFrame) -> bool:
    """Whether a table of patients or visits counts rim lesions, in more than one stratum."""
    counts = table[PRL_COUNT].dropna().astype(float) if PRL_COUNT in table else pd.Series(dtype=float)
    return len(set(counts.map(prl_stratum))) > 1


def has_risk_strata(patients: pd.DataFrame) -> bool:
    """Whether patients have predicted risks of disability on both sides of the usual threshold."""
    if DISABILITY_RISK not in patients:
        return False
    risks = patients[DISABILITY_RISK].dropna().astype(float)
    return len(set(risks.map(risk_strata.risk_stratum))) > 1


def _levels(patients: pd.DataFrame, name: str) -> int:
    """Return how many groups a stratum or subgroup makes; blanks and what is not recorded are none."""
    column, group = {"age_group": ("age_years", age_group), "edss_stratum": ("edss_baseline", edss_stratum)}.get(
        name, (name, str)
    )
    values = patients[column].dropna()
    return values[values != NOT_RECORDED].map(group).nunique()


def _reference(arms: list[str]) -> tuple[str, bool]:
    known = [arm for name in REFERENCE_ARM_NAMES for arm in arms if name in arm.lower()]
    return (known[0], True) if known else (arms[0], False)


def _outcomes(found: Found, guess: AdamGuess | None) -> tuple[list[str], list[str], str, float]:
    """Return the outcomes proposed, all that the tables have, their source, and the longest follow-up in weeks."""
    if guess is not None:
        derivable = _derivable(set(guess.measures))
        if "cdp24" in derivable or not guess.codes:
            return ["cdp24"], derivable or list(OUTCOMES), "derive", guess.follow_up_weeks
        names = list(guess.codes)
        return names[:1] if len(names) > 3 else names, names, "adtte", guess.follow_up_weeks
    if found.tables.assessments is None:
        return ["cdp24"], list(OUTCOMES), "derive", float("nan")
    table = read_table(found.tables.assessments, ASSESSMENTS, found.tables.dates)
    columns = {"edss": "edss", **{measure: names[0] for measure, names in TIMED_COLUMN.items()}}
    measured = {m for m, column in columns.items() if column in table and table[column].notna().any()}
    reach = float(table["week"].max()) if "week" in table else float("nan")
    derivable = _derivable(measured)
    # what needs more weeks to be confirmed than anybody was followed for cannot happen
    fits = [name for name in derivable if not reach < OUTCOMES[name].confirmation_weeks]
    return [next((n for n in ("cdp24", *fits) if n in fits), "cdp24")], fits or list(OUTCOMES), "derive", reach


def _derivable(measured: set[str]) -> list[str]:
    return [name for name, outcome in OUTCOMES.items() if set(measures_of(outcome)) <= measured]
