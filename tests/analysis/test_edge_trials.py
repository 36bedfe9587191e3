"""Simulated trials at the edge of what can be estimated: what is right stands in the README of their folder."""

from dataclasses import replace

import numpy as np
import pytest

from nnunet_ms.analysis.endpoints.lesion_counts import ENDPOINTS, lesion_count_statistics
from nnunet_ms.analysis.endpoints.progression_by_arm import treatment_statistics
from nnunet_ms.analysis.endpoints.progression_by_t2_volume import outcome_audit
from nnunet_ms.analysis.endpoints.statistic_rows import reason_of, select, to_frame, value_of
from nnunet_ms.analysis.trial.adam_settings import AdamSettings
from nnunet_ms.analysis.trial.adam_tables import adam_patients, adam_times
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.settings import read_settings
from nnunet_ms.statistics.survival import kaplan_meier, survival_at


@pytest.fixture
def edge(shared):
    """Reads one of the folders."""
    return lambda name: read_trial(read_settings(shared / "cases" / "stats" / name / "trial.toml"))


def test_counts_that_separate_are_modelled_without_the_covariate(edge):
    # R 4.2.2, MASS 7.3-58.2: glm.nb(lesions ~ arm + edss_stratum + region + offset(log(scans))), not baseline.
    rows = to_frame(lesion_count_statistics(edge("separated_counts"), ENDPOINTS[0]))
    keys = {"analysis": "negative_binomial", "term": "arm", "contrast": "B - A"}
    assert value_of(rows, stat_name="rate_ratio", **keys) == pytest.approx(0.028631, abs=5e-7)
    assert value_of(rows, stat_name="p", **keys) == pytest.approx(8.75e-07, rel=1e-3)
    assert value_of(rows, stat_name="se_log", **keys) == pytest.approx(0.72252, abs=5e-6)
    method = select(rows, stat_name="p", **keys)["method"].iloc[0]
    assert "baseline left out (with it 58 patients without a lesion would get the rate 0" in method
    rates = select(rows, analysis="negative_binomial", stat_name="rate", rater="reference").set_index("arm")["stat"]
    assert 0.4 < rates["A"] < 0.7  # crude: .567 and .017
    assert 0.01 < rates["B"] < 0.03


def test_times_from_day_one_are_at_their_visits(shared):
    # README of the folder: free of the event at weeks 24 and 48, 93.1 and 85.0 %. Without a lesion table of its own.
    folder = shared / "cases" / "stats" / "adtte_aval_plus1"
    patients = adam_patients(folder / "adsl.csv", AdamSettings(folder), None)
    times = adam_times(folder / "adtte.csv", patients, "cdp24", AdamSettings(folder))
    curve = kaplan_meier(times["time_weeks"], times["event"], "log")
    free = [100 * survival_at(curve, times["time_weeks"], week)[1] for week in (24, 48)]
    assert [round(value, 1) for value in free] == [93.1, 85.0]


def test_a_curve_that_ends_at_one_half(edge):
    # R 4.2.2, survival 3.5-3: the middle of the last step and the end of follow-up. SAS: not estimable.
    trial = edge("flat_half")
    audit = outcome_audit(trial, "cdp24")
    curves = {arm: kaplan_meier(t["time_weeks"], t["event"], "log") for arm, t in audit.groupby("arm")}
    flat = {arm: curve for arm, curve in curves.items() if abs(curve["survival"].iloc[-1] - 0.5) < 1e-12}
    assert flat
    for arm, curve in flat.items():
        first = curve.loc[curve["survival"] < 0.5 + 1e-12, "week"].iloc[0]
        for step, expected in (("midpoint", (first + curve["week"].iloc[-1]) / 2), ("between_events", np.nan)):
            conventions = replace(trial.settings.conventions, median_of_flat_step=step)
            changed = replace(trial, settings=replace(trial.settings, conventions=conventions))
            rows = to_frame(treatment_statistics(changed, "cdp24", audit))
            median = {"analysis": "km_by_arm", "arm": arm, "stat_name": "median"}
            quartile = {"analysis": "km_quartiles", "arm": arm, "term": "50 % with event", "stat_name": "time"}
            assert value_of(rows, **median) == pytest.approx(expected, nan_ok=True)
            assert value_of(rows, **quartile) == pytest.approx(expected, nan_ok=True)
        assert reason_of(rows, **median) == "not estimable (survival stays at one half to the end)"
