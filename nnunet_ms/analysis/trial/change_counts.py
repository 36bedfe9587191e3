"""Counts of lesions that are new or have grown: since which scan, and at which visits every rater has them.

A count of change belongs to two scans. Without the earlier one it is not known, whatever the cell says; and where scans
between were missed, it covers all the time since the one before.
"""

from collections.abc import Iterable, Sequence

import pandas as pd

from nnunet_ms.analysis.trial.exclusions import exclusion
from nnunet_ms.errors import TableError
from nnunet_ms.tables import TOGETHER

CHANGE_COLUMNS = ("new_lesion_count", "enlarging_lesion_count")
KINDS = (*CHANGE_COLUMNS, TOGETHER)
CHANGE_TYPES = ("t2_lesions", "t1_unenhancing")  # an enhancing lesion is counted where it enhances, not since when
INTERVAL = "interval_weeks"
WEEKS_PER_YEAR = 365.25 / 7
ROUNDING_WEEKS = 1.0  # previous_week may be a whole week where week has days
NO_EARLIER = "counted without an earlier scan in the table: what is new or has grown since is not known"


def with_intervals(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of lesion tables with `interval_weeks`, the weeks that a count of change covers.

    Parameters
    ----------
    rows : pandas.DataFrame
        Columns of `tables.VISITS`, of all scans, used later or not, with the weeks in which they were; `file`, where
        there are several.

    Returns
    -------
    pandas.DataFrame
        Weeks since `previous_week` where the table tells it, else since the rater's scan before, of this lesion type in
        this file, of this type in any, or of any type; NaN without one.

    Examples
    --------
    >>> rows = pd.DataFrame({"patient_id": "P1", "rater": "model", "lesion_type": "t2_lesions", "week": [0, 24, 96.0]})
    >>> with_intervals(rows)["interval_weeks"].tolist()
    [nan, 24.0, 72.0]
    """
    told = rows["previous_week"].astype(float) if "previous_week" in rows else pd.Series(float("nan"), rows.index)
    own, of_type = ["patient_id", "rater"], ["patient_id", "rater", "lesion_type"]
    # a file's counts are since the scan before that whoever wrote it had, which another file may not show
    for keys in ([["file", *of_type]] if "file" in rows else []) + [of_type, own]:
        told = told.fillna(_week_before(rows, keys))
    return rows.assign(**{INTERVAL: rows["week"] - told})


def check_disjoint(rows: pd.DataFrame, baseline_week: float, files: str) -> None:
    """Raise TableError if two counts of change of one patient, rater and lesion type cover the same weeks.

    Parameters
    ----------
    rows : pandas.DataFrame
        `patient_id, rater, lesion_type, scan_week, interval_weeks` and `KINDS`, of the scans that count.
    baseline_week : float
        Follow-up is later.
    files : str
        Where the rows are from.

    Raises
    ------
    TableError
        The lesions of those weeks would be counted, and their time taken, twice.
    """
    keys = ["patient_id", "rater", "lesion_type"]
    later = rows[(rows["week"] > baseline_week) & rows["lesion_type"].isin(CHANGE_TYPES) & rows[INTERVAL].notna()]
    for column in (name for name in KINDS if name in later):
        counted = later[later[column].notna()].sort_values([*keys, "scan_week"])
        before = counted.groupby(keys)["scan_week"].shift()
        since = counted["scan_week"] - counted[INTERVAL]
        twice = counted[since < before - ROUNDING_WEEKS]
        if len(twice):
            row, last = twice.iloc[0], before[twice.index[0]]
            raise TableError(
                f"{files}: column {column}: patient {row['patient_id']}, rater {row['rater']}, {row['lesion_type']}: "
                f"expected counts that follow each other, found one of weeks {since[twice.index[0]]:g} to "
                f"{row['scan_week']:g} beside one up to week {last:g}, whose lesions would count twice ({len(twice)} "
                "such rows). Give counts since the scan before (of pairs: --pairs consecutive), or leave one of "
                "the two blank."
            )


def _week_before(rows: pd.DataFrame, of: Sequence[str]) -> pd.Series:
    """Return the latest earlier week of the same `of`, by the index of `rows`."""
    scans = rows[[*of, "week"]].drop_duplicates().sort_values([*of, "week"])
    scans["before"] = scans.groupby(list(of))["week"].shift()
    found = rows[[*of, "week"]].merge(scans, on=[*of, "week"], how="left")
    return found["before"].set_axis(rows.index)


def with_sums(counts: pd.DataFrame) -> pd.DataFrame:
    """Return counts in which `TOGETHER` is the sum of both kinds where a rater tells them apart and another does not.

    Without any rater who does not, of a lesion type, it stays blank: the kinds say it.
    """
    sums = counts[list(CHANGE_COLUMNS)].sum(axis=1, skipna=False)
    wanted = counts["lesion_type"].isin(counts.loc[counts[TOGETHER].notna(), "lesion_type"])
    return counts.assign(**{TOGETHER: counts[TOGETHER].fillna(sums.where(wanted))})


def common_changes(
    counts: pd.DataFrame, baseline_week: float, raters: Iterable[str], arm_of: dict[str, str]
) -> tuple[pd.DataFrame, list[dict[str, object]]]:
    """Blank the counts of change at follow-up visits at which they are not known of every rater, and list those.

    Parameters
    ----------
    counts : pandas.DataFrame
        `patient_id, rater, lesion_type, week, interval_weeks` and `KINDS` as floats; the same visits for every rater.
    baseline_week : float
        Follow-up is later.
    raters : iterable of str
        A rater who has no count of a kind at all does not take it from the others.
    arm_of : dict
        Patient -> arm.

    Returns
    -------
    counts : pandas.DataFrame
        As given, with blanks.
    excluded : list of dict
        Rows of `exclusions.exclusion_table`, one per visit and lesion type.
    """
    later = (counts["week"] > baseline_week) & counts["lesion_type"].isin(CHANGE_TYPES)
    found, reasons = counts.copy(), pd.Series("", counts.index)
    alone = later & counts[INTERVAL].isna() & counts[list(KINDS)].notna().any(axis=1)
    reasons[alone] = NO_EARLIER
    found.loc[alone, list(KINDS)] = float("nan")
    for kind in CHANGE_TYPES:
        of_kind = later & (counts["lesion_type"] == kind)
        for column in KINDS:
            having = [r for r in raters if counts.loc[of_kind & (counts["rater"] == r), column].notna().any()]
            blank = of_kind & counts["rater"].isin(having) & found[column].isna()
            unsaid = blank & ~alone
            reasons[unsaid] += ("; " + column + " is blank for " + counts["rater"].astype(str))[unsaid]
            visits = counts["patient_id"].astype(str) + " " + counts["week"].astype(str)
            found.loc[of_kind & visits.isin(visits[blank]), column] = float("nan")
    return found, _listed(counts[reasons != ""], reasons[reasons != ""], arm_of)


def _listed(rows: pd.DataFrame, reasons: pd.Series, arm_of: dict[str, str]) -> list[dict[str, object]]:
    told = rows.assign(reason=reasons.str.removeprefix("; ")).groupby(["patient_id", "lesion_type", "week"], sort=False)
    return [
        exclusion(patient, arm_of, f"change of {kind}", week, "; ".join(dict.fromkeys(those["reason"])))
        for (patient, kind, week), those in told
    ]
