"""Oracles: the definitions, applied by plain loops to small arrays."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from nnunet_ms.analysis.evaluation.uncertainty_curves import (
    SHARES,
    area_above,
    calibration_bins,
    calibration_errors,
    lesion_curves,
    ndsc_retention,
    rank_correlation,
    removal_curves,
)


def test_ece_by_hand():
    # 2 bins: (0.1, 0.3 | 0 of 2 lesion), (0.9, 0.7, 0.8 | 2 of 3); gaps 0.2 and 0.8 - 2/3, weights 2/5 and 3/5
    p, truth = np.array([0.1, 0.3, 0.9, 0.7, 0.8]), np.array([0, 0, 1, 1, 0], bool)
    errors = calibration_errors(calibration_bins(p, truth, 2))
    assert errors["ece"] == pytest.approx(0.4 * 0.2 + 0.6 * (0.8 - 2 / 3))
    assert errors["mce"] == pytest.approx(0.2)
    assert errors["brier"] == pytest.approx(np.mean((p - truth) ** 2))


def test_a_calibrated_probability_has_no_error():
    generator = np.random.default_rng(0)
    p = generator.random(200_000)
    assert calibration_errors(calibration_bins(p, generator.random(p.size) < p))["ece"] < 0.01
    assert np.isnan(calibration_errors(calibration_bins(p[:0], p[:0] > 1))["ece"])


def test_a_probability_of_one_is_in_the_last_bin():
    assert calibration_bins(np.array([0.0, 1.0]), np.array([False, True]), 4)[:, 0].tolist() == [1, 0, 0, 1]


def naive_ndsc(truth, mask):
    """Shifts 2.0: false positives weighted so that precision is that of a lesion share of 0.001."""
    lesion = truth.sum()
    k = (1 - 0.001) * lesion / (0.001 * (truth.size - lesion)) if lesion else 1.0
    tp, fp, fn = (truth & mask).sum(), (mask & ~truth).sum(), (truth & ~mask).sum()
    return 2 * tp / (k * fp + 2 * tp + fn) if k * fp + 2 * tp + fn else 1.0


def test_ndsc_retention_equals_replacing_voxels_one_by_one():
    generator = np.random.default_rng(1)
    truth, mask = generator.random(200) < 0.2, generator.random(200) < 0.25
    uncertainty = generator.random(200)
    curve = ndsc_retention(truth, mask, uncertainty)["uncertainty"]
    order = np.argsort(-uncertainty)
    for share, value in zip(SHARES[::10], curve[::10], strict=True):
        replaced = order[: round((1 - share) * 200)]
        corrected = mask.copy()
        corrected[replaced] = truth[replaced]
        assert value == pytest.approx(naive_ndsc(truth, corrected))


def test_ideal_is_best_and_random_between():
    generator = np.random.default_rng(2)
    truth, mask = generator.random(5000) < 0.02, generator.random(5000) < 0.02
    error = truth != mask
    perfect = ndsc_retention(truth, mask, error.astype(float))
    assert area_above(perfect["uncertainty"]) == pytest.approx(area_above(perfect["ideal"]), abs=0.002)
    worst = ndsc_retention(truth, mask, -error.astype(float))
    assert area_above(perfect["ideal"]) < area_above(perfect["random"]) < area_above(worst["uncertainty"])
    shuffled = [area_above(ndsc_retention(truth, mask, generator.random(5000))["uncertainty"]) for _ in range(40)]
    assert np.mean(shuffled) == pytest.approx(area_above(perfect["random"]), rel=0.02)


def test_ndsc_of_empty_masks_is_one_and_of_a_missed_lesion_zero():
    empty, lesion = np.zeros(50, bool), np.arange(50) < 5
    assert ndsc_retention(empty, empty, np.zeros(50))["uncertainty"].tolist() == [1.0] * 101
    assert ndsc_retention(lesion, empty, np.zeros(50))["uncertainty"][-1] == 0


def test_content_limits_what_is_replaced():
    truth = np.arange(100) < 10
    curve = ndsc_retention(truth, np.roll(truth, 1), np.linspace(1, 0, 100), content_voxels=20)["uncertainty"]
    assert curve[0] == pytest.approx(1)


LESIONS = pd.DataFrame({"key": list("abcd"), "uncertainty": [0.9, 0.1, 0.5, 0.2], "true": [False, True, False, True]})


def test_reader_strikes_out_false_lesions():
    # 4 references, 1 missed: sensitivity 3/4; precision 2/4, after the reader saw one lesion 2/3, three 2/2
    curve = lesion_curves(LESIONS, references=4, missed=1)["uncertainty"]
    by_share = dict(zip(SHARES.round(2), curve, strict=True))
    for share, precision in ((1.0, 0.5), (0.75, 2 / 3), (0.5, 1.0), (0.0, 1.0)):
        assert by_share[share] == pytest.approx(2 * 0.75 * precision / (0.75 + precision))
    assert np.isnan(lesion_curves(LESIONS, 0, 0)["uncertainty"]).all()


def test_removing_lesions_by_hand():
    # b and d are true; d alone finds the second reference, b and d the first; the third is missed
    curves = removal_curves(LESIONS, [("b", "d"), ("d",), ()])
    lppv, ltpr = (dict(zip(SHARES.round(2), curves[name], strict=True)) for name in ("lppv", "ltpr"))
    assert [lppv[s] for s in (1.0, 0.75, 0.5, 0.25)] == pytest.approx([2 / 4, 2 / 3, 1, 1])
    assert [ltpr[s] for s in (1.0, 0.75, 0.5, 0.25, 0.0)] == pytest.approx([2 / 3, 2 / 3, 2 / 3, 1 / 3, 0])
    assert np.isnan(lppv[0.0])


def test_rank_correlation_leaves_out_the_unknown():
    rho, n = rank_correlation([1, 2, np.nan, 3, 4], [1, 3, 9, 2, 4])
    assert n == 4
    assert rho == pytest.approx(spearmanr([1, 2, 3, 4], [1, 3, 2, 4]).statistic)
    assert np.isnan(rank_correlation([1, 1, 1], [1, 2, 3])[0])
    assert np.isnan(rank_correlation([1, 2], [1, 2])[0])
