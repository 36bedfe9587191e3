"""Several endpoints: a fixed sequence of tests, and Holm's adjustment.

Holm's is statsmodels'; the fixed sequence is written here, because no library has it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from statsmodels.stats.multitest import multipletests

from nnunet_ms.statistics.input_checks import as_numbers, equally_long, level, refuse


@dataclass(frozen=True)
class Decision:
    """One test in its order: `tested` in the fixed sequence, `rejected` at alpha, p as found and Holm's."""

    endpoint: str
    p: float
    holm: float
    tested: bool
    rejected: bool


def fixed_sequence(endpoints: Sequence[str], p: Sequence[float], alpha: float) -> list[Decision]:
    """Test in order, each at alpha, until one is not rejected (a p that is NaN is not rejected).

    Holm's adjusted p values stand beside, as R's `p.adjust(method = "holm")`, over the p values that exist.

    Raises
    ------
    OptionError, StatisticsError
        If alpha is not between 0 and 1, lengths differ, or a p value is not in [0, 1].

    Examples
    --------
    >>> [d.rejected for d in fixed_sequence(["first", "second", "third"], [0.01, 0.2, 0.001], alpha=0.05)]
    [True, False, False]
    """
    level(alpha, "alpha")
    equally_long(endpoints=endpoints, p=p)
    adjusted = holm(p)
    decisions, still = [], True
    for name, value, beside in zip(endpoints, p, adjusted, strict=True):
        rejected = still and bool(value < alpha)
        decisions.append(Decision(name, value, beside, still, rejected))
        still = rejected
    return decisions


def holm(p: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p values in the order given; NaN stays and does not count.

    Raises
    ------
    StatisticsError
        If a p value is not in [0, 1].

    Examples
    --------
    R: `p.adjust(c(0.01, 0.04, 0.03), "holm")` is 0.03 0.06 0.06.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    values = as_numbers(p, "p")
    outside = values[(values < 0) | (values > 1)]
    refuse(f"p: expected values from 0 to 1, found {outside[0]:g}" if len(outside) else "")
    adjusted, known = np.full(len(values), np.nan), ~np.isnan(values)
    if known.any():
        adjusted[known] = multipletests(values[known], method="holm")[1]
    return [float(v) for v in adjusted]
