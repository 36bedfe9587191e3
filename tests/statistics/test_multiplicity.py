import itertools

import numpy as np
import pytest
import statsmodels.stats.multitest

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
    """What the definition rejects: a family's closed test by Bonferroni, the next one only if all are rejected."""
    rejected, opened = [], True
    for family in families:
        p = [1.0 if np.isnan(h.p) else h.p for h in family]
        sets = [s for size in range(1, len(p) + 1) for s in itertools.combinations(range(len(p)), size)]
        own = [all(min(p[j] for j in s) < alpha / len(s) for s in sets if i in s) for i in range(len(p))]
        rejected += [opened and found for found in own]
        opened = opened and all(own)
    return rejected


def test_serial_gatekeeping_by_its_definition():
    # Oracle: Holm's procedure is the closed test by Bonferroni. With one hypothesis a family: the fixed sequence.
    rng = np.random.default_rng(3)
    for _ in range(5):
        families = [
            [Hypothesis("e", str(i), float(rng.choice([0.001, 0.02, 0.03, 0.2, np.nan]))) for i in range(n)]
            for n in rng.integers(1, 4, 3)
        ]
        assert [d.rejected for d in serial_gatekeeping(families, 0.05, "holm")] == by_closure(families, 0.05)
        flat = [h for family in families for h in family]
        sequence = fixed_sequence(["e"] * len(flat), [h.p for h in flat], 0.05)
        assert [d.rejected for d in serial_gatekeeping([[h] for h in flat], 0.05, "holm")] == [
            d.rejected for d in sequence
        ]
        assert [d.rejected for d in serial_gatekeeping(families, 0.05)] == [d.rejected for d in sequence]
    with pytest.raises(OptionError, match="within"):
        serial_gatekeeping([], 0.05, "bonferroni")
