import numpy as np
import pytest

from nnunet_ms.statistics.bootstrap_cox import cox_draws
from nnunet_ms.statistics.cox import fit_cox, maximise, risk_sets


def sample(n=90, every=12.0, seed=3):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3)) * [1.0, 5.0, 0.2]
    time = rng.exponential(60 * np.exp(-0.5 * X[:, 0]))
    cut = rng.uniform(20, 110, n)
    event = time <= cut
    weeks = np.minimum(time, cut)
    return (np.ceil(weeks / every) * every if every else weeks), event, X


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("every", [12.0, 0.0], ids=["tied", "continuous"])
def test_every_draw_is_the_fit_of_the_drawn_patients(ties, every):
    # Oracle: cox.fit_cox (which agrees with R) on the drawn patients, one row for each time one was drawn.
    weeks, event, X = sample(every=every)
    weights = np.random.default_rng(1).multinomial(90, np.full(90, 1 / 90), 12).astype(float)
    start, *_ = maximise(risk_sets(weeks, event, X), ties)
    found = cox_draws(weeks, event, X, ties, weights, start)
    for row, draw in zip(found, weights, strict=True):
        drawn = np.repeat(np.arange(90), draw.astype(int))
        one = fit_cox(weeks[drawn], event[drawn], X[drawn], ["a", "b", "c"], ties)
        np.testing.assert_allclose(row, one.beta, rtol=1e-7)


def test_chunks_do_not_matter(monkeypatch):
    weeks, event, X = sample()
    weights = np.random.default_rng(1).multinomial(90, np.full(90, 1 / 90), 7).astype(float)
    whole = cox_draws(weeks, event, X, "efron", weights, np.zeros(3))
    monkeypatch.setattr("nnunet_ms.statistics.bootstrap_cox.CELLS", 1)
    np.testing.assert_allclose(cox_draws(weeks, event, X, "efron", weights, np.zeros(3)), whole, rtol=1e-9)


def test_a_draw_without_a_maximum_is_nan():
    # all events on one side of the covariate; and a draw without an event
    weeks, event = np.array([1.0, 2, 3, 4, 5, 6]), np.array([1, 1, 0, 0, 0, 1], bool)
    x = np.array([[1.0], [1], [0], [0], [0], [0]])
    weights = np.array([[1.0, 1, 1, 1, 1, 0], [0, 0, 2, 2, 2, 0]])
    assert np.isnan(cox_draws(weeks, event, x, "efron", weights, np.zeros(1))).all()
    nobody = cox_draws(weeks, np.zeros(6, bool), x, "efron", weights, np.zeros(1))
    assert np.isnan(nobody).all()
