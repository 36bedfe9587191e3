"""Any number of training cases from 0 up; a patient trains or tests; what went wrong is told before what follows."""

import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from nnunet_ms.dataset_conversion.cases import Case, Mask
from nnunet_ms.dataset_conversion.cli import main
from nnunet_ms.dataset_conversion.convert import check, convert
from nnunet_ms.dataset_conversion.raw_dataset.roles import assign_roles, make_folds, without_leaks
from nnunet_ms.errors import ConversionError
from nnunet_ms.parallel import Failure
from tests.dataset_conversion.conftest import convert_trial, edit, save

MASK = Mask({"t2_lesions": "mask.nii.gz"})
SPLITS = "splits_final.json"


def drop_masks(manifest, patients=("P1", "P2", "P3"), visits=("base", "w24")):
    def empty(frame):
        frame.loc[frame["patient_id"].isin(patients) & frame["visit"].isin(visits), "t2_lesions"] = ""

    edit(manifest, empty)


def only(manifest, *patients):
    rows = pd.read_csv(manifest, dtype=str)
    rows[rows["patient_id"].isin(patients)].to_csv(manifest, index=False)


# who has masks, options -> patients who train, folds, what is said
FEW = {
    "no mask at all": (lambda m: drop_masks(m), [], set(), None, "no training case, so no folds"),
    "no column of masks": (
        lambda m: pd.read_csv(m, dtype=str).drop(columns="t2_lesions").to_csv(m, index=False),
        [],
        set(),
        None,
        "no training case, so no folds",
    ),
    "one patient, without a mask": (
        lambda m: (only(m, "P2"), drop_masks(m)),
        [],
        set(),
        None,
        "no training case, so no folds",
    ),
    "all are test patients": (lambda _: None, ["--test-patients", "P1,P2,P3"], set(), None, "no training case"),
    "all are test patients, folds asked for": (
        lambda _: None,
        ["--test-patients", "P1,P2,P3", "--folds", "5"],
        set(),
        None,
        "no training case",
    ),
    "one trains": (lambda m: drop_masks(m, ("P1", "P3")), [], {"P2"}, None, "one training patient, so no folds"),
    "two train": (
        lambda m: drop_masks(m, ("P1",)),
        [],
        {"P2", "P3"},
        2,
        "2 training patients, so 2 folds instead of 3",
    ),
    "three train": (lambda _: None, [], {"P1", "P2", "P3"}, 3, ""),
}


@pytest.mark.parametrize("what", FEW)
def test_any_number_of_training_patients(trial, raw, capsys, what):
    change, words, trained, folds, said = FEW[what]
    change(trial)
    assert convert_trial(trial, raw, "--dry-run", *words) == 0
    dry = capsys.readouterr().out.splitlines()[:-1]
    assert convert_trial(trial, raw, *words) == 0
    printed = capsys.readouterr().out.splitlines()[:-1]
    assert dry == printed
    assert printed == [] if not said else any(said in line for line in printed)
    folder = raw / "Dataset005_Trial"
    cases = pd.read_csv(folder / "cases.csv", dtype=str)
    assert set(cases.loc[cases["role"] == "train", "patient_id"]) == trained
    assert json.loads((folder / "dataset.json").read_text())["numTraining"] == 2 * len(trained)
    assert (folder / "imagesTr").exists() == bool(trained)
    assert len(list(folder.glob("images*/*_0000.nii.gz"))) == len(cases)
    assert (folder / SPLITS).exists() == (folds is not None)
    if folds:
        assert len(json.loads((folder / SPLITS).read_text())) == folds


@pytest.mark.parametrize("folds", [1, 3, 4])
def test_folds_that_are_asked_for_and_cannot_be_are_refused_also_in_a_dry_run(trial, raw, folds):
    drop_masks(trial, ("P1",))
    for dry_run in (True, False):
        with pytest.raises(ConversionError, match=f"found 2 training patients and --folds {folds}"):
            convert(trial, dataset_id=5, raw=raw, folds=folds, dry_run=dry_run)
    assert not raw.exists()


@pytest.mark.parametrize(
    ("visits", "tests", "left"),
    [
        (("w24",), [], ["P1_w24"]),
        (("base",), [], ["P1_base"]),
        (("w24",), ["P1"], []),  # who tests may lack masks
        (("w24", "base"), [], []),
    ],
)
def test_no_patient_trains_and_tests(trial, raw, visits, tests, left):
    drop_masks(trial, ("P1",), visits)
    done = convert(trial, dataset_id=5, raw=raw, test_patients=tests)
    assert [failure.case for failure in done.failures] == left
    cases = pd.read_csv(done.folder / "cases.csv", dtype=str)
    assert cases.groupby("patient_id")["role"].nunique().max() == 1
    if not tests:
        assert sorted(check(trial).failed) == left


def test_a_row_with_one_of_two_masks_is_named_and_one_with_neither_is_predicted(trial, raw):
    def split(frame):
        frame["t1_unenhancing"] = frame["t1_enhancing"] = frame.pop("t2_lesions")
        frame.loc[0, "t1_enhancing"] = ""
        frame.loc[2:3, ["t1_unenhancing", "t1_enhancing"]] = ""

    edit(trial, split)
    done = convert(trial, dataset_id=5, raw=raw, target="t1_unenhancing,t1_enhancing")
    assert [failure.case for failure in done.failures] == ["P1_base"]
    assert "no path for ['t1_enhancing']" in done.failures[0].reason
    cases = pd.read_csv(done.folder / "cases.csv", dtype=str).set_index("case_id")["role"]
    assert cases.to_dict() == {
        "P1_w24": "train", "P2_base": "test", "P2_w24": "test", "P3_base": "train", "P3_w24": "train"
    }  # fmt: skip


def test_roles_and_leaks_of_a_dataset_that_is_added_to():
    cases = [Case("old", "2", None, {}, MASK), Case("known", "2", None, {}, None), Case("new", "", None, {}, MASK)]
    assert assign_roles(cases, (), frozenset({"old"})) == {"old_2": "test", "known_2": "test", "new": "train"}
    assert [bool(case.problem) for case in without_leaks(cases, (), frozenset({"known"}))] == [False, True, False]


def test_folds_of_few():
    assert make_folds({}, None, 0) == []
    with pytest.raises(ConversionError, match="--seed -1: expected a whole number"):
        make_folds({"a": "A", "b": "B"}, None, -1)


# failures stand before what follows from them ------------------------------------------------------------------------


@pytest.fixture
def elsewhere(tmp_path):
    """Three patients whose T1 lies far from their FLAIR: no registration may move a head that far."""
    rng, rows = np.random.default_rng(0), []
    ball = np.linalg.norm(np.indices((24, 24, 24)) - 11.5, axis=0) < 9
    for patient in ("P1", "P2", "P3"):
        data = (ball * rng.integers(300, 900, ball.shape)).astype(np.int16)
        mask = np.zeros(ball.shape, np.uint8)
        mask[10:13, 10:13, 10:13] = 1
        save(tmp_path / f"study/{patient}/flair.nii.gz", data, (4, 4, 4))
        save(tmp_path / f"study/{patient}/mask.nii.gz", mask, (4, 4, 4))
        affine = np.diag([4.0, 4, 4, 1])
        affine[:3, 3] = 150
        nib.save(nib.Nifti1Image(data // 2, affine), tmp_path / f"study/{patient}/t1.nii.gz")
        paths = {name: f"{patient}/{file}.nii.gz" for name, file in (("flair", "flair"), ("t1", "t1"))}
        rows.append({"patient_id": patient, "visit": "1", "week": 0, **paths, "t2_lesions": f"{patient}/mask.nii.gz"})
    pd.DataFrame(rows).to_csv(tmp_path / "study/manifest.csv", index=False)
    return tmp_path / "study" / "manifest.csv"


def test_registrations_that_fail_are_told_before_that_nothing_is_left(elsewhere, raw, capsys):
    words = [str(elsewhere), "--channels", "flair,t1", "--dataset-id", "5", "--raw", str(raw), "--align", "rigid"]
    assert main(["trial", *words]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[1] for line in lines] == [*(f"case P{n}_1" for n in (1, 2, 3)), "Dataset005_Trial"]
    for number, line in enumerate(lines[:3], start=1):
        assert f"P{number}/t1.nii.gz onto" in line
        assert "expected the head to move less than 100 mm" in line
        assert "give it the origin of the other" in line
    assert "none of 3 cases could be written" in lines[3]
    assert not raw.exists()


def test_the_error_carries_them_where_nobody_was_told(elsewhere, raw):
    with pytest.raises(ConversionError, match="none of 3 cases could be written") as raised:
        convert(elsewhere, dataset_id=5, raw=raw, channels="flair,t1", steps={"align": "rigid"})
    assert [note.split(":")[0] for note in raised.value.__notes__] == ["case P1_1", "case P2_1", "case P3_1"]


def test_too_few_for_the_folds_after_a_registration_failed_names_it_first(elsewhere, raw):
    for patient in ("P1", "P2"):  # these two are fine
        image = nib.load(elsewhere.parent / patient / "t1.nii.gz")
        save(elsewhere.parent / patient / "t1.nii.gz", np.asarray(image.dataobj), (4, 4, 4))
    said, wanted = [], {"channels": "flair,t1", "steps": {"align": "rigid"}, "dataset_id": 5, "raw": raw}
    with pytest.raises(ConversionError, match="found 2 training patients and --folds 3"):
        convert(elsewhere, folds=3, say=said.append, **wanted)
    assert [line.case for line in said if isinstance(line, Failure)] == ["P3_1"]
    said.clear()
    done = convert(elsewhere, say=said.append, **wanted)
    assert len(done.cases) == 2
    assert said.index("2 training patients, so 2 folds instead of 3") > said.index(done.failures[0])
