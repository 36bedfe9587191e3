"""Read a trial's tables and check them against each other, before anything is computed.

Nobody disappears: a patient or visit that cannot be used is listed with the reason.
"""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from nnunet_ms.analysis.trial import risk_strata
from nnunet_ms.analysis.trial.adam_origin import Origin
from nnunet_ms.analysis.trial.adam_tables import (
    adam_origin,
    adam_patients,
    adam_times,
    adam_title,
    discontinuation_variable,
)
from nnunet_ms.analysis.trial.assessments import baseline_conflicts, check_edss, read_assessments, read_weekly
from nnunet_ms.analysis.trial.exclusions import (
    check_rows,
    exclusion_table,
    population_exclusions,
    window_exclusions,
)
from nnunet_ms.analysis.trial.populations import Population, inside, split_population
from nnunet_ms.analysis.trial.rim_counts import STRATUM, rim_counts
from nnunet_ms.analysis.trial.settings import TablePaths, TrialSettings
from nnunet_ms.analysis.trial.timed_tests import trial_listing
from nnunet_ms.analysis.trial.visit_windows import COLUMNS as WINDOW_COLUMNS
from nnunet_ms.analysis.trial.visits import (
    COUNT_COLUMNS,
    VOLUME_COLUMNS,
    common_counts,
    common_volumes,
    raters_in,
    read_visits,
)
from nnunet_ms.disability.confirmed_progression import OUTCOMES
from nnunet_ms.errors import SettingsError, TableError
from nnunet_ms.lesions.rims import prl_stratum
from nnunet_ms.table_columns import check_spellings
from nnunet_ms.tables import AGREEMENT, DISABILITY_RISK, PATIENTS, PRL_COUNT, RELAPSES, read_table

AGE_LIMIT_YEARS = 45  # the published models' age groups: <= 45, > 45
EDSS_STRATUM = 4.0  # the trials' strata: below 4, 4 and above
# with a population the table may hold people of whom nothing but the flag is known, such as screen failures
SCREENED = replace(PATIENTS, columns=tuple(replace(c, blank=c.name != "patient_id") for c in PATIENTS.columns))
ADAM_COLUMNS = {
    "age": "age_years", "sex": "sex", "region": "region", "edss_baseline": "edss_baseline",
    "randomisation": "randomisation_date", "last_treatment": "last day of treatment",
    "discontinued": "discontinued_week", "prl_count": PRL_COUNT,
}  # fmt: skip
TRUTH_KEYS = ("endpoint", "analysis", "arm", "contrast", "visit", "term", "stat_name")


@dataclass(frozen=True)
class TrialData:
    """A trial in memory, checked.

    `volumes`: `patient_id, arm, rater, week, volume_ml`, the same patients and weeks for every rater, every patient
    with a baseline; none where masks of change were counted. `exclusions`: `patient_id, arm, analysis, week, reason`.
    `times`: per outcome, times taken from ADTTE instead of derived ones, and in `titles` what ADTTE calls those that
    have no title here. `listings`: further audit tables by file stem. `population`: whom it is about.
    """

    settings: TrialSettings
    patients: pd.DataFrame
    volumes: pd.DataFrame
    raters: tuple[str, ...]
    exclusions: pd.DataFrame
    assessments: pd.DataFrame | None = None
    relapses: pd.DataFrame | None = None
    agreement: pd.DataFrame | None = None
    truth: pd.DataFrame | None = None
    counts: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=COUNT_COLUMNS))
    times: dict[str, pd.DataFrame] = field(default_factory=dict)
    time_origins: dict[str, Origin] = field(default_factory=dict)
    listings: dict[str, pd.DataFrame] = field(default_factory=dict)
    population: str = ""
    titles: dict[str, str] = field(default_factory=dict)

    @property
    def has_volumes(self) -> bool:
        """Whether volumes of lesions are known; not where masks of change were counted, or without a lesion table."""
        return len(self.volumes) > 0

    @property
    def has_lesions(self) -> bool:
        """Whether there is a lesion table; without one there are clinical endpoints alone, and no rater."""
        return bool(self.settings.tables.visits)

    def title(self, outcome: str) -> str:
        """Return an outcome in words: of one that is not derived here, as ADTTE calls it."""
        return OUTCOMES[outcome].title if outcome in OUTCOMES else self.titles.get(outcome, outcome)

    @property
    def has_outcomes(self) -> bool:
        """Whether there is a time to event: derived from assessments, or taken from ADTTE."""
        return self.assessments is not None or bool(self.times)

    def groups(self, name: str) -> pd.Series:
        """Return a stratum or subgroup of every patient as text, indexed by patient_id.

        Raises
        ------
        SettingsError
            If it is neither derived here nor a column of the patient table.
        """
        table = self.patients.set_index("patient_id")
        if name == "age_group":
            return table["age_years"].map(age_group)
        if name == "edss_stratum":
            return table["edss_baseline"].map(edss_stratum)
        if name == STRATUM and PRL_COUNT in table:
            return table[PRL_COUNT].map(lambda count: prl_stratum(count, self.settings.analysis.prl_strata))
        if name == risk_strata.STRATUM and DISABILITY_RISK in table:
            threshold = self.settings.analysis.disability_threshold
            return table[DISABILITY_RISK].map(lambda risk: risk_strata.risk_stratum(risk, threshold))
        if name not in table:
            raise SettingsError(
                f"{self.settings.path}: [analysis] names {name!r}; expected age_group, edss_stratum, {STRATUM} (where "
                f"{PRL_COUNT} is known at baseline), {risk_strata.STRATUM} (with {DISABILITY_RISK}) or a column of "
                f"{self.settings.tables.patients.name}, found {list(table.columns)}. Correct the settings."
            )
        return table[name].map(lambda value: "missing" if pd.isna(value) else str(value))


def age_group(age: float) -> str:
    """Return the age group of the published models; "missing" of a blank.

    Examples
    --------
    >>> age_group(45.0), age_group(46.0)
    ('<= 45', '> 45')
    """
    return "missing" if np.isnan(age) else "> 45" if age > AGE_LIMIT_YEARS else "<= 45"


def edss_stratum(edss: float) -> str:
    """Return the EDSS stratum of the trials; "missing" of a blank.

    Examples
    --------
    >>> edss_stratum(3.5), edss_stratum(4.0)
    ('< 4', '>= 4')
    """
    return "missing" if np.isnan(edss) else ">= 4" if edss >= EDSS_STRATUM else "< 4"


def read_trial(settings: TrialSettings, population: str | None = None) -> TrialData:
    """Read every table that the settings name.

    Parameters
    ----------
    settings : TrialSettings
        From `settings.read_settings`.
    population : str, optional
        Instead of the main one of the settings.

    Raises
    ------
    TableError, SettingsError
        Naming the file, the row or column, what was expected, what was found and the next step.

    Examples
    --------
    >>> from nnunet_ms.analysis.trial.settings import read_settings
    >>> trial = read_trial(read_settings(Path("trial/trial.toml")))
    >>> len(trial.patients), trial.raters
    (40, ('reference', 'simulated_reader'))
    """
    paths, name = settings.tables, population or settings.populations.main
    chosen = settings.populations.defined[name] if name else None
    everybody = _read_patients(settings, chosen)
    patients, outside = split_population(everybody, chosen, str(paths.patients))
    _check_arms(patients, settings, f"population {name} of {paths.patients}" if name else f"{paths.patients}")
    without = set(outside["patient_id"])
    if paths.visits:
        visits, counted, windows = read_visits(settings, without, everybody["patient_id"])
        raters = raters_in(visits if len(visits) else counted)
        volumes, exclusions = pd.DataFrame(columns=VOLUME_COLUMNS), exclusion_table([])
        if len(visits):
            volumes, exclusions = common_volumes(visits, patients, raters, settings)
        counts, uncounted = common_counts(counted, settings, patients, raters)
    else:
        counted = pd.DataFrame()
        volumes, counts, windows = (pd.DataFrame(columns=c) for c in (VOLUME_COLUMNS, COUNT_COLUMNS, WINDOW_COLUMNS))
        raters, exclusions, uncounted = (), exclusion_table([]), exclusion_table([])
    patients, rims = rim_counts(patients, counted, raters, settings)
    assessments, unknown = read_assessments(settings, everybody, without)
    relapses, unknown_relapses = read_weekly(
        paths.relapses, RELAPSES, everybody, paths.patients, without=without, dates=paths.dates
    )
    agreement = None if paths.agreement is None else read_table(paths.agreement, AGREEMENT)
    _check_figure(paths)
    listed = [population_exclusions(outside), exclusions, window_exclusions(windows, patients), uncounted]
    times, titles = _read_times(settings, patients)
    audit = {"populations": outside, "visit_windows": windows, "adam_variables": _adam_variables(settings, everybody)}
    audit["prl_counts"] = rims
    audit["timed_tests"] = trial_listing(assessments)
    audit["baseline_conflicts"] = baseline_conflicts(patients, assessments)
    trial = TrialData(
        settings=settings,
        patients=patients,
        volumes=volumes,
        raters=raters,
        exclusions=pd.concat([*listed, unknown, unknown_relapses], ignore_index=True),
        assessments=assessments,
        relapses=relapses,
        agreement=agreement,
        truth=None if paths.truth is None else read_truth(paths.truth),
        counts=counts,
        times=times,
        time_origins=_read_origins(settings, patients),
        listings={k: v for k, v in audit.items() if len(v)},
        population=name or "",
        titles=titles,
    )
    for group in (*settings.analysis.strata, *settings.analysis.subgroups):
        trial.groups(group)
    return trial


def _read_times(settings: TrialSettings, patients: pd.DataFrame) -> tuple[dict[str, pd.DataFrame], dict[str, str]]:
    """Return the times of ADTTE by outcome, where the settings take them, and what ADTTE calls the outcomes."""
    adam, path = settings.adam, settings.tables.times
    if settings.outcome_source != "adtte" or adam is None or path is None:
        return {}, {}
    times = {name: adam_times(path, patients, name, adam) for name in settings.outcomes}
    return times, {name: adam_title(path, name, adam) for name in settings.outcomes if name not in OUTCOMES}


def _read_origins(settings: TrialSettings, patients: pd.DataFrame) -> dict[str, Origin]:
    """Return which day each time of ADTTE counts from, where the settings take them."""
    adam, path = settings.adam, settings.tables.times
    if settings.outcome_source != "adtte" or adam is None or path is None:
        return {}
    return {name: adam_origin(path, patients, name, adam) for name in settings.outcomes}


def _adam_variables(settings: TrialSettings, patients: pd.DataFrame) -> pd.DataFrame:
    """Return which variable of ADSL each column was read from: `name, variable, note`; no rows without ADaM."""
    adam = settings.adam
    if adam is None:
        return pd.DataFrame(columns=["name", "variable", "note"])
    rows = [("patient_id", adam.subject, ""), ("arm", adam.treatment, "")]
    for key, column in ADAM_COLUMNS.items():
        variable = discontinuation_variable(patients, adam) if key == "discontinued" else getattr(adam, key)
        there = variable is not None and variable in patients
        if key == "prl_count" and not there:  # no standard variable: that it is absent is no news
            continue
        missing = "from the baseline records of ADQS" if key == "edss_baseline" and variable else "not recorded"
        rows.append((column, str(variable) if there else "", "" if there else missing))
    return pd.DataFrame(rows, columns=["name", "variable", "note"])


def read_truth(path: Path) -> pd.DataFrame:
    """Read what a simulation was made with: rows with the keys of `tables.ENDPOINTS`, `stat`, and how it is known.

    Raises
    ------
    SettingsError
        If the file is not JSON, or not of a simulation.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = content["truth"] if content["simulated"] is True else []
        frame = pd.DataFrame([{key: row.get(key) or "" for key in (*TRUTH_KEYS, "unit", "how")} for row in rows])
        values = [float(row["stat"]) for row in rows]
    except FileNotFoundError as error:
        raise SettingsError(f"{path}: no such file. Check the path in [tables] truth.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SettingsError(
            f'{path}: expected {{"simulated": true, "truth": [{{endpoint, analysis, stat_name, stat, ...}}]}}, '
            f"cannot read it ({type(error).__name__}: {error}). Take the file that the simulation wrote."
        ) from error
    if frame.empty:
        raise SettingsError(f'{path}: expected "simulated": true and rows of truth, found none. Name another file.')
    return frame.assign(stat=values).reindex(columns=[*TRUTH_KEYS, "stat", "unit", "how"])


def _read_patients(settings: TrialSettings, population: Population | None) -> pd.DataFrame:
    """Read the patient table; of those outside the population, such as screen failures, nothing is checked."""
    path = settings.tables.patients
    if settings.adam is not None:
        frame = adam_patients(path, settings.adam, settings.tables.assessments, population)
    else:
        frame = read_table(path, PATIENTS if population is None else SCREENED, settings.tables.dates)
    known = frame[inside(frame, population, str(path))]
    if settings.adam is None and population is not None:
        _check_filled(known, path)
    _check_group_spellings(settings, frame, known)
    bad = ~known["arm"].isin(settings.arms)
    if bad.any():
        screened = "" if population else "; [populations] main leaves out whom no analysis is about"
        raise TableError(
            f"{path}: row {known.index[bad][0] + 1}, column {_own_name(settings, 'arm')}: expected one of "
            f"{list(settings.arms)}, found "
            f"{known.loc[bad, 'arm'].iloc[0]!r} ({int(bad.sum())} such rows). Name the arm in [arms] of "
            f"{settings.path.name}, or leave these patients out of the table{screened}."
        )
    check_edss(known["edss_baseline"], path, "edss_baseline")
    stopped = known["discontinued_week"] if "discontinued_week" in known else pd.Series(dtype=float)
    check_rows(known, stopped < 0, path, "discontinued_week", "a week >= 0 (0: randomisation)", "Correct it.")
    return frame.sort_values("patient_id", kind="stable").reset_index(drop=True)


def _check_group_spellings(settings: TrialSettings, everybody: pd.DataFrame, known: pd.DataFrame) -> None:
    """Refuse two spellings of one group in any column that makes groups: populations; arms, strata, subgroups."""
    path = settings.tables.patients
    for name in dict.fromkeys(population.column for population in settings.populations.defined.values()):
        if name in everybody:
            check_spellings(everybody[name], path)
    for name in dict.fromkeys(("arm", "sex", "region", *settings.analysis.strata, *settings.analysis.subgroups)):
        if name in known:
            check_spellings(known[name].rename(_own_name(settings, name)), path)


def _own_name(settings: TrialSettings, column: str) -> str:
    """Return what the file calls a column: of ADSL the variable that the settings name."""
    if settings.adam is None:
        return column
    own = {"arm": settings.adam.treatment, "sex": settings.adam.sex, "region": settings.adam.region}
    return own.get(column) or column


def _check_filled(known: pd.DataFrame, path: Path) -> None:
    """Raise TableError for a blank that the patient table does not allow, in rows that are analysed."""
    for column in PATIENTS.columns:
        blank = known[column.name].isna() if column.name in known and not column.blank else None
        if blank is not None and blank.any():
            expected = "a number" if column.kind == "number" else "text"
            raise TableError(
                f"{path}: row {known.index[blank][0] + 1}, column {column.name}: expected {expected}, found a blank "
                f"({int(blank.sum())} such rows). {column.next_step}"
            )


def _check_arms(patients: pd.DataFrame, settings: TrialSettings, where: str) -> None:
    for arm in settings.arms:
        if not (patients["arm"] == arm).any():
            raise TableError(
                f"{where}: column arm: no patient is in arm {arm!r} that {settings.path.name} names; found "
                f"{sorted(patients['arm'].unique())}. Correct [arms]."
            )


def _check_figure(paths: TablePaths) -> None:
    figure = paths.size_bin_figure
    if figure is not None and (figure.suffix.lower() != ".png" or not figure.is_file()):
        raise SettingsError(f"{figure}: [tables] size_bin_figure: expected an existing .png file. Correct the path.")
