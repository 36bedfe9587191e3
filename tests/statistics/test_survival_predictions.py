"""Oracles: R's survival package, definitions written out in R, loops over pairs, and scipy where nobody is censored."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nnunet_ms.errors import OptionError, StatisticsError
from nnunet_ms.statistics.survival_predictions import (
    brier_over_time,
    curve_concordance,
    integrated_brier,
    time_concordance,
)

R = pd.read_csv(Path(__file__).with_name("survival_predictions.csv")).set_index(["table", "name"])["value"].to_dict()
K = np.arange(90)
# the tables of survival_predictions.R (R 4.2.2, survival 3.5.3)
TIME = {"ties": (K * K * 3 + 5 * K) % 23 + 2.0, "few": (K * K * 5 + 11 * K) % 89 + K / 100 + 1}
EVENT = {"ties": ((K * 7) % 5 < 3) * 1, "few": ((K * 11) % 13 < 6) * 1}
AT = {"ties": np.array([3, 6, 9.5, 14, 20]), "few": np.array([5, 20, 40.5, 60, 80])}
RISK = {name: np.round((TIME[name] * -2 + (K * 17) % 41) / 7, 1) for name in TIME}
CURVES = {
    name: np.exp(-((AT[name][None, :] / (8 + 2 * ((K * 5) % 19))[:, None]) ** (1 + ((K * 3) % 5) / 4)[:, None]))
    for name in TIME
}
TABLES = sorted(TIME)


@pytest.mark.parametrize("weights", ["harrell", "uno"])
@pytest.mark.parametrize("horizon", [False, True])
@pytest.mark.parametrize("table", TABLES)
def test_concordance_equals_r(table, horizon, weights):
    last = AT[table][3] if horizon else None
    found = time_concordance(TIME[table], EVENT[table], RISK[table], last, weights, replicates=5)
    assert found.estimate == pytest.approx(R[table, weights + "_horizon" * horizon], rel=1e-10)
    assert found.problem == ""


@pytest.mark.parametrize("table", TABLES)
def test_concordance_of_crossing_curves_equals_its_definition_in_r(table):
    found = curve_concordance(TIME[table], EVENT[table], CURVES[table], AT[table], replicates=5)
    assert found.estimate == pytest.approx(R[table, "antolini"], rel=1e-12)


@pytest.mark.parametrize("table", TABLES)
def test_brier_equals_its_definition_in_r(table):
    rows = brier_over_time(TIME[table], EVENT[table], CURVES[table], AT[table])
    for k, row in enumerate(rows, 1):
        expected = R[table, f"brier_{k}"], R[table, f"reference_{k}"]
        assert (row.brier, row.reference) == pytest.approx(expected, rel=1e-10)
        assert row.scaled == pytest.approx(1 - expected[0] / expected[1], rel=1e-8)
    whole = integrated_brier(TIME[table], EVENT[table], CURVES[table], AT[table])
    expected = R[table, "integrated"], R[table, "integrated_reference"]
    assert (whole.estimate, whole.reference) == pytest.approx(expected, rel=1e-10)


def test_nobody_censored_is_the_plain_mean_and_kendalls_pairs():
    time, risk = TIME["few"], RISK["few"]
    everyone = np.ones(90)
    row = brier_over_time(time, everyone, CURVES["few"], AT["few"])[2]
    later = time > AT["few"][2]
    assert row.brier == pytest.approx(np.mean((later - CURVES["few"][:, 2]) ** 2), rel=1e-12)
    assert row.reference == pytest.approx(later.mean() * (1 - later.mean()), rel=1e-12)
    pairs = [(i, j) for i in range(90) for j in range(90) if time[i] < time[j]]
    won = sum((risk[i] > risk[j]) + 0.5 * (risk[i] == risk[j]) for i, j in pairs) / len(pairs)
    for weights in ("uno", "harrell"):
        assert time_concordance(time, everyone, risk, weights=weights, replicates=5).estimate == pytest.approx(won)


def test_curves_that_do_not_cross_are_ranked_as_their_risk():
    hazard = np.exp(RISK["few"] / 4)
    grid = np.unique(TIME["few"])
    curves = np.exp(-hazard[:, None] * grid[None, :] / 60)
    one = curve_concordance(TIME["few"], EVENT["few"], curves, grid, replicates=5)
    other = time_concordance(TIME["few"], EVENT["few"], RISK["few"], weights="harrell", replicates=5)
    assert one.estimate == pytest.approx(other.estimate, rel=1e-12)


@pytest.mark.parametrize("weights", ["harrell", "uno"])
def test_intervals_resample_patients_with_weights_made_anew(weights):
    # Oracle: patients repeated by hand; a patient and its copy have equal times, so they are no pair.
    rng = np.random.default_rng(3)
    time, event, risk = rng.integers(1, 9, 25) * 1.0, rng.integers(0, 2, 25), rng.normal(size=25)
    found = time_concordance(time, event, risk, weights=weights, replicates=40, seed=5)
    values = []
    for row in np.random.default_rng(5).multinomial(25, np.full(25, 1 / 25), size=40):
        drawn = [np.repeat(part, row) for part in (time, event, risk)]
        copies = np.repeat(np.arange(25), row)
        values.append(by_hand(*drawn, copies, weights))
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(values, [2.5, 97.5])), rel=1e-9)


def by_hand(time, event, risk, copies, weights):
    def share(t):  # Kaplan-Meier of the censoring just before t
        value = 1.0
        for u in np.unique(time[event == 0]):
            if u < t:
                lost = np.sum((time == u) & (event == 0))
                value *= 1 - lost / (np.sum(time > u) + lost)
        return value

    won = pairs = 0.0
    for i in range(len(time)):
        for j in range(len(time)):
            longer = time[j] > time[i] or (time[j] == time[i] and not event[j])
            if event[i] and longer and copies[i] != copies[j]:
                weight = 1 / share(time[i]) ** 2 if weights == "uno" else 1.0
                pairs += weight
                won += weight * ((risk[i] > risk[j]) + 0.5 * (risk[i] == risk[j]))
    return won / pairs


def test_censoring_biases_harrells_index_and_not_unos():
    # Risk orders early events better than late ones, and early censoring then flatters Harrell's; Uno's stays near the
    # truth of the same patients without censoring up to the horizon (1,500 patients).
    rng = np.random.default_rng(0)
    n = 1500
    true = rng.exponential(10, n)
    risk = -true + rng.normal(size=n) * np.where(true < 5, 1, 12)
    censored = rng.exponential(6, n)
    time, event = np.minimum(true, censored), true <= censored
    whole = time_concordance(true, np.ones(n), risk, 15, replicates=1).estimate
    uno = time_concordance(time, event, risk, 15, replicates=1).estimate
    harrell = time_concordance(time, event, risk, 15, "harrell", replicates=1).estimate
    assert abs(uno - whole) < 0.04
    assert harrell - whole > abs(uno - whole)


@pytest.mark.parametrize(
    ("time", "event", "risk", "problem"),
    [
        ([1, 2, 3, 4, 5], [0] * 5, [1, 2, 3, 4, 5], "no pair can be compared: 0 events among 5 patients"),
        ([2, 2, 2, 2, 2], [1] * 5, [1, 2, 3, 4, 5], "no pair can be compared: 5 events among 5 patients"),
        ([], [], [], "no pair can be compared: 0 events among 0 patients"),
        ([1, 2, -3], [1, 1, 1], [1, 2, 3], "time: expected values >= 0, found -3"),
        ([1, 2, 3], [1, 2, 1], [1, 2, 3], "event: expected 0 (censored) and 1 (event), found 2"),
        ([1, 2, 3], [1, 1, 1], [1, np.nan, 3], "1 of 3 values of risk are missing or infinite"),
    ],
)
def test_what_cannot_be_compared_says_why(time, event, risk, problem):
    found = time_concordance(time, event, risk)
    assert found.problem == problem
    assert np.isnan([found.estimate, found.low]).all()


def test_constant_risks_are_worthless_and_three_patients_have_no_interval():
    assert time_concordance(TIME["ties"], EVENT["ties"], np.ones(90), replicates=20).estimate == 0.5
    found = time_concordance([1, 2, 3], [1, 1, 0], [3, 2, 1])
    assert (found.estimate, found.problem) == (1.0, "3 patients, needs 5 for an interval over patients")


def test_nobody_followed_beyond_a_time_has_no_score_there():
    rows = brier_over_time([1, 2, 3, 4], [1, 0, 1, 0], np.full((4, 2), 0.5), [2.5, 9])
    assert np.isfinite(rows[0].brier)
    assert (np.isnan(rows[1].brier), rows[1].problem) == (True, "nobody is followed beyond 9")
    assert integrated_brier([1, 2, 3, 4], [1, 0, 1, 0], np.full((4, 2), 0.5), [2.5, 9]).problem == rows[1].problem
    known = brier_over_time([1, 2], [1, 1], [[0.0], [0.0]], [9])[0]
    assert (known.brier, known.problem) == (0.0, "")


@pytest.mark.parametrize(
    ("curves", "at", "problem"),
    [
        ([[0.5, 0.6]] * 3, [1, 2], "survival: expected curves that never rise"),
        ([[0.5, 0.4]] * 3, [2, 1], "at: expected rising times"),
        ([[1.5, 0.4]] * 3, [1, 2], "survival: expected values from 0 to 1, found 1.5"),
        ([[0.5, np.nan]] * 3, [1, 2], "3 of 6 values of survival are missing or infinite"),
    ],
)
def test_curves_that_are_none_say_why(curves, at, problem):
    assert curve_concordance([1, 2, 3], [1, 1, 0], curves, at).problem == problem
    assert {row.problem for row in brier_over_time([1, 2, 3], [1, 1, 0], curves, at)} == {problem}
    assert integrated_brier([1, 2, 3], [1, 1, 0], curves, at).problem == problem


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: time_concordance([1, 2], [1, 1], [1]), StatisticsError, "expected equal lengths, found 2 in time, 1"),
        (lambda: curve_concordance([1], [1], [[0.5]], [1, 2]), StatisticsError, "found 2 in at, 1 in columns_of"),
        (lambda: brier_over_time([1, 2], [1, 1], [[0.5]], [1]), StatisticsError, "found 2 in time, 1 in survival"),
        (lambda: time_concordance([1, 2], [1, 1], [1, 2], weights="Uno"), OptionError, "^weights: .* mean 'uno'"),
        (lambda: integrated_brier([1, 2], [1, 1], [0.5, 0.5], [1]), StatisticsError, "expected an array with 2"),
    ],
)
def test_what_the_caller_can_mend_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_one_time_has_no_mean_over_time():
    assert integrated_brier([1, 2], [1, 1], [[0.5], [0.5]], [1]).problem == "needs two times"
