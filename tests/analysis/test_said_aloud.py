"""What a run does by a rule of its own stands in its output."""

import numpy as np
import pytest

from nnunet_ms.analysis.endpoints.recipe import compute_endpoints
from nnunet_ms.analysis.endpoints.statistic_rows import select, value_of
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.settings import read_settings
from nnunet_ms.errors import SettingsError
from nnunet_ms.statistics.survival import kaplan_meier, survival_at
from tests.analysis.synthetic_trial import SETTINGS, assessments, patients, visits, write_trial


def compute(folder, settings=SETTINGS, **tables):
    return compute_endpoints(read_trial(read_settings(write_trial(folder, settings, **tables)))).endpoints


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """One region, a baseline of 1e-6 ml, alpha of .1, everybody of the active arm progresses at week 12."""
    table = patients().assign(region="US")
    masks = visits(table)
    masks.loc[(masks["patient_id"] == "P003") & (masks["week"] == 0), "volume_ml"] = 1e-6
    visit = assessments(table)
    active = visit["patient_id"].map(table.set_index("patient_id")["arm"]) == "active"
    base = visit["patient_id"].map(table.set_index("patient_id")["edss_baseline"])
    visit.loc[active, "edss"] = np.where(visit.loc[active, "week"] >= 12, base[active] + 1, base[active])
    settings = SETTINGS.replace("bootstrap_draws = 20", "bootstrap_draws = 3\nalpha = 0.1")
    return compute(tmp_path_factory.mktemp("odd"), settings, patients=table, visits=masks, assessments=visit)


@pytest.mark.parametrize("analysis", ["ancova", "mmrm", "cox_multivariable"])
def test_a_covariate_that_is_constant_is_named(odd, analysis):
    method = select(odd, analysis=analysis)["method"].iloc[0]
    assert "region left out (constant in the data)" in method


def test_a_baseline_next_to_nothing_is_named(odd):
    method = select(odd, analysis="ancova", stat_name="difference")["method"].iloc[0]
    assert "1 baseline below 0.01 ml, the smallest 1e-06 ml, with changes up to" in method


def test_every_limit_names_its_level_where_it_is_not_95(odd):
    limits = odd[odd["stat_name"].isin(["low", "high"]) & ~odd["endpoint"].isin(["agreement", "concordance"])]
    assert len(limits) > 50
    assert limits["method"].str.contains("90 %", regex=False).all()


def test_a_curve_at_0_stays_at_0(odd):
    # By definition: everybody had the event, nobody is free of it later either. R: summary(fit, times, extend = TRUE).
    keys = {"endpoint": "cdp24", "analysis": "km_by_arm", "arm": "active", "visit": "96"}
    assert value_of(odd, stat_name="survival", **keys) == 0
    assert value_of(odd, stat_name="n_risk", **keys) == 0
    assert "no interval where survival is 0" in select(odd, stat_name="low", **keys)["method"].iloc[0]
    assert survival_at(kaplan_meier([1, 2], [1, 1], "log"), [1, 2], 5)[:2] == (0, 0.0)
    assert np.isnan(survival_at(kaplan_meier([1, 2], [1, 0], "log"), [1, 2], 5)[1])


@pytest.mark.parametrize("name", ["log_tlv", "intercept", "age_years", "edss < 4", "high:log_tlv"])
def test_an_arm_that_is_called_as_a_term_is_refused(tmp_path, name):
    path = write_trial(tmp_path, SETTINGS.replace('compared = ["active"]', f'compared = ["{name}"]'))
    with pytest.raises(SettingsError, match=r"what a term of the models is called.*Rename the arm in patients\.csv"):
        read_settings(path)
