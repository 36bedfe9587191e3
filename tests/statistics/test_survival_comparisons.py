"""Oracles: the measures themselves (which R checks), a model that knows all and one that knows nothing, and a sign."""

import numpy as np
import pytest

from nnunet_ms.errors import OptionError, StatisticsError
from nnunet_ms.statistics.survival_comparisons import MEASURES, score_of, survival_scores
from nnunet_ms.statistics.survival_predictions import (
    brier_over_time,
    curve_concordance,
    integrated_brier,
    time_concordance,
)

GENERATOR = np.random.default_rng(4)
RATE = GENERATOR.lognormal(-4.5, 0.8, 70)
EVENT_TIME = GENERATOR.exponential(1 / RATE).round(1) + 0.1
CENSORED = GENERATOR.uniform(40, 130, 70).round(1)
TIME, EVENT = np.minimum(EVENT_TIME, CENSORED), (EVENT_TIME <= CENSORED).astype(int)
AT = np.array([24.0, 48, 72, 96, 120])
TRUE = np.exp(-np.outer(RATE, AT))
ALIKE = np.tile(TRUE.mean(axis=0), (70, 1))
CURVES = {"true": TRUE, "alike": ALIKE}
FOUND = survival_scores(TIME, EVENT, CURVES, AT, 72.0, reference="alike", replicates=100)


def test_estimates_are_those_of_the_single_measures():
    inside = TRUE[:, :3]
    expected = {
        "concordance_uno": time_concordance(TIME, EVENT, -inside[:, -1], 72.0, replicates=1).estimate,
        # exponential curves, so that what lies between the times is known
        "concordance_antolini": curve_concordance(
            TIME, EVENT, np.exp(-np.outer(RATE, np.unique(TIME))), np.unique(TIME), 72.0, replicates=1
        ).estimate,
        "brier": brier_over_time(TIME, EVENT, inside[:, -1:], AT[2:3])[0].brier,
        "brier_integrated": integrated_brier(TIME, EVENT, inside, AT[:3]).estimate,
    }
    for measure, value in expected.items():
        assert score_of(FOUND, "true", measure).estimate == pytest.approx(value, rel=1e-12)


def test_everybody_alike_is_worth_one_half_and_the_truth_is_better():
    assert score_of(FOUND, "alike", "concordance_uno").estimate == 0.5
    assert score_of(FOUND, "alike", "concordance_antolini").estimate == pytest.approx(0.5)
    assert score_of(FOUND, "true", "concordance_uno", "alike").low > 0
    assert score_of(FOUND, "true", "brier_integrated", "alike").high < 0


def test_a_model_less_the_same_curves_is_nothing_with_an_interval_of_nothing():
    same = survival_scores(TIME, EVENT, {"true": TRUE, "again": TRUE}, AT, 72.0, reference="again", replicates=20)
    for measure in MEASURES:
        one = score_of(same, "true", measure, "again")
        assert (one.estimate, one.low, one.high, one.problem) == (0, 0, 0, "")


@pytest.mark.parametrize("week", AT[:3])
def test_brier_score_at_each_time(week):
    place = list(AT).index(week)
    expected = brier_over_time(TIME, EVENT, TRUE[:, [place]], [week])[0].brier
    found = score_of(FOUND, "true", "brier", week=week)
    assert found.estimate == pytest.approx(expected)
    assert found.low < found.estimate < found.high


def test_exchanging_two_models_changes_the_sign():
    swapped = survival_scores(TIME, EVENT, {"true": TRUE, "alike": ALIKE}, AT, 72.0, reference="true", replicates=100)
    for measure in MEASURES:
        one, other = score_of(FOUND, "true", measure, "alike"), score_of(swapped, "alike", measure, "true")
        assert (one.estimate, one.low, one.high) == pytest.approx((-other.estimate, -other.high, -other.low))


def test_few_patients_have_estimates_without_intervals():
    few = slice(0, 4)
    found = survival_scores(TIME[few], EVENT[few], {"true": TRUE[few]}, AT, 72.0, replicates=20)
    assert np.isnan(found[0].low)
    assert "for an interval over patients" in found[0].problem


def test_beyond_everybody_the_brier_score_is_undefined_and_says_so():
    censored = np.where(TIME < 60, EVENT, 0)
    found = survival_scores(np.minimum(TIME, 60), censored, {"true": TRUE}, AT, 120.0, replicates=20)
    assert score_of(found, "true", "brier").problem.startswith("undefined: ")


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"horizon": 70.0}, StatisticsError, "horizon: expected one of the times of the curves, found 70"),
        ({"curves": {"net": TRUE * 2}}, StatisticsError, "net: expected values from 0 to 1"),
        ({"curves": {"net": TRUE[:5]}}, StatisticsError, "expected equal lengths"),
        ({"event": EVENT + 1}, StatisticsError, "event: expected 0"),
        ({"level": 95}, OptionError, "level: expected a number between 0 and 1"),
        ({"replicates": 0}, OptionError, "replicates"),
        ({"reference": "coin"}, OptionError, "reference"),
    ],
)
def test_what_cannot_be_compared_is_refused(changed, error, message):
    given = {"time": TIME, "event": EVENT, "curves": {"net": TRUE}, "at": AT, "horizon": 72.0, "replicates": 5}
    with pytest.raises(error, match=message):
        survival_scores(**{**given, **changed})
