import numpy as np
import pytest
import statsmodels.stats.multitest
from statsmodels.stats.multitest import multipletests

from nnunet_ms.errors import OptionError
from nnunet_ms.statistics.multiplicity import Hypothesis, fixed_sequence, holm, serial_gatekeeping


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


def by_closure(families, alpha):
    """Which hypotheses the definition rejects: Holm in the first family; the next one only if all are rejected."""
    rejected, opened = [], True
    for family in families:
        p = [1.0 if np.isnan(h.p) else h.p for h in family]
        adjusted = multipletests(p, method="holm")[1]
        rejected.append([opened and bool(v < alpha) for v in adjusted])
        opened = opened and all(v < alpha for v in adjusted)
    return [value for family in rejected for value in family]


def test_serial_gatekeeping_by_its_definition():
    # Oracle: statsmodels' Holm within, the rule between. Also: with one hypothesis a family, the fixed sequence.
    rng = np.random.default_rng(3)
    for _ in range(300):
        sizes = rng.integers(1, 4, 3)
        families = [[Hypothesis("e", str(i), float(rng.choice([0.001, 0.02, 0.03, 0.2, np.nan]))) for i in range(n)]
                    for n in sizes]  # fmt: skip
        assert [d.rejected for d in serial_gatekeeping(families, 0.05, "holm")] == by_closure(families, 0.05)
        flat = [h for family in families for h in family]
        inner = serial_gatekeeping([[h] for h in flat], 0.05, "holm")
        sequence = fixed_sequence(["e"] * len(flat), [h.p for h in flat], 0.05)
        assert [d.rejected for d in inner] == [d.rejected for d in sequence]
        assert [d.rejected for d in serial_gatekeeping(families, 0.05)] == [d.rejected for d in inner]


def test_serial_gatekeeping_keeps_the_error_rate():
    # Under the null of all, with independent p values: the chance of any rejection is at most alpha.
    p = np.random.default_rng(8).random((4000, 2, 2))
    any_rejected = [
        any(d.rejected for d in serial_gatekeeping([[Hypothesis("e", "a", v) for v in f] for f in trial], 0.05, "holm"))
        for trial in p
    ]
    assert np.mean(any_rejected) < 0.05 + 2 * np.sqrt(0.05 * 0.95 / 4000)
    with pytest.raises(OptionError, match="within"):
        serial_gatekeeping([], 0.05, "bonferroni")
