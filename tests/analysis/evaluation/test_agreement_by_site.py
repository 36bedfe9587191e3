"""Oracles: pandas' means by group, scipy's Kruskal-Wallis test, and the summary of the same cases by themselves."""

import re

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from nnunet_ms.analysis.evaluation.agreement_by_site import (
    ALL_SITES,
    BY_SITE,
    NO_SITE,
    agreement_by_site,
    read_sites,
)
from nnunet_ms.analysis.evaluation.cohort_metrics import summarise_cohort
from nnunet_ms.analysis.evaluation.rules import RULES
from nnunet_ms.errors import TableError
from nnunet_ms.tables import CASES
from tests.analysis.evaluation.test_agreement_by_visit import cohort

RULE = RULES["krishnan2023"]
PATIENTS = {f"p{i}": site for i, site in enumerate(["Oslo"] * 6 + ["Rome"] * 5 + ["Bern"])}  # one patient in Bern


@pytest.fixture(scope="module")
def data():
    return cohort(RULE)


@pytest.fixture(scope="module")
def sites(data):
    cases = data[1].drop_duplicates("case_id")
    return dict(zip(cases["case_id"], cases["patient_id"].map(PATIENTS), strict=True))


@pytest.fixture(scope="module")
def table(data, sites):
    return agreement_by_site(*data, RULE, sites)


def test_means_and_numbers_of_every_site(data, sites, table):
    metrics, _ = data
    of_site = metrics.assign(site=metrics["case_id"].map(sites)).groupby(["metric", "site"])["value"]
    rows = table.set_index(["metric", "site"])
    for metric, site in of_site.groups:
        row = rows.loc[(metric, site)]
        values = of_site.get_group((metric, site))
        assert [row["mean"], row["sd"], row["n"]] == pytest.approx([values.mean(), values.std(), len(values)])
    assert list(table["site"][:4]) == ["Bern", "Oslo", "Rome", ALL_SITES]
    assert list(dict.fromkeys(table["metric"])) == list(RULE.metrics)


def test_a_site_is_the_summary_of_its_cases_alone(data, sites, table):
    inside = [frame[frame["case_id"].map(sites) == "Oslo"] for frame in data]
    expected = summarise_cohort(*inside, RULE).set_index("metric")
    found = table[table["site"] == "Oslo"].set_index("metric")
    columns = ["mean", "sd", "n", "n_undefined", "low", "high"]
    pd.testing.assert_frame_equal(found[columns], expected[columns])
    assert found["low"].notna().all()


def test_a_site_with_one_patient_has_a_mean_and_no_interval_and_says_so(table):
    rows = table[table["site"] == "Bern"].set_index("metric")
    assert (rows.loc["dice", "n_patients"], rows.loc["dice", "n_cases"]) == (1, 3)
    assert np.isfinite(rows.loc["dice", "mean"])
    assert rows[["low", "high"]].isna().all().all()
    assert set(rows["note"]) == {"1 patient: no interval below 5"}


def test_the_test_over_sites_is_scipys_of_patients_means_without_the_small_site(data, table):
    metrics, _ = data
    for metric in ("dice", "ltpr"):
        means = metrics[metrics["metric"] == metric].groupby("patient_id")["value"].mean()
        groups = [means[[p for p, s in PATIENTS.items() if s == site]] for site in ("Oslo", "Rome")]
        row = table[(table["site"] == ALL_SITES) & (table["metric"] == metric)].iloc[0]
        assert row["p"] == pytest.approx(scipy.stats.kruskal(*groups).pvalue)
        assert row["note"] == (
            "p: Kruskal-Wallis test of patients' means over 2 sites, without 1 of fewer than 5 patients"
        )
    assert table.loc[table["site"] != ALL_SITES, "p"].isna().all()
    row = table[(table["site"] == ALL_SITES) & (table["metric"] == "r_vol")].iloc[0]
    assert (np.isnan(row["p"]), row["note"]) == (True, "a value of the whole cohort: no test")


def test_cases_without_a_site_are_a_row_of_their_own(data, sites):
    some = {case: site for case, site in sites.items() if site == "Oslo"}
    table = agreement_by_site(*data, RULE, some)
    assert list(table["site"][:3]) == ["Oslo", NO_SITE, ALL_SITES]
    whole = table[table["site"] == ALL_SITES].set_index("metric")
    assert whole.loc["dice", "note"] == "fewer than two sites of 5 patients with a value: no test"
    assert np.isnan(whole.loc["dice", "p"])


def test_a_patient_seen_at_two_sites_counts_at_both(data, sites):
    moved = {**sites, "p0_w96": "Rome"}
    rows = agreement_by_site(*data, RULE, moved).set_index(["metric", "site"])
    assert rows.loc["dice", "n_patients"].to_dict() == {"Bern": 1, "Oslo": 6, "Rome": 6, ALL_SITES: 12}


# cases that move to Rome, and what is said of the test over sites
MOVED = {
    "nobody": ([], "over 2 sites, without 1 of fewer than 5 patients"),
    "one of Oslo's": (["p0"], "over 2 sites, without 1 of fewer than 5 patients, without 1 patient at several sites"),
    "two of Oslo's": (["p0", "p5"], r"fewer than two sites of 5 patients with a value at one site \(2 at several\)"),
    "the one of Bern": (["p11"], "over 2 sites, without 1 patient at several sites"),
}


@pytest.mark.parametrize("case", MOVED)
def test_who_was_seen_at_several_sites_is_not_in_a_test_of_independent_samples(data, sites, case):
    # Oracle: scipy's test of the patients' means of those at one site alone.
    patients, note = MOVED[case]
    moved = {**sites, **{f"{patient}_w96": "Rome" for patient in patients}}
    row = agreement_by_site(*data, RULE, moved).set_index(["metric", "site"]).loc[("dice", ALL_SITES)]
    means = data[0][data[0]["metric"] == "dice"].groupby("patient_id")["value"].mean()
    stayed = [[p for p, site in PATIENTS.items() if site == name and p not in patients] for name in ("Oslo", "Rome")]
    enough = min(map(len, stayed)) >= 5
    assert row["p"] == pytest.approx(
        scipy.stats.kruskal(*(means[one] for one in stayed)).pvalue if enough else np.nan, nan_ok=True
    )
    assert re.search(f"{note}(: no test)?$", row["note"])


@pytest.mark.parametrize("sites", [{}, {"elsewhere": "Oslo"}])
def test_without_a_known_site_there_are_no_rows(data, sites):
    assert agreement_by_site(*data, RULE, sites).empty


def test_every_column_of_the_table_is_there(table):
    assert {*table.columns, "rater", "lesion_type", "rule", "data_note"} == set(BY_SITE.names)


def written(folder, sites, name="site"):
    rows = [(f"c{i}", f"p{i}", "base", 0, "test", site) for i, site in enumerate(sites)]
    path = folder / "cases.csv"
    pd.DataFrame(rows, columns=[*CASES.names, name]).to_csv(path, index=False)
    return path


def test_sites_are_read_from_the_column_or_the_one_asked_for(tmp_path):
    assert read_sites(written(tmp_path, ["Oslo", None, "Rome"])) == {"c0": "Oslo", "c2": "Rome"}
    path = written(tmp_path, ["A", "B"], "scanner")
    assert read_sites(path) == {}
    assert read_sites(path, "scanner") == {"c0": "A", "c1": "B"}
    assert read_sites(None) == {}


@pytest.mark.parametrize(
    ("values", "column", "message"),
    [
        (["Oslo", "oslo", "Oslo"], None, "oslo"),
        (["Oslo", ALL_SITES], None, "'all sites' is the name of another row"),
        (["Oslo", NO_SITE], None, "'site not given' is the name of another row"),
        ([None, " "], "site", "column site: expected a site, found 2 blanks"),
        (["Oslo", "Rome"], "scanner", "expected a column 'scanner', found .*Correct site_column"),
    ],
)
def test_sites_that_cannot_be_told_apart_or_found_are_refused(tmp_path, values, column, message):
    with pytest.raises(TableError, match=message):
        read_sites(written(tmp_path, values), column)


def test_a_column_without_a_table_is_refused():
    with pytest.raises(TableError, match="expected a table of cases with it, found no table"):
        read_sites(None, "scanner")
