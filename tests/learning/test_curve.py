"""A whole learning curve: a stand-in trains and predicts, the real evaluation scores; the truth is drawn by hand."""

import json
import sys
from inspect import signature
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from nnunet_ms import programs
from nnunet_ms.analysis import evaluate_cli
from nnunet_ms.errors import ModelError, NnunetMsError, SettingsError
from nnunet_ms.learning import scoring
from nnunet_ms.learning.cli import build_parser, main
from nnunet_ms.learning.curve import RUNS, learning_curve, notes, plan_learning_curve
from nnunet_ms.learning.curve_tables import COMPARISONS, CURVE
from nnunet_ms.learning.scoring import SCORES
from nnunet_ms.tables import FAILURES, read_table
from tests.learning.centre import NAME, calls, cyclic, places, program, save, write_centre

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links of POSIX")


def draw(folder, subsets):
    """FT finds both lesions; DN finds the large one and draws one that is not there, in S05 nothing at all."""
    lesions = np.zeros((4, 10, 10, 8))
    small, large, false, nothing = lesions
    small[1:3, 1:3, 1:3] = large[6:9, 6:9, 4:6] = false[1:3, 7:9, 6:8] = 1
    for case in (case for subset in subsets for case in subset):
        save(folder / "drawn" / "FT" / f"{case}.nii.gz", small + large)
        save(folder / "drawn" / "DN" / f"{case}.nii.gz", nothing if case == "S05" else large + false)
    for case in subsets[0]:
        save(folder / "drawn" / "grader" / f"{case}.nii.gz", small)


def evaluated_here(command, folder, log, environment):
    assert command[0] == "nnunet-ms-evaluate"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.touch()
    return evaluate_cli.main(command[1:])


@pytest.fixture(scope="module")
def curve(tmp_path_factory):
    folder = tmp_path_factory.mktemp("curve")
    draw(folder, write_centre(folder))
    said = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(programs, "executable", program(folder))
        patch.setattr(scoring, "run_logged", evaluated_here)
        options = {"sizes": [2], "grader2": folder / "drawn" / "grader", "note": "made up", **places(folder)}
        options["say"] = said.append
        first = learning_curve(816, folder / "source.pth", folder / "out", **options)
        trained = len(calls(folder))
        again = learning_curve(816, folder / "source.pth", folder / "out", **options)
    assert len(calls(folder)) == trained == 6
    return first, again, said


def test_scores_are_those_of_the_drawing(curve):
    found, *_ = curve
    scores = read_table(found.out / "scores.csv", SCORES).set_index(["metric", "arm", "study"])["value"]
    for number in range(6):
        study = f"S{number:02d}"
        assert (scores["sensitivity", "FT", study], scores["ppv", "FT", study]) == (1, 1)
        assert scores["sensitivity", "DN", study] == (0 if number == 5 else 0.5)
    assert [scores["ppv", "DN", f"S{n:02d}"] for n in range(5)] == [0.5] * 5
    assert np.isnan(scores["ppv", "DN", "S05"])
    assert [scores["sensitivity", "grader", study] for study in ("S00", "S01")] == [0.5, 0.5]
    assert [scores["ppv", "grader", study] for study in ("S00", "S01")] == [1, 1]


def test_tables_hold_all_studies_and_the_published_values_apart(curve):
    found, *_ = curve
    means = read_table(found.out / "learning_curve.csv", CURVE).set_index(["metric", "arm"])
    assert means.loc["ppv", "DN"][["mean", "n", "n_undefined", "n_missing"]].tolist() == [0.5, 5, 1, 0]
    assert means.loc["sensitivity", "DN"]["mean"] == pytest.approx(2.5 / 6)
    assert np.isnan(means.loc["ppv", "DN"]["published_mean"])  # the paper has no model of 2 studies
    assert means.loc["ppv", "grader"]["published_mean"] == 0.74
    assert set(means["data_note"]) == {"made up"}
    comparisons = read_table(found.out / "comparisons.csv", COMPARISONS)
    assert set(comparisons["family"]) == {"anova", "arms", "grader"}
    runs = read_table(found.out / "runs.csv", RUNS)
    assert runs["done"].all()
    assert runs[["n_train", "n_test"]].to_numpy().tolist() == [[2, 2]] * 6
    assert (found.out / "learning_curve.svg").is_file()
    assert len(read_table(found.out / "failures.csv", FAILURES)) == 0


def test_a_second_call_trains_nothing_and_finds_the_same(curve):
    first, again, said = curve
    pd.testing.assert_frame_equal(first.scores, again.scores)
    pd.testing.assert_frame_equal(first.comparisons, again.comparisons)
    assert "6 of 6 trainings: done before" in said
    assert any(line.startswith("default model: not scored") and "is in no results folder" in line for line in said)


@pytest.mark.parametrize("changed", ["reference", "prediction", "patient", "nothing"])
def test_scores_follow_the_references_masks_and_cases_of_a_later_call(tmp_path, monkeypatch, changed):
    draw(tmp_path, write_centre(tmp_path, each=1))
    monkeypatch.setattr(programs, "executable", program(tmp_path))
    monkeypatch.setattr(scoring, "run_logged", evaluated_here)
    raw = tmp_path / "raw" / NAME

    def learnt():
        return learning_curve(816, None, tmp_path / "out", arms=["DN"], sizes=[1], **places(tmp_path)).scores

    first = learnt()
    assert first.query("metric == 'sensitivity'")["value"].tolist() == [0.5] * 3
    large = np.zeros((10, 10, 8))
    large[6:9, 6:9, 4:6] = 1  # all that DN finds
    if changed == "reference":
        save(raw / "labelsTr" / "S00.nii.gz", large)
    if changed == "prediction":
        save(tmp_path / "out" / "runs" / "DN_1_t0" / "predicted" / "S00.nii.gz", 0 * large)
    if changed == "patient":
        (raw / "cases.csv").write_text((raw / "cases.csv").read_text().replace("PS00", "other"))
    again = learnt().query("study == 'S00' and metric == 'sensitivity'").iloc[0]
    expected = {"reference": 1.0, "prediction": 0.0}.get(changed, 0.5)
    assert (again["value"], again["patient_id"]) == (expected, "other" if changed == "patient" else "PS00")


def test_the_command_goes_on_in_the_same_folder_and_prints_both_numbers(curve, monkeypatch, capsys):
    found, *_ = curve
    folder = found.out.parent
    monkeypatch.setenv("nnUNet_raw", str(folder / "raw"))
    monkeypatch.setenv("nnUNet_preprocessed", str(folder / "preprocessed"))
    words = ["816", "--source", str(folder / "source.pth"), "--sizes", "2", "-o", str(found.out)]
    assert main([*words, "--dry-run"]) == 0
    script = capsys.readouterr().out.splitlines()
    assert sum(line == "#   done before" for line in script) == 6
    assert not [line for line in script if "nnUNetv2_train" in line]
    graded = ["--grader2", str(folder / "drawn" / "grader"), "--data-note", "made up"]
    assert main([*words, *graded, "--arms", "FT, DN"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["ppv", "DN", "2", "0.500", "0.000", "5", "1", "-"] in lines
    assert ["ppv", "grader", "1.000", "0.000", "2", "0", "0.740"] in lines
    assert ["6", "of", "6", "trainings:", str(found.out)] in lines
    assert main(["816", "--arms", "FT", "-o", str(found.out)]) == 2
    assert "--source: expected a checkpoint to fine-tune, found none" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--sizes", "10;20"], "expected whole numbers with commas between, found '10;20'"),
        (["--sizes", "ten"], "expected whole numbers"),
        (["--gpus", "0,x"], "expected whole numbers"),
        (["--trainers", "FT"], "expected such as FT=nnUNetTrainerMSFineTuneSmall, found 'FT'"),
        (["--dask", "local:0"], "expected local:N with N >= 1"),
        (["--dask", "local:1", "--gpus", "0"], "not allowed with argument"),
    ],
)
def test_words_that_are_no_option_are_refused(words, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["816", *words])
    assert message in capsys.readouterr().err


def test_the_command_passes_every_argument_of_the_function():
    names = set(signature(learning_curve).parameters) - {"say", "raw", "preprocessed"}
    assert set(vars(build_parser().parse_args(["816"]))) - {"dry_run"} == names


def test_where_nothing_could_be_trained_it_is_an_error(tmp_path, monkeypatch):
    write_centre(tmp_path)
    monkeypatch.setattr(programs, "executable", program(tmp_path))
    for fold in range(3):
        (tmp_path / f"fail_nnUNetTrainerMSBalanced_{fold}").touch()
    options = {"arms": ["DN"], "sizes": [2], **places(tmp_path)}
    with pytest.raises(NnunetMsError, match=r"none of 3 trainings could be scored\. DN_2_t0: exit code 1"):
        learning_curve(816, None, tmp_path / "out", **options)
    runs = read_table(tmp_path / "out" / "runs.csv", RUNS)
    assert not runs["done"].any()
    assert runs["reason"].str.startswith("exit code 1, expected").all()


def test_another_curve_in_the_same_folder_is_refused_before_anything_is_done(curve, tmp_path):
    found, *_ = curve
    write_centre(tmp_path)
    (tmp_path / "source.pth").write_bytes(b"other weights")
    with pytest.raises(SettingsError, match=r"plan\.json: source was .* now it is"):
        learning_curve(816, tmp_path / "source.pth", found.out, sizes=[2], **places(tmp_path))


def damaged(path):
    path.write_bytes(path.read_bytes()[:-200])


SOURCES = {
    "cut off": (damaged, "cannot read it"),
    "a pointer": (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1"), "cannot read it"),
    "empty": (lambda path: path.write_bytes(b""), "cannot read it"),
    "no dict": (lambda path: torch.save([1, 2], path), "a dict, found list"),
    "code": (lambda path: torch.save({"weight": Path}, path), "loading it could run code"),
}


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_that_cannot_be_read_is_refused_before_anything_is_trained(tmp_path, monkeypatch, name):
    write_centre(tmp_path)
    monkeypatch.setattr(programs, "executable", program(tmp_path))
    spoil, words = SOURCES[name]
    spoil(tmp_path / "source.pth")
    with pytest.raises(ModelError, match=rf"source\.pth: .*{words}"):
        learning_curve(816, tmp_path / "source.pth", tmp_path / "out", sizes=[2], **places(tmp_path))
    assert not (tmp_path / "calls.txt").exists()


@pytest.mark.parametrize("channels", [("T1", "T1post"), ("T1",)])
def test_a_source_of_other_channels_is_no_default_model(tmp_path, monkeypatch, channels):
    draw(tmp_path, write_centre(tmp_path))
    monkeypatch.setattr(programs, "executable", program(tmp_path))
    source = tmp_path / "Trainer__Plans__3d" / "fold_0" / "checkpoint_final.pth"
    source.parent.mkdir(parents=True)
    torch.save({"weight": torch.zeros(3)}, source)
    (source.parents[1] / "plans.json").write_text("{}")
    described = {"channel_names": {str(i): name for i, name in enumerate(channels)}}
    (source.parents[1] / "dataset.json").write_text(json.dumps(described))
    said = []
    for fold in range(3):
        (tmp_path / f"fail_nnUNetTrainerMSFineTune_{fold}").touch()
    with pytest.raises(NnunetMsError, match="none of 3 trainings"):
        learning_curve(816, source, tmp_path / "out", arms=["FT"], sizes=[2], say=said.append, **places(tmp_path))
    assert f"default model: not scored, its channels are {', '.join(channels)}, not FLAIR" in said


@pytest.mark.parametrize(
    ("trainers", "told"),
    [
        ({}, False),
        ({"FT": "nnUNetTrainerMSFineTuneSmall", "DN": "nnUNetTrainerMSBalancedSmall"}, False),
        ({"FT": "nnUNetTrainerMSFineTuneMultiArm", "DN": "nnUNetTrainerMSDeNovoMultiArm"}, False),
        ({"FT": "nnUNetTrainerMSFineTuneSmall"}, True),
        ({"DN": "nnUNetTrainer"}, True),
    ],
)
def test_arms_that_differ_in_more_than_the_source_are_told(tmp_path, trainers, told):
    write_centre(tmp_path, each=1)
    plan = plan_learning_curve(816, tmp_path / "source.pth", trainers=trainers, **places(tmp_path))
    assert any("differ in more than the source" in line for line in notes(plan)) == told
    alone = plan_learning_curve(816, tmp_path / "source.pth", trainers=trainers, arms=["FT"], **places(tmp_path))
    assert notes(alone) == []


def test_uneven_subsets_and_a_dataset_without_cases_are_told(tmp_path):
    write_centre(tmp_path)
    splits = tmp_path / "preprocessed" / NAME / "splits_final.json"
    splits.write_text(json.dumps(cyclic([["S00"], ["S01", "S02"], ["S03", "S04"]])))
    (tmp_path / "raw" / NAME / "cases.csv").unlink()
    plan = plan_learning_curve(816, tmp_path / "source.pth", **places(tmp_path))
    told = " ".join(notes(plan))
    assert "subsets hold 1 to 2 studies: N counts the smallest" in told
    assert "every study counts as a patient of its own" in told
    assert scoring._cases(plan, ["S03", "S04"])["patient_id"].tolist() == ["S03", "S04"]


def test_studies_without_lesions_are_told_before_training(tmp_path):
    write_centre(tmp_path, empty=("S01", "S04"))
    plan = plan_learning_curve(816, tmp_path / "source.pth", **places(tmp_path))
    assert notes(plan) == ["2 studies have no lesion, their sensitivity is undefined: S01, S04"]
