"""Several endpoints: a fixed sequence of tests, and Holm's adjustment."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


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
    """
    adjusted = holm(p)
    decisions, still = [], True
    for name, value, beside in zip(endpoints, p, adjusted, strict=True):
        rejected = still and bool(value < alpha)
        decisions.append(Decision(name, value, beside, still, rejected))
        still = rejected
    return decisions


def holm(p: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p values in the order given; NaN stays and does not count."""
    values = np.asarray(p, float)
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.argsort(values[known], kind="stable")]
    adjusted = np.full(len(values), np.nan)
    if len(order):
        steps = values[order] * np.arange(len(order), 0, -1)
        adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(v) for v in adjusted]
