"""Oracle: R's survival::coxph on tests/statistics/baseline_lesions_patients.csv, which pandas joins from the tables."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter

from nnunet_ms.analysis.endpoints.progression_by_t1_lesions import t1_lesion_statistics
from nnunet_ms.analysis.endpoints.progression_by_t2_volume import progression_data
from nnunet_ms.analysis.endpoints.progression_multivariable import multivariable_statistics
from nnunet_ms.analysis.endpoints.statistic_rows import reason_of, select, to_frame, value_of
from nnunet_ms.analysis.report.blocks.progression_by_lesions import lesion_outcome_block
from nnunet_ms.analysis.report.blocks.progression_by_t1_volume import t1_volume_block
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.settings import read_settings
from tests.analysis.synthetic_trial import SETTINGS, patients, visits, write_trial

ORACLE = Path(__file__).resolve().parents[2] / "statistics"
EXPECTED = pd.read_csv(ORACLE / "baseline_lesions.csv", keep_default_na=False)
METRICS = {
    "lesion_count": "cox_multivariable_count",
    "log_unenhancing_tlv": "cox_unenhancing_multivariable",
    "unenhancing_lesion_count": "cox_unenhancing_count_multivariable",
    "enhancing_lesion_count": "cox_enhancing_count_multivariable",
    "enhancing_present": "cox_enhancing_presence_multivariable",
}


def all_masks(seed=11):
    """T2, unenhancing and enhancing rows of both raters, with counts that differ from patient to patient."""
    rng = np.random.default_rng(seed)
    t2 = visits(patients())
    t2["lesion_count"] = rng.integers(3, 60, len(t2))
    holes = t2.assign(
        lesion_type="t1_unenhancing", volume_ml=(t2["volume_ml"] * rng.uniform(0.1, 0.6, len(t2))).round(5)
    )
    holes["lesion_count"] = rng.integers(1, 20, len(t2))
    active = t2.assign(lesion_type="t1_enhancing", lesion_count=rng.poisson(0.7, len(t2)), volume_ml=0.1)
    return pd.concat([t2, holes, active], ignore_index=True)


def joined(masks, audit, rater="model"):
    """One row per patient: what the R script reads."""
    first = masks[(masks["week"] == 0) & (masks["rater"] == rater)].set_index("patient_id")
    of = dict(list(first.groupby("lesion_type")))
    table = audit[["patient_id", "arm", "time_weeks", "event"]].merge(patients(), on=["patient_id", "arm"])
    ids = table["patient_id"]
    table = table[["time_weeks", "event", "arm", "sex", "region", "edss_baseline", "age_years"]].assign(
        lesion_count=ids.map(of["t2_lesions"]["lesion_count"]),
        unenhancing_ml=ids.map(of["t1_unenhancing"]["volume_ml"]),
        unenhancing_lesion_count=ids.map(of["t1_unenhancing"]["lesion_count"]),
        enhancing_lesion_count=ids.map(of["t1_enhancing"]["lesion_count"]),
    )
    return table.astype({"event": int})


def computed(folder, masks, settings=SETTINGS):
    trial = read_trial(read_settings(write_trial(folder, settings, visits=masks)))
    data = progression_data(trial, "cdp24")
    rows = to_frame([*multivariable_statistics(trial, data), *t1_lesion_statistics(trial, data)])
    return trial, data, rows


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return computed(tmp_path_factory.mktemp("trial"), all_masks())


def test_the_table_that_r_read_is_that_of_this_trial(found):
    committed = pd.read_csv(ORACLE / "baseline_lesions_patients.csv")
    pd.testing.assert_frame_equal(joined(all_masks(), found[1].audit), committed, check_dtype=False)


@pytest.mark.parametrize("row", EXPECTED.to_dict("records"), ids=lambda row: f"{row['analysis']}-{row['term']}")
def test_every_term_equals_r(found, row):
    keys = {"rater": "model", "analysis": row["analysis"], "term": row["term"]}
    keys["contrast"] = "active - placebo" if row["term"].startswith("arm") else ""
    for ours, name in {"coefficient": "coef", "se": "se", "low": "low", "high": "high", "p": "p"}.items():
        assert value_of(found[2], stat_name=ours, **keys) == pytest.approx(float(row[name]), rel=2e-6), ours
    assert value_of(found[2], stat_name="n", **keys) == row["n"]
    assert value_of(found[2], stat_name="events", **keys) == row["events"]


@pytest.mark.parametrize(("metric", "analysis"), METRICS.items())
def test_r_has_every_term_of_every_model(found, metric, analysis):
    ours = set(select(found[2], analysis=analysis, rater="model")["term"]) - {"model"}
    assert ours == set(EXPECTED.loc[EXPECTED["analysis"] == analysis, "term"])
    assert {metric, f"arm:{metric}"} <= ours


@pytest.mark.parametrize("count", [0, 2], ids=["nobody", "everybody"])
def test_presence_in_nobody_or_everybody_is_not_estimated_and_says_why(tmp_path, count):
    masks = all_masks()
    masks.loc[masks["lesion_type"] == "t1_enhancing", "lesion_count"] = count
    _, _, rows = computed(tmp_path, masks)
    keys = {"rater": "model", "stat_name": "hazard_ratio"}
    why = reason_of(rows, analysis="cox_enhancing_presence", term="enhancing_present", **keys)
    assert why == "not estimable (the covariate is constant)"
    model = select(rows, analysis="cox_enhancing_presence_multivariable", rater="model")
    assert model["method"].str.contains(r"enhancing_present left out \(constant in the data\)").all()


@pytest.mark.parametrize("metric", ["lesion_count", "unenhancing_lesion_count", "enhancing_present"])
def test_with_three_arms_a_metric_has_an_interaction_with_each(tmp_path, metric):
    # Oracle: lifelines on columns made by pandas.
    table = patients().assign(arm=np.array(["placebo", "low", "high"])[np.arange(60) % 3])
    settings = SETTINGS.replace('compared = ["active"]', 'compared = ["low", "high"]')
    settings = settings.replace('preset = "opera2"\n', "").replace('truth = "truth.json"\n', "")
    masks = all_masks()
    trial = read_trial(read_settings(write_trial(tmp_path, settings, patients=table, visits=masks)))
    data = progression_data(trial, "cdp24")
    rows = to_frame([*multivariable_statistics(trial, data), *t1_lesion_statistics(trial, data)])
    wide = joined(masks, data.audit.assign(arm=patients()["arm"]))
    x = wide["enhancing_lesion_count"] > 0 if metric == "enhancing_present" else wide[metric]
    frame = pd.DataFrame(
        {"x": x, "age": table["age_years"], "male": table["sex"] == "M", "us": table["region"] == "US"}
    )
    frame = frame.assign(low_edss=table["edss_baseline"] < 4, time=wide["time_weeks"], event=wide["event"]).astype(
        float
    )
    for arm in ("low", "high"):
        frame[arm] = (table["arm"] == arm) * 1.0
        frame[f"{arm}:x"] = frame[arm] * frame["x"]
    fit = CoxPHFitter().fit(frame, "time", "event", fit_options={"precision": 1e-10})
    terms = {"x": (metric, ""), "low": ("arm", "low - placebo"), "low:x": (f"arm:{metric}", "low - placebo"),
             "high:x": (f"arm:{metric}", "high - placebo")}  # fmt: skip
    for name, (term, contrast) in terms.items():
        keys = {"analysis": METRICS[metric], "rater": "model", "term": term, "contrast": contrast}
        assert value_of(rows, stat_name="coefficient", **keys) == pytest.approx(fit.params_[name], rel=1e-4), name


def test_a_trial_without_t1_masks_has_no_row_and_no_block(tmp_path):
    trial, data, rows = computed(tmp_path, visits(patients()))
    assert list(t1_lesion_statistics(trial, data)) == []
    assert t1_volume_block(trial, rows) == []


def test_enhancing_masks_alone_give_the_enhancing_models_alone(tmp_path):
    masks = all_masks()
    trial, _, rows = computed(tmp_path, masks[masks["lesion_type"] != "t1_unenhancing"])
    names = set(rows["analysis"])
    assert "cox_enhancing_count_multivariable" in names
    assert not [name for name in names if "unenhancing" in name]
    (block,) = t1_volume_block(trial, rows)
    assert [t.stem for t in block.all_tables] == [
        "cox_enhancing_count", "cox_enhancing_presence", "t1_lesions_multivariable",
    ]  # fmt: skip


def test_a_volume_of_zero_without_a_setting_is_not_estimated_and_says_why(tmp_path):
    masks = all_masks()
    zero = (masks["lesion_type"] == "t1_unenhancing") & (masks["patient_id"] == "P003")
    masks.loc[zero, "volume_ml"] = 0.0
    _, _, rows = computed(tmp_path, masks, SETTINGS.replace('zero_volume = "exclude"', ""))
    keys = {"analysis": "cox_unenhancing_multivariable", "term": "log_unenhancing_tlv", "rater": "model"}
    assert "set [lesions] zero_volume" in reason_of(rows, stat_name="hazard_ratio", **keys)
    assert value_of(rows, stat_name="n", **keys) == len(patients())


def test_the_report_shows_the_count_and_every_t1_metric(found):
    trial, _, rows = found
    blocks = [lesion_outcome_block(trial, rows, "cdp24", []), *t1_volume_block(trial, rows)]
    tables = {table.stem: table for block in blocks for table in block.all_tables}
    labels = {line[0] for line in tables["cdp24_multivariable_count"].lines}
    assert {"lesion count", "arm × lesion count, active / placebo"} <= labels
    labels = {line[0] for line in tables["t1_lesions_multivariable"].lines}
    assert {"log unenhancing TLV", "unenhancing lesions", "enhancing lesions", "any enhancing lesion"} <= labels
    shown = EXPECTED.query("analysis == 'cox_multivariable_count' and term == 'lesion_count'").iloc[0]
    cell = next(line[2] for line in tables["cdp24_multivariable_count"].lines if line[0] == "lesion count")
    assert cell.startswith(f"{np.exp(shown['coef']):.3f} ")
