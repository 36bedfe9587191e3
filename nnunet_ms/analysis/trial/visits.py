"""Lesion volumes and counts of a trial's visits, the same visits for every rater."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from nnunet_ms.analysis.trial.change_counts import (
    CHANGE_COLUMNS,
    INTERVAL,
    KINDS,
    check_disjoint,
    common_changes,
    with_intervals,
    with_sums,
)
from nnunet_ms.analysis.trial.exclusions import (
    check_rows,
    exclusion,
    exclusion_table,
)
from nnunet_ms.analysis.trial.keys import check_patients, week_list, week_text
from nnunet_ms.analysis.trial.settings import TrialSettings
from nnunet_ms.analysis.trial.visit_windows import to_planned_weeks
from nnunet_ms.errors import SettingsError, TableError
from nnunet_ms.table_columns import check_spellings
from nnunet_ms.tables import COUNTED_VISITS, REFERENCE, TOGETHER, read_table

NO_WEEK = "Fill it in: volumes and counts belong to a time, and lesions per year need the weeks between scans."
VOLUME_COLUMNS = ["patient_id", "arm", "rater", "week", "volume_ml"]
COUNT_COLUMNS = [
    *("patient_id", "arm", "rater", "lesion_type", "week", "lesion_count", *KINDS, "volume_ml", INTERVAL),
]


def read_visits(
    settings: TrialSettings, without: set[str], patients: Iterable[str]
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return volumes of the lesion type, all lesion types with counts, and the listing of visit windows.

    There are no volumes where masks of change were counted.
    Patients `without` (outside the population) are left out; they are listed with the population. `patients` are the
    ids of the patient table.
    """
    frames = [_read_visit_file(path, settings) for path in settings.tables.visits]
    read = pd.concat([frame.assign(file=i) for i, frame in enumerate(frames)], ignore_index=True)
    for name in ("rater", "lesion_type"):  # also across files
        check_spellings(read[name], settings.tables.visits[-1])
    for path, frame in zip(settings.tables.visits, frames, strict=True):
        check_patients(frame["patient_id"], patients, path, settings.tables.patients)
    files = ", ".join(str(path) for path in settings.tables.visits)
    chosen = _chosen_raters(read, settings)
    _check_one_sort(chosen[chosen["lesion_type"] == settings.lesion_type], settings)
    rows = _one_row_each(with_intervals(chosen), files)
    rows = rows[~rows["patient_id"].isin(without)].assign(scan_week=rows["week"])
    weeks = (settings.baseline_week, *settings.weeks)
    planned, listing = to_planned_weeks(rows, settings.windows, weeks)
    if planned.empty:
        raise TableError(
            f"{settings.tables.visits[0]}: no scan of a patient analysed lies in a visit window; found weeks "
            f"{week_list(sorted(rows['week'].dropna().unique())[:12])}. Correct [visits] windows."
        )
    check_disjoint(planned[planned["week"].isin(weeks)], settings.baseline_week, files)
    of_type = planned[planned["lesion_type"] == settings.lesion_type]
    known = of_type.dropna(subset="volume_ml")  # blank where change alone was counted
    return known[["patient_id", "week", "rater", "volume_ml"]].reset_index(drop=True), planned, listing


def _one_row_each(rows: pd.DataFrame, files: str) -> pd.DataFrame:
    """Return one row per scan, rater and lesion type: two evaluations of one trial repeat the reference.

    Of two rows that one which counts change at all, since the shorter time, then more kinds of change.

    Raises
    ------
    TableError
        If two files differ in a volume, in a count, or in a count of change over the same time.
    """
    keys = ["patient_id", "week", "rater", "lesion_type"]
    again = rows[rows.duplicated(keys, keep=False)]
    if again.empty:
        return rows
    words = {"volume_ml": "volumes", "lesion_count": "lesion_count", **{name: name for name in KINDS}}
    for column in (name for name in words if name in again):
        over = [*keys, INTERVAL] if column in KINDS else keys
        values = again.groupby(over, dropna=False)[column].nunique()
        if (values > 1).any():
            patient, week, rater, kind = values[values > 1].index[0][:4]
            raise TableError(
                f"{files}: patient {patient}, week {week:g}, rater {rater}, {kind} has different {words[column]} in "
                f"two files; expected one. Remove one."
            )
    blanks = rows.reindex(columns=KINDS).isna().sum(axis=1)
    order = pd.DataFrame({"none": blanks == len(KINDS), "time": rows[INTERVAL], "blanks": blanks})
    chosen = rows.loc[order.sort_values(list(order), kind="stable").index].drop_duplicates(keys)
    return chosen.sort_index()


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
    frame = read_table(path, COUNTED_VISITS)
    chosen = frame[frame["lesion_type"] == settings.lesion_type]
    if chosen.empty:
        found = sorted(frame["lesion_type"].unique())
        raise TableError(
            f"{path}: no row with lesion_type {settings.lesion_type!r} ([lesions] type of {settings.path.name}); "
            f"found {found}. Correct one of them."
        )
    _check_blanks(frame, path)
    check_rows(frame, frame["week"].isna(), path, "week", "a week after randomisation", NO_WEEK)
    earliest = min([0.0, settings.baseline_week, *(window.low for window in settings.windows)])
    expected = f"a week >= {earliest:g} (0: randomisation; baseline_week or its window is the earliest)"
    check_rows(frame, frame["week"] < earliest, path, "week", expected, "Correct the week, or [visits] baseline_week.")
    if "previous_week" in frame:
        expected = "a week before that of the scan, which the counts are since"
        step = "Correct it, or leave it blank: the scan before it in the table is taken then."
        check_rows(frame, frame["previous_week"] >= frame["week"], path, "previous_week", expected, step)
        expected = f"a week >= {earliest:g}, as of every scan: counts since an earlier one are not of the follow-up"
        before = (frame["previous_week"] < earliest) & (frame["week"] > settings.baseline_week)
        check_rows(frame, before, path, "previous_week", expected, step)
    again = frame.duplicated(["patient_id", "week", "rater", "lesion_type"])
    if again.any():
        row = frame[again].iloc[0]
        raise TableError(
            f"{path}: row {frame.index[again][0] + 1}: patient {row['patient_id']}, week {row['week']:g}, rater "
            f"{row['rater']}, {row['lesion_type']} stands twice; expected one visit each. Remove one of them."
        )
    return frame


def _check_blanks(frame: pd.DataFrame, path: Path) -> None:
    """Counts and volumes of all lesions are blank together, and only in rows that count what changed."""
    told = frame.reindex(columns=[*KINDS, "previous_week"]).notna()
    of_change = told["previous_week"] & told[list(KINDS)].any(axis=1)
    of_change &= frame["lesion_count"].isna() & frame["volume_ml"].isna()
    expected = "a number >= 0; both are blank in a row of change alone, with previous_week and a count of new lesions"
    for name in ("lesion_count", "volume_ml"):
        check_rows(frame, frame[name].isna() & ~of_change, path, name, expected, "Fill it in.")
    if {*CHANGE_COLUMNS, TOGETHER} <= set(frame):
        sums = frame[list(CHANGE_COLUMNS)].astype(float).sum(axis=1, skipna=False)
        differs = sums.notna() & frame[TOGETHER].notna() & (sums != frame[TOGETHER].astype(float))
        expected = "new_lesion_count plus enlarging_lesion_count of its row"
        check_rows(frame, differs, path, TOGETHER, expected, "Correct it, or leave it blank: the sum is taken then.")


def _check_one_sort(rows: pd.DataFrame, settings: TrialSettings) -> None:
    """Refuse raters who counted change alone beside others: they have no baseline, and nobody's volumes are theirs."""
    alone = rows["volume_ml"].isna()
    if alone.any() and not alone.all():
        raters, others = (sorted(set(rows.loc[some, "rater"])) for some in (alone, ~alone))
        raise TableError(
            f"{', '.join(str(p) for p in settings.tables.visits)}: expected volumes in all rows of "
            f"{settings.lesion_type} or in none, found none of {raters} (counts of change alone, as of pairs) "
            f"beside those of {others}. Analyse one after the other, each with settings of its own: [lesions] raters."
        )


def raters_in(visits: pd.DataFrame) -> tuple[str, ...]:
    """Return the raters of a table, the reference first."""
    found = sorted(visits["rater"].unique(), key=lambda rater: (rater != REFERENCE, rater))
    return tuple(found)


def common_volumes(
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
            excluded.append(exclusion(row["patient_id"], arm_of, "T2 volume", row["week"], reason))
    without = sorted(set(arm_of) - set(wide["patient_id"]))
    excluded += [exclusion(p, arm_of, "T2 volume", None, "in the patient table, but has no mask") for p in without]
    dropped = {(row["patient_id"], row["week"]) for row in excluded}
    keep = [(p, week_text(w)) not in dropped for p, w in zip(wide["patient_id"], wide["week"], strict=True)]
    long = wide[np.array(keep, dtype=bool)].melt(["patient_id", "week"], list(raters), "rater", "volume_ml")
    if long.empty:
        raise TableError(_nothing_left(settings, exclusion_table(excluded)))
    long = long.assign(arm=long["patient_id"].map(arm_of)).sort_values(["rater", "patient_id", "week"])
    volumes = long[["patient_id", "arm", "rater", "week", "volume_ml"]].reset_index(drop=True)
    return volumes, exclusion_table(excluded)


def common_counts(
    planned: pd.DataFrame, settings: TrialSettings, patients: pd.DataFrame, raters: tuple[str, ...]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return lesion counts of every type at (patient, week) that every rater read, and the visits left out.

    Counts of change are blank where not every rater has them, or where there is no earlier scan. Rows are in an order
    of their own, by patient and then the raters' order: sums differ in the last digit with the order of the table.
    """
    visits = planned.reindex(columns=["patient_id", *COUNT_COLUMNS[2:]])
    arm_of = patients.set_index("patient_id")["arm"].to_dict()
    weeks = (settings.baseline_week, *settings.weeks)
    visits = visits[visits["patient_id"].isin(arm_of) & visits["week"].isin(weeks) & visits["rater"].isin(raters)]
    turn = {rater: number for number, rater in enumerate(raters)}
    visits = visits.assign(turn=visits["rater"].map(turn)).sort_values(["patient_id", "lesion_type", "week", "turn"])
    there = visits.groupby(["patient_id", "lesion_type", "week"])["rater"].transform("nunique")
    excluded = [
        exclusion(row["patient_id"], arm_of, f"counts of {row['lesion_type']}", row["week"], "not read by every rater")
        for row in visits[there < len(raters)].drop_duplicates(["patient_id", "lesion_type", "week"]).to_dict("records")
        if row["lesion_type"] != settings.lesion_type  # those are listed with the volumes
    ]
    kept = visits[there == len(raters)].assign(arm=lambda frame: frame["patient_id"].map(arm_of))
    for name in COUNT_COLUMNS[5:]:
        kept[name] = kept[name].astype(float)
    kept = with_sums(kept)
    kept, unknown = common_changes(kept[COUNT_COLUMNS].reset_index(drop=True), settings.baseline_week, raters, arm_of)
    return kept, exclusion_table([*excluded, *unknown])


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
