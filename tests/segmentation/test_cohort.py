"""Several patients and visits: change, failures, pages, BIDS, a run that is stopped. Oracles: masks, a second run."""

import json
import re
import shutil

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from nnunet_ms.segmentation import prepared_scans
from nnunet_ms.segmentation import segment as module
from nnunet_ms.segmentation.cli import main
from nnunet_ms.segmentation.segment import segment
from tests.segmentation.conftest import HOW


@pytest.fixture
def study(scans, tmp_path):
    """A manifest: two visits of P1, the second without T1; a damaged scan of P2; one of P3 that has T1 alone."""
    again = nib.load(scans["flair"])
    noise = np.random.default_rng(5).normal(0, 8, again.shape)
    data = np.where(again.get_fdata() > 0, again.get_fdata() + noise, 0).astype(np.float32)
    folder = tmp_path / "study"
    folder.mkdir()
    nib.save(nib.Nifti1Image(data, again.affine), folder / "again.nii.gz")
    for name in ("flair", "t1"):
        shutil.copy(scans[name], folder / f"{name}.nii.gz")
    (folder / "damaged.nii.gz").write_bytes(b"no image")
    rows = [
        ("P1", "base", 0, "flair.nii.gz", "t1.nii.gz"),
        ("P1", "w24", 24, "again.nii.gz", ""),
        ("P2", "base", 0, "damaged.nii.gz", ""),
        ("P3", "base", 0, "", "t1.nii.gz"),
    ]
    names = ["patient_id", "visit", "week", "flair", "t1"]
    pd.DataFrame(rows, columns=names).to_csv(folder / "manifest.csv", index=False)
    return folder / "manifest.csv"


def test_one_bad_scan_does_not_stop_the_others(study, any_folder, tmp_path, capsys):
    out, bids = tmp_path / "out", tmp_path / "derivatives" / "net"
    words = ["--samples", "0", "--no-tta", "--no-pictures", "--device", "cpu", "--rater", "my net"]
    assert main([str(study), "-o", str(out), "--model", str(any_folder), "--bids-out", str(bids), *words]) == 1
    told = capsys.readouterr()
    assert "2 scans segmented, 2 failed" in told.out
    failures = pd.read_csv(out / "failures.csv").set_index("case_id")["reason"]
    assert sorted(failures.index) == ["P2_base", "P3_base"]
    assert "damaged.nii.gz" in failures["P2_base"]
    assert "expected flair or t2" in failures["P3_base"]
    visits = pd.read_csv(out / "visits.csv").set_index("visit")
    assert visits["previous_visit"].fillna("").to_dict() == {"base": "", "w24": "base"}
    # the second visit lies on the first: what is new is what the two masks tell
    assert visits.loc["w24", "new_lesion_count"] >= 0
    lesions = pd.read_csv(out / "lesions.csv")
    for visit in ("base", "w24"):
        mask = nib.load(out / "masks" / "flair" / f"P1_{visit}.nii.gz")
        assert mask.shape == nib.load(study.parent / "flair.nii.gz").shape
        found = lesions.loc[lesions["visit"] == visit, "volume_ml"].sum()
        assert found == pytest.approx(visits.loc[visit, "volume_ml"])
    assert sorted(path.name for path in (out / "masks" / "t1").iterdir()) == ["P1_base.nii.gz"]
    assert [path.name for path in (out / "pages").iterdir()] == ["P1.html"]
    assert "w24" in (out / "pages" / "P1.html").read_text()
    written = sorted(path.relative_to(bids).as_posix() for path in bids.rglob("*.nii.gz"))
    stems = [f"sub-P1/ses-{visit}/anat/sub-P1_ses-{visit}_label-lesion_desc-mynet" for visit in ("base", "w24")]
    assert written == [f"{stem}_{kind}.nii.gz" for stem in stems for kind in ("mask", "probseg")]
    assert json.loads((bids / "dataset_description.json").read_text())["DatasetType"] == "derivative"
    assert str(tmp_path) not in "".join(path.read_text() for path in bids.rglob("*.json"))


def test_why_visits_are_not_compared_stands_on_the_page(study, any_folder, tmp_path):
    rows = pd.read_csv(study).query("patient_id == 'P1'").assign(week=None)  # as sessions of BIDS without dates
    rows.to_csv(study, index=False)
    segment(study, tmp_path / "out", model=any_folder, **HOW)
    page = (tmp_path / "out" / "pages" / "P1.html").read_text()
    assert page.count("Not compared with the visit before: weeks of this visit and the one before are not known") == 1
    assert "nan" not in re.sub("<[^>]*>", " ", page).split()


def test_a_run_that_is_stopped_goes_on_and_ends_the_same(scans, any_folder, tmp_path, monkeypatch):
    words = {"flair": scans["flair"], "t1": scans["t1"], "patient": "P1", "model": any_folder, **HOW}
    segment(**words, out=tmp_path / "undisturbed")
    out = tmp_path / "out"

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_masks", stop)
        with pytest.raises(KeyboardInterrupt):
            segment(**words, out=out)
    assert not out.exists()
    said = []
    with monkeypatch.context() as patch:
        patch.setattr(prepared_scans, "write_preprocessed", stop)  # what is prepared is not prepared again
        segment(**words, out=out, say=said.append)
    assert "1 of 1 cases done before" in said
    for path in (tmp_path / "undisturbed").rglob("*"):
        same = path.relative_to(tmp_path / "undisturbed")
        if path.suffix in (".gz", ".csv") and path.name != "cases.csv":  # that has seconds
            assert path.read_bytes() == (out / same).read_bytes(), same
    assert not list(tmp_path.glob(".partial*"))


def test_another_setting_does_not_take_what_a_stopped_run_had_predicted(scans, any_folder, tmp_path, monkeypatch):
    words = {"flair": scans["flair"], "patient": "P1", "model": any_folder, "out": tmp_path / "out", **HOW}

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_masks", stop)
        with pytest.raises(KeyboardInterrupt):
            segment(**words)
    done = segment(**words, threshold=0.9)
    volume = done.cases["volume_ml"].item()
    plain = segment(**{**words, "out": tmp_path / "other"}, threshold=0.9)
    assert volume == plain.cases["volume_ml"].item()
    assert json.loads((tmp_path / "out" / "segmentation.json").read_text())["prediction"]["threshold"] == 0.9
