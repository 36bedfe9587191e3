"""Every value that R computed on the simulated tables, row by row, against the package.

Oracle: oracles/oracles.csv, made by oracles.R beside it with R 4.2.2, survival 3.5.3, MASS 7.3.58.2,
emmeans 1.8.4.1, nlme 3.1.162.
"""

import numpy as np
import pandas as pd
import pytest

from nnunet_ms.statistics.ancova import ancova, ranked_ancova
from nnunet_ms.statistics.count_model import count_model
from nnunet_ms.statistics.cox import TIES, cox_univariable, fit_cox
from nnunet_ms.statistics.mmrm import fit_mmrm
from nnunet_ms.statistics.proportional_hazards import TRANSFORMS, proportional_hazards_test
from nnunet_ms.statistics.survival import INTERVALS, above_median, kaplan_meier, logrank, survival_at

ARMS = ["control", "active"]
EXACT, RESTRICTED = 1e-6, 1e-4  # relative: where the algorithm is the same; of restricted likelihoods
COX_TERMS = ["arm", "sex", "region", "edss_ge4", "age", "log_tlv", "arm:log_tlv"]
COX_NAMES = ["armactive", "sexM", "regionUS", "edss_ge4>=4", "age", "log_tlv", "armactive:log_tlv"]


def tables(folder):
    patients = pd.read_csv(folder / "patients.csv").assign(log_tlv=lambda p: np.log(p["t2_tlv_ml_baseline"]))
    others = [patients.merge(pd.read_csv(folder / f"{name}.csv")) for name in ("tte", "counts", "tlv")]
    volumes = others[2]
    return others[0], others[1], volumes.assign(pchg=100 * (volumes["t2_tlv_ml"] / volumes["t2_tlv_ml_baseline"] - 1))


def cox_design(d):
    arm = (d["arm"] == "active").astype(float)
    columns = [arm, d["sex"] == "M", d["region"] == "US", d["edss_baseline"] >= 4, d["age"], d["log_tlv"]]
    return np.column_stack([*(np.asarray(c, float) for c in columns), arm * d["log_tlv"]])


def cox_rows(analysis, found, names):
    for name in names:
        c = found.term(name)
        for stat in ("coefficient", "se", "p"):
            yield (analysis, name, "coef" if stat == "coefficient" else stat), getattr(c, stat)
        yield from zip(
            [(analysis, name, s) for s in ("hr", "hr_low", "hr_high")], (c.hazard_ratio, c.low, c.high), strict=True
        )
    yield (analysis, "model", "loglik"), found.log_likelihood
    yield (analysis, "model", "concordance"), found.concordance


def survival_values(d):
    X, log_tlv = cox_design(d), d["log_tlv"].to_numpy()[:, None]
    for ties in TIES:
        yield from cox_rows(
            f"cox_uni_log_tlv_{ties}", fit_cox(d["weeks"], d["event"], log_tlv, ["log_tlv"], ties), ["log_tlv"]
        )
        multi = fit_cox(d["weeks"], d["event"], X, COX_NAMES, ties)
        yield from cox_rows(f"cox_multi_interaction_{ties}", multi, COX_NAMES)
    strata = d["region"] + d["age_group"]
    stratified = fit_cox(d["weeks"], d["event"], X[:, :1], ["armactive"], "efron", strata)
    yield from cox_rows("cox_strata_region_age_efron", stratified, ["armactive"])
    columns = {name: [i] for i, name in enumerate(COX_TERMS)}
    for transform in TRANSFORMS:
        for test in proportional_hazards_test(d["weeks"], d["event"], X, columns, "efron", transform):
            for stat in ("chisq", "df", "p"):
                yield (f"cox_zph_{transform}", test.term, stat), getattr(test, stat)
    _, high = above_median(d["t2_tlv_ml_baseline"])
    tests = {"logrank_arm": (d, d["arm"], None), "logrank_arm_strata_region_age": (d, d["arm"], strata)}
    for arm in ARMS:
        chosen = (d["arm"] == arm).to_numpy()
        tests[f"logrank_tlv_median_in_{arm}"] = (d[chosen], high[chosen], None)
    for name, (frame, group, within) in tests.items():
        found = logrank(frame["weeks"], frame["event"], group, within)
        for stat in ("chisq", "df", "p"):
            yield (name, "model", stat), getattr(found, stat)


def curve_values(d):
    for interval in INTERVALS:
        for arm in ARMS:
            of_arm = d[d["arm"] == arm]
            curve = kaplan_meier(of_arm["weeks"], of_arm["event"], interval)
            for week in (24, 48, 96, 120):
                found = survival_at(curve, of_arm["weeks"], week)
                for stat, value in zip(("n_risk", "survival", "low", "high"), found, strict=True):
                    yield (f"km_{interval}", f"{arm}@{week}", stat), value


NB_NAMES = ["(Intercept)", "armactive", "log_tlv", "regionUS", "gd_baselinepresent"]


def count_values(c):
    for covariance, analysis, se in (
        ("expected", "nb_glm_nb", "se_theta_fixed"),
        ("observed", "nb_joint_ml", "se_observed"),
    ):
        found = count_model(c, "new_lesions", "n_scans", ARMS, ["log_tlv"], ["region", "gd_baseline"], covariance)
        for name, coefficient in zip(NB_NAMES, found.coefficients, strict=True):
            yield (analysis, name, "coef"), coefficient.estimate
            yield (analysis, name, se), coefficient.se
        if covariance == "expected":
            yield (analysis, "model", "theta"), 1 / found.alpha
            yield (analysis, "model", "loglik"), found.log_likelihood
        else:
            yield (analysis, "model", "alpha"), found.alpha
    for weights in ("equal", "proportional"):
        model = count_model(
            c, "new_lesions", "n_scans", ARMS, ["log_tlv"], ["region", "gd_baseline"], "expected", weights
        )
        for rate in model.rates:
            for stat, value in (("rate", rate.estimate), ("low", rate.low), ("high", rate.high)):
                yield (f"nb_rate_per_scan_{weights}", rate.arm, stat), value


def volume_values(volumes):
    week120 = volumes[volumes["week"] == 120]
    for weights in ("equal", "proportional"):
        found = ancova(week120, "pchg", ARMS, ["t2_tlv_ml_baseline"], ["region", "age_group"], weights)
        for mean in found.means:
            for stat, value in (("mean", mean.estimate), ("se", mean.se), ("low", mean.low), ("high", mean.high)):
                yield (f"ancova_lsmean_{weights}", mean.arm, stat), value
    names = ["(Intercept)", "armactive", "t2_tlv_ml_baseline", "regionUS", "age_group>45"]
    for name, c in zip(names, (found.intercept, *found.contrasts, *found.covariates), strict=True):
        yield from (((("ancova_pchg_w120"), name, s), v) for s, v in (("coef", c.estimate), ("se", c.se), ("p", c.p)))
    last = volumes.sort_values("week").groupby("patient_id").tail(1)
    ranked = ranked_ancova(last, "pchg", ARMS, "t2_tlv_ml_baseline", factors=["region", "age_group"]).contrasts[0]
    yield ("rank_ancova_locf", "armactive", "t"), ranked.t
    yield ("rank_ancova_locf", "armactive", "p"), ranked.p


def mmrm_values(v):
    arm, w48, w120 = ((x).to_numpy(float) for x in (v["arm"] == "active", v["week"] == 48, v["week"] == 120))
    log_tlv = v["log_tlv"].to_numpy()
    named = {
        "(Intercept)": np.ones(len(v)), "armactive": arm, "week48": w48, "week120": w120, "log_tlv": log_tlv,
        "regionUS": v["region"] == "US", "age_group>45": v["age_group"] == ">45",
        "armactive:week48": arm * w48, "armactive:week120": arm * w120,
        "week48:log_tlv": w48 * log_tlv, "week120:log_tlv": w120 * log_tlv,
    }  # fmt: skip
    y = np.log(v["t2_tlv_ml"] / v["t2_tlv_ml_baseline"])
    X = np.column_stack([np.asarray(c, float) for c in named.values()])
    found = fit_mmrm(y, X, v["patient_id"], v["week"], list(named))
    for i, name in enumerate(named):
        yield ("mmrm_us_reml", name, "coef"), found.beta[i]
        yield ("mmrm_us_reml", name, "se_gls"), float(np.sqrt(found.covariance[i, i]))
    yield ("mmrm_us_reml", "model", "loglik_reml"), found.log_likelihood


@pytest.fixture(scope="module")
def computed(oracle_folder):
    d, c, v = tables(oracle_folder)
    parts = [survival_values(d), curve_values(d), count_values(c), volume_values(v), mmrm_values(v)]
    return {key: value for part in parts for key, value in part}


@pytest.fixture(scope="module")
def rows(oracle_folder):
    return list(pd.read_csv(oracle_folder / "oracles.csv").itertuples())


def test_nothing_is_left_but_the_versions(rows, computed):
    left = {r.analysis for r in rows if (r.analysis, r.term, r.stat) not in computed}
    assert left == {"versions"}


def test_every_value_agrees(rows, computed):
    compared, wrong = 0, {}
    for r in rows:
        key = (r.analysis, r.term, r.stat)
        if r.analysis == "versions":
            continue
        tolerance = RESTRICTED if r.analysis == "mmrm_us_reml" else EXACT
        compared += 1
        if computed[key] != pytest.approx(float(r.value), rel=tolerance):
            wrong[key] = (computed[key], r.value)
    assert wrong == {}
    assert compared == len(rows) - 5


def test_univariable_is_the_general_fit_with_one_column(oracle_folder, rows, computed):
    d, _, _ = tables(oracle_folder)
    found = cox_univariable(d["weeks"], d["event"], d["log_tlv"], "efron")
    assert found.hazard_ratio == pytest.approx(computed["cox_uni_log_tlv_efron", "log_tlv", "hr"], rel=1e-12)
