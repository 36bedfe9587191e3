"""Solve and invert matrices that may be singular: a fit then says that it has no estimate, and raises nothing."""

import numpy as np

from nnunet_ms.arrays import Floats


def solve_or_none(matrix: Floats, vector: Floats) -> Floats | None:
    """Solution (k,) of `matrix` (k, k) times x = `vector` (k,); None where the matrix is singular."""
    try:
        return np.asarray(np.linalg.solve(matrix, vector))
    except np.linalg.LinAlgError:
        return None


def inverse_or_nan(matrix: Floats) -> Floats:
    """Inverse of `matrix` (k, k); all NaN where it is singular."""
    try:
        return np.asarray(np.linalg.inv(matrix))
    except np.linalg.LinAlgError:
        return np.full(matrix.shape, np.nan)


WORST_CONDITION = 1e12


def solve_each(matrices: Floats, vectors: Floats) -> Floats:
    """Solve (d, k, k) times x = (d, k) for each; NaN where a matrix cannot be inverted."""
    found = np.full(vectors.shape, np.nan)
    finite = np.isfinite(matrices).all(axis=(1, 2)) & np.isfinite(vectors).all(axis=1)
    good = finite.copy()
    # scaled to ones on the diagonal, because a volume in ml and a flag differ by orders of magnitude
    size = np.sqrt(np.abs(np.einsum("dii->di", matrices)))
    good &= (size > 0).all(axis=1)
    scale = np.where(good[:, None], size, 1.0)
    scaled = matrices / scale[:, :, None] / scale[:, None, :]
    good[good] = np.linalg.cond(scaled[good]) < WORST_CONDITION
    if good.any():
        right = (vectors[good] / scale[good])[:, :, None]
        found[good] = np.linalg.solve(scaled[good], right)[:, :, 0] / scale[good]
    return found
