import numpy as np
import pandas as pd
import pytest

from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.settings import read_settings
from nnunet_ms.analysis.trial.visits import common_counts, common_volumes, raters_in, read_visits
from nnunet_ms.errors import SettingsError, TableError
from tests.analysis.synthetic_trial import SETTINGS, patients, visits, write_trial

RATERS = ("reference", "model")
PEOPLE = pd.DataFrame({"patient_id": ["A", "B", "C", "D"], "arm": ["x", "y", "x", "y"]})


@pytest.fixture
def plan(tmp_path):
    """Settings: baseline at week 0, then weeks 24, 48 and 96."""
    return read_settings(write_trial(tmp_path))


def scans(*rows):
    """Rows (patient, week, rater, volume)."""
    return pd.DataFrame(rows, columns=["patient_id", "week", "rater", "volume_ml"])


def both(patient, *weeks):
    return [(patient, float(week), rater, 1.0 + week) for week in weeks for rater in RATERS]


def test_volumes_are_those_that_every_rater_read_and_the_others_are_listed(plan):
    rows = [*both("A", 0, 24, 60), ("A", 48.0, "reference", 3.0)]  # a week of no plan, a week of one rater
    rows += [*both("B", 24), ("B", 0.0, "model", 2.0)]  # no baseline of every rater
    rows += both("X", 0)  # nobody's
    found, left_out = common_volumes(scans(*rows), PEOPLE, RATERS, plan)
    assert found.to_numpy().tolist() == [
        ["A", "x", rater, week, 1.0 + week] for rater in ("model", "reference") for week in (0.0, 24.0)
    ]
    assert left_out[["patient_id", "arm", "week", "reason"]].to_numpy().tolist() == [
        ["A", "x", "48", "no mask of model at this week"],
        ["A", "x", "60", "week is not in the settings"],
        ["B", "y", "0", "no mask of reference at this week"],
        ["B", "y", "24", "no baseline mask of every rater"],
        ["X", "", "0", "has masks, but is not in the patient table"],
        ["C", "x", "", "in the patient table, but has no mask"],
        ["D", "y", "", "in the patient table, but has no mask"],
    ]
    assert set(left_out["analysis"]) == {"T2 volume"}


def test_nothing_left_is_an_error_that_counts_the_reasons(plan):
    with pytest.raises(
        TableError, match=r"no patient of .* has a baseline mask of every rater at week 0; found \{.*: 4"
    ):
        common_volumes(scans(*both("X", 0)), PEOPLE, RATERS, plan)


def counted(*rows):
    frame = pd.DataFrame(rows, columns=["patient_id", "week", "rater", "lesion_type", "lesion_count"])
    return frame.assign(new_lesion_count=pd.array([pd.NA] * len(rows), dtype="Int64"), volume_ml=1.0)


def test_counts_are_those_that_every_rater_read(plan):
    rows = [("A", 24.0, rater, kind, n) for n, (rater, kind) in enumerate(
        [("reference", "t1_enhancing"), ("model", "t1_enhancing"), ("reference", "t2_lesions"), ("model", "t2_lesions")]
    )]  # fmt: skip
    rows += [("B", 24.0, "model", "t1_enhancing", 9), ("B", 48.0, "model", "t2_lesions", 9)]  # one rater only
    rows += [("A", 36.0, rater, "t1_enhancing", 9) for rater in RATERS]  # a week of no plan
    rows += [("A", 24.0, "third", "t1_enhancing", 9), ("X", 24.0, "model", "t1_enhancing", 9)]
    found, left_out = common_counts(counted(*rows), plan, PEOPLE, RATERS)
    assert found[["patient_id", "arm", "rater", "lesion_type", "week", "lesion_count"]].to_numpy().tolist() == [
        ["A", "x", "reference", "t1_enhancing", 24.0, 0.0],
        ["A", "x", "model", "t1_enhancing", 24.0, 1.0],
        ["A", "x", "reference", "t2_lesions", 24.0, 2.0],
        ["A", "x", "model", "t2_lesions", 24.0, 3.0],
    ]
    assert np.isnan(found["new_lesion_count"]).all()
    # B's T2 mask at week 48 is listed with the volumes, not twice
    assert left_out.to_numpy().tolist() == [["B", "y", "counts of t1_enhancing", "24", "not read by every rater"]]


def test_the_reference_comes_first_and_models_by_name():
    assert raters_in(scans(*[("A", 0.0, name, 1.0) for name in ("unet", "a", "reference", "unet")])) == (
        "reference", "a", "unet",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("low", "week", "is_right"), [(-8, -8, True), (-8, -8.5, False), (None, 0, True), (None, -0.5, False)]
)
def test_a_scan_may_lie_before_randomisation_where_the_window_of_the_baseline_does(tmp_path, low, week, is_right):
    window = "" if low is None else f"[visits.windows]\n0 = [{low}, 4]\n"
    masks = visits(patients()).astype({"week": float})
    masks.loc[(masks["patient_id"] == "P003") & (masks["week"] == 0), "week"] = week
    settings = read_settings(
        write_trial(tmp_path, SETTINGS.replace("[disability]", window + "[disability]"), visits=masks)
    )
    if is_right:
        found, _, listing = read_visits(settings, set(), patients()["patient_id"])
        assert (found["week"] == 0).sum() == 120
        assert listing["week"].tolist() == ([-8.0] if low else [])
        return
    with pytest.raises(TableError, match=rf"row 25, column week: expected a week >= {low or 0} .*found {week}"):
        read_visits(settings, set(), patients()["patient_id"])


def test_windows_that_hold_no_scan_are_an_error(tmp_path):
    windows = "\n".join(f"{week} = [{week - 0.5}, {week + 0.5}]" for week in (0, 24, 48, 96))
    masks = visits(patients()).assign(week=lambda frame: frame["week"] + 3)
    text = SETTINGS.replace("[disability]", f"[visits.windows]\n{windows}\n[disability]")
    with pytest.raises(
        TableError,
        match=r"no scan of a patient analysed lies in a visit window; found weeks \[3, 27, 51, 99\]",
    ):
        read_visits(read_settings(write_trial(tmp_path, text, visits=masks)), set(), patients()["patient_id"])


def test_raters_are_those_of_the_settings_and_patients_outside_are_not_read(tmp_path):
    text = SETTINGS.replace("[visits]", 'raters = ["model"]\n[visits]')
    found, planned, _ = read_visits(
        read_settings(write_trial(tmp_path, text)), {"P000", "P001"}, patients()["patient_id"]
    )
    for frame in (found, planned):
        assert set(frame["rater"]) == {"model"}
        assert sorted(frame["patient_id"].unique()) == [f"P{i:03d}" for i in range(2, 60)]
    text = text.replace('["model"]', '["unet"]')
    with pytest.raises(
        SettingsError, match=r"raters: expected some of \['model', 'reference'\] \(in visits\.csv\), found"
    ):
        read_visits(read_settings(write_trial(tmp_path, text)), set(), patients()["patient_id"])


def test_two_models_from_two_files(tmp_path):
    table = patients()
    masks = visits(table)
    masks.replace({"rater": {"model": "other"}}).to_csv(tmp_path / "other.csv", index=False)
    text = SETTINGS.replace('visits = "visits.csv"', 'visits = ["visits.csv", "other.csv"]')
    trial = read_trial(read_settings(write_trial(tmp_path, text)))
    assert trial.raters == ("reference", "model", "other")
    doubled = masks.assign(volume_ml=masks["volume_ml"] * 2)
    doubled.to_csv(tmp_path / "other.csv", index=False)
    with pytest.raises(TableError, match="different volumes in two files"):
        read_trial(read_settings(tmp_path / "trial.toml"))
