"""ADaM input against the tables that it copies, and each rule of the mapping against its definition."""

import numpy as np
import pandas as pd
import pytest

from nnunet_ms.analysis.endpoints.recipe import compute_endpoints
from nnunet_ms.analysis.endpoints_cli import main
from nnunet_ms.analysis.trial.adam_settings import AdamSettings
from nnunet_ms.analysis.trial.adam_tables import adam_assessments, adam_patients, adam_times
from nnunet_ms.analysis.trial.composite_outcomes import derive_outcome
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.outcomes import OUTCOMES
from nnunet_ms.analysis.trial.settings import read_settings
from nnunet_ms.errors import TableError
from nnunet_ms.simulation.model.trial_presets import PRESETS
from nnunet_ms.simulation.trial import TrialSettings, write_trial
from nnunet_ms.tables import ASSESSMENTS, PATIENTS, read_table

QUICK = "[analysis]\nbootstrap_draws = 4\n[conventions]"
ADAM = '[adam]\nfolder = "adam"\n[arms]'
TABLES = ('patients = "patients.csv"\n', 'assessments = "assessments.csv"\n')


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adam") / "trial"
    write_trial(TrialSettings(PRESETS["oratorio"], 90, 4, "demo", images=False), folder)
    text = (folder / "trial.toml").read_text().replace("[conventions]", QUICK)
    (folder / "own.toml").write_text(text)
    for table in TABLES:
        text = text.replace(table, "")
    (folder / "adam.toml").write_text(text.replace("[arms]", ADAM))
    (folder / "adtte.toml").write_text(
        text.replace("[arms]", ADAM).replace("[disability]", '[disability]\nsource = "adtte"')
    )
    return folder


@pytest.fixture(scope="module")
def own(trial):
    return compute_endpoints(read_trial(read_settings(trial / "own.toml")))


@pytest.mark.parametrize("source", ["adam", "adtte"])
def test_the_round_trip_gives_the_same_endpoints(trial, own, source):
    # Oracle: our own tables of the same simulated trial, which the XPT files copy; ADTTE has the simulator's times.
    found = compute_endpoints(read_trial(read_settings(trial / f"{source}.toml")))
    expected = own.endpoints
    if source == "adtte":  # a time that is told does not tell which component of a composite came first
        components = expected["term"].str.startswith("first: ")
        assert set(expected.loc[components, "endpoint"]) == {"ccdp24"}
        expected = expected[~components].reset_index(drop=True)
    pd.testing.assert_frame_equal(found.endpoints, expected, check_exact=True)


@pytest.mark.parametrize("suffix", ["xpt", "csv"])
def test_the_tables_are_the_ones_that_were_copied(trial, suffix):
    adsl, adqs = trial / "adam" / f"adsl.{suffix}", trial / "adam" / f"adqs.{suffix}"
    patients = adam_patients(adsl, AdamSettings(trial), adqs)
    expected = read_table(trial / "patients.csv", PATIENTS)
    pd.testing.assert_frame_equal(patients[expected.columns], expected, check_dtype=False)
    found, left_out = adam_assessments(adqs, patients, AdamSettings(trial), adsl)
    assessments = read_table(trial / "assessments.csv", ASSESSMENTS)
    assert left_out.empty
    pd.testing.assert_frame_equal(found[assessments.columns], assessments, check_dtype=False)


def test_the_command_line_makes_settings_and_reads_a_folder(trial, tmp_path):
    settings = trial / "made.toml"
    assert main(["init", str(settings), "--adam", str(trial / "adam"), "--conventions", "sas"]) == 0
    found = read_settings(settings)
    assert (found.tables.patients.name, found.conventions.name) == ("adsl.xpt", "sas")
    assert set(found.tables.named()) == {"patients", "visits", "assessments", "relapses", "truth", "times"}
    assert "ITTFL" in settings.read_text()


def adsl(**changed):
    return pd.DataFrame(
        {
            "USUBJID": ["S-1", "S-2"], "SUBJID": ["1", "2"], "TRT01P": ["a", "b"], "AGE": [40, 50], "SEX": ["F", "M"],
            "REGION1": ["US", "EU"], "EDSSBL": [3.0, 4.0], "RANDDT": "2020-01-06", "TRTEDT": ["2020-03-02", ""],
            "EOTSTT": ["DISCONTINUED", "COMPLETED"], **changed,
        }
    )  # fmt: skip


def adqs(*rows):
    names = ["USUBJID", "PARAMCD", "AVAL", "ADT", "ABLFL", "AVISIT", "ANL01FL", "DTYPE", "AVALC"]
    return pd.DataFrame(rows, columns=names)


def visit(day, value, code="EDSS", subject="S-1", base="", visit="Week", use="Y", kind="", text=""):
    date = (pd.Timestamp("2020-01-06") + pd.Timedelta(days=day)).strftime("%Y-%m-%d")
    return (subject, code, value, date, base, visit, use, kind, text)


def read(tmp_path, patients, records):
    patients.to_csv(tmp_path / "adsl.csv", index=False)
    records.to_csv(tmp_path / "adqs.csv", index=False)
    settings = AdamSettings(tmp_path)
    table = adam_patients(tmp_path / "adsl.csv", settings, tmp_path / "adqs.csv")
    return table, *adam_assessments(tmp_path / "adqs.csv", table, settings, tmp_path / "adsl.csv")


def test_records_that_are_not_for_analysis_are_listed(tmp_path):
    records = adqs(
        visit(-3, 3.0, base="Y"),
        visit(-20, 2.0),
        visit(84, 4.0),
        visit(84, 3.5, use=""),
        visit(168, 4.0, kind="LOCF"),
        visit(84, 4.0, subject="S-9"),
    )
    _, found, left_out = read(tmp_path, adsl(), records)
    assert found[["patient_id", "week", "edss"]].to_numpy().tolist() == [["1", 0.0, 3.0], ["1", 12.0, 4.0]]
    assert left_out["reason"].tolist() == [
        "before randomisation, and not the baseline record",
        "not for analysis (ANL01FL)",
        "derived record (DTYPE)",
        "has assessments, but is not in ADSL",
    ]


def test_weeks_unscheduled_visits_and_unable(tmp_path):
    records = adqs(
        visit(0, 6.0, "T25FW", base="Y"),
        visit(85, np.nan, "T25FW", text="UNABLE TO COMPLETE"),
        visit(85, 3.5),
        visit(99, 4.0, visit="Unscheduled 1.01"),
    )
    table, found, _ = read(tmp_path, adsl(), records)
    assert found["week"].tolist() == [0.0, pytest.approx(85 / 7), pytest.approx(99 / 7)]
    assert found["scheduled"].tolist() == [True, True, False]
    assert found["t25fw_unable"].tolist() == [False, True, False]
    assert found["edss"].tolist()[1:] == [3.5, 4.0]
    assert table["discontinued_week"].tolist()[0] == 8.0  # 2 March is eight weeks after 6 January
    assert np.isnan(table["discontinued_week"][1])


def test_study_days_have_no_day_zero(tmp_path):
    records = adqs(visit(0, 3.0, base="Y"), visit(84, 4.0)).drop(columns="ADT").assign(ADY=[1, 85])
    _, found, _ = read(tmp_path, adsl(), records)
    assert found["week"].tolist() == [0.0, 12.0]


def test_baseline_from_the_flagged_record_where_adsl_has_none(tmp_path):
    records = adqs(visit(0, 2.5, base="Y"), visit(0, 6.5, subject="S-2", base="Y"))
    table, _, _ = read(tmp_path, adsl().drop(columns="EDSSBL"), records)
    assert table["edss_baseline"].tolist() == [2.5, 6.5]


def adtte(tmp_path, **changed):
    columns = {"USUBJID": ["S-2", "S-1"], "PARAMCD": "CDP24", "AVAL": [168, 84], "AVALU": "DAYS", "CNSR": [1, 0],
               "EVNTDESC": ["Lost", "Progression"]}  # fmt: skip
    frame = pd.DataFrame({**columns, **changed})
    frame.to_csv(tmp_path / "adtte.csv", index=False)
    adsl().to_csv(tmp_path / "adsl.csv", index=False)
    patients = adam_patients(tmp_path / "adsl.csv", AdamSettings(tmp_path), None)
    return adam_times(tmp_path / "adtte.csv", patients, "cdp24", AdamSettings(tmp_path, time_unit="WEEKS"))


def test_censoring_is_the_opposite_of_an_event(tmp_path):
    found = adtte(tmp_path)
    assert found["event"].tolist() == [True, False]
    assert found["time_weeks"].tolist() == [12.0, 24.0]
    assert found["reason"].tolist() == ["", "Lost"]


@pytest.mark.parametrize(
    ("unit", "weeks"), [("DAYS", 24.0), ("Day", 24.0), ("WEEKS", 168.0), ("MONTHS", 168 * 365.25 / 84), ("", 168.0)]
)
def test_the_unit_of_times(tmp_path, unit, weeks):
    assert adtte(tmp_path, AVALU=unit)["time_weeks"][1] == pytest.approx(weeks)


def test_a_patient_without_a_record_is_listed(tmp_path):
    found = adtte(tmp_path, USUBJID=["S-2", "S-7"])
    assert np.isnan(found["time_weeks"][0])
    assert found["reason"][0] == "no record in ADTTE"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda t: adtte(t, CNSR=["", 0]), r"adtte\.csv: row 1, column CNSR: expected a number, found a blank"),
        (lambda t: adtte(t, AVAL=[-1, 0]), r"adtte\.csv: row 1, column AVAL: expected a number >= 0"),
        (lambda t: adtte(t, USUBJID="S-1"), r"adtte\.csv: row 2, column USUBJID: S-1 stands twice"),
        (lambda t: adtte(t, PARAMCD="PFS"), r"adtte\.csv: column PARAMCD: outcome cdp24 is CDP24; found \['PFS'\]"),
        (lambda t: adtte(t, AVALU="AEONS"), r"row 1, column AVALU: expected one of .*'AEONS'"),
        (lambda t: read(t, adsl(AGE=["x", 1]), adqs(visit(0, 3.0))), r"adsl\.csv: row 1, column AGE: .*'x'"),
        (lambda t: read(t, adsl(TRT01P=["a", ""]), adqs(visit(0, 3.0))), r"row 2, column TRT01P: expected text"),
        (lambda t: read(t, adsl(SUBJID="1"), adqs(visit(0, 3.0))), r"row 2, column SUBJID: 1 stands twice"),
        (lambda t: read(t, adsl().drop(columns="SEX"), adqs(visit(0, 3.0))), r"expected variables \['SEX'\]"),
        (
            lambda t: read(t, adsl(RANDDT="soon"), adqs(visit(0, 3.0))),
            r"row 1, column RANDDT: expected one day.*'soon'",
        ),
        (
            lambda t: read(t, adsl(RANDDT=["2020-01-06", "2020-01"]), adqs(visit(0, 3.0))),
            r"adsl\.csv: row 2, column RANDDT: expected one day.*'2020-01' .*no day is guessed",
        ),
        (
            lambda t: read(t, adsl(RANDDT="2020"), adqs(visit(0, 3.0))),
            r"row 1, column RANDDT: expected one day.*'2020'",
        ),
        (
            lambda t: read(t, adsl(), adqs(visit(0, 3.0)).assign(ADT="2020-W02")),
            r"adqs\.csv: row 1, column ADT: expected one day.*'2020-W02'",
        ),
        (
            lambda t: read(t, adsl(), adqs(visit(0, 3.0), visit(84, 999, "T25FW"))),
            r"adqs\.csv: row 2, column AVAL: expected a number from 0 to 180 of T25FW, found 999 \(1 such rows\)",
        ),
        (
            lambda t: read(t, adsl(), adqs(visit(0, 3.0), visit(84, 301, "NHPT"))),
            r"row 2, column AVAL: expected a number from 0 to 300 of NHPT, found 301",
        ),
        (
            lambda t: read(t, adsl(), adqs(visit(0, 3.0, subject="S-01"))),
            r"adqs\.csv: row 1, column USUBJID: no patient of adsl\.csv is in adqs\.csv, found such as S-1 and S-01",
        ),
        (
            lambda t: read(t, adsl(), adqs(visit(0, 3.0), visit(84, 3.0, subject="s-2"))),
            r"row 2, column USUBJID: expected one way to write an id, found such as S-2 and s-2",
        ),
        (
            lambda t: read(t, adsl(TRTEDT=""), adqs(visit(0, 3.0))),
            r"row 1: EOTSTT says that the subject stopped, but the last day",
        ),
        (lambda t: read(t, adsl(), adqs(visit(0, 3.0, "SF36"))), r"adqs\.csv: column PARAMCD: expected some of"),
        (lambda t: read(t, adsl(), adqs(visit(84, 3.0), visit(84, 4.0))), r"row 2: subject S-1, EDSS, week 12 stands"),
        (lambda t: read(t, adsl(), adqs(visit(84, 3.0)).drop(columns="ADT")), r"row 1: expected ADT beside RANDDT"),
    ],
)
def test_mistakes_name_file_row_and_variable(tmp_path, make, message):
    with pytest.raises(TableError, match=message):
        make(tmp_path)


def test_every_code_that_an_outcome_is_derived_from_must_be_there(tmp_path):
    _, walks, _ = read(tmp_path, adsl(), adqs(visit(0, 5.0, "T25FW")))  # enough where EDSS is not needed
    assert walks["t25fw_s"].tolist() == [5.0]
    table = adam_patients(tmp_path / "adsl.csv", AdamSettings(tmp_path), None)
    paths = tmp_path / "adqs.csv", tmp_path / "adsl.csv"
    for needed, lacking in (["edss"], "EDSS"), (["t25fw", "nhpt"], "NHPT"), (["edss", "t25fw", "edss"], "EDSS"):
        with pytest.raises(TableError, match=rf"column PARAMCD: .*derived from \['{lacking}'\], found \['T25FW'\]"):
            adam_assessments(paths[0], table, AdamSettings(tmp_path), paths[1], needed)


def test_the_time_of_who_was_unable_does_not_count(tmp_path):
    records = adqs(visit(0, 6.0, "T25FW", base="Y"), visit(84, 999, "T25FW", text="UNABLE"))
    assert read(tmp_path, adsl(), records)[1]["t25fw_unable"].tolist() == [False, True]


def test_derived_and_told_times_agree_for_every_outcome_told(trial):
    # Oracle: the simulator's own observation of the true onsets, which it writes as ADTTE.
    adam = AdamSettings(trial)
    patients = adam_patients(trial / "adam" / "adsl.xpt", adam, None)
    assessments, _ = adam_assessments(trial / "adam" / "adqs.xpt", patients, adam, trial / "adam" / "adsl.xpt")
    rule = read_settings(trial / "adam.toml").rule
    for name in ("cdp12", "cdp24", "t25fw24", "9hpt24", "ccdp24"):
        told = adam_times(trial / "adam" / "adtte.xpt", patients, name, adam)
        derived = derive_outcome(patients, assessments, OUTCOMES[name], rule)
        assert told["event"].tolist() == derived["event"].tolist(), name
        np.testing.assert_allclose(told["time_weeks"], derived["time_weeks"].astype(float))
