"""The folder of `nnunet-ms-rim features`: against the single functions, after kills, and with what is refused."""

import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest

from nnunet_ms.classification.rim import dataset
from nnunet_ms.classification.rim.cohort import RimCase
from nnunet_ms.classification.rim.dataset import (
    DATASET_LESIONS,
    DATASET_VISITS,
    PROBLEMS,
    rim_dataset,
)
from nnunet_ms.classification.rim.features import feature_names, rim_features
from nnunet_ms.classification.rim.lesion_boxes import BoxSettings, lesions_of, settings_from
from nnunet_ms.classification.rim.lesion_set import read_settings
from nnunet_ms.classification.rim_cli import main
from nnunet_ms.errors import SettingsError
from nnunet_ms.images.volumes import write_volume
from nnunet_ms.locks import sole_run
from nnunet_ms.tables import read_table
from tests.classification.rim.visits import AFFINE, CENTRES, SHAPE, in_mm, volumes, write_points, write_visit


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A manifest of three visits: with labels, without a lesion, with NaN in its QSM."""
    folder = tmp_path_factory.mktemp("study")
    write_visit(folder / "P1")
    write_points(folder / "P1" / "labels.csv", [(*in_mm(CENTRES[2]), 1), (*in_mm(CENTRES[0]), 0), (-25, -15, 10, 1)])
    write_visit(folder / "P2", lesions=np.zeros(SHAPE, dtype=np.uint8))
    qsm = volumes()[0]
    qsm[5, 5, 5] = np.nan
    write_visit(folder / "P3", qsm=qsm)
    rows = ["patient_id,visit,week,qsm,flair,lesions,brain_mask,labels"]
    for patient in ("P1", "P2", "P3"):
        files = [f"{patient}/{name}.nii.gz" for name in ("qsm", "flair", "lesions", "brain_mask")]
        rows.append(",".join([patient, "base", "0", *files, "P1/labels.csv" if patient == "P1" else ""]))
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def done(study):
    return rim_dataset(study / "manifest.csv", study / "out")


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def test_rows_features_and_patches_are_those_of_the_lesions(study, done):
    case = RimCase(
        "P1", "base", 0.0, *(study / "P1" / f"{name}.nii.gz" for name in ("qsm", "flair", "lesions", "brain_mask"))
    )
    lesions = lesions_of(case)
    rows = read_table(done.out / "lesions.csv", DATASET_LESIONS)
    assert rows["patient_id"].tolist() == ["P1"] * 3
    assert rows["label"].fillna(-1).tolist() == [0, -1, 1]
    assert rows["voxels"].tolist() == [lesion.voxels for lesion in lesions]
    features = pd.read_csv(done.out / "features.csv", float_precision="round_trip")
    assert list(features) == ["patient_id", "visit", "lesion_id", *feature_names()]
    with np.load(done.out / "boxes" / "P1_base.npz") as file:
        assert np.array_equal(file["patches"], np.stack([lesion.patch for lesion in lesions]))
        assert file["lesion_id"].tolist() == features["lesion_id"].tolist() == [1, 2, 3]
    for row, lesion in zip(features.itertuples(index=False), lesions, strict=True):
        assert list(row[3:]) == list(rim_features(lesion.qsm_ppb, lesion.mask, lesion.spacing_mm).values())


def test_visits_without_lesions_count_and_failed_ones_are_listed(done):
    visits = read_table(done.out / "rim_visits.csv", DATASET_VISITS)
    counts = ["lesion_count", "labelled", "rim_positive"]
    assert visits.set_index("patient_id")[counts].T.to_dict("list") == {"P1": [3, 2, 1], "P2": [0, 0, 0]}
    problems = read_table(done.out / "label_problems.csv", PROBLEMS)
    assert problems["problem"].tolist() == ["outside"]
    assert [failure.case for failure in done.failures] == ["P3_base"]
    assert "P3" in done.failures[0].reason
    assert (done.out / "failures.csv").read_text().count("\n") == 2


def test_a_lesion_without_qsm_is_not_measured_and_one_partly_without_is_told(tmp_path, capsys):
    qsm = volumes()[0]
    qsm[40:], qsm[:, :, :20] = 0, 0  # the third lesion lies where the map is 0, of the two others a part
    write_visit(tmp_path, qsm=qsm)
    files = "qsm.nii.gz,flair.nii.gz,lesions.nii.gz"
    (tmp_path / "manifest.csv").write_text(f"patient_id,visit,qsm,flair,lesions\nP1,base,{files}\n")
    assert main(["features", str(tmp_path / "manifest.csv"), "-o", str(tmp_path / "out")]) == 1
    told = capsys.readouterr()
    assert "2 lesions lie partly where the map is 0, as outside of a reconstruction (up to" in told.out
    failures = (tmp_path / "out" / "failures.csv").read_text()
    assert 'P1_base lesion 3,"expected QSM below the lesion, found 100% of its' in failures
    rows = read_table(tmp_path / "out" / "lesions.csv", DATASET_LESIONS)
    assert rows["lesion_id"].tolist() == [1, 2]
    assert (rows["no_qsm_share"] > 0.2).all()
    assert read_table(tmp_path / "out" / "rim_visits.csv", DATASET_VISITS)["not_measured"].tolist() == [1]


@pytest.mark.parametrize("workers", [1, 2])
def test_the_same_bytes_again_and_with_two_processes(study, done, tmp_path, workers):
    rim_dataset(study / "manifest.csv", tmp_path / "out", workers=workers)
    assert contents(tmp_path / "out") == contents(done.out)


@pytest.mark.parametrize("at", ["before the box", "between box and note", "half a note", "half a box", "box gone"])
def test_a_killed_run_goes_on(study, done, tmp_path, at, monkeypatch):
    out = tmp_path / "out"
    shutil.copytree(done.out, out)
    before = contents(out)
    for name in ("lesions", "features", "rim_visits", "label_problems", "failures"):
        (out / f"{name}.csv").unlink()
    note, box = out / "visits" / "P1_base.json", out / "boxes" / "P1_base.npz"
    if at == "before the box":
        note.unlink()
        box.unlink()
    elif at == "between box and note":
        note.unlink()
        (out / "visits" / ".partial-P1_base.json-x").mkdir()
    elif at == "half a note":
        note.write_bytes(note.read_bytes()[:1000])
    elif at == "half a box":
        box.write_bytes(box.read_bytes()[:1000])
    else:
        box.unlink()
    measured = []
    real = dataset.visit_lesions
    monkeypatch.setattr(dataset, "visit_lesions", lambda case, s: measured.append(case.case_id) or real(case, s))
    rim_dataset(study / "manifest.csv", out)
    assert contents(out) == before
    assert measured == ["P1_base", "P3_base"]  # the one that failed is tried again


def test_a_changed_file_is_measured_again_and_a_mended_one_at_last(study, tmp_path):
    shutil.copytree(study, tmp_path / "study", ignore=shutil.ignore_patterns("out"))
    manifest, out = tmp_path / "study" / "manifest.csv", tmp_path / "out"
    first = rim_dataset(manifest, out)
    qsm = volumes()[0]
    write_volume(tmp_path / "study" / "P3" / "qsm.nii.gz", qsm, AFFINE)
    write_volume(tmp_path / "study" / "P1" / "qsm.nii.gz", qsm + np.float32(7), AFFINE)
    second = rim_dataset(manifest, out)
    assert not second.failures
    assert second.lesions["patient_id"].tolist() == ["P1"] * 3 + ["P3"] * 3
    mean = "original_firstorder_Mean"
    assert (second.features[mean][:3] - first.features[mean]).tolist() == pytest.approx([7.0] * 3, abs=1e-4)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (BoxSettings(geometry=(32, 32, 32)), "geometry"),
        (BoxSettings(minimum_voxels=31), "minimum_voxels"),
        (BoxSettings(split=False), "split"),
        (BoxSettings(label_reach_mm=1.0), "label_reach_mm"),
        (BoxSettings(unlabelled="rim-"), "unlabelled"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_settings_than_the_folders_are_refused(study, done, settings, name):
    before = contents(done.out)
    with pytest.raises(SettingsError, match=rf"settings.json: expected {name} = .*, as what is there was made with"):
        rim_dataset(study / "manifest.csv", done.out, settings)
    assert contents(done.out) == before
    assert settings_from(read_settings(done.out)) == BoxSettings()


def test_a_folder_of_something_else_is_refused(study, tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(SettingsError, match=r"expected an empty folder, or one of this step, found thesis.tex"):
        rim_dataset(study / "manifest.csv", tmp_path)
    (tmp_path / "thesis.tex").unlink()
    (tmp_path / "settings.json").write_text("[1")
    with pytest.raises(SettingsError, match=r"settings.json: expected the settings of this folder in JSON"):
        rim_dataset(study / "manifest.csv", tmp_path)


def test_the_command_says_what_it_did_and_what_failed(study, done, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["features", str(study / "manifest.csv"), "-o", str(out)]) == 1
    told = capsys.readouterr()
    assert "3 lesions of 2 visits, 2 labelled, 1 of them rim+; 0 smaller ones left out (0 rim+)" in told.out
    assert "1 labels are not the label of one lesion" in told.out
    assert told.err.startswith("nnunet-ms-rim: case P3_base: ")
    assert contents(out) == contents(done.out)
    assert main(["features", str(study / "manifest.csv"), "-o", str(out), "--no-split"]) == 2
    assert "settings.json: expected split = True" in capsys.readouterr().err


def test_a_lesion_that_cannot_be_measured_is_a_failure_of_its_own(tmp_path):
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[20:26, 30, 20] = 1  # a row of voxels
    mask[40:44, 30:34, 20:23] = 1
    case = write_visit(tmp_path, lesions=mask)
    (tmp_path / "manifest.csv").write_text(
        f"patient_id,visit,qsm,lesions\nP1,base,{case.qsm.name},{case.lesions.name}\n"
    )
    found = rim_dataset(tmp_path / "manifest.csv", tmp_path / "out", BoxSettings(minimum_voxels=2))
    assert [failure.case for failure in found.failures] == ["P1_base lesion 1"]
    assert "found a row of 6 voxels" in found.failures[0].reason
    assert found.lesions["lesion_id"].tolist() == found.features["lesion_id"].tolist() == [2]
    note = json.loads((tmp_path / "out" / "visits" / "P1_base.json").read_text())
    assert found.visits["not_measured"].tolist() == [len(note["failures"])] == [1]


def test_a_cohort_without_a_lesion_has_tables_without_rows(tmp_path, capsys):
    case = write_visit(tmp_path, lesions=np.zeros(SHAPE, dtype=np.uint8))
    row = f"P1,base,{case.qsm.name},{case.lesions.name}"
    (tmp_path / "manifest.csv").write_text(f"patient_id,visit,qsm,lesions\n{row}\n")
    assert main(["features", str(tmp_path / "manifest.csv"), "-o", str(tmp_path / "out")]) == 0
    assert "0 lesions of 1 visits, 0 labelled" in capsys.readouterr().out
    features = pd.read_csv(tmp_path / "out" / "features.csv")
    assert len(features) == 0
    assert list(features)[3:] == list(feature_names())
    assert len(read_table(tmp_path / "out" / "lesions.csv", DATASET_LESIONS)) == 0


def test_a_cohort_of_failures_is_told_and_ends_with_one(tmp_path, capsys):
    write_visit(tmp_path)
    (tmp_path / "manifest.csv").write_text("patient_id,visit,qsm,lesions\nP1,base,qsm.nii.gz,nowhere.nii.gz\n")
    assert main(["features", str(tmp_path / "manifest.csv"), "-o", str(tmp_path / "out")]) == 1
    told = capsys.readouterr()
    assert "0 lesions of 0 visits" in told.out
    assert "case P1_base: " in told.err
    assert "nowhere.nii.gz" in told.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--extent-mm", "0"], "extent_mm: expected a number > 0"),
        (["--extent-mm", "nan"], "extent_mm: expected a number > 0"),
        (["--label-reach-mm", "-1"], "label_reach_mm: expected a number >= 0"),
    ],
    ids=["no extent", "nan", "negative reach"],
)
def test_settings_that_make_no_sense_are_refused_before_the_folder_is_made(study, tmp_path, words, message, capsys):
    assert main(["features", str(study / "manifest.csv"), "-o", str(tmp_path / "out"), *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_two_runs_at_once_are_refused(study, done):
    with sole_run(done.out), pytest.raises(SettingsError, match=r"another run is writing it at this moment"):
        rim_dataset(study / "manifest.csv", done.out)


def test_another_mask_of_the_same_size_and_time_is_measured_again(tmp_path):
    write_visit(tmp_path)
    for name, at in (("drawn", CENTRES[0]), ("redrawn", CENTRES[2])):
        ball = np.zeros(SHAPE, np.uint8)
        ball[tuple(slice(c - 3, c + 4) for c in at)] = 1
        write_volume(tmp_path / f"{name}.nii", ball, AFFINE)
        os.utime(tmp_path / f"{name}.nii", (0, 0))  # as archives without times leave them
    found = []
    for name in ("drawn", "redrawn"):
        (tmp_path / "rims.csv").write_text(f"patient_id,visit,qsm,lesions\nP1,base,qsm.nii.gz,{name}.nii\n")
        found.append(rim_dataset(tmp_path / "rims.csv", tmp_path / "out").lesions["x_mm"].tolist())
    assert found == [[in_mm(CENTRES[0])[0]], [in_mm(CENTRES[2])[0]]]
