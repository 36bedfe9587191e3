"""Agreement of masks: from a trial's output, from its evaluation folder, and of cohorts without a trial."""

import shutil
from dataclasses import replace

import pandas as pd
import pytest

from nnunet_ms.comparison.compared_trial import read_trials
from nnunet_ms.comparison.evaluations import find_test_sets
from nnunet_ms.comparison.trial_tables import size_table
from nnunet_ms.errors import SettingsError, TableError
from tests.comparison.conftest import SHORT, write_evaluation, write_output


@pytest.fixture
def trials(outputs):
    return read_trials(outputs)


def test_a_trials_own_output_has_the_agreement_that_its_settings_named(trials):
    # Oracle: agreement.csv of the synthetic trial.
    first, _ = find_test_sets(trials, {}, {})
    dice = first.agreement.set_index("metric").loc["dice"]
    assert (dice["mean"], dice["sd"], dice["n"], dice["rule"]) == (0.72, 0.1, 60, "krishnan2023")
    assert first.sizes.empty


@pytest.mark.parametrize("name", ["Synthetic trial", "first", "the folder"])
def test_an_evaluation_that_the_trial_was_not_computed_with_is_refused(trials, tmp_path, name):
    folder = write_evaluation(tmp_path / "evaluation")
    with pytest.raises(SettingsError, match=r"expected the agreement that .*first was computed with, found another"):
        find_test_sets(trials, {str(trials[0].folder) if name == "the folder" else name: folder}, {})


def test_the_evaluation_that_the_settings_named_is_found_beside_the_output(tmp_path):
    write_evaluation(tmp_path / "evaluation")
    table = pd.read_csv(tmp_path / "evaluation" / "agreement.csv")
    settings = SHORT.replace("agreement.csv", str(tmp_path / "evaluation" / "agreement.csv"))
    write_output(tmp_path / "with", settings, 7)
    write_output(tmp_path / "without", SHORT.replace('agreement = "agreement.csv"', "").replace("Synth", "Other"), 8)
    trials = read_trials([tmp_path / "with", tmp_path / "without"])
    (found,) = find_test_sets(trials, {}, {})
    assert found.folder.samefile(tmp_path / "evaluation")
    assert set(found.agreement["rule"]) == set(table["rule"])
    assert len(found.sizes) == 4
    named = find_test_sets(trials, {"with": tmp_path / "evaluation", "without": tmp_path / "evaluation"}, {})
    assert [one.name for one in named] == ["Synthetic trial", "Otheretic trial"]


MISTAKES = {
    "no such trial": ({"third": "e"}, {}, SettingsError, r"evaluation of 'third': expected one of the trials compared"),
    "no folder": ({}, {"challenge": "nowhere"}, TableError, r"nowhere/agreement\.csv: no such file"),
    "name of a trial": ({}, {"Other trial": "e"}, SettingsError, "expected another name than a trial's"),
    "other lesions": ({}, {"challenge": "e"}, SettingsError, r"expected lesion type t2_lesions.*found \['rim'\]"),
    "no sizes": ({"second": "half"}, {}, TableError, r"size_bins\.csv: no such file"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_mistakes_are_one_line(trials, tmp_path, monkeypatch, kind):
    evaluations, test_sets, error, message = MISTAKES[kind]
    folder = write_evaluation(tmp_path / "e")
    shutil.copytree(folder, tmp_path / "half")
    (tmp_path / "half" / "size_bins.csv").unlink()
    table = pd.read_csv(folder / "agreement.csv")
    table.assign(lesion_type="rim").to_csv(folder / "agreement.csv", index=False)
    monkeypatch.chdir(tmp_path)
    trials[1] = trials[1] if kind != "no sizes" else without_agreement(trials[1])
    with pytest.raises(error, match=message):
        find_test_sets(trials, evaluations, test_sets)


def without_agreement(trial):
    return replace(trial, inputs={}, files={})


@pytest.mark.parametrize("raters", [("reference",), ("model",), ("reference", "model")])
def test_a_table_of_lesions_gives_sizes_without_agreement(trials, tmp_path, raters):
    # Oracle: counting by hand. 2, 10, 11, 50 and 51 voxels: 2 of 5 have at most 10, 4 at most 50.
    (tmp_path / "measured").mkdir()
    row = {
        "case_id": "c",
        "patient_id": "p",
        "visit": "v",
        "week": 0,
        "volume_ml": 0.1,
        "x_mm": 0,
        "y_mm": 0,
        "z_mm": 0,
    }
    rows = [
        {**row, "rater": rater, "lesion_type": "t2_lesions", "lesion_id": i, "voxels": n}
        for rater in raters
        for i, n in enumerate((2, 10, 11, 50, 51), start=1)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "measured" / "lesions.csv", index=False)
    masks = find_test_sets(trials, {"first": tmp_path / "measured"}, {"cohort": tmp_path / "measured"})
    assert [one.name for one in masks] == ["Synthetic trial", "Other trial", "cohort"]
    assert len(masks[0].agreement) == 8  # its own output's
    assert masks[-1].agreement.empty
    table = size_table(trials, masks)
    assert [line for line in table.lines if line[0].startswith("cohort")] == [
        [f"cohort, {rater}", "5", "40.0", "80.0"] for rater in raters
    ]
    assert table.lines[0] == ["rule not named"]
