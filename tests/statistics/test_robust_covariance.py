from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import statsmodels.api

from nnunet_ms.statistics.ancova import ancova
from nnunet_ms.statistics.robust_covariance import robust_fit


def unequal_arms(n_a=40, n_b=20, seed=8):
    rng = np.random.default_rng(seed)
    arm = np.repeat(["a", "b"], [n_a, n_b])
    x, region = rng.normal(size=n_a + n_b), rng.choice(["N", "S"], n_a + n_b)
    y = 2 * x + rng.normal(size=n_a + n_b) * np.where(arm == "a", 1.0, 4.0)
    return pd.DataFrame({"arm": arm, "y": y, "x": x, "region": region})


def test_robust_standard_errors_against_statsmodels():
    # Oracle: statsmodels, HC2; the least-squares means through its t_test of the reference grid.
    frame = unequal_arms()
    found = ancova(frame, "y", ["a", "b"], ["x"], ["region"])
    X = np.column_stack([np.ones(60), frame["arm"] == "b", frame["x"], frame["region"] == "S"]).astype(float)
    fit = statsmodels.api.OLS(frame["y"].to_numpy(), X).fit(cov_type="HC2")
    assert found.contrasts_robust[0].se == pytest.approx(fit.bse[1], rel=1e-10)
    assert found.contrasts_robust[0].estimate == pytest.approx(fit.params[1], rel=1e-10)
    grid = np.array([[1, arm, frame["x"].mean(), 0.5] for arm in (0, 1)])
    assert [m.se for m in found.means_robust] == pytest.approx(fit.t_test(grid).sd.tolist(), rel=1e-10)


def test_robust_without_covariates_is_welch_with_the_degrees_of_freedom_in_closed_form():
    # Oracle: Imbens & Kolesar 2016, section II: Welch's standard error, and df from the sizes of the arms alone.
    frame = unequal_arms(30, 9)
    found = ancova(frame, "y", ["a", "b"]).contrasts_robust[0]
    a, b = (frame.loc[frame["arm"] == arm, "y"] for arm in "ab")
    assert found.se == pytest.approx(np.sqrt(a.var() / 30 + b.var() / 9))
    df = (1 / 30 + 1 / 9) ** 2 / (1 / (30**2 * 29) + 1 / (9**2 * 8))
    assert found.df == pytest.approx(df)
    half = scipy.stats.t.ppf(0.975, df) * found.se
    assert (found.low, found.high) == pytest.approx((found.estimate - half, found.estimate + half))


def whole_number_trial():
    """The data of robust_ancova.R."""
    i = np.arange(30)
    x = (i * i * 7 + 3 * i) % 17
    y = x / 2 + np.where(i % 3 == 0, 9, 1) * ((i * i * 5 + 11 * i) % 13 - 6) / 4
    region = np.array(["ROW", "US", "ROW", "EU"])[i % 4]
    return pd.DataFrame({"arm": np.where(i % 3 == 0, "active", "control"), "x": x, "region": region, "y": y})


def test_robust_against_clubsandwich():
    # Oracle: R 4.2.2, clubSandwich 0.5.8 and estimatr 1.0.0; script and versions in robust_ancova.R and .csv beside.
    expected = pd.read_csv(Path(__file__).with_name("robust_ancova.csv")).set_index(["term", "stat"])["value"]
    found = ancova(whole_number_trial(), "y", ["control", "active"], ["x"], ["region"])
    rows = {"active": found.contrasts_robust[0], **{f"mean {m.arm}": m for m in found.means_robust}}
    for term, row in rows.items():
        for stat in ("estimate", "se", "low", "high"):
            assert getattr(row, stat) == pytest.approx(float(expected[term, stat]), rel=1e-9), (term, stat)
    for stat in ("df", "p"):
        assert getattr(rows["active"], stat) == pytest.approx(float(expected["active", stat]), rel=1e-9)
    assert found.contrasts[0].se == pytest.approx(float(expected["unequal", "ordinary_se"]), rel=1e-9)


def test_robust_is_refused_where_one_patient_determines_an_estimate():
    # the only patient of arm b in region S and the only one of region S
    frame = unequal_arms(6, 2).assign(region=["N"] * 7 + ["S"])
    found = ancova(frame, "y", ["a", "b"], [], ["region"])
    assert found.robust_problem == "one patient alone determines a coefficient"
    assert found.contrasts_robust == ()
    assert np.isfinite(found.contrasts[0].p)


def test_any_combination_against_statsmodels():
    # Oracle: statsmodels, HC2, whose t_test takes the same combinations; and the fit itself.
    rng = np.random.default_rng(1)
    X = np.column_stack([np.ones(25), rng.normal(size=(25, 2))])
    y = X @ [1, 2, 3] + rng.normal(size=25) * np.abs(X[:, 1])
    found = robust_fit(y, X)
    peer = statsmodels.api.OLS(y, X).fit(cov_type="HC2")
    assert found.beta == pytest.approx(peer.params)
    assert found.residuals == pytest.approx(peer.resid)
    for point in ([0, 1, 0], [1, 0.5, -2], [0, 1, -1]):
        row, expected = found.combination(np.array(point, float)), peer.t_test([point])
        assert (row.estimate, row.se) == pytest.approx((expected.effect[0], expected.sd.item()))


def test_degrees_of_freedom_by_definition():
    # Oracle: Imbens & Kolesar 2016: (trace of G'G)^2 / (sum of squares of G'G), G = (I - H) diag(a / sqrt(1 - h)).
    rng = np.random.default_rng(2)
    X = np.column_stack([np.ones(15), rng.exponential(size=15), np.arange(15) < 4]).astype(float)
    point = np.array([0.0, 0, 1])
    hat = X @ np.linalg.inv(X.T @ X) @ X.T
    a = X @ np.linalg.inv(X.T @ X) @ point
    G = (np.eye(15) - hat) * (a / np.sqrt(1 - np.diag(hat)))
    eigenvalues = np.linalg.eigvalsh(G.T @ G)
    expected = eigenvalues.sum() ** 2 / (eigenvalues**2).sum()
    assert robust_fit(rng.normal(size=15), X).combination(point).df == pytest.approx(expected)


def test_a_perfect_fit_has_no_spread():
    X = np.column_stack([np.ones(4), [0, 0, 1, 1]]).astype(float)
    found = robust_fit(np.zeros(4), X).combination(np.array([0.0, 1]))
    assert found.problem == "no spread around the fit"
    assert (found.estimate, np.isnan(found.se), np.isnan(found.df)) == (0, True, True)
