import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nnunet_ms.analysis.endpoints.progression_by_arm import treatment_statistics
from nnunet_ms.analysis.endpoints.statistic_rows import to_frame, value_of
from nnunet_ms.analysis.report.blocks.progression_by_arm import arm_block
from nnunet_ms.analysis.trial.adam_settings import AdamSettings
from nnunet_ms.analysis.trial.adam_tables import adam_times
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.settings import read_settings
from nnunet_ms.errors import SettingsError, TableError

START = datetime.date(2020, 2, 3)
PATIENTS = pd.DataFrame({"USUBJID": ["S1", "S2", "S3"], "patient_id": ["1", "2", "3"], "arm": "a"})
PER_UNIT = {"DAYS": 1, "WEEKS": 7, "MONTHS": 365.25 / 12, "YEARS": 365.25}


def told(tmp_path, aval, asked=None, starts="STARTDT", unit="DAYS", day_of=(84, 168, 252)):
    """Times of three patients; the dates, where there are any, are on `day_of`."""
    frame = pd.DataFrame({"USUBJID": ["S1", "S2", "S3"], "PARAMCD": "CDP24", "AVAL": aval, "CNSR": [0, 0, 1]})
    patients = PATIENTS
    if starts:
        frame["ADT"] = [str(START + datetime.timedelta(days=d)) for d in day_of]
        if starts == "STARTDT":
            frame[starts] = str(START)
        else:
            patients = PATIENTS.assign(RANDDT=str(START))
    frame.assign(AVALU=unit).to_csv(tmp_path / "adtte.csv", index=False)
    return adam_times(tmp_path / "adtte.csv", patients, "cdp24", AdamSettings(tmp_path, origin_day=asked))


@pytest.mark.parametrize("starts", ["STARTDT", "RANDDT", None])
@pytest.mark.parametrize("origin", [0, 1])
@pytest.mark.parametrize("unit", list(PER_UNIT))
def test_a_visit_at_week_12_is_at_week_12(tmp_path, starts, origin, unit):
    # By definition: the dates are 12, 24 and 36 weeks after the start. Without dates, whole weeks show it (of days).
    if starts is None and unit in ("MONTHS", "YEARS") and origin:
        unit = "WEEKS"
    aval = (np.array([84, 168, 252]) + origin) / PER_UNIT[unit]
    assert told(tmp_path, aval, starts=starts, unit=unit)["time_weeks"].tolist() == pytest.approx([12, 24, 36])


def test_the_settings_go_before_the_dates_and_before_the_pattern(tmp_path):
    assert told(tmp_path, [84, 168, 252], asked=1)["time_weeks"].tolist() == pytest.approx(np.array([83, 167, 251]) / 7)
    assert told(tmp_path, [85, 169, 253], asked=0, starts=None)["time_weeks"].iloc[0] == pytest.approx(85 / 7)
    mixed = told(tmp_path, [84, 169, 253], asked=1)
    assert mixed["time_weeks"].tolist() == pytest.approx([83 / 7, 24, 36])


def test_times_off_the_visits_are_from_day_zero_unless_dates_say_else(tmp_path):
    assert told(tmp_path, [85, 170, 252], starts=None)["time_weeks"].iloc[0] == pytest.approx(85 / 7)
    found = told(tmp_path, [86, 171, 253], day_of=(85, 170, 252))
    assert found["time_weeks"].tolist() == pytest.approx(np.array([85, 170, 252]) / 7)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"aval": [84, 169, 252]},
            r"ADT - STARTDT in 2 records and ADT - STARTDT \+ 1 in 1. Name .* origin_day = 0 or 1",
        ),
        ({"aval": [0, 168, 252], "asked": 1}, r"row 1, column AVAL: expected a time from day 1 .*found 0 days"),
        ({"aval": [0, 169, 253], "day_of": (1000, 168, 252)}, "1 records agree with neither"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, keys, message):
    with pytest.raises(TableError, match=message):
        told(tmp_path, **keys)


SETTINGS = """
[trial]
name = "Edge"
simulated = true
[tables]
visits = "visits.csv"
[adam]
folder = "."
[arms]
reference = "control"
compared = ["active"]
[lesions]
type = "t2_lesions"
[visits]
baseline_week = 0
weeks = [24, 48]
[disability]
source = "adtte"
outcomes = ["cdp24"]
[conventions]
preset = "r"
[analysis]
strata = []
subgroups = []
bootstrap_draws = 0
"""


def written(tmp_path, more=""):
    """200 patients with events at visits, told from day 1 without dates, and a lesion table of them."""
    rng = np.random.default_rng(2)
    n = 200
    ids = [f"S{i:03d}" for i in range(n)]
    arm = np.where(np.arange(n) % 2, "active", "control")
    pd.DataFrame(
        {"USUBJID": ids, "SUBJID": ids, "TRT01P": arm, "AGE": 40, "SEX": "F", "REGION1": "US", "EDSSBL": 3.0}
    ).to_csv(tmp_path / "adsl.csv", index=False)
    week = np.minimum(12 * np.ceil(rng.exponential(150, n) / 12), 96)
    frame = pd.DataFrame({"USUBJID": ids, "PARAMCD": "CDP24", "AVAL": 7 * week + 1, "CNSR": (week == 96).astype(int)})
    frame.assign(AVALU="DAYS").to_csv(tmp_path / "adtte.csv", index=False)
    pd.DataFrame(
        {"case_id": ids, "patient_id": ids, "visit": "w0", "week": 0, "rater": "reference",
         "lesion_type": "t2_lesions", "lesion_count": 3, "volume_ml": rng.lognormal(1, 1, n), "new_lesion_count": ""}
    ).to_csv(tmp_path / "visits.csv", index=False)  # fmt: skip
    (tmp_path / "trial.toml").write_text(SETTINGS.replace('folder = "."', f'folder = "."\n{more}'))
    return week, tmp_path / "trial.toml"


def test_the_report_says_which_day_was_taken_for_the_first(tmp_path):
    # Oracle: without censoring before week 96 the share free of events is a count.
    week, path = written(tmp_path)
    trial = read_trial(read_settings(path))
    rows = to_frame(treatment_statistics(trial, "cdp24", trial.times["cdp24"]))
    free = value_of(rows, analysis="km_by_arm", arm="active", visit="24", stat_name="survival")
    assert free == pytest.approx((week[1::2] > 24).mean())
    assert value_of(rows, analysis="time_origin", stat_name="first_day") == 1
    notes = arm_block(trial, rows, "cdp24", []).notes
    assert "All 200 times are a day behind whole weeks: day 1 is the origin, a day taken off." in notes


def test_the_origin_of_the_settings_is_read_and_checked(tmp_path):
    _, path = written(tmp_path, "origin_day = 0")
    assert read_trial(read_settings(path)).times["cdp24"]["time_weeks"].max() == pytest.approx(96 + 1 / 7)
    for wrong in ("2", "true", '"1"', "1.0"):
        path.write_text(path.read_text().replace("origin_day = 0", f"origin_day = {wrong}"))
        with pytest.raises(SettingsError, match=r"adam.*origin_day: expected 0 or 1"):
            read_settings(path)
        path.write_text(path.read_text().replace(f"origin_day = {wrong}", "origin_day = 0"))


def test_a_real_submission_counts_from_day_one(shared):
    # 254 records of the CDISC pilot: AVAL = ADT - STARTDT + 1. Oracle: the dates, by pyreadstat.
    pyreadstat = pytest.importorskip("pyreadstat")
    path = shared / "data" / "adam_cdisc_pilot" / "adtte.xpt"
    frame = pyreadstat.read_xport(str(path))[0]
    patients = pd.DataFrame({"USUBJID": frame["USUBJID"], "patient_id": frame["USUBJID"], "arm": frame["TRTP"]})
    settings = AdamSettings(Path(path.parent), codes={"cdp24": "TTDE"}, time_unit="DAYS")
    found = adam_times(path, patients, "cdp24", settings)
    gap = (pd.to_datetime(frame["ADT"]) - pd.to_datetime(frame["STARTDT"])).dt.days
    assert found["time_weeks"].to_numpy() == pytest.approx(gap.to_numpy() / 7)
