"""Mixed model for repeated measures: unstructured covariance, REML, Satterthwaite degrees of freedom.

What R's `mmrm` and SAS's PROC MIXED (TYPE=UN, DDFM=SATTERTHWAITE) do. Written here, because statsmodels' MixedLM has
neither an unstructured covariance of residuals nor Satterthwaite's degrees of freedom. The likelihood needs the data
through sums over patients with the same visits only, so that its cost does not grow with their number.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import scipy.optimize
import scipy.stats

from nnunet_ms.arrays import Floats, Indices
from nnunet_ms.errors import StatisticsError
from nnunet_ms.statistics.input_checks import as_numbers, equally_long, level, missing_values

NAN = float("nan")
GRADIENT_TOLERANCE = 1e-7
NEWTON_STEPS = 30


@dataclass(frozen=True)
class Contrast:
    """A linear combination of coefficients: estimate, t test with Satterthwaite df, interval."""

    estimate: float = NAN
    se: float = NAN
    df: float = NAN
    t: float = NAN
    p: float = NAN
    low: float = NAN
    high: float = NAN
    problem: str = ""


@dataclass(frozen=True)
class Mmrm:
    """A fitted model.

    `beta` (k,), `covariance` (k, k) of beta, `sigma` (m, m) covariance of the visits, `log_likelihood` restricted;
    `problem` says why nothing was fitted. `slopes` (q, k, k): derivative of `covariance` in each covariance
    parameter; `parameter_covariance` (q, q).
    """

    names: tuple[str, ...]
    n_patients: int
    n_rows: int
    beta: Floats
    covariance: Floats
    sigma: Floats
    log_likelihood: float = NAN
    slopes: Floats = field(default_factory=lambda: np.zeros((0, 0, 0)))
    parameter_covariance: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    problem: str = ""

    def contrast(self, point: Floats, confidence: float = 0.95) -> Contrast:
        """Test point' beta = 0 with Satterthwaite's df = 2 v^2 / (g' V g), v = point' C point, g its gradient."""
        quantile = 0.5 + level(confidence) / 2
        if self.problem:
            return Contrast(problem=self.problem)
        if len(point) != len(self.beta):
            raise StatisticsError(f"point: expected {len(self.beta)} weights, one per coefficient, found {len(point)}")
        estimate, variance = float(point @ self.beta), float(point @ self.covariance @ point)
        gradient = np.einsum("i,qij,j->q", point, self.slopes, point)
        df = 2 * variance**2 / float(gradient @ self.parameter_covariance @ gradient)
        se = float(np.sqrt(variance))
        half = float(scipy.stats.t.ppf(quantile, df)) * se
        p = 2 * float(scipy.stats.t.sf(abs(estimate / se), df))
        return Contrast(estimate, se, df, estimate / se, p, estimate - half, estimate + half)


@dataclass(frozen=True)
class _Pattern:
    """Sums over the `n` patients who have exactly the visits `visits` (v,): X X', X y, y y' by pair of visits."""

    visits: Indices
    n: int
    xx: Floats  # (v, v, k, k)
    xy: Floats  # (v, v, k)
    yy: Floats  # (v, v)


@dataclass(frozen=True)
class _State:
    """The restricted likelihood at one covariance: value, gradient in sigma, beta and its covariance."""

    value: float
    gradient: Floats  # (m, m), symmetric: d value / d sigma, each entry as if free
    beta: Floats
    covariance: Floats


def fit_mmrm(
    y: npt.ArrayLike, X: npt.ArrayLike, patient: npt.ArrayLike, visit: npt.ArrayLike, names: Sequence[str]
) -> Mmrm:
    """Fit y = X beta + e, with e of one patient normal with an unstructured covariance over visits, by REML.

    Parameters
    ----------
    y : (n,) array
        One value per row; rows without a value are not given (missing at random).
    X : (n, k) array
        Design of the means.
    patient : (n,) array
        Who the row belongs to.
    visit : (n,) array
        Which visit; at most one row per patient and visit.
    names : sequence of str
        One per column of X.

    Returns
    -------
    Mmrm
        `log_likelihood` is -((n - k) log 2 pi + sum log|S_i| + log|X' V^-1 X| + r' V^-1 r) / 2, as nlme and SAS
        print it. With columns that cannot be told apart, a visit that no two patients share, no maximum, or values
        that are missing, `problem` is set.

    Raises
    ------
    StatisticsError
        If lengths differ, a value is no number, or there is not one name per column.

    Examples
    --------
    With one visit it is the t test of least squares: 2 / sqrt(2 / 3), on 4 degrees of freedom.

    >>> X = [[1, 0], [1, 0], [1, 0], [1, 1], [1, 1], [1, 1]]
    >>> fit = fit_mmrm([1, 2, 3, 3, 4, 5], X, range(6), [24] * 6, ["mean", "arm"])
    >>> found = fit.contrast(np.array([0.0, 1.0]))
    >>> round(found.t, 4), round(found.df, 4)
    (2.4495, 4.0)
    """
    values, design = as_numbers(y, "response"), as_numbers(X, "design", 2)
    equally_long(response=values, design=design, patient=patient, visit=visit)
    if len(names) != design.shape[1]:
        raise StatisticsError(f"names: expected one per column, found {len(names)} for {design.shape[1]} columns")
    unknown = missing_values(response=values, design=design, patient=patient, visit=visit)
    if unknown:
        return _nothing(names, 0, len(values), 0, unknown)
    who = np.unique(np.asarray(patient), return_inverse=True)[1]
    when = np.unique(np.asarray(visit), return_inverse=True)[1]
    n_patients, m = int(who.max()) + 1 if len(who) else 0, int(when.max()) + 1 if len(when) else 0
    problem = _problem(values, design, who, when, n_patients, m)
    if problem:
        return _nothing(names, n_patients, len(values), m, problem)
    scale = float(values.std())
    patterns = _patterns(values / scale, design, who, when)
    start = _start(values / scale, design, who, when, m)
    theta, converged = _maximise(patterns, start, m, len(values) - design.shape[1])
    if not converged:
        return _nothing(names, n_patients, len(values), m, "the restricted likelihood has no maximum")
    return _summary(patterns, theta, m, len(values), n_patients, scale, names)


def _nothing(names: Sequence[str], n_patients: int, rows: int, m: int, problem: str) -> Mmrm:
    k = len(names)
    empty = (np.full(k, np.nan), np.full((k, k), np.nan), np.full((m, m), np.nan))
    return Mmrm(tuple(names), n_patients, rows, *empty, problem=problem)


def _problem(y: Floats, X: Floats, who: Indices, when: Indices, n: int, m: int) -> str:
    if len(y) <= X.shape[1]:
        return f"{len(y)} values for {X.shape[1]} coefficients"
    length = np.linalg.norm(X, axis=0)
    if (length == 0).any() or np.linalg.matrix_rank(X / length) < X.shape[1]:
        return "arm, visit and covariates are confounded"
    present = np.zeros((n, m), dtype=bool)
    if len(np.unique(who * m + when)) < len(y):
        return "a patient has two values at one visit"
    present[who, when] = True
    together = present.T.astype(int) @ present.astype(int)
    if together.min() < 2:
        return "two visits are shared by fewer than two patients"
    if n <= m + X.shape[1] // m:
        return f"{n} patients for {m} visits"
    if np.ptp(y) == 0:
        return "the response is constant"
    return ""


def _patterns(y: Floats, X: Floats, who: Indices, when: Indices) -> list[_Pattern]:
    order = np.lexsort((when, who))
    y, X, who, when = y[order], X[order], who[order], when[order]
    code = np.bincount(who, weights=2.0**when).astype(np.int64)  # which visits a patient has
    of_row = code[who]
    found = []
    for pattern in np.unique(code):
        chosen = of_row == pattern
        visits = np.unique(when[chosen])
        n = int((code == pattern).sum())
        block = X[chosen].reshape(n, len(visits), -1)
        values = y[chosen].reshape(n, len(visits))
        found.append(
            _Pattern(
                visits,
                n,
                np.einsum("iap,ibq->abpq", block, block, optimize=True),
                np.einsum("iap,ib->abp", block, values, optimize=True),
                values.T @ values,
            )
        )
    return found


def _start(y: Floats, X: Floats, who: Indices, when: Indices, m: int) -> Floats:
    """Return log-Cholesky parameters of the residuals' variances, with the correlation that pairs show."""
    beta = np.linalg.lstsq(X, y, rcond=None)[0]
    residual = np.full((int(who.max()) + 1, m), np.nan)
    residual[who, when] = y - X @ beta
    sd = np.sqrt(np.maximum(np.nanmean(residual**2, axis=0), 1e-8))
    z = residual / sd
    products = np.array([[np.nanmean(z[:, a] * z[:, b]) for b in range(m)] for a in range(m)])
    rho = float(np.clip(products[~np.eye(m, dtype=bool)].mean(), 0.0, 0.9)) if m > 1 else 0.0
    correlation = np.full((m, m), rho) + (1 - rho) * np.eye(m)
    return _pack(np.linalg.cholesky(correlation * np.outer(sd, sd)))


def _pack(root: Floats) -> Floats:
    """Return the lower triangle as parameters, its diagonal as logarithms."""
    m = len(root)
    theta = root[np.tril_indices(m)].copy()
    diagonal = np.cumsum(np.arange(1, m + 1)) - 1
    theta[diagonal] = np.log(theta[diagonal])
    return theta


def _unpack(theta: Floats, m: int) -> Floats:
    root = np.zeros((m, m))
    root[np.tril_indices(m)] = theta
    root[np.diag_indices(m)] = np.exp(np.diag(root))
    return root


def _state(patterns: Sequence[_Pattern], sigma: Floats) -> _State:
    """Evaluate the restricted log-likelihood, without its constant, and its gradient in sigma.

    d l / d S = -(n W - W R W - W Q W) / 2 per pattern, with W = S^-1, R = sum r r' and Q = sum X_i C X_i'.
    """
    inverses, log_determinant = [], 0.0
    k = patterns[0].xx.shape[2]
    information, right = np.zeros((k, k)), np.zeros(k)
    for p in patterns:
        block = sigma[np.ix_(p.visits, p.visits)]
        root = np.linalg.cholesky(block)
        log_determinant += 2 * p.n * float(np.log(np.diag(root)).sum())
        inverse = np.linalg.inv(block)
        inverses.append(inverse)
        information += np.tensordot(inverse, p.xx, 2)
        right += np.tensordot(inverse, p.xy, 2)
    covariance = np.asarray(np.linalg.inv(information), np.float64)
    beta = covariance @ right
    gradient, quadratic = np.zeros_like(sigma), 0.0
    for p, inverse in zip(patterns, inverses, strict=True):
        fitted = p.xy @ beta
        residual = p.yy - fitted - fitted.T + np.einsum("abpq,p,q->ab", p.xx, beta, beta, optimize=True)
        spread = np.einsum("abpq,pq->ab", p.xx, covariance, optimize=True)
        quadratic += float((inverse * residual).sum())
        local = -0.5 * (p.n * inverse - inverse @ (residual + spread) @ inverse)
        gradient[np.ix_(p.visits, p.visits)] += local
    value = -0.5 * (log_determinant + float(np.linalg.slogdet(information)[1]) + quadratic)
    return _State(value, gradient, beta, covariance)


def _value_and_gradient(patterns: Sequence[_Pattern], theta: Floats, m: int) -> tuple[float, Floats]:
    root = _unpack(theta, m)
    try:
        state = _state(patterns, root @ root.T)
    except np.linalg.LinAlgError:
        return -np.inf, np.zeros_like(theta)
    in_root = (state.gradient + state.gradient.T) @ root
    in_root[np.diag_indices(m)] *= np.diag(root)
    return state.value, in_root[np.tril_indices(m)]


def _hessian(patterns: Sequence[_Pattern], theta: Floats, m: int) -> Floats:
    """Return central differences of the analytic gradient, symmetric; error about 1e-9 of its size."""
    q, step = len(theta), 1e-5
    rows = np.empty((q, q))
    for i in range(q):
        shift = np.zeros(q)
        shift[i] = step
        up, down = (_value_and_gradient(patterns, theta + s, m)[1] for s in (shift, -shift))
        rows[i] = (up - down) / (2 * step)
    return np.asarray((rows + rows.T) / 2)


def _maximise(patterns: Sequence[_Pattern], start: Floats, m: int, scale: float) -> tuple[Floats, bool]:
    """Climb by BFGS, then by Newton's steps until the gradient is nothing."""

    def downhill(theta: Floats) -> tuple[float, Floats]:
        value, gradient = _value_and_gradient(patterns, theta, m)
        return (1e300, np.zeros_like(theta)) if not np.isfinite(value) else (-value / scale, -gradient / scale)

    found = scipy.optimize.minimize(downhill, start, jac=True, method="BFGS", options={"gtol": 1e-6, "maxiter": 500})
    theta = np.asarray(found.x)
    for _ in range(NEWTON_STEPS):
        value, gradient = _value_and_gradient(patterns, theta, m)
        if np.abs(gradient).max() < GRADIENT_TOLERANCE:
            return theta, True
        hessian = _hessian(patterns, theta, m)
        try:
            np.linalg.cholesky(-hessian)
        except np.linalg.LinAlgError:
            return theta, False
        step = np.linalg.solve(-hessian, gradient)
        while _value_and_gradient(patterns, theta + step, m)[0] < value - 1e-9 and np.abs(step).max() > 1e-12:
            step = step / 2
        theta = theta + step
    return theta, bool(np.abs(gradient).max() < 1e3 * GRADIENT_TOLERANCE)


def _summary(
    patterns: Sequence[_Pattern], theta: Floats, m: int, rows: int, n_patients: int, scale: float, names: Sequence[str]
) -> Mmrm:
    root = _unpack(theta, m)
    sigma = root @ root.T
    state = _state(patterns, sigma)
    k = len(state.beta)
    constant = (rows - k) * float(np.log(2 * np.pi))
    return Mmrm(
        names=tuple(names),
        n_patients=n_patients,
        n_rows=rows,
        beta=state.beta * scale,
        covariance=state.covariance * scale**2,
        sigma=sigma * scale**2,
        # the data were divided by `scale`: the density of n - k contrasts changes by its power
        log_likelihood=state.value - constant / 2 - (rows - k) * float(np.log(scale)),
        slopes=_slopes(patterns, theta, m, sigma, state.covariance) * scale**2,
        parameter_covariance=np.asarray(np.linalg.inv(-_hessian(patterns, theta, m)), np.float64),
    )


def _slopes(patterns: Sequence[_Pattern], theta: Floats, m: int, sigma: Floats, covariance: Floats) -> Floats:
    """Return d C / d theta_q = C (X' W (d S / d theta_q) W X) C for every parameter, (q, k, k)."""
    root = _unpack(theta, m)
    slopes = []
    for row, column in zip(*np.tril_indices(m), strict=True):
        change = np.zeros((m, m))
        change[row, column] = root[row, row] if row == column else 1.0
        d_sigma = change @ root.T + root @ change.T
        inner = np.zeros_like(covariance)
        for p in patterns:
            at = np.ix_(p.visits, p.visits)
            inverse = np.linalg.inv(sigma[at])
            inner += np.tensordot(inverse @ d_sigma[at] @ inverse, p.xx, 2)
        slopes.append(covariance @ inner @ covariance)
    return np.array(slopes)
