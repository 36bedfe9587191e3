"""Places of lesions that were put there: balls at points of MNI space of which an anatomist knows the place."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from nnunet_ms.dataset_conversion.cases import Case
from nnunet_ms.images.patient_regions import BrainPlace
from nnunet_ms.images.template import mni152, mni152_brain
from nnunet_ms.segmentation import places
from nnunet_ms.segmentation.places import LOCATIONS, PLACES, place_lesions
from nnunet_ms.segmentation.prepared_scans import Prepared
from nnunet_ms.tables import check_columns

EVERY = 2
KNOWN = {  # MNI, mm
    "periventricular": (25, -42, 23),
    "infratentorial": (6, -28, -34),
    "juxtacortical": (-44, -66, 36),
    "deep_white_matter": (-27, -10, 30),
}


def images(folder, shift=(0.0, 0.0, 0.0), names=tuple(KNOWN), edge=1.0):
    """Template as T1 without skull, and a mask of balls of 3 mm; both moved, the whole head larger by `edge`."""
    part = (slice(None, None, EVERY),) * 3
    data = np.where(mni152_brain(), mni152().data, 0)[part]
    affine = mni152().grid.affine @ np.diag([EVERY, EVERY, EVERY, 1.0])
    world = nib.affines.apply_affine(affine, np.moveaxis(np.indices(data.shape), 0, -1))
    mask = np.zeros(data.shape, np.uint8)
    for name in names:
        mask[np.linalg.norm(world - np.array(KNOWN[name]), axis=-1) <= 3] = 1
    moved = np.diag([edge, edge, edge, 1.0]) @ affine
    moved[:3, 3] += shift
    folder.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data.astype(np.float32), moved), folder / "image.nii.gz")
    return nib.Nifti1Image(mask, moved), folder / "image.nii.gz"


def scan(folder, case_id, patient="P1", visit="", week=0.0, **how):
    mask, image = images(folder / case_id, **how)
    nib.save(mask, folder / f"{case_id}.nii.gz")
    case = Case(patient, visit, week, {"t1": image}, None)
    assert case.case_id == case_id
    return Prepared(case, {"t1": image}, image, ())


def tables(folder, scans, types=("t2_lesions",)):
    """`lesions.csv` and `visits.csv` by SciPy's labels, numbered in its order."""
    from scipy import ndimage

    lesions, visits = [], []
    for one in scans:
        mask = np.asarray(nib.load(folder / f"{one.case.case_id}.nii.gz").dataobj)
        keys = {"case_id": one.case.case_id, "patient_id": one.case.patient_id, "visit": one.case.visit or "1"}
        keys |= {"week": one.case.week, "rater": "net", "lesion_type": types[0]}
        sizes = np.bincount(ndimage.label(mask)[0].ravel())[1:]
        lesions += [{**keys, "lesion_id": n, "volume_ml": size * 0.008} for n, size in enumerate(sizes, start=1)]
        visits.append(keys)
    columns = ["case_id", "patient_id", "visit", "week", "rater", "lesion_type", "lesion_id", "volume_ml"]
    return pd.DataFrame(lesions, columns=columns), pd.DataFrame(visits)


def place(folder, scans, **how):
    (folder / "memory").mkdir(exist_ok=True)
    return place_lesions(scans, *tables(folder, scans), folder, [("t2_lesions", 1)], folder / "memory", **how)


def test_lesions_are_told_where_they_were_put_and_only_once(tmp_path, monkeypatch):
    scans = [scan(tmp_path, "P1", shift=(15.0, -30.0, 8.0))]
    done = place(tmp_path, scans)
    assert sorted(done.lesions["location"]) == sorted(KNOWN)
    at = done.lesions.set_index("location")
    assert at.loc["periventricular", "ventricles_mm"] <= 3 < at.loc["deep_white_matter", "ventricles_mm"]
    assert at.loc["infratentorial", "infratentorial_share"] == 1
    check_columns(done.places, PLACES, Path("places.csv"))
    assert done.places["location"].tolist() == list(LOCATIONS[:-1])
    assert done.places["lesion_count"].tolist() == [1, 1, 1, 1]
    assert done.places["volume_ml"].sum() == pytest.approx(done.lesions["volume_ml"].sum())
    assert "fitted to t1 (affine)" in done.notes[0]
    assert done.prepared[0].warnings == ()
    # a run that goes on asks its notes
    monkeypatch.setattr(places, "place_brain", None)
    again = place(tmp_path, scans)
    pd.testing.assert_frame_equal(again.lesions, done.lesions)
    pd.testing.assert_frame_equal(again.places, done.places)


def test_visits_of_a_patient_have_one_way_and_no_lesion_is_a_result(tmp_path, monkeypatch):
    asked = []
    right = BrainPlace(np.eye(4), 0.95, -0.5)
    monkeypatch.setattr(places, "place_brain", lambda *_: asked.append(1) or right)
    scans = [
        scan(tmp_path, "P1_w24", visit="w24", week=24.0),
        scan(tmp_path, "P1_base", visit="base", names=()),
    ]
    done = place(tmp_path, scans)
    assert len(asked) == 1  # the later visit lies where the first does
    none = done.places[done.places["case_id"] == "P1_base"]
    assert none["lesion_count"].tolist() == [0, 0, 0, 0]
    assert set(done.lesions["case_id"]) == {"P1_w24"}


def poor_dice(monkeypatch, folder):
    monkeypatch.setattr(places, "place_brain", lambda *_: BrainPlace(np.eye(4), 0.8, -0.5))


def no_fluid(monkeypatch, folder):
    monkeypatch.setattr(places, "place_brain", lambda *_: BrainPlace(np.eye(4), 0.95, 0.02))


def whole_head(monkeypatch, folder):
    path = folder / "P1" / "image.nii.gz"
    image = nib.load(path)
    nib.save(nib.Nifti1Image(image.get_fdata(dtype=np.float32) + 1, image.affine), path)


def a_ball(monkeypatch, folder):
    path = folder / "P1" / "image.nii.gz"
    image = nib.load(path)
    data = np.zeros(image.shape, np.float32)
    data[50:54, 50:54, 50:54] = 1
    nib.save(nib.Nifti1Image(data, image.affine), path)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (poor_dice, "Dice 0.80"),
        (no_fluid, "2% brighter than tissue"),
        (whole_head, "the skull is left in t1"),
        (a_ball, "expected a brain, found too few voxels"),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_what_does_not_fit_is_unknown_and_warned_about(make, match, tmp_path, monkeypatch):
    one = scan(tmp_path, "P1")
    make(monkeypatch, tmp_path)
    done = place(tmp_path, [one])
    assert set(done.lesions["location"]) == {"unknown"}
    assert done.lesions["ventricles_mm"].isna().all()
    assert done.places["location"].tolist() == ["unknown"]
    assert done.places["lesion_count"].tolist() == [4]
    assert [warning.name for warning in done.prepared[0].warnings] == ["places"]
    assert match in done.prepared[0].warnings[0].found
    assert done.notes[0].startswith("P1: places of lesions are not told")
