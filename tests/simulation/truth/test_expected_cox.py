"""Limits of Cox and Kaplan-Meier against lifelines on one large simulated cohort, and against closed forms."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter, KaplanMeierFitter  # 0.30.3

from nnunet_ms.simulation.model import cohort
from nnunet_ms.simulation.model.trial_presets import DEMO, OLYMPUS
from nnunet_ms.simulation.truth.expected_cox import expected_events, limit_of_kaplan_meier, limits_of_cox
from nnunet_ms.simulation.truth.population import observed_progression

N = 12_000


@pytest.fixture(scope="module", params=[DEMO, OLYMPUS], ids=lambda preset: preset.name)
def large(request):
    """A cohort with events drawn, and its events' probabilities."""
    preset, rng = request.param, np.random.default_rng(5)
    arm = cohort.draw_arms(preset, N, rng)
    baseline = cohort.draw_baseline(preset, N, rng)
    ratio = cohort.log_hazard_ratio(preset, preset.edss, arm, baseline)
    onset = cohort.draw_onset(preset.edss.per_year, ratio, rng)
    time, event = observed_progression(preset, onset, baseline.discontinued_week, 24)
    expected = expected_events(preset, preset.edss.per_year * np.exp(ratio), 24)
    return preset, pd.DataFrame({"time": time, "event": event, "arm": arm, "log_tlv": baseline.log_tlv}), expected


def test_probabilities_are_the_shares_of_the_drawn_cohort(large):
    preset, frame, expected = large
    for j, week in enumerate(preset.assessment_weeks[1:]):
        for share, mean in (
            (((frame.time == week) & frame.event).mean(), expected.event[:, j].mean()),
            ((frame.time >= week).mean(), expected.at_risk[:, j].mean()),
        ):
            assert share == pytest.approx(mean, abs=4 * np.sqrt(mean * (1 - mean) / N) + 1e-12)


@pytest.mark.parametrize("columns", [["arm"], ["log_tlv"], ["arm", "log_tlv"]])
def test_cox_on_the_drawn_cohort_is_near_the_limit(large, columns):
    _, frame, expected = large
    fit = CoxPHFitter().fit(frame[["time", "event", *columns]], "time", "event", fit_options={"precision": 1e-10})
    limit = limits_of_cox(expected, frame[columns].to_numpy(float))
    for name, value in zip(columns, limit, strict=True):
        assert fit.params_[name] == pytest.approx(value, abs=3.5 * fit.standard_errors_[name])


def test_kaplan_meier_on_the_drawn_cohort_is_near_the_limit(large):
    preset, frame, expected = large
    week = preset.assessment_weeks[5]
    survival = KaplanMeierFitter().fit(frame.time, frame.event).predict(week)
    assert limit_of_kaplan_meier(expected, 5) == pytest.approx(survival, abs=4 * np.sqrt(survival * (1 - survival) / N))


def test_frequent_visits_and_no_drop_out_give_back_the_hazard_ratio():
    # Oracle: the model itself; with a visit each week ties and confirmation hardly matter.
    preset = replace(DEMO, assessment_weeks=tuple(range(261)), discontinuations_per_year=0.0)
    arm = np.repeat([0.0, 1.0], 50)
    expected = expected_events(preset, 0.2 * np.exp(-0.5 * arm), 24)
    assert limits_of_cox(expected, arm[:, None])[0] == pytest.approx(-0.5, abs=0.002)
    survival = limit_of_kaplan_meier(expected_events(preset, np.full(3, 0.2), 24), 100)
    assert survival == pytest.approx(np.exp(-0.2 * 100 * 7 / 365.25), abs=1e-9)
