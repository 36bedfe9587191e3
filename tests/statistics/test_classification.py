"""Oracles: epiR's epi.tests, counts by hand, and resampling by hand, one patient after the other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_ms.errors import StatisticsError
from nnunet_ms.statistics.classification import MEASURES, decision_differences, decision_rates
from tests.statistics.classified import P, R, Y

NEITHER, ONE_CLASS = "no case with the condition, and none called so", "cases of one class only"
CALLED = P >= 0.4
PATIENTS = [f"p{k % 11}" for k in range(160)]


def by_name(rates):
    return {rate.measure: rate for rate in rates}


@pytest.mark.parametrize("measure", ["sensitivity", "specificity", "ppv", "npv", "accuracy"])
def test_rates_equal_r(measure):
    found = by_name(decision_rates(Y, CALLED, PATIENTS, replicates=5))[measure]
    assert found.estimate == pytest.approx(R[measure], rel=1e-12)
    assert (found.n, found.positive, found.patients) == (160, int(Y.sum()), 11)


def counted(truth, called):
    """The measures from their definitions, of two lists."""
    pairs = list(zip(truth, called, strict=True))
    tp, fn, fp, tn = (pairs.count(pair) for pair in ((1, 1), (1, 0), (0, 1), (0, 0)))

    def share(part, whole):
        return part / whole if whole else np.nan

    recall, spared = share(tp, tp + fn), share(tn, tn + fp)
    return {
        "sensitivity": recall,
        "specificity": spared,
        "ppv": share(tp, tp + fp),
        "npv": share(tn, tn + fn),
        "accuracy": share(tp + tn, len(pairs)),
        "balanced_accuracy": (recall + spared) / 2,
        "f1": share(2 * tp, 2 * tp + fp + fn),
    }


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), max_size=10))
def test_rates_are_counts(rows):
    truth, called = [row[0] for row in rows], [row[1] for row in rows]
    found = decision_rates(truth, called, [f"p{k}" for k in range(len(rows))], replicates=5)
    expected = counted(truth, called)
    assert tuple(rate.measure for rate in found) == MEASURES == tuple(expected)
    for rate in found:
        assert rate.estimate == pytest.approx(expected[rate.measure], nan_ok=True)
        assert bool(rate.problem) == (np.isnan(rate.estimate) or np.isnan(rate.low))


def test_intervals_resample_whole_patients():
    second = P >= 0.5
    names = np.unique(PATIENTS)
    draws = np.random.default_rng(7).multinomial(11, np.full(11, 1 / 11), size=80)
    found = {name: [] for name in MEASURES}
    differences = {name: [] for name in MEASURES}
    for row in draws:
        times = dict(zip(names, row, strict=True))
        repeats = [times[p] for p in PATIENTS]
        truth, one, other = (np.repeat(v.astype(int), repeats).tolist() for v in (Y, CALLED, second))
        first, last = counted(truth, one), counted(truth, other)
        for name in MEASURES:
            found[name].append(first[name])
            differences[name].append(first[name] - last[name])
    for rate in decision_rates(Y, CALLED, PATIENTS, replicates=80, seed=7):
        assert (rate.low, rate.high) == pytest.approx(tuple(np.percentile(found[rate.measure], [2.5, 97.5])))
    for rate in decision_differences(Y, CALLED, second, PATIENTS, replicates=80, seed=7, level=0.8):
        assert (rate.low, rate.high) == pytest.approx(tuple(np.percentile(differences[rate.measure], [10, 90])))


@pytest.mark.parametrize(
    ("truth", "called", "undefined"),
    [
        ([1] * 6, [1, 0, 1, 0, 1, 1], {"specificity": "no case without the condition"}),
        ([0] * 6, [0] * 6, {"balanced_accuracy": ONE_CLASS, "f1": NEITHER}),
        ([0, 1] * 3, [1] * 6, {"npv": "no case was called negative"}),
        ([0] * 6, [0] * 6, {"ppv": "no case was called positive", "sensitivity": "no case with the condition"}),
        ([], [], dict.fromkeys(["accuracy"], "no case")),
    ],
)  # fmt: skip
def test_one_class_and_constant_decisions_say_what_is_not_defined(truth, called, undefined):
    found = by_name(decision_rates(truth, called, [f"p{k}" for k in range(len(truth))]))
    for name, problem in undefined.items():
        assert np.isnan(found[name].estimate)
        assert found[name].problem == problem


def test_a_constant_decision_is_right_half_of_the_time_on_balance():
    for called in ([1] * 8, [0] * 8):
        found = by_name(decision_rates([0, 0, 0, 0, 0, 0, 1, 1], called, list("abcdefgh"), replicates=50))
        assert found["balanced_accuracy"].estimate == 0.5


@pytest.mark.parametrize("patients", [1, 2, 4])
def test_few_patients_have_no_interval(patients):
    names = [f"p{k % patients}" for k in range(8)]
    found = by_name(decision_rates([0, 0, 0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 0, 1, 1], names))["accuracy"]
    assert (found.estimate, found.problem) == (0.75, f"{patients} patients, needs 5 for an interval over patients")
    assert np.isnan(found.low)


@pytest.mark.parametrize(
    ("truth", "problem"),
    [
        ([0, 1, 0.5, 1, 0, 1], "truth: expected 0 and 1, found 0.5"),
        ([0, 1, np.nan, 1, 0, 1], "1 of 6 values of truth are missing or infinite"),
    ],
)
def test_other_values_than_0_and_1_are_a_problem(truth, problem):
    assert {rate.problem for rate in decision_rates(truth, [0, 1] * 3, list("abcdef"))} == {problem}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: decision_rates([0, 1], [0], ["a", "b"]), "expected equal lengths, found 2 in truth, 1 in decision 1"),
        (lambda: decision_rates([0, 1], [0, 1], ["a"]), "expected equal lengths, found 2 in truth, 1 in patients"),
        (lambda: decision_rates([0, 1], [0, 1], ["a", None]), "1 of 2 values of patients are missing"),
        (lambda: decision_rates(["no", "yes"], [0, 1], ["a", "b"]), "truth: expected numbers"),
    ],
)
def test_what_the_caller_can_mend_is_refused(call, message):
    with pytest.raises(StatisticsError, match=message):
        call()
