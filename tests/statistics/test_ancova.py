import numpy as np
import pandas as pd
import pytest

from nnunet_ms.statistics.ancova import ancova


@pytest.fixture
def week120(oracle_folder):
    folder = oracle_folder
    volumes = pd.read_csv(folder / "tlv.csv").query("week == 120")
    frame = pd.read_csv(folder / "patients.csv").merge(volumes)
    return frame.assign(pchg=100 * (frame["t2_tlv_ml"] / frame["t2_tlv_ml_baseline"] - 1))


@pytest.fixture
def oracle(oracle_folder):
    frame = pd.read_csv(oracle_folder / "oracles.csv")
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
