from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import statsmodels.api

from nnunet_ms.statistics.ancova import ancova


@pytest.fixture
def week120(shared):
    folder = shared / "oracles" / "endpoints"
    volumes = pd.read_csv(folder / "tlv.csv").query("week == 120")
    frame = pd.read_csv(folder / "patients.csv").merge(volumes)
    return frame.assign(pchg=100 * (frame["t2_tlv_ml"] / frame["t2_tlv_ml_baseline"] - 1))


@pytest.fixture
def oracle(shared):
    frame = pd.read_csv(shared / "oracles" / "endpoints" / "oracles.csv")
    return {(r.analysis, r.term, r.stat): r.value for r in frame.itertuples()}


def fit(frame, weights="equal"):
    return ancova(frame, "pchg", ["control", "active"], ["t2_tlv_ml_baseline"], ["region", "age_group"], weights)


def test_coefficients_against_r(week120, oracle):
    # Oracle: R 4.2.2, lm(pchg ~ arm + t2_tlv_ml_baseline + region + age_group); oracles.R.
    found = fit(week120)
    names = {"active": "armactive", "region: US": "regionUS", "age_group: >45": "age_group>45"}
    for c in (*found.contrasts, *found.covariates):
        for stat, value in (("coef", c.estimate), ("se", c.se), ("p", c.p)):
            expected = float(oracle["ancova_pchg_w120", names.get(c.term, c.term), stat])
            assert value == pytest.approx(expected, rel=1e-6), (c.term, stat)
    assert len(found.contrasts) + len(found.covariates) == 4


@pytest.mark.parametrize("weights", ["equal", "proportional"])
def test_least_squares_means_against_emmeans(week120, oracle, weights):
    # Oracle: R 4.2.2, emmeans 1.8.4.1, emmeans(model, "arm", weights = weights); oracles.R.
    for mean in fit(week120, weights).means:
        for stat, value in (("mean", mean.estimate), ("se", mean.se), ("low", mean.low), ("high", mean.high)):
            expected = float(oracle[f"ancova_lsmean_{weights}", mean.arm, stat])
            assert value == pytest.approx(expected, rel=1e-6), (mean.arm, stat)


def small(**changed):
    columns = {
        "arm": ["a", "a", "a", "b", "b", "b"],
        "y": [1.0, 2.0, 4.0, 5.0, 7.0, 6.0],
        "x": [1.0, 3.0, 2.0, 2.0, 1.0, 4.0],
        "region": ["N", "S", "N", "S", "N", "S"],
    }
    return pd.DataFrame({**columns, **changed})


def test_without_covariates_it_is_the_difference_of_means():
    # Oracle: the definition; means 7/3 and 6.
    found = ancova(small(), "y", ["a", "b"])
    assert found.contrasts[0].estimate == pytest.approx(6 - 7 / 3)
    assert [m.estimate for m in found.means] == pytest.approx([7 / 3, 6])
    assert found.contrasts[0].df == 4


def test_constant_covariate_is_named_not_silently_dropped():
    found = ancova(small(region="N"), "y", ["a", "b"], ["x"], ["region"])
    assert found.dropped == ("region",)
    assert np.isfinite(found.contrasts[0].p)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (small(region=["N", "N", "N", "S", "S", "S"]), "confounded"),
        (small(y=3.0), "constant"),
        (small().iloc[:4], "1 patient in arm b, needs 2"),
        (small().iloc[:0], "0 patients in arm a"),
        (small().iloc[[0, 1, 3, 4]], "4 patients for 4 coefficients"),
    ],
)
def test_what_cannot_be_estimated_says_why(frame, message):
    found = ancova(frame, "y", ["a", "b"], ["x"], ["region"])
    assert message in found.problem
    assert found.contrasts == found.means == ()


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


def test_robust_against_clubsandwich(week120):
    # Oracle: R 4.2.2, clubSandwich and estimatr; script and versions in robust_ancova.R beside this file.
    expected = pd.read_csv(Path(__file__).with_name("robust_ancova.csv")).set_index(["term", "stat"])["value"]
    found = fit(week120)
    rows = {"active": found.contrasts_robust[0], **{f"mean {m.arm}": m for m in found.means_robust}}
    for term, row in rows.items():
        for stat in ("estimate", "se", "low", "high"):
            assert getattr(row, stat) == pytest.approx(expected[term, stat], rel=1e-6), (term, stat)
    for stat in ("df", "p"):
        assert getattr(rows["active"], stat) == pytest.approx(expected["active", stat], rel=1e-6)


def test_robust_is_refused_where_one_patient_determines_an_estimate():
    # the only patient of arm b in region S and the only one of region S
    frame = unequal_arms(6, 2).assign(region=["N"] * 7 + ["S"])
    found = ancova(frame, "y", ["a", "b"], [], ["region"])
    assert found.robust_problem == "one patient alone determines a coefficient"
    assert found.contrasts_robust == ()
    assert np.isfinite(found.contrasts[0].p)
