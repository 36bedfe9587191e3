"""Assessments and relapses of a trial, in weeks since randomisation."""

from collections.abc import Collection
from pathlib import Path

import pandas as pd

from nnunet_ms.analysis.trial.adam_tables import adam_assessments
from nnunet_ms.analysis.trial.exclusions import (
    check_rows,
    exclusion,
    exclusion_table,
)
from nnunet_ms.analysis.trial.keys import check_patients
from nnunet_ms.analysis.trial.settings import TrialSettings
from nnunet_ms.analysis.trial.timed_tests import with_timed_means
from nnunet_ms.dates import DAY_EXPECTED, DayOrder
from nnunet_ms.disability.confirmed_progression import OUTCOMES, TIMED_COLUMN, measures_of
from nnunet_ms.errors import TableError
from nnunet_ms.tables import ASSESSMENTS, Table, read_table

DAYS_PER_WEEK = 7


COLUMN_OF_MEASURE = {"edss": "edss", **{measure: columns[0] for measure, columns in TIMED_COLUMN.items()}}


def read_assessments(
    settings: TrialSettings, patients: pd.DataFrame, without: Collection[str] = ()
) -> tuple[pd.DataFrame | None, pd.DataFrame]:
    """Return assessments of the patients, from tables or ADaM, and who is left out; None where there are none.

    Of patients `without` (outside the population) nothing is read; they are listed with the population.
    """
    path, adam = settings.tables.assessments, settings.adam
    if adam is None or path is None:
        return read_weekly(path, ASSESSMENTS, patients, settings.tables.patients, settings.outcomes, without,
                           settings.tables.dates)  # fmt: skip
    outcomes = settings.outcomes if settings.outcome_source == "derive" else ()
    measures = [measure for outcome in outcomes for measure in measures_of(OUTCOMES[outcome])]
    frame, left_out = adam_assessments(path, patients, adam, settings.tables.patients, measures, without)
    _check_assessments(frame, path, outcomes)
    arm_of = patients.set_index("patient_id")["arm"].to_dict()
    rows = left_out.drop_duplicates().to_dict("records")
    return frame, exclusion_table(
        exclusion(row["patient_id"], arm_of, "assessments", row["week"], row["reason"]) for row in rows
    )


def read_weekly(
    path: Path | None,
    table: Table,
    patients: pd.DataFrame,
    patients_path: Path,
    outcomes: tuple[str, ...] = (),
    without: Collection[str] = (),
    dates: DayOrder = "iso",
) -> tuple[pd.DataFrame | None, pd.DataFrame]:
    """Read assessments or relapses with `week` filled; rows of unknown patients are listed and left out.

    Raises
    ------
    TableError
        Naming row and column. Also if the ids are those of the patients written in another way, or an outcome's
        measure is blank in every row.
    """
    name = table.name
    if path is None:
        return None, exclusion_table([])
    frame = read_table(path, table, dates)
    check_patients(frame["patient_id"], patients["patient_id"], path, patients_path)
    known = frame["patient_id"].isin(patients["patient_id"])
    strangers = sorted(frame.loc[~known, "patient_id"].unique())
    frame = _with_week(frame[known & ~frame["patient_id"].isin(list(without))], patients, path)
    if name == "assessments":
        frame = with_timed_means(frame, path)
        _check_assessments(frame, path, outcomes)
    listed = [exclusion(p, {}, name, None, f"has {name}, but is not in the patient table") for p in strangers]
    return frame, exclusion_table(listed)


CONFLICT_COLUMNS = ["patient_id", "arm", "edss_baseline", "edss_week_0", "difference"]


def baseline_conflicts(patients: pd.DataFrame, assessments: pd.DataFrame | None) -> pd.DataFrame:
    """Return the patients whose EDSS at week 0 is another than in the patient table, which is what counts."""
    if assessments is None or "edss" not in assessments:
        return pd.DataFrame(columns=CONFLICT_COLUMNS)
    first = assessments[(assessments["week"] == 0) & assessments["edss"].notna()].set_index("patient_id")["edss"]
    table = patients[["patient_id", "arm", "edss_baseline"]].assign(edss_week_0=patients["patient_id"].map(first))
    table["difference"] = table["edss_week_0"].astype(float) - table["edss_baseline"]
    return table[table["difference"].abs() > 0][CONFLICT_COLUMNS].reset_index(drop=True)


def _with_week(frame: pd.DataFrame, patients: pd.DataFrame, path: Path) -> pd.DataFrame:
    if "week" not in frame:
        frame = frame.assign(week=_weeks_from_dates(frame, patients, path))
    check_rows(frame, frame["week"].isna(), path, "week", "a week after randomisation", "Fill it in.")
    return frame


def _weeks_from_dates(frame: pd.DataFrame, patients: pd.DataFrame, path: Path) -> pd.Series:
    if "date" not in frame or "randomisation_date" not in patients:
        raise TableError(
            f"{path}: expected a column week, or date beside randomisation_date in the patient table; found "
            f"{list(frame.columns)}. Add one of them."
        )
    day0 = frame["patient_id"].map(patients.set_index("patient_id")["randomisation_date"])
    if day0.isna().any():
        first = frame[day0.isna()].iloc[0]
        raise TableError(
            f"{path}: row {first.name + 1}: patient {first['patient_id']} has no randomisation_date in the patient "
            f"table; expected {DAY_EXPECTED} ({int(day0.isna().sum())} such rows). Fill it in."
        )
    # whole days, as a study day has no hours; datetime64[s] reaches further back than datetime64[ns]
    days = frame["date"].astype("datetime64[s]") - day0.astype("datetime64[s]")
    return days.dt.days / DAYS_PER_WEEK


def _check_assessments(frame: pd.DataFrame, path: Path, outcomes: tuple[str, ...]) -> None:
    for outcome in outcomes:
        for column in (COLUMN_OF_MEASURE[measure] for measure in measures_of(OUTCOMES[outcome])):
            if column not in frame:
                found = list(frame.columns)
                raise TableError(f"{path}: outcome {outcome} needs column {column}, found {found}. Add it.")
            _check_measured(frame, column, path, outcome)
    check_rows(frame, frame["week"] < 0, path, "week", "a week >= 0 (0: randomisation)", "Correct or remove the row.")
    check_edss(frame["edss"], path, "edss")
    again = frame.duplicated(["patient_id", "week"])
    if again.any():
        row = frame[again].iloc[0]
        raise TableError(
            f"{path}: row {frame.index[again][0] + 1}: patient {row['patient_id']}, week {row['week']:g} stands "
            "twice; expected one assessment each. Remove one of them."
        )


def _check_measured(frame: pd.DataFrame, column: str, path: Path, outcome: str) -> None:
    """Raise TableError if nobody was measured: every patient would be without progression."""
    unable = column.replace("_s", "_unable")
    if frame[column].isna().all() and not (unable != column and unable in frame and frame[unable].any()):
        raise TableError(
            f"{path}: column {column}: outcome {outcome} needs it, found a blank in each of {len(frame)} rows of "
            "patients. Fill it in, or leave the outcome out of [disability] outcomes."
        )


def check_edss(values: pd.Series, path: Path, column: str) -> None:
    """Raise TableError for an EDSS that the scale does not have.

    It has half steps from 0 to 10; anything else is a typing error that a threshold would hide.
    """
    bad = values[values.notna() & ((values > 10) | (values * 2 % 1 != 0))]
    if len(bad):
        raise TableError(
            f"{path}: row {bad.index[0] + 1}, column {column}: expected EDSS 0 to 10 in half steps, found "
            f"{bad.iloc[0]:g} ({len(bad)} such rows). Correct the table."
        )
