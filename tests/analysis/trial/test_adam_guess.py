"""What `init --adam` proposes, against small folders whose right reading is plain to see."""

import pandas as pd
import pytest

from nnunet_ms.analysis.endpoints_cli import main
from nnunet_ms.analysis.trial.adam_guess import guess_adam
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.settings import read_settings
from nnunet_ms.errors import TableError


def adsl(**changed):
    table = {
        "USUBJID": [f"S-{i}" for i in range(8)], "SUBJID": [f"{i}" for i in range(8)],
        "TRT01P": ["Placebo", "Active"] * 4, "AGE": [30, 40, 50, 60, 30, 40, 50, 60], "SEX": ["F", "M"] * 4,
        "REGION1": ["US", "US", "EU", "EU"] * 2,
        "EDSSBL": 3.0, "RANDDT": "2020-01-06", "TRTEDT": "2021-01-04", "EOTSTT": "COMPLETED", "SAFFL": "Y",
        "ITTFL": "Y",
    }  # fmt: skip
    return pd.DataFrame({**table, **changed})


def adtte(**changed):
    return pd.DataFrame(
        {
            "USUBJID": [f"S-{i}" for i in range(8)], "PARAMCD": "CDP24", "PARAM": "Time to progression",
            "CNSR": [0, 1] * 4, "AVAL": [70, 350, 140, 364, 84, 364, 364, 21], "AVALU": "DAYS", **changed,
        }
    )  # fmt: skip


def adqs(code="EDSS", name="Expanded Disability Status Scale"):
    rows = [(f"S-{i}", code, name, 3.0, day, "Y" if day == 1 else "") for i in range(8) for day in (1, 85, 169)]
    return pd.DataFrame(rows, columns=["USUBJID", "PARAMCD", "PARAM", "AVAL", "ADY", "ABLFL"])


def write(folder, **sets):
    (folder / "adam").mkdir(exist_ok=True)
    for name, frame in sets.items():
        frame.to_csv(folder / "adam" / f"{name}.csv", index=False)
    return folder / "adam"


def proposed(folder, **sets):
    return {line.key: line.value for line in guess_adam(write(folder, **sets)).lines if line.active}


def test_the_usual_names_need_no_line(tmp_path):
    assert proposed(tmp_path, adsl=adsl(), adqs=adqs(), adtte=adtte()) == {}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("REGION1", "COUNTRY", {"region": "COUNTRY"}),
        ("REGION1", "SITEGR1", {"region": False}),  # a pooled site is no region; a comment names it
        ("TRT01P", "ARM", {"treatment": "ARM"}),
        ("RANDDT", "RFSTDTC", {"randomisation": "RFSTDTC"}),
        ("EOTSTT", "DCDECOD", {"discontinued": "DCDECOD"}),
        ("EDSSBL", "BEDSS", {"edss_baseline": "BEDSS"}),
        ("EDSSBL", "OTHER", {"edss_baseline": False}),
        ("SUBJID", "OTHER", {"subject": "USUBJID"}),
    ],
)
def test_other_names_are_found_or_their_absence_is_said(tmp_path, old, new, expected):
    assert proposed(tmp_path, adsl=adsl().rename(columns={old: new}), adtte=adtte()) == expected


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("EDSSTOT", "EDSS total score"),
        ("QSEDSS", ""),
        ("SCORE1", "Expanded Disability Status Scale (EDSS)-Total"),
    ],
)
def test_codes_of_measures_are_known_by_code_or_words(tmp_path, code, name):
    assert proposed(tmp_path, adsl=adsl(), adqs=adqs(code, name)) == {"edss": code}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"AVALU": "Weeks"}, {}),
        ({"AVALU": "", "PARAM": "Time to progression (weeks)"}, {"time_unit": "WEEKS"}),
        ({"AVALU": "", "STARTDT": "2020-01-01", "ADT": "2020-01-10", "AVAL": 10}, {"time_unit": "DAYS"}),
        ({"AVALU": "", "STARTDT": "2020-01-01", "ADT": "2020-01-10", "AVAL": 9}, {"time_unit": "DAYS"}),
        ({"AVALU": "", "STARTDT": "2020-01-01", "ADT": "2020-01-10", "AVAL": 8}, {}),  # nothing tells: never guessed
    ],
)
def test_the_unit_of_time_is_taken_from_what_shows_it(tmp_path, changed, expected):
    assert proposed(tmp_path, adsl=adsl(), adtte=adtte(**changed)) == expected


def test_outcomes_of_their_own_keep_their_name_and_ours_ours(tmp_path):
    times = pd.concat([adtte(), adtte(PARAMCD="TTDEATH"), adtte(PARAMCD="CDP36"), adtte(PARAMCD="NHPT24")])
    found = guess_adam(write(tmp_path, adsl=adsl(), adtte=times)).codes
    assert found == {"cdp24": "CDP24", "ttdeath": "TTDEATH", "tte_cdp36": "CDP36", "9hpt24": "NHPT24"}


def test_adsl_without_an_arm_is_refused(tmp_path):
    with pytest.raises(TableError, match=r"adsl\.csv: expected the treatment as one of \['TRT01P'"):
        guess_adam(write(tmp_path, adsl=adsl().rename(columns={"TRT01P": "GROUP"})))


def test_screen_failures_are_left_out_by_the_population_that_init_writes(tmp_path):
    failed = adsl().head(2).assign(USUBJID=["F-1", "F-2"], SUBJID=["f1", "f2"], TRT01P="Screen Failure", ITTFL="N",
                                   AGE="", RANDDT="", SAFFL="N")  # fmt: skip
    folder = write(tmp_path, adsl=pd.concat([failed, adsl()]), adtte=adtte(PARAMCD="TTX"))
    path = tmp_path / "trial.toml"
    assert main(["init", str(path), "--adam", str(folder)]) == 0
    settings = read_settings(path)
    assert (settings.arms, settings.populations.main) == (("Placebo", "Active"), "itt")
    assert settings.outcomes == ("ttx",)
    trial = read_trial(settings)
    assert len(trial.patients) == 8
    assert trial.listings["populations"]["patient_id"].tolist() == ["f1", "f2"]


def test_an_unknown_unit_is_left_to_the_person_and_run_says_so(tmp_path, capsys):
    folder = write(tmp_path, adsl=adsl(), adtte=adtte(AVALU="", PARAMCD="TTX"))
    path = tmp_path / "trial.toml"
    assert main(["init", str(path), "--adam", str(folder)]) == 0
    assert '# time_unit = "DAYS"  # nothing in ADTTE tells the unit of AVAL: say it' in path.read_text()
    assert main(["run", str(path), "-o", str(tmp_path / "out")]) == 2
    assert "Say the unit of AVAL with time_unit in [adam]" in capsys.readouterr().err


def test_an_encoding_is_named_at_init_and_written(tmp_path):
    folder = tmp_path / "adam"
    folder.mkdir()
    adsl(SITENAM="Köln").to_csv(folder / "adsl.csv", index=False, encoding="cp1252")
    adtte().to_csv(folder / "adtte.csv", index=False)
    path = tmp_path / "trial.toml"
    assert main(["init", str(path), "--adam", str(folder)]) == 2
    assert main(["init", str(path), "--adam", str(folder), "--adam-encoding", "cp1252"]) == 0
    assert set(read_trial(read_settings(path)).patients["SITENAM"]) == {"Köln"}
