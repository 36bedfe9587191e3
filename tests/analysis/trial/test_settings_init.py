import pandas as pd
import pytest

from nnunet_ms.analysis.endpoints.recipe import compute_endpoints
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.settings import read_settings
from nnunet_ms.analysis.trial.settings_init import find_tables, write_settings
from nnunet_ms.errors import SettingsError, TableError
from tests.analysis.synthetic_trial import patients, visits, write_trial


def written(folder, conventions="r", **changed):
    """The text of new settings for the synthetic trial, and the settings as they are read."""
    write_trial(folder, **changed)
    path = folder / "new.toml"
    write_settings(path, find_tables(folder, {}, ()), simulated=True, conventions=conventions)
    return path.read_text(encoding="utf-8"), read_settings(path)


def test_init_writes_settings_that_run_reads(tmp_path):
    _, found = written(tmp_path)
    assert found.arms == ("placebo", "active")
    assert found.weeks == (24.0, 48.0, 96.0)
    assert found.tables.named().keys() == {"patients", "visits", "assessments", "agreement", "truth"}
    assert found.zero_volume == "add_half_smallest_positive"


def test_init_quotes_names_from_the_data(tmp_path):
    table = patients()
    name = 'a "quoted" \\ arm # 1'
    _, found = written(tmp_path, patients=table.assign(arm=table["arm"].replace("active", name)))
    assert found.compared_arms == (name,)


def test_init_never_overwrites(tmp_path):
    path = write_trial(tmp_path)
    with pytest.raises(SettingsError, match=r"trial\.toml: exists"):
        write_settings(path, find_tables(tmp_path, {}, ()), simulated=True)


def test_init_without_tables_says_which(tmp_path):
    with pytest.raises(SettingsError, match=r"expected patients\.csv.*--patients"):
        find_tables(tmp_path, {}, ())


@pytest.mark.parametrize(
    ("names", "reference"),
    [
        (("active", "Placebo"), "Placebo"),
        (("b", "interferon beta"), "interferon beta"),
        (("ocrelizumab", "IFN"), "IFN"),
        (("control", "placebo"), "placebo"),  # placebo before control
        (("zeta", "alpha"), "alpha"),  # no known name: the first of the alphabet
    ],
)
def test_the_reference_arm_is_known_by_its_name(tmp_path, names, reference):
    table = patients()
    _, found = written(tmp_path, patients=table.assign(arm=[names[i % 2] for i in range(60)]))
    assert found.reference_arm == reference
    assert set(found.arms) == set(names)


def test_what_the_data_hold_stands_beside_the_choices(tmp_path):
    masks = visits(patients())
    masks.loc[[1, 5], "volume_ml"] = 0.0  # rows of the model
    other = masks[masks["rater"] == "model"].assign(lesion_type="a_type", week=8, volume_ml=0.0)
    other = other.drop_duplicates("patient_id").assign(case_id=lambda rows: "a" + rows["case_id"])
    table = patients().assign(ITTFL=["Y", "N"] * 30, SAFFL="Y", other=["Y", "x"] * 30)
    text, found = written(tmp_path, patients=table, visits=pd.concat([masks, other]))
    assert found.lesion_type == "t2_lesions"
    assert found.weeks == (24.0, 48.0, 96.0)  # not week 8, which has masks of the other type only
    assert '# in the data: "a_type", "t2_lesions"' in text
    assert "volumes of 0 ml (2 in the data)" in text
    assert '# raters = ["reference", "model"]' in text
    assert '# flags in the data: "ITTFL", "SAFFL"' in text


def test_windows_are_offered_half_way_to_the_weeks_beside(tmp_path):
    # By hand for weeks 0, 24, 48, 96; four weeks before the first, twelve after the last.
    text, _ = written(tmp_path)
    offered = [line for line in text.splitlines() if line.startswith('# "')]
    assert offered == ['# "0" = [-4, 12]', '# "24" = [12.5, 36]', '# "48" = [36.5, 72]', '# "96" = [72.5, 108]']
    uncommented = "\n".join(
        line.removeprefix("# ") if line in (*offered, WINDOWS) else line for line in text.splitlines()
    )
    path = tmp_path / "windows.toml"
    path.write_text(uncommented, encoding="utf-8")
    found = [(window.target, window.low, window.high) for window in read_settings(path).windows]
    assert found == [(0, -4, 12), (24, 12.5, 36), (48, 36.5, 72), (96, 72.5, 108)]


WINDOWS = "# [visits.windows]  # weeks that count as a week of the plan; of two scans in one window the closer is taken"


@pytest.mark.parametrize("conventions", ["r", "sas"])
def test_the_convention_and_whether_data_are_simulated(tmp_path, conventions):
    _, found = written(tmp_path / "simulated", conventions=conventions)
    assert (found.simulated, found.conventions.name) == (True, conventions)
    write_trial(tmp_path / "real")
    (tmp_path / "real" / "truth.json").unlink()
    path = tmp_path / "real" / "new.toml"
    write_settings(path, find_tables(tmp_path / "real", {}, ()), simulated=False, conventions=conventions)
    assert read_settings(path).simulated is False


def test_named_tables_go_over_those_of_the_usual_names(tmp_path):
    write_trial(tmp_path)
    others = {name: tmp_path / f"other_{name}.csv" for name in ("patients", "assessments", "agreement", "relapses")}
    visit_files = (tmp_path / "a.csv", tmp_path / "b.csv")
    found = find_tables(tmp_path, others, visit_files)
    assert {name: getattr(found.tables, name) for name in others} == others
    assert found.tables.visits == visit_files
    assert found.tables.truth == tmp_path / "truth.json"
    assert (found.adam, found.tables.size_bin_figure) == (None, None)


def test_tables_without_a_comparison_are_refused(tmp_path):
    write_trial(tmp_path / "arms", patients=patients().assign(arm="x"))
    with pytest.raises(SettingsError, match=r"expected two or more arms, found \['x'\]"):
        write_settings(tmp_path / "arms" / "n.toml", find_tables(tmp_path / "arms", {}, ()), simulated=True)
    write_trial(tmp_path / "weeks", visits=visits(patients()).query("week == 0"))
    with pytest.raises(SettingsError, match=r"expected a baseline and a later week, found \[0\]"):
        write_settings(tmp_path / "weeks" / "n.toml", find_tables(tmp_path / "weeks", {}, ()), simulated=True)
    assert not list(tmp_path.rglob("n.toml"))


def test_visits_that_are_missing_are_named(tmp_path):
    write_trial(tmp_path)
    (tmp_path / "visits.csv").unlink()
    with pytest.raises(SettingsError, match=r"expected visits\.csv, found none.*--visits FILE"):
        find_tables(tmp_path, {}, ())


def test_an_adam_folder_stands_for_patients_and_assessments(tmp_path):
    with pytest.raises(SettingsError, match="--adam stands for --patients and --assessments"):
        find_tables(tmp_path, {"adam": tmp_path, "patients": tmp_path / "p.csv"}, ())
    with pytest.raises(SettingsError, match="--adam stands for --patients and --assessments"):
        find_tables(tmp_path, {"adam": tmp_path, "assessments": tmp_path / "a.csv"}, ())


@pytest.mark.parametrize(
    ("flags", "chosen"),
    [
        ({"SAFFL": "Y", "ITTFL": ["Y", "N"] * 30}, "ITTFL"),
        ({"PPROTFL": "Y", "FASFL": "Y", "SAFFL": "Y"}, "FASFL"),
        ({"OTHERFL": "Y", "itt": "Y"}, "itt"),
        ({"OTHERFL": "Y"}, "OTHERFL"),
        ({}, "ITTFL"),
    ],
)
def test_the_population_offered_is_the_one_that_an_efficacy_analysis_is_about(tmp_path, flags, chosen):
    text, found = written(tmp_path, patients=patients().assign(**flags))
    assert f'# column = "{chosen}"' in text
    assert found.populations.main is None  # offered only, as everybody in this table has an arm


def test_groups_of_one_level_are_not_proposed(tmp_path):
    _, found = written(tmp_path, patients=patients().assign(region="US", age_years=30))
    assert found.analysis.strata == ()
    assert found.analysis.subgroups == ("sex", "edss_stratum")


@pytest.mark.parametrize(
    ("weeks", "outcome"), [((0, 12, 24, 48, 96), "cdp24"), ((0, 12, 20), "cdp12"), ((0, 4, 8), "cdp24")]
)
def test_the_outcome_proposed_is_one_that_the_follow_up_can_confirm(tmp_path, weeks, outcome):
    rows = [(f"P{i:03d}", week, 3.0) for i in range(60) for week in weeks]
    text, found = written(tmp_path, assessments=pd.DataFrame(rows, columns=["patient_id", "week", "edss"]))
    assert found.outcomes == (outcome,)
    assert ("t25fw24" in text.split("outcomes = ")[1].splitlines()[0]) is (weeks == (0, 4, 8))


def test_scans_beside_their_planned_weeks_get_windows(tmp_path):
    # Oracle: the weeks that the scans were moved from.
    masks = visits(patients())
    moved = masks.assign(week=masks["week"] + masks["patient_id"].str[1:].astype(int) % 5 - 2)
    moved["visit"] = masks["week"].map("W{}".format)
    moved.loc[masks["week"] == 0, "week"] = 0
    _, found = written(tmp_path, visits=moved)
    assert (found.baseline_week, found.weeks) == (0.0, (24.0, 48.0, 96.0))
    assert all(window.low <= window.target - 2 and window.target + 2 <= window.high for window in found.windows[1:])
    assert len(found.windows) == 4


def test_an_arm_without_a_known_name_is_said(tmp_path):
    text, _ = written(tmp_path, patients=patients().assign(arm=["b", "a"] * 30))
    assert "no arm is called placebo or control, check it" in text


@pytest.mark.parametrize(
    ("one", "other"), [("placebo", "PLACEBO"), ("low dose", "low-dose"), ("drug beta‑1a", "drug beta-1a")]
)
def test_two_spellings_of_an_arm_make_no_settings(tmp_path, one, other):
    arms = [one, "active"] * 29 + [other, "active"]
    with pytest.raises(TableError, match=r"patients\.csv: row 59, column arm: expected one spelling"):
        written(tmp_path, patients=patients().assign(arm=arms))


def test_a_clinics_tables_give_the_endpoints_of_plain_ones(tmp_path):
    # Oracle: the same trial as plain CSV. Semicolons, decimal commas, dates day first and declared, blank rows, marks.
    plain = write_trial(tmp_path / "plain").parent
    dated = pd.read_csv(plain / "patients.csv", dtype=str, keep_default_na=False)
    visited = pd.read_csv(plain / "assessments.csv", dtype=str, keep_default_na=False)
    day0 = pd.Timestamp("2020-02-03")
    days = [day0 + pd.Timedelta(days=7 * int(float(week))) for week in visited["week"]]
    clinic = write_trial(tmp_path / "clinic").parent
    tables = {
        "patients": dated.assign(randomisation_date="03.02.2020"),
        "assessments": visited.drop(columns="week").assign(date=[f"{day:%d.%m.%Y}" for day in days]),
        "visits": pd.read_csv(plain / "visits.csv", dtype=str, keep_default_na=False),
    }
    for name, table in tables.items():
        text = table.replace(r"^(\d+)\.(\d+)$", r"\1,\2", regex=True).to_csv(
            index=False, sep=";", lineterminator="\r\n"
        )
        (clinic / f"{name}.csv").write_text(
            text + ";" * (table.shape[1] - 1) + "\r\n", encoding="utf-8-sig", newline=""
        )
    with pytest.raises(TableError, match=r'column randomisation_date: .*found \'03\.02\.2020\'.*dates = "day-first"'):
        write_settings(clinic / "new.toml", find_tables(clinic, {}, ()), simulated=True)
    write_settings(clinic / "new.toml", find_tables(clinic, {}, (), "day-first"), simulated=True)
    write_settings(plain / "new.toml", find_tables(plain, {}, ()), simulated=True)
    assert 'dates = "day-first"' in (clinic / "new.toml").read_text(encoding="utf-8")
    found, right = (compute_endpoints(read_trial(read_settings(f / "new.toml"))).endpoints for f in (clinic, plain))
    pd.testing.assert_frame_equal(found, right, check_exact=True)
