"""`convert` and `check` from Python, against the command: the same datasets, byte by byte, and the same words."""

import json

import numpy as np
import pytest
import SimpleITK

from nnunet_ms.dataset_conversion.cli import main
from nnunet_ms.dataset_conversion.convert import check, convert
from nnunet_ms.errors import ConversionError, NnunetMsError, OptionError
from nnunet_ms.images.volumes import read_volume
from nnunet_ms.parallel import Failure
from tests.dataset_conversion.conftest import save, tree

ID = ["--dataset-id", "5"]


@pytest.fixture
def mixed(trial):
    """The small trial with every kind of work: one visit is bad, one image lies elsewhere, one mask is float."""
    base = trial.parent / "images"
    (base / "P2" / "base" / "flair.nii.gz").write_bytes(b"no image")
    save(base / "P1" / "base" / "t1.nii.gz", np.random.default_rng(1).random((20, 24, 6)), spacing=(1.0, 1.0, 4.0))
    save(base / "P3" / "w24" / "mask.nii.gz", np.eye(10, 12, dtype=np.float32)[..., None].repeat(6, 2))
    return trial


SAME = {
    "defaults": ([], {}),
    "a list of channels": (["--channels", "flair,t1", "--folds", "2"], {"channels": ["flair", "t1"], "folds": 2}),
    "text with commas": (
        ["--channels", "t2, flair", "--test-patients", "P3", "--folds", "2"],
        {"channels": "t2, flair", "test_patients": "P3", "folds": 2},
    ),
    "name, seed, one test patient of a list": (
        ["--name", "Other", "--seed", "4", "--test-patients", "P1", "--folds", "2"],
        {"name": "Other", "seed": 4, "test_patients": ["P1"], "folds": 2},
    ),
    "steps, unread voxels, two processes": (
        ["--spacing", "1x1x3", "--headers-only", "--workers", "2"],
        {"steps": {"spacing": (1.0, 1.0, 3.0)}, "headers_only": True, "workers": 2},
    ),
}


@pytest.mark.parametrize("case", SAME)
def test_the_dataset_is_the_commands_byte_by_byte_and_what_is_said_is_what_it_prints(
    mixed, raw, tmp_path, capsys, case
):
    words, arguments = SAME[case]
    before = tree(mixed.parent)
    assert main(["trial", str(mixed), *ID, "--raw", str(raw), *words]) == 1
    printed = capsys.readouterr()
    said = []
    done = convert(str(mixed), dataset_id=5, raw=str(tmp_path / "other"), say=said.append, **arguments)
    assert tree(tmp_path / "other") == tree(raw)
    assert tree(mixed.parent) == before
    assert capsys.readouterr() == ("", "")
    assert [line for line in said if isinstance(line, str)] == printed.out.splitlines()[:-1] == list(done.notes)
    assert done.summary().replace("other", "raw") == printed.out.splitlines()[-1]
    failures = [line for line in said if isinstance(line, Failure)]
    assert failures == list(done.failures)
    assert [f"nnunet-ms-convert: case {f.case}: {f.reason}" for f in failures] == printed.err.splitlines()


def test_the_result_says_what_was_written(mixed, raw):
    # Oracle: how `mixed` was made
    done = convert(mixed, "trial", dataset_id=5, raw=raw)
    assert done.folder == raw / "Dataset005_Trial"
    assert done.cases == ("P1_base", "P1_w24", "P2_w24", "P3_base", "P3_w24")
    assert done.patients == ("P1", "P2", "P3")
    assert [failure.case for failure in done.failures] == ["P2_base"]
    assert done.notes == ("P1_base: t1 resampled onto flair",)
    assert done.resampled == {"P1_base": ("t1",)}
    assert done.written
    assert done.summary() == f"wrote {done.folder}: 5 cases of 3 patients, 1 left out"


def test_nothing_is_written_in_a_dry_run_and_its_result_is_else_the_same(mixed, raw):
    done = convert(mixed, dataset_id=5, raw=raw, dry_run=True)
    assert not done.written
    assert not raw.exists()
    real = convert(mixed, dataset_id=5, raw=raw)
    assert (done.folder, done.cases, done.patients, done.notes, done.resampled) == (
        real.folder,
        real.cases,
        real.patients,
        real.notes,
        real.resampled,
    )
    assert done.summary().startswith("would write ")


def test_tables_of_a_bids_data_set_come_along_as_with_the_command(bids_study, raw, tmp_path, capsys):
    options = ["--channels", "flair", "--prefer", "run=last"]
    assert main(["bids", str(bids_study), *ID, "--raw", str(raw), *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    done = convert(bids_study, "bids", dataset_id=5, raw=tmp_path / "other", channels="flair", prefer="run=last")
    assert tree(tmp_path / "other") == tree(raw)
    assert (
        list(done.notes) == lines[:-1] == [f"with {n}.csv from the tables of bids" for n in ("patients", "assessments")]
    )


def test_nnunets_folder_is_taken_where_none_is_named(trial, raw, monkeypatch):
    monkeypatch.setenv("nnUNet_raw", str(raw))
    assert convert(trial, dataset_id=7).folder == raw / "Dataset007_Trial"
    with pytest.raises(ConversionError, match="number 7 is taken by Dataset007_Trial"):
        convert(trial, dataset_id=7)
    assert convert(trial, dataset_id=7, overwrite=True).written


def test_steps_are_named_in_provenance_and_not_among_what_was_resampled(mixed, raw):
    threads = SimpleITK.ProcessObject.GetGlobalDefaultNumberOfThreads()
    done = convert(mixed, dataset_id=5, raw=raw, steps={"spacing": "isotropic", "threads": threads + 1})
    assert done.resampled == {}
    assert SimpleITK.ProcessObject.GetGlobalDefaultNumberOfThreads() == threads  # the caller's, not the steps'
    assert read_volume(done.folder / "imagesTr" / "P1_base_0000.nii.gz").grid.spacing == pytest.approx((2, 2, 2))
    assert json.loads((done.folder / "provenance" / "P1_base.json").read_text())["steps"][0]["step"] == "resample"


WRONG = {
    "kind": ({"kind": "trail"}, OptionError, r"kind: expected one of 'trial', .* Did you mean 'trial'\?"),
    "step": ({"steps": {"n5": True}}, OptionError, r"steps: expected one of 'reorient', 'n4'.* found 'n5'"),
    "alignment": ({"steps": {"align": "elastic"}}, OptionError, "align: expected one of '', 'rigid', 'affine', found"),
    "spacing": ({"steps": {"spacing": (1, 1)}}, OptionError, r"spacing: expected three edges .* found \(1, 1\)"),
    "channel": ({"channels": ["flair", "t3"]}, ConversionError, r"--channels flair,t3: expected different names among"),
    "target": ({"target": "lesions"}, ConversionError, "--target lesions: expected different names among"),
    "rater": ({"rater": "1"}, ConversionError, "--rater is for ms3seg, isbi2015, .*; remove it for trial"),
    "variant": (
        {"variant": "raw"},
        ConversionError,
        "--variant is for open_ms, ms3seg, isbi2015, .*; remove it for trial",
    ),
    "preference": ({"prefer": "run=1"}, ConversionError, "--prefer is for bids; remove it for trial"),
    "patient": ({"test_patients": ["P9"]}, ConversionError, r"\['P9'\] are not among the 3 patients"),
    "folds": ({"folds": 1}, ConversionError, "expected at least 2 folds"),
    "seed": ({"seed": -1}, ConversionError, "--seed -1: expected a whole number >= 0"),
    "name": ({"name": "a/b"}, ConversionError, "--name a/b: expected letters, digits, dash"),
    "number": ({"dataset_id": 0}, ConversionError, "--dataset-id 0: expected 1 to 999"),
    "no number": ({"dataset_id": "5"}, ConversionError, "--dataset-id 5: expected 1 to 999"),
    "two brain masks": ({"steps": {"hd_bet": True, "apply_brain_mask": True}}, ConversionError, "found two. Leave one"),
}


@pytest.mark.parametrize("what", WRONG)
def test_arguments_that_cannot_be(trial, raw, what):
    arguments, error, message = WRONG[what]
    with pytest.raises(error, match=message) as raised:
        convert(trial, **{"dataset_id": 5, "raw": raw, **arguments})
    assert isinstance(raised.value, NnunetMsError)
    assert not raw.exists()


def test_patients_may_be_numbers(trial, raw):
    with pytest.raises(ConversionError, match=r"\['104670'\] are not among"):  # and not: 'int' object is not iterable
        convert(trial, dataset_id=5, raw=raw, test_patients=[104670])


def test_when_no_case_is_good_the_error_carries_the_reasons(trial, raw):
    for path in trial.parent.rglob("flair.nii.gz"):
        path.write_bytes(b"no image")
    with pytest.raises(ConversionError, match="none of 6 cases can be converted") as raised:
        convert(trial, dataset_id=5, raw=raw)
    assert [note.split(": ")[0] for note in raised.value.__notes__] == [
        f"case {patient}_{visit}" for patient in ("P1", "P2", "P3") for visit in ("base", "w24")
    ]
    said = []
    with pytest.raises(ConversionError, match="none of 6 cases can be converted") as raised:
        convert(trial, dataset_id=5, raw=raw, say=said.append)
    assert len(said) == 6
    assert not hasattr(raised.value, "__notes__")  # who was told needs no second list
    assert not raw.exists()


def test_an_error_after_the_check_names_the_cases_that_are_missing(mixed, raw):
    with pytest.raises(ConversionError, match="found 3 training patients and --folds 4") as raised:
        convert(mixed, dataset_id=5, raw=raw, folds=4)
    assert [note.split(": ")[0] for note in raised.value.__notes__] == ["case P2_base"]
    assert not raw.exists()


# check ----------------------------------------------------------------------------------------------------------


def test_check_returns_what_the_command_prints(mixed, capsys):
    assert main(["check", "trial", str(mixed), "--json"]) == 1
    content = json.loads(capsys.readouterr().out)
    before = tree(mixed.parent)
    found = check(str(mixed))
    assert capsys.readouterr() == ("", "")
    assert found.cases == content["cases"] == 6
    assert [vars(row) for row in found.problems] == content["problems"]
    assert [(row.severity, row.case) for row in found.problems] == [("error", "P2_base"), ("note", "P1_base")]
    assert found.problems[1].problem == "t1 will be resampled onto flair"
    assert found.failed == {"P2_base"}
    assert tree(mixed.parent) == before


def test_check_refuses_what_convert_refuses(trial):
    with pytest.raises(OptionError, match="kind: expected one of 'trial'"):
        check(trial, "study")
    with pytest.raises(ConversionError, match="--prefer is for bids"):
        check(trial, prefer="run=1")
