from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nnunet_ms.errors import StatisticsError
from nnunet_ms.statistics.survival import kaplan_meier, median_time
from nnunet_ms.statistics.survival_quantiles import quantile_time, survival_difference

HERE = Path(__file__).parent
I = np.arange(40)  # noqa: E741  # as in the script
SETS = {
    "ties": ((I * I * 3 + 5 * I) % 29 + 1, (I * 7) % 5 < 3),
    "sparse": ((I * 13) % 37 + 2, (I * 3) % 11 < 3),
    "to_zero": (np.arange(1, 13), np.ones(12)),
    "flat_end": (np.arange(1, 7), np.array([1, 1, 1, 0, 0, 0])),
    "flat_inside": (np.arange(1, 9), np.array([1, 1, 1, 1, 0, 0, 1, 1])),
    "flat_quarter": (np.arange(1, 9), np.array([1, 1, 0, 0, 0, 0, 0, 0])),
    "flat_three_quarters": (np.arange(1, 9), np.array([1, 1, 1, 1, 1, 1, 0, 0])),
    "no_event": (np.arange(1, 6), np.zeros(5)),
    "one": (np.array([3]), np.array([1])),
}


def test_quartiles_and_limits_equal_rs():
    # Oracle: survival_quantiles.R, which names R's and survival's versions in the table: quantile(survfit).
    table = pd.read_csv(HERE / "survival_quantiles.csv", skipinitialspace=True)
    assert set(table["set"]) == set(SETS)
    for row in table.itertuples():
        curve = kaplan_meier(*SETS[row.set], row.type)
        found = quantile_time(curve, row.share)
        expected = (row.quantile, row.low, row.high)
        assert (found.estimate, found.low, found.high) == pytest.approx(expected, nan_ok=True), row
        if row.share == 0.5:
            assert median_time(curve) == pytest.approx(row.quantile, nan_ok=True)


@pytest.mark.parametrize(
    ("name", "share", "expected"),
    [
        ("flat_end", 0.5, (4.5, np.nan, 3.0)),
        ("flat_quarter", 0.25, (5.0, np.nan, 2.0)),
        ("flat_three_quarters", 0.75, (7.0, np.nan, 6.0)),
        ("flat_inside", 0.5, (5.5, 5.5, 4.0)),  # an event ends the step: all the same but the first time
    ],
)
def test_a_flat_step_that_no_event_ends(name, share, expected):
    # By hand. SAS's PROC LIFETEST: the middle up to the next event, missing without one.
    curve = kaplan_meier(*SETS[name], "log")
    found = [quantile_time(curve, share, how).estimate for how in ("midpoint", "between_events", "first")]
    assert found == pytest.approx(expected, nan_ok=True)


def test_a_curve_that_ends_at_one_half_with_censored_times_after_it():
    # By hand: the curve of ten patients stays at .5 from 85 to 120, the end of follow-up; its middle is 102.5.
    time = [20, 40, 60, 70, 85, 90, 100, 105, 110, 120]
    curve = kaplan_meier(time, [1, 1, 1, 1, 1, 0, 0, 0, 0, 0], "log")
    assert median_time(curve) == 102.5
    assert np.isnan(median_time(curve, "between_events"))


def test_differences_at_landmarks_equal_rs():
    # Oracle: survival_quantiles.R: the standard errors of summary(survfit), as tern's surv_timepoint takes them.
    time, event = SETS["ties"]
    curves = [kaplan_meier(time[g::2], event[g::2], "log") for g in (0, 1)]
    for row in pd.read_csv(HERE / "survival_landmarks.csv", skipinitialspace=True).itertuples():
        found = survival_difference(curves[1], curves[0], row.week)
        expected = (row.difference, row.se, row.low, row.high, row.p)
        assert (found.estimate, found.se, found.low, found.high, found.p) == pytest.approx(expected, abs=1e-12)


def test_landmarks_that_nobody_reaches_or_without_events():
    some, none = kaplan_meier([1, 2, 9], [1, 0, 0], "log"), kaplan_meier([5, 9], [0, 0], "log")
    assert "nobody of an arm was followed to week 10" in survival_difference(some, none, 10).problem
    assert "nobody of an arm" in survival_difference(some, kaplan_meier([], [], "log"), 1).problem
    alone = survival_difference(none, none, 3)
    assert (alone.estimate, alone.problem) == (0, "no event, or nobody left, in either arm: no variance")
    assert survival_difference(some, none, 0.5).estimate == 0
    with pytest.raises(StatisticsError, match="share: expected a number between 0 and 1, found 1"):
        quantile_time(some, 1)
