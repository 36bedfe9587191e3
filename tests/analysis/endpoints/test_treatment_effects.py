"""The whole recipe on a trial with every lesion type and outcome: rows, guards, report."""

import numpy as np
import pytest

from nnunet_ms.analysis.endpoints.recipe import compute_endpoints
from nnunet_ms.analysis.endpoints.statistic_rows import select, value_of
from nnunet_ms.analysis.run_trial import run_trial
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.settings import read_settings
from nnunet_ms.errors import SettingsError
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
    assert "no lesion in arm active: no model; limits are exact for Poisson" in ratio["method"].iloc[0]
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
