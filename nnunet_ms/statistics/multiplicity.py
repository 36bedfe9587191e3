"""Several endpoints: a fixed sequence of tests, and Holm's adjustment.

Holm's is statsmodels'; the fixed sequence is written here, because no library has it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from statsmodels.stats.multitest import multipletests

from nnunet_ms.options import chosen
from nnunet_ms.statistics.input_checks import as_numbers, equally_long, level, refuse

Within = Literal["fixed", "holm"]


@dataclass(frozen=True)
class Decision:
    """One test in its order: `tested` in the fixed sequence, `rejected` at alpha, p as found and Holm's."""

    endpoint: str
    p: float
    holm: float
    tested: bool
    rejected: bool
    arm: str = ""


@dataclass(frozen=True)
class Hypothesis:
    """That an arm does not differ from the reference in an endpoint, with the p value of its test; NaN: none."""

    endpoint: str
    arm: str
    p: float


def serial_gatekeeping(
    families: Sequence[Sequence[Hypothesis]], alpha: float, within: Within = "fixed"
) -> list[Decision]:
    """Test families in order, such as the doses of one endpoint after those of another [1]_.

    A family is tested at alpha if every hypothesis of all families before it is rejected. The chance of one false
    rejection or more is at most alpha.

    Parameters
    ----------
    families : sequence of sequences of Hypothesis
        In their order; with one hypothesis each, the fixed sequence.
    alpha : float
        Two-sided, in (0, 1).
    within : {"fixed", "holm"}, optional
        Inside a family: in order, until one is not rejected; or Holm's procedure, where a missing p counts as 1.

    Returns
    -------
    list of Decision
        In the order given. `holm` is adjusted over all hypotheses that have a p value, whatever the order.

    Raises
    ------
    OptionError, StatisticsError
        If alpha is not between 0 and 1, there is no such `within`, or a p value is not in [0, 1].

    References
    ----------
    .. [1] Maurer W, Hothorn LA, Lehmacher W. Biometrie in der chemisch-pharmazeutischen Industrie 6:3-18, 1995;
       Dmitrienko A, Tamhane AC. Pharm Stat 6:171-180, 2007. doi:10.1002/pst.291

    Examples
    --------
    >>> families = [[Hypothesis("cdp24", "high", 0.03), Hypothesis("cdp24", "low", 0.2)], [Hypothesis("t2", "low", 0)]]
    >>> [(d.tested, d.rejected) for d in serial_gatekeeping(families, 0.05, "holm")]
    [(True, False), (True, False), (False, False)]
    >>> [(d.tested, d.rejected) for d in serial_gatekeeping(families, 0.05)]
    [(True, True), (True, False), (False, False)]
    """
    level(alpha, "alpha")
    chosen(within, get_args(Within), "within")
    beside = iter(holm([h.p for family in families for h in family]))
    decisions, still = [], True
    for family in families:
        opened, inside = still, _rejected_by_holm([h.p for h in family], alpha)
        for place, hypothesis in enumerate(family):
            tested = opened if within == "holm" else still
            rejected = tested and (inside[place] if within == "holm" else bool(hypothesis.p < alpha))
            decisions.append(
                Decision(hypothesis.endpoint, hypothesis.p, next(beside), tested, rejected, hypothesis.arm)
            )
            still = still and rejected
    return decisions


def _rejected_by_holm(p: Sequence[float], alpha: float) -> list[bool]:
    """Say which hypotheses of a family Holm's procedure rejects; a missing p counts as 1."""
    values = np.array([1.0 if np.isnan(v) else v for v in p])
    order = np.argsort(values, kind="stable")
    passed = np.logical_and.accumulate(values[order] < alpha / np.arange(len(values), 0, -1))
    return [bool(v) for v in passed[np.argsort(order, kind="stable")]]


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
