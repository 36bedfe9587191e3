import numpy as np
import pytest
import scipy.stats

from nnunet_ms.analysis.endpoints.lesion_counts import (
    ENDPOINTS,
    available,
    count_factors,
    fit_counts,
    lesion_count_statistics,
    patient_counts,
)
from nnunet_ms.analysis.endpoints.statistic_rows import reason_of, to_frame, value_of
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.settings import read_settings
from nnunet_ms.statistics.count_model import count_model
from tests.analysis.synthetic_trial import SETTINGS, all_lesion_types, patients, visits, write_trial

ENHANCING, NEW_T1, NEW_T2, ENLARGING, BOTH = ENDPOINTS
ARMS = ("placebo", "active")
CONTRAST = {"contrast": "active - placebo", "rater": "model"}


@pytest.fixture(scope="module")
def rows(trial):
    return {e.name: to_frame(lesion_count_statistics(trial, e)) for e in ENDPOINTS}


def follow_up(endpoint):
    """The model's rows of the table itself, with the arm."""
    table = patients()
    long = all_lesion_types(table).merge(table[["patient_id", "arm", "region", "edss_baseline"]])
    chosen = long[(long["lesion_type"] == endpoint.lesion_type) & (long["rater"] == "model")]
    # every scan is there: the years are those to the planned visit before
    years = chosen["week"].map({0: np.nan, 24: 24, 48: 24, 96: 48}) * 7 / 365.25
    total = sum(chosen[name].astype(float) for name in endpoint.columns)
    return chosen.assign(count=total, years=years)


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda e: e.name)
@pytest.mark.parametrize("week", [24, 48, 96, "all"])
def test_counts_against_pandas(rows, endpoint, week):
    # Oracle: the definition, by pandas alone.
    chosen = follow_up(endpoint)
    chosen = chosen[chosen["week"] > 0 if week == "all" else chosen["week"] == week]
    sums = chosen.groupby("arm")["count"].agg(["sum", "size", "mean"])
    keys = {"analysis": "by_visit", "rater": "model", "visit": str(week)}
    for arm in ARMS:
        for name, column in (("lesions", "sum"), ("visits", "size"), ("mean", "mean")):
            found = value_of(rows[endpoint.name], arm=arm, stat_name=name, **keys)
            assert found == pytest.approx(sums.loc[arm, column])
        assert value_of(rows[endpoint.name], arm=arm, stat_name="patients", **keys) == 30
    reduction = 100 * (1 - sums.loc["active", "mean"] / sums.loc["placebo", "mean"])
    keys["contrast"] = "active - placebo"
    assert value_of(rows[endpoint.name], stat_name="percent_reduction", **keys) == pytest.approx(reduction)


def test_patients_sums_and_covariates(trial):
    # Oracle: pandas. Presence of enhancing lesions at baseline is a covariate of theirs only.
    found = patient_counts(trial, ENHANCING, "model").set_index("patient_id")
    chosen = follow_up(ENHANCING)
    later, first = chosen[chosen["week"] > 0], chosen[chosen["week"] == 0].set_index("patient_id")
    assert found["lesions"].to_dict() == later.groupby("patient_id")["count"].sum().to_dict()
    assert set(found["scans"]) == {3}
    assert found["exposure"].to_list() == [3.0] * 60  # an enhancing lesion is counted where it enhances: per scan
    for endpoint in (NEW_T1, NEW_T2, ENLARGING, BOTH):
        of_change = patient_counts(trial, endpoint, "model")
        assert of_change["exposure"].to_numpy() == pytest.approx(96 * 7 / 365.25)
        assert set(of_change["scans"]) == {3}
    expected = first["count"].map(lambda n: "present" if n > 0 else "absent")
    assert found["baseline"].to_dict() == expected.to_dict()
    assert 5 < (expected == "present").sum() < 55
    assert (
        found["edss_stratum"].to_dict() == first["edss_baseline"].map(lambda e: ">= 4" if e >= 4 else "< 4").to_dict()
    )
    assert found["region"].to_dict() == first["region"].to_dict()
    assert "baseline" not in patient_counts(trial, NEW_T1, "model")
    assert (count_factors(ENHANCING), count_factors(NEW_T2)) == (
        ["baseline", "edss_stratum", "region"], ["edss_stratum", "region"],
    )  # fmt: skip


def test_a_patient_without_a_baseline_count_is_not_read(tmp_path):
    table = all_lesion_types(patients())
    lost = (table["lesion_type"] == "t1_enhancing") & (table["week"] == 0) & (table["patient_id"] == "P002")
    trial = read_trial(read_settings(write_trial(tmp_path, visits=table[~lost])))
    found = patient_counts(trial, ENHANCING, "model").set_index("patient_id")["baseline"]
    assert found["P002"] == "not read"
    assert set(found.drop("P002")) == {"present", "absent"}


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda e: e.name)
def test_model_rows_are_the_fit_and_the_reduction_turns_its_ratio(trial, rows, endpoint):
    # Oracle: count_model (which agrees with R) on the patients' sums; arithmetic for the reduction.
    table = patient_counts(trial, endpoint, "model")
    fit = count_model(table, "lesions", "exposure", list(ARMS), [], count_factors(endpoint))
    keys = {"analysis": "negative_binomial", **CONTRAST}
    ratio = fit.ratios[0]
    names = {"rate_ratio": "estimate", "low": "low", "high": "high", "p": "p", "se_log": "log_se"}
    for name, attribute in names.items():
        assert value_of(rows[endpoint.name], term="arm", stat_name=name, **keys) == getattr(ratio, attribute)
    reduction = [value_of(rows[endpoint.name], term="percent_reduction", stat_name=s, **keys)
                 for s in ("percent_reduction", "low", "high")]  # fmt: skip
    assert reduction == pytest.approx([100 * (1 - r) for r in (ratio.estimate, ratio.high, ratio.low)])
    for rate in fit.rates:
        of_arm = {"analysis": "negative_binomial", "rater": "model", "arm": rate.arm}
        found = [value_of(rows[endpoint.name], stat_name=s, **of_arm) for s in ("rate", "low", "high")]
        assert found == [rate.estimate, rate.low, rate.high]
    model = {"analysis": "negative_binomial", "rater": "model", "term": "model"}
    assert value_of(rows[endpoint.name], stat_name="n", **model) == 60
    assert value_of(rows[endpoint.name], stat_name="dispersion", **model) == fit.alpha


def test_tests_beside_the_model_against_scipy(trial, rows):
    # Oracle: scipy: the binomial test of one arm's share given the total, and the rank-sum test of lesions per year.
    table = patient_counts(trial, NEW_T2, "model")
    a, b = (table[table["arm"] == arm] for arm in ("active", "placebo"))
    total = int(a["lesions"].sum() + b["lesions"].sum())
    test = scipy.stats.binomtest(int(a["lesions"].sum()), total, a["years"].sum() / table["years"].sum())
    assert value_of(rows["new_t2_lesions"], analysis="exact_poisson", stat_name="p", **CONTRAST) == pytest.approx(
        test.pvalue
    )
    ranks = scipy.stats.mannwhitneyu(a["lesions"] / a["years"], b["lesions"] / b["years"], method="asymptotic")
    found = value_of(rows["new_t2_lesions"], analysis="wilcoxon", stat_name="p", **CONTRAST)
    assert found == pytest.approx(ranks.pvalue)


def test_endpoints_are_those_that_were_counted_after_baseline(tmp_path, trial):
    assert available(trial) == list(ENDPOINTS)
    plain = read_trial(read_settings(write_trial(tmp_path / "a", visits=visits(patients()))))
    assert available(plain) == []
    table = all_lesion_types(patients())
    table = table[(table["lesion_type"] != "t1_enhancing") | (table["week"] == 0)]
    first = read_trial(read_settings(write_trial(tmp_path / "b", visits=table)))
    assert available(first) == [NEW_T1, NEW_T2, ENLARGING, BOTH]


def test_an_arm_without_a_visit_says_so(tmp_path):
    people = patients()
    table = all_lesion_types(people)
    arm = table["patient_id"].map(people.set_index("patient_id")["arm"])
    kept = table[~((arm == "active") & (table["week"] > 0) & (table["lesion_type"] == "t1_enhancing"))]
    trial = read_trial(read_settings(write_trial(tmp_path, SETTINGS, visits=kept)))
    rows = to_frame(lesion_count_statistics(trial, ENHANCING))
    keys = {"stat_name": "p", **CONTRAST}
    assert reason_of(rows, analysis="exact_poisson", **keys) == "not estimable (no visit in an arm)"
    assert "0 patients in arm active" in reason_of(rows, analysis="negative_binomial", term="arm", **keys)
    assert np.isnan(value_of(rows, analysis="by_visit", visit="24", arm="active", stat_name="mean", rater="model"))


def test_an_arm_without_lesions_has_the_p_of_patients_and_says_so(tmp_path):
    # Oracle: Fisher's exact test by scipy. The Poisson test counts lesions, which few patients can have many of.
    table = patients()
    long = all_lesion_types(table)
    arm = long["patient_id"].map(table.set_index("patient_id")["arm"])
    enhancing = long["lesion_type"] == "t1_enhancing"
    some = long["patient_id"].isin(table.loc[table["arm"] == "placebo", "patient_id"].iloc[:4])
    long.loc[enhancing, "lesion_count"] = (5 * (some & (arm == "placebo")))[enhancing].astype(int)
    write_trial(tmp_path, SETTINGS, visits=long)
    rows = to_frame(lesion_count_statistics(read_trial(read_settings(tmp_path / "trial.toml")), ENHANCING))
    p = {"stat_name": "p", "term": "arm", **CONTRAST}
    expected = scipy.stats.fisher_exact([[4, 26], [0, 30]]).pvalue
    assert value_of(rows, analysis="negative_binomial", **p) == pytest.approx(expected)
    assert value_of(rows, analysis="exact_poisson", **p) < 1e-9
    method = rows.loc[(rows["analysis"] == "negative_binomial") & (rows["stat_name"] == "p"), "method"].iloc[0]
    assert "no lesion in arm active: no model; limits are exact for Poisson counts" in method


def test_a_baseline_that_nobody_read_is_no_level_of_the_adjusted_rates(tmp_path):
    # Oracle: the point of the grid by hand: half of present, none of "not read", the other factors a half each.
    table = patients()
    long = all_lesion_types(table)
    unread = long["patient_id"].isin(table["patient_id"].iloc[:6])
    long = long[~(unread & (long["week"] == 0) & (long["lesion_type"] == "t1_enhancing"))]
    write_trial(tmp_path, SETTINGS, visits=long)
    trial = read_trial(read_settings(tmp_path / "trial.toml"))
    counts = patient_counts(trial, ENHANCING, "model")
    fit = fit_counts(trial, ENHANCING, counts)
    beta = {c.term: c.estimate for c in fit.coefficients}
    eta = beta["intercept"] + 0.5 * (beta["baseline: present"] + beta["edss_stratum: >= 4"] + beta["region: US"])
    assert fit.rates[0].estimate == pytest.approx(np.exp(eta))
    assert "baseline: not read" in beta
    assert "baseline not read in 6 patients: a level of its own, not part of the adjusted means" in fit.notes
