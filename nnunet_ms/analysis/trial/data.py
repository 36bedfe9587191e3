"""Read a trial's tables and check them against each other, before anything is computed.

Nobody disappears: a patient or visit that cannot be used is listed with the reason.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from nnunet_ms.analysis.endpoints.statistic_rows import week_text
from nnunet_ms.analysis.trial.adam_tables import adam_assessments, adam_patients, adam_times
from nnunet_ms.analysis.trial.outcomes import OUTCOMES, TIMED_COLUMN, measures_of
from nnunet_ms.analysis.trial.populations import split_population
from nnunet_ms.analysis.trial.settings import TablePaths, TrialSettings
from nnunet_ms.analysis.trial.visit_windows import to_planned_weeks
from nnunet_ms.errors import SettingsError, TableError
from nnunet_ms.tables import AGREEMENT, ASSESSMENTS, PATIENTS, REFERENCE, RELAPSES, VISITS, Table, read_table

EXCLUSION_COLUMNS = ["patient_id", "arm", "analysis", "week", "reason"]
DAYS_PER_WEEK = 7
COLUMN_OF_MEASURE = {"edss": "edss", **{measure: columns[0] for measure, columns in TIMED_COLUMN.items()}}
COUNT_COLUMNS = ["patient_id", "arm", "rater", "lesion_type", "week", "lesion_count", "new_lesion_count", "volume_ml"]
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
        return table[name].fillna("missing").astype(str)


def exclusion_table(rows: Iterable[dict[str, object]]) -> pd.DataFrame:
    """Return exclusions as a table; missing cells are blank text."""
    return pd.DataFrame(list(rows), columns=EXCLUSION_COLUMNS).fillna("")


def read_trial(settings: TrialSettings, population: str | None = None) -> TrialData:
    """Read every table that the settings name.

    Parameters
    ----------
    settings : TrialSettings
        From `trial_settings.read_settings`.
    population : str, optional
        Instead of the main one of the settings.

    Raises
    ------
    TableError, SettingsError
        Naming the file, the row or column, what was expected, what was found and the next step.
    """
    paths, name = settings.tables, population or settings.populations.main
    everybody = _read_patients(settings)
    inside = settings.populations.defined[name] if name else None
    patients, outside = split_population(everybody, inside, str(paths.patients))
    _check_arms(patients, settings, f"population {name} of {paths.patients}" if name else f"{paths.patients}")
    visits, counted, windows = _read_visits(settings, set(outside["patient_id"]))
    raters = _raters(visits)
    volumes, exclusions = _common_volumes(visits, patients, raters, settings)
    counts, uncounted = _common_counts(counted, settings, patients, raters)
    assessments, unknown = _read_assessments(settings, everybody)
    relapses, unknown_relapses = _read_weekly(paths.relapses, RELAPSES, everybody, "relapses")
    agreement = None if paths.agreement is None else read_table(paths.agreement, AGREEMENT)
    _check_figure(paths)
    listed = [_population_exclusions(outside), exclusions, _window_exclusions(windows, patients), uncounted]
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
        listings={k: v for k, v in {"populations": outside, "visit_windows": windows}.items() if len(v)},
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


def _read_assessments(settings: TrialSettings, patients: pd.DataFrame) -> tuple[pd.DataFrame | None, pd.DataFrame]:
    path, adam = settings.tables.assessments, settings.adam
    if adam is None or path is None:
        return _read_weekly(path, ASSESSMENTS, patients, "assessments", settings.outcomes)
    frame, left_out = adam_assessments(path, patients, adam, settings.tables.patients)
    _check_assessments(frame, path, settings.outcomes if settings.outcome_source == "derive" else ())
    arm_of = patients.set_index("patient_id")["arm"].to_dict()
    rows = left_out.drop_duplicates().to_dict("records")
    return frame, exclusion_table(
        _exclusion(row["patient_id"], arm_of, "assessments", row["week"], row["reason"]) for row in rows
    )


def _population_exclusions(outside: pd.DataFrame) -> pd.DataFrame:
    return exclusion_table(
        {**{k: row[k] for k in ("patient_id", "arm", "reason")}, "analysis": f"population {row['population']}"}
        for row in outside.to_dict("records")
    )


def _window_exclusions(listing: pd.DataFrame, patients: pd.DataFrame) -> pd.DataFrame:
    arm_of = patients.set_index("patient_id")["arm"].to_dict()
    rows = listing[~listing["used"].astype(bool)].to_dict("records")
    return exclusion_table(_exclusion(r["patient_id"], arm_of, "visit windows", r["week"], r["reason"]) for r in rows)


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
    _check_edss(frame["edss_baseline"], path, "edss_baseline")
    stopped = frame["discontinued_week"] if "discontinued_week" in frame else pd.Series(dtype=float)
    _check_rows(frame, stopped < 0, path, "discontinued_week", "a week >= 0 (0: randomisation)", "Correct it.")
    return frame.sort_values("patient_id", kind="stable").reset_index(drop=True)


def _check_arms(patients: pd.DataFrame, settings: TrialSettings, where: str) -> None:
    for arm in settings.arms:
        if not (patients["arm"] == arm).any():
            raise TableError(
                f"{where}: column arm: no patient is in arm {arm!r} that {settings.path.name} names; found "
                f"{sorted(patients['arm'].unique())}. Correct [arms]."
            )


def _check_edss(values: pd.Series, path: Path, column: str) -> None:
    # the scale has half steps from 0 to 10; anything else is a typing error that a threshold would hide
    bad = values[values.notna() & ((values > 10) | (values * 2 % 1 != 0))]
    if len(bad):
        raise TableError(
            f"{path}: row {bad.index[0] + 1}, column {column}: expected EDSS 0 to 10 in half steps, found "
            f"{bad.iloc[0]:g} ({len(bad)} such rows). Correct the table."
        )


def _read_visits(settings: TrialSettings, without: set[str]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return volumes of the lesion type, all lesion types with counts, and the listing of visit windows.

    Patients `without` (outside the population) are left out; they are listed with the population.
    """
    frames = [_read_visit_file(path, settings) for path in settings.tables.visits]
    rows = _chosen_raters(pd.concat(frames, ignore_index=True), settings)
    rows = rows[~rows["patient_id"].isin(without)]
    planned, listing = to_planned_weeks(rows, settings.windows, (settings.baseline_week, *settings.weeks))
    if planned.empty:
        raise TableError(
            f"{settings.tables.visits[0]}: no scan of a patient analysed lies in a visit window; found weeks "
            f"{sorted(rows['week'].dropna().unique())[:12]}. Correct [visits] windows."
        )
    columns = ["patient_id", "week", "rater", "volume_ml"]
    of_type = planned[planned["lesion_type"] == settings.lesion_type]
    # two evaluations of one trial repeat the reference: the same row in two files is one row
    visits = of_type[columns].drop_duplicates(ignore_index=True)
    again = visits[visits.duplicated(["patient_id", "week", "rater"])]
    if len(again):
        row = again.iloc[0]
        raise TableError(
            f"{', '.join(str(p) for p in settings.tables.visits)}: patient {row['patient_id']}, week "
            f"{row['week']:g}, rater {row['rater']} has different volumes in two files; expected one. Remove one."
        )
    return visits, planned, listing


def _chosen_raters(rows: pd.DataFrame, settings: TrialSettings) -> pd.DataFrame:
    found = sorted(rows["rater"].unique())
    for rater in settings.raters:
        if rater not in found:
            raise SettingsError(
                f"{settings.path}: [lesions] raters: expected some of {found} (in "
                f"{', '.join(path.name for path in settings.tables.visits)}), found {rater!r}. Correct the settings."
            )
    return rows[rows["rater"].isin(settings.raters or found)]


def _read_visit_file(path: Path, settings: TrialSettings) -> pd.DataFrame:
    frame = read_table(path, VISITS)
    chosen = frame[frame["lesion_type"] == settings.lesion_type]
    if chosen.empty:
        found = sorted(frame["lesion_type"].unique())
        raise TableError(
            f"{path}: no row with lesion_type {settings.lesion_type!r} ([lesions] type of {settings.path.name}); "
            f"found {found}. Correct one of them."
        )
    _check_rows(frame, frame["week"].isna(), path, "week", "a week after randomisation", "Fill it in.")
    earliest = min([0.0, settings.baseline_week, *(window.low for window in settings.windows)])
    expected = f"a week >= {earliest:g} (0: randomisation; baseline_week or its window is the earliest)"
    _check_rows(frame, frame["week"] < earliest, path, "week", expected, "Correct the week, or [visits] baseline_week.")
    again = frame.duplicated(["patient_id", "week", "rater", "lesion_type"])
    if again.any():
        row = frame[again].iloc[0]
        raise TableError(
            f"{path}: row {frame.index[again][0] + 1}: patient {row['patient_id']}, week {row['week']:g}, rater "
            f"{row['rater']}, {row['lesion_type']} stands twice; expected one visit each. Remove one of them."
        )
    return frame


def _check_rows(frame: pd.DataFrame, bad: pd.Series, path: Path, column: str, expected: str, next_step: str) -> None:
    if bad.any():
        first = frame[bad].iloc[0]
        found = "a blank" if pd.isna(first[column]) else f"{first[column]:g}"
        raise TableError(
            f"{path}: row {frame.index[bad][0] + 1}, column {column}: expected {expected}, found {found} "
            f"(patient {first['patient_id']}; {int(bad.sum())} such rows). {next_step}"
        )


def _raters(visits: pd.DataFrame) -> tuple[str, ...]:
    found = sorted(visits["rater"].unique(), key=lambda rater: (rater != REFERENCE, rater))
    return tuple(found)


def _common_volumes(
    visits: pd.DataFrame, patients: pd.DataFrame, raters: tuple[str, ...], settings: TrialSettings
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return volumes at (patient, week) that every rater read, of patients with a baseline; and who is left out."""
    arm_of = patients.set_index("patient_id")["arm"].to_dict()
    weeks = (settings.baseline_week, *settings.weeks)
    wide = visits.pivot_table(index=["patient_id", "week"], columns="rater", values="volume_ml", aggfunc="first")
    wide = wide.reindex(columns=list(raters)).reset_index()
    excluded: list[dict[str, object]] = []
    with_baseline = _patients_with_baseline(wide, raters, settings.baseline_week)
    for row in wide.to_dict("records"):
        reason = _visit_problem(row, raters, arm_of, weeks, with_baseline)
        if reason:
            excluded.append(_exclusion(row["patient_id"], arm_of, "T2 volume", row["week"], reason))
    without = sorted(set(arm_of) - set(wide["patient_id"]))
    excluded += [_exclusion(p, arm_of, "T2 volume", None, "in the patient table, but has no mask") for p in without]
    dropped = {(row["patient_id"], row["week"]) for row in excluded}
    keep = [(p, week_text(w)) not in dropped for p, w in zip(wide["patient_id"], wide["week"], strict=True)]
    long = wide[np.array(keep, dtype=bool)].melt(["patient_id", "week"], list(raters), "rater", "volume_ml")
    if long.empty:
        raise TableError(_nothing_left(settings, exclusion_table(excluded)))
    long = long.assign(arm=long["patient_id"].map(arm_of)).sort_values(["rater", "patient_id", "week"])
    volumes = long[["patient_id", "arm", "rater", "week", "volume_ml"]].reset_index(drop=True)
    return volumes, exclusion_table(excluded)


def _common_counts(
    planned: pd.DataFrame, settings: TrialSettings, patients: pd.DataFrame, raters: tuple[str, ...]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return lesion counts of every type at (patient, week) that every rater read, and the visits left out."""
    visits = planned.reindex(columns=["patient_id", *COUNT_COLUMNS[2:]])
    visits = visits.drop_duplicates(["patient_id", "rater", "lesion_type", "week"])
    arm_of = patients.set_index("patient_id")["arm"].to_dict()
    weeks = (settings.baseline_week, *settings.weeks)
    visits = visits[visits["patient_id"].isin(arm_of) & visits["week"].isin(weeks) & visits["rater"].isin(raters)]
    there = visits.groupby(["patient_id", "lesion_type", "week"])["rater"].transform("nunique")
    excluded = [
        _exclusion(row["patient_id"], arm_of, f"counts of {row['lesion_type']}", row["week"], "not read by every rater")
        for row in visits[there < len(raters)].drop_duplicates(["patient_id", "lesion_type", "week"]).to_dict("records")
        if row["lesion_type"] != settings.lesion_type  # those are listed with the volumes
    ]
    kept = visits[there == len(raters)].assign(arm=lambda frame: frame["patient_id"].map(arm_of))
    for name in COUNT_COLUMNS[5:]:
        kept[name] = kept[name].astype(float)
    return kept[COUNT_COLUMNS].reset_index(drop=True), exclusion_table(excluded)


def _nothing_left(settings: TrialSettings, excluded: pd.DataFrame) -> str:
    reasons = excluded["reason"].value_counts().to_dict()
    return (
        f"{settings.tables.visits[0]}: no patient of {settings.tables.patients} has a baseline mask of every rater at "
        f"week {settings.baseline_week:g}; found {reasons}. Check patient_id and week in both tables."
    )


def _patients_with_baseline(wide: pd.DataFrame, raters: tuple[str, ...], baseline_week: float) -> set[str]:
    complete = wide[list(raters)].notna().all(axis=1) & (wide["week"] == baseline_week)
    return set(wide.loc[complete, "patient_id"])


def _visit_problem(
    row: dict[str, object],
    raters: tuple[str, ...],
    arm_of: dict[str, str],
    weeks: tuple[float, ...],
    with_baseline: set[str],
) -> str:
    missing = [rater for rater in raters if pd.isna(row[rater])]
    if row["patient_id"] not in arm_of:
        return "has masks, but is not in the patient table"
    if row["week"] not in weeks:
        return "week is not in the settings"
    if missing:
        return f"no mask of {', '.join(missing)} at this week"
    if row["patient_id"] not in with_baseline:
        return "no baseline mask of every rater"
    return ""


def _exclusion(patient: object, arm_of: dict[str, str], analysis: str, week: object, reason: str) -> dict[str, object]:
    text = week_text(float(week)) if isinstance(week, float | int) else ""
    arm = arm_of.get(str(patient), "")
    return {"patient_id": patient, "arm": arm, "analysis": analysis, "week": text, "reason": reason}


def _read_weekly(
    path: Path | None, table: Table, patients: pd.DataFrame, name: str, outcomes: tuple[str, ...] = ()
) -> tuple[pd.DataFrame | None, pd.DataFrame]:
    """Read assessments or relapses with `week` filled; rows of unknown patients are listed and left out."""
    if path is None:
        return None, exclusion_table([])
    frame = read_table(path, table)
    known = frame["patient_id"].isin(patients["patient_id"])
    strangers = sorted(frame.loc[~known, "patient_id"].unique())
    frame = _with_week(frame[known], patients, path)
    if name == "assessments":
        _check_assessments(frame, path, outcomes)
    listed = [_exclusion(p, {}, name, None, f"has {name}, but is not in the patient table") for p in strangers]
    return frame, exclusion_table(listed)


def _with_week(frame: pd.DataFrame, patients: pd.DataFrame, path: Path) -> pd.DataFrame:
    if "week" not in frame:
        frame = frame.assign(week=_weeks_from_dates(frame, patients, path))
    _check_rows(frame, frame["week"].isna(), path, "week", "a week after randomisation", "Fill it in.")
    return frame


def _weeks_from_dates(frame: pd.DataFrame, patients: pd.DataFrame, path: Path) -> pd.Series:
    if "date" not in frame or "randomisation_date" not in patients:
        raise TableError(
            f"{path}: expected a column week, or date beside randomisation_date in the patient table; found "
            f"{list(frame.columns)}. Add one of them."
        )
    day0 = frame["patient_id"].map(patients.set_index("patient_id")["randomisation_date"])
    dates = [pd.to_datetime(values, format="ISO8601", errors="coerce") for values in (frame["date"], day0)]
    for values, name in zip(dates, ("date", "randomisation_date of the patient"), strict=True):
        if values.isna().any():
            row = int(np.flatnonzero(values.isna())[0])
            raise TableError(
                f"{path}: row {frame.index[row] + 1}: expected {name} as 2021-12-31, found nothing readable "
                f"({int(values.isna().sum())} such rows). Correct the table."
            )
    return (dates[0] - dates[1]).dt.days / DAYS_PER_WEEK


def _check_assessments(frame: pd.DataFrame, path: Path, outcomes: tuple[str, ...]) -> None:
    for outcome in outcomes:
        for column in (COLUMN_OF_MEASURE[measure] for measure in measures_of(OUTCOMES[outcome])):
            if column not in frame:
                found = list(frame.columns)
                raise TableError(f"{path}: outcome {outcome} needs column {column}, found {found}. Add it.")
    _check_rows(frame, frame["week"] < 0, path, "week", "a week >= 0 (0: randomisation)", "Correct or remove the row.")
    _check_edss(frame["edss"], path, "edss")
    again = frame.duplicated(["patient_id", "week"])
    if again.any():
        row = frame[again].iloc[0]
        raise TableError(
            f"{path}: row {frame.index[again][0] + 1}: patient {row['patient_id']}, week {row['week']:g} stands "
            "twice; expected one assessment each. Remove one of them."
        )


def _check_figure(paths: TablePaths) -> None:
    figure = paths.size_bin_figure
    if figure is not None and (figure.suffix.lower() != ".png" or not figure.is_file()):
        raise SettingsError(f"{figure}: [tables] size_bin_figure: expected an existing .png file. Correct the path.")
