import numpy as np

from nnunet_ms.statistics.linear_systems import inverse_or_nan, solve_or_none


def test_by_definition():
    matrix, vector = np.array([[4.0, 1.0], [1.0, 3.0]]), np.array([1.0, 2.0])
    solution = solve_or_none(matrix, vector)
    assert solution is not None
    np.testing.assert_allclose(matrix @ solution, vector)
    np.testing.assert_allclose(matrix @ inverse_or_nan(matrix), np.eye(2), atol=1e-15)


def test_singular():
    matrix = np.ones((2, 2))
    assert solve_or_none(matrix, np.ones(2)) is None
    assert np.isnan(inverse_or_nan(matrix)).all()
