"""Every mistake in a trial's tables is one line that names table, row and column; every degenerate trial gives reasons.

Oracle: the spec's list of what is validated, and the rule that a blank statistic says why.
"""

import re

import numpy as np
import pandas as pd
import pytest

from nnunet_ms.analysis.endpoints.recipe import compute_endpoints
from nnunet_ms.analysis.endpoints.statistic_rows import select, value_of
from nnunet_ms.analysis.endpoints_cli import main
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.settings import read_settings
from tests.analysis.synthetic_trial import SETTINGS, all_lesion_types, patients, timed_assessments, write_trial

N = 24
SHORT = SETTINGS.replace('["cdp24"]', '["ccdp24"]').replace("draws = 20", "draws = 12")
LONG = SHORT.replace("draws = 12", 'draws = 12\nsequence = ["t2_volume_percent_change", "ccdp24"]\nholm = true')


def tables(n=N):
    table = patients(n)
    return {"patients": table, "visits": all_lesion_types(table), "assessments": timed_assessments(table)}


def cell(name, row, column, value):
    """Tables with one cell changed; rows count from 1."""
    found = tables()
    frame = found[name].astype({column: object})
    frame.loc[row - 1, column] = value
    return {**found, name: frame}


def row_again(name, row, **changed):
    found = tables()
    again = found[name].iloc[[row - 1]].assign(**changed)
    return {**found, name: pd.concat([found[name], again], ignore_index=True)}


MISTAKES = {
    "unknown arm": (cell("patients", 3, "arm", "activ"), r"patients\.csv: row 3, column arm.*'activ'"),
    "patient twice": (row_again("patients", 2), r"patients\.csv: row 25: patient_id P001 stands twice"),
    "age": (cell("patients", 4, "age_years", "old"), r"patients\.csv: row 4, column age_years.*'old'"),
    "stopped before": (cell("patients", 4, "discontinued_week", -3), r"row 4, column discontinued_week.*week >= 0.*-3"),
    "baseline EDSS": (cell("patients", 5, "edss_baseline", 11), r"row 5, column edss_baseline.*0 to 10"),
    "volume": (cell("visits", 6, "volume_ml", -1), r"visits\.csv: row 6, column volume_ml.*0 to 3000"),
    "volume is text": (cell("visits", 6, "volume_ml", "big"), r"visits\.csv: row 6, column volume_ml.*'big'"),
    "week of a scan": (cell("visits", 6, "week", -4), r"visits\.csv: row 6, column week.*randomisation.*-4"),
    "no week": (cell("visits", 6, "week", ""), r"visits\.csv: row 6, column week.*a blank"),
    "count": (cell("visits", 6, "lesion_count", 1.5), r"visits\.csv: row 6, column lesion_count.*whole number"),
    "scan twice": (row_again("visits", 7, case_id="again"), r"visits\.csv: row 577: patient P000.*stands twice"),
    "assessment before": (cell("assessments", 8, "week", -1), r"assessments\.csv: row 8, column week.*week >= 0"),
    "assessment twice": (row_again("assessments", 8), r"assessments\.csv: row 241: patient P000.*stands\s+twice"),
    "EDSS": (cell("assessments", 8, "edss", 3.3), r"assessments\.csv: row 8, column edss.*half steps"),
    "scheduled": (cell("assessments", 8, "scheduled", "maybe"), r"row 8, column scheduled.*true or false"),
    "walk": (cell("assessments", 8, "t25fw_s", -5), r"assessments\.csv: row 8, column t25fw_s.*0 to 180"),
    "no walk": (
        {**tables(), "assessments": tables()["assessments"].drop(columns="t25fw_s")},
        r"assessments\.csv: outcome ccdp24 needs column t25fw_s",
    ),
    "no region": (
        {**tables(), "patients": tables()["patients"].drop(columns="region")},
        r"patients\.csv: patients needs columns \['region'\]",
    ),
    "an arm without patients": (
        {**tables(), "patients": tables()["patients"].query("arm == 'placebo'")},
        r"patients\.csv: column arm: no patient is in arm 'active'",
    ),
    "single patient": (tables(1), r"patients\.csv: column arm: no patient is in arm 'active'"),
    "not done": (cell("assessments", 8, "t25fw_s", 999), r"row 8, column t25fw_s.* 0 to 180, found '999.*t25fw_unable"),
    "not done either": (cell("assessments", 9, "nhpt_s", 777.0), r"row 9, column nhpt_s.* 0 to 300, found '777"),
    "two spellings": (cell("patients", 6, "sex", "f"), r"patients\.csv: row 6, column sex: expected one spelling.*'f'"),
    "two spellings of a rater": (cell("visits", 6, "rater", "Model"), r"visits\.csv: row 6, column rater: .*'Model'"),
    "zeros in front": (
        cell("assessments", 8, "patient_id", "P00"),
        r"assessments\.csv: row 8, column patient_id: expected one way",
    ),
    "nobody has an EDSS": (
        {**tables(), "assessments": tables()["assessments"].assign(edss="")},
        r"assessments\.csv: column edss: outcome ccdp24 needs it, found a blank in each of 240 rows",
    ),
    "other patients": (
        {**tables(), "visits": tables()["visits"].assign(patient_id="X" + tables()["visits"]["patient_id"])},
        r"visits\.csv: row 1, column patient_id: no patient of patients.csv is in visits.csv.*P000 and XP000",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_with_table_row_and_column(name, tmp_path, capsys):
    changed, message = MISTAKES[name]
    path = write_trial(tmp_path / "in", SHORT, **changed)
    assert main(["run", str(path), "-o", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err.strip()
    assert "\n" not in told
    assert re.search(message, told), told
    assert not (tmp_path / "out").exists()


SETTINGS_MISTAKES = {
    "stratum": ('draws = 12', 'draws = 12\nstrata = ["center"]', "names 'center'; expected age_group"),
    "sequence": ('draws = 12', 'draws = 12\nsequence = ["cdp12"]', "sequence: expected some of .*'cdp12'"),
    "rater": ('"exclude"', '"exclude"\nraters = ["unet"]', r"raters: expected some of \['model', 'reference'\]"),
    "alpha": ("draws = 12", "draws = 12\nalpha = 5", "alpha: expected a number between 0 and 1, found 5"),
    "window": ("48, 96]", "48, 96]\n[visits.windows]\n48 = [50, 60]", "windows.48: expected a week and its window"),
    "windows": ("48, 96]", "48, 96]\n[visits.windows]\n24 = [12, 40]\n48 = [40, 60]", "do not overlap"),
    "no week": ("48, 96]", "48, 96]\n[visits.windows]\n36 = [30, 40]", r"\[visits.windows\] 36: expected a week of"),
    "population": ("[lesions]", '[populations]\nmain = "itt"\n[lesions]', "main: expected one of"),
    "column": (
        "[lesions]", '[populations]\nmain = "itt"\n[populations.itt]\ncolumn = "ITTFL"\nvalues = ["Y"]\n[lesions]',
        r"patients\.csv: population itt needs column ITTFL",
    ),
    "value": (
        "[lesions]", '[populations]\nmain = "us"\n[populations.us]\ncolumn = "region"\nvalues = ["UK"]\n[lesions]',
        r"patients\.csv: column region: nobody is in population us.*'UK'.*found \['ROW', 'US'\]",
    ),
    "an arm outside": (
        "[lesions]", '[populations]\nmain = "p"\n[populations.p]\ncolumn = "arm"\nvalues = ["placebo"]\n[lesions]',
        r"population p of .*patients\.csv: column arm: no patient is in arm 'active'",
    ),
    "adtte": ("[disability]", '[disability]\nsource = "adtte"', "source is adtte.*no .adam. section"),
    "adam twice": ("[arms]", '[adam]\nfolder = "."\n[arms]', "names patients or assessments, and .adam."),
}  # fmt: skip


@pytest.mark.parametrize("name", SETTINGS_MISTAKES)
def test_a_mistake_in_the_settings_is_one_line(name, tmp_path, capsys):
    old, new, message = SETTINGS_MISTAKES[name]
    assert old in SHORT
    path = write_trial(tmp_path / "in", SHORT.replace(old, new), **tables())
    assert main(["run", str(path), "-o", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err.strip()
    assert "\n" not in told
    assert re.search(message, told), told


def of_arm(found, frame, arm="active"):
    return found[frame]["patient_id"].map(found["patients"].set_index("patient_id")["arm"]) == arm


def quiet(arm=None):
    """Nobody (of an arm) progresses."""
    found = tables()
    frame = found["assessments"]
    who = of_arm(found, "assessments", arm) if arm else frame["week"] >= 0
    for name in ("edss", "t25fw_s", "nhpt_s"):
        frame[name] = frame[name].mask(who, frame.groupby("patient_id")[name].transform("first"))
    return found


def counts_of_zero(*arms):
    found = tables()
    for arm in arms:
        who = of_arm(found, "visits", arm)
        for name in ("lesion_count", "new_lesion_count"):
            found["visits"][name] = found["visits"][name].mask(who & found["visits"][name].notna(), 0)
    return found


def without_scans(arm, weeks):
    found = tables()
    gone = of_arm(found, "visits", arm) & found["visits"]["week"].isin(weeks)
    return {**found, "visits": found["visits"][~gone]}


def volumes(change):
    found = tables()
    return {**found, "visits": found["visits"].assign(volume_ml=change(found["visits"], of_arm(found, "visits")))}


def people(**columns):
    found = tables()
    table = found["patients"].assign(**columns)
    return {**found, "patients": table, "assessments": timed_assessments(table)}


def separated_by_sex():
    found = tables()
    frame, table = found["assessments"], found["patients"].set_index("patient_id")
    base = frame["patient_id"].map(table["edss_baseline"])
    worse = (frame["patient_id"].map(table["sex"]) == "F") & (frame["week"] >= 24)
    return {**found, "assessments": frame.assign(edss=base + worse, t25fw_s=6.0, nhpt_s=22.0)}


def one_patient_in_active():
    found = tables()
    kept = (found["patients"]["arm"] == "placebo") | (found["patients"]["patient_id"] == "P001")
    return {**found, "patients": found["patients"][kept]}


DEGENERATE = {
    "an arm without an event": (lambda: quiet("active"), "Firth's penalised likelihood"),
    "no event": (quiet, "no events"),
    "constant covariates": (
        lambda: people(sex="F", region="US", age_years=40, edss_baseline=4.0), "region left out (constant in the data)",
    ),
    "constant baseline volume": (
        lambda: volumes(lambda v, _: v["volume_ml"].mask(v["week"] == 0, 5.0)), "the covariate is constant",
    ),
    "constant volume": (lambda: volumes(lambda v, _: 5.0), "the response is constant"),
    "no spread within arms": (
        lambda: volumes(lambda v, active: np.where(active, 5.0, 10.0) * (1 + 0.1 * (v["week"] > 0))), "confounded",
    ),
    "arm is region": (lambda: people(region=np.tile(["A", "B"], N // 2)), "arm and covariates are confounded"),
    "perfect separation": (separated_by_sex, "the likelihood has no maximum"),
    "two patients": (lambda: tables(2), "1 patient in arm placebo, needs 2"),
    "one patient in an arm": (one_patient_in_active, "1 patient in arm active, needs 2"),
    "no lesion": (lambda: counts_of_zero("active", "placebo"), "no lesion in any arm"),
    "no lesion in an arm": (lambda: counts_of_zero("active"), "no lesion in arm active: no model; limits are"),
    "no lesion in the reference": (lambda: counts_of_zero("placebo"), "no lesion in the reference arm"),
    "an arm without its last scan": (lambda: without_scans("active", [96]), "0 patients in arm active, needs 2"),
    "an arm without follow-up": (lambda: without_scans("active", [24, 48, 96]), "0 patients in arm active, needs 2"),
    "an arm without scans": (lambda: without_scans("active", [0, 24, 48, 96]), "0 patients in arm active, needs 2"),
    "baselines only": (
        lambda: {**tables(), "visits": tables()["visits"].query("week == 0")},
        "no visit with two patients in every arm",
    ),
    "an arm without assessments": (
        lambda: (lambda t: {**t, "assessments": t["assessments"][~of_arm(t, "assessments")]})(tables()),
        "at no event are patients of both groups at risk",
    ),
    "no positive volume": (lambda: volumes(lambda v, _: 0.0), "0 patients"),
}  # fmt: skip


@pytest.mark.parametrize("name", DEGENERATE)
def test_what_cannot_be_estimated_says_why(name, tmp_path):
    make, reason = DEGENERATE[name]
    trial = read_trial(read_settings(write_trial(tmp_path, LONG, **make())))
    found = compute_endpoints(trial).endpoints
    blank = found[found["stat"].isna()]
    assert blank["method"].str.contains(r"not estimable \(.+\)").all()
    assert not blank["method"].str.contains("not estimable (the estimate is not finite)", regex=False).any()
    assert found["method"].str.contains(reason, regex=False).any()
    assert not np.isinf(found["stat"]).any()


def test_nobody_disappears(tmp_path):
    # Every patient of either table is analysed or listed, whatever is missing.
    found = without_scans("active", [96])
    stranger = found["visits"].iloc[:4].assign(patient_id="X", case_id=list("abcd"))
    found["visits"] = pd.concat([found["visits"][found["visits"]["patient_id"] != "P003"], stranger])
    results = compute_endpoints(read_trial(read_settings(write_trial(tmp_path, SHORT, **found))))
    reasons = results.exclusions.groupby("patient_id")["reason"].agg(set).to_dict()
    assert reasons["X"] == {"has masks, but is not in the patient table"}
    assert "in the patient table, but has no mask" in reasons["P003"]
    n = value_of(results.endpoints, analysis="by_visit", arm="active", visit="48", stat_name="n", rater="model")
    assert n == N / 2 - 1
    assert value_of(select(results.endpoints, arm="active"), analysis="by_visit", visit="96", stat_name="n") == 0


def test_the_report_of_a_degenerate_trial(tmp_path):
    path = write_trial(tmp_path / "in", SHORT, **without_scans("active", [0, 24, 48, 96]))
    assert main(["run", str(path), "-o", str(tmp_path / "out")]) == 0
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8").lower()
    assert "not estimable" in page
    assert ">nan" not in page
    assert "(nan" not in page
