"""The plan of a learning curve: the paper's trainings as commands, and what may not change between two runs."""

import json
import re
import shlex
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from nnunet_ms.dataset_conversion.raw_dataset.folds import learning_curve_folds
from nnunet_ms.errors import OptionError, SettingsError
from nnunet_ms.learning import plan as plans
from nnunet_ms.learning.cli import main
from nnunet_ms.learning.curve import plan_learning_curve
from nnunet_ms.learning.plan import claim, script
from tests.learning.centre import cyclic, places, write_centre


@pytest.fixture(scope="module")
def sixty(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sixty")
    write_centre(folder, subsets=6, each=10)
    return folder


def plan(folder, **options):
    return plan_learning_curve(816, folder / "source.pth", folder / "out", **{**places(folder), **options})


def test_the_folds_of_these_tests_are_those_of_the_converter():
    folds = learning_curve_folds({f"S{i}": f"S{i}" for i in range(6)}, 3, 0)
    assert cyclic([fold["val"] for fold in folds[:3]]) == folds


def test_sixty_studies_are_thirty_models_per_arm(sixty):
    # Wahlig et al.: 30 fine-tuned and 30 de novo models of 10 to 50 studies, every study tested once per size.
    runs = plan(sixty).runs
    assert Counter((run.arm, run.size) for run in runs) == {
        (a, n): 6 for a in ("FT", "DN") for n in (10, 20, 30, 40, 50)
    }
    assert sorted(run.fold for run in runs if run.arm == "DN") == list(range(30))
    assert len({run.name for run in runs}) == 60


def test_the_script_is_runnable_and_says_what_is_done(sixty):
    found = plan(sixty, sizes=[10], device="cpu")
    lines = list(script(found, {"FT_10_t1": True}))
    commands = [shlex.split(line) for line in lines if not line.startswith("#")]
    assert commands[0][0] == "export"
    assert f"nnUNet_results={sixty.resolve() / 'out' / 'results'}" in commands[0]
    assert commands[1] == [
        *(f"NNUNET_MS_SOURCE={(sixty / 'source.pth').resolve()}", "NNUNET_MS_SOURCE_POLICY=all"),
        *("nnUNetv2_train", "816", "3d_fullres", "0"),
        *("-tr", "nnUNetTrainerMSFineTune", "-p", "nnUNetPlansMS", "-device", "cpu", "--c"),
    ]
    assert commands[2][:4] == ["nnUNetv2_train", "816", "3d_fullres", "0"]
    assert "nnUNetTrainerMSBalanced" in commands[2]
    assert len(commands) == 12  # export, 6 + 6, one of which is done
    assert "#   done before" in lines
    assert not (sixty / "out").exists()


def test_gpus_take_turns_in_the_script(sixty):
    lines = list(script(plan(sixty, arms=["DN"], gpus=[1, 3]), {}))
    found = [line.split()[0] for line in lines if "nnUNetv2_train" in line]
    assert found[:3] == ["CUDA_VISIBLE_DEVICES=1", "CUDA_VISIBLE_DEVICES=3", "CUDA_VISIBLE_DEVICES=1"]


def test_the_source_reaches_the_arm_that_is_fine_tuned_alone(sixty, monkeypatch):
    monkeypatch.setenv("NNUNET_MS_SOURCE", "another.pth")
    monkeypatch.setenv("NNUNET_MS_SOURCE_POLICY", "encoder")
    found = plan(sixty)
    assert found.environment("FT")["NNUNET_MS_SOURCE"] == str((sixty / "source.pth").resolve())
    assert found.environment("FT")["NNUNET_MS_SOURCE_POLICY"] == "all"
    assert not [name for name in found.environment("DN") if name.startswith("NNUNET_MS_SOURCE")]


def test_trainers_variables_and_policies_are_those_of_the_trainers():
    from nnunet_ms.doors.classes import CLASSES, TRAINERS
    from nnunet_ms.trainers import fine_tune
    from nnunet_ms.trainers.source_weights import POLICIES

    assert set(plans.TRAINERS.values()) <= set(CLASSES[TRAINERS])
    assert (plans.SOURCE_VARIABLE, plans.POLICY_VARIABLE) == (fine_tune.SOURCE, fine_tune.POLICY)
    assert plans.POLICIES == POLICIES
    # both arms differ in what they begin with, and in nothing else that a class says
    classes = fine_tune.nnUNetTrainerMSFineTune.__mro__
    assert any(one.__name__ == plans.TRAINERS["DN"] for one in classes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arms": ["FT", "scratch"]}, r"--arms: expected one of 'FT', 'DN', found 'scratch'"),
        ({"arms": ["ft"]}, r"--arms: expected one of 'FT', 'DN', found 'ft'"),
        ({"arms": []}, r"--arms: expected different arms out of FT, DN, found \[\]"),
        ({"arms": ["DN", "DN"]}, r"--arms: expected different arms out of FT, DN"),
        ({"task": "t2"}, r"--task: expected one of 'flair', 'new', 'enhancing', found 't2'"),
        ({"task": "New"}, r"--task: .* Did you mean 'new'\?"),
        ({"policy": "head"}, r"--policy: expected one of 'all', 'all_but_head', 'encoder', found 'head'"),
        ({"trainers": {"ft": "nnUNetTrainer"}}, r"--trainers: expected one of 'FT', 'DN', found 'ft'"),
        ({"gpus": [0, 0]}, r"--gpus: expected different numbers >= 0, found \[0, 0\]"),
        ({"sizes": [10.0]}, r"--sizes: expected a list of whole numbers, such as \[1, 2\], found \[10.0\]"),
        ({"sizes": "10,20"}, r"--sizes: expected a list of whole numbers, .* found '10,20'"),
        ({"sizes": 10}, r"--sizes: expected a list of whole numbers, .* found 10"),
        ({"sizes": [True]}, r"--sizes: expected a list of whole numbers, .* found \[True\]"),
        ({"sizes": [0]}, r"--sizes: expected multiples of 10, .* found \[0\]"),
        ({"gpus": [0.5]}, r"--gpus: expected a list of whole numbers, .* found \[0.5\]"),
        ({"gpus": "0,1"}, r"--gpus: expected a list of whole numbers, .* found '0,1'"),
        ({"device": "gpu"}, r"--device: expected one of 'cuda', 'cpu', 'mps', found 'gpu'"),
        ({"trainers": {"FT": "nnUNetTrainerMSBalanced"}}, r"FT=nnUNetTrainerMSBalanced: .* begins with the source"),
        ({"trainers": {"FT": "nnUNetTrainerMSDeNovoMultiArm"}}, r"expected a trainer that begins with the source"),
        ({"trainers": {"DN": "nnUNetTrainerMSFineTuneSmall"}}, r"expected a trainer that begins with none, such as"),
        (
            {"trainers": {"FT": "nnUNetTrainerMSFineTuneSmal"}},
            r"--trainers FT: .* Did you mean 'nnUNetTrainerMSFineTune",
        ),
        ({"trainers": {"DN": "nnUNetTrainerMSNone"}}, r"--trainers DN: expected one of .* found 'nnUNetTrainerMSNone'"),
        ({"trainers": {"FT": "nnUNetTrainer_5epochs"}}, r"FT=nnUNetTrainer_5epochs: .* begins with the source"),
        ({"trainers": {"FT": "nnUNetTrainer"}}, r"FT=nnUNetTrainer: expected a trainer that begins with the source"),
        ({"trainers": {"DN": "nnUNetTrainerOurFineTune"}}, r"expected a trainer that begins with none"),
        ({"gpus": [-1]}, r"--gpus: expected different numbers >= 0"),
        ({"gpus": [0], "device": "cpu"}, r"--gpus: expected device cuda, found cpu"),
        ({"sizes": [60]}, r"60 studies are 6 subsets of 10, expected at most 5"),
        (
            {"grader2": "nowhere"},
            r"--grader2 .*nowhere: expected masks of the first subset, such as S00.* no such folder",
        ),
    ],
)
def test_what_is_not_known_is_refused_with_the_known_ones(sixty, options, message):
    with pytest.raises(SettingsError, match=message):
        plan(sixty, **options)


def test_a_folder_with_masks_of_other_studies_is_no_second_grader(sixty):
    (sixty / "other").mkdir(exist_ok=True)
    (sixty / "other" / "Z1.nii.gz").touch()
    with pytest.raises(SettingsError, match=r"found 1 other masks"):
        plan(sixty, default_masks=sixty / "other")


def test_a_source_is_needed_for_fine_tuning_alone(sixty):
    with pytest.raises(SettingsError, match=r"--source: expected a checkpoint to fine-tune, found none"):
        plan_learning_curve(816, None, **places(sixty))
    with pytest.raises(SettingsError, match=r"--source .*lost\.pth: expected a checkpoint, found no such file"):
        plan_learning_curve(816, sixty / "lost.pth", **places(sixty))
    assert plan_learning_curve(816, None, arms=["DN"], **places(sixty)).source is None


def test_misspelt_arguments_are_answered(sixty):
    with pytest.raises(TypeError, match=r"unknown argument 'size'\. Did you mean 'sizes'"):
        plan(sixty, size=[10])


def changed_source(folder):
    (folder / "source.pth").write_bytes(b"other weights")
    return plan(folder)


CHANGES = {
    "source": changed_source,
    "task": lambda folder: plan(folder, task="new"),
    "policy": lambda folder: plan(folder, policy="encoder"),
    "trainers": lambda folder: plan(folder, trainers={"DN": "nnUNetTrainerMSBalancedSmall"}),
    "subsets": lambda folder: replace(
        plan(folder), studies=replace(plan(folder).studies, subsets=(("S00",), ("S01",)))
    ),
    "plans": lambda folder: replace(plan(folder), plans="nnUNetResEncPlans"),
    "configuration": lambda folder: replace(plan(folder), configuration="2d"),
    "tta": lambda folder: plan(folder, tta=False),
    "label": lambda folder: replace(plan(folder), studies=replace(plan(folder).studies, label="rim")),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_plan_that_changed_between_two_runs_is_refused(tmp_path, name):
    write_centre(tmp_path)
    (tmp_path / "out").mkdir()
    claim(plan(tmp_path))
    with pytest.raises(
        SettingsError, match=rf"plan\.json: {name} was .* now it is .*Ask for what was planned, or choose"
    ):
        claim(CHANGES[name](tmp_path))


def test_sizes_arms_and_gpus_may_change_between_two_runs(tmp_path):
    write_centre(tmp_path)
    (tmp_path / "out").mkdir()
    claim(plan(tmp_path, sizes=[2]))
    claim(plan(tmp_path, sizes=[2, 4], gpus=[0]))
    claim(plan(tmp_path, device="cpu"))


@pytest.mark.parametrize("form", ["moved", "as earlier versions wrote it"])
def test_the_same_source_in_another_folder_is_the_same_plan(tmp_path, form):
    write_centre(tmp_path)
    (tmp_path / "out").mkdir()
    claim(plan(tmp_path))
    note = tmp_path / "out" / "plan.json"
    assert str(tmp_path) not in note.read_text()
    if form != "moved":
        content = json.loads(note.read_text())
        del content["tta"]
        content["source"]["file"] = str(tmp_path / "elsewhere" / "source.pth")
        note.write_text(json.dumps(content))
    wanted = plan(tmp_path)
    (tmp_path / "moved").mkdir()
    source = (tmp_path / "source.pth").rename(tmp_path / "moved" / "source.pth")
    claim(replace(wanted, source=source))


def test_mirrored_images_can_be_left_out(sixty):
    with_them, without = (plan(sixty, tta=tta) for tta in (True, False))
    run = with_them.runs[0]
    expected = [*with_them.predict(run, sixty / "m")[:-1], "--no-tta", "--continue"]
    assert list(without.predict(run, sixty / "m")) == expected


def test_a_folder_with_other_files_is_refused_and_trainings_by_hand_are_welcome(tmp_path):
    write_centre(tmp_path)
    (tmp_path / "out" / "results").mkdir(parents=True)
    claim(plan(tmp_path))
    (tmp_path / "out" / "plan.json").unlink()
    (tmp_path / "out" / "letter.txt").touch()
    with pytest.raises(SettingsError, match=r"expected an empty folder or a learning curve, found letter\.txt"):
        claim(plan(tmp_path))


def test_option_errors_are_value_errors(sixty):
    with pytest.raises(OptionError, match="--task"):
        plan(sixty, task="")


@pytest.mark.parametrize("sizes", [[4, 2], (2, 4), np.array([4, 2]), iter([2, 4])])
def test_sizes_in_any_order_and_of_any_whole_numbers_are_one_plan(tmp_path, sizes):
    write_centre(tmp_path)
    assert [(run.size, run.k, run.fold) for run in plan(tmp_path, sizes=sizes, arms=["DN"]).runs] == [
        *((2, 1, fold) for fold in (0, 1, 2)),
        *((4, 2, fold) for fold in (3, 4, 5)),
    ]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ("plan", r"plan\.json: policy was \"all\" in the earlier run, now it is \"encoder\""),
        ("letter", r"expected an empty folder or a learning curve, found letter\.txt"),
        ("lesions", r"no study of subset 1 .* has a lesion"),
        ("no checkpoint", r"source\.pth: expected a checkpoint to fine-tune"),
        ("no source", r"--source .*source\.pth: expected a checkpoint, a file, found a folder\. Name a file\."),
        ("folder of folds", r"found a folder\. Name one of its files, such as .*fold_0.checkpoint_final\.pth"),
    ],
)
def test_a_dry_run_refuses_what_the_run_would(tmp_path, monkeypatch, capsys, spoil, message):
    write_centre(tmp_path, empty=("S02", "S03") if spoil == "lesions" else ())
    for name in ("raw", "preprocessed"):
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
    (tmp_path / "out").mkdir()
    if spoil == "plan":
        claim(plan(tmp_path))
    if spoil == "letter":
        (tmp_path / "out" / "letter.txt").touch()
    source = tmp_path / "source.pth"
    if spoil == "no checkpoint":
        source.write_text('{"channel_names": {"0": "FLAIR"}}')
    if spoil in ("no source", "folder of folds"):
        source.unlink()
        (source / "fold_0").mkdir(parents=True)
    if spoil == "folder of folds":
        (source / "fold_0" / "checkpoint_final.pth").touch()
    words = ["816", "--source", str(source), "-o", str(tmp_path / "out"), "--policy", "encoder"]
    before = sorted(tmp_path.rglob("*"))
    assert main([*words, "--dry-run"]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert sorted(tmp_path.rglob("*")) == before
