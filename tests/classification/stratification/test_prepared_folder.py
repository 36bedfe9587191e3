"""The folder of `nnunet-ms-stratify prepare`: made-up brains in MNI152 space, and what goes wrong."""

import json
import re
import shutil
import sys

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from nnunet_ms.classification.stratification import preparation, prepared_folder
from nnunet_ms.classification.stratification.preparation import PreparationSettings
from nnunet_ms.classification.stratification.prepared_folder import prepare_cohort, read_prepared
from nnunet_ms.classification.stratify_cli import main
from nnunet_ms.errors import ImageError, SettingsError, TableError
from nnunet_ms.images.itk import resample, to_itk, voxels
from nnunet_ms.images.template import mni152, mni152_brain
from nnunet_ms.images.volumes import Grid

GRID = Grid((48, 56, 46), np.array([[4.0, 0, 0, -94], [0, 4, 0, -128], [0, 0, 4, -84], [0, 0, 0, 1]]))
IN_MNI = PreparationSettings(edge_mm=4.0, in_mni=True)
EDSS = {"P1": 1.5, "P2": 6.0, "P3": 3.0, "P4": 2.5}


@pytest.fixture(scope="module")
def brain():
    mask = to_itk(mni152_brain().astype(np.uint8), mni152().grid)
    return voxels(resample(mask, GRID, np.eye(4), is_label=True)) > 0


def labels_of(brain):
    """Slabs from below: brainstem, deep grey, ventricle, grey, white matter."""
    height = GRID.to_world(np.indices(GRID.shape).reshape(3, -1).T)[:, 2].reshape(GRID.shape)
    return np.where(brain, np.select([height < -40, height < -10, height < 0, height < 30], [16, 10, 4, 3], 2), 0)


def write(folder, brain, changes=None):
    """Manifest and files of four patients; `changes` replace cells."""
    folder.mkdir(exist_ok=True)
    labels, rows = labels_of(brain), []
    for number, (patient, edss) in enumerate(EDSS.items()):
        random = np.random.default_rng(number)
        t1 = np.where(brain, labels + 5 + 0.2 * random.normal(size=GRID.shape), 0)
        files = {"t1": t1, "flair": np.where(brain, 20 - t1, 0), "brain_mask": brain, "region_labels": labels}
        for name, data in files.items():
            kind = np.float32 if name in ("t1", "flair") else np.uint8
            nib.save(nib.Nifti1Image(data.astype(kind), GRID.affine), folder / f"{patient}_{name}.nii.gz")
        row = {name: f"{patient}_{name}.nii.gz" for name in files}
        rows.append({"patient_id": patient, "visit": "w0", "scan_day": 0, "edss_day": 30, "edss": edss, **row})
    table = pd.DataFrame(rows).assign(age_years=[30, 50, 45, 38], sex=["F", "M", "F", "F"], field_tesla=3.0)
    for (row, name), value in (changes or {}).items():
        table.loc[row, name] = value
    table.to_csv(folder / "manifest.csv", index=False)
    return folder / "manifest.csv"


@pytest.fixture(scope="module")
def manifest(tmp_path_factory, brain):
    return write(tmp_path_factory.mktemp("cohort"), brain)


@pytest.fixture(scope="module")
def done(manifest, tmp_path_factory):
    return prepare_cohort(manifest, tmp_path_factory.mktemp("out") / "prepared", IN_MNI)


def test_rows_are_those_of_the_manifest_and_volumes_those_of_the_labels(done, manifest, brain):
    scans = done.scans.set_index("patient_id")
    assert scans["disabled"].to_dict() == {"P1": 0, "P2": 1, "P3": 1, "P4": 0}
    assert scans.loc["P2", ["visit", "age_years", "sex", "edss", "days_to_edss"]].tolist() == ["w0", 50, "M", 6.0, 30]
    counted = np.bincount(labels_of(brain).ravel(), minlength=17) * 0.064
    volumes = scans.loc["P1", ["wm_ml", "gm_ml", "sgm_ml", "ventricles_ml", "brainstem_ml", "brain_ml"]].astype(float)
    np.testing.assert_allclose(volumes, [*counted[[2, 3, 10, 4, 16]], brain.sum() * 0.064])
    assert (scans["regions_from"] == "labels").all()
    assert (scans["brain_dice"] > 0.97).all()  # the template's own brain
    assert done.left_out.empty
    assert done.failures == []


def test_what_is_read_is_what_was_written(done):
    again = read_prepared(done.folder)
    pd.testing.assert_frame_equal(again.scans, done.scans, check_dtype=False)
    scan = again.load("P3_w0")
    assert scan.images.shape == (2, 40, 48, 40)
    np.testing.assert_allclose(scan.images[:, scan.brain].mean(axis=1), 0, atol=1e-5)
    assert {path.name for path in (done.folder / "overview").iterdir()} == {f"{name}_w0.png" for name in EDSS}
    with pytest.raises(TableError, match=r"expected a case_id of scans.csv, found P9. Choose"):
        again.load("P9")


def test_a_repeated_call_prepares_nothing_and_reads_the_patients_numbers_anew(done, manifest, tmp_path, monkeypatch):
    folder = shutil.copytree(done.folder, tmp_path / "prepared")
    table = pd.read_csv(manifest)
    table.loc[0, "edss"] = 7.0
    table.to_csv(manifest.parent / "changed.csv", index=False)
    monkeypatch.setattr(prepared_folder, "prepare_scan", None)
    again = prepare_cohort(manifest.parent / "changed.csv", folder, IN_MNI)
    assert again.scans["disabled"].tolist() == [1, 1, 1, 0]


def test_a_killed_run_goes_on_and_a_changed_file_is_read_again(done, brain, tmp_path, monkeypatch):
    manifest = write(tmp_path / "cohort", brain)
    real, seen = prepared_folder.prepare_scan, []

    def kill_at_third(case, settings):
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(case.case_id)
        return real(case, settings)

    monkeypatch.setattr(prepared_folder, "prepare_scan", kill_at_third)
    with pytest.raises(KeyboardInterrupt):
        prepare_cohort(manifest, tmp_path / "out", IN_MNI, pictures=False)
    monkeypatch.setattr(prepared_folder, "prepare_scan", lambda *of: seen.append(of[0].case_id) or real(*of))
    whole = prepare_cohort(manifest, tmp_path / "out", IN_MNI, pictures=False)
    assert seen == ["P1_w0", "P2_w0", "P3_w0", "P4_w0"]
    pd.testing.assert_frame_equal(whole.scans, done.scans)
    flair = tmp_path / "cohort" / "P2_flair.nii.gz"
    nib.save(nib.Nifti1Image(np.asarray(nib.load(flair).dataobj) * 2 + brain, GRID.affine), flair)
    prepare_cohort(manifest, tmp_path / "out", IN_MNI, pictures=False)
    assert seen[4:] == ["P2_w0"]


def test_other_settings_and_other_folders_are_refused(manifest, done, tmp_path):
    with pytest.raises(SettingsError, match=r"settings.json: expected edge_mm = 4.0, as what is there .*, found 2.0"):
        prepare_cohort(manifest, done.folder, PreparationSettings(in_mni=True))
    with pytest.raises(SettingsError, match=r"expected NiftySeg's tissue priors, found no niftyseg_WM"):
        prepare_cohort(manifest, tmp_path / "out", PreparationSettings(priors=tmp_path))
    with pytest.raises(TableError, match=r"expected a folder of nnunet-ms-stratify prepare, found no scans\.csv"):
        read_prepared(tmp_path)


def test_a_damaged_scan_is_named(done, tmp_path):
    folder = shutil.copytree(done.folder, tmp_path / "prepared")
    path = folder / "scans" / "P1_w0.npz"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ImageError, match=r"P1_w0.npz: expected a scan .*Repeat nnunet-ms-stratify prepare"):
        read_prepared(folder).load("P1_w0")


def test_no_machines_paths_stand_in_what_is_written(done, manifest):
    for path in (*done.folder.glob("*.*"), *done.folder.glob("notes/*")):
        assert str(manifest.parent) not in path.read_text(encoding="utf-8")
    settings = json.loads((done.folder / "settings.json").read_text(encoding="utf-8"))
    assert (settings["labels_of"], settings["in_mni"], settings["edge_mm"]) == ("aseg", True, 4.0)


# what a user may get wrong: cells of the manifest or files, the exit code, and what is said
WRONG_CELLS = {
    "half a point": ({(1, "edss"): 0.5}, "row 2 .*column edss: expected 0, 1, 1.5, ... 10 .0.5 does not exist"),
    "a quarter": ({(1, "edss"): 4.25}, "row 2 .*column edss: .*found 4.25"),
    "beyond the scale": ({(1, "edss"): 10.5}, "row 2.*column edss.*10.5"),
    "below the scale": ({(0, "edss"): -1}, "row 1.*column edss.*-1"),
    "one class": ({(1, "edss"): 1.0, (2, "edss"): 2.0}, "expected scans with EDSS >= 3 and below, found 0 and 4"),
    "no times": ({(1, "edss_day"): None}, "row 2.*found one of the two times"),
    "one file for two": ({(1, "flair"): "P1_flair.nii.gz"}, "row 2, column flair.*that of row 1 too"),
    "one file, spelt in two ways": ({(1, "t1"): "./P1_t1.nii.gz"}, "row 2, column t1.*that of row 1 too"),
    "a name that leaves the folder": ({(0, "patient_id"): "../x"}, r"row 1 .*column patient_id: expected a plain name"),
    "a visit with a slash": ({(2, "visit"): "w/0"}, r"row 3 .*column visit: expected a plain name .*found 'w/0'"),
    "a name that Windows forbids": ({(3, "visit"): "w0:a"}, r"row 4 .*column visit: expected a plain name"),
    "two spellings": ({(1, "patient_id"): "p1"}, "row 2, column patient_id: expected one spelling .*'p1' and 'P1'"),
    "one name of files": (
        {(0, "patient_id"): "A_b", (0, "visit"): "c", (1, "patient_id"): "A", (1, "visit"): "B_c"},
        "rows 1 and 2: expected names of their own, found A_B_c",
    ),
    "two sexes": ({(1, "patient_id"): "P1", (1, "visit"): "w24"}, "one sex of patient P1, found F and M"),
}


@pytest.mark.parametrize(("changes", "line"), WRONG_CELLS.values(), ids=WRONG_CELLS)
def test_a_manifest_that_cannot_be_meant_ends_the_command(manifest, tmp_path, capsys, changes, line):
    table = pd.read_csv(manifest)
    table["edss_day"] = table["edss_day"].astype(float)
    for (row, name), value in changes.items():
        table.loc[row, name] = value
    table.to_csv(tmp_path / "manifest.csv", index=False)
    assert main(["prepare", str(tmp_path / "manifest.csv"), "-o", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert re.search(line, said), said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def spoil(folder, kind, brain):
    """Spoil a file of P2."""
    path = folder / {"unknown ids": "P2_region_labels.nii.gz", "no file": "P2_t1.nii.gz"}.get(kind, "P2_flair.nii.gz")
    if kind == "no file":
        path.unlink()
    elif kind == "damaged":
        path.write_bytes(path.read_bytes()[:2000])
    elif kind == "unknown ids":
        nib.save(nib.Nifti1Image((brain * 502).astype(np.int16), GRID.affine), path)
    elif kind == "four dimensions":
        nib.save(nib.Nifti1Image(np.stack([brain, brain], axis=-1).astype(np.float32), GRID.affine), path)
    elif kind == "one value":
        nib.save(nib.Nifti1Image(brain.astype(np.float32), GRID.affine), path)


SPOILT = {
    "no file": "P2_t1.nii.gz",
    "damaged": "P2_flair.nii.gz",
    "unknown ids": r"P2_region_labels.nii.gz: expected ids of the table, found 502 \(\d+ voxels\)",
    "four dimensions": "P2_flair.nii.gz: .*3",
    "one value": "P2_flair.nii.gz: expected an image, found one value besides 0 in all of it",
}


@pytest.mark.parametrize("kind", SPOILT)
def test_one_bad_scan_is_listed_and_the_others_are_ready(kind, brain, tmp_path, capsys):
    manifest = write(tmp_path / "cohort", brain)
    spoil(tmp_path / "cohort", kind, brain)
    words = ["prepare", str(manifest), "-o", str(tmp_path / "out"), "--edge-mm", "8", "--in-mni", "--no-pictures"]
    assert main(words) == 1
    said = capsys.readouterr()
    assert re.search(f"nnunet-ms-stratify: case P2_w0: .*{SPOILT[kind]}", said.err), said.err
    assert "3 scans of 3 patients, 1 with EDSS >= 3.0; 0 left out" in said.out
    assert read_prepared(tmp_path / "out").scans["patient_id"].tolist() == ["P1", "P3", "P4"]
    assert pd.read_csv(tmp_path / "out" / "failures.csv")["case_id"].tolist() == ["P2_w0"]


def test_a_region_that_one_patient_lacks_is_listed_and_so_are_scans_without_outcome(brain, tmp_path, capsys):
    manifest = write(tmp_path / "cohort", brain, {(3, "edss"): None, (0, "region_labels"): None})
    labels = np.where(labels_of(brain) == 16, 0, labels_of(brain)).astype(np.uint8)
    nib.save(nib.Nifti1Image(labels, GRID.affine), tmp_path / "cohort" / "P3_region_labels.nii.gz")
    words = ["prepare", str(manifest), "-o", str(tmp_path / "out"), "--edge-mm", "8", "--in-mni", "--no-pictures"]
    assert main(words) == 0
    left_out = pd.read_csv(tmp_path / "out" / "left_out.csv")
    assert left_out.iloc[0].tolist() == ["P4_w0", "all", "row 4: no EDSS"]
    assert left_out.query("case_id == 'P3_w0'")[["strategy", "reason"]].to_numpy().tolist() == [
        ["brainstem", "no voxel of the region"]
    ]
    without = left_out.query("case_id == 'P1_w0'")
    assert without["strategy"].tolist() == ["wm", "gm", "sgm", "ventricles", "brainstem"]
    assert set(without["reason"]) == {"no label map and no priors"}
    assert "brainstem: 2 scans lack it" in capsys.readouterr().out
    scans = read_prepared(tmp_path / "out").scans.set_index("case_id")
    assert scans.loc["P3_w0", "brainstem_ml"] == 0
    assert scans.loc["P1_w0", ["wm_ml", "regions_from"]].isna().all()


def test_the_brain_may_be_where_t1_is_not_0_and_must_lie_where_the_templates_does(brain, tmp_path, capsys):
    manifest = write(tmp_path / "cohort", brain, {(row, "brain_mask"): None for row in range(4)})
    words = ["prepare", str(manifest), "--edge-mm", "8", "--in-mni", "--no-pictures"]
    assert main([*words, "--brain", "nonzero", "-o", str(tmp_path / "out")]) == 0
    assert (read_prepared(tmp_path / "out").scans["brain_dice"] > 0.97).all()
    assert main([*words, "-o", str(tmp_path / "none")]) == 1
    assert "P1_w0: expected a brain mask, found a blank in column brain_mask" in capsys.readouterr().err
    moved = GRID.affine.copy()
    moved[0, 3] += 30  # mm to the side
    for name in ("t1", "flair", "region_labels"):
        image = nib.load(tmp_path / "cohort" / f"P1_{name}.nii.gz")
        nib.save(nib.Nifti1Image(np.asarray(image.dataobj), moved), tmp_path / "cohort" / f"P1_{name}.nii.gz")
    assert main([*words, "--brain", "nonzero", "-o", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert "P1_t1.nii.gz: expected a brain that lies where the template's does (Dice 0.85), found 0." in said


@pytest.mark.slow
def test_workers_make_the_same(manifest, done, tmp_path):
    made = prepare_cohort(manifest, tmp_path / "out", IN_MNI, workers=2, pictures=False)
    pd.testing.assert_frame_equal(made.scans, done.scans)
    for case in done.scans["case_id"]:
        np.testing.assert_array_equal(made.load(case).images, done.load(case).images)


def test_the_brain_may_be_deepbets(brain, tmp_path, capsys, monkeypatch):
    manifest = write(tmp_path / "cohort", brain, {(row, "brain_mask"): None for row in range(4)})
    words = ["prepare", str(manifest), "--edge-mm", "8", "--in-mni", "--no-pictures", "--brain", "deepbet"]
    seen, dice = [], iter([0.95, 0.89, 0.90, 0.86])
    monkeypatch.setattr(preparation, "likeness_to_mni", lambda *_: next(dice))
    monkeypatch.setattr(preparation, "deepbet_mask", lambda data, grid, path: seen.append(path.name) or brain)
    assert main([*words, "-o", str(tmp_path / "out")]) == 0
    assert seen == [f"{patient}_t1.nii.gz" for patient in EDSS]
    said = capsys.readouterr()
    assert "brain_mask" not in said.err
    assert "Dice of brain and template below 0.9, is the brain whole? Look at P2_w0, P4_w0.\n" in said.out
    monkeypatch.setitem(sys.modules, "deepbet", None)
    monkeypatch.delitem(sys.modules, "deepbet.bet", raising=False)
    assert main([*words, "-o", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.startswith("nnunet-ms-stratify: --brain deepbet: expected deepbet, found none. Run:")
    assert not (tmp_path / "none").exists()
