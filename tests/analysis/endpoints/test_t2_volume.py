import numpy as np
import pytest
import scipy.stats
import statsmodels.formula.api as smf

from nnunet_ms.analysis.endpoints.statistic_rows import select, to_frame, value_of
from nnunet_ms.analysis.endpoints.t2_volume import changes, t2_volume_statistics
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.settings import read_settings
from tests.analysis.synthetic_trial import SETTINGS, all_lesion_types, patients, visits, write_trial

KEYS = {"endpoint": "t2_volume_percent_change", "rater": "model", "visit": "96"}


@pytest.fixture(scope="module")
def rows(trial):
    return to_frame(t2_volume_statistics(trial, changes(trial)[0]))


@pytest.fixture(scope="module")
def wide():
    """Volumes of the model from the table itself, one row per patient: week -> ml, and the covariates."""
    long = all_lesion_types(patients()).query("lesion_type == 't2_lesions' and rater == 'model'")
    table = long.pivot_table(index="patient_id", columns="week", values="volume_ml").rename(columns="w{:.0f}".format)
    table = table.join(patients().set_index("patient_id"))
    return table.assign(change=100 * (table["w96"] / table["w0"] - 1), older=table["age_years"] > 45)


def test_numbers_against_pandas(rows, wide):
    # Oracle: the definition, by pandas alone; Welch's interval by scipy.
    change = wide.groupby("arm")["change"]
    keys = {**KEYS, "analysis": "by_visit"}
    for arm in ("placebo", "active"):
        for name, expected in (
            ("mean", change.mean()),
            ("sd", change.std()),
            ("se", change.sem()),
            ("n", change.size()),
        ):
            assert value_of(rows, arm=arm, stat_name=name, **keys) == pytest.approx(expected[arm])
    of = dict(list(change))
    test = scipy.stats.ttest_ind(of["active"], of["placebo"], equal_var=False).confidence_interval()
    contrast = {**keys, "contrast": "active - placebo"}
    found = [value_of(rows, stat_name=name, **contrast) for name in ("separation", "low", "high")]
    assert found == pytest.approx([change.mean()["active"] - change.mean()["placebo"], test.low, test.high])


def test_adjusted_difference_and_means_against_statsmodels(rows, wide):
    # Oracle: statsmodels' formulas; least-squares means at the mean baseline and equal shares of region and age group.
    fit = smf.ols("change ~ C(arm, Treatment('placebo')) + C(region) + older + w0", wide).fit()
    name = "C(arm, Treatment('placebo'))[T.active]"
    low, high = fit.conf_int().loc[name]
    expected = {"difference": fit.params[name], "se": fit.bse[name], "t": fit.tvalues[name], "df": fit.df_resid,
                "p": fit.pvalues[name], "low": low, "high": high}  # fmt: skip
    keys = {**KEYS, "analysis": "ancova", "term": "arm", "contrast": "active - placebo"}
    for stat, value in expected.items():
        assert value_of(rows, stat_name=stat, **keys) == pytest.approx(value), stat
    for arm, flag in (("placebo", 0), ("active", 1)):
        mean = fit.t_test([1, flag, 0.5, 0.5, wide["w0"].mean()])
        found = [
            value_of(rows, arm=arm, analysis="ancova", stat_name=s, **KEYS) for s in ("ls_mean", "se", "low", "high")
        ]
        assert found == pytest.approx([mean.effect[0], mean.sd.item(), *mean.conf_int()[0]])
    assert value_of(rows, term="model", analysis="ancova", stat_name="n", **KEYS) == 60
    robust = smf.ols("change ~ C(arm, Treatment('placebo')) + C(region) + older + w0", wide).fit(cov_type="HC2")
    keys["analysis"] = "ancova_hc2"
    assert value_of(rows, stat_name="se", **keys) == pytest.approx(robust.bse[name])
    assert value_of(rows, stat_name="difference", **keys) == pytest.approx(fit.params[name])


def test_a_baseline_of_0_ml_in_one_rater_excludes_the_patient_for_all(tmp_path):
    masks = visits(patients())
    zero = (masks["patient_id"] == "P005") & (masks["week"] == 0) & (masks["rater"] == "model")
    masks["volume_ml"] = masks["volume_ml"].mask(zero, 0.0)
    table, excluded = changes(read_trial(read_settings(write_trial(tmp_path, visits=masks))))
    assert "P005" not in set(table["patient_id"])
    assert len(table) == 59 * 3 * 2
    assert excluded.to_numpy().tolist() == [
        ["P005", "active", "t2_volume_percent_change", "0", "baseline volume 0 ml (model): no percent change"]
    ]


def test_a_visit_without_an_arm_says_so(tmp_path):
    masks = visits(patients())
    arm = masks["patient_id"].map(patients().set_index("patient_id")["arm"])
    masks = masks[~((arm == "active") & (masks["week"] == 48))]
    trial = read_trial(read_settings(write_trial(tmp_path, SETTINGS, visits=masks)))
    rows = to_frame(t2_volume_statistics(trial, changes(trial)[0]))
    at48 = select(rows, visit="48", rater="model", analysis="by_visit")
    assert value_of(at48, arm="active", stat_name="n") == 0
    assert np.isnan(value_of(at48, contrast="active - placebo", stat_name="separation"))
    blank = at48[at48["stat"].isna()]
    assert set(blank["method"].str.extract(r"not estimable \((.+)\)")[0]) == {
        "0 patients",
        "0 patients in an arm, needs 2",
    }
