"""Cox coefficients of many bootstrap draws at once: sums over risk sets are matrix products over all draws.

Written here, because no library fits many weighted samples together. One fit of `cox.py` costs about a millisecond,
and a comparison of raters needs tens of thousands. Here the sums of one Newton step are one product
per distinct event time for hundreds of draws together. Efron's correction for d tied deaths needs, per draw and time,
only sums over r = 0 ... d - 1 of powers of 1 / (S - r / d * D): vectors factor out.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nnunet_ms.arrays import Bools, Floats, Indices
from nnunet_ms.options import chosen
from nnunet_ms.statistics.cox import TIES, Ties
from nnunet_ms.statistics.input_checks import equally_long
from nnunet_ms.statistics.linear_systems import solve_each

NEWTON_STEPS = 25
TOLERANCE = 1e-9  # of a step, in coefficients per standard deviation
LARGEST_STEP = 3.0
INFINITE = 15.0  # |coefficient| per SD beyond which no maximum is in sight, as in cox.py
CELLS = 4_000_000  # floats of the largest array of a chunk of draws


@dataclass(frozen=True)
class _Blocks:
    """Data by falling time, split at the event times.

    `moments` (n, 1 + k + k * k): 1, x and x x' of each patient; `event` (n,); `order`: rows of the data; `starts`
    (g,) first row of each block: who is at risk at its event time and was not at the one before.
    """

    moments: Floats
    event: Floats
    order: Indices
    starts: Indices


def cox_draws(
    weeks: npt.ArrayLike, event: npt.ArrayLike, X: Floats, ties: Ties, weights: Floats, start: Floats
) -> Floats:
    """Return the (draws, k) coefficients of `cox.maximise` for every draw.

    Parameters
    ----------
    weeks, event : (n,) arrays
        Time, and whether it ended with the event.
    X : (n, k) array
        Covariates that vary.
    ties : {"efron", "breslow"}
        As in `cox.fit_cox`.
    weights : (draws, n) array
        Whole numbers: how often each patient was drawn.
    start : (k,) array
        Coefficients of the whole sample.

    Returns
    -------
    (draws, k) array
        NaN where a draw has no maximum.

    Raises
    ------
    OptionError
        If there are no such ties.
    StatisticsError
        If lengths differ.
    """
    chosen(ties, TIES, "ties")
    equally_long(weeks=weeks, event=event, X=X, weights=weights.T)
    scale = X.std(axis=0)
    blocks = _blocks(np.asarray(weeks, float), np.asarray(event, bool), (X - X.mean(axis=0)) / scale)
    if not len(blocks.starts):
        return np.full((len(weights), X.shape[1]), np.nan)
    size = max(1, CELLS // max(blocks.moments.shape[1] * len(blocks.starts), len(blocks.moments)))
    parts = [
        _newton(blocks, ties, weights[i : i + size][:, blocks.order], start * scale)
        for i in range(0, len(weights), size)
    ]
    return np.concatenate(parts) / scale


def _blocks(time: Floats, happened: Bools, X: Floats) -> _Blocks:
    at = np.unique(time[happened])[::-1]
    order = np.argsort(-time, kind="stable")
    if not len(at):
        return _Blocks(np.zeros((0, 1)), np.zeros(0), order[:0], order[:0])
    order = order[time[order] >= at[-1]]  # nobody is compared with those who left before the first event
    x = X[order]
    n, k = x.shape
    moments = np.concatenate([np.ones((n, 1)), x, (x[:, :, None] * x[:, None, :]).reshape(n, k * k)], axis=1)
    starts = np.concatenate([[0], np.searchsorted(-time[order], -at[:-1], side="right")])
    return _Blocks(moments, happened[order].astype(float), order, starts.astype(np.intp))


def _newton(blocks: _Blocks, ties: Ties, weights: Floats, start: Floats) -> Floats:
    k = len(start)
    beta = np.tile(start, (len(weights), 1))
    deaths = _sums(weights * blocks.event, blocks.moments[:, : k + 1], blocks.starts)
    open_draws = np.arange(len(weights))
    for _ in range(NEWTON_STEPS):
        score, information = _derivatives(blocks, ties, weights[open_draws], deaths[open_draws], beta[open_draws])
        step = solve_each(information, score)
        size = np.abs(step).max(axis=1)
        beta[open_draws] += step * np.minimum(1.0, LARGEST_STEP / np.maximum(size, 1e-300))[:, None]
        lost = ~np.isfinite(size) | (np.abs(beta[open_draws]).max(axis=1) > INFINITE)
        beta[open_draws[lost]] = np.nan
        open_draws = open_draws[~lost & (size > TOLERANCE)]
        if not len(open_draws):
            return beta
    beta[open_draws] = np.nan
    return beta


def _sums(weights: Floats, columns: Floats, starts: Indices) -> Floats:
    """Sum of weights times columns in each block: (draws, blocks, columns)."""
    ends = [*starts[1:], len(columns)]
    return np.stack([weights[:, a:b] @ columns[a:b] for a, b in zip(starts, ends, strict=True)], axis=1)


def _derivatives(blocks: _Blocks, ties: Ties, weights: Floats, deaths: Floats, beta: Floats) -> tuple[Floats, Floats]:
    """Return score (draws, k) and information (draws, k, k)."""
    draws, k = beta.shape
    w = weights * np.exp(np.clip(beta @ blocks.moments[:, 1 : k + 1].T, -700, 700))
    at_risk = np.cumsum(_sums(w, blocks.moments, blocks.starts), axis=1)
    count = np.rint(deaths[:, :, 0])
    if ties == "efron":
        dying = _sums(w * blocks.event, blocks.moments, blocks.starts)
        u, fu, uu, fuu, ffuu = _efron_sums(at_risk[:, :, 0], dying[:, :, 0], count)
    else:
        dying = np.zeros_like(at_risk)
        inverse = np.divide(1.0, at_risk[:, :, 0], out=np.zeros_like(count), where=count > 0)
        u, uu, fu = count * inverse, count * inverse**2, np.zeros_like(count)
        fuu = ffuu = fu
    mean = u[..., None] * at_risk[..., 1 : k + 1] - fu[..., None] * dying[..., 1 : k + 1]
    second = np.einsum("dg,dgp->dp", u, at_risk[..., k + 1 :]) - np.einsum("dg,dgp->dp", fu, dying[..., k + 1 :])
    a, b = at_risk[..., 1 : k + 1], dying[..., 1 : k + 1]
    cross = _outer(fuu, a, b)
    products = _outer(uu, a, a) - cross - cross.transpose(0, 2, 1) + _outer(ffuu, b, b)
    score = deaths[:, :, 1:].sum(axis=1) - mean.sum(axis=1)
    return score, second.reshape(draws, k, k) - products


def _outer(weight: Floats, a: Floats, b: Floats) -> Floats:
    """Sum over blocks of weight * a b', (draws, k, k), as a product of matrices."""
    return np.asarray((a * weight[..., None]).transpose(0, 2, 1) @ b)


def _efron_sums(at_risk: Floats, dying: Floats, count: Floats) -> tuple[Floats, ...]:
    """Sums over r < count of u, f u, u^2, f u^2, f^2 u^2, with f = r / count and u = 1 / (at_risk - f dying)."""
    found = tuple(np.zeros_like(count) for _ in range(5))
    for r, there in _ranks(count):
        f = r / count[there]
        u = 1 / (at_risk[there] - f * dying[there])
        for total, value in zip(found, (u, f * u, u * u, f * u * u, f * f * u * u), strict=True):
            total[there] += value
    return found


def _ranks(count: Floats) -> Iterator[tuple[int, Bools]]:
    for r in range(int(count.max(initial=0))):
        yield r, count > r
