"""Kenward and Roger's standard errors and degrees of freedom of a mixed model with an unstructured covariance.

Satterthwaite's test takes the covariance of the coefficients as it is estimated, which is too small in small samples;
Kenward and Roger [1]_ add what the uncertainty of the visits' covariance makes of it. Written here, because no Python
library has it. The covariance is linear in its parameters, so that the term of its second derivatives is 0.

References
----------
.. [1] Kenward MG, Roger JH. Small sample inference for fixed effects from restricted maximum likelihood. Biometrics
   53:983-997, 1997. doi:10.2307/2533558
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.stats

from nnunet_ms.arrays import Floats, Indices
from nnunet_ms.errors import StatisticsError
from nnunet_ms.statistics.input_checks import as_numbers, equally_long, level
from nnunet_ms.statistics.linear_systems import inverse_or_nan
from nnunet_ms.statistics.mmrm import Contrast, Mmrm


@dataclass(frozen=True)
class KenwardRoger:
    """A fitted model with the adjusted covariance (k, k) of its coefficients; `problem` says why there is none.

    `fit`: the model. `weights` (q, q): covariance of the parameters of `fit.sigma`, by the expected information.
    `slopes` (q, k, k): derivative of the inverse of `fit.covariance` in each of them.
    """

    fit: Mmrm
    adjusted: Floats
    weights: Floats
    slopes: Floats
    problem: str = ""

    def contrast(self, point: Floats, confidence: float = 0.95) -> Contrast:
        """Test point' beta = 0; the degrees of freedom are Satterthwaite's with the expected information."""
        quantile = 0.5 + level(confidence) / 2
        if self.problem:
            return Contrast(problem=self.problem)
        beta, covariance = self.fit.beta, self.fit.covariance
        if len(point) != len(beta):
            raise StatisticsError(f"point: expected {len(beta)} weights, one per coefficient, found {len(point)}")
        toward = covariance @ point
        gradient = np.einsum("i,qij,j->q", toward, self.slopes, toward)
        df = 2 * float(point @ toward) ** 2 / float(gradient @ self.weights @ gradient)
        estimate, se = float(point @ beta), float(np.sqrt(point @ self.adjusted @ point))
        half = float(scipy.stats.t.ppf(quantile, df)) * se
        p = 2 * float(scipy.stats.t.sf(abs(estimate / se), df))
        return Contrast(estimate, se, df, estimate / se, p, estimate - half, estimate + half)


def kenward_roger(fit: Mmrm, X: npt.ArrayLike, patient: npt.ArrayLike, visit: npt.ArrayLike) -> KenwardRoger:
    """Adjust a fitted model; `X`, `patient` and `visit` as for `mmrm.fit_mmrm`.

    Raises
    ------
    StatisticsError
        If lengths differ or a value is no number.

    Examples
    --------
    With one visit it is the t test of least squares: 2 / sqrt(2 / 3), on 4 degrees of freedom.

    >>> from nnunet_ms.statistics.mmrm import fit_mmrm
    >>> X = [[1, 0], [1, 0], [1, 0], [1, 1], [1, 1], [1, 1]]
    >>> fit = fit_mmrm([1, 2, 3, 3, 4, 5], X, range(6), [24] * 6, ["mean", "arm"])
    >>> found = kenward_roger(fit, X, range(6), [24] * 6).contrast(np.array([0.0, 1.0]))
    >>> round(found.t, 4), round(found.df, 4)
    (2.4495, 4.0)
    """
    design = as_numbers(X, "design", 2)
    equally_long(design=design, patient=patient, visit=visit)
    k, m = design.shape[1], len(fit.sigma)
    pairs = [(i, j) for i in range(m) for j in range(i, m)]
    empty = (np.full((k, k), np.nan), np.zeros((len(pairs),) * 2), np.zeros((len(pairs), k, k)))
    if fit.problem:
        return KenwardRoger(fit, *empty, problem=fit.problem)
    who = np.unique(np.asarray(patient), return_inverse=True)[1]
    when = np.unique(np.asarray(visit), return_inverse=True)[1]
    first, second, trace = np.zeros((len(pairs), k, k)), np.zeros((len(pairs), len(pairs), k, k)), empty[1]
    for visits, rows in _patterns(who, when):
        _add(design[rows], visits, fit.sigma, pairs, (first, second, trace))
    covariance = fit.covariance
    weighted = np.einsum("ab,qbc->qac", covariance, first)
    information = 0.5 * (
        trace - 2 * np.einsum("ab,ijba->ij", covariance, second) + np.einsum("iab,jba->ij", weighted, weighted)
    )
    weights = inverse_or_nan(information)
    inner = np.einsum("ij,ijab->ab", weights, second) - np.einsum("ij,iab,jbc->ac", weights, first, weighted)
    adjusted = covariance + 2 * covariance @ inner @ covariance
    if not np.isfinite(adjusted).all() or (np.diag(adjusted) <= 0).any():
        return KenwardRoger(fit, *empty, problem="the expected information of the covariance cannot be inverted")
    return KenwardRoger(fit, (adjusted + adjusted.T) / 2, weights, first)


def _patterns(who: Indices, when: Indices) -> list[tuple[Indices, Indices]]:
    """Return, per set of visits that patients have, the visits (v,) and their patients' rows (n, v)."""
    order = np.lexsort((when, who))
    rows_of: dict[tuple[int, ...], list[Indices]] = {}
    for rows in np.split(order, np.flatnonzero(np.diff(who[order])) + 1):
        rows_of.setdefault(tuple(int(v) for v in when[rows]), []).append(rows)
    return [(np.array(visits), np.array(rows)) for visits, rows in rows_of.items()]


def _add(
    X: Floats, visits: Indices, sigma: Floats, pairs: list[tuple[int, int]], sums: tuple[Floats, Floats, Floats]
) -> None:
    """Add what the patients of one pattern, X (n, v, k), give: P (q, k, k), Q (q, q, k, k) and the traces (q, q)."""
    first, second, trace = sums
    inverse = np.linalg.inv(sigma[np.ix_(visits, visits)])
    solved = np.einsum("ab,nbk->nak", inverse, X)
    products = np.einsum("nak,nbl->abkl", solved, solved)
    place = {int(v): a for a, v in enumerate(visits)}
    entries = [_entries(place, pair) for pair in pairs]
    for i, own in enumerate(entries):
        for a, b in own:
            first[i] -= products[a, b]
            for j, other in enumerate(entries):
                for c, d in other:
                    second[i, j] += inverse[b, c] * products[a, d]
                    trace[i, j] += len(X) * inverse[b, c] * inverse[d, a]


def _entries(place: dict[int, int], pair: tuple[int, int]) -> list[tuple[int, int]]:
    """Return where a parameter of the covariance stands in the visits of a pattern: once, twice, or nowhere."""
    if not set(pair) <= place.keys():
        return []
    a, b = place[pair[0]], place[pair[1]]
    return [(a, b)] if a == b else [(a, b), (b, a)]
