"""Trainings of a learning curve: which run, resume and spread; a stand-in trains and predicts."""

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from nnunet_ms import programs
from nnunet_ms.errors import SettingsError
from nnunet_ms.learning.curve import plan_learning_curve
from nnunet_ms.learning.runs import do_runs, is_done, is_trained, place, predictions, prepare_images
from nnunet_ms.parallel import Dask
from tests.learning.centre import StandInPlan, calls, places, program, write_centre

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links and signals of POSIX")


@pytest.fixture
def plan(tmp_path, monkeypatch):
    subsets = write_centre(tmp_path)
    for case in (case for subset in subsets for case in subset):
        for arm in ("FT", "DN"):
            target = tmp_path / "drawn" / arm / f"{case}.nii.gz"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(case.encode())
    monkeypatch.setattr(programs, "executable", program(tmp_path))
    found = plan_learning_curve(816, tmp_path / "source.pth", tmp_path / "out", sizes=[2], **places(tmp_path))
    prepare_images(found)
    return found


def do(plan, dask=None):
    said = []
    return do_runs(plan, dask, said.append), said


def test_every_model_is_trained_on_its_fold_and_predicts_its_subset(plan, tmp_path):
    failures, said = do(plan)
    assert failures == []
    assert [line.split()[0] for line in said] == [f"[{i}/6]" for i in range(1, 7)]
    source = str((tmp_path / "source.pth").resolve())
    assert sorted(calls(tmp_path)) == sorted(
        [trainer, str(fold), given, "-"]
        for trainer, given in [("nnUNetTrainerMSFineTune", source), ("nnUNetTrainerMSBalanced", "-")]
        for fold in range(3)
    )
    for run in plan.runs:
        found = sorted(path.name for path in predictions(plan, run.name).iterdir())
        assert found == [f"{case}.nii.gz" for case in plan.studies.subsets[run.test]]


def test_what_is_done_is_not_done_again_and_what_failed_is(plan, tmp_path):
    stop = tmp_path / "fail_nnUNetTrainerMSBalanced_1"
    stop.touch()
    (failure,), said = do(plan)
    assert failure.case == "DN_2_t1"
    assert "exit code 1, expected" in failure.reason
    assert "CUDA out of luck" in failure.reason
    assert sum("failed" in line for line in said) == 1
    stop.unlink()
    (tmp_path / "calls.txt").unlink()
    failures, said = do(plan)
    assert (failures, said[0]) == ([], "5 of 6 trainings: done before")
    assert calls(tmp_path) == [["nnUNetTrainerMSBalanced", "1", "-", "-"]]
    assert do(plan) == ([], ["6 of 6 trainings: done before"])


def test_a_training_that_was_typed_by_hand_is_taken_over(plan, tmp_path):
    run = plan.runs[0]
    fold = plan.results(run) / f"fold_{run.fold}"
    (fold / "validation").mkdir(parents=True)
    (fold / "checkpoint_final.pth").touch()
    assert not is_trained(plan, run)  # it may still be validating
    (fold / "validation" / "summary.json").touch()
    assert is_trained(plan, run)
    do(plan)
    trained = [call[:2] for call in calls(tmp_path)]
    assert len(trained) == 5
    assert ["nnUNetTrainerMSFineTune", str(run.fold)] not in trained
    assert is_done(plan, run.name)


def test_a_prediction_that_lacks_a_study_is_a_failure(plan, tmp_path):
    case = plan.studies.subsets[1][0]
    (tmp_path / "drawn" / "FT" / f"{case}.nii.gz").unlink()
    (failure,), _ = do(plan)
    assert failure.case == "FT_2_t1"
    assert not is_done(plan, "FT_2_t1")
    assert is_trained(plan, next(run for run in plan.runs if run.name == "FT_2_t1"))


def test_gpus_share_the_trainings(plan, tmp_path):
    on = plan_learning_curve(816, plan.source, plan.out, sizes=[2], gpus=[4, 7], **places(tmp_path))
    (tmp_path / "wait").touch()  # until both are at work
    threading.Thread(target=lambda: (both_at_work(tmp_path), (tmp_path / "wait").unlink())).start()
    assert do(on)[0] == []
    used = [call[3] for call in calls(tmp_path)]
    assert len(used) == 6
    assert set(used[:2]) == {"4", "7"}


def both_at_work(folder):
    while len(calls(folder)) < 2:
        time.sleep(0.02)


def test_a_cluster_does_the_trainings(plan, tmp_path):
    here = StandInPlan(**{**vars(plan), "arms": ("DN",)}, folder=tmp_path)
    (tmp_path / "fail_nnUNetTrainerMSBalanced_2").touch()
    (failure,), said = do(here, Dask("local:1"))
    assert failure.case == "DN_2_t2"
    assert "CUDA out of luck" in failure.reason
    assert [line.split(":")[0] for line in said] == ["DN_2_t0", "DN_2_t1"]
    assert [is_done(here, run.name) for run in here.runs] == [True, True, False]


def test_an_image_that_is_missing_is_named(plan):
    case = plan.studies.subsets[2][1]
    image = plan.studies.raw / "imagesTr" / f"{case}_0000.nii.gz"
    image.unlink()
    with pytest.raises(SettingsError, match=rf"{case}_0000\.nii\.gz: expected this file of the dataset, found none"):
        prepare_images(plan)


def test_where_there_are_no_links_files_are_copied(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("no links here")

    (tmp_path / "a").write_bytes(b"voxels")
    monkeypatch.setattr(Path, "symlink_to", refuse)
    place(tmp_path / "a", tmp_path / "b" / "c")
    assert (tmp_path / "b" / "c").read_bytes() == b"voxels"
    assert not (tmp_path / "b" / "c").is_symlink()


# started apart: it interrupts itself
CODE = """
import sys
from pathlib import Path
from nnunet_ms import programs
from nnunet_ms.learning.runs import do_runs
from nnunet_ms.commands import run
import pickle
plan = pickle.loads((Path(sys.argv[1]) / "plan.pickle").read_bytes())
programs.executable = list
sys.exit(run("curve", lambda: len(do_runs(plan, None, print)), "Repeat."))
"""


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL], ids=lambda sign: sign.name)
def test_killed_at_work_it_goes_on_where_it_stopped(plan, tmp_path, sign):
    (tmp_path / "wait").touch()
    here = StandInPlan(**{**vars(plan), "gpus": (0, 1)}, folder=tmp_path)
    (tmp_path / "plan.pickle").write_bytes(pickle.dumps(here))
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while len(calls(tmp_path)) < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    os.kill(process.pid, sign)
    _, errors = process.communicate(timeout=300)
    if sign is signal.SIGKILL:
        assert list(plan.out.glob(".at-work-*"))  # nobody tidied up: the trainings go on, and hold their runs
        (tmp_path / "wait").unlink()
    else:
        assert process.returncode == 130
        assert errors.endswith("Repeat.\n")
        assert not list(plan.out.glob(".at-work-*"))
        (tmp_path / "wait").unlink()
        assert not list(plan.out.rglob("checkpoint_final.pth"))  # they were ended
    assert do(plan)[0] == []
    assert all(is_done(plan, run.name) for run in plan.runs)
