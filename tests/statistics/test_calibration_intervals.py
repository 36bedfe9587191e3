"""Intervals of calibration over patients, against fits of statsmodels to the drawn rows themselves, one by one."""

import numpy as np
import pytest
import scipy.special

from nnunet_ms.errors import OptionError, StatisticsError
from nnunet_ms.statistics.calibration import calibration
from nnunet_ms.statistics.calibration_intervals import MEASURES, calibration_measures


def lesions(patients=30, of_each=8, seed=0, slope=0.7):
    """Lesions whose odds differ between patients; probabilities that are too extreme by 1 / slope."""
    rng = np.random.default_rng(seed)
    names = np.repeat([f"P{i}" for i in range(patients)], of_each)
    odds = rng.normal(-1, 1.5, names.size)
    raised = np.repeat(rng.normal(0, 1, patients), of_each)
    truth = (rng.random(names.size) < scipy.special.expit(slope * odds + raised)).astype(int)
    return truth, scipy.special.expit(odds), names.tolist()


def one_by_one(truth, p, names, replicates, seed):
    """Percentiles over resamples whose rows are written down and fitted by `calibration`."""
    names = np.array(names)
    patients = np.unique(names)
    share = np.full(len(patients), 1 / len(patients))
    drawn = np.random.default_rng(seed).multinomial(len(patients), share, replicates)
    values = {name: [] for name in MEASURES}
    for often in drawn:
        rows = np.concatenate(
            [np.flatnonzero(names == who) for who, n in zip(patients, often, strict=True) for _ in range(n)]
        )
        found = calibration(truth[rows], p[rows])
        for name in MEASURES:
            values[name].append(getattr(found, name))
    return {name: np.percentile(values[name], [2.5, 97.5]) for name in MEASURES}


@pytest.mark.parametrize(("patients", "of_each", "seed"), [(30, 8, 0), (12, 3, 1), (40, 1, 2)])
def test_intervals_are_those_of_fits_to_the_drawn_rows(patients, of_each, seed):
    truth, p, names = lesions(patients, of_each, seed)
    wanted = one_by_one(truth, p, names, 60, seed=5)
    point = calibration(truth, p)
    for found in calibration_measures(truth, p, names, replicates=60, seed=5):
        assert found.estimate == getattr(point, found.measure)
        np.testing.assert_allclose([found.low, found.high], wanted[found.measure], rtol=1e-6)
        assert (found.n, found.events, found.patients) == (len(truth), truth.sum(), patients)
        assert found.problem == ""


def test_patients_alike_within_make_intervals_wider_than_independent_rows_do():
    truth, p, names = lesions(40, 15, seed=3)
    point = calibration(truth, p)
    found = dict(zip(MEASURES, calibration_measures(truth, p, names, replicates=400), strict=True))
    assert found["intercept"].high - found["intercept"].low > 1.3 * (point.intercept_high - point.intercept_low)


def test_one_row_per_patient_is_near_walds_interval():
    truth, p, names = lesions(400, 1, seed=4)
    point = calibration(truth, p)
    for name in ("intercept", "slope"):
        (found,) = [one for one in calibration_measures(truth, p, names, replicates=500) if one.measure == name]
        wald = getattr(point, f"{name}_high") - getattr(point, f"{name}_low")
        assert found.high - found.low == pytest.approx(wald, rel=0.2)


def test_chance_is_fixed_by_the_seed_and_the_level_is_kept():
    given = lesions()
    first, again, other = (calibration_measures(*given, replicates=50, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    narrow = calibration_measures(*given, replicates=50, seed=1, level=0.5)
    assert all(a.low < b.low < b.high < a.high for a, b in zip(first, narrow, strict=True))


def measures(truth, p, names):
    return dict(zip(MEASURES, calibration_measures(truth, p, names, replicates=50), strict=True))


def test_what_has_no_line_has_a_brier_score():
    truth, p, names = lesions()
    found = measures(truth, np.where(np.arange(p.size) == 3, 1.0, p), names)
    assert "1 of 240 probabilities are exactly 0 or 1" in found["slope"].problem
    assert np.isnan(found["slope"].low)
    assert found["brier"].low < found["brier"].estimate < found["brier"].high
    assert found["brier"].problem == ""
    equal = measures(truth, np.full(p.size, 0.3), names)
    assert equal["slope"].problem == "all probabilities are equal: no slope"
    assert equal["intercept"].low < equal["intercept"].high


@pytest.mark.parametrize(("patients", "problem"), [(4, "4 patients, needs 5 for an interval over patients"), (6, "")])
def test_few_patients_have_no_interval(patients, problem):
    found = measures(*lesions(patients, 20))
    assert found["brier"].problem == problem
    assert np.isnan(found["brier"].low) == bool(problem)


def test_resamples_without_a_line_are_counted():
    # The one patient with events is in no resample of a third of them.
    truth, p, names = lesions(10, 6)
    truth[:] = 0
    truth[:3] = 1
    found = measures(truth, p, names)
    assert found["slope"].problem.endswith("resamples have no such number: no interval")
    assert np.isnan(found["slope"].low)
    assert found["brier"].low < found["brier"].high


def test_probabilities_that_separate_have_no_slope():
    _, p, names = lesions()
    found = measures((p > 0.3).astype(int), p, names)
    assert "separate the classes" in found["slope"].problem
    assert found["brier"].low < found["brier"].high


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"level": 1.0}, OptionError, "level"),
        ({"replicates": 0}, OptionError, "replicates: expected 1 or more, found 0"),
        ({"patients": ["a"]}, StatisticsError, "patients"),
        ({"probability": [0.5]}, StatisticsError, "probability"),
    ],
)
def test_what_cannot_be_meant_is_refused(change, error, message):
    truth, p, names = lesions()
    given = {"truth": truth, "probability": p, "patients": names, "replicates": 10} | change
    with pytest.raises(error, match=message):
        calibration_measures(**given)


def test_no_rows_are_no_error():
    assert [found.problem != "" for found in calibration_measures([], [], [])] == [True] * 4
