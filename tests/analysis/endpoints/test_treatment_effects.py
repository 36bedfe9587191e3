"""The whole recipe on a trial with every lesion type and outcome: rows, guards, report."""

import numpy as np
import pandas as pd
import pytest

from nnunet_ms.analysis.endpoints.recipe import compute_endpoints
from nnunet_ms.analysis.endpoints.statistic_rows import select, value_of
from nnunet_ms.analysis.run_trial import run_trial
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.settings import read_settings
from nnunet_ms.errors import SettingsError
from nnunet_ms.statistics.ancova import ancova
from nnunet_ms.statistics.cox import fit_cox
from nnunet_ms.statistics.multiplicity import fixed_sequence, holm
from nnunet_ms.statistics.paired_effect import draw_weights, linear_effect, log_hazard_ratio, paired_effect
from tests.analysis.report.test_report import Page
from tests.analysis.synthetic_trial import SETTINGS, all_lesion_types, patients, timed_assessments, visits, write_trial

OUTCOMES = ["cdp12", "ccdp12", "cdi12"]
FULL = (
    SETTINGS.replace('outcomes = ["cdp24"]', f"outcomes = {OUTCOMES}".replace("'", '"'))
    + """
sequence = ["t2_volume_percent_change", "enhancing_lesions", "cdp12"]
holm = true
"""
)


def full(table=None, **changed):
    table = patients() if table is None else table
    return {"patients": table, "visits": all_lesion_types(table), "assessments": timed_assessments(table), **changed}


def compute(folder, settings=FULL, **tables):
    return compute_endpoints(read_trial(read_settings(write_trial(folder, settings, **tables))))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("full")
    results = run_trial(write_trial(folder / "in", FULL, **full()), folder / "out")
    return results, folder / "out"


def test_the_agreed_names_are_there(done):
    rows = done[0].endpoints
    contrast = "active - placebo"
    for endpoint in ("enhancing_lesions", "new_t1_lesions", "new_t2_lesions"):
        for rater in ("reference", "model"):
            keys = {"endpoint": endpoint, "analysis": "negative_binomial", "rater": rater, "contrast": contrast}
            assert 0 < value_of(rows, stat_name="rate_ratio", **keys) < 1
    for outcome in OUTCOMES:
        keys = {"endpoint": outcome, "analysis": "cox_by_arm", "contrast": contrast, "stat_name": "hazard_ratio"}
        if outcome == "cdi12":  # nobody improves in this trial
            assert "no events" in select(rows, **keys)["method"].iloc[0]
        else:
            assert np.isfinite(value_of(rows, **keys)), outcome
    assert not rows.duplicated(
        ["endpoint", "analysis", "population", "rater", "arm", "contrast", "visit", "term", "stat_name"]
    ).any()
    blank = rows[rows["stat"].isna()]
    assert blank["method"].str.contains(r"not estimable \(.+\)").all()


def test_counts_against_pandas(done):
    # Oracle: the definition, by pandas alone.
    table = patients()
    long = all_lesion_types(table).merge(table[["patient_id", "arm"]])
    chosen = long[(long["lesion_type"] == "new_t1") | (long["lesion_type"] == "t1_unenhancing")]
    chosen = chosen[(chosen["rater"] == "model") & (chosen["week"] > 0)]
    sums = chosen.groupby("arm")["new_lesion_count"].agg(["sum", "size"])
    keys = {"endpoint": "new_t1_lesions", "analysis": "by_visit", "rater": "model", "visit": "all"}
    rows = done[0].endpoints
    for arm in ("placebo", "active"):
        assert value_of(rows, arm=arm, stat_name="lesions", **keys) == sums.loc[arm, "sum"]
        assert value_of(rows, arm=arm, stat_name="visits", **keys) == sums.loc[arm, "size"]
    rate = sums["sum"] / sums["size"]
    reduction = 100 * (1 - rate["active"] / rate["placebo"])
    assert value_of(rows, stat_name="percent_reduction", contrast="active - placebo", **keys) == pytest.approx(
        reduction
    )


def test_arm_effect_is_the_fit_on_the_audit(done):
    audit = done[0].audit["ccdp12"]
    x = (audit["arm"] == "active").to_numpy(float)[:, None]
    fit = fit_cox(audit["time_weeks"], audit["event"], x, ["arm"], "efron").term("arm")
    keys = {"endpoint": "ccdp12", "analysis": "cox_by_arm", "stat_name": "hazard_ratio"}
    assert value_of(done[0].endpoints, **keys) == pytest.approx(fit.hazard_ratio)


def test_report_shows_every_block_with_headings_and_alt_texts(done):
    page = Page((done[1] / "index.html").read_text(encoding="utf-8"))
    sections = {s["id"] for s in page.named("section")}
    assert {
        "enhancing_lesions",
        "new_t1_lesions",
        "new_t2_lesions",
        "ccdp12_by_arm",
        "effect_agreement",
        "multiplicity",
    } <= sections
    assert len(page.named("h1")) == 1
    assert len(page.named("h2")) == len(sections) + 1
    assert all(len(image["alt"]) > 20 and image["src"].startswith("data:") for image in page.named("img"))
    assert page.texts.count("simulated data") == len(sections)
    assert ">nan" not in (done[1] / "index.html").read_text(encoding="utf-8").lower()


def test_a_missing_arm_at_a_visit_an_arm_without_events_and_no_lesions(tmp_path):
    table = patients()
    tables = full(table)
    masks = tables["visits"]
    active = masks["patient_id"].map(table.set_index("patient_id")["arm"]) == "active"
    masks = masks[~(active & (masks["week"] == 96))]
    masks.loc[masks["lesion_type"] == "t1_enhancing", "lesion_count"] = 0
    active = masks["patient_id"].map(table.set_index("patient_id")["arm"]) == "active"
    masks.loc[active & masks["new_lesion_count"].notna(), "new_lesion_count"] = 0
    visits_of = tables["assessments"]
    quiet = visits_of["patient_id"].map(table.set_index("patient_id")["arm"]) == "active"
    visits_of.loc[quiet, "edss"] = visits_of.loc[quiet, "patient_id"].map(
        table.set_index("patient_id")["edss_baseline"]
    )
    results = run_trial(
        write_trial(tmp_path / "in", FULL, patients=table, visits=masks, assessments=visits_of), tmp_path / "out"
    )
    rows = results.endpoints
    effect = select(rows, endpoint="cdp12", analysis="cox_by_arm", stat_name="hazard_ratio").iloc[0]
    assert "Firth" in effect["method"]
    assert 0 < effect["stat"] < 1
    ratio = select(rows, endpoint="new_t1_lesions", analysis="negative_binomial", stat_name="rate_ratio", rater="model")
    assert ratio["stat"].tolist() == [0.0]
    assert "exact Poisson bounds" in ratio["method"].iloc[0]
    none = select(rows, endpoint="enhancing_lesions", analysis="negative_binomial", stat_name="rate_ratio")
    assert none["method"].str.contains("no lesion in any arm").all()
    last = select(rows, analysis="mmrm", visit="96", stat_name="p")
    assert last["method"].str.contains("no two patients in every arm").all()
    assert ">nan" not in (tmp_path / "out" / "index.html").read_text(encoding="utf-8").lower()


def test_a_stratum_that_is_no_column(tmp_path):
    with pytest.raises(SettingsError, match=r"\[analysis\] names 'site'; expected age_group"):
        compute(tmp_path, SETTINGS + 'strata = ["site"]\n')


def test_t2_rows_alone_are_enough(tmp_path):
    found = compute(tmp_path, SETTINGS, patients=patients(), visits=visits(patients())).endpoints
    assert not set(found["endpoint"]) & {"enhancing_lesions", "new_t1_lesions", "new_t2_lesions"}


def test_bootstrap_of_a_linear_effect_is_the_fit_of_the_drawn_patients():
    # Oracle: ANCOVA of the drawn rows, one draw after the other.
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"arm": np.tile(["a", "b"], 30), "y": rng.normal(size=60), "x": rng.normal(size=60)})
    X = np.column_stack([np.ones(60), frame["arm"] == "b", frame["x"]]).astype(float)
    weights = draw_weights(frame["arm"], 5, seed=3)
    assert (weights[:, ::2].sum(axis=1) == 30).all()
    found = linear_effect(frame["y"].to_numpy(), X, 1)(weights)
    for value, count in zip(found, weights, strict=True):
        drawn = frame.iloc[np.repeat(np.arange(60), count.astype(int))]
        assert value == pytest.approx(ancova(drawn, "y", ["a", "b"], ["x"]).contrasts[0].estimate)


def test_equal_raters_have_no_difference_and_a_shift_is_found():
    rng = np.random.default_rng(2)
    time, x = rng.integers(1, 20, 80).astype(float), rng.normal(size=(80, 1))
    event = rng.random(80) < 0.7
    weights = draw_weights(np.tile(["a", "b"], 40), 50, seed=1)
    one = log_hazard_ratio(time, event, x, 0, "efron")
    same = paired_effect(one, one, weights)
    assert (same.difference, same.low, same.high) == (0, 0, 0)
    half = paired_effect(one, log_hazard_ratio(time, event, 2 * x, 0, "efron"), weights)
    assert half.rater == pytest.approx(half.reference / 2)


def test_bootstrap_standard_error_against_theory():
    # Oracle: the standard error of a difference of means of independent noise, s * sqrt(1/n1 + 1/n2).
    rng = np.random.default_rng(4)
    n = 400
    X = np.column_stack([np.ones(n), np.arange(n) % 2]).astype(float)
    base, noise = rng.normal(size=n), rng.normal(size=n)
    effects = [linear_effect(y, X, 1) for y in (base, base + noise)]
    found = paired_effect(*effects, draw_weights(np.arange(n) % 2, 2000, seed=5))
    assert found.se == pytest.approx(noise.std() * np.sqrt(2 / 200), rel=0.1)


def test_holm_and_fixed_sequence():
    # Oracle: R, p.adjust(c(.01, .04, .03, .005), "holm") = .03 .06 .06 .02.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    found = fixed_sequence(["a", "b", "c"], [0.01, 0.2, 0.001], 0.05)
    assert [(d.tested, d.rejected) for d in found] == [(True, True), (True, False), (False, False)]
    assert not fixed_sequence(["a"], [float("nan")], 0.05)[0].rejected
