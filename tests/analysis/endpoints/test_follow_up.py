"""Oracle: counted by hand."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from nnunet_ms.analysis.endpoints.follow_up import follow_up_statistics
from nnunet_ms.analysis.endpoints.statistic_rows import to_frame, value_of

TRIAL = SimpleNamespace(settings=SimpleNamespace(arms=("placebo", "active")))


def found(rows):
    table = pd.DataFrame(rows, columns=["arm", "time_weeks", "event", "component"])
    return to_frame(follow_up_statistics(TRIAL, "ccdp12", table))


def test_patients_without_event_and_the_range_with_censoring():
    frame = found(
        [
            ("placebo", 12.0, True, "cdp12"),
            ("placebo", 12.0, False, None),
            ("placebo", 96.0, False, None),
            ("placebo", np.nan, False, None),  # no outcome: counts nowhere
            ("active", 0.0, False, None),
            ("active", 48.0, True, "t25fw12"),
        ]
    )
    keys = ("without_event", "shortest", "shortest_censored", "longest", "longest_censored")
    values = {arm: [value_of(frame, arm=arm, stat_name=key, term="") for key in keys] for arm in TRIAL.settings.arms}
    assert values == {"placebo": [2, 12, 0, 96, 1], "active": [1, 0, 1, 48, 0]}


def test_components_of_a_composite_are_counted_per_arm():
    frame = found(
        [("placebo", 12.0, True, "cdp12"), ("placebo", 24.0, True, "cdp12"), ("active", 48.0, True, "9hpt12")]
    )
    assert [value_of(frame, arm=arm, term="first: cdp12") for arm in ("placebo", "active")] == [2, 0]
    assert [value_of(frame, arm=arm, term="first: 9hpt12") for arm in ("placebo", "active")] == [0, 1]


@pytest.mark.parametrize("component", ["ccdp12", None, ""])
def test_an_outcome_of_one_part_has_no_components(component):
    frame = found([("placebo", 12.0, True, component), ("active", 48.0, True, component)])
    assert not frame["term"].str.startswith("first").any()


def test_an_arm_that_nobody_followed_is_blank_with_the_reason():
    frame = found([("placebo", 12.0, True, "cdp12")])
    active = frame[frame["arm"] == "active"]
    assert value_of(active, stat_name="without_event") == 0
    blank = active[active["stat"].isna()]
    assert set(blank["stat_name"]) == {"shortest", "longest", "shortest_censored", "longest_censored"}
    assert blank["method"].str.endswith("not estimable (nobody was followed)").all()
