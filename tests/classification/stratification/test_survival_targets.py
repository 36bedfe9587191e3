"""Oracle: what happened to each patient is written beside the rows; the derivation itself has tests of its own."""

import pandas as pd
import pytest

from nnunet_ms.classification.stratification.survival_targets import survival_targets
from nnunet_ms.errors import OptionError, TableError

# patient: (week of EDSS, EDSS), and what follows from a scan at week 10: (weeks from the scan, event), or the reason
PATIENTS = {
    "progresses": ([(0, 2), (14, 2), (26, 3), (38, 3), (50, 3)], (16.0, 1)),
    "recovers": ([(0, 2), (26, 3), (38, 2), (62, 2)], (52.0, 0)),
    "still-open": ([(0, 2), (26, 2), (50, 3)], (40.0, 0)),
    "half-a-point-from-6": ([(8, 6), (30, 6.5), (60, 6.5)], (20.0, 1)),
    "half-a-point-from-5": ([(8, 5), (30, 5.5), (60, 5.5)], (50.0, 0)),
    "baseline-after-the-scan": ([(20, 3), (44, 4), (70, 4)], (34.0, 1)),
    "worse-since-the-scan-counts-from-it": ([(-60, 4), (10, 2), (40, 3), (70, 3)], (30.0, 1)),
    "before-the-scan": ([(-40, 2), (5, 3), (40, 3), (70, 3)], "confirmed progression before the scan, 5 weeks"),
    "long-before": ([(-80, 2), (-70, 3.5), (-40, 3.5), (9, 3.5), (40, 3.5)], "progression before the scan, 80 weeks"),
    "too-far": ([(-40, 2), (60, 2), (90, 3), (120, 3)], "no EDSS within 183 days of the scan"),
    "one-visit": ([(9, 2)], "no assessment after the scan that could confirm or exclude progression"),
    "nothing-before-or-after": ([], "the patient has no assessments"),
}


def written(folder, rows):
    path = folder / "assessments.csv"
    pd.DataFrame(rows, columns=["patient_id", "week", "edss"]).to_csv(path, index=False)
    return path


def scans_of(patients, **columns):
    frame = pd.DataFrame({"case_id": [f"{name}_base" for name in patients], "patient_id": patients, "visit": "base"})
    return frame.assign(**{"scan_day": 70.0, "age_years": 40.0, "lesion_volume_ml": 3.0, **columns})


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    rows = [(name, week, edss) for name, (visits, _) in PATIENTS.items() for week, edss in visits]
    path = written(tmp_path_factory.mktemp("cdp"), [*rows, ("stranger", 0, 2)])
    return survival_targets(scans_of(list(PATIENTS)), path)


@pytest.mark.parametrize("name", PATIENTS)
def test_what_follows_from_the_scan(found, name):
    expected = PATIENTS[name][1]
    rows = found.rows[found.rows["patient_id"] == name]
    reasons = [one.reason for one in found.left_out if one.case == f"{name}_base"]
    if isinstance(expected, str):
        assert rows.empty
        assert len(reasons) == 1
        assert expected in reasons[0]
    else:
        assert reasons == []
        assert (rows["time_weeks"].item(), rows["event"].item()) == pytest.approx(expected)


def test_patients_without_a_scan_are_listed(found):
    assert [one.reason for one in found.left_out if one.case == "stranger"] == ["has assessments, but no prepared scan"]


def test_twelve_weeks_confirm_where_twenty_four_do_not(tmp_path):
    path = written(tmp_path, [("P", 0, 2), ("P", 12, 3), ("P", 26, 3), ("P", 30, 2), ("P", 60, 2)])
    scans = scans_of(["P"], scan_day=0.0)
    assert survival_targets(scans, path, "cdp12").rows["event"].tolist() == [1]
    assert survival_targets(scans, path, "cdp24").rows["event"].tolist() == [0]


def test_the_first_scan_of_a_patient_counts_whatever_the_order_of_the_rows(tmp_path):
    path = written(tmp_path, [("P", week, 2) for week in (0, 12, 24, 48)])
    scans = scans_of(["P", "P"], scan_day=[84.0, 0.0], case_id=["P_late", "P_early"])
    found = survival_targets(scans, path)
    assert found.rows["case_id"].tolist() == ["P_early"]
    assert [(one.case, one.reason) for one in found.left_out] == [
        ("P_late", "a later scan of the patient: the first one counts")
    ]


def test_dates_give_what_weeks_give(tmp_path):
    weeks = [(0, 2), (14, 2), (26, 3), (38, 3), (50, 3)]
    path = tmp_path / "assessments.csv"
    start = pd.Timestamp("2020-01-01")
    rows = [("P", (start + pd.Timedelta(weeks=week)).date().isoformat(), edss) for week, edss in weeks]
    pd.DataFrame(rows, columns=["patient_id", "date", "edss"]).to_csv(path, index=False)
    scans = scans_of(["P"], scan_date="2020-03-11").drop(columns="scan_day")  # ten weeks after the first of January
    row = survival_targets(scans, path).rows.iloc[0]
    assert (row["time_weeks"], row["event"]) == (pytest.approx(16.0), 1)


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        ([("P", 0, 0.5)], {}, r"assessments.csv: row 1 \(patient P\), column edss: expected 0, 1, 1.5, ... 10"),
        ([("P", 0, 11)], {}, r"column edss: expected 0, 1, 1.5, ... 10"),
        ([("P", 0, 2), ("P", 0, 3)], {}, r"row 2: expected one EDSS of patient P a day, found two"),
        ([("Q", 0, 2)], {}, r"expected patients of the prepared scans, found none: Q here, P there"),
        ([("P", 0, 2)], {"scan_day": float("nan")}, r"expected week, where .* has scan_day, or date"),
        ([("P", 0, 2)], {"scan_day": float("nan"), "scan_date": "2020-01-01"}, r"found \['week'\] here"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, rows, columns, message):
    with pytest.raises(TableError, match=message):
        survival_targets(scans_of(["P"], **columns), written(tmp_path, rows))


def test_outcomes_of_other_measures_are_refused(tmp_path):
    with pytest.raises(OptionError, match="outcome"):
        survival_targets(scans_of(["P"]), written(tmp_path, [("P", 0, 2)]), "t25fw24")


def test_a_scan_without_a_time_is_listed(tmp_path):
    path = written(tmp_path, [(name, week, 2) for name in "PQ" for week in (0, 12, 40)])
    found = survival_targets(scans_of(["P", "Q"], scan_day=[0.0, float("nan")]), path)
    assert found.rows["patient_id"].tolist() == ["P"]
    assert [(one.case, one.reason) for one in found.left_out] == [("Q_base", "no scan_day")]
