"""Oracle: patients drawn one after the other, their cases written out as often as drawn, and NumPy on those rows."""

import numpy as np
import pytest

from nnunet_ms.statistics.bootstrap_interval import (
    concordance_interval,
    mean_interval,
    patient_interval,
    pearson_interval,
    sums_by_patient,
)

NAMES = np.array(["P9", "P1", "P1", "P4", "P3", "P4", "P4", "P7", "P8", "P9", "P2", "P3"], dtype=object)


def volumes(shift=0.0):
    """Volumes of two raters in 12 cases of 7 patients."""
    generator = np.random.default_rng(6)
    x = generator.gamma(1.5, 6, 12)
    return x + shift, x * np.exp(generator.normal(0.1, 0.3, 12)) + shift


def redrawn(statistic, *columns, patients=NAMES, replicates=2000, seed=0):
    """Percentiles 2.5 and 97.5 of the statistic over the same draws of patients, in order of their names."""
    names = sorted(set(patients))
    draws = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=replicates)
    values = []
    for times in draws:
        rows = [
            i for name, count in zip(names, times, strict=True) for i in np.flatnonzero(patients == name).repeat(count)
        ]
        values.append(statistic(*(column[rows] for column in columns)))
    return tuple(np.percentile(values, [2.5, 97.5]))


def lin(x, y):
    """Lin's coefficient as Biometrics 45:255-268 defines it, moments divided by n."""
    return 2 * np.cov(x, y, ddof=0)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)


def test_mean_over_cases_of_redrawn_patients():
    x, _ = volumes()
    assert mean_interval(x, NAMES) == pytest.approx(redrawn(np.mean, x), rel=1e-12)


def test_a_case_without_a_value_is_left_out_of_the_mean():
    x, _ = volumes()
    known = np.arange(12) != 3
    with_a_gap = np.where(known, x, np.nan)
    assert mean_interval(with_a_gap, NAMES) == pytest.approx(redrawn(np.mean, x[known], patients=NAMES[known]))
    assert mean_interval(list(with_a_gap), list(NAMES)) == mean_interval(with_a_gap, NAMES)


@pytest.mark.parametrize("shift", [0.0, 1e6], ids=["near zero", "far from zero"])
def test_correlation_and_concordance_over_cases_of_redrawn_patients(shift):
    # far from zero the sums of squares lose their digits, unless values are centred first
    x, y = volumes(shift)
    found = pearson_interval(x, y, NAMES)
    assert found == pytest.approx(redrawn(lambda a, b: np.corrcoef(a, b)[0, 1], x, y), rel=1e-7)
    assert concordance_interval(x, y, NAMES) == pytest.approx(redrawn(lin, x, y), rel=1e-7)


def test_a_constant_difference_lowers_concordance_only():
    x, y = volumes()
    assert concordance_interval(x, y + 9, NAMES) == pytest.approx(redrawn(lin, x, y + 9), rel=1e-9)
    assert pearson_interval(x, y + 9, NAMES) == pytest.approx(pearson_interval(x, y, NAMES), rel=1e-9)


def test_correlation_is_unknown_where_a_rater_is_constant_in_more_than_a_tenth_of_draws():
    # One patient alone makes the first rater vary; (6/7)^7 = 34 % of draws miss it.
    _, y = volumes()
    x = np.where(NAMES == "P7", 5.0, 2.0)
    assert np.isnan(pearson_interval(x, y, NAMES)).all()
    assert np.isnan(concordance_interval(x, x, NAMES)).all()
    assert np.isfinite(concordance_interval(x, y, NAMES)).all()  # Lin's coefficient is 0 then, not undefined


@pytest.mark.parametrize(("undefined", "is_known"), [(0, True), (10, True), (11, False), (100, False)])
def test_a_tenth_of_the_resamples_may_be_undefined_and_no_more(undefined, is_known):
    # By hand: 0, 1, ..., 89 - the percentiles 2.5 and 97.5 lie at 89 * .025 and 89 * .975.
    values = np.r_[np.full(undefined, np.nan), np.arange(100.0 - undefined)]
    low, high = patient_interval(np.ones((5, 1)), lambda _: values, replicates=100)
    last = 99 - undefined
    expected = (0.025 * last, 0.975 * last) if is_known else (np.nan, np.nan)
    assert (low, high) == pytest.approx(expected, nan_ok=True)


def test_four_patients_are_too_few_and_five_are_enough():
    sums = np.arange(10.0).reshape(5, 2) + 1
    assert np.isnan(patient_interval(sums[:4], lambda s: s[:, 0])).all()
    assert np.isfinite(patient_interval(sums, lambda s: s[:, 0])).all()


def test_level_and_seed():
    # By hand: 0, 1, ..., 200 - 80 % lie between 20 and 180. And another seed draws other patients.
    assert patient_interval(np.ones((5, 1)), lambda _: np.arange(201.0), 201, level=0.8) == pytest.approx((20, 180))
    x, _ = volumes()
    sums = sums_by_patient(np.stack([x], axis=1), NAMES)
    expected = redrawn(np.sum, x, replicates=300, seed=5)
    assert patient_interval(sums, lambda s: s[:, 0], 300, seed=5) == pytest.approx(expected)


def test_sums_by_patient_in_order_of_names():
    columns = np.array([[1.0, 10], [2, 20], [4, 40]])
    found = sums_by_patient(columns, np.array(["b", "a", "b"], dtype=object))
    assert found.tolist() == [[2, 20], [5, 50]]
    assert sums_by_patient(columns[:0], np.array([], dtype=object)).shape == (0, 2)
