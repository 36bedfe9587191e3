import numpy as np
import pandas as pd
import pytest
import scipy.stats

from nnunet_ms.statistics.change_from_baseline import mean_change, percent_change, separation


def test_percent_change_by_hand():
    volumes = pd.DataFrame(
        {
            "patient_id": ["A", "A", "A", "B"],
            "arm": "x",
            "rater": "reference",
            "week": [0.0, 24, 48, 24],
            "volume_ml": [4.0, 5, 3, 9],
        }
    )
    found = percent_change(volumes, 0, [24, 48])
    assert found["percent_change"].tolist() == [25.0, -25.0]  # B has no baseline
    assert found["baseline_ml"].tolist() == [4.0, 4.0]


def test_separation_against_scipy():
    # Oracle: scipy.stats.ttest_ind(equal_var=False).confidence_interval(), which is R's t.test.
    rng = np.random.default_rng(11)
    a, b = rng.normal(-2, 5, 31), rng.normal(8, 9, 17)
    found = separation(a, b)
    expected = scipy.stats.ttest_ind(a, b, equal_var=False).confidence_interval()
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-12)
    assert found.estimate == pytest.approx(a.mean() - b.mean())
    assert (found.high - found.low) / 2 / found.se == pytest.approx(2.02, abs=0.1)


def test_small_samples_say_what_is_missing():
    assert mean_change(np.array([])).n == 0
    assert np.isnan(mean_change(np.array([3.0])).sd)
    assert "1 patients in an arm" in separation(np.array([1.0]), np.array([1.0, 2.0])).problem
    assert "no spread" in separation(np.array([1.0, 1.0]), np.array([2.0, 2.0])).problem
