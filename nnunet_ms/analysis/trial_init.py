"""Write a commented `trial.toml` from the tables that there are; a person then checks it."""

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from nnunet_ms.analysis.disability import OUTCOMES, PRESETS
from nnunet_ms.analysis.published import PUBLISHED
from nnunet_ms.analysis.trial_settings import CONVENTIONS, ZERO_VOLUME
from nnunet_ms.errors import SettingsError
from nnunet_ms.outputs import whole_file
from nnunet_ms.tables import PATIENTS, VISITS, read_table

REFERENCE_ARM_NAMES = ("placebo", "control", "comparator", "interferon", "ifn")
OPTIONAL_TABLES = ("assessments", "relapses", "agreement", "size_bin_figure", "truth")
DEFAULT_LESION_TYPE = "t2_lesions"


@dataclass(frozen=True)
class Found:
    """The files of a trial; None where there is none."""

    patients: Path
    visits: tuple[Path, ...]
    assessments: Path | None = None
    relapses: Path | None = None
    agreement: Path | None = None
    size_bin_figure: Path | None = None
    truth: Path | None = None


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

    patients, usual_visits = usual("patients"), folder / "visits.csv"
    if not visits and usual_visits.is_file():
        visits = (usual_visits,)
    if patients is None or not visits:
        lacking = "patients" if patients is None else "visits"
        raise SettingsError(f"{folder}: expected {lacking}.csv, found none. Name the table with --{lacking} FILE.")
    return Found(
        patients,
        visits,
        assessments=usual("assessments"),
        relapses=usual("relapses"),
        agreement=usual("agreement"),
        size_bin_figure=named.get("size_bin_figure"),
        truth=usual("truth", ".json"),
    )


def write_settings(path: Path, found: Found, simulated: bool) -> None:
    """Write the settings file.

    Parameters
    ----------
    path : Path
        New; an existing file may hold a person's decisions and is never overwritten.
    found : Found
        From `find_tables`.
    simulated : bool
        Whether the report must say that data are simulated.

    Raises
    ------
    SettingsError
        If `path` exists, or the tables have no two arms or no follow-up.
    TableError
        If a table cannot be read.
    """
    if path.exists():
        raise SettingsError(f"{path}: exists, and would be overwritten. Remove it, or name another file.")
    arms = sorted(read_table(found.patients, PATIENTS)["arm"].unique())
    if len(arms) < 2:
        raise SettingsError(f"{found.patients}: expected two or more arms, found {arms}. A comparison needs two.")
    visits = pd.concat([read_table(table, VISITS) for table in found.visits], ignore_index=True)
    lesion_types = sorted(visits["lesion_type"].unique())
    chosen = DEFAULT_LESION_TYPE if DEFAULT_LESION_TYPE in lesion_types else lesion_types[0]
    visits = visits[visits["lesion_type"] == chosen]
    weeks = sorted(visits["week"].dropna().unique())
    if len(weeks) < 2:
        raise SettingsError(f"{found.visits[0]}: expected a baseline and a later week, found {weeks}. Fill in week.")
    text = _text(path.parent, found, simulated, arms, (chosen, lesion_types), weeks, _zeros(visits, weeks[0]))
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def _zeros(visits: pd.DataFrame, baseline_week: float) -> int:
    return int((visits.loc[visits["week"] == baseline_week, "volume_ml"] <= 0).sum())


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


def _text(
    folder: Path,
    found: Found,
    simulated: bool,
    arms: list[str],
    lesions: tuple[str, list[str]],
    weeks: list[float],
    zeros: int,
) -> str:
    reference = _reference(arms)
    compared = [arm for arm in arms if arm != reference]
    visits = [_file(path, folder) for path in found.visits]
    optional = {key: getattr(found, key) for key in OPTIONAL_TABLES}
    lines = [
        "# Settings of one trial for nnunet-ms-endpoints. Written from the tables; check every line.",
        "",
        "[trial]",
        f"name = {_quoted(folder.resolve().name or 'trial')}",
        f"simulated = {str(simulated).lower()}  # true: the report says everywhere that no patient is real",
        f'# preset = "oratorio"  # shows published numbers beside yours; one of: {", ".join(PUBLISHED)}',
        "",
        "[tables]  # paths are relative to this file",
        f"patients = {_file(found.patients, folder)}",
        f"visits = {visits[0] if len(visits) == 1 else '[' + ', '.join(visits) + ']'}",
        *(f"{key} = {_file(path, folder)}" if path else f"# {key} = ..." for key, path in optional.items()),
        "",
        "[arms]",
        f"reference = {_quoted(reference)}  # differences are compared arm minus this arm",
        f"compared = [{', '.join(_quoted(arm) for arm in compared)}]",
        "",
        "[lesions]",
        f"type = {_quoted(lesions[0])}  # in the data: {', '.join(_quoted(kind) for kind in lesions[1])}",
        f"# Before a logarithm, a baseline volume of 0 ml ({zeros} in the data) is one of: {', '.join(ZERO_VOLUME)}.",
        'zero_volume = "exclude"',
        "",
        "[visits]  # weeks after randomisation",
        f"baseline_week = {weeks[0]:g}",
        f"weeks = [{', '.join(f'{week:g}' for week in weeks[1:])}]",
        "",
        "[disability]",
        f'preset = "krishnan2023"  # what counts as progression; one of: {", ".join(PRESETS)}',
        f'outcomes = ["cdp24"]  # some of: {", ".join(OUTCOMES)}',
        "# relapse_onset_weeks = 0  # an assessment so soon after a relapse starts no progression",
        "# relapse_confirmation_weeks = 0  # ... confirms none",
        "",
        "[conventions]",
        f'preset = "r"  # one of: {", ".join(CONVENTIONS)}; single choices override it:',
        '# ties = "efron"  # or "breslow"',
        '# km_interval = "log"  # or "log-log", "plain"',
        '# ls_mean_weights = "equal"  # or "proportional"',
        '# nb_covariance = "expected"  # or "observed"',
        "",
        "[analysis]",
        'strata = ["region"]  # of stratified tests; also sex, age_group, edss_stratum, or a column of the patients',
        'subgroups = ["sex", "region", "age_group", "edss_stratum"]',
        '# sequence = ["t2_volume_percent_change", "cdp24"]  # fixed-sequence test of these endpoints, in this order',
        "holm = false  # true: Holm's adjusted p values beside the others",
        "alpha = 0.05",
        "bootstrap_draws = 2000  # of the difference between raters' treatment effects; 0: left out",
        "seed = 20230313",
    ]
    return "\n".join(lines) + "\n"
