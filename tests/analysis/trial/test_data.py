import pandas as pd
import pytest

from nnunet_ms.analysis.trial.data import read_trial, read_truth
from nnunet_ms.analysis.trial.settings import read_settings
from nnunet_ms.errors import SettingsError, TableError
from tests.analysis.synthetic_trial import SETTINGS, assessments, patients, visits, write_trial


def read(tmp_path, settings=SETTINGS, population=None, **changed):
    return read_trial(read_settings(write_trial(tmp_path, settings, **changed)), population)


def changed(frame, row, column, value):
    frame = frame.astype({column: object})
    frame.loc[row, column] = value
    return frame


MASKS, EDSS = visits(patients()), assessments(patients())


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"patients": changed(patients(), 3, "arm", "activ")}, r"patients\.csv: row 4, column arm.*'activ'"),
        ({"patients": changed(patients(), 3, "edss_baseline", 3.3)}, r"row 4, column edss_baseline.*half steps"),
        ({"patients": changed(patients(), 3, "age_years", "")}, r"row 4, column age_years.*a blank"),
        ({"patients": patients().query("arm == 'placebo'")}, "no patient is in arm 'active'"),
        ({"visits": pd.concat([MASKS, MASKS.iloc[[5]].assign(case_id="again")])}, "stands twice"),
        ({"visits": changed(MASKS, 2, "week", "")}, r"visits\.csv: row 3, column week.*a blank"),
        ({"visits": changed(MASKS, 2, "week", -3)}, r"visits\.csv: row 3, column week.*found -3"),
        ({"visits": MASKS.assign(lesion_type="t1")}, "no row with lesion_type 't2_lesions'"),
        ({"visits": MASKS.assign(patient_id="Q" + MASKS["patient_id"])}, "no patient of patients.csv is in visits.csv"),
        ({"assessments": changed(EDSS, 4, "week", -1)}, r"assessments\.csv: row 5, column week"),
        ({"assessments": changed(EDSS, 4, "edss", 3.25)}, r"row 5, column edss.*half steps"),
        ({"assessments": changed(EDSS, 4, "week", 36)}, r"row 5: patient P000, week 36 stands twice"),
        ({"assessments": EDSS.drop(columns="week")}, "expected a column week, or date"),
        ({"truth": {"simulated": False, "truth": []}}, r"truth\.json: expected"),
        ({"truth": {"truth": []}}, r"truth\.json: expected"),
    ],
)  # fmt: skip
def test_bad_tables_are_one_clear_error(tmp_path, tables, message):
    with pytest.raises((TableError, SettingsError), match=message):
        read(tmp_path, **tables)


def people(**columns):
    """The synthetic patients, of whom the first ones have these values."""
    table = patients().astype({"age_years": float})
    for name, values in columns.items():
        table.loc[: len(values) - 1, name] = values
    return table


def test_the_limit_of_45_years_belongs_to_the_younger_group(tmp_path):
    # Oracle: the published models' groups, <= 45 and > 45 years (Krishnan et al. 2022, 2023).
    trial = read(tmp_path, patients=people(age_years=[44.9, 45, 45.1, 46, 46.5, 18]))
    found = trial.groups("age_group")
    assert found.iloc[:6].tolist() == ["<= 45", "<= 45", "> 45", "> 45", "> 45", "<= 45"]
    assert found.index.tolist() == trial.patients["patient_id"].tolist()


def test_edss_4_belongs_to_the_upper_stratum(tmp_path):
    # Oracle: the trials' randomisation strata, EDSS < 4.0 and >= 4.0.
    trial = read(tmp_path, patients=people(edss_baseline=[0, 3.5, 4, 4.5, 6]))
    assert trial.groups("edss_stratum").iloc[:5].tolist() == ["< 4", "< 4", ">= 4", ">= 4", ">= 4"]


def test_a_column_of_the_patients_is_a_group_and_blanks_have_their_own(tmp_path):
    trial = read(tmp_path, patients=patients().assign(site=["1", "2", ""] * 20))
    assert trial.groups("site").iloc[:3].tolist() == ["1", "2", "missing"]
    named = r"names 'centre'; expected age_group, edss_stratum, prl_stratum \(.*\) or a column of patients"
    with pytest.raises(SettingsError, match=named):
        trial.groups("centre")


def test_another_population_than_that_of_the_settings(tmp_path):
    flags = SETTINGS + '[populations]\nmain = "itt"\n' + "".join(
        f'[populations.{name}]\ncolumn = "{column}"\nvalues = ["Y"]\n'
        for name, column in (("itt", "ITTFL"), ("safety", "SAFFL"))
    )  # fmt: skip
    table = patients().assign(ITTFL=["N", *["Y"] * 59], SAFFL=[*["Y"] * 58, "N", "N"])
    usual, other = (read(tmp_path, flags, name, patients=table) for name in (None, "safety"))
    assert (usual.population, other.population) == ("itt", "safety")
    assert usual.patients["patient_id"].tolist() == table["patient_id"].tolist()[1:]
    assert other.patients["patient_id"].tolist() == table["patient_id"].tolist()[:58]
    assert set(other.volumes["patient_id"]) == set(other.patients["patient_id"])
    assert other.listings["populations"]["patient_id"].tolist() == ["P058", "P059"]


def test_patients_come_by_name_whatever_the_order_of_the_table(tmp_path):
    found = read(tmp_path, patients=patients().iloc[::-1]).patients
    assert found["patient_id"].tolist() == [f"P{i:03d}" for i in range(60)]


@pytest.mark.parametrize(("week", "is_right"), [(0, True), (-0.1, False)])
def test_nobody_stops_before_randomisation(tmp_path, week, is_right):
    table = people(discontinued_week=[12, week])
    if is_right:
        assert read(tmp_path, patients=table).patients["discontinued_week"].iloc[1] == 0
        return
    with pytest.raises(TableError, match=r"row 2, column discontinued_week: expected a week >= 0.*found -0\.1"):
        read(tmp_path, patients=table)


def test_truth_is_read_row_by_row(tmp_path):
    found = read(tmp_path).truth
    assert found["stat"].tolist() == [10.5, -2, -12.5, -12.5, 1]
    assert found["contrast"].tolist() == ["", "", "active - placebo", "active - placebo", ""]
    assert found["unit"].tolist() == ["%"] * 4 + [""]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"truth\.json: expected .*cannot read it \(JSONDecodeError"),
        ('{"simulated": true, "truth": [{"stat": "high"}]}', r"cannot read it \(ValueError: .*'high'"),
        ('{"simulated": true, "truth": [{"endpoint": "cdp24"}]}', r"cannot read it \(KeyError: 'stat'"),
        ("[]", r"cannot read it \(TypeError"),
        ('{"simulated": true, "truth": []}', "rows of truth, found none"),
    ],
)
def test_a_truth_that_is_none_is_refused(tmp_path, text, message):
    path = tmp_path / "truth.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=message):
        read_truth(path)
    with pytest.raises(SettingsError, match=r"other\.json: no such file\. Check the path in \[tables\] truth"):
        read_truth(tmp_path / "other.json")


@pytest.mark.parametrize("name", ["figure.svg", "none.png"])
def test_a_figure_of_the_settings_is_a_png_that_is_there(tmp_path, name):
    (tmp_path / "figure.svg").write_text("<svg/>")
    text = SETTINGS.replace("[arms]", f'size_bin_figure = "{name}"\n[arms]')
    with pytest.raises(SettingsError, match=rf"{name}: \[tables\] size_bin_figure: expected an existing \.png file"):
        read(tmp_path, text)
