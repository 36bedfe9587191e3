"""Read a trial's tables and check them against each other, before anything is computed.

Nobody disappears: a patient or visit that cannot be used is listed with the reason.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from nnunet_ms.analysis.trial.adam_origin import Origin
from nnunet_ms.analysis.trial.adam_tables import adam_origin, adam_patients, adam_times
from nnunet_ms.analysis.trial.assessments import check_edss, read_assessments, read_weekly
from nnunet_ms.analysis.trial.exclusions import (
    check_rows,
    population_exclusions,
    window_exclusions,
)
from nnunet_ms.analysis.trial.populations import split_population
from nnunet_ms.analysis.trial.settings import TablePaths, TrialSettings
from nnunet_ms.analysis.trial.timed_tests import trial_listing
from nnunet_ms.analysis.trial.visits import COUNT_COLUMNS, common_counts, common_volumes, raters_in, read_visits
from nnunet_ms.errors import SettingsError, TableError
from nnunet_ms.table_columns import check_spellings
from nnunet_ms.tables import AGREEMENT, PATIENTS, RELAPSES, read_table

AGE_LIMIT_YEARS = 45  # the published models' age groups: <= 45, > 45
EDSS_STRATUM = 4.0  # the trials' strata: below 4, 4 and above
TRUTH_KEYS = ("endpoint", "analysis", "arm", "contrast", "visit", "term", "stat_name")


@dataclass(frozen=True)
class TrialData:
    """A trial in memory, checked.

    `volumes`: `patient_id, arm, rater, week, volume_ml`, the same patients and weeks for every rater, every patient
    with a baseline. `exclusions`: `patient_id, arm, analysis, week, reason`. `times`: per outcome, times taken from
    ADTTE instead of derived ones. `listings`: further audit tables by file stem. `population`: whom it is about.
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
            return table["age_years"].map(lambda age: "> 45" if age > AGE_LIMIT_YEARS else "<= 45")
        if name == "edss_stratum":
            return table["edss_baseline"].map(lambda edss: ">= 4" if edss >= EDSS_STRATUM else "< 4")
        if name not in table:
            raise SettingsError(
                f"{self.settings.path}: [analysis] names {name!r}; expected age_group, edss_stratum or a column of "
                f"{self.settings.tables.patients.name}, found {list(table.columns)}. Correct the settings."
            )
        return table[name].map(lambda value: "missing" if pd.isna(value) else str(value))


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
    everybody = _read_patients(settings)
    inside = settings.populations.defined[name] if name else None
    _check_group_spellings(settings, everybody)
    patients, outside = split_population(everybody, inside, str(paths.patients))
    _check_arms(patients, settings, f"population {name} of {paths.patients}" if name else f"{paths.patients}")
    visits, counted, windows = read_visits(settings, set(outside["patient_id"]), everybody["patient_id"])
    raters = raters_in(visits)
    volumes, exclusions = common_volumes(visits, patients, raters, settings)
    counts, uncounted = common_counts(counted, settings, patients, raters)
    assessments, unknown = read_assessments(settings, everybody)
    relapses, unknown_relapses = read_weekly(paths.relapses, RELAPSES, everybody, paths.patients)
    agreement = None if paths.agreement is None else read_table(paths.agreement, AGREEMENT)
    _check_figure(paths)
    listed = [population_exclusions(outside), exclusions, window_exclusions(windows, patients), uncounted]
    listings = {"populations": outside, "visit_windows": windows, "timed_tests": trial_listing(assessments)}
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
        times=_read_times(settings, patients),
        time_origins=_read_origins(settings, patients),
        listings={k: v for k, v in listings.items() if len(v)},
        population=name or "",
    )
    for group in (*settings.analysis.strata, *settings.analysis.subgroups):
        trial.groups(group)
    return trial


def _read_times(settings: TrialSettings, patients: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the times of ADTTE by outcome, where the settings take them."""
    if settings.outcome_source != "adtte" or settings.adam is None or settings.tables.times is None:
        return {}
    return {name: adam_times(settings.tables.times, patients, name, settings.adam) for name in settings.outcomes}


def _read_origins(settings: TrialSettings, patients: pd.DataFrame) -> dict[str, Origin]:
    """Return which day each time of ADTTE counts from, where the settings take them."""
    if settings.outcome_source != "adtte" or settings.adam is None or settings.tables.times is None:
        return {}
    return {name: adam_origin(settings.tables.times, patients, name, settings.adam) for name in settings.outcomes}


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


def _read_patients(settings: TrialSettings) -> pd.DataFrame:
    path = settings.tables.patients
    if settings.adam is None:
        frame = read_table(path, PATIENTS)
    else:
        frame = adam_patients(path, settings.adam, settings.tables.assessments)
    bad = np.flatnonzero(~frame["arm"].isin(settings.arms))
    if bad.size:
        row = int(bad[0])
        raise TableError(
            f"{path}: row {row + 1}, column arm: expected one of {list(settings.arms)}, found "
            f"{frame['arm'].iloc[row]!r} ({bad.size} such rows). Name the arm in [arms] of {settings.path.name}, "
            "or leave these patients out of the table."
        )
    check_edss(frame["edss_baseline"], path, "edss_baseline")
    stopped = frame["discontinued_week"] if "discontinued_week" in frame else pd.Series(dtype=float)
    check_rows(frame, stopped < 0, path, "discontinued_week", "a week >= 0 (0: randomisation)", "Correct it.")
    return frame.sort_values("patient_id", kind="stable").reset_index(drop=True)


def _check_group_spellings(settings: TrialSettings, patients: pd.DataFrame) -> None:
    """Refuse two spellings of one group in any column that makes groups: arms, strata, subgroups, populations."""
    flags = [population.column for population in settings.populations.defined.values()]
    for name in dict.fromkeys(
        ("arm", "sex", "region", *settings.analysis.strata, *settings.analysis.subgroups, *flags)
    ):
        if name in patients:
            check_spellings(patients[name], settings.tables.patients)


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
