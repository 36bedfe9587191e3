import numpy as np
import patsy
import pytest
import scipy.stats
import statsmodels.api as sm
import statsmodels.formula.api as smf

from nnunet_ms.analysis.endpoints.statistic_rows import reason_of, to_frame, value_of
from nnunet_ms.analysis.endpoints.t2_volume import changes
from nnunet_ms.analysis.endpoints.t2_volume_models import (
    volume_mmrm,
    volume_model_exclusions,
    volume_model_statistics,
    with_covariates,
)
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.settings import read_settings
from tests.analysis.synthetic_trial import patients, visits, write_trial


def masks(*gone):
    """Volumes without some visits, (patient, week) each, of both raters."""
    frame = visits(patients())
    lost = [(p, w) in set(gone) for p, w in zip(frame["patient_id"], frame["week"], strict=True)]
    return frame[~np.array(lost)]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A trial in which some patients lack their last scans, and one lacks one between."""
    gone = [(f"P{i:03d}", week) for i in range(0, 24, 3) for week in (48, 96)] + [("P001", 48), ("P050", 96)]
    path = write_trial(tmp_path_factory.mktemp("stopped"), visits=masks(*gone))
    return read_trial(read_settings(path))


@pytest.fixture(scope="module")
def rows(stopped):
    return to_frame(volume_model_statistics(stopped, changes(stopped)[0]))


@pytest.fixture(scope="module")
def table(stopped):
    """Changes of the model with its covariates, by pandas from the tables."""
    frame = stopped.volumes.query("rater == 'model'")
    first = frame.query("week == 0").set_index("patient_id")["volume_ml"]
    later = frame.query("week > 0").assign(base=lambda f: f["patient_id"].map(first))
    people = patients().set_index("patient_id")[["region", "age_years"]]
    later = later.join(people, on="patient_id")
    return later.assign(change=100 * (later["volume_ml"] / later["base"] - 1), older=later["age_years"] > 45)


def test_ranked_model_takes_each_patients_last_scan(rows, table):
    # Oracle: statsmodels on ranks by scipy of the last observation.
    last = table.sort_values("week").groupby("patient_id").tail(1)
    ranked = last.assign(y=scipy.stats.rankdata(last["change"]), x=scipy.stats.rankdata(last["base"]))
    fit = smf.ols("y ~ C(arm, Treatment('placebo')) + x + C(region) + older", ranked).fit()
    name = "C(arm, Treatment('placebo'))[T.active]"
    keys = {"analysis": "ranked_ancova_locf", "rater": "model", "visit": "96"}
    found = [value_of(rows, stat_name=s, term="arm", **keys) for s in ("t", "df", "p")]
    assert found == pytest.approx([fit.tvalues[name], fit.df_resid, fit.pvalues[name]])
    assert value_of(rows, stat_name="n", term="model", **keys) == 60


def test_mixed_model_is_generalised_least_squares_of_its_design(stopped, rows, table):
    # Oracle: statsmodels GLS with the fitted covariance written out, on patsy's design of the same terms.
    frame = with_covariates(stopped, changes(stopped)[0]).query("rater == 'model'")
    fit, weeks = volume_mmrm(stopped, frame)
    data = table.assign(y=np.log(table["volume_ml"] / table["base"]), log_base=np.log(table["base"]))
    data = data.sort_values(["patient_id", "week"]).reset_index(drop=True)
    design = patsy.dmatrix("0 + C(week) + C(week):C(arm, Treatment('placebo')) + C(week):log_base + C(region) + older",
                           data, return_type="dataframe")  # fmt: skip
    design = design.loc[:, [c for c in design if "[placebo]" not in c]]
    same = data["patient_id"].to_numpy()[:, None] == data["patient_id"].to_numpy()
    visit = np.searchsorted(weeks, data["week"])
    peer = sm.GLS(data["y"], design, sigma=np.where(same, fit.sigma[np.ix_(visit, visit)], 0.0)).fit()
    for week in (24, 48, 96):
        (name,) = [c for c in design if f"C(week)[{week}.0]" in c and "active" in c]
        keys = {"analysis": "mmrm", "rater": "model", "visit": str(week), "contrast": "active - placebo"}
        ratio, low, high = (value_of(rows, stat_name=s, **keys) for s in ("geometric_mean_ratio", "low", "high"))
        assert np.log(ratio) == pytest.approx(peer.params[name], rel=1e-6)
        se, df = (value_of(rows, stat_name=s, **keys) for s in ("se_log", "df"))
        assert se == pytest.approx(np.sqrt(peer.normalized_cov_params.loc[name, name]), rel=1e-6)
        reach = scipy.stats.t.ppf(0.975, df) * se
        assert np.log([low, high]) == pytest.approx([np.log(ratio) - reach, np.log(ratio) + reach])
        assert value_of(rows, stat_name="p", **keys) == pytest.approx(2 * scipy.stats.t.sf(abs(np.log(ratio)) / se, df))
    counts = [value_of(rows, analysis="mmrm", rater="model", term="model", stat_name=s) for s in ("n", "rows")]
    assert counts == [60, len(table)]


def test_a_visit_with_one_patient_of_an_arm_is_left_out_and_listed(tmp_path):
    table = patients()
    gone = [(name, 48) for name in table.loc[table["arm"] == "active", "patient_id"].iloc[1:]]
    trial = read_trial(read_settings(write_trial(tmp_path, visits=masks(*gone))))
    changed, _ = changes(trial)
    rows = to_frame(volume_model_statistics(trial, changed))
    why = "not estimable (no two patients in every arm at this visit)"
    keys = {"analysis": "mmrm", "rater": "model", "stat_name": "p"}
    assert [reason_of(rows, visit=week, **keys) for week in ("24", "48", "96")] == ["", why, ""]
    listed = volume_model_exclusions(trial, changed)
    assert set(listed["week"]) == {"48"}
    assert len(listed) == 31  # 30 of placebo and the one of active, once, not per rater
    assert set(listed["reason"]) == {"no two patients in every arm at this visit"}
    used = value_of(rows, analysis="mmrm", rater="model", term="model", stat_name="rows")
    assert used == len(changed[(changed["rater"] == "model") & (changed["week"] != 48)])


def test_kenward_roger_stands_beside_satterthwaite(trial):
    # Oracle: the same ratio, and limits by the t distribution from the row's own se and df; errors are not smaller.
    table, _ = changes(trial)
    rows = to_frame(volume_model_statistics(trial, table))
    for week in (24, 48, 96):
        keys = {"rater": "model", "visit": str(week), "contrast": "active - placebo"}
        plain, beside = (
            {
                s: value_of(rows, analysis=a, stat_name=s, **keys)
                for s in ("geometric_mean_ratio", "low", "se_log", "df")
            }
            for a in ("mmrm", "mmrm_kenward_roger")
        )
        assert beside["geometric_mean_ratio"] == plain["geometric_mean_ratio"]
        assert beside["se_log"] >= plain["se_log"]
        low = np.log(beside["geometric_mean_ratio"]) - scipy.stats.t.ppf(0.975, beside["df"]) * beside["se_log"]
        assert np.log(beside["low"]) == pytest.approx(low)
