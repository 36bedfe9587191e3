"""Oracles: R's pROC, the definitions written as double loops, scipy's Mann-Whitney, resampling done by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.integrate
import scipy.stats

from nnunet_ms.statistics.roc import Scores, auc, auc_interval, auc_se, delong_test, difference_interval, roc_curve


def psi(x, y):
    return 1.0 if x > y else 0.5 if x == y else 0.0


def delong_by_definition(readers):
    """DeLong et al. 1988, eqs. 4 to 7, with loops: AUCs and their covariance matrix."""
    areas, v10, v01 = [], [], []
    for positive, negative in readers:
        m, n = len(positive), len(negative)
        areas.append(sum(psi(x, y) for x in positive for y in negative) / (m * n))
        v10.append([sum(psi(x, y) for y in negative) / n for x in positive])
        v01.append([sum(psi(x, y) for x in positive) / m for y in negative])
    k = len(readers)
    covariance = np.zeros((k, k))
    for r in range(k):
        for s in range(k):
            for v, size in ((v10, m), (v01, n)):
                centred = [(a - areas[r]) * (b - areas[s]) for a, b in zip(v[r], v[s], strict=True)]
                covariance[r, s] += sum(centred) / (size - 1) / size
    return areas, covariance


def scores(positive, negative, patients=5, rng=None):
    rng = rng or np.random.default_rng(1)
    names = [np.array([f"p{n}" for n in rng.integers(patients, size=len(part))]) for part in (positive, negative)]
    return Scores(np.asarray(positive, float), np.asarray(negative, float), *names)


def tied_pair(seed, m=23, n=31):
    """Two correlated readers with ties and zeros, as lesion scores have."""
    rng = np.random.default_rng(seed)
    truth = np.r_[np.ones(m), np.zeros(n)]
    latent = rng.normal(size=m + n) + truth
    values = [np.round(np.clip(latent + rng.normal(size=m + n), 0, None), 1) for _ in range(2)]
    return [(value[:m], value[m:]) for value in values]


@pytest.mark.parametrize("seed", range(5))
def test_auc_is_mann_whitneys_u(seed):
    (x, y), _ = tied_pair(seed)
    assert auc(x, y) == pytest.approx(scipy.stats.mannwhitneyu(x, y).statistic / (len(x) * len(y)), abs=1e-12)


def whole_number_scores(case, reader, count):
    """The scores of delong.R."""
    i = np.arange(2 * count)
    value = ((i * i * (case + 3) + 7 * i) % 11 + (i * (reader + 2 * case + 1)) % 5 + 2 * (i < count)) / 10
    return value[:count], value[count:]


def test_delong_equals_proc():
    # Oracle: R 4.2.2, pROC 1.18.0; script and versions in delong.R and delong_expected.csv beside this file.
    expected = pd.read_csv(Path(__file__).with_name("delong_expected.csv"))
    assert len(expected) == 6
    for row in expected.itertuples():
        first, second = (whole_number_scores(row.case, reader, row.size) for reader in (0, 1))
        found = delong_test(scores(*first), scores(*second))
        assert (auc(*first), auc(*second)) == pytest.approx((row.auc_first, row.auc_second), rel=1e-12)
        assert auc_se(*first) == pytest.approx(row.se_first, rel=1e-9)
        assert (found.z, found.p) == pytest.approx((row.z, row.p), rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_delong_equals_its_definition(seed):
    readers = tied_pair(seed)
    areas, covariance = delong_by_definition(readers)
    first, second = (scores(*reader) for reader in readers)
    found = delong_test(first, second)
    se = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    assert auc_se(*readers[0]) == pytest.approx(np.sqrt(covariance[0, 0]), rel=1e-10)
    assert found.difference == pytest.approx(areas[0] - areas[1], abs=1e-12)
    assert found.se == pytest.approx(se, rel=1e-10)
    assert found.z == pytest.approx((areas[0] - areas[1]) / se, rel=1e-9)
    assert found.p == pytest.approx(2 * scipy.stats.norm.cdf(-abs(found.z)), rel=1e-9)


def test_worked_example_by_hand():
    # 3 lesions .9 .8 .3 against 2 false .5 .3: won 2 + 2 + 0.5 of 6. V10 = 1, 1, 1/4; V01 = 2/3, 5/6.
    assert auc([0.9, 0.8, 0.3], [0.5, 0.3]) == pytest.approx(4.5 / 6)
    assert auc_se([0.9, 0.8, 0.3], [0.5, 0.3]) == pytest.approx(np.sqrt(0.1875 / 3 + (1 / 72) / 2))


def test_exchanging_the_readers_changes_the_sign_only():
    first, second = (scores(*reader) for reader in tied_pair(3))
    a, b = delong_test(first, second), delong_test(second, first)
    assert (a.difference, a.z) == pytest.approx((-b.difference, -b.z))
    assert (a.se, a.p) == pytest.approx((b.se, b.p))


def test_any_rising_transformation_leaves_everything_as_it_is():
    (x, y), _ = tied_pair(2)
    assert (auc(x, y), auc_se(x, y)) == (auc(np.exp(x), np.exp(y)), auc_se(np.exp(x), np.exp(y)))


def test_identical_readers_have_no_p_value():
    first, _ = (scores(*reader) for reader in tied_pair(0))
    found = delong_test(first, first)
    assert (found.difference, found.se) == (0.0, 0.0)
    assert np.isnan(found.p)


def test_level_of_the_test_under_the_null():
    # 400 data sets without a difference: about 5 % rejections; five binomial standard errors.
    p = []
    for seed in range(400):
        first, second = (scores(*reader) for reader in tied_pair(seed, 40, 40))
        p.append(delong_test(first, second).p)
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=5 * np.sqrt(0.05 * 0.95 / 400))


def test_undefined_without_one_of_the_kinds():
    assert np.isnan(auc([], [0.5]))
    assert np.isnan(auc_se([0.3], [0.5, 0.2]))
    found = delong_test(scores([0.5], [0.2, 0.1]), scores([0.4], [0.2, 0.1]))
    assert np.isnan(found.p)


def test_different_candidates_are_refused():
    with pytest.raises(ValueError, match="the same lesions"):
        delong_test(scores([0.5, 0.6], [0.2]), scores([0.5], [0.2]))


def test_interval_resamples_whole_patients():
    # Oracle: resampling by hand, one patient after the other, with the same draws.
    first, second = (scores(*reader, patients=8) for reader in tied_pair(4))
    patients = np.unique(np.r_[first.positive_patients, first.negative_patients])
    weights = np.random.default_rng(0).multinomial(len(patients), np.full(len(patients), 1 / len(patients)), size=300)
    areas = {0: [], 1: []}
    for row in weights:
        times = dict(zip(patients, row, strict=True))
        for number, one in enumerate((first, second)):
            x, y = (
                np.repeat(values, [times[p] for p in names])
                for values, names in (
                    (one.positive, one.positive_patients),
                    (one.negative, one.negative_patients),
                )
            )
            areas[number].append(auc(x, y))
    expected = np.nanpercentile(areas[0], [2.5, 97.5])
    assert auc_interval(first, replicates=300) == pytest.approx(tuple(expected))
    second_alike = Scores(second.positive, second.negative, first.positive_patients, first.negative_patients)
    areas[1] = []
    for row in weights:
        times = dict(zip(patients, row, strict=True))
        x = np.repeat(second.positive, [times[p] for p in first.positive_patients])
        y = np.repeat(second.negative, [times[p] for p in first.negative_patients])
        areas[1].append(auc(x, y))
    difference = np.array(areas[0]) - np.array(areas[1])
    assert difference_interval(first, second_alike, replicates=300) == pytest.approx(
        tuple(np.nanpercentile(difference, [2.5, 97.5]))
    )


def test_no_interval_from_four_patients():
    first, _ = (scores(*reader, patients=4) for reader in tied_pair(0))
    assert np.isnan(auc_interval(first)).all()


def test_curve_by_hand():
    # Lesions .9 .8 .3 against false ones .5 .3: at .9 one lesion, at .8 two, at .5 also one false one, at .3 all.
    x, y = roc_curve(scores(np.array([0.9, 0.8, 0.3]), np.array([0.5, 0.3])))
    assert x.tolist() == pytest.approx([0, 0, 0, 0.5, 1])
    assert y.tolist() == pytest.approx([0, 1 / 3, 2 / 3, 2 / 3, 1])


@pytest.mark.parametrize("seed", range(3))
def test_area_under_the_curve_is_the_auc(seed):
    first, _ = (scores(*reader) for reader in tied_pair(seed))
    assert scipy.integrate.trapezoid(*roc_curve(first)[::-1]) == pytest.approx(auc(first.positive, first.negative))


def test_no_interval_where_more_than_a_tenth_of_draws_lack_a_kind():
    # The only patient with lesions is missed by (4/5)^5 = 33 % of the draws.
    names = np.array([f"P{i}" for i in range(5)])
    alone = Scores(np.array([0.9, 0.8]), np.linspace(0, 1, 5), names[[0, 0]], names)
    assert np.isnan(auc_interval(alone)).all()
    assert np.isnan(difference_interval(alone, alone)).all()


def test_both_kinds_are_needed():
    some, none = np.array([0.5]), np.zeros(0)
    assert [scores(*pair).is_defined for pair in ((some, some), (some, none), (none, some))] == [True, False, False]
