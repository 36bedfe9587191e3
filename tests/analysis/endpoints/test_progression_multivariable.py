import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter

from nnunet_ms.analysis.endpoints.progression_by_t2_volume import progression_data
from nnunet_ms.analysis.endpoints.progression_multivariable import along_curve, multivariable_statistics
from nnunet_ms.analysis.endpoints.statistic_rows import reason_of, select, to_frame, value_of
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.settings import read_settings
from nnunet_ms.statistics.proportional_hazards import proportional_hazards_test
from tests.analysis.synthetic_trial import assessments, patients, visits, write_trial

ORDER = ["arm", "M", "US", "low", "age", "log_tlv", "both"]
TERMS = {"arm": ("arm", "active - placebo"), "M": ("sex: M", ""), "US": ("region: US", ""), "low": ("edss < 4", ""),
         "age": ("age_years", ""), "log_tlv": ("log_tlv", ""), "both": ("arm:log_tlv", "active - placebo")}  # fmt: skip


@pytest.fixture(scope="module")
def data(trial):
    return progression_data(trial, "cdp24")


@pytest.fixture(scope="module")
def rows(trial, data):
    return to_frame(multivariable_statistics(trial, data))


@pytest.fixture(scope="module")
def design(data):
    """Table 4 of Krishnan et al. 2023 by pandas, with the model's baseline volumes."""
    people = patients()
    first = visits(people).query("week == 0 and rater == 'model'").set_index("patient_id")["volume_ml"]
    log_tlv = np.log(people["patient_id"].map(first))
    arm = (people["arm"] == "active") * 1.0
    return pd.DataFrame(
        {"arm": arm, "M": (people["sex"] == "M") * 1.0, "US": (people["region"] == "US") * 1.0,
         "low": (people["edss_baseline"] < 4) * 1.0, "age": people["age_years"] * 1.0, "log_tlv": log_tlv,
         "both": arm * log_tlv, "time": data.table["time_weeks"], "event": data.table["event"]}
    )  # fmt: skip


@pytest.fixture(scope="module")
def fit(design):
    return CoxPHFitter().fit(design, "time", "event", fit_options={"precision": 1e-10})


def test_every_term_against_lifelines(rows, fit):
    keys = {"analysis": "cox_multivariable", "rater": "model"}
    for name, (term, contrast) in TERMS.items():
        found = [value_of(rows, term=term, contrast=contrast, stat_name=s, **keys) for s in ("coefficient", "se", "p")]
        expected = [fit.params_[name], fit.standard_errors_[name], fit.summary["p"][name]]
        assert found == pytest.approx(expected, rel=1e-4), term
    model = [value_of(rows, term="model", stat_name=s, **keys) for s in ("log_likelihood", "concordance")]
    assert model == pytest.approx([fit.log_likelihood_, fit.concordance_index_], rel=1e-4)


def test_test_of_proportional_hazards_is_that_of_these_columns(rows, design):
    # Oracle: the test itself (which agrees with R) on pandas' design.
    columns = {"arm": [0], "sex": [1], "region": [2], "edss": [3], "age": [4], "log_tlv": [5], "arm:log_tlv": [6]}
    X = design[ORDER].to_numpy()
    for test in proportional_hazards_test(design["time"], design["event"], X, columns, "efron", "km"):
        keys = {"analysis": "cox_zph", "rater": "model", "term": test.term}
        found = [value_of(rows, stat_name=s, **keys) for s in ("chisq", "df", "p")]
        assert found == pytest.approx([test.chisq, test.df, test.p])


def test_effect_of_arm_along_the_volume(trial, data, rows, design, fit):
    # Oracle: exp(b + c log TLV) with lifelines' coefficients and covariance, at NumPy's percentiles.
    volume = np.exp(design["log_tlv"])
    for percent in (10, 25, 50, 75, 90):
        tlv = np.percentile(volume, percent)
        keys = {"analysis": "arm_along_tlv", "rater": "model", "term": f"p{percent}"}
        assert value_of(rows, contrast="", stat_name="tlv", **keys) == pytest.approx(tlv)
        point = np.array([1, np.log(tlv)])
        names = ["arm", "both"]
        log_ratio = point @ fit.params_[names]
        se = np.sqrt(point @ fit.variance_matrix_.loc[names, names] @ point)
        expected = np.exp([log_ratio, log_ratio - 1.959964 * se, log_ratio + 1.959964 * se])
        of = {"contrast": "active - placebo", **keys}
        found = [value_of(rows, stat_name=s, **of) for s in ("hazard_ratio", "low", "high")]
        assert found == pytest.approx(expected, rel=1e-4)
    curve = along_curve(trial, data, "model", points=5)
    edges = np.quantile(volume, [0.05, 0.95])
    assert curve["tlv_ml"].to_numpy() == pytest.approx(np.geomspace(*edges, 5))
    slope = np.diff(np.log(curve["hazard_ratio"])) / np.diff(np.log(curve["tlv_ml"]))
    assert slope == pytest.approx(np.full(4, fit.params_["both"]), rel=1e-4)


def test_ratio_per_lesion(tmp_path, rows, design, data):
    # Oracle: lifelines. In the shared trial every patient has 10 lesions; here the counts differ.
    why = reason_of(rows, analysis="cox_univariable_count", stat_name="hazard_ratio", rater="model")
    assert why == "not estimable (the covariate is constant)"
    masks = visits(patients())
    masks["lesion_count"] = np.random.default_rng(1).integers(1, 60, len(masks))
    counts = masks.query("week == 0 and rater == 'model'").set_index("patient_id")["lesion_count"]
    frame = design[["time", "event"]].assign(x=data.table["patient_id"].map(counts).to_numpy())
    fit = CoxPHFitter().fit(frame, "time", "event", fit_options={"precision": 1e-10})
    trial = read_trial(read_settings(write_trial(tmp_path, visits=masks)))
    keys = {"analysis": "cox_univariable_count", "term": "lesion_count", "rater": "model"}
    found = to_frame(multivariable_statistics(trial, data))
    assert value_of(found, stat_name="coefficient", **keys) == pytest.approx(fit.params_["x"], rel=1e-4)


def test_terms_that_are_constant_are_left_out_by_name(tmp_path):
    table = patients().assign(sex="F", age_years=40)
    trial = read_trial(read_settings(write_trial(tmp_path, patients=table, assessments=assessments(table))))
    rows = to_frame(multivariable_statistics(trial, progression_data(trial, "cdp24")))
    found = select(rows, analysis="cox_multivariable", rater="model")
    assert {"sex: M", "age_years"}.isdisjoint(found["term"])
    assert found["method"].str.contains("age_years left out (constant in the data)", regex=False).all()
