"""The demo's own work: which stage runs, what a restart repeats, what a failure says."""

import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from nnunet_ms import demo, nnunet
from nnunet_ms.demo import FULL, QUICK, Stage
from nnunet_ms.errors import NnunetMsError, SettingsError
from nnunet_ms.images.volumes import write_volume


def python(code):
    return (sys.executable, "-c", code)


@pytest.fixture
def counting(monkeypatch):
    """Three stages that each append their name to a file; the second fails as long as `stop` exists."""
    append = "open('done.txt', 'a').write({!r})"
    fails = "import pathlib, sys; sys.exit('wrong turn') if pathlib.Path('stop').exists() else " + append.format("b")
    made = [
        Stage("a", python(append.format("a")), "done.txt"),
        Stage("b", python(fails), "done.txt"),
        Stage("c", python(append.format("c")), "done.txt"),
    ]
    monkeypatch.setattr(demo, "stages", lambda *_: made)


@pytest.mark.usefixtures("counting")
def test_a_failed_stage_is_named_with_its_log_and_a_restart_goes_on_there(tmp_path, capsys):
    out = tmp_path / "demo"
    demo._claim(out, f"{FULL} seed=0")
    (out / "stop").touch()
    with pytest.raises(NnunetMsError, match=r"\[2/3\] b: exit code 1, .*The end of .*b\.log:\n.*wrong turn"):
        demo.demo(out, FULL, 0)
    (out / "stop").unlink()
    assert demo.demo(out, FULL, 0) == 0
    assert (out / "done.txt").read_text() == "abc"
    assert "[1/3] a: done before" in capsys.readouterr().out


@pytest.mark.usefixtures("counting")
def test_other_settings_in_the_same_folder_are_refused(tmp_path):
    out = tmp_path / "demo"
    demo.demo(out, FULL, 0)
    with pytest.raises(SettingsError, match=r"seed=1, found .*seed=0\. Choose another -o"):
        demo.demo(out, FULL, 1)


def test_a_folder_with_other_files_is_refused(tmp_path, capsys):
    (tmp_path / "letter.txt").touch()
    assert demo.main(["-o", str(tmp_path)]) == 2
    assert "found other files. Choose another -o" in capsys.readouterr().err


def test_without_nnunet_nothing_begins(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(nnunet, "version", lambda _: "1.7.1")
    assert demo.main(["-o", str(tmp_path / "demo")]) == 2
    assert "nnU-Net: expected nnunetv2 >= 2.8, < 3, found 1.7.1. Install it" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()


@pytest.mark.parametrize("size", [FULL, QUICK])
def test_training_patients_are_not_analysed(size):
    analysed = demo.trial_patients(size)
    assert len(analysed) == size.patients - size.training_patients
    assert analysed[0] == f"P{size.training_patients + 1:03d}"


def test_half_written_predictions_are_made_again(tmp_path):
    mask = np.zeros((6, 6, 6), np.uint8)
    for name in ("good", "half"):
        write_volume(tmp_path / "predictions" / f"{name}.nii.gz", mask, np.eye(4))
    half = tmp_path / "predictions" / "half.nii.gz"
    half.write_bytes(half.read_bytes()[:40])
    demo.remove_damaged_predictions(tmp_path)
    assert [path.name for path in (tmp_path / "predictions").iterdir()] == ["good.nii.gz"]


def test_the_last_stage_is_of_a_patient_with_two_visits(tmp_path):
    rows = [("P1", "a", 0), ("P2", "a", 0), ("P2", "c", 48), ("P2", "b", 24), ("P3", "a", 0), ("P3", "b", 24)]
    lines = [f"{patient},{visit},{week},{patient}{visit}.nii.gz,x.nii.gz,y.nii.gz" for patient, visit, week in rows]
    (tmp_path / "trial").mkdir()
    (tmp_path / "trial" / "manifest.csv").write_text("\n".join(["patient_id,visit,week,flair,t2,t1", *lines]))
    demo.select_scans(tmp_path, ["P1", "P2", "P3"])
    written = (tmp_path / demo.ONE_PATIENT).read_text().splitlines()
    assert [line.split(",")[:2] for line in written[1:]] == [["P2", "a"], ["P2", "b"]]


def test_a_stage_that_leaves_nothing_is_a_failure(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "stages", lambda *_: [Stage("silent", python("pass"), "result.csv")])
    with pytest.raises(NnunetMsError, match=r"silent: exit code 0, expected .*result\.csv"):
        demo.demo(tmp_path / "demo", FULL, 0)


def test_the_demos_commands_are_the_ones_of_the_package():
    scripts = tomllib.loads((Path(demo.__file__).parents[1] / "pyproject.toml").read_text())["project"]["scripts"]
    programs = {stage.command[0] for stage in demo.stages(QUICK, 0)}
    assert programs - set(scripts) == {"nnUNetv2_plan_and_preprocess", "nnUNetv2_train", "nnUNetv2_predict"}
