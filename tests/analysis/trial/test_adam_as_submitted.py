"""ADaM folders as they are submitted: the CDISC pilot, screen failures, other names, encodings, dates and units.

Oracle of the variations: the same trial's folder as the simulator writes it, whose endpoints must not change by a bit.
"""

import datetime

import numpy as np
import pandas as pd
import pyreadstat
import pytest

from nnunet_ms.analysis.endpoints.recipe import compute_endpoints
from nnunet_ms.analysis.endpoints_cli import main
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.settings import read_settings
from nnunet_ms.errors import SettingsError, TableError
from nnunet_ms.simulation.model.trial_presets import PRESETS
from nnunet_ms.simulation.trial import TrialSettings, write_trial

KEYS = ["endpoint", "analysis", "arm", "contrast", "visit", "term", "stat_name"]


def test_the_cdisc_pilot_runs_through_init_and_run_as_it_is(shared_data, tmp_path):
    # Oracle: the log-rank that the published programs of the pilot print for TTDE, 60.2696 (README of the data).
    settings, out = tmp_path / "trial.toml", tmp_path / "out"
    assert main(["init", str(settings), "--adam", str(shared_data / "adam_cdisc_pilot")]) == 0
    assert main(["run", str(settings), "-o", str(out)]) == 0
    rows = pd.read_csv(out / "endpoints.csv", keep_default_na=False).set_index(KEYS[-2:])
    test = rows[(rows["analysis"] == "km_by_arm") & (rows["contrast"] == "")].loc["logrank"]
    assert round(float(test.loc["chisq", "stat"]), 4) == 60.2696
    assert float(test.loc["df", "stat"]) == 2
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "Time to First Dermatologic Event" in page
    assert "no lesion table" in page


def test_kaplan_meier_of_the_pilot_is_the_product_of_its_fractions(shared_data, tmp_path):
    # Oracle: the definition, on the file as pyreadstat reads it: the product over event days of 1 - events / at risk.
    settings = tmp_path / "trial.toml"
    main(["init", str(settings), "--adam", str(shared_data / "adam_cdisc_pilot")])
    rows = compute_endpoints(read_trial(read_settings(settings))).endpoints
    raw, _ = pyreadstat.read_xport(str(shared_data / "adam_cdisc_pilot" / "adtte.xpt"))
    placebo = raw[raw["TRTP"] == "Placebo"]
    survival = 1.0
    for day in sorted(placebo.loc[(placebo["CNSR"] == 0) & (placebo["AVAL"] <= 84), "AVAL"].unique()):
        at_risk = (placebo["AVAL"] >= day).sum()
        survival *= 1 - ((placebo["AVAL"] == day) & (placebo["CNSR"] == 0)).sum() / at_risk
    at_12 = {"analysis": "km_by_arm", "arm": "Placebo", "visit": "12", "stat_name": "survival"}
    chosen = rows[np.logical_and.reduce([rows[key] == value for key, value in at_12.items()])]
    assert chosen["stat"].tolist() == pytest.approx([survival], abs=1e-12)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A simulated trial without images: the folder, its three data sets, and its settings with times from ADTTE."""
    folder = tmp_path_factory.mktemp("submitted") / "trial"
    write_trial(TrialSettings(PRESETS["oratorio"], 60, 4, "demo", images=False), folder)
    sets = {name: pd.read_csv(folder / "adam" / f"{name}.csv", dtype=str) for name in ("adsl", "adqs", "adtte")}
    text = (folder / "trial.toml").read_text()
    for key in ("patients", "assessments", "visits", "truth", "relapses", "agreement"):
        text = "\n".join(line for line in text.splitlines() if not line.startswith(f"{key} ="))
    text = text.replace("[disability]", '[disability]\nsource = "adtte"')
    text = text.replace("[conventions]", "[analysis]\nbootstrap_draws = 0\n[conventions]")
    return folder, sets, text


def write(folder, sets, text, adam="", encoding="utf-8"):
    """Write data sets as CSV and settings whose [adam] has further lines; return the settings' path."""
    (folder / "adam").mkdir(parents=True)
    for name, frame in sets.items():
        frame.to_csv(folder / "adam" / f"{name}.csv", index=False, encoding=encoding)
    path = folder / "trial.toml"
    path.write_text(text.replace("[arms]", f'[adam]\nfolder = "adam"\n{adam}\n[arms]'), encoding="utf-8")
    return path


def endpoints(path):
    return compute_endpoints(read_trial(read_settings(path))).endpoints


@pytest.fixture(scope="module")
def right(source, tmp_path_factory):
    _, sets, text = source
    return endpoints(write(tmp_path_factory.mktemp("right"), sets, text))


def renamed(sets):
    columns = {"REGION1": "GEOREG", "AGE": "AAGE", "SEX": "GENDER", "TRT01P": "ARM", "RANDDT": "RNDDT"}
    adtte = {"AVAL": "AVALN", "CNSR": "CENSOR"}
    return {**sets, "adsl": sets["adsl"].rename(columns=columns), "adtte": sets["adtte"].rename(columns=adtte)}


def sas_dates(sets, form):
    epoch = datetime.date(1960, 1, 1)
    sets = {name: frame.copy() for name, frame in sets.items()}
    for name, frame in sets.items():
        for column in frame.columns[frame.columns.str.endswith("DT")]:
            dates = frame[column].map(datetime.date.fromisoformat, na_action="ignore")
            sets[name][column] = dates.map(
                lambda d: str((d - epoch).days) if form == "number" else f"{d:%d%b%Y}".upper(), na_action="ignore"
            )
    return sets


def in_unit(sets, unit, days):
    times = sets["adtte"].assign(AVALU=unit)
    if days is not None:
        times["AVAL"] = [repr(float(value) / days) for value in times["AVAL"]]
    return {**sets, "adtte": times}


NAMES = """
region = "GEOREG"
age = "AAGE"
sex = "GENDER"
treatment = "ARM"
randomisation = "RNDDT"
[adam.adtte]
AVAL = "AVALN"
CNSR = "CENSOR"
"""


@pytest.mark.parametrize(
    ("change", "adam"),
    [
        (renamed, NAMES),
        (lambda sets: sas_dates(sets, "number"), ""),
        (lambda sets: sas_dates(sets, "date9"), ""),
        (lambda sets: in_unit(sets, "Day(s)", None), ""),
        (lambda sets: {**sets, "adtte": sets["adtte"].drop(columns="AVALU")}, 'time_unit = "DAYS"'),
        (lambda sets: {**sets, "adsl": sets["adsl"].rename(columns=str.lower)}, ""),
        (lambda sets: {"adsl": sets["adsl"], "adqsms": sets["adqs"], "adtteeff": sets["adtte"]},
         '[adam.files]\nadqs = "ADQSMS.csv"\nadtte = "adtteeff.csv"'),
        (lambda sets: {**sets, "adtte": sets["adtte"].assign(CNSR=sets["adtte"]["CNSR"].replace("1", "2"))}, ""),
    ],
    ids=["names", "sas_numbers", "date9", "unit_words", "no_unit", "small_letters", "file_names", "cnsr_2"],
)  # fmt: skip
def test_habits_of_submissions_change_no_number(source, right, tmp_path, change, adam):
    _, sets, text = source
    found = endpoints(write(tmp_path, change(sets), text, adam))
    pd.testing.assert_frame_equal(found, right, check_exact=True)


@pytest.mark.parametrize("arm", ["Screen Failure", "", "placebo", "Not Assigned"])
def test_screen_failures_are_outside_the_population_and_nothing_else_of_them_is_read(source, right, tmp_path, arm):
    _, sets, text = source
    failed = sets["adsl"].head(3).assign(
        USUBJID=["F-1", "F-2", "F-3"], SUBJID=["f1", "f2", "f3"], TRT01P=arm, AGE="", SEX="", RANDDT="", ITTFL="N",
        EDSSBL="", TRTEDT="", EOTSTT="SCREEN FAILURE", REGION1="",
    )  # fmt: skip
    records = sets["adqs"].head(3).assign(USUBJID=failed["USUBJID"].to_numpy(), ADT="")
    changed = {
        "adsl": pd.concat([failed, sets["adsl"]]),
        "adqs": pd.concat([records, sets["adqs"]]),
        "adtte": sets["adtte"],
    }
    chosen = '[populations]\nmain = "itt"\n[populations.itt]\ncolumn = "ITTFL"\nvalues = ["Y"]\n'
    path = write(tmp_path, changed, chosen + text)
    trial = read_trial(read_settings(path))
    listed = trial.listings["populations"]
    assert listed["patient_id"].tolist() == ["f1", "f2", "f3"]
    assert set(listed["reason"]) == {"ITTFL is N, not Y"}
    found = compute_endpoints(trial).endpoints
    found = found[found["endpoint"] != "populations"].assign(
        population=lambda frame: frame["population"].str.removeprefix("itt: ")
    )
    pd.testing.assert_frame_equal(found, right, check_exact=True)


def test_without_a_population_the_message_says_how_to_leave_screen_failures_out(source, tmp_path):
    _, sets, text = source
    failed = sets["adsl"].head(1).assign(USUBJID="F-1", SUBJID="f1", TRT01P="Screen Failure", ITTFL="N")
    path = write(tmp_path, {**sets, "adsl": pd.concat([sets["adsl"], failed])}, text)
    with pytest.raises(TableError, match=r"adsl\.csv: row 61, column TRT01P: .*'Screen Failure'.*\[populations\] main"):
        read_trial(read_settings(path))


@pytest.mark.parametrize(
    ("encoding", "name"), [("cp1252", "Müller-Straße"), ("shift_jis", "東京"), ("iso8859-2", "Łódź")]
)
@pytest.mark.parametrize("suffix", ["csv", "xpt"])
def test_other_encodings_are_declared_and_read(source, right, tmp_path, encoding, name, suffix):
    _, sets, text = source
    adsl = sets["adsl"].assign(SITENAM=name)
    path = write(tmp_path, {**sets, "adsl": adsl}, text, f'encoding = "{encoding}"', encoding)
    if suffix == "xpt":
        (tmp_path / "adam" / "adsl.csv").unlink()
        write_xpt(adsl, tmp_path / "adam" / "adsl.xpt", name, encoding)
    trial = read_trial(read_settings(path))
    assert set(trial.patients["SITENAM"]) == {name}
    pd.testing.assert_frame_equal(compute_endpoints(trial).endpoints, right, check_exact=True)
    if encoding == "cp1252":  # the report counts the rows of its inputs
        assert main(["run", str(path), "-o", str(tmp_path / "out")]) == 0
    path.write_text(path.read_text(encoding="utf-8").replace(f'encoding = "{encoding}"\n', ""), encoding="utf-8")
    with pytest.raises(TableError, match=r'adsl\.(csv|xpt): .*encoding = "cp1252" in \[adam\]'):
        read_trial(read_settings(path))


def write_xpt(frame, path, name, encoding):
    """Write a transport file whose text is in another encoding: pyreadstat writes UTF-8, so the bytes are replaced."""
    raw = name.encode(encoding)
    stand_in = ("#" * 40)[: len(raw)]
    assert stand_in not in frame.to_csv()
    pyreadstat.write_xport(frame.fillna("").assign(SITENAM=stand_in), str(path), file_format_version=5)
    path.write_bytes(path.read_bytes().replace(stand_in.encode(), raw))


@pytest.mark.parametrize(
    ("adsl", "adam", "variable"),
    [
        (lambda t: t.assign(DISCONFL=np.where(t.pop("EOTSTT") == "DISCONTINUED", "Y", "")), "", "DISCONFL"),
        (lambda t: t.assign(DCDECOD=np.where(t.pop("EOTSTT") == "DISCONTINUED", "DEATH", "COMPLETED")), "", "DCDECOD"),
        (lambda t: t.assign(EOSSTT=t.pop("EOTSTT").str.title()), 'discontinued = "EOSSTT"', "EOSSTT"),
        (lambda t: t.assign(EOTSTT=t["EOTSTT"].replace("COMPLETED", "ONGOING")), "", "EOTSTT"),
    ],
)  # fmt: skip
def test_who_stopped_is_read_from_any_of_the_usual_variables(source, right, tmp_path, adsl, adam, variable):
    _, sets, text = source
    trial = read_trial(read_settings(write(tmp_path, {**sets, "adsl": adsl(sets["adsl"].copy())}, text, adam)))
    named = trial.listings["adam_variables"].set_index("name")["variable"]
    assert named["discontinued_week"] == variable
    pd.testing.assert_frame_equal(compute_endpoints(trial).endpoints, right, check_exact=True)


@pytest.mark.parametrize("adam", ["", "discontinued = false"])
def test_discontinuation_that_is_not_recorded_is_not_counted_as_none(source, right, tmp_path, adam):
    _, sets, text = source
    dropped = sets["adsl"].drop(columns="EOTSTT") if not adam else sets["adsl"]
    found = endpoints(write(tmp_path, {**sets, "adsl": dropped}, text, adam))
    assert "discontinued treatment" in set(right["term"])
    assert "discontinued treatment" not in set(found["term"])


def test_what_the_trial_does_not_have_is_said_and_not_invented(source, tmp_path):
    _, sets, text = source
    lacking = {**sets, "adsl": sets["adsl"].drop(columns=["REGION1", "AGE", "EDSSBL", "SEX"])}
    adam = "region = false\nage = false\nsex = false\nedss_baseline = false"
    trial = read_trial(read_settings(write(tmp_path, lacking, text, adam)))
    notes = trial.listings["adam_variables"].set_index("name")["note"]
    assert notes[["region", "age_years", "sex", "edss_baseline"]].tolist() == ["not recorded"] * 4
    assert set(trial.groups("edss_stratum")) == set(trial.groups("age_group")) == {"missing"}
    found = compute_endpoints(trial).endpoints
    assert "age_years" not in set(found["term"])
    by_hand = write(tmp_path / "again", lacking, text)
    with pytest.raises(
        TableError, match=r"adsl\.csv: expected variables \['AGE', 'SEX', 'REGION1'\], found .*\[adam\]"
    ):
        read_trial(read_settings(by_hand))


@pytest.mark.parametrize(
    ("adam", "message"),
    [
        ("region = true", r"\[adam\] region: expected a variable of ADSL"),
        ('encoding = "klingon"', r"\[adam\] encoding: expected an encoding that Python knows"),
        ('[adam.adtte]\nVALUE = "X"', r"\[adam\] adtte\.VALUE: expected one of \['USUBJID', 'PARAMCD'"),
        ('[adam.files]\nadtte = "other.csv"', r"\[adam\.files\] adtte: expected other\.csv, found \['adqs\.csv'"),
        ('[adam.paramcd]\ncdp42 = "X"', r"paramcd\.cdp42: expected an outcome of .* or a name of your own"),
    ],
)
def test_mistakes_in_the_names_are_named(source, tmp_path, adam, message):
    _, sets, text = source
    with pytest.raises(SettingsError, match=message):
        read_settings(write(tmp_path, sets, text, adam))


def test_a_variable_that_the_settings_name_must_be_there(source, tmp_path):
    _, sets, text = source
    path = write(tmp_path, sets, text, 'discontinued = "EOSSTT"')
    with pytest.raises(TableError, match=r"adsl\.csv: expected variables \['EOSSTT'\]"):
        read_trial(read_settings(path))


def test_a_status_in_unknown_words_is_refused(source, tmp_path):
    _, sets, text = source
    adsl = sets["adsl"].assign(EOTSTT=sets["adsl"]["EOTSTT"].replace("DISCONTINUED", "Lost"))
    path = write(tmp_path, {**sets, "adsl": adsl}, text)
    with pytest.raises(TableError, match=r"column EOTSTT: expected Y or N, or DISCONTINUED, .*found 'Lost'.*false"):
        read_trial(read_settings(path))


def test_two_spellings_of_an_arm_in_adsl_are_refused(source, tmp_path):
    _, sets, text = source
    arms = sets["adsl"]["TRT01P"].tolist()
    arms[4] = arms[4].upper()
    path = write(tmp_path, {**sets, "adsl": sets["adsl"].assign(TRT01P=arms)}, text)
    with pytest.raises(TableError, match=r"row 5, column TRT01P: expected one spelling.*'PLACEBO'.*1 such"):
        read_trial(read_settings(path))
    (tmp_path / "new").mkdir()
    assert main(["init", str(tmp_path / "new" / "trial.toml"), "--adam", str(tmp_path / "adam")]) == 2
