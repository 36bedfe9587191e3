import numpy as np
import pytest
import statsmodels.stats.multitest

from nnunet_ms.statistics.multiplicity import fixed_sequence, holm


def test_holm_and_fixed_sequence():
    # Oracle: R, p.adjust(c(.01, .04, .03, .005), "holm") = .03 .06 .06 .02.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    found = fixed_sequence(["a", "b", "c"], [0.01, 0.2, 0.001], 0.05)
    assert [(d.tested, d.rejected) for d in found] == [(True, True), (True, False), (False, False)]
    assert not fixed_sequence(["a"], [float("nan")], 0.05)[0].rejected


def test_holm_with_ties_missing_values_and_a_ceiling_of_1():
    # Oracle: R 4.2.2, p.adjust(c(.01, NA, .6, .6, .04, .04), "holm") = .05 NA 1 1 .16 .16.
    found = holm([0.01, float("nan"), 0.6, 0.6, 0.04, 0.04])
    assert found == pytest.approx([0.05, np.nan, 1, 1, 0.16, 0.16], nan_ok=True)
    assert holm([]) == []
    assert np.isnan(holm([float("nan")])).all()


@pytest.mark.parametrize("seed", range(5))
def test_holm_against_statsmodels(seed):
    p = np.round(np.random.default_rng(seed).random(9) ** 3, 2)
    assert holm(p) == pytest.approx(statsmodels.stats.multitest.multipletests(p, method="holm")[1])


def test_the_sequence_stops_at_the_first_p_that_is_not_below_alpha():
    # By definition of the fixed sequence; p equal to alpha does not reject, and Holm's values stand beside in order.
    found = fixed_sequence(["a", "b", "c", "d"], [0.02, 0.05, 0.001, 0.001], 0.05)
    assert [(d.endpoint, d.p, d.tested, d.rejected) for d in found] == [
        ("a", 0.02, True, True), ("b", 0.05, True, False), ("c", 0.001, False, False), ("d", 0.001, False, False),
    ]  # fmt: skip
    assert [d.holm for d in found] == pytest.approx([0.04, 0.05, 0.004, 0.004])
    unknown = fixed_sequence(["a", "b"], [float("nan"), 0.01], 0.05)
    assert [(d.tested, d.rejected) for d in unknown] == [(True, False), (False, False)]
