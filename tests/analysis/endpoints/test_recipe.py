import hashlib
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from nnunet_ms.analysis.endpoints.recipe import compute_endpoints
from nnunet_ms.analysis.endpoints.statistic_rows import select, value_of
from nnunet_ms.analysis.endpoints_cli import main
from nnunet_ms.analysis.run_trial import run_trial
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.settings import read_settings
from nnunet_ms.errors import NnunetMsError, SettingsError
from nnunet_ms.tables import ENDPOINTS, read_table
from tests.analysis.synthetic_trial import SETTINGS, assessments, patients, visits, write_trial


def compute(tmp_path, settings=SETTINGS, **changed):
    return compute_endpoints(read_trial(read_settings(write_trial(tmp_path, settings, **changed))))


def test_the_agreed_rows_are_there_for_every_rater(tmp_path):
    found = compute(tmp_path).endpoints
    assert list(found.columns) == ENDPOINTS.names
    assert not found.duplicated(list(ENDPOINTS.key)).any()
    last = {"visit": "96", "contrast": "active - placebo"}
    volume = {"endpoint": "t2_volume_percent_change"}
    model = {**volume, "analysis": "ancova"}
    km = {"endpoint": "cdp24", "analysis": "km_at_median_tlv"}
    wanted = [
        ({**volume, "analysis": "by_visit", **last}, "separation se low high"),
        ({**volume, "analysis": "by_visit", "arm": "active", "visit": "24"}, "n mean sd se"),
        ({**model, "term": "arm", **last}, "difference se t df p low high"),
        ({**model, "arm": "active"}, "ls_mean se low high"),
        ({**model, "term": "baseline_tlv"}, "coefficient se p"),
        (
            {"endpoint": "cdp24", "analysis": "cox_univariable", "term": "log_tlv"},
            "coefficient se hazard_ratio low high p n events",
        ),
        ({**km, "arm": "placebo", "term": "tlv <= median", "visit": "96"}, "survival low high n_risk"),
        ({**km, "arm": "placebo", "term": "tlv > median", "visit": "96"}, "survival low high n_risk"),
        ({**km, "arm": "active", "term": "logrank"}, "chisq df p"),
    ]
    expected = [{**keys, "stat_name": name} for keys, names in wanted for name in names.split()]
    for keys in expected:
        for rater in ("reference", "model"):
            rows = select(found, rater=rater, **keys)
            assert len(rows) == 1, keys
            assert np.isfinite(rows["stat"].iloc[0]), keys


def test_raters_share_patients_and_the_others_are_listed(tmp_path):
    table = patients()
    masks = visits(table)
    masks = masks[~((masks["patient_id"] == "P001") & (masks["week"] == 48) & (masks["rater"] == "model"))]
    masks = masks[~((masks["patient_id"] == "P002") & (masks["week"] == 0))]
    masks = masks[masks["patient_id"] != "P003"]
    stranger = masks[masks["patient_id"] == "P004"].assign(patient_id="X")
    stranger["case_id"] = "X" + stranger["case_id"]
    found = compute(tmp_path, visits=pd.concat([masks, stranger]))
    listed = found.exclusions.groupby("patient_id")["reason"].first().to_dict()
    assert listed == {
        "P001": "no mask of model at this week",
        "P002": "no baseline mask of every rater",
        "P003": "in the patient table, but has no mask",
        "X": "has masks, but is not in the patient table",
    }
    at48 = select(found.endpoints, analysis="by_visit", arm="active", visit="48", stat_name="n")
    assert at48["stat"].tolist() == [28.0, 28.0]  # without P001 and P003, for both raters
    flow = select(found.endpoints, endpoint="disposition", arm="placebo")
    assert value_of(flow, term="in the patient table") == 30
    assert value_of(flow, term="with baseline masks") == 29
    assert value_of(flow, term="excluded") == 1


def test_nothing_to_estimate_gives_reasons_not_nan_texts(tmp_path):
    # two patients per arm, no progression, one region: every guard at once
    table = patients(4).assign(region="ROW", age_years=40)
    quiet = assessments(table)
    quiet["edss"] = quiet["patient_id"].map(table.set_index("patient_id")["edss_baseline"])
    found = compute(tmp_path, patients=table, visits=visits(table), assessments=quiet).endpoints
    blank = found[found["stat"].isna()]
    assert len(blank) > 0
    assert blank["method"].str.contains(r"not estimable \(.+\)").all()
    assert select(blank, term="log_tlv")["method"].str.contains("no events").all()
    assert found["method"].str.contains(r"region left out \(constant in the data\)").any()
    run_trial(tmp_path / "trial.toml", tmp_path / "out")
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "not estimable (no events)" in page
    assert ">nan" not in page.lower()


def test_a_trial_without_assessments_has_no_progression(tmp_path):
    found = compute(tmp_path, SETTINGS.replace('assessments = "assessments.csv"\n', "")).endpoints
    masks = {"t2_volume_percent_change", "agreement", "effect_agreement", "concordance"}
    assert set(found["endpoint"]) == {"disposition", "baseline"} | masks


def test_three_arms_and_the_sas_convention(tmp_path):
    table = patients(90)
    table["arm"] = np.tile(["placebo", "low", "high"], 30)
    text = SETTINGS.replace('["active"]', '["low", "high"]').replace('preset = "r"', 'preset = "sas"')
    path = write_trial(tmp_path, text, patients=table, visits=visits(table), assessments=assessments(table))
    found = run_trial(path, tmp_path / "out").endpoints
    assert set(select(found, analysis="ancova", term="arm")["contrast"]) == {"low - placebo", "high - placebo"}
    assert found["method"].str.contains("Breslow ties").any()


def contents(folder):
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def test_two_runs_give_the_same_bytes_but_for_one_time_stamp(tmp_path):
    path = write_trial(tmp_path)
    found, stamps = [], []
    for _ in range(2):  # the second run replaces the result of the first
        run_trial(path, tmp_path / "out")
        found.append(contents(tmp_path / "out"))
        stamps.append(json.loads((tmp_path / "out" / "provenance.json").read_text()))
    one, two = found
    del one["provenance.json"], two["provenance.json"]
    assert one == two
    for stamp in stamps:
        assert stamp.pop("created_utc").endswith("+00:00")
    assert stamps[0] == stamps[1]
    inputs = {entry["role"]: entry for entry in stamps[0]["inputs"]}
    assert inputs["patients"]["sha256"] == hashlib.sha256((tmp_path / "patients.csv").read_bytes()).hexdigest()
    assert (inputs["patients"]["rows"], inputs["visits"]["rows"]) == (60, 480)
    written = read_table(tmp_path / "out" / "endpoints.csv", ENDPOINTS)
    assert stamps[0]["rows_out"]["endpoints"] == len(written)
    tops = {"index.html", "endpoints.csv", "contents.csv", "estimands.csv", "figures", "tables", "audit"}
    assert {name.split("/")[0] for name in one} == tops


def test_a_failed_run_leaves_nothing_and_a_foreign_folder_is_refused(tmp_path):
    path = write_trial(tmp_path / "in", patients=patients().assign(arm="x"))
    with pytest.raises(NnunetMsError):
        run_trial(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    path = write_trial(tmp_path / "in")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(SettingsError, match=r"mine: expected an empty folder.*Choose another -o"):
        run_trial(path, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_inputs_inside_the_result_are_not_replaced(tmp_path):
    run_trial(write_trial(tmp_path / "in"), tmp_path / "out")
    inside = write_trial(tmp_path / "out" / "in")
    with pytest.raises(SettingsError, match="holds the input"):
        run_trial(inside, tmp_path / "out")
    assert inside.is_file()


def test_command_line(tmp_path, capsys):
    write_trial(tmp_path)
    path = tmp_path / "new.toml"
    assert main(["init", str(path)]) == 0
    assert main(["run", str(path), "-o", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "index.html").is_file()
    assert main(["run", str(tmp_path / "none.toml"), "-o", str(tmp_path / "out")]) == 2
    assert "no such settings file" in capsys.readouterr().err


def test_help_is_fast():
    command = "import sys; from nnunet_ms.analysis.endpoints_cli import main; main(['--help'])"
    found = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert "example:" in found.stdout
    check = "import sys, nnunet_ms.analysis.endpoints_cli; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
