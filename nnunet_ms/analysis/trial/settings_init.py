"""Write a commented `trial.toml` from the tables that there are; a person then checks it."""

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from nnunet_ms.analysis.trial.adam_settings import AdamSettings, find_adam
from nnunet_ms.analysis.trial.adam_tables import adam_patients
from nnunet_ms.analysis.trial.keys import week_list
from nnunet_ms.analysis.trial.outcomes import OUTCOMES, PRESETS
from nnunet_ms.analysis.trial.published import PUBLISHED
from nnunet_ms.analysis.trial.settings import CONVENTIONS, ZERO_VOLUME, Preset, TablePaths
from nnunet_ms.errors import SettingsError
from nnunet_ms.options import chosen
from nnunet_ms.outputs import whole_file
from nnunet_ms.tables import PATIENTS, REFERENCE, VISITS, read_table

REFERENCE_ARM_NAMES = ("placebo", "control", "comparator", "interferon", "ifn")
OPTIONAL_TABLES = ("assessments", "relapses", "agreement", "size_bin_figure", "truth")
DEFAULT_LESION_TYPE = "t2_lesions"


@dataclass(frozen=True)
class Found:
    """The files of a trial, and the ADaM folder where there is one; then `tables.patients` is its ADSL."""

    tables: TablePaths
    adam: Path | None = None


def find_tables(folder: Path, named: dict[str, Path | None], visits: tuple[Path, ...]) -> Found:
    """Complete the files named on the command line by those of the usual names in `folder`.

    Raises
    ------
    SettingsError
        If there is no patient table or no visit table.
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
    if patients is None or not visits:
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
    )
    return Found(tables, adam)


def write_settings(path: Path, found: Found, simulated: bool, conventions: Preset = "r") -> None:
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
    arms = sorted(_patients(found)["arm"].unique())
    if len(arms) < 2:
        raise SettingsError(
            f"{found.tables.patients}: expected two or more arms, found {arms}. A comparison needs two."
        )
    visits = pd.concat([read_table(table, VISITS) for table in found.tables.visits], ignore_index=True)
    lesion_types = sorted(visits["lesion_type"].unique())
    lesion_type = DEFAULT_LESION_TYPE if DEFAULT_LESION_TYPE in lesion_types else lesion_types[0]
    visits = visits[visits["lesion_type"] == lesion_type]
    weeks = sorted(visits["week"].dropna().unique())
    if len(weeks) < 2:
        raise SettingsError(
            f"{found.tables.visits[0]}: expected a baseline and a later week, found {week_list(weeks)}. Fill in week."
        )
    raters = sorted(visits["rater"].unique(), key=lambda rater: (rater != REFERENCE, rater))
    data = _Data(arms, lesion_type, lesion_types, weeks, int((visits["volume_ml"] <= 0).sum()), raters, _flags(found))
    text = _text(path.parent, found, simulated, data, conventions)
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


@dataclass(frozen=True)
class _Data:
    """What the tables hold: `zeros` is the number of volumes of 0 ml, `flags` the columns that may mark populations."""

    arms: list[str]
    lesion_type: str
    lesion_types: list[str]
    weeks: list[float]
    zeros: int
    raters: list[str]
    flags: list[str]


def _patients(found: Found) -> pd.DataFrame:
    if found.adam is None:
        return read_table(found.tables.patients, PATIENTS)
    return adam_patients(found.tables.patients, AdamSettings(found.adam), find_adam(found.adam)[1])


def _flags(found: Found) -> list[str]:
    """Return columns of the patient table that hold nothing but Y and N, as ADaM's population flags do."""
    table = _patients(found)
    return [str(name) for name in table if set(table[name].dropna().astype(str)) in ({"Y"}, {"N", "Y"})]


def _reference(arms: list[str]) -> str:
    known = [arm for name in REFERENCE_ARM_NAMES for arm in arms if name in arm.lower()]
    return known[0] if known else arms[0]


def _quoted(value: object) -> str:
    # a TOML basic string escapes as JSON does, and TOML wants DEL escaped too
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")


def _file(path: Path, folder: Path) -> str:
    """Return a path as the settings name it: relative to their folder where that needs no "..", else absolute."""
    full, base = path.resolve(), folder.resolve()
    return _quoted(full.relative_to(base).as_posix() if full.is_relative_to(base) else full.as_posix())


def _text(folder: Path, found: Found, simulated: bool, data: _Data, conventions: str) -> str:
    lines = [
        *_trial_lines(folder, simulated),
        *_table_lines(found, folder),
        *_arm_lines(data),
        *_population_lines(data),
        *_lesion_lines(data),
        *_visit_lines(data.weeks),
        *_choice_lines(conventions),
    ]
    return "\n".join(lines) + "\n"


def _trial_lines(folder: Path, simulated: bool) -> list[str]:
    return [
        "# Settings of one trial for nnunet-ms-endpoints. Written from the tables; check every line.",
        "",
        "[trial]",
        f"name = {_quoted(folder.resolve().name or 'trial')}",
        f"simulated = {str(simulated).lower()}  # true: the report says everywhere that no patient is real",
        f'# preset = "oratorio"  # shows published numbers beside yours; one of: {", ".join(PUBLISHED)}',
        "",
    ]


def _table_lines(found: Found, folder: Path) -> list[str]:
    visits = [_file(path, folder) for path in found.tables.visits]
    optional = {key: getattr(found.tables, key) for key in OPTIONAL_TABLES}
    return [
        "[tables]  # paths are relative to this file",
        *([] if found.adam else [f"patients = {_file(found.tables.patients, folder)}"]),
        f"visits = {visits[0] if len(visits) == 1 else '[' + ', '.join(visits) + ']'}",
        *(f"{key} = {_file(path, folder)}" if path else f"# {key} = ..." for key, path in optional.items()),
        "",
        *_adam_lines(found, folder),
        "",
    ]


def _arm_lines(data: _Data) -> list[str]:
    reference = _reference(data.arms)
    compared = [arm for arm in data.arms if arm != reference]
    return [
        "[arms]",
        f"reference = {_quoted(reference)}  # differences are compared arm minus this arm",
        f"compared = [{', '.join(_quoted(arm) for arm in compared)}]",
        "",
    ]


def _population_lines(data: _Data) -> list[str]:
    flag = data.flags[0] if data.flags else "ITTFL"
    return [
        "[populations]  # whom the analyses are about; nothing here: every patient of the table",
        '# main = "itt"  # the report',
        '# beside = ["per_protocol"]  # main results repeated, as a sensitivity analysis',
        "# [populations.itt]",
        f"# column = {_quoted(flag)}  # flags in the data: {', '.join(map(_quoted, data.flags)) or 'none'}",
        '# values = ["Y"]',
        "",
    ]


def _lesion_lines(data: _Data) -> list[str]:
    return [
        "[lesions]",
        f"type = {_quoted(data.lesion_type)}  # in the data: {', '.join(map(_quoted, data.lesion_types))}",
        f"# raters = [{', '.join(map(_quoted, data.raters))}]  # which to analyse; all of these if not said",
        f"# Before a logarithm, volumes of 0 ml ({data.zeros} in the data): add half the smallest positive volume of",
        "# the rater to all volumes, set only the zeros to it, or leave them out. One of:",
        f"# {', '.join(ZERO_VOLUME)}",
        f"zero_volume = {_quoted(ZERO_VOLUME[0])}",
        "",
    ]


def _visit_lines(weeks: list[float]) -> list[str]:
    return [
        "[visits]  # weeks after randomisation",
        f"baseline_week = {weeks[0]:g}",
        f"weeks = [{', '.join(f'{week:g}' for week in weeks[1:])}]",
        "# [visits.windows]  # weeks that count as a week of the plan; of two scans in one window the closer is taken",
        *(f'# "{week:g}" = [{_around(weeks, i)}]' for i, week in enumerate(weeks)),
        "",
    ]


def _choice_lines(conventions: str) -> list[str]:
    return [
        "[disability]",
        f'preset = "krishnan2023"  # what counts as progression; one of: {", ".join(PRESETS)}',
        f'outcomes = ["cdp24"]  # some of: {", ".join(OUTCOMES)}',
        '# source = "derive"  # from assessments; "adtte": times as ADTTE of the [adam] folder has them',
        "# relapse_onset_weeks = 0  # an assessment so soon after a relapse starts no progression",
        "# relapse_confirmation_weeks = 0  # ... confirms none",
        "",
        "[conventions]",
        f'preset = "{conventions}"  # one of: {", ".join(CONVENTIONS)}; single choices override it:',
        '# ties = "efron"  # or "breslow"',
        '# km_interval = "log"  # or "log-log", "plain"',
        '# ls_mean_weights = "equal"  # or "proportional"',
        '# nb_covariance = "expected"  # or "observed"',
        '# median_of_flat_step = "midpoint"  # or "first"',
        "",
        "[analysis]",
        'strata = ["region"]  # stratified tests, [] for none; also sex, age_group, edss_stratum, any column',
        'subgroups = ["sex", "region", "age_group", "edss_stratum"]',
        '# sequence = ["t2_volume_percent_change", "cdp24"]  # fixed-sequence test of these endpoints, in this order',
        "holm = false  # true: Holm's adjusted p values beside the others",
        "alpha = 0.05  # two-sided: of the tests in a sequence, and every interval covers 1 - alpha",
        "bootstrap_draws = 2000  # of the difference between raters' treatment effects; 0: left out",
        "seed = 20230313",
    ]


def _adam_lines(found: Found, folder: Path) -> list[str]:
    """Return the section of an ADaM folder, commented out where there is none."""
    usual = AdamSettings(folder)
    mark = "" if found.adam else "# "
    first = _file(found.adam, folder) if found.adam else '"adam"'
    codes = ", ".join(f'{name} = "{getattr(usual, name)}"' for name in ("edss", "t25fw", "nhpt"))
    return [
        f"{mark}[adam]  # instead of patients and assessments: ADSL, ADQS, ADTTE as .xpt, .sas7bdat or .csv",
        f"{mark}folder = {first}",
        f'# subject = "{usual.subject}"  # the variable of ADSL that the visits call patient_id',
        f'# treatment = "{usual.treatment}"',
        "# origin_day = 1  # of AVAL in ADTTE: 1 if it is ADT - STARTDT + 1; without it, as the dates say",
        f'# PARAMCD of ADQS: {codes}; of ADTTE, in [adam.paramcd]: cdp24 = "CDP24"',
    ]


def _around(weeks: list[float], i: int) -> str:
    """Return an example of a window: half way to the weeks beside it."""
    low = weeks[i] - (weeks[i] - weeks[i - 1]) / 2 + 0.5 if i else weeks[i] - 4
    high = weeks[i] + (weeks[i + 1] - weeks[i]) / 2 if i + 1 < len(weeks) else weeks[i] + 12
    return f"{low:g}, {high:g}"
