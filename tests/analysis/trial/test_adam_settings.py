from pathlib import Path

import pytest

from nnunet_ms.analysis.trial.adam_settings import AdamSettings, adam_settings, find_adam
from nnunet_ms.analysis.trial.settings_section import Section
from nnunet_ms.errors import SettingsError


def read(**values):
    return adam_settings(Section(Path("trial.toml"), "adam", values), Path("study"))


def test_a_folder_without_adsl_is_refused(tmp_path):
    with pytest.raises(SettingsError, match=r"expected adsl as one of .*an empty folder"):
        find_adam(tmp_path)
    (tmp_path / "adqs.csv").touch()
    with pytest.raises(SettingsError, match=r"expected adsl as one of .*found \['adqs\.csv'\]"):
        find_adam(tmp_path)
    with pytest.raises(SettingsError, match="expected a folder with ADSL"):
        find_adam(tmp_path / "none")


def test_sas_transport_goes_before_data_set_and_csv_in_upper_or_lower_case(tmp_path):
    for name in ("ADSL.csv", "adsl.sas7bdat", "AdSl.XPT", "adqs.csv", "adqs.sas7bdat", "other.xpt"):
        (tmp_path / name).touch()
    assert find_adam(tmp_path) == (tmp_path / "AdSl.XPT", tmp_path / "adqs.sas7bdat", None)


def test_usual_names_and_those_of_the_settings(tmp_path):
    assert read() is None
    usual = read(folder="adam")
    assert usual == AdamSettings(Path("study/adam"))
    assert (usual.codes["cdp24"], usual.codes["9hpt24"]) == ("CDP24", "NHPT24")  # PARAMCD starts with a letter
    found = read(folder="adam", subject="USUBJID", nhpt="PEG", paramcd={"cdp24": "CDP24M"}, time_unit="DAYS")
    assert (found.subject, found.treatment, found.edss, found.nhpt) == ("USUBJID", "TRT01P", "EDSS", "PEG")
    assert (found.codes["cdp24"], found.codes["cdp12"], found.time_unit) == ("CDP24M", "CDP12", "DAYS")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"subject": "SUBJID"}, r"\[adam\] needs folder"),
        (
            {"folder": "a", "paramcd": {"cdp42": "X"}},
            r"paramcd\.cdp42: expected an outcome of .*'cdp24'.* and its PARAMCD",
        ),
        ({"folder": "a", "paramcd": {"cdp24": ""}}, r"paramcd\.cdp24: expected an outcome"),
        ({"folder": "a", "time_unit": "HOURS"}, r"time_unit: expected one of \['DAYS', 'WEEKS', 'MONTHS', 'YEARS'\]"),
    ],
)
def test_mistakes_are_named(values, message):
    with pytest.raises(SettingsError, match=message):
        read(**values)
