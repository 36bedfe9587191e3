import pandas as pd
import pytest

from nnunet_ms.analysis.endpoints.recipe import compute_endpoints
from nnunet_ms.analysis.endpoints.statistic_rows import select, value_of
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.settings import read_settings
from tests.analysis.synthetic_trial import SETTINGS, all_lesion_types, assessments, patients, write_trial

POPULATIONS = """
[populations]
main = "itt"
beside = ["per_protocol"]
[populations.itt]
column = "ITTFL"
values = ["Y"]
[populations.per_protocol]
column = "PPROTFL"
values = ["Y"]
[lesions]
"""


def flagged():
    table = patients().assign(ITTFL="Y", PPROTFL="Y")
    table.loc[[0, 1, 2], "ITTFL"] = ["N", "", "N"]
    table.loc[[0, 1, 2, 10, 11], "PPROTFL"] = "N"
    return table


def compute(folder, settings, table):
    tables = {"visits": all_lesion_types(patients()), "assessments": assessments(patients())}
    return compute_endpoints(read_trial(read_settings(write_trial(folder, settings, patients=table, **tables))))


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("populations")
    return compute(folder, SETTINGS.replace("[lesions]", POPULATIONS), flagged())


def test_the_main_population_is_the_trial_without_the_others(found, tmp_path):
    # Oracle: the same trial with these patients taken out of the table by hand.
    alone = compute(tmp_path, SETTINGS, flagged().iloc[3:])
    rows = found.endpoints[found.endpoints["endpoint"] != "populations"].reset_index(drop=True)
    assert rows["population"].str.contains("itt").all()
    drop = ["population"]
    pd.testing.assert_frame_equal(rows.drop(columns=drop), alone.endpoints.drop(columns=drop))


def test_who_is_outside_is_listed_and_counted(found):
    listed = found.audit["populations"]
    assert listed["patient_id"].tolist() == ["P000", "P001", "P002"]
    assert listed["reason"].tolist() == ["ITTFL is N, not Y", "ITTFL is blank, not Y", "ITTFL is N, not Y"]
    assert set(found.exclusions.loc[found.exclusions["analysis"] == "population itt", "patient_id"]) == {
        "P000", "P001", "P002",
    }  # fmt: skip
    counts = select(found.endpoints, endpoint="populations", term="patients", stat_name="n")
    told = {(r.analysis, r.arm): r.stat for r in counts.itertuples()}
    assert told == {
        ("itt", "placebo"): 28, ("itt", "active"): 29, ("per_protocol", "placebo"): 27, ("per_protocol", "active"): 28,
    }  # fmt: skip


def test_main_results_are_repeated_beside(found, tmp_path):
    # Oracle: the trial of these patients alone.
    inside = flagged()
    alone = compute(tmp_path, SETTINGS, inside[inside["PPROTFL"] == "Y"]).endpoints
    beside = select(found.endpoints, endpoint="populations", analysis="per_protocol")
    for endpoint, analysis, stat in (
        ("t2_volume_percent_change", "ancova", "difference"),
        ("new_t2_lesions", "negative_binomial", "rate_ratio"),
        ("cdp24", "cox_by_arm", "hazard_ratio"),
    ):
        for rater in ("reference", "model") if endpoint != "cdp24" else ("",):
            expected = value_of(alone, endpoint=endpoint, analysis=analysis, term="arm", stat_name=stat, rater=rater)
            assert value_of(beside, term=endpoint, stat_name=stat, rater=rater) == pytest.approx(expected, rel=1e-12)
