"""Oracles: the rows of R's person-period table, lifelines' Kaplan-Meier, and the definition of a constant rate."""

import numpy as np
import pytest
from lifelines import KaplanMeierFitter

from nnunet_ms.classification.stratification.survival_intervals import (
    curves_at,
    interval_edges,
    median_weeks,
    person_periods,
)
from nnunet_ms.errors import OptionError, SettingsError

GENERATOR = np.random.default_rng(1)
TIME = GENERATOR.exponential(60, 200).round(1) + 1
EVENT = (GENERATOR.random(200) < 0.6).astype(int)


@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_the_curve_falls_by_equal_amounts_between_edges(count):
    edges = interval_edges(TIME, EVENT, intervals=count)
    curve = KaplanMeierFitter().fit(TIME, EVENT).survival_function_at_times(edges[:-1]).to_numpy()
    end = KaplanMeierFitter().fit(TIME, EVENT).survival_function_["KM_estimate"].min()
    assert edges[0] == 0
    assert edges[-1] == TIME.max()
    assert curve == pytest.approx(1 - (1 - end) * np.arange(count) / count, abs=0.02)


def test_tied_events_give_fewer_intervals():
    # the curve is .4 at 12 and .2 at 24: of the levels .8, .6 and .4 all are reached at 12
    assert interval_edges([12, 12, 12, 24, 36], [1, 1, 1, 1, 0], intervals=4).tolist() == [0, 12, 36]


@pytest.mark.parametrize("week", [12.0, 24.0, 52.0])
def test_every_patient_is_known_in_the_intervals_that_were_seen(week):
    edges = interval_edges(TIME, EVENT, interval_weeks=week)
    survived, progressed = np.split(person_periods(TIME, EVENT, edges), 2, axis=1)
    assert edges[-1] >= TIME.max() > edges[-2]
    assert (survived.sum(axis=1) == np.where(EVENT, np.ceil(TIME / week) - 1, np.floor(TIME / week + 0.5))).all()
    assert (progressed.sum(axis=1) == EVENT).all()
    assert ((survived + progressed) <= 1).all()


def test_curves_have_a_constant_rate_between_edges():
    edges, hazards = np.array([0.0, 10, 30]), np.array([[0.2, 0.6]])
    rates = -np.log([0.8, 0.4]) / [10, 20]
    for t in (0, 3, 10, 17, 30):
        expected = np.exp(-rates[0] * min(t, 10) - rates[1] * max(t - 10, 0))
        assert curves_at(hazards, edges, [t]).item() == pytest.approx(expected)
    assert curves_at(hazards, edges, [99]).item() == pytest.approx(0.32)
    assert curves_at([[1.0, 0.0]], edges, [30]).item() == pytest.approx(0, abs=1e-9)


def test_median_is_the_first_week_at_one_half():
    assert median_weeks([[0.9, 0.4], [0.5, 0.4]], [10, 20]).tolist() == [20, 10]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"intervals": 0}, OptionError, "intervals: expected a whole number >= 1"),
        ({"interval_weeks": 1e6}, OptionError, "interval_weeks: expected 1 to"),
        ({"event": np.zeros(200)}, SettingsError, "expected patients with progression, found none of 200"),
    ],
)
def test_what_gives_no_intervals_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        interval_edges(TIME, **{"event": EVENT, **options})
