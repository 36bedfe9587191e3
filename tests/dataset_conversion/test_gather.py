"""Several sources in one dataset, and a dataset that is added to: whose patients are whose, and who stays where."""

import json

import numpy as np
import pandas as pd
import pytest

from nnunet_ms.dataset_conversion.cli import main
from nnunet_ms.dataset_conversion.convert import check, convert
from nnunet_ms.dataset_conversion.raw_dataset.existing import extended_folds, read_existing
from nnunet_ms.dataset_conversion.raw_dataset.write_back import write_back
from nnunet_ms.errors import ConversionError
from tests.dataset_conversion.conftest import SHAPE, edit, save, tree

NAMES = {"flair": "FLAIR", "t1": "T1W", "label": "consensus_gt"}


def mask():
    data = np.zeros(SHAPE, np.uint8)
    data[3:5, 3, 2] = 1
    return data


def publish(root, patients, form="{patient}/{name}.nii.gz", names=("FLAIR", "T1W", "consensus_gt"), seed=0):
    for number, patient in enumerate(patients):
        for name in names:
            rng = np.random.default_rng([seed, number, len(name)])
            data = (
                mask() if name in ("consensus_gt", "MASK", "lesion") else rng.integers(1, 900, SHAPE).astype(np.int16)
            )
            save(root / form.format(patient=patient, name=name), data)
    return root


@pytest.fixture
def two(tmp_path):
    """open_ms with P1 and P2 and, of another kind, MSLesSeg with P2 and P3; MSLesSeg's P2 is somebody else."""
    publish(tmp_path / "ljubljana", ("P1", "P2"))
    publish(tmp_path / "catania", ("P2", "P3"), "train/{patient}/{patient}_{name}.nii.gz", ("FLAIR", "T1", "MASK"), 1)
    return tmp_path / "ljubljana", tmp_path / "catania"


def test_two_kinds_of_source_in_one_call(two, raw, capsys):
    words = ["open_ms", str(two[0]), "--also", "mslesseg", str(two[1]), "--channels", "flair,t1"]
    assert main([*words, "--dataset-id", "5", "--raw", str(raw)]) == 0
    assert "1 patients (P2) have one id in several kinds of source and are different persons" in capsys.readouterr().out
    folder = raw / "Dataset005_OpenMS"
    cases = pd.read_csv(folder / "cases.csv", dtype=str).set_index("case_id")
    assert cases["source"].to_dict() == {
        "P1": "open_ms", "open_ms-P2": "open_ms", "mslesseg-P2": "mslesseg", "P3": "mslesseg"
    }  # fmt: skip
    assert cases.loc["P3", "source_flair"] == "mslesseg/train/P3/P3_FLAIR.nii.gz"
    content = json.loads((folder / "dataset.json").read_text())
    assert "Lesjak" in content["citation"]
    assert "Guarnera" in content["citation"]
    assert content["licence"].startswith("CC-BY; ")
    done = check(two[0], "open_ms", also=[("mslesseg", two[1])], channels="flair,t1")
    assert (done.cases, done.failed) == (4, frozenset())
    back = write_back(folder, folder / "labelsTr", folder.parent / "back")
    assert len({path.parent for path in back}) == 4


def test_two_manifests_of_one_trial_have_the_same_persons(trial, raw, tmp_path):
    later = tmp_path / "later"
    for patient in ("P1", "P9"):
        save(later / patient / "flair.nii.gz", np.random.default_rng(len(patient) + 77).random(SHAPE))
        save(later / patient / "mask.nii.gz", mask())
    save(later / "P9" / "flair.nii.gz", np.random.default_rng(78).random(SHAPE))
    rows = [
        {"patient_id": p, "visit": "w48", "week": 48, "flair": f"{p}/flair.nii.gz", "t2_lesions": f"{p}/mask.nii.gz"}
        for p in ("P1", "P9")
    ]
    pd.DataFrame(rows).to_csv(later / "manifest.csv", index=False)
    also = [("trial", later / "manifest.csv")]
    done = convert(trial, dataset_id=5, raw=raw, channels="flair", also=also)
    assert done.patients == ("P1", "P2", "P3", "P9")
    cases = pd.read_csv(done.folder / "cases.csv", dtype=str).set_index("case_id")
    assert (cases.loc["P1_base", "source"], cases.loc["P1_w48", "source"]) == ("trial", "trial-2")
    for fold in json.loads((done.folder / "splits_final.json").read_text()):
        assert not {case.split("_")[0] for case in fold["train"]} & {case.split("_")[0] for case in fold["val"]}
    with pytest.raises(
        ConversionError, match="patient P1 visit base and patient P1 visit base both become case P1_base"
    ):
        convert(trial, dataset_id=6, raw=raw, channels="flair", also=[("trial", trial)])


@pytest.mark.parametrize("words", ["open_ms,variants=raw", "open_ms,variant=", "open_ms,folds=2"])
def test_options_of_further_sources_that_cannot_be(two, raw, capsys, words):
    assert main(["open_ms", str(two[0]), "--also", words, str(two[1]), "--dataset-id", "5", "--raw", str(raw)]) == 2
    assert f"--also {words}: expected KIND, or KIND,variant=NAME" in capsys.readouterr().err


# a dataset that is added to -------------------------------------------------------------------------------------------


@pytest.fixture
def written(trial, raw):
    return convert(trial, dataset_id=5, raw=raw, channels="flair,t1", test_patients=["P3"]).folder


def folds(folder):
    return json.loads((folder / "splits_final.json").read_text())


def test_a_dataset_gets_a_second_source_and_keeps_what_it_had(written, two, capsys):
    before, old = tree(written), folds(written)
    assert main(["open_ms", str(two[0]), "--add-to", str(written)]) == 0
    said = capsys.readouterr().out
    assert "2 patients (P1, P2) are in the dataset already: taken for the same persons" in said
    assert "run nnUNetv2_plan_and_preprocess again" in said
    after = tree(written)
    tables = {"cases.csv", "dataset.json", "splits_final.json"}
    assert {name: sum_ for name, sum_ in after.items() if name in set(before) - tables} == {
        name: sum_ for name, sum_ in before.items() if name not in tables
    }
    cases = pd.read_csv(written / "cases.csv", dtype=str).set_index("case_id")
    assert cases.loc[["P1_base", "P1"], "source"].tolist() == ["Trial", "open_ms"]
    assert cases.loc["P3_base", "role"] == "test"
    content = json.loads((written / "dataset.json").read_text())
    assert content["numTraining"] == 6
    assert content["name"] == "Trial"
    assert "Lesjak" in content["citation"]
    for one, other in zip(old, folds(written), strict=True):
        assert set(one["val"]) == {case for case in other["val"] if case not in ("P1", "P2")}
        assert set(one["train"]) == {case for case in other["train"] if case not in ("P1", "P2")}
    assert len(list((written / "imagesTr").iterdir())) == 12


def test_patients_who_test_go_on_testing_and_who_trains_needs_masks(written, trial, tmp_path):
    for patient, with_mask in (("P3", True), ("P1", False), ("P7", True), ("P8", False)):
        folder = tmp_path / "new" / patient
        save(folder / "FLAIR.nii.gz", np.random.default_rng(ord(patient[1])).random(SHAPE))
        save(folder / "T1W.nii.gz", np.random.default_rng(ord(patient[1]) + 40).random(SHAPE))
        if with_mask:
            save(folder / "consensus_gt.nii.gz", mask())
    done = convert(tmp_path / "new", "open_ms", add_to=written)
    assert [failure.case for failure in done.failures] == ["P1"]
    cases = pd.read_csv(written / "cases.csv", dtype=str).set_index("case_id")["role"]
    assert cases[["P3", "P7", "P8"]].tolist() == ["test", "train", "test"]
    assert [fold["val"].count("P7") for fold in folds(written)].count(1) == 1


def test_an_interrupted_addition_leaves_the_dataset_as_it_was(written, two, monkeypatch):
    before = tree(written)
    monkeypatch.setattr(
        "nnunet_ms.dataset_conversion.raw_dataset.write._cases_table",
        lambda *_: (_ for _ in ()).throw(KeyboardInterrupt),
    )
    with pytest.raises(KeyboardInterrupt):
        convert(two[0], "open_ms", add_to=written)
    assert {name: value for name, value in tree(written).items() if not name.startswith(".")} == before
    monkeypatch.undo()
    assert len(convert(two[0], "open_ms", add_to=written).cases) == 2


def test_another_kind_with_the_id_of_a_known_kind_is_somebody_else(two, raw):
    publish(two[0].parent / "more", ("P5",), seed=3)
    also = [("open_ms", two[0].parent / "more")]
    first = convert(two[0], "open_ms", dataset_id=5, raw=raw, channels="flair,t1", also=also)
    done = convert(two[1], "mslesseg", add_to=first.folder)
    assert done.cases == ("mslesseg-P2", "P3")
    assert done.notes[0].startswith("1 patients (P2, ...) have the id of another source's")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dataset_id": 7}, "expected no --dataset-id, --name, --raw and --overwrite"),
        ({"name": "Other"}, "expected no --dataset-id, --name"),
        ({"channels": "flair"}, r"expected channels \['flair', 't1'\] and labels .* found \['flair'\]"),
        ({"test_patients": ["P9"]}, r"\['P9'\] are not among"),
    ],
)
def test_what_does_not_fit_a_dataset(written, two, arguments, message):
    before = tree(written)
    with pytest.raises(ConversionError, match=message):
        convert(two[0], "open_ms", add_to=written, **arguments)
    assert tree(written) == before


def test_the_same_source_twice_and_no_dataset(written, trial, tmp_path):
    with pytest.raises(ConversionError, match=r"expected new cases, found 6 that are there already \(P1_base\)"):
        convert(trial, add_to=written)
    with pytest.raises(ConversionError, match="expected a raw dataset with dataset"):
        convert(trial, add_to=tmp_path)


def test_folds_that_are_asked_for_or_cannot_be_extended_are_made_anew(written, trial, two):
    done = convert(two[0], "open_ms", add_to=written, folds=2)
    assert len(folds(written)) == 2
    curve = [{"train": ["P1_base", "P1_w24"], "val": ["P2_base"]}, {"train": ["P1_base"], "val": ["P2_base"]}]
    (written / "splits_final.json").write_text(json.dumps(curve))

    def other(frame):
        frame["visit"] = frame["visit"] + "b"

    edit(trial, other)
    done = convert(trial, add_to=written, channels="flair,t1")
    assert any("the folds are made anew (they were no cross-validation by patient)" in note for note in done.notes)


def test_folds_are_extended_one_patient_at_a_time_to_the_smallest():
    old = [{"train": ["b", "c"], "val": ["a"]}, {"train": ["a"], "val": ["b", "c"]}]
    people = {"a": "A", "b": "B", "c": "C", **{name: name.upper() for name in "defg"}}
    new = extended_folds(old, people, seed=3)
    assert [len(fold["val"]) for fold in new] == [4, 3]
    assert {"a"} <= set(new[0]["val"])
    assert {"b", "c"} <= set(new[1]["val"])
    for fold in new:
        assert sorted([*fold["train"], *fold["val"]]) == sorted(people)
    assert extended_folds([], people, 0) is None


def test_what_a_dataset_is(written):
    found = read_existing(written)
    assert found.channels == ("flair", "t1")
    assert (found.patients("train"), found.patients("test")) == ({"P1", "P2"}, {"P3"})
