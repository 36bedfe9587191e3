"""Solve and invert matrices that may be singular: a fit then says that it has no estimate, and raises nothing."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


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
