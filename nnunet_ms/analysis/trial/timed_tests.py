"""Timed tests from their single trials: seconds of every walk and of either hand become the test's value.

The manual of the MS Functional Composite [1]_ has the walk done twice, its score the mean of both, and the peg test
done twice with either hand, its trials averaged by hand first. The mean of both hands, in seconds, is what a worsening
of 20 % is counted from; the composite's own z score, which averages speeds, is none of our outcomes.

References
----------
.. [1] Fischer JS, Jak AJ, Kniker JE, Rudick RA, Cutter G. Multiple Sclerosis Functional Composite: administration and
   scoring manual, revised October 2001. National Multiple Sclerosis Society.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from nnunet_ms.disability.confirmed_progression import TIMED_COLUMN
from nnunet_ms.errors import TableError

# the trials of each test, by what they are averaged in first: the walk, or a hand
TRIALS = {
    "t25fw": (("t25fw_1_s", "t25fw_2_s"),),
    "nhpt": (("nhpt_dominant_1_s", "nhpt_dominant_2_s"), ("nhpt_other_1_s", "nhpt_other_2_s")),
}
COLUMNS = ["patient_id", "week", "column", "trials", "seconds", "reason"]


def with_timed_means(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return assessments with `t25fw_s` and `nhpt_s` as means of their trials, where the table holds those.

    Parameters
    ----------
    frame : pandas.DataFrame
        `tables.ASSESSMENTS`.
    path : Path
        Its file, for messages.

    Returns
    -------
    pandas.DataFrame
        A trial that is blank is left out of the mean; a hand without any trial leaves the test blank. `trial_listing`
        names both.

    Raises
    ------
    TableError
        If a test stands there as its mean and as its trials, or the trials of a hand are missing altogether.

    Examples
    --------
    >>> hands = {"nhpt_dominant_1_s": 20.1, "nhpt_dominant_2_s": 20.2, "nhpt_other_1_s": 24.2, "nhpt_other_2_s": 24.65}
    >>> with_timed_means(pd.DataFrame([hands]), Path("assessments.csv"))["nhpt_s"].round(9).tolist()
    [22.2875]
    """
    for test, groups in TRIALS.items():
        there = [name for group in groups for name in group if name in frame]
        if not there:
            continue
        _check(frame, test, there, path)
        means = [frame[[name for name in group if name in frame]].astype(float).mean(axis=1) for group in groups]
        frame = frame.assign(**{TIMED_COLUMN[test][0]: np.column_stack(means).mean(axis=1)})  # NaN without a hand
    return frame


def _check(frame: pd.DataFrame, test: str, there: list[str], path: Path) -> None:
    column = TIMED_COLUMN[test][0]
    if column in frame:
        raise TableError(
            f"{path}: column {column}: expected the mean of a visit or its trials, found both ({', '.join(there)}). "
            f"Leave out {column}, which is computed from the trials, or leave out the trials."
        )
    for group in TRIALS[test]:
        if not set(group) & set(there):
            raise TableError(
                f"{path}: expected trials of either hand, found {there} and neither of {list(group)}. Add them, or "
                f"give the value of the test as {column}."
            )


def trial_listing(frame: pd.DataFrame | None) -> pd.DataFrame:
    """Return the visits at which a trial is blank: `patient_id, week, column, trials, seconds, reason`."""
    rows = []
    for test, groups in TRIALS.items() if frame is not None else ():
        names = [name for group in groups for name in group]
        if frame is None or not any(name in frame for name in names):
            continue
        column = TIMED_COLUMN[test][0]
        known = frame.reindex(columns=names).notna()
        for place in np.flatnonzero(known.any(axis=1) & ~known.all(axis=1)):
            row, blank = frame.iloc[place], [name for name in names if not known[name].iloc[place]]
            reason = "mean of the trials that are there" if pd.notna(row[column]) else "no trial of one hand: no value"
            count = len(names) - len(blank)
            text = f"{reason}; blank: {', '.join(blank)}"
            rows.append([row["patient_id"], row["week"], column, count, row[column], text])
    return pd.DataFrame(rows, columns=COLUMNS)
