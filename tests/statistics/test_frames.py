"""Statistics on data frames against R's values for the simulated tables, and what their tables say.

Oracle: oracles/oracles.csv, by R 4.2.2 with survival 3.5.3, MASS 7.3.58.2, emmeans 1.8.4.1, nlme 3.1.162 (oracles.R).
"""

import dataclasses
import inspect
import subprocess
import sys
import typing

import numpy as np
import pandas as pd
import pytest

import nnunet_ms.statistics
from nnunet_ms.errors import NnunetMsError, OptionError, StatisticsError
from nnunet_ms.statistics import frames
from nnunet_ms.statistics.calibration import calibration
from nnunet_ms.statistics.classification import decision_rates
from nnunet_ms.statistics.logistic import likelihood_ratio_test
from nnunet_ms.statistics.ranked_areas import average_precision, partial_auc

CONTROL = {"arm": "control"}
COX_NAMES = {
    "arm: active": "armactive", "sex: M": "sexM", "region: US": "regionUS", "edss_ge4: >=4": "edss_ge4>=4",
    "age": "age", "log_tlv": "log_tlv", "arm: active:log_tlv": "armactive:log_tlv",
}  # fmt: skip


@pytest.fixture(scope="module")
def r(oracle_folder):
    rows = pd.read_csv(oracle_folder / "oracles.csv").query("analysis != 'versions'")
    return {(row.analysis, row.term, row.stat): float(row.value) for row in rows.itertuples()}


@pytest.fixture(scope="module")
def patients(oracle_folder):
    table = pd.read_csv(oracle_folder / "patients.csv").merge(pd.read_csv(oracle_folder / "tte.csv"))
    table = table.merge(pd.read_csv(oracle_folder / "counts.csv"))
    return table.assign(
        log_tlv=np.log(table["t2_tlv_ml_baseline"]), edss_ge4=np.where(table["edss_baseline"] >= 4, ">=4", "<4")
    )


@pytest.fixture(scope="module")
def volumes(patients, oracle_folder):
    table = patients.merge(pd.read_csv(oracle_folder / "tlv.csv"))
    ratio = table["t2_tlv_ml"] / table["t2_tlv_ml_baseline"]
    return table.assign(pchg=100 * (ratio - 1), log_ratio=np.log(ratio))


def agree(r, row, analysis, term, names, rel=1e-6):
    for column, stat in names.items():
        assert row[column] == pytest.approx(r[analysis, term, stat], rel=rel), (analysis, term, column)


COX_STATS = {"estimate": "hr", "low": "hr_low", "high": "hr_high", "p": "p", "coefficient": "coef", "se": "se"}


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_cox_with_a_product_is_rs(patients, r, ties):
    covariates = ["arm", "sex", "region", "edss_ge4", "age", "log_tlv", "arm:log_tlv"]
    found = frames.cox(patients, "weeks", "event", covariates, reference=CONTROL, ties=ties)
    assert found.table["term"].tolist() == list(COX_NAMES)
    for row in found.table.to_dict("records"):
        agree(r, row, f"cox_multi_interaction_{ties}", COX_NAMES[row["term"]], COX_STATS)
    assert found.table["reference"].tolist() == ["control", "F", "ROW", "<4", "", "", ""]
    assert found.table.attrs["references"] == {"arm": "control", "sex": "F", "region": "ROW", "edss_ge4": "<4"}
    assert found.fit.log_likelihood == pytest.approx(r[f"cox_multi_interaction_{ties}", "model", "loglik"])


def test_cox_with_crossed_strata_is_rs(patients, r):
    found = frames.cox(patients, "weeks", "event", "arm", strata=["region", "age_group"], reference=CONTROL).table
    agree(r, found.iloc[0], "cox_strata_region_age_efron", "armactive", COX_STATS)
    assert "strata region x age_group" in found["method"][0]


@pytest.mark.parametrize("interval", ["log", "log-log", "plain"])
def test_kaplan_meier_is_rs(patients, r, interval):
    found = frames.kaplan_meier(patients, "weeks", "event", by="arm", interval=interval)
    for (arm, time), rows in found.table.groupby(["term", "time"]):
        if time in (24, 48, 96, 120):
            names = {"estimate": "survival", "low": "low", "high": "high", "n_risk": "n_risk"}
            agree(r, rows.iloc[0], f"km_{interval}", f"{arm}@{time:g}", names)
    assert found.table.groupby("term")["n"].first().to_dict() == {"active": 240, "control": 120}
    curve = found.table[(found.table["term"] == "active") & (found.table["n_event"] > 0)]
    assert found.fit["active"].surv_prob == pytest.approx(curve["estimate"].to_numpy(), abs=1e-15)


def test_logrank_is_rs(patients, r):
    whole = frames.logrank(patients, "weeks", "event", by="arm").table.iloc[0]
    agree(r, whole, "logrank_arm", "model", {"chisq": "chisq", "df": "df", "p": "p"})
    within = frames.logrank(patients, "weeks", "event", by="arm", strata=["region", "age_group"]).table.iloc[0]
    agree(r, within, "logrank_arm_strata_region_age", "model", {"chisq": "chisq", "df": "df", "p": "p"})
    assert (whole["term"], whole["n"], whole["events"]) == ("arm", 360, patients["event"].sum())


@pytest.mark.parametrize("weights", ["equal", "proportional"])
def test_ancova_is_rs(volumes, r, weights):
    last = volumes[volumes["week"] == 120]
    covariates = ["t2_tlv_ml_baseline", "region", "age_group"]
    found = frames.ancova(last, "pchg", "arm", covariates, reference=CONTROL, weights=weights)
    rows = found.table.set_index(["kind", "term"])
    names = {"t2_tlv_ml_baseline": "t2_tlv_ml_baseline", "region: US": "regionUS", "age_group: >45": "age_group>45"}
    for key, term in [(("difference", "active"), "armactive"), *((("covariate", k), v) for k, v in names.items())]:
        agree(r, rows.loc[key], "ancova_pchg_w120", term, {"estimate": "coef", "se": "se", "p": "p"})
    for arm in ("control", "active"):
        stats = {"estimate": "mean", "se": "se", "low": "low", "high": "high"}
        agree(r, rows.loc[("mean", arm)], f"ancova_lsmean_{weights}", arm, stats)
    assert found.table["kind"].tolist() == ["difference", "mean", "mean", *["covariate"] * 3]
    assert rows.loc[("mean", "active"), "n"] == (last["arm"] == "active").sum()
    assert rows.loc[("covariate", "region: US"), "reference"] == "ROW"


def test_ancova_reads_the_other_way_round_from_the_other_reference(volumes):
    last = volumes[volumes["week"] == 120]
    one = frames.ancova(last, "pchg", "arm", ["region"], reference={"arm": "control", "region": "US"}).table
    other = frames.ancova(last, "pchg", "arm", ["region"]).table  # first in sorted order: active, ROW
    assert (one["estimate"][0], one["low"][0]) == pytest.approx((-other["estimate"][0], -other["high"][0]))
    assert other["reference"][0] == "active"
    assert one["estimate"][3] == pytest.approx(-other["estimate"][3])
    assert one["term"][3] == "region: ROW"


def test_ancova_with_a_product_has_rs_means(volumes):
    # Oracle: least squares with numpy; emmeans takes the product of arm and baseline at the baseline's mean.
    last = volumes[volumes["week"] == 120]
    found = frames.ancova(last, "pchg", "arm", ["log_tlv", "arm:log_tlv"], reference=CONTROL).table
    arm, x = (last["arm"] == "active").to_numpy(float), last["log_tlv"].to_numpy()
    beta = np.linalg.lstsq(np.column_stack([np.ones(len(x)), arm, x, arm * x]), last["pchg"].to_numpy(), rcond=None)[0]
    means = found[found["kind"] == "mean"].set_index("term")["estimate"]
    assert found["estimate"][0] == pytest.approx(beta[1])
    assert means["control"] == pytest.approx(beta @ [1, 0, x.mean(), 0])
    assert means["active"] == pytest.approx(beta @ [1, 1, x.mean(), x.mean()])


def test_count_model_is_rs(patients, r):
    covariates = ["log_tlv", "region", "gd_baseline"]
    names = {"log_tlv": "log_tlv", "region: US": "regionUS", "gd_baseline: present": "gd_baselinepresent"}
    for covariance, analysis, se in (
        ("expected", "nb_glm_nb", "se_theta_fixed"),
        ("observed", "nb_joint_ml", "se_observed"),
    ):
        found = frames.count_model(
            patients, "new_lesions", "n_scans", "arm", covariates, reference=CONTROL, covariance=covariance
        )
        rows = found.table.set_index(["kind", "term"])
        for key, term in [(("rate ratio", "active"), "armactive"), *((("covariate", k), v) for k, v in names.items())]:
            agree(r, rows.loc[key], analysis, term, {"coefficient": "coef", "se": se})
            assert rows.loc[key, "estimate"] == pytest.approx(np.exp(r[analysis, term, "coef"]))
    rates = frames.count_model(
        patients, "new_lesions", "n_scans", "arm", covariates, reference=CONTROL, weights="proportional"
    )
    for row in rates.table[rates.table["kind"] == "rate"].to_dict("records"):
        stats = {"estimate": "rate", "low": "low", "high": "high"}
        agree(r, row, "nb_rate_per_scan_proportional", row["term"], stats)
    assert rates.fit.alpha == pytest.approx(1 / r["nb_glm_nb", "model", "theta"])


def test_mmrm_is_rs(volumes, r):
    covariates = ["log_tlv", "log_tlv:week", "region", "age_group"]
    found = frames.mmrm(volumes, "log_ratio", "patient_id", "week", "arm", covariates, reference=CONTROL)
    first = found.table.iloc[0]
    assert (first["kind"], first["term"], first["reference"], first["visit"]) == ("difference", "active", "control", 24)
    agree(r, first, "mmrm_us_reml", "armactive", {"estimate": "coef", "se": "se_gls"}, rel=1e-4)
    gaps = found.table[found.table["kind"] == "difference"].set_index("visit")["estimate"]
    for week in (48, 120):
        change = r["mmrm_us_reml", f"armactive:week{week}", "coef"]
        assert gaps[week] - gaps[24] == pytest.approx(change, rel=1e-4)
    assert found.fit.log_likelihood == pytest.approx(r["mmrm_us_reml", "model", "loglik_reml"], rel=1e-6)
    assert set(found.table.columns) >= {"df", "p", "low", "high", "level", "n", "method", "problem"}


def test_mmrm_means_differ_by_the_difference_and_are_at_the_reference_grid(volumes):
    # Oracle: complete data at one visit are least squares, whose means numpy gives.
    last = volumes[volumes["week"] == 120]
    found = frames.mmrm(last, "log_ratio", "patient_id", "week", "arm", ["log_tlv:week", "region"], reference=CONTROL)
    means = found.table[found.table["kind"] == "mean"].set_index("term")["estimate"]
    peer = frames.ancova(last, "log_ratio", "arm", ["log_tlv", "region"], reference=CONTROL).table
    expected = peer[peer["kind"] == "mean"].set_index("term")["estimate"]
    assert means.to_dict() == pytest.approx(expected.to_dict(), rel=1e-6)
    assert found.table["estimate"][0] == pytest.approx(peer["estimate"][0], rel=1e-6)


CALLS = {
    "ancova": lambda f, **o: frames.ancova(f, "change", "arm", ["age", "region"], **o),
    "count_model": lambda f, **o: frames.count_model(f, "lesions", "scans", "arm", ["age", "region"], **o),
    "cox": lambda f, **o: frames.cox(f, "time", "event", ["arm", "age", "region"], **o),
    "kaplan_meier": lambda f, **o: frames.kaplan_meier(f, "time", "event", ["arm", "age", "region"], **o),
    "logrank": lambda f, **o: frames.logrank(f, "time", "event", "arm", strata=["age", "region"], **o),
    "mmrm": lambda f, **o: frames.mmrm(f, "change", "patient", "week", "arm", ["age", "region"], **o),
}
WORDS = {
    "ancova": ("weights", "missing"), "count_model": ("covariance", "weights", "missing"), "cox": ("ties", "missing"),
    "kaplan_meier": ("interval", "missing"), "logrank": ("missing",), "mmrm": ("missing",),
}  # fmt: skip
# on rows of `small` with more columns: not of arms, so apart from the calls above
CLASSIFIED = {
    "classifiers": lambda f, **o: frames.classifiers(f, "event", ["net", "old"], patient="patient", **o),
    "added_value": lambda f, **o: frames.added_value(f, "event", ["age", "region"], ["net", "age:region"], **o),
}
WITH_ARM = ["ancova", "count_model", "cox", "mmrm"]


def small(n=60, seed=5):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "patient": [f"p{i}" for i in range(n)], "week": 24, "arm": np.where(np.arange(n) % 2, "active", "placebo"),
            "age": rng.normal(45, 8, n), "region": rng.choice(["ROW", "US"], n), "change": rng.normal(size=n),
            "lesions": rng.poisson(1.5, n), "scans": rng.integers(1, 4, n), "time": rng.exponential(90, n),
            "event": rng.integers(0, 2, n), "day": pd.Timestamp("2024-01-01"),
        }
    )  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_every_function_gives_a_tidy_table_a_fit_and_two_pictures_of_the_table(name):
    found = CALLS[name](small())
    assert isinstance(found.table, pd.DataFrame)
    assert len(found.table)
    assert {"term", "n", "method"} <= set(found.table.columns)
    assert found.table.attrs["rows_left_out"] == 0
    assert "<table" in found._repr_html_()
    assert str(found.table["term"].iloc[-1]) in str(found)
    assert found.table["method"][0] in str(found)
    with pytest.raises(dataclasses.FrozenInstanceError, match="table"):
        found.table = None


def test_what_is_printed_is_rounded_and_the_table_is_not():
    found = CALLS["cox"](small())
    assert f"{found.table['estimate'][0]:.4g}" in str(found)
    assert f"{found.table['estimate'][0]:.8g}" not in str(found)
    assert "reference: active of arm, ROW of region" in str(found)


@pytest.mark.parametrize("name", CALLS)
def test_the_same_columns_whatever_happens(name):
    fine, broken = CALLS[name](small()), CALLS[name](small().assign(event=0, lesions=0, change=1.0))
    assert fine.table.columns.tolist() == broken.table.columns.tolist()
    if name != "kaplan_meier":  # a curve without an event is a curve
        assert broken.table["problem"][0] != ""


@pytest.mark.parametrize("name", CALLS)
def test_a_missing_value_is_an_error_that_names_column_and_count_or_is_left_out_and_counted(name):
    frame = small().assign(age=lambda f: f["age"].where(f.index > 2))
    with pytest.raises(StatisticsError, match=r'3 of 60 values of age are missing.*missing="drop"'):
        CALLS[name](frame)
    found = CALLS[name](frame, missing="drop")
    assert (found.table.attrs["rows_left_out"], found.table.attrs["left_out"]) == (3, {"age": 3})
    assert "3 rows with missing values left out" in str(found)
    pd.testing.assert_frame_equal(found.table, CALLS[name](frame.dropna()).table, check_flags=False)
    if name not in ("kaplan_meier",):
        assert found.table["n"].max() == 57


@pytest.mark.parametrize("name", CALLS)
def test_a_column_that_is_not_there_is_answered_with_those_that_are(name):
    frame = small().rename(columns={"age": "Age"})
    with pytest.raises(StatisticsError, match=r"expected column 'age', found \['patient', .*Did you mean 'Age'"):
        CALLS[name](frame)


def test_every_word_of_every_function_is_tried():
    for name in CALLS:
        kinds = typing.get_type_hints(getattr(frames, name))
        words = {word for word, kind in kinds.items() if typing.get_origin(kind) is typing.Literal}
        assert words == set(WORDS[name]), name


@pytest.mark.parametrize(("name", "word"), [(name, word) for name, words in WORDS.items() for word in words])
def test_an_unknown_word_is_refused(name, word):
    with pytest.raises(OptionError, match=f"^{word}: expected one of '.*', found 'other'"):
        CALLS[name](small(), **{word: "other"})


@pytest.mark.parametrize("name", [name for name in CALLS if name != "logrank"])
def test_a_level_lies_between_0_and_1(name):
    with pytest.raises(OptionError, match="confidence: expected a number between 0 and 1, found 95"):
        CALLS[name](small(), confidence=95)


@pytest.mark.parametrize("name", WITH_ARM)
def test_a_reference_that_is_not_there_is_answered_with_those_that_are(name):
    with pytest.raises(OptionError, match="reference of arm: expected one of 'active', 'placebo', found 'Placebo'"):
        CALLS[name](small(), reference={"arm": "Placebo"})
    with pytest.raises(OptionError, match="reference: expected one of 'arm', 'region', found 'age'"):
        CALLS[name](small(), reference={"age": 40})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: frames.cox(f, "time", "event", "day"), "day: expected numbers or texts, found dates"),
        (lambda f: frames.cox(f, "time", "event", ["arm:age:region"]), "arm:age:region: expected a product of two"),
        (lambda f: frames.cox(f, "time", "lesions", ["age"]), r"event: expected 0 \(censored\) and 1 \(event\), found"),
        (lambda f: frames.cox(f.assign(time=-1.0), "time", "event", "age"), "time: expected values >= 0, found -1"),
        (lambda f: frames.cox(f.iloc[:0], "time", "event", "age"), "expected rows with values .* found none among 0"),
        (lambda f: frames.cox(f.to_dict(), "time", "event", "age"), "frame: expected a pandas.DataFrame, found dict"),
        (lambda f: frames.logrank(f, "time", "event", []), "by: expected one or more columns"),
        (lambda f: frames.ancova(f, "change", "arm", ["arm"]), "covariates: arm is the arm's own name"),
        (lambda f: frames.ancova(f, "change", "region", ["arm"]), "covariates: arm is the arm's own name"),
        (lambda f: frames.ancova(f.assign(arm="a"), "change", "arm"), r"arm: expected two or more arms, found \['a'\]"),
        (lambda f: frames.ancova(f, "region", "arm"), "region: expected numbers"),
        (lambda f: frames.mmrm(f, "change", "patient", "week", "arm", ["week"]), "week, the visit, is in the model"),
        (lambda f: frames.kaplan_meier(f.assign(time=np.inf), "time", "event"), "60 of 60 values of time are missing"),
    ],
)
def test_what_the_user_can_mend_is_said(call, message):
    with pytest.raises(NnunetMsError, match=message):
        call(small())


def test_numbers_as_arms_and_categories_as_factors_work():
    frame = small().assign(arm=lambda f: (f["arm"] == "active") * 1, region=lambda f: f["region"].astype("category"))
    coded = frames.ancova(frame, "change", "arm", ["region"]).table
    named = frames.ancova(small(), "change", "arm", ["region"], reference={"arm": "placebo"}).table
    assert coded["estimate"].tolist() == pytest.approx(named["estimate"].tolist())
    assert (coded["term"][0], coded["reference"][0]) == ("1", "0")


def test_arms_may_stand_in_a_column_of_any_name_and_a_column_may_hold_a_colon():
    frame = small().rename(columns={"arm": "treatment", "age": "age:years"})
    found = frames.ancova(frame, "change", "treatment", ["age:years"], reference={"treatment": "placebo"})
    same = frames.ancova(small(), "change", "arm", ["age"], reference={"arm": "placebo"})
    assert found.table["estimate"].tolist() == pytest.approx(same.table["estimate"].tolist())
    assert found.table.attrs["references"] == {"treatment": "placebo"}


def test_counts_without_exposure_are_seen_alike():
    one = frames.count_model(small(), "lesions", None, "arm").table
    two = frames.count_model(small().assign(scans=1), "lesions", "scans", "arm").table
    pd.testing.assert_frame_equal(one, two)


def test_a_constant_covariate_is_named():
    found = frames.ancova(small().assign(region="US"), "change", "arm", ["age", "region"])
    assert found.table.attrs["notes"] == ["region left out (constant in the data)"]


def test_the_frame_stays_as_it_was():
    frame = small()
    before = frame.copy(deep=True)
    for call in CALLS.values():
        call(frame)
    pd.testing.assert_frame_equal(frame, before)


# how the functions are reached

ORDERS = [
    "import nnunet_ms.statistics as s",
    "import nnunet_ms.statistics.{0} as m; import nnunet_ms.statistics as s; assert m.__name__.endswith('{0}')",
    "from nnunet_ms.statistics.{0} import *; import nnunet_ms.statistics as s",
    "import nnunet_ms.statistics as s; s.{0}; import nnunet_ms.statistics.{0}",
    "import nnunet_ms.statistics.frames; import nnunet_ms.statistics as s",
    "from nnunet_ms.statistics import {0}; import nnunet_ms.statistics as s; assert s.{0} is {0}",
]
CHECK = """
import inspect, importlib
from nnunet_ms.statistics import frames
function = getattr(s, '{0}')
assert callable(function)
assert inspect.signature(function) == inspect.signature(frames.{0})
module = importlib.import_module('nnunet_ms.statistics.{0}')
assert module is function and module.__doc__
"""


@pytest.mark.parametrize("name", ["cox", "mmrm"])
def test_module_and_function_of_one_name_live_together_in_every_order(name):
    code = "\n".join(
        f"import sys; [sys.modules.pop(m) for m in list(sys.modules) if m.startswith('nnunet_ms')]\n{order}\n{CHECK}"
        for order in ORDERS
    ).format(name)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", CALLS)
def test_the_package_answers_by_the_functions_names(name):
    function = getattr(nnunet_ms.statistics, name)
    assert inspect.signature(function) == inspect.signature(getattr(frames, name))
    assert name in dir(nnunet_ms.statistics)
    assert name in frames.__all__


def test_a_call_of_the_module_is_a_call_of_the_function():
    import nnunet_ms.statistics.ancova as module
    from nnunet_ms.statistics.ancova import ancova

    called = nnunet_ms.statistics.ancova(small(), "change", "arm", ["age"])
    pd.testing.assert_frame_equal(called.table, frames.ancova(small(), "change", "arm", ["age"]).table)
    assert module.ancova is ancova
    with pytest.raises(AttributeError, match="has no attribute 'coxx'"):
        nnunet_ms.statistics.coxx  # noqa: B018


def classified(n=60, seed=5):
    rng = np.random.default_rng(seed)
    return small(n, seed).assign(
        net=lambda f: 1 / (1 + np.exp(-rng.normal(size=n) - f["event"])), old=rng.uniform(0.01, 0.99, n)
    )


def test_classifiers_are_their_parts():
    # Oracle: the functions on arrays, which are equal to R.
    frame = classified().assign(patient=[f"p{k // 3}" for k in range(60)])
    found = CLASSIFIED["classifiers"](frame, threshold=0.6, replicates=30)
    event, net, old = (frame[name].to_numpy() for name in ("event", "net", "old"))
    rows = found.table.set_index(["term", "measure"])
    assert rows.loc[("net", "proc_auc"), "estimate"] == partial_auc(net[event == 1], net[event == 0])
    both = [average_precision(p[event == 1], p[event == 0]) for p in (net, old)]
    assert rows.loc[("net - old", "pr_auc_average_precision"), "estimate"] == pytest.approx(both[0] - both[1])
    rates = {rate.measure: rate for rate in decision_rates(event, net >= 0.6, frame["patient"].tolist(), 30)}
    assert rows.loc[("net", "f1"), ["estimate", "low", "high"]].tolist() == pytest.approx(
        [rates["f1"].estimate, rates["f1"].low, rates["f1"].high]
    )
    assert rows.loc[("old", "calibration_slope"), "estimate"] == pytest.approx(calibration(event, old).slope)
    assert (rows["n"].unique().tolist(), rows["patients"].unique().tolist()) == ([60], [20])
    assert set(found.fit) == {"net", "old", "net - old"}
    assert "sensitivity" not in set(CLASSIFIED["classifiers"](frame, replicates=5).table["measure"])


def test_added_value_codes_factors_and_products():
    frame = classified()
    found = CLASSIFIED["added_value"](frame)
    us = (frame["region"] == "US").to_numpy(float)
    age = frame["age"].to_numpy()
    test = likelihood_ratio_test(frame["event"], np.column_stack([age, us]), np.column_stack([frame["net"], age * us]))
    assert found.table.loc[0, ["statistic", "df", "p"]].tolist() == pytest.approx([test.statistic, 2, test.p])
    assert found.table["term"][0] == "net, age:region"
    assert "ROW of region" in str(found)
    assert frames.added_value(frame, "event", [], "net").table["df"][0] == 1


@pytest.mark.parametrize("name", CLASSIFIED)
def test_functions_of_classifiers_behave_as_all_others(name):
    call = CLASSIFIED[name]
    fine = call(classified())
    broken = call(classified().assign(event=0))
    assert fine.table.columns.tolist() == broken.table.columns.tolist()
    assert broken.table["problem"][0] != ""
    assert fine.table["method"][0] in str(fine)
    frame = classified().assign(net=lambda f: f["net"].where(f.index > 2))
    with pytest.raises(StatisticsError, match=r'3 of 60 values of net are missing.*missing="drop"'):
        call(frame)
    assert call(frame, missing="drop").table.attrs["left_out"] == {"net": 3}
    with pytest.raises(OptionError, match=r"^missing: expected one of '.*', found 'other'"):
        call(classified(), missing="other")
    with pytest.raises(StatisticsError, match=r"expected column 'net', found .*Did you mean 'Net'"):
        call(classified().rename(columns={"net": "Net"}))
    assert inspect.signature(getattr(nnunet_ms.statistics, name)) == inspect.signature(getattr(frames, name))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: frames.classifiers(f, "lesions", "net"), "lesions: expected 0 and 1, found"),
        (lambda f: frames.classifiers(f, "event", "age"), "age: expected values from 0 to 1, found"),
        (lambda f: frames.classifiers(f, "event", "net", threshold=50), "^threshold: expected a probability"),
        (lambda f: frames.classifiers(f, "event", "net", confidence=95), "^confidence: .* Did you mean 0.95"),
        (lambda f: frames.classifiers(f, "event", "net", up_to=0), "^up_to: expected a false-positive rate"),
        (lambda f: frames.added_value(f, "event", "age", "day"), "day: expected numbers or texts, found dates"),
    ],
)
def test_what_the_user_of_classifiers_can_mend_is_said(call, message):
    with pytest.raises(NnunetMsError, match=message):
        call(classified())
