"""Visit windows: which week of the plan a scan belongs to, and which of two scans in one window is taken."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from nnunet_ms.analysis.trial.settings_section import Section

COLUMNS = ["patient_id", "week", "planned_week", "used", "reason"]
OUTSIDE = "outside every visit window"
AGAIN = "another scan in this window is read by more raters, or closer"


@dataclass(frozen=True)
class Window:
    """A planned week and the weeks, both included, that count as it."""

    target: float
    low: float
    high: float


def window_settings(section: Section) -> tuple[Window, ...]:
    """Read [visits.windows]: one key per planned week, such as `48 = [40, 56]`; by rising week.

    Raises
    ------
    SettingsError
        If a window does not hold its week, or two of them overlap.
    """
    windows = [_window(section, key, value) for key, value in section.inner("windows").items()]
    windows.sort(key=lambda window: window.target)
    for before, after in pairwise(windows):
        section.check(
            "windows",
            [before.low, before.high, after.low, after.high],
            f"windows of weeks {before.target:g} and {after.target:g} that do not overlap",
            before.high < after.low,
        )
    return tuple(windows)


def _window(section: Section, key: str, value: object) -> Window:
    limits = value if isinstance(value, list) else []
    numbers = [float(v) for v in limits if isinstance(v, int | float) and not isinstance(v, bool)]
    try:
        target = float(key)
    except ValueError:
        target = float("nan")
    good = len(numbers) == len(limits) == 2 and numbers[0] <= target <= numbers[1]
    section.check(f"windows.{key}", value, "a week and its window, such as 48 = [40, 56]", good)
    return Window(target, *numbers)


def to_planned_weeks(
    visits: pd.DataFrame, windows: Sequence[Window], weeks: Sequence[float]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Give every scan the week of the plan that it counts as.

    Parameters
    ----------
    visits : pandas.DataFrame
        `patient_id, week, rater` and other columns, one row per scan, rater and lesion type.
    windows : sequence of Window
        Not overlapping; none: the table comes back as it is.
    weeks : sequence of float
        The planned weeks. One without a window must be met exactly.

    Returns
    -------
    visits : pandas.DataFrame
        `week` as planned. Without scans outside every window, and without all but one scan of a patient in one window:
        the one that most raters read, then the closest to the planned week, then the earlier. All raters have the
        same scan.
    listing : pandas.DataFrame
        `patient_id, week, planned_week, used, reason` of every scan that is not at its planned week or not used;
        `planned_week` is blank outside every window.
    """
    if not windows:
        return visits, pd.DataFrame(columns=COLUMNS)
    exact = [Window(week, week, week) for week in weeks if week not in {w.target for w in windows}]
    scans = visits.groupby(["patient_id", "week"], as_index=False)["rater"].nunique()
    scans["planned_week"] = scans["week"].map(lambda week: _planned(week, [*windows, *exact]))
    scans["distance"] = (scans["week"] - scans["planned_week"]).abs()
    rising = [True, True, False, True, True]
    scans = scans.sort_values(["patient_id", "planned_week", "rater", "distance", "week"], ascending=rising)
    outside = scans["planned_week"].isna()
    again = ~outside & scans.duplicated(["patient_id", "planned_week"])
    scans["used"] = ~outside & ~again
    scans["reason"] = np.select([outside, again], [OUTSIDE, AGAIN], "")
    listing = scans[scans["week"] != scans["planned_week"]].sort_values(["patient_id", "week"])
    planned = scans[scans["used"]].set_index(["patient_id", "week"])["planned_week"]
    chosen = visits.join(planned, on=["patient_id", "week"])
    kept = chosen[chosen["planned_week"].notna()]
    return kept.assign(week=kept["planned_week"]).drop(columns="planned_week"), listing[COLUMNS].reset_index(drop=True)


def _planned(week: float, windows: Sequence[Window]) -> float:
    return next((w.target for w in windows if w.low <= week <= w.high), float("nan"))
