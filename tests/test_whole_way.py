"""The small end-to-end run: simulated scans in, report out, through every command, in a few minutes."""

import json
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from nnunet_ms.demo import QUICK, stages
from nnunet_ms.tables import AGREEMENT, ENDPOINTS, VISITS, read_table

pytestmark = pytest.mark.slow
STAGES = stages(QUICK, 0)


def start(out):
    command = [sys.executable, "-m", "nnunet_ms.demo", "--quick", "-o", str(out)]
    # no variable of ours, and none of nnU-Net's: the demo sets what nnU-Net itself asks for
    clean = {name: value for name, value in os.environ.items() if not name.lower().startswith("nnunet")}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=clean, start_new_session=True)


@pytest.fixture(scope="module")
def demo_folder(tmp_path_factory):
    """A quick demo that was killed while it trained or just before, and started again."""
    out = tmp_path_factory.mktemp("whole_way") / "demo"
    first = start(out)
    log = out / "logs" / "train.log"
    while first.poll() is None and not (log.is_file() and "Epoch 0" in log.read_text()):
        time.sleep(0.5)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    second = start(out)
    printed, _ = second.communicate(timeout=900)
    assert second.returncode == 0, printed
    (out / "printed.txt").write_text(printed)
    return out


def test_prints_a_line_per_stage_and_the_page_to_open(demo_folder):
    lines = (demo_folder / "printed.txt").read_text().splitlines()
    assert [line.split("]")[0] for line in lines[:-1]] == [f"[{n}/{len(STAGES)}" for n in range(1, len(STAGES) + 1)]
    assert lines[0].endswith("simulate a trial: done before")
    assert "index.html and the page in " in lines[-1]
    assert lines[-1].endswith(str(demo_folder / "segmented" / "pages"))


def test_ends_with_the_page_of_a_patient_whose_two_visits_are_compared(demo_folder):
    out = demo_folder / "segmented"
    visits = pd.read_csv(out / "visits.csv")
    assert len(visits) == 2
    assert visits["previous_visit"].notna().sum() == 1
    assert pd.read_csv(out / "failures.csv").empty  # simulated scans are not taken for other sequences
    (page,) = (out / "pages").iterdir()
    assert page.stem == visits["patient_id"].unique().item()
    assert sorted(path.name for path in (out / "masks").iterdir()) == ["flair", "t1", "t2"]
    assert (out / "warnings.csv").is_file()


def test_every_visit_of_the_other_patients_is_predicted_and_scored(demo_folder):
    visits = read_table(demo_folder / "evaluation" / "visits.csv", VISITS)
    cases = pd.read_csv(demo_folder / "nnunet" / "raw" / "Dataset801_Demo" / "cases.csv")
    assert set(visits["case_id"]) == set(cases.loc[cases["role"] == "test", "case_id"])
    assert set(visits["rater"]) == {"reference", "multi_arm_t2"}
    agreement = read_table(demo_folder / "evaluation" / "agreement.csv", AGREEMENT)
    assert {"dice", "ltpr", "lfpr", "r_vol", "r_count"} <= set(agreement["metric"])


def test_endpoints_stand_for_both_raters(demo_folder):
    endpoints = read_table(demo_folder / "report" / "endpoints.csv", ENDPOINTS)
    for analysis in ("by_visit", "ancova", "cox_univariable", "km_at_median_tlv"):
        raters = set(endpoints.loc[endpoints["analysis"] == analysis, "rater"])
        assert {"reference", "multi_arm_t2"} <= raters, analysis


def test_report_shows_curves_table_2_and_the_truth(demo_folder):
    page = (demo_folder / "report" / "index.html").read_text(encoding="utf-8")
    for expected in ("Simulated data", "simulated truth", "ANCOVA", "at risk", "LTPR", "multi_arm_t2"):
        assert expected in page, expected
    assert page.count("<img") == page.count('src="data:image')
    provenance = json.loads((demo_folder / "report" / "provenance.json").read_text())
    assert provenance


def test_model_folder_tells_where_the_weights_come_from(demo_folder):
    model = next((demo_folder / "nnunet" / "results").rglob("fold_0"))
    assert (model / "checkpoint_final.pth").is_file()
    plans = json.loads((model.parent / "plans.json").read_text())
    assert plans["channel_names"] == ["flair", "t2", "t1"]
